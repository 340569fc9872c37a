//! Compare: whether one row is faster than another, or only looks so.

use serde::{Deserialize, Serialize};

use super::{
    Estimate, logs, median,
    moments::{Moments, StandardError},
};
use crate::{
    plan::Cell,
    record::{self, Difference, Round, Row, RowState, Run},
};

/// What counts as different.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Chance of calling one row different where all are alike, over all rows that are compared at once.
    pub alpha: f64,
    /// Change of throughput that is worth telling, as a part of it.
    pub least: f64,
}

/// Fewest rounds of a row that is compared.
const FEWEST: usize = 3;

/// What a comparison says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has more throughput, more surely than the rule asks, and by what is worth telling.
    Faster,
    /// The same, and less.
    Slower,
    /// The interval holds no change that is worth telling.
    Same,
    /// It may be the same or not: there are too few rounds for so much noise.
    Unclear,
    /// They cannot be compared.
    Incomparable(String),
}

/// How a row stands to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The cell that is the measure.
    pub base: Cell,
    /// The cell that is compared with it.
    pub new: Cell,
    /// Change of throughput, as a part of the base's. `None` where they cannot be compared.
    pub change: Option<Estimate>,
    /// Change of the median time of a request, the same. No verdict is made of it.
    pub median_change: Option<Estimate>,
    /// Chance of a difference at least as large if both are alike.
    pub p: Option<f64>,
    /// The same, corrected for all rows that were compared at once.
    pub p_adjusted: Option<f64>,
    /// What it says.
    pub verdict: Verdict,
    /// Whether rounds were compared one by one, since they were measured in turn.
    pub paired: bool,
    /// What else differs.
    pub differences: Vec<Difference>,
}

/// How a run stands to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Cells that both have, in the order of the new run.
    pub comparisons: Vec<Comparison>,
    /// Cells that the base alone has.
    pub only_base: Vec<Cell>,
    /// Cells that the new one alone has.
    pub only_new: Vec<Cell>,
    /// What differs between their machines and services.
    pub differences: Vec<Difference>,
}

impl Default for Rule {
    /// 3 %, so that it stays below one in twenty where rounds are more alike than few of them can show; and 2 %.
    fn default() -> Self {
        Self { alpha: 0.03, least: 0.02 }
    }
}

/// Compares rows, each a base and a new one, and corrects for their number.
///
/// `paired` says that both rows of each pair were measured in turn, in one block of a [`Schedule`](crate::Schedule): then
/// what the machine did at the time is in both. The test is Welch's on the logarithms of the rounds' throughputs, or Student's
/// on their differences where they are paired; the correction is Holm's ("A simple sequentially rejective multiple test
/// procedure", 1979). A row is `Faster` or `Slower` where the corrected chance is below [`Rule::alpha`] and the change is
/// [`Rule::least`] or more; `Same` where the whole interval of the change is within that.
pub fn compare(pairs: &[(&Row, &Row)], paired: bool, rule: &Rule) -> Vec<Comparison> {
    let mut all: Vec<_> = pairs.iter().map(|(base, new)| one(base, new, paired)).collect();
    let chances: Vec<_> = all.iter().map(|comparison| comparison.p).collect();
    for (comparison, adjusted) in all.iter_mut().zip(holm(&chances)) {
        comparison.p_adjusted = adjusted;
        if let (Some(change), Some(adjusted)) = (comparison.change, adjusted) {
            comparison.verdict = verdict(change, adjusted, rule);
        }
    }
    all
}

/// Compares the rows of two runs whose cells are the same. Rows that are in one alone are named.
pub fn compare_runs(base: &Run, new: &Run, rule: &Rule) -> Compared {
    let (mut old, mut pairs, mut only_new) = (told(base), Vec::new(), Vec::new());
    for row in told(new) {
        // Each row once, so that a cell which is there several times is compared with as many.
        match old.iter().position(|base| base.cell == row.cell) {
            Some(index) => pairs.push((old.remove(index), row)),
            None => only_new.push(row.cell.clone()),
        }
    }
    let mut differences = base.machine.differences(&new.machine);
    differences.extend(record::differences([
        ("service version", &base.service_version, &new.service_version),
        ("commit", &base.commit, &new.commit),
    ]));
    let comparisons = compare(&pairs, false, rule);
    Compared { comparisons, only_base: old.into_iter().map(|row| row.cell.clone()).collect(), only_new, differences }
}

/// Rows of which there is anything to say: what was skipped is in no run.
fn told(run: &Run) -> Vec<&Row> {
    run.rows.iter().filter(|row| !matches!(row.state, RowState::Skipped { .. })).collect()
}

fn one(base: &Row, new: &Row, paired: bool) -> Comparison {
    let differences = match (&base.conditions, &new.conditions) {
        (Some(was), Some(is)) => was.differences(is),
        _ => Vec::new(),
    };
    let obstacle = obstacle(base, new, &differences);
    let figure = |figure| obstacle.is_none().then(|| change(base, new, paired, figure)).flatten();
    let (change, p) = figure(|round| Some(round.throughput())).unzip();
    let verdict = obstacle.clone().map_or(Verdict::Unclear, Verdict::Incomparable);
    let median_change = figure(median).map(|(change, _)| change);
    let (base, new, p) = (base.cell.clone(), new.cell.clone(), p.flatten());
    Comparison { base, new, change, median_change, p, p_adjusted: None, verdict, paired, differences }
}

/// Why two rows cannot be compared.
fn obstacle(base: &Row, new: &Row, differences: &[Difference]) -> Option<String> {
    for (row, which) in [(base, "the base"), (new, "the new row")] {
        if row.rounds.len() < FEWEST {
            return Some(format!("{which} has {} rounds; {FEWEST} are the fewest", row.rounds.len()));
        }
    }
    differences.iter().any(|difference| difference.what == "inputs").then(|| "their inputs differ".into())
}

/// The change of a figure of each round, and its chance.
fn change(base: &Row, new: &Row, paired: bool, figure: fn(&Round) -> Option<f64>) -> Option<(Estimate, Option<f64>)> {
    let (was, is) = (logs(&base.rounds, figure)?, logs(&new.rounds, figure)?);
    let in_turn = base.rounds.iter().map(|round| round.index).eq(new.rounds.iter().map(|round| round.index));
    let (difference, error) = if paired && in_turn {
        let differences: Vec<_> = was.iter().zip(&is).map(|(was, is)| is - was).collect();
        let moments = Moments::of(&differences)?;
        (moments.mean, moments.error())
    } else {
        let (was, is) = (Moments::of(&was)?, Moments::of(&is)?);
        (is.mean - was.mean, is.error_of_difference(&was))
    };
    Some((relative(difference, &error), error.chance(difference)))
}

/// A difference of logarithms as a change.
fn relative(difference: f64, error: &StandardError) -> Estimate {
    let interval = error.interval(difference).map(|(low, high)| (low.exp_m1(), high.exp_m1()));
    Estimate { value: difference.exp_m1(), interval }
}

fn verdict(change: Estimate, adjusted: f64, rule: &Rule) -> Verdict {
    let within = |(low, high): (f64, f64)| low > -rule.least && high < rule.least;
    if adjusted < rule.alpha && change.value.abs() >= rule.least {
        if change.value > 0.0 { Verdict::Faster } else { Verdict::Slower }
    } else if change.interval.is_some_and(within) {
        Verdict::Same
    } else {
        Verdict::Unclear
    }
}

/// Chances, corrected for their number: each is at least what makes its turn come.
pub(super) fn holm(chances: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut known: Vec<_> = chances.iter().enumerate().filter_map(|(index, p)| p.map(|p| (index, p))).collect();
    known.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut adjusted = vec![None; chances.len()];
    let mut least = 0.0_f64;
    for (rank, (index, p)) in known.iter().enumerate() {
        least = least.max(p * (known.len() - rank) as f64).min(1.0);
        adjusted[*index] = Some(least);
    }
    adjusted
}
