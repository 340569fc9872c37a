//! Breaker: stops the loads of a model on a backend in a kind of browser where they keep failing, and lets one try now
//! and then (M. Nygard, "Release It!", circuit breaker). Pure.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const OPENS_AT: u32 = 3;
/// The same for so long after a success: what has loaded well just now fails for other reasons.
const OPENS_PROVEN: u32 = 20;
const PROVEN: Duration = Duration::from_secs(60);
const FIRST_COOLDOWN: Duration = Duration::from_secs(2);
const LONGEST_COOLDOWN: Duration = Duration::from_secs(120);

/// Whether loads may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// They may.
    Closed,
    /// They may not, for a while.
    Open,
    /// One may, and decides.
    HalfOpen,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A circuit breaker.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// Failures since the last success.
    failures: u32,
    /// Times that it opened since then.
    openings: u32,
    /// When that was.
    succeeded: Option<Instant>,
    /// When the next try may begin; there while it is not closed.
    again: Option<Instant>,
    /// Whether that try is under way.
    trying: bool,
}

impl Breaker {
    /// Its state.
    pub fn state(&self, now: Instant) -> State {
        match self.again {
            None => State::Closed,
            Some(_) if self.trying => State::HalfOpen,
            Some(again) if again <= now => State::HalfOpen,
            Some(_) => State::Open,
        }
    }

    /// When the next try may begin, where that lies ahead.
    pub fn again(&self, now: Instant) -> Option<Instant> {
        self.again.filter(|again| !self.trying && *again > now)
    }

    /// Asks to begin a load; what is allowed has to end in [`Breaker::succeed`], [`Breaker::fail`] or [`Breaker::end`].
    pub fn begin(&mut self, now: Instant) -> bool {
        match self.state(now) {
            State::Closed => true,
            State::HalfOpen if !self.trying => {
                self.trying = true;
                true
            }
            State::Open | State::HalfOpen => false,
        }
    }

    /// A load came to serve, and gave the right answer.
    pub fn succeed(&mut self, now: Instant) {
        *self = Self { succeeded: Some(now), ..Self::default() };
    }

    /// A load failed, for `certain` by what was loaded, or perhaps for other reasons. Returns whether the breaker is open
    /// now.
    pub fn fail(&mut self, now: Instant, certain: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.trying = false;
        // What began before it opened says nothing new.
        if self.again.is_some_and(|again| again > now) {
            return true;
        }
        let proven = self.succeeded.is_some_and(|when| now.duration_since(when) < PROVEN);
        let opens_at = if proven && !certain { OPENS_PROVEN } else { OPENS_AT };
        if self.again.is_none() && self.failures < opens_at {
            return false;
        }
        let doublings = self.openings.min(16);
        self.openings += 1;
        self.again = Some(now + (FIRST_COOLDOWN * 2_u32.pow(doublings)).min(LONGEST_COOLDOWN));
        true
    }

    /// It opens at once: what was loaded there answered wrongly.
    pub fn trip(&mut self, now: Instant) {
        *self = Self { failures: OPENS_AT, openings: 1, again: Some(now + LONGEST_COOLDOWN), ..Self::default() };
    }

    /// A load ended for reasons of others.
    pub fn end(&mut self) {
        self.trying = false;
    }

    /// Lets the next one try at once: somebody asks for it.
    pub fn ask(&mut self, now: Instant) {
        if let Some(again) = &mut self.again {
            *again = (*again).min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Breaker, LONGEST_COOLDOWN, OPENS_AT, OPENS_PROVEN, PROVEN, State};

    proptest! {
        /// It opens after so many failures in a row and never before, nor soon after a success; one try at a time goes
        /// through while it is not closed; and after the longest cooldown another always may.
        #[test]
        fn one_at_a_time_and_never_for_ever(steps in proptest::collection::vec((0u8..4, 0u64..200, any::<bool>()), 1..80)) {
            let (mut breaker, mut now) = (Breaker::default(), Instant::now());
            let (mut in_a_row, mut trying, mut succeeded) = (0, false, None);
            for (step, seconds, certain) in steps {
                now += Duration::from_secs(seconds);
                let state = breaker.state(now);
                prop_assert!(state == State::Closed || in_a_row >= OPENS_AT);
                match step {
                    0 => {
                        let begun = breaker.begin(now);
                        prop_assert_eq!(begun, state == State::Closed || (state == State::HalfOpen && !trying));
                        trying |= begun && state != State::Closed;
                    }
                    1 => {
                        breaker.succeed(now);
                        (in_a_row, trying, succeeded) = (0, false, Some(now));
                        prop_assert_eq!(breaker.state(now), State::Closed);
                    }
                    // A worker that is lost is ended before it is judged.
                    2 if state == State::Closed || trying => {
                        breaker.end();
                        in_a_row += 1;
                        let proven = succeeded.is_some_and(|when| now - when < PROVEN);
                        let opens_at = if proven && !certain { OPENS_PROVEN } else { OPENS_AT };
                        let opens = state != State::Closed || in_a_row >= opens_at;
                        prop_assert_eq!(breaker.fail(now, certain), opens);
                        prop_assert_eq!(breaker.again(now).is_some(), opens);
                        trying = false;
                    }
                    _ => {
                        breaker.end();
                        trying = false;
                    }
                }
                let later = now + LONGEST_COOLDOWN;
                prop_assert!(trying || breaker.state(later) != State::Open);
            }
        }
    }

    #[test]
    fn what_fails_again_waits_longer() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        let mut last = Duration::ZERO;
        for _ in 0..OPENS_AT - 1 {
            assert!(!breaker.fail(now, true));
        }
        for _ in 0..10 {
            assert!(breaker.fail(now, true));
            let wait = breaker.again(now).unwrap() - now;
            assert!(wait >= last && wait <= LONGEST_COOLDOWN);
            last = wait;
            now += wait;
            assert!(breaker.begin(now) && !breaker.begin(now));
            breaker.end();
        }
        breaker.succeed(now);
        assert_eq!(breaker.state(now), State::Closed);
    }
}
