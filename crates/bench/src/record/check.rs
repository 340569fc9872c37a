//! Check: what a record may hold. Runs come out of files that anybody may have written.

use super::{Conditions, Reading, Round, Row, RowState, Run, RunState};
use crate::{BenchError, Known};

/// Longest text.
const LONGEST_TEXT: usize = 4096;
/// Most texts of a list.
const MOST_TEXTS: usize = 1024;
/// Latest time: the year 10000.
const LATEST_MS: u64 = 253_402_300_799_999;
/// Longest round, in seconds.
const LONGEST_ROUND: f64 = 86_400.0;
/// Most of anything that is counted or added up.
const MOST: u64 = 1 << 53;

impl Run {
    /// Whether it can be the record of a run: texts and lists within bounds, numbers that can be, and a row for each cell.
    ///
    /// # Errors
    /// [`BenchError::Record`] or [`BenchError::Plan`] with the place that is wrong.
    pub fn check(&self) -> Result<(), BenchError> {
        self.plan.check(&Known::default())?;
        for (at, text) in [("service_version", &self.service_version), ("commit", &self.commit)] {
            is_short(at, text)?;
        }
        for (at, text) in [("machine.os", &self.machine.os), ("machine.cpu", &self.machine.cpu)] {
            is_short(at, text)?;
        }
        in_range("started_ms", self.started_ms <= LATEST_MS)?;
        in_range("ended_ms", self.ended_ms.is_none_or(|ended| ended <= LATEST_MS))?;
        let cells = self.plan.cells();
        let fit =
            cells.len() == self.rows.len() && cells.iter().zip(&self.rows).all(|(cell, row)| cell.cell == row.cell);
        if !fit {
            return Err(BenchError::record("rows", "are not the cells of the plan"));
        }
        let pending = self.rows.iter().position(|row| row.state == RowState::Pending);
        if let (RunState::Complete, Some(index)) = (self.state, pending) {
            return Err(BenchError::record(format!("rows[{index}]"), "is pending, in a run that is complete"));
        }
        for (index, row) in self.rows.iter().enumerate() {
            row.check(self.plan.rounds).map_err(|error| at(&format!("rows[{index}]"), error))?;
        }
        Ok(())
    }
}

impl Row {
    /// Whether it can be the row of a run of so many rounds.
    pub(crate) fn check(&self, rounds: u32) -> Result<(), BenchError> {
        if self.state == RowState::Measured && (self.rounds.len() != rounds as usize || self.conditions.is_none()) {
            return Err(BenchError::record("state", "says that all is measured, and rounds or conditions are missing"));
        }
        if !self.rounds.is_sorted_by(|before, after| before.index < after.index) {
            return Err(BenchError::record("rounds", "are not in their order, each once"));
        }
        for (index, round) in self.rounds.iter().enumerate() {
            round.check(rounds).map_err(|error| at(&format!("rounds[{index}]"), error))?;
        }
        self.check_parts()
    }

    /// Whether all but its rounds can be.
    pub(crate) fn check_parts(&self) -> Result<(), BenchError> {
        if let RowState::Skipped { reason } | RowState::Failed { reason } | RowState::Lost { reason } = &self.state {
            is_short("state.reason", reason)?;
        }
        if let Some(conditions) = &self.conditions {
            conditions.check().map_err(|error| at("conditions", error))?;
        }
        if let Some(agreement) = &self.agreement {
            is_short("agreement.measure", &agreement.measure)?;
            is_short("agreement.against", &agreement.against)?;
            in_range("agreement", agreement.value.is_finite() && agreement.least.is_finite())?;
        }
        if let Some(warm) = &self.warmed_up {
            in_range("warmed_up", (0.0..=LONGEST_ROUND).contains(&warm.seconds) && warm.unlike <= warm.requests)?;
        }
        is_read("memory", &self.memory, |memory| memory.bytes <= MOST && memory.kind.len() <= LONGEST_TEXT)?;
        is_read("gpu_memory", &self.gpu_memory, |bytes| *bytes <= MOST)?;
        is_read("energy", &self.energy, |joules| joules.is_finite() && *joules >= 0.0)?;
        in_range("times", self.load_us.max(self.first_result_us).is_none_or(|micros| micros <= MOST))
    }
}

impl Round {
    /// Whether it can be a round of a run of so many.
    pub(crate) fn check(&self, rounds: u32) -> Result<(), BenchError> {
        in_range("index", self.index < rounds)?;
        in_range("started_ms", self.started_ms <= LATEST_MS)?;
        in_range("seconds", self.seconds > 0.0 && self.seconds <= LONGEST_ROUND)?;
        // A round without an answer is none: its row failed.
        in_range("items", (1..=MOST).contains(&self.items) && self.failed <= MOST)?;
        in_range("latencies", (1..=self.items).contains(&self.latencies.count()))?;
        let hops = &self.hops;
        let times = [hops.queue_us, hops.bridge_us, hops.preprocess_us, hops.inference_us, hops.postprocess_us];
        in_range("hops", hops.batches.max(times.into_iter().max().unwrap_or_default()) <= MOST)
    }
}

impl Conditions {
    fn check(&self) -> Result<(), BenchError> {
        let texts = [
            ("browser", &self.browser),
            ("browser_version", &self.browser_version),
            ("driver", &self.driver),
            ("backend", &self.backend),
            ("adapter", &self.adapter),
            ("gpu_driver", &self.gpu_driver),
            ("dtype", &self.dtype),
            ("model_sha256", &self.model_sha256),
            ("transformers_version", &self.transformers_version),
            ("onnxruntime_version", &self.onnxruntime_version),
            ("asked.what", &self.asked.what),
            ("asked.sha256", &self.asked.sha256),
        ];
        texts.into_iter().try_for_each(|(at, text)| is_short(at, text))?;
        in_range("browser_arguments", self.browser_arguments.len() <= MOST_TEXTS)?;
        self.browser_arguments.iter().try_for_each(|text| is_short("browser_arguments", text))?;
        let is_load = |load: Option<f64>| load.is_none_or(|load| load.is_finite() && load >= 0.0);
        in_range("load_before", is_load(self.load_before))?;
        in_range("load_after", is_load(self.load_after))
    }
}

fn is_read<T>(at: &str, reading: &Reading<T>, can_be: impl Fn(&T) -> bool) -> Result<(), BenchError> {
    match reading {
        Reading::Read(value) => in_range(at, can_be(value)),
        Reading::Missing(reason) => is_short(at, reason),
    }
}

fn is_short(at: &str, text: &str) -> Result<(), BenchError> {
    if text.len() <= LONGEST_TEXT {
        return Ok(());
    }
    Err(BenchError::record(at, format!("has {} bytes; {LONGEST_TEXT} are the most", text.len())))
}

fn in_range(at: &str, is: bool) -> Result<(), BenchError> {
    if is { Ok(()) } else { Err(BenchError::record(at, "has a value that cannot be")) }
}

/// The error with a place before its own.
fn at(place: &str, error: BenchError) -> BenchError {
    match error {
        BenchError::Record { at, what } => BenchError::record(format!("{place}.{at}"), what),
        error => error,
    }
}
