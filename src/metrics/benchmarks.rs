//! Benchmarks: what rows came to, for boards. What is exact and whole is in the history.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::SharedString;
use webinfer_bench::{Row, RowState, Summary};

use super::{
    catalogue::{BENCHMARK_LOAD, BENCHMARK_MEMORY, BENCHMARK_ROWS, BENCHMARK_SECONDS, BENCHMARK_THROUGHPUT},
    counter, gauge, model_label,
};

/// Kinds of rows that are shown in a process's life; others are in the history alone.
const MOST: usize = 1024;
const MICROS: f64 = 1e-6;

/// A row of a benchmark is done.
pub fn benchmarked(row: &Row) {
    let state = match row.state {
        RowState::Measured => "measured",
        RowState::Failed { .. } => "failed",
        RowState::Lost { .. } => "lost",
        RowState::Pending | RowState::Skipped { .. } => return,
    };
    let model = Arc::from(row.cell.model.as_str());
    counter(&BENCHMARK_ROWS, [model_label(&model), state.into()]).increment(1);
    if let (RowState::Measured, Some(labels), Some(summary)) = (&row.state, labels(row, &model), row.summary()) {
        show(row, &labels, &summary);
    }
}

fn show(row: &Row, labels: &[SharedString], summary: &Summary) {
    gauge(&BENCHMARK_THROUGHPUT, labels.to_vec()).set(summary.throughput.value);
    for (quantile, micros) in [("0.5", summary.median_us.value), ("0.99", summary.latency.p99_us as f64)] {
        let labels = labels.iter().cloned().chain([quantile.into()]);
        gauge(&BENCHMARK_SECONDS, labels).set(micros * MICROS);
    }
    gauge(&BENCHMARK_LOAD, labels.to_vec()).set(row.load_us.unwrap_or(0) as f64 * MICROS);
    let memory = row.memory.value().map_or(0, |memory| memory.bytes);
    gauge(&BENCHMARK_MEMORY, labels.to_vec()).set(memory as f64);
}

/// The labels of a row, by what really ran it; `None` where there would be too many.
fn labels(row: &Row, model: &Arc<str>) -> Option<Vec<SharedString>> {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let (cell, conditions) = (&row.cell, row.conditions.as_ref()?);
    let texts = [&conditions.browser[..], &conditions.backend, hardware(row), &conditions.dtype].map(str::to_owned);
    let numbers = [cell.batch, cell.concurrency, conditions.threads, conditions.workers];
    let values: Vec<_> = texts.into_iter().chain(numbers.map(|number| number.to_string())).collect();
    let key = format!("{model}\n{}", values.join("\n"));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = known.contains(&key) || (known.len() < MOST && known.insert(key));
    shown.then(|| [model_label(model)].into_iter().chain(values.into_iter().map(SharedString::from)).collect())
}

/// As other metrics name it.
fn hardware(row: &Row) -> &'static str {
    use webinfer_bench::Hardware;
    match row.hardware() {
        Hardware::Unknown => "unknown",
        Hardware::Cpu => "cpu",
        Hardware::Software => "software_adapter",
        Hardware::Gpu => "gpu",
    }
}
