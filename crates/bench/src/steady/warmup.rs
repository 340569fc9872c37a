//! Warm-up: takes times as they come, and says when they are steady.

use std::time::Duration;

use super::{mser::truncation, trend::Trend};
use crate::{plan::WarmupLimits, record::WarmedUp};

/// Times whose mean is one value, as soon as there are enough of them.
const TOGETHER: usize = 5;
const ENOUGH: usize = 50;
/// Fewest and most values that a trend is looked for in: fewer show none that is not steep.
const FEWEST: usize = 10;
const MOST: usize = 40;
/// Change that is a trend, and chance below which it is no accident.
const DRIFT: f64 = 0.03;
const CHANCE: f64 = 0.05;

/// How a cell becomes steady.
#[derive(Clone, Debug)]
pub struct Warmup {
    limits: WarmupLimits,
    /// Times of requests, in seconds.
    times: Vec<f64>,
    /// How many there are at the next look. Each look reads all of them.
    next_look: usize,
}

impl Warmup {
    /// One that begins.
    pub fn new(limits: &WarmupLimits) -> Self {
        let next_look = (limits.least as usize).max(1);
        Self { limits: limits.clone(), times: Vec::new(), next_look }
    }

    /// Takes the time of the next request, and that since the warm-up began. Returns what it came to once it is over.
    pub fn push(&mut self, time: Duration, elapsed: Duration) -> Option<WarmedUp> {
        self.times.push(time.as_secs_f64());
        let count = self.times.len();
        let last = count >= self.limits.most as usize || elapsed >= self.limits.time;
        if count < self.next_look && !last {
            return None;
        }
        self.next_look = count + (count / 10).max(TOGETHER);
        let unlike = steady_from(&self.times).filter(|_| count >= self.limits.least as usize);
        (last || unlike.is_some()).then(|| WarmedUp {
            requests: u32::try_from(count).unwrap_or(u32::MAX),
            unlike: u32::try_from(unlike.unwrap_or(count)).unwrap_or(u32::MAX),
            seconds: elapsed.as_secs_f64(),
            steady: unlike.is_some(),
        })
    }
}

/// From which of some times on they are steady: alike, and moving nowhere. `None` where they are not.
pub(super) fn steady_from(times: &[f64]) -> Option<usize> {
    let together = if times.len() < ENOUGH { 1 } else { TOGETHER };
    let means = means(times, together);
    let cut = truncation(&means)?;
    let rest = means.get(cut..).filter(|rest| rest.len() >= FEWEST)?;
    let trend = Trend::of(&self::means(rest, rest.len().div_ceil(MOST).max(1)))?;
    (trend.change.abs() < DRIFT || trend.p >= CHANCE).then_some(cut * together)
}

/// The means of so many neighbours each; what is left over at the end is none.
fn means(values: &[f64], together: usize) -> Vec<f64> {
    values.chunks_exact(together).map(|chunk| chunk.iter().sum::<f64>() / together as f64).collect()
}
