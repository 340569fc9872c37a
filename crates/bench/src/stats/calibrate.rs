//! Calibrate: how small a change this instrument finds on this machine, and how often it finds one where there is none.

use serde::{Deserialize, Serialize};
use statrs::distribution::ContinuousCDF;

use super::{Rule, Verdict, compare, logs, moments::Moments};
use crate::record::{Round, Row, Run};

/// Chance with which a change is to be found.
const POWER: f64 = 0.8;

/// How far the instrument can be believed here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Pairs of rows that were measured alike, and could be compared.
    pub pairs: u32,
    /// Of these, how many were called different, each compared alone.
    pub false_alarms: u32,
    /// The largest change that was seen between them, as a part.
    pub largest: f64,
    /// The change that is found in four of five cases, with as many rounds: of the noisiest pair.
    pub found: f64,
}

/// What a run tells of itself whose plan has each cell twice or more ([`Plan::repeats`](crate::Plan::repeats)): its rows are
/// taken two by two, neighbours of the same cell, which were measured in turn.
///
/// `None` where no pair can be compared.
pub fn calibrate(run: &Run, rule: &Rule) -> Option<Calibration> {
    let mut sum = Calibration { pairs: 0, false_alarms: 0, largest: 0.0, found: 0.0 };
    for pair in run.rows.chunk_by(|one, other| one.cell == other.cell).flat_map(|alike| alike.chunks_exact(2)) {
        let comparison = compare(&[(&pair[0], &pair[1])], true, rule).pop()?;
        let (Some(change), Some(found)) = (comparison.change, findable(&pair[0], &pair[1], rule)) else { continue };
        sum.pairs += 1;
        sum.false_alarms += u32::from(matches!(comparison.verdict, Verdict::Faster | Verdict::Slower));
        sum.largest = sum.largest.max(change.value.abs());
        sum.found = sum.found.max(found);
    }
    (sum.pairs > 0).then_some(sum)
}

/// The change that is found with the chance [`POWER`] by rounds that are as far apart as these.
fn findable(one: &Row, other: &Row, rule: &Rule) -> Option<f64> {
    let throughput = |round: &Round| Some(round.throughput());
    let (one, other) = (logs(&one.rounds, throughput)?, logs(&other.rounds, throughput)?);
    let differences: Vec<_> = one.iter().zip(&other).map(|(one, other)| other - one).collect();
    let error = Moments::of(&differences)?.error();
    let student = error.student()?;
    let reach = student.inverse_cdf(1.0 - rule.alpha / 2.0) + student.inverse_cdf(POWER);
    Some((reach * error.value).exp_m1().max(rule.least))
}
