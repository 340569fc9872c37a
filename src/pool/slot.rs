//! Slot: one place in the pool, and the life of the browsers that fill it one after the other. Pure.

use std::time::{Duration, Instant};

use crate::loss::{Cause, Loss};

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// Least time between two starts.
const LEAST: Duration = Duration::from_secs(1);

/// Where the browser of a slot is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Being started; its page has not dialled back.
    Starting,
    /// Its page is linked since then.
    Ready(Instant),
    /// It is started again at `until`.
    BackingOff {
        /// When.
        until: Instant,
        /// Why the last one is gone.
        loss: Loss,
    },
}

/// One place in the pool.
#[derive(Debug)]
pub struct Slot {
    state: State,
    /// Which browser of this slot it is, counted from 0; tells its events from those of its forerunners.
    epoch: u32,
    started: Option<Instant>,
    failures: u32,
}

impl Slot {
    /// A slot whose first browser is due now.
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::BackingOff { until: now, loss: Loss::new(Cause::Ended, "it was not started yet") },
            epoch: 0,
            started: None,
            failures: 0,
        }
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The number of its browser.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// When the next browser is due, if one is to be started.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::BackingOff { until, .. } => Some(until),
            State::Starting | State::Ready(_) => None,
        }
    }

    /// Browsers in a row that never came to be of use.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A browser is being started; returns its number.
    pub fn start(&mut self, now: Instant) -> u32 {
        self.epoch += 1;
        self.started = Some(now);
        self.state = State::Starting;
        self.epoch
    }

    /// The browser's page is linked. Returns how long that took.
    pub fn ready(&mut self, now: Instant) -> Duration {
        self.state = State::Ready(now);
        self.started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started))
    }

    /// The browser could not start, or is gone. One that was of use is started again soon; where none comes to be of use,
    /// they are started ever more rarely.
    pub fn lose(&mut self, now: Instant, loss: Loss, of_use: bool) {
        self.failures = if of_use { 0 } else { self.failures.saturating_add(1) };
        let until = match self.failures {
            0 => self.started.map_or(now, |started| now.max(started + LEAST)),
            failures => now + (FIRST_DELAY * 2_u32.pow((failures - 1).min(16))).min(LONGEST_DELAY),
        };
        self.state = State::BackingOff { until, loss };
    }

    /// The browser that was lost last was killed: that says nothing of the next.
    pub fn pardon(&mut self) {
        self.failures = self.failures.saturating_sub(1);
        if let (State::BackingOff { until, .. }, Some(started)) = (&mut self.state, self.started) {
            *until = (*until).min(started + LEAST);
        }
    }

    /// The browser was ended; another may be started at once.
    pub fn end(&mut self, now: Instant) {
        self.state = State::BackingOff { until: now, loss: Loss::new(Cause::Ended, "it was ended") };
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Cause, LEAST, LONGEST_DELAY, Loss, Slot};

    proptest! {
        /// Whatever happens, a lost browser is due again, not later than the longest delay; browsers are not started
        /// more often than they may; and those that are of no use ever more rarely.
        #[test]
        fn a_lost_browser_comes_back(lives in proptest::collection::vec((0u64..5_000, any::<bool>()), 1..40)) {
            let mut now = Instant::now();
            let mut slot = Slot::new(now);
            let (mut last, mut started) = (Duration::ZERO, None);
            for (life, of_use) in lives {
                prop_assert!(slot.due().is_some_and(|due| due <= now));
                if let Some((before, true)) = started {
                    prop_assert!(now - before >= LEAST);
                }
                let epoch = slot.start(now);
                started = Some((now, of_use));
                prop_assert_eq!(slot.due(), None);
                now += Duration::from_millis(life);
                slot.ready(now);
                slot.lose(now, Loss::new(Cause::Crashed, "gone"), of_use);
                let delay = slot.due().unwrap() - now;
                prop_assert!(delay <= LONGEST_DELAY);
                prop_assert!(of_use || (delay >= last && !delay.is_zero()));
                prop_assert_eq!(slot.epoch(), epoch);
                last = if of_use { Duration::ZERO } else { delay };
                now += delay;
            }
        }
    }
}
