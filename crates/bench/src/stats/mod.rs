//! Statistics: what rounds come to, and how sure that is. Pure.
//!
//! The unit is the round. Requests that follow one another share whatever the machine does just then, so that a thousand of
//! them are no thousand observations; rounds of a cell are seconds apart, with those of other cells between them (Kalibera
//! and Jones, "Rigorous Benchmarking in Reasonable Time", 2013). Throughputs are positive and vary by factors, so they are
//! averaged and compared by their logarithms.

mod calibrate;
mod compare;
mod moments;

use serde::{Deserialize, Serialize};

pub use calibrate::{Calibration, calibrate};
pub use compare::{Compared, Comparison, Rule, Verdict, compare, compare_runs};

use crate::record::{Hops, Latencies, Percentiles, Round, Row};
use moments::Moments;

/// Part of the intervals that hold what they are to.
pub const CONFIDENCE: f64 = 0.95;

/// A figure, and where it is with a confidence of [`CONFIDENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower and upper end. `None` where there is one round alone, which says nothing of how sure it is.
    pub interval: Option<(f64, f64)>,
}

/// What the rounds of a row come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Rounds.
    pub rounds: u32,
    /// Items a second: the geometric mean of the rounds.
    pub throughput: Estimate,
    /// Median time of a request in microseconds: the geometric mean of the rounds' medians.
    pub median_us: Estimate,
    /// Times of the requests of all rounds.
    pub latency: Percentiles,
    /// Coefficient of variation of the rounds' throughputs; 0 of one round.
    pub variation: f64,
    /// Times by hop of all rounds.
    pub hops: Hops,
    /// Joules for each item. `None` where energy could not be read.
    pub joules_per_item: Option<f64>,
}

impl Row {
    /// What its rounds come to. `None` where there is none.
    pub fn summary(&self) -> Option<Summary> {
        let latency = Latencies::percentiles(self.rounds.iter().map(|round| &round.latencies))?;
        let throughputs = logs(&self.rounds, |round| Some(round.throughput()))?;
        let medians = logs(&self.rounds, median)?;
        let items: u64 = self.rounds.iter().map(|round| round.items).sum();
        Some(Summary {
            rounds: u32::try_from(self.rounds.len()).unwrap_or(u32::MAX),
            throughput: geometric(&throughputs),
            median_us: geometric(&medians),
            latency,
            variation: variation(&self.rounds),
            hops: self.rounds.iter().fold(Hops::default(), |sum, round| sum + round.hops),
            joules_per_item: self.energy.value().map(|joules| joules / items as f64),
        })
    }
}

/// Coefficient of variation of the throughputs of rounds: deviation by mean. 0 of fewer than two.
pub(crate) fn variation(rounds: &[Round]) -> f64 {
    let throughputs: Vec<_> = rounds.iter().map(Round::throughput).collect();
    Moments::of(&throughputs).map_or(0.0, |moments| moments.variance.sqrt() / moments.mean)
}

/// Median time of a round's requests, in microseconds.
fn median(round: &Round) -> Option<f64> {
    Latencies::percentiles([&round.latencies]).map(|percentiles| percentiles.p50_us as f64)
}

/// The logarithms of a figure of each round. `None` where there is none, or one has no logarithm.
fn logs(rounds: &[Round], figure: impl Fn(&Round) -> Option<f64>) -> Option<Vec<f64>> {
    let log = |round: &Round| figure(round).map(f64::ln).filter(|log| log.is_finite());
    let logs: Option<Vec<_>> = rounds.iter().map(log).collect();
    logs.filter(|logs| !logs.is_empty())
}

/// The geometric mean of what these are the logarithms of.
fn geometric(logs: &[f64]) -> Estimate {
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let interval = Moments::of(logs).and_then(|moments| moments.error().interval(moments.mean));
    Estimate { value: mean.exp(), interval: interval.map(|(low, high)| (low.exp(), high.exp())) }
}

#[cfg(test)]
mod tests;
