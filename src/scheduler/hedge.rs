//! Hedge: when a batch that runs for long runs a second time elsewhere, and where. Pure.
//!
//! Most of what makes a rare run slow is not the work's fault (Dean and Barroso, "The Tail at Scale", 2013): so a second run
//! that begins when nearly all such runs have ended costs little, and cuts the tail. What it may cost is bounded by a budget.

use std::time::{Duration, Instant};

/// Part of the runs that are not late.
const IN_TIME: f64 = 0.95;
/// How far one run moves the bound of what is late.
const STEP: f64 = 0.1;
/// The bound, in means, at first; and its bounds.
const FIRST: f64 = 2.0;
const LEAST: f64 = 1.05;
const MOST: f64 = 16.0;
/// Runs before it says something.
const ENOUGH: u32 = 20;
/// Second runs that may follow one another when there were none for long.
const BURST: f64 = 8.0;

/// How many times as long as the mean runs take at most, save for one in twenty. It follows them one by one, as the frugal
/// estimates of Ma, Muthukrishnan and Sandler do (2013), and keeps none of them.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    times: f64,
    runs: u32,
}

impl Default for Tail {
    fn default() -> Self {
        Self { times: FIRST, runs: 0 }
    }
}

impl Tail {
    /// A run took so many times as long as the mean.
    pub fn record(&mut self, times: f64) {
        let moves = if times > self.times { 1.0 + STEP * IN_TIME } else { 1.0 - STEP * (1.0 - IN_TIME) };
        self.times = (self.times * moves).clamp(LEAST, MOST);
        self.runs = self.runs.saturating_add(1);
    }

    /// What is late, in means; `None` before enough is known.
    pub fn late(&self) -> Option<f64> {
        (self.runs >= ENOUGH).then_some(self.times)
    }
}

/// Second runs that may still begin: each batch adds a part of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    left: f64,
}

impl Budget {
    /// A batch goes out; that part of all may run twice.
    pub fn earn(&mut self, share: f64) {
        self.left = (self.left + share).min(BURST);
    }

    /// Takes one, if there is one.
    pub fn spend(&mut self) -> bool {
        // What was added up of parts falls short of the whole by their rounding.
        let has = self.left + 1e-9 >= 1.0;
        if has {
            self.left = (self.left - 1.0).max(0.0);
        }
        has
    }
}

/// Another worker with a replica of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Which one.
    pub index: usize,
    /// Whether it has nothing to do.
    pub is_idle: bool,
    /// Whether it is in the browser of the first run.
    pub same_browser: bool,
    /// Time that it should take for the batch; `None` where nothing is known.
    pub takes: Option<Duration>,
}

/// The worker for the second run of a batch. What slows a worker down mostly slows its whole browser: there is one GPU
/// process, one tree of processes that is stopped or killed, one cause. So another worker of the same browser counts only
/// where no other browser has the model at all.
pub fn choose(others: &[Other]) -> Option<Other> {
    let elsewhere = others.iter().any(|other| !other.same_browser);
    let fit = others.iter().filter(|other| other.is_idle && other.takes.is_some() && other.same_browser != elsewhere);
    fit.min_by_key(|other| other.takes).copied()
}

/// When a batch that was handed out then, and is late from `late` on, runs a second time where it takes so long: not before
/// the second run should be through earlier than the first has run twice as long.
pub fn due(handed: Instant, late: Instant, takes: Duration) -> Instant {
    late.max(handed + takes)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{BURST, Budget, Other, Tail, choose, due};

    proptest! {
        /// About one run in twenty is late, whatever the runs are like.
        #[test]
        fn one_run_in_twenty_is_late(spread in 1.2f64..6.0, seed in 1u64..u64::MAX) {
            let (mut tail, mut state, mut late) = (Tail::default(), seed, 0);
            for run in 0..6000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let times = spread.powf((state >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0);
                let is_late = tail.late().is_some_and(|bound| times > bound);
                prop_assert_eq!(tail.late().is_some(), run >= 20);
                late += u32::from(run >= 2000 && is_late);
                tail.record(times);
            }
            prop_assert!((80..=340).contains(&late), "{late} of 4000");
        }

        /// There are never more second runs than the share of all batches, nor more at once than the burst; and when there
        /// is need for one with each batch, the share is used.
        #[test]
        fn the_budget_holds(share in 0.0f64..0.5, asks in proptest::collection::vec(any::<bool>(), 0..2000)) {
            let (mut budget, mut batches, mut spent, mut in_a_row) = (Budget::default(), 0, 0, 0);
            for asks in &asks {
                budget.earn(share);
                batches += 1;
                in_a_row = if *asks && budget.spend() { in_a_row + 1 } else { 0 };
                spent += i32::from(in_a_row > 0);
                prop_assert!(f64::from(spent) <= share * f64::from(batches) + 1e-6);
                prop_assert!(f64::from(in_a_row) <= BURST / (1.0 - share) + 1.0);
            }
            if asks.iter().all(|asks| *asks) {
                prop_assert!(f64::from(spent) >= share * f64::from(batches) - 1.0);
            }
        }

        /// Who is chosen is idle and known, the fastest of those, and in another browser where there is one.
        #[test]
        fn a_second_run_goes_elsewhere(
            others in proptest::collection::vec((any::<bool>(), any::<bool>(), proptest::option::of(1u64..100)), 0..6),
            late in 0u64..100,
        ) {
            let other = |(index, (is_idle, same_browser, takes)): (usize, (bool, bool, Option<u64>))| {
                Other { index, is_idle, same_browser, takes: takes.map(Duration::from_millis) }
            };
            let others: Vec<_> = others.into_iter().enumerate().map(other).collect();
            let fit = |other: &&Other| other.is_idle && other.takes.is_some();
            let elsewhere = others.iter().any(|other| !other.same_browser);
            match choose(&others) {
                Some(chosen) => {
                    prop_assert!(fit(&&others[chosen.index]) && chosen.same_browser != elsewhere);
                    let alike = others.iter().filter(fit).filter(|other| other.same_browser == chosen.same_browser);
                    prop_assert!(alike.map(|other| other.takes).all(|takes| takes >= chosen.takes));
                    let handed = Instant::now();
                    let late = handed + Duration::from_millis(late);
                    let due = due(handed, late, chosen.takes.unwrap());
                    prop_assert!(due >= late && due - handed >= chosen.takes.unwrap());
                }
                None => prop_assert!(!others.iter().filter(fit).any(|other| other.same_browser != elsewhere)),
            }
        }
    }
}
