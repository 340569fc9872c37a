//! Regressions: what became slower since something changed.

use serde::Serialize;

use crate::{
    BenchError, Comparison, History, Row, RowState, Rule, Run, RunId,
    history::Earlier,
    record::{Difference, differences},
    stats::{Verdict, compare},
};

/// Rows of a cell that are looked through for one that was measured before a change.
const MOST: u32 = 64;
/// What may change between two runs of one cell that are compared, and be what made it slower.
const CHANGES: [&str; 8] = [
    "browser",
    "browser version",
    "driver",
    "adapter",
    "GPU driver",
    "model hash",
    "transformers.js",
    "ONNX Runtime Web",
];

/// How a row stands to the last one of its cell that was measured before something changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The run of that one.
    pub since: RunId,
    /// What changed.
    pub changed: Vec<Difference>,
    /// How the new row stands to it.
    pub comparison: Comparison,
}

impl Change {
    /// Whether it became slower, surely and by what is worth telling.
    pub fn is_regression(&self) -> bool {
        self.comparison.verdict == Verdict::Slower
    }
}

/// Compares each measured row of a run with the last one of the same cell, machine and inputs at which the browser, a driver,
/// the model, the runtime or the service was another. Rows without one are left out.
///
/// # Errors
/// What is wrong with the history.
pub fn follow(history: &History, run: &Run, rule: &Rule) -> Result<Vec<Change>, BenchError> {
    let mut found = Vec::new();
    for row in run.rows.iter().filter(|row| row.state == RowState::Measured) {
        let earlier = history.earlier(&row.cell, run.started_ms, MOST)?;
        let before = earlier.into_iter().find_map(|earlier| {
            let changed = changed(&earlier, run, row)?;
            Some((earlier, changed))
        });
        found.extend(before.map(|(earlier, changed)| (row, earlier, changed)));
    }
    let pairs: Vec<_> = found.iter().map(|(row, earlier, _)| (&earlier.row, *row)).collect();
    let comparisons = compare(&pairs, false, rule);
    let changes = found.into_iter().zip(comparisons);
    Ok(changes
        .map(|((_, earlier, changed), comparison)| Change { since: earlier.run.id, changed, comparison })
        .collect())
}

/// What changed since an earlier row. `None` where nothing did, or where the two cannot be compared.
fn changed(earlier: &Earlier, run: &Run, row: &Row) -> Option<Vec<Difference>> {
    let is_like = earlier.row.state == RowState::Measured && earlier.run.machine == run.machine;
    let (was, is) = (earlier.row.conditions.as_ref()?, row.conditions.as_ref()?);
    if !is_like || was.asked.sha256 != is.asked.sha256 {
        return None;
    }
    let mut changed = was.differences(is);
    if changed.iter().any(|difference| !CHANGES.contains(&difference.what.as_str())) {
        return None;
    }
    changed.extend(differences([
        ("service version", &earlier.run.service_version, &run.service_version),
        ("commit", &earlier.run.commit, &run.commit),
    ]));
    (!changed.is_empty()).then_some(changed)
}

#[cfg(test)]
mod tests;
