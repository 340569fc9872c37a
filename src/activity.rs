//! Activity: what the models did in each second of the last minutes, and the requests that failed, for those who watch.
//! Rates and quantiles of a moment are here; what is kept for longer is in the metrics.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::{CreationError, Histogram};

use crate::{
    error::{Error, shorten},
    execution::{Execution, Timings},
};

/// Seconds that are kept.
const SECONDS: usize = 300;
/// Failed requests that are kept.
const MOST_FAILED: usize = 50;
/// Latencies are told apart up to this; what takes longer counts as this.
const LONGEST: Duration = Duration::from_secs(3600);
/// Digits of the quantiles.
const DIGITS: u8 = 2;

/// What the models do. Shared by those who note and those who watch.
#[derive(Debug)]
pub struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    begun: Instant,
    begun_unix: Duration,
    /// The second that goes on, counted from the beginning.
    current: u64,
    tallies: BTreeMap<Arc<str>, Tally>,
    /// What latencies are counted in, empty.
    latencies: Histogram<u32>,
    /// The seconds before it, without gaps.
    past: VecDeque<Arc<Second>>,
    /// Requests that have failed in all; the last of them are kept.
    failures: u64,
    failed: VecDeque<Arc<Failed>>,
}

/// What a model has done in the second that goes on.
#[derive(Debug)]
struct Tally {
    did: Did,
    latencies: Histogram<u32>,
}

/// One second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    /// When it ended, since 1970.
    pub end: Duration,
    /// What was done, by model; those that did and held nothing are left out.
    pub models: BTreeMap<Arc<str>, Did>,
}

/// What a model did in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// Requests that were answered.
    pub answered: u32,
    /// Requests that failed.
    pub failed: u32,
    /// Microseconds within which 50, 95 and 99 of 100 were answered.
    pub quantiles_us: [u64; 3],
    /// Items that ran.
    pub items: u32,
    /// Batches that they ran in.
    pub batches: u32,
    /// Tokens that ran, padding counted.
    pub tokens: u64,
    /// Times of the batches, added up.
    pub timings: Timings,
    /// Items that wait for a worker.
    pub queued: u32,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// When, since 1970.
    pub at: Duration,
    /// Id of the model; empty where there is none of that name.
    pub model: Arc<str>,
    /// The error's reason.
    pub reason: &'static str,
    /// What its caller was told.
    pub message: String,
}

/// How far one who watches has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    seconds: u64,
    failures: u64,
}

impl Activity {
    /// Begins now, at that time of the day.
    pub fn new(now: Instant, clock: SystemTime) -> Result<Self, CreationError> {
        Ok(Self(Mutex::new(State {
            begun: now,
            begun_unix: clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            current: 0,
            tallies: BTreeMap::new(),
            latencies: Histogram::new_with_max(micros(LONGEST), DIGITS)?,
            past: VecDeque::new(),
            failures: 0,
            failed: VecDeque::new(),
        })))
    }

    /// A request was answered.
    pub fn answered(&self, model: &Arc<str>, took: Duration, now: Instant) {
        let mut state = self.at(now);
        let tally = state.tally(model);
        tally.did.answered += 1;
        tally.latencies.saturating_record(micros(took));
    }

    /// A request failed. `model` is empty where there is none of that name.
    pub fn failed(&self, model: &Arc<str>, error: &Error, now: Instant) {
        let mut state = self.at(now);
        if !model.is_empty() {
            state.tally(model).did.failed += 1;
        }
        let at = state.begun_unix + now.saturating_duration_since(state.begun);
        if state.failed.len() == MOST_FAILED {
            state.failed.pop_front();
        }
        let (reason, message) = (error.reason(), shorten(&error.to_string()));
        state.failed.push_back(Arc::new(Failed { at, model: model.clone(), reason, message }));
        state.failures += 1;
    }

    /// A batch ran, with so many tokens.
    pub fn ran(&self, execution: &Execution, tokens: u64, now: Instant) {
        let mut state = self.at(now);
        let did = &mut state.tally(&execution.runtime.model).did;
        did.items += execution.batch_size;
        did.batches += 1;
        did.tokens += tokens;
        did.timings = did.timings + execution.timings;
    }

    /// So many items of a model wait from now on.
    pub fn queued(&self, model: &Arc<str>, items: usize, now: Instant) {
        self.at(now).tally(model).did.queued = u32::try_from(items).unwrap_or(u32::MAX);
    }

    /// What was not seen yet, the oldest first: seconds that have ended, and requests that failed.
    pub fn since(&self, seen: &mut Seen, now: Instant) -> (Vec<Arc<Second>>, Vec<Arc<Failed>>) {
        let state = self.at(now);
        let fresh = |all: u64, seen: u64, kept: usize| kept.min(usize::try_from(all - seen).unwrap_or(kept));
        let seconds = fresh(state.current, seen.seconds, state.past.len());
        let failures = fresh(state.failures, seen.failures, state.failed.len());
        *seen = Seen { seconds: state.current, failures: state.failures };
        (
            state.past.range(state.past.len() - seconds..).cloned().collect(),
            state.failed.range(state.failed.len() - failures..).cloned().collect(),
        )
    }

    /// The state, with what has ended by now put away.
    fn at(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(now);
        state
    }
}

impl State {
    fn tally(&mut self, model: &Arc<str>) -> &mut Tally {
        let empty = || Tally { did: Did::default(), latencies: self.latencies.clone() };
        self.tallies.entry(model.clone()).or_insert_with(empty)
    }

    fn advance(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.begun).as_secs();
        // Of a long rest only the end is kept.
        self.current = self.current.max(second.saturating_sub(SECONDS as u64 + 1));
        while self.current < second {
            self.current += 1;
            let end = self.begun_unix + Duration::from_secs(self.current);
            let models = self.tallies.iter_mut().map(|(model, tally)| (model.clone(), tally.end())).collect();
            self.past.push_back(Arc::new(Second { end, models }));
            self.tallies.retain(|_, tally| tally.did != Did::default());
            if self.past.len() > SECONDS {
                self.past.pop_front();
            }
        }
    }
}

impl Tally {
    /// What was done in the second that ends; what waits is there in the next one, too.
    fn end(&mut self) -> Did {
        let quantile = |quantile| self.latencies.value_at_quantile(quantile);
        let done = Did { quantiles_us: [0.5, 0.95, 0.99].map(quantile), ..self.did };
        self.did = Did { queued: done.queued, ..Did::default() };
        self.latencies.reset();
        done
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant, SystemTime},
    };

    use proptest::prelude::*;

    use super::{Activity, Did, MOST_FAILED, SECONDS, Seen};
    use crate::{
        error::Error,
        execution::{Backend, Execution, Timings},
    };

    fn begin() -> (Activity, Instant) {
        let now = Instant::now();
        (Activity::new(now, SystemTime::UNIX_EPOCH + Duration::from_secs(1000)).unwrap(), now)
    }

    proptest! {
        /// Whenever one watches, nothing is told twice, no second is left out of those that are kept, and all that was done
        /// within them is told.
        #[test]
        fn seconds_are_told_once_and_without_gaps(steps in proptest::collection::vec((0u64..5_000, any::<bool>()), 1..60)) {
            let (activity, mut now) = begin();
            let model: Arc<str> = "m".into();
            let (mut seen, mut told, mut last) = (Seen::default(), 0, Duration::from_secs(1000));
            let mut done = 0;
            for (wait, watch) in steps {
                now += Duration::from_millis(wait);
                activity.answered(&model, Duration::from_millis(3), now);
                done += 1;
                if watch {
                    for second in activity.since(&mut seen, now).0 {
                        prop_assert_eq!(second.end, last + Duration::from_secs(1));
                        last = second.end;
                        told += second.models.get(&model).map_or(0, |did| did.answered);
                    }
                    prop_assert!(told <= done);
                }
            }
            activity.since(&mut seen, now + Duration::from_secs(1)).0.iter()
                .for_each(|second| told += second.models.get(&model).map_or(0, |did| did.answered));
            prop_assert_eq!(told, done);
        }
    }

    #[test]
    fn a_second_has_what_was_done_in_it() {
        let (activity, now) = begin();
        let model: Arc<str> = "m".into();
        for millis in 1..=100 {
            activity.answered(&model, Duration::from_millis(millis), now);
        }
        activity.failed(&model, &Error::DeadlineExceeded, now);
        let timings = Timings { inference_us: 5, ..Timings::default() };
        let mut batch = Execution::simulated(model.clone(), Backend::Wasm, "fp32", String::new());
        (batch.batch_size, batch.timings) = (3, timings);
        activity.ran(&batch, 12, now);
        batch.batch_size = 1;
        activity.ran(&batch, 4, now);
        activity.queued(&model, 7, now);
        let mut seen = Seen::default();
        assert!(activity.since(&mut seen, now).0.is_empty());
        let (seconds, failed) = activity.since(&mut seen, now + Duration::from_secs(2));
        assert_eq!((seconds.len(), failed.len()), (2, 0), "the failed one was seen before");
        let did = seconds[0].models[&model];
        assert_eq!((did.answered, did.failed, did.items, did.batches, did.tokens), (100, 1, 4, 2, 16));
        assert_eq!(did.timings, Timings { inference_us: 10, ..Timings::default() });
        for (quantile, millis) in did.quantiles_us.into_iter().zip([50, 95, 99]) {
            assert!(quantile.abs_diff(millis * 1000) <= millis * 10, "{quantile}");
        }
        // What waits still waits a second later, and then it does not.
        assert_eq!(seconds[1].models[&model], Did { queued: 7, ..Did::default() });
        activity.queued(&model, 0, now + Duration::from_secs(2));
        let later = activity.since(&mut seen, now + Duration::from_secs(4)).0;
        assert!(later.last().unwrap().models.is_empty());
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let (activity, now) = begin();
        for _ in 0..MOST_FAILED + 5 {
            activity.failed(&"".into(), &Error::DeadlineExceeded, now);
        }
        let (seconds, failed) = activity.since(&mut Seen::default(), now + Duration::from_secs(86_400 * 365));
        assert_eq!((seconds.len(), failed.len()), (SECONDS, MOST_FAILED));
        assert_eq!(seconds.last().unwrap().end, Duration::from_secs(1000 + 86_400 * 365));
    }
}
