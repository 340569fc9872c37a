//! Slot: one place in the pool, and the life of the browsers that fill it one after the other. Pure.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A browser that lived this long was a good one: its loss does not lengthen the delay.
const GOOD_LIFE: Duration = Duration::from_secs(60);

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
        reason: Arc<str>,
    },
}

/// One place in the pool.
#[derive(Debug)]
pub struct Slot {
    state: State,
    /// Which browser of this slot it is, counted from 0; tells its events from those of its forerunners.
    epoch: u32,
    failures: u32,
}

impl Slot {
    /// A slot whose first browser is due now.
    pub fn new(now: Instant) -> Self {
        Self { state: State::BackingOff { until: now, reason: "it was not started yet".into() }, epoch: 0, failures: 0 }
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

    /// A browser is being started; returns its number.
    pub fn start(&mut self) -> u32 {
        self.epoch += 1;
        self.state = State::Starting;
        self.epoch
    }

    /// The browser's page is linked.
    pub fn ready(&mut self, now: Instant) {
        self.state = State::Ready(now);
    }

    /// The browser could not start, or is gone.
    pub fn lose(&mut self, now: Instant, reason: Arc<str>) {
        let good = matches!(self.state, State::Ready(since) if now.duration_since(since) >= GOOD_LIFE);
        self.failures = if good { 0 } else { self.failures + 1 };
        let doublings = self.failures.saturating_sub(1).min(16);
        let delay = (FIRST_DELAY * 2_u32.pow(doublings)).min(LONGEST_DELAY);
        self.state = State::BackingOff { until: now + delay, reason };
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{GOOD_LIFE, LONGEST_DELAY, Slot};

    proptest! {
        /// Whatever happens, a lost browser is due again, neither at once nor later than the longest delay.
        #[test]
        fn a_lost_browser_comes_back(lives in proptest::collection::vec(proptest::option::of(0u64..120), 1..40)) {
            let mut now = Instant::now();
            let mut slot = Slot::new(now);
            let mut last = Duration::ZERO;
            for life in lives {
                prop_assert!(slot.due().is_some());
                let epoch = slot.start();
                prop_assert_eq!(slot.due(), None);
                if let Some(seconds) = life {
                    slot.ready(now);
                    now += Duration::from_secs(seconds);
                }
                slot.lose(now, "gone".into());
                let delay = slot.due().unwrap() - now;
                prop_assert!(delay > Duration::ZERO && delay <= LONGEST_DELAY);
                let good = life.is_some_and(|seconds| Duration::from_secs(seconds) >= GOOD_LIFE);
                prop_assert!(good || delay >= last);
                prop_assert_eq!(slot.epoch(), epoch);
                last = delay;
                now += delay;
            }
        }
    }
}
