//! Latencies: how long requests took, exact to a thousandth, in a size that does not grow with their number.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time that is told apart, in microseconds: an hour. What is longer counts as that.
const LONGEST: u64 = 3_600_000_000;
/// Digits that are exact.
const DIGITS: u8 = 3;
/// Most requests of one record, so that many of them can be added up.
const MOST: u64 = 1 << 48;

/// Takes the times of a round as they come. It has 190 KiB, whatever comes.
#[derive(Clone, Debug)]
pub struct Recorder(Histogram<u64>);

/// Times of requests: pairs of a time in microseconds and how many requests took it, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Latencies(Vec<(u64, u64)>);

/// Points of a distribution, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Requests.
    pub count: u64,
    /// The shortest time.
    pub min_us: u64,
    /// Their mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: u64,
    /// 90 of 100 took no longer.
    pub p90_us: u64,
    /// The same for 95.
    pub p95_us: u64,
    /// The same for 99.
    pub p99_us: u64,
    /// The longest time.
    pub max_us: u64,
}

impl Default for Recorder {
    #[expect(clippy::expect_used, reason = "these bounds are constants that the library takes")]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds of a histogram"))
    }
}

impl Recorder {
    /// Adds the time of one request.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST));
    }

    /// What it has taken.
    pub fn latencies(&self) -> Latencies {
        Latencies(self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut recorder = Recorder::default();
        times.into_iter().for_each(|time| recorder.record(time));
        recorder.latencies()
    }
}

impl Latencies {
    /// Requests.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The pairs of all of these together. `None` where there is no request.
    pub fn merged<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Vec<(u64, u64)>> {
        let mut merged = BTreeMap::<u64, u64>::new();
        all.into_iter().flat_map(Self::pairs).for_each(|(micros, count)| {
            let sum = merged.entry(*micros).or_default();
            *sum = sum.saturating_add(*count);
        });
        (!merged.is_empty()).then(|| merged.into_iter().collect())
    }

    /// The percentiles of all of these together. `None` where there is no request.
    pub fn percentiles<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Percentiles> {
        let merged = Self::merged(all)?;
        let (first, last) = (merged.first()?.0, merged.last()?.0);
        let count = merged.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let sum: f64 = merged.iter().map(|(micros, count)| *micros as f64 * *count as f64).sum();
        let at = |percent: u64| {
            let part = (u128::from(count) * u128::from(percent)).div_ceil(100);
            let mut left = u64::try_from(part).unwrap_or(u64::MAX);
            let reaches = |(_, times): &&(u64, u64)| {
                left = left.saturating_sub(*times);
                left == 0
            };
            merged.iter().find(reaches).map_or(last, |(micros, _)| *micros)
        };
        Some(Percentiles {
            count,
            min_us: first,
            mean_us: sum / count as f64,
            p50_us: at(50),
            p90_us: at(90),
            p95_us: at(95),
            p99_us: at(99),
            max_us: last,
        })
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(latencies: Latencies) -> Self {
        latencies.0
    }
}

impl TryFrom<Vec<(u64, u64)>> for Latencies {
    type Error = &'static str;

    fn try_from(pairs: Vec<(u64, u64)>) -> Result<Self, &'static str> {
        if !pairs.is_sorted_by(|(before, _), (after, _)| before < after) {
            return Err("latencies go upwards, each once");
        }
        if pairs.iter().any(|(micros, count)| *micros > 2 * LONGEST || *count == 0) {
            return Err("a latency is an hour at most, and of at least one request");
        }
        let count = pairs.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
        if count.is_none_or(|count| count > MOST) {
            return Err("too many requests for one record");
        }
        Ok(Self(pairs))
    }
}
