//! Marks: what a row's record says against its figures.

use std::fmt;

use serde::Serialize;

use super::trend::Trend;
use crate::{
    record::{Round, Row},
    stats,
};

/// Coefficient of variation of throughputs beyond which rounds are far apart.
const NOISY: f64 = 0.05;
/// Change over all rounds that is a loss of speed, and chance below which it is no accident.
const THROTTLED: f64 = -0.03;
const CHANCE: f64 = 0.05;
/// Load average for each core beyond which a machine has other work.
const BUSY: f64 = 0.5;

/// What to know before one believes a row. Each is calculated from what is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Its rounds are far apart.
    Noisy {
        /// Coefficient of variation of their throughputs.
        variation: f64,
    },
    /// It became slower from round to round, as a machine does that becomes hot.
    Throttled {
        /// Change of its throughput over all rounds, as a part of it; below 0.
        change: f64,
    },
    /// It never became steady before its rounds.
    Warming,
    /// The machine had other work before it.
    Busy {
        /// Load average.
        load: f64,
        /// Cores.
        cores: u32,
    },
    /// Requests of its rounds failed.
    Failing {
        /// How many.
        failed: u64,
    },
}

impl Mark {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Noisy { .. } => "noisy",
            Self::Throttled { .. } => "throttled",
            Self::Warming => "warming",
            Self::Busy { .. } => "busy",
            Self::Failing { .. } => "failing",
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noisy { variation } => write!(formatter, "its rounds vary by {:.1} %", variation * 100.0),
            Self::Throttled { change } => write!(formatter, "it slowed by {:.1} % over its rounds", -change * 100.0),
            Self::Warming => formatter.write_str("it was not steady when its rounds began"),
            Self::Busy { load, cores } => write!(formatter, "{cores} cores had a load of {load:.1} before it"),
            Self::Failing { failed } => write!(formatter, "{failed} requests of its rounds failed"),
        }
    }
}

/// The marks of a row that was measured on a machine of so many cores.
pub fn marks(row: &Row, cores: u32) -> Vec<Mark> {
    let mut marks = Vec::new();
    let variation = stats::variation(&row.rounds);
    if variation > NOISY {
        marks.push(Mark::Noisy { variation });
    }
    let throughputs: Vec<_> = row.rounds.iter().map(Round::throughput).collect();
    if let Some(Trend { change, .. }) =
        Trend::of(&throughputs).filter(|trend| trend.change < THROTTLED && trend.p < CHANCE)
    {
        marks.push(Mark::Throttled { change });
    }
    if row.warmed_up.is_some_and(|warm| !warm.steady) {
        marks.push(Mark::Warming);
    }
    let load = row.conditions.as_ref().and_then(|conditions| conditions.load_before);
    if let Some(load) = load.filter(|load| *load > BUSY * f64::from(cores)) {
        marks.push(Mark::Busy { load, cores });
    }
    let failed = row.rounds.iter().fold(0_u64, |sum, round| sum.saturating_add(round.failed));
    if failed > 0 {
        marks.push(Mark::Failing { failed });
    }
    marks
}
