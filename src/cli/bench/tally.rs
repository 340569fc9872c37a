//! Tally: what was measured. Pure: the time is an argument.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, Range},
    time::{Duration, Instant},
};

use hdrhistogram::{CreationError, Histogram};

use crate::{cli::report, proto::v1, rpc::client::Failure};

/// Longest time that is told apart, in microseconds: a day.
const LONGEST_US: u64 = 86_400_000_000;

/// Requests, and their items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests.
    pub requests: u64,
    /// Items of these.
    pub items: u64,
}

impl AddAssign<usize> for Count {
    /// Counts a request of so many items.
    fn add_assign(&mut self, items: usize) {
        self.requests += 1;
        self.items += items as u64;
    }
}

/// Errors of one kind.
#[derive(Debug, Default)]
pub struct Errors {
    /// How many.
    pub count: u64,
    /// What the first of them said.
    pub message: String,
}

/// What ran items.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Runner {
    /// Product and version.
    pub browser: String,
    /// What computed.
    pub backend: &'static str,
    /// Whether that is real.
    pub hardware: &'static str,
    /// Precision.
    pub dtype: String,
    /// Id of the worker.
    pub worker: String,
    /// Whether it ran them, or an identical item.
    pub origin: &'static str,
}

/// A run as it goes. Requests that are due inside the window are measured; the others warm up.
#[derive(Debug)]
pub struct Tally {
    window: Range<Instant>,
    deadline: Duration,
    /// Requests that wait for their answer now.
    pub in_flight: u64,
    /// OK answers of the whole run, with those of the warm-up.
    pub ever: Count,
    /// OK answers that came inside the window, whenever they were due: what the service achieved in it.
    pub achieved: Count,
    /// Measured requests that were sent.
    pub sent: u64,
    /// Measured requests that were not, because too many were in flight.
    pub unsent: u64,
    /// Measured requests that are OK.
    pub ok: Count,
    /// Those of them whose answer came before their deadline.
    pub in_time: u64,
    /// Errors of measured requests, by gRPC code and reason.
    pub errors: BTreeMap<(&'static str, String), Errors>,
    /// From when a request was due to its OK answer, in microseconds.
    pub latency: Histogram<u64>,
    /// From when a request was due to its refusal, in microseconds.
    pub refusals: Histogram<u64>,
    /// From when a request was due to when it was sent, in microseconds.
    pub lateness: Histogram<u64>,
    /// What ran the items of measured requests, with their numbers.
    pub runners: BTreeMap<Runner, u64>,
    /// Items that had a run of their own.
    ran: u64,
    /// Batches that these make up: each is one part in its batch's size.
    batches: f64,
    /// Times of these items by hop, added up: queue, bridge, preprocess, inference, postprocess.
    hops_us: [u64; 5],
}

impl Tally {
    /// Begins a run.
    pub fn new(window: Range<Instant>, deadline: Duration) -> Result<Self, CreationError> {
        let times = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
        Ok(Self {
            window,
            deadline,
            in_flight: 0,
            ever: Count::default(),
            achieved: Count::default(),
            sent: 0,
            unsent: 0,
            ok: Count::default(),
            in_time: 0,
            errors: BTreeMap::new(),
            latency: times.clone(),
            refusals: times.clone(),
            lateness: times,
            runners: BTreeMap::new(),
            ran: 0,
            batches: 0.0,
            hops_us: [0; 5],
        })
    }

    /// When is measured.
    pub fn window(&self) -> &Range<Instant> {
        &self.window
    }

    /// The window's length in seconds.
    pub fn seconds(&self) -> f64 {
        self.window.end.saturating_duration_since(self.window.start).as_secs_f64()
    }

    /// Closes the window, if it is open still.
    pub fn end(&mut self, now: Instant) {
        self.window.end = self.window.end.min(now).max(self.window.start);
    }

    /// A request could not be sent.
    pub fn unsent(&mut self, due: Instant) {
        self.unsent += u64::from(self.window.contains(&due));
    }

    /// A request was sent.
    pub fn sent(&mut self, due: Instant, now: Instant) {
        self.in_flight += 1;
        if self.window.contains(&due) {
            self.sent += 1;
            record(&mut self.lateness, now.saturating_duration_since(due));
        }
    }

    /// A request was answered.
    pub fn ok(&mut self, due: Instant, now: Instant, response: &v1::InferResponse) {
        self.in_flight -= 1;
        self.ever += response.results.len();
        if self.window.contains(&now) {
            self.achieved += response.results.len();
        }
        if self.window.contains(&due) {
            let latency = now.saturating_duration_since(due);
            self.ok += response.results.len();
            self.in_time += u64::from(latency <= self.deadline);
            record(&mut self.latency, latency);
            self.count_runners(response);
        }
    }

    /// A request failed.
    pub fn failed(&mut self, due: Instant, now: Instant, failure: Failure) {
        self.in_flight -= 1;
        if self.window.contains(&due) {
            if failure.is_refusal() {
                record(&mut self.refusals, now.saturating_duration_since(due));
            }
            let errors = self.errors.entry((failure.code, failure.reason)).or_default();
            errors.count += 1;
            if errors.count == 1 {
                errors.message = failure.message;
            }
        }
    }

    fn count_runners(&mut self, response: &v1::InferResponse) {
        let mut items = vec![0_u64; response.executions.len()];
        for result in &response.results {
            if let Some(items) = items.get_mut(result.execution as usize) {
                *items += 1;
            }
        }
        for (execution, items) in response.executions.iter().zip(items) {
            let runner = Runner {
                browser: format!("{} {}", execution.browser, execution.browser_version),
                backend: report::backend(execution.backend_used()),
                hardware: report::hardware(execution.hardware()),
                dtype: execution.dtype.clone(),
                worker: execution.worker_id.clone(),
                origin: report::origin(execution.origin()),
            };
            *self.runners.entry(runner).or_default() += items;
            if execution.origin() != v1::Origin::Run {
                continue;
            }
            self.ran += items;
            self.batches += items as f64 / f64::from(execution.batch_size.max(1));
            let t = execution.timings.unwrap_or_default();
            let hops = [t.queue_us, t.bridge_us, t.preprocess_us, t.inference_us, t.postprocess_us];
            self.hops_us
                .iter_mut()
                .zip(hops)
                .for_each(|(sum, hop)| *sum = sum.saturating_add(hop.saturating_mul(items)));
        }
    }

    /// Measured requests that failed.
    pub fn failures(&self) -> u64 {
        self.errors.values().map(|errors| errors.count).sum()
    }

    /// Measured requests that were sent and not answered when the run ended.
    pub fn unanswered(&self) -> u64 {
        self.sent - self.ok.requests - self.failures()
    }

    /// Mean number of items in the batches that ran.
    pub fn batch_size(&self) -> f64 {
        if self.batches > 0.0 { self.ran as f64 / self.batches } else { 0.0 }
    }

    /// Mean time of an item by hop, in microseconds: queue, bridge, preprocess, inference, postprocess.
    pub fn hops_us(&self) -> [f64; 5] {
        self.hops_us.map(|sum| sum as f64 / self.ran.max(1) as f64)
    }
}

fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Count, Tally};
    use crate::{proto::v1, rpc::client::Failure};

    const DEADLINE: Duration = Duration::from_millis(100);

    /// A window from 1,000 to 2,000 ms after the returned time.
    fn tally() -> (Tally, Instant) {
        let begin = Instant::now();
        let window = begin + Duration::from_secs(1)..begin + Duration::from_secs(2);
        (Tally::new(window, DEADLINE).unwrap(), begin)
    }

    fn at(begin: Instant, millis: u64) -> Instant {
        begin + Duration::from_millis(millis)
    }

    /// An answer of items in the given batches: worker, items of the request, size.
    fn answer(batches: &[(&str, u32, u32)]) -> v1::InferResponse {
        let executions = batches.iter().map(|(worker, _, size)| v1::Execution {
            worker_id: (*worker).into(),
            origin: v1::Origin::Run.into(),
            batch_size: *size,
            timings: Some(v1::Timings { queue_us: 10, inference_us: 100, ..Default::default() }),
            ..Default::default()
        });
        let result = |execution| v1::ItemResult { output: None, execution };
        let results =
            batches.iter().zip(0..).flat_map(|((_, items, _), index)| (0..*items).map(move |_| result(index)));
        v1::InferResponse { results: results.collect(), executions: executions.collect() }
    }

    fn failure(code: &'static str) -> Failure {
        Failure { code, reason: "WHY".into(), message: "so it is".into(), fields: vec![], retry_after: None }
    }

    #[test]
    fn the_warm_up_and_what_comes_after_are_not_measured() {
        let (mut tally, begin) = tally();
        for (due, came) in [(500, 900), (900, 1100), (1500, 1550), (1900, 2100), (2000, 2050)] {
            tally.sent(at(begin, due), at(begin, due + 1));
            tally.ok(at(begin, due), at(begin, came), &answer(&[("w", 2, 2)]));
        }
        tally.unsent(at(begin, 999));
        tally.unsent(at(begin, 1000));
        assert_eq!((tally.sent, tally.unsent, tally.in_flight), (2, 1, 0));
        assert_eq!(tally.ever, Count { requests: 5, items: 10 });
        assert_eq!(tally.achieved, Count { requests: 2, items: 4 });
        assert_eq!(tally.ok, Count { requests: 2, items: 4 });
        assert_eq!(tally.in_time, 1);
        let latency = |quantile| tally.latency.value_at_quantile(quantile) / 1000;
        assert_eq!((latency(0.5), latency(1.0), tally.lateness.max() / 1000), (50, 200, 1));
    }

    #[test]
    fn errors_are_told_apart_and_refusals_timed() {
        let (mut tally, begin) = tally();
        for code in ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAVAILABLE"] {
            tally.sent(at(begin, 1200), at(begin, 1200));
            tally.failed(at(begin, 1200), at(begin, 1203), failure(code));
        }
        tally.sent(at(begin, 1300), at(begin, 1300));
        tally.end(at(begin, 1500));
        assert_eq!((tally.failures(), tally.unanswered(), tally.refusals.len()), (3, 1, 1));
        assert_eq!(tally.errors[&("UNAVAILABLE", "WHY".to_owned())].count, 2);
        assert_eq!(tally.latency.len(), 0);
        assert!((tally.seconds() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_batch_counts_once_however_many_requests_share_it() {
        let (mut tally, begin) = tally();
        // One batch of four, shared by two requests; another of two, of one request alone.
        for batches in [&[("a", 3, 4)][..], &[("a", 1, 4), ("b", 2, 2)]] {
            tally.sent(at(begin, 1000), at(begin, 1000));
            tally.ok(at(begin, 1000), at(begin, 1001), &answer(batches));
        }
        assert!((tally.batch_size() - 3.0).abs() < 1e-9);
        let by_worker: Vec<_> = tally.runners.iter().map(|(runner, items)| (runner.worker.as_str(), *items)).collect();
        assert_eq!(by_worker, [("a", 4), ("b", 2)]);
        assert_eq!(tally.hops_us(), [10.0, 0.0, 0.0, 100.0, 0.0]);
    }

    #[test]
    fn a_run_that_ends_in_the_warm_up_measured_nothing() {
        let (mut tally, begin) = tally();
        tally.end(at(begin, 300));
        assert_eq!(tally.seconds(), 0.0);
        assert_eq!((tally.batch_size(), tally.hops_us()), (0.0, [0.0; 5]));
    }

    proptest! {
        #[test]
        fn each_measured_request_is_counted_once(
            requests in prop::collection::vec((0u64..3000, 0u64..500, 0..4), 0..100),
        ) {
            let (mut tally, begin) = tally();
            let mut due_inside = 0;
            for (due, takes, fate) in requests {
                let (due_at, came) = (at(begin, due), at(begin, due + takes));
                due_inside += u64::from((1000..2000).contains(&due));
                if fate == 0 {
                    tally.unsent(due_at);
                    continue;
                }
                tally.sent(due_at, due_at);
                match fate {
                    1 => tally.ok(due_at, came, &answer(&[("w", 1, 1)])),
                    2 => tally.failed(due_at, came, failure("RESOURCE_EXHAUSTED")),
                    _ => {}
                }
            }
            prop_assert_eq!(tally.sent + tally.unsent, due_inside);
            prop_assert_eq!(tally.sent, tally.ok.requests + tally.failures() + tally.unanswered());
            prop_assert_eq!(tally.latency.len(), tally.ok.requests);
            prop_assert_eq!(tally.refusals.len(), tally.failures());
        }
    }
}
