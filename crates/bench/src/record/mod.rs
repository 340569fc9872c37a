//! Record: what a run was, what it found, and under which conditions. All of it is kept and exported as it stands here.

mod check;
mod conditions;
mod id;
mod latencies;
mod row;

use serde::{Deserialize, Serialize};

pub(crate) use conditions::differences;
pub use conditions::{Asked, Conditions, Difference, Hardware, Machine};
pub use id::RunId;
pub use latencies::{Latencies, Percentiles, Recorder};
pub use row::{Agreement, Hops, Memory, Reading, Round, Row, RowState, WarmedUp};

use crate::Plan;

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It goes on, or its process was killed.
    Running,
    /// Each of its cells was measured, or says why not.
    Complete,
    /// It was ended before.
    Interrupted,
}

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, the same. `None` while it has not.
    pub ended_ms: Option<u64>,
    /// Version of the service that was measured.
    pub service_version: String,
    /// Commit that the service was built of; empty where it does not say.
    pub commit: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was to be measured.
    pub plan: Plan,
    /// How far it came.
    pub state: RunState,
    /// One for each cell of the plan, in its order.
    pub rows: Vec<Row>,
}

impl Run {
    /// A run that begins, with a row for each cell of its plan: pending, or skipped.
    pub fn new(id: RunId, started_ms: u64, plan: Plan, machine: Machine) -> Self {
        let rows = plan.cells().into_iter().map(Row::new).collect();
        let (service_version, commit) = (String::new(), String::new());
        Self { id, started_ms, ended_ms: None, service_version, commit, machine, plan, state: RunState::Running, rows }
    }

    /// Whether it can go on here: on the machine and with the service that it began with.
    ///
    /// # Errors
    /// What differs. Then what is still missing needs a run of its own.
    pub fn resumable_on(&self, machine: &Machine, service_version: &str, commit: &str) -> Result<(), Vec<Difference>> {
        let mut all = self.machine.differences(machine);
        all.extend(differences([
            ("service version", &self.service_version, &service_version.to_owned()),
            ("commit", &self.commit, &commit.to_owned()),
        ]));
        if all.is_empty() { Ok(()) } else { Err(all) }
    }

    /// What a resumed run has still to do: indexes of rows that are pending, in order, with the rounds that each lacks.
    ///
    /// A round is measured once: those that are there stay.
    pub fn remaining(&self) -> Vec<(usize, Vec<u32>)> {
        let pending = self.rows.iter().enumerate().filter(|(_, row)| row.state == RowState::Pending);
        pending
            .map(|(index, row)| {
                let has = |round: &u32| row.rounds.iter().any(|there| there.index == *round);
                (index, (0..self.plan.rounds).filter(|round| !has(round)).collect())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
