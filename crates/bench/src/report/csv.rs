//! CSV: one line for each row of a run.

use super::words;
use crate::{BenchError, Row, Run, steady};

const COLUMNS: [&str; 27] = [
    "run",
    "model",
    "browser",
    "browser_version",
    "backend",
    "precision",
    "dtype",
    "batch",
    "concurrency",
    "threads",
    "workers",
    "hardware",
    "adapter",
    "state",
    "reason",
    "rounds",
    "items_per_second",
    "items_per_second_low",
    "items_per_second_high",
    "p50_us",
    "p90_us",
    "p95_us",
    "p99_us",
    "load_us",
    "memory_bytes",
    "agreement",
    "marks",
];

/// The rows of a run. Numbers that are not known are empty.
///
/// Texts that a spreadsheet would take for a formula begin with an apostrophe.
///
/// # Errors
/// [`BenchError::Io`] where there is no memory for it.
pub fn csv(run: &Run) -> Result<String, BenchError> {
    let write = || -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(COLUMNS)?;
        for row in &run.rows {
            writer.write_record(fields(run, row).map(harmless))?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    };
    let bytes = write().map_err(|error| BenchError::Io { what: "the table".into(), error: error.into() })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn fields(run: &Run, row: &Row) -> [String; 27] {
    let (cell, conditions, summary) = (&row.cell, row.conditions.clone().unwrap_or_default(), row.summary());
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let figure = |figure: Option<f64>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    let interval = summary.and_then(|summary| summary.throughput.interval);
    let latency = summary.map(|summary| summary.latency);
    let (state, reason) = words::state(&row.state);
    let marks = steady::marks(row, run.machine.cores);
    [
        run.id.to_string(),
        cell.model.clone(),
        if conditions.browser.is_empty() { cell.browser.clone() } else { conditions.browser },
        conditions.browser_version,
        if conditions.backend.is_empty() { cell.backend.clone() } else { conditions.backend },
        cell.precision.to_string(),
        conditions.dtype,
        cell.batch.to_string(),
        cell.concurrency.to_string(),
        cell.threads.to_string(),
        cell.workers.to_string(),
        row.hardware().name().into(),
        conditions.adapter,
        state.into(),
        reason.into(),
        row.rounds.len().to_string(),
        figure(summary.map(|summary| summary.throughput.value)),
        figure(interval.map(|(low, _)| low)),
        figure(interval.map(|(_, high)| high)),
        number(latency.map(|latency| latency.p50_us)),
        number(latency.map(|latency| latency.p90_us)),
        number(latency.map(|latency| latency.p95_us)),
        number(latency.map(|latency| latency.p99_us)),
        number(row.load_us),
        number(row.memory.value().map(|memory| memory.bytes)),
        figure(row.agreement.as_ref().map(|agreement| agreement.value)),
        marks.iter().map(steady::Mark::name).collect::<Vec<_>>().join(" "),
    ]
}

fn harmless(field: String) -> String {
    let is_number = field.parse::<f64>().is_ok();
    if !is_number && field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { field }
}
