//! Rows: runs and comparisons, for people.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use webinfer_bench::{
    Estimate, Listed, Row, RowState, Run, RunState, Summary,
    stats::{Compared, Rule, Verdict, calibrate},
    steady::marks,
};

/// A run: a line for each cell, with the best throughput of each model first where nothing else is said.
pub fn table(run: &Run) -> String {
    let mut table = headed(&[
        "model",
        "browser",
        "ran on",
        "precision",
        "batch",
        "callers",
        "workers",
        "items/s",
        "± %",
        "p50 ms",
        "p99 ms",
        "load s",
        "MiB",
        "error",
        "remark",
    ]);
    for row in &run.rows {
        table.add_row(line(row, run.machine.cores));
    }
    let mut text = format!("{table}\n");
    let _ = writeln!(
        text,
        "{}, {} cores, {}; run {}, {}",
        run.machine.cpu,
        run.machine.cores,
        run.machine.os,
        run.id,
        state(run.state)
    );
    if let Some(alike) = calibrate(run, &Rule::default()) {
        let _ = writeln!(
            text,
            "pairs measured alike: {}, of which {} were called different, {:.1} % apart at most; a change of {:.1} % is found",
            alike.pairs,
            alike.false_alarms,
            alike.largest * 100.0,
            alike.found * 100.0
        );
    }
    let mut missing = run.rows.iter().filter_map(|row| match &row.energy {
        webinfer_bench::Reading::Missing(reason) if row.state == RowState::Measured => Some(reason),
        _ => None,
    });
    if let Some(reason) = missing.next() {
        let _ = writeln!(text, "{reason}");
    }
    plain(&text)
}

fn line(row: &Row, cores: u32) -> Vec<Cell> {
    let (cell, conditions) = (&row.cell, row.conditions.clone().unwrap_or_default());
    let ran = row.conditions.is_some();
    let browser =
        if ran { format!("{} {}", conditions.browser, conditions.browser_version) } else { cell.browser.clone() };
    let on = if ran { format!("{}, {}", conditions.backend, conditions.hardware.name()) } else { cell.backend.clone() };
    let precision = if ran { conditions.dtype.clone() } else { cell.precision.to_string() };
    let workers = match (conditions.threads, cell.threads) {
        (0, 0) => cell.workers.to_string(),
        (0, threads) | (threads, _) => format!("{} x {threads}", cell.workers),
    };
    let words = [cell.model.clone(), browser, on, precision].map(Cell::new);
    let numbers = [cell.batch.to_string(), cell.concurrency.to_string(), workers].map(right);
    let summary = row.summary();
    let figures = summary.as_ref().map_or_else(|| [const { String::new() }; 4], figures);
    let load = row.load_us.map_or_else(String::new, |micros| format!("{:.1}", micros as f64 / 1e6));
    let memory = row.memory.value().map_or_else(String::new, |memory| (memory.bytes >> 20).to_string());
    let error = row.agreement.as_ref().map_or_else(String::new, |it| format!("{:.1e}", (1.0 - it.value).max(0.0)));
    let rest = [load, memory, error].map(right);
    let cells = words.into_iter().chain(numbers).chain(figures.map(right)).chain(rest);
    cells.chain([Cell::new(remark(row, cores))]).collect()
}

fn figures(summary: &Summary) -> [String; 4] {
    let millis = |micros: f64| format!("{:.2}", micros / 1000.0);
    let throughput = &summary.throughput;
    [
        format!("{:.2}", throughput.value),
        within(throughput),
        millis(summary.median_us.value),
        millis(summary.latency.p99_us as f64),
    ]
}

/// Half of an interval, in parts of a hundred of its figure.
fn within(estimate: &Estimate) -> String {
    estimate.interval.map_or_else(String::new, |(low, high)| format!("{:.1}", 50.0 * (high - low) / estimate.value))
}

fn remark(row: &Row, cores: u32) -> String {
    match &row.state {
        RowState::Pending => "not measured yet".into(),
        RowState::Skipped { reason } => format!("skipped: {reason}"),
        RowState::Failed { reason } => format!("failed: {reason}"),
        RowState::Lost { reason } => format!("lost: {reason}"),
        RowState::Measured => marks(row, cores).iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// Runs, a line for each.
pub fn list(runs: &[Listed]) -> String {
    let mut table = headed(&["run", "state", "measured", "models", "version"]);
    for run in runs {
        let measured = format!("{} of {}", run.measured, run.cells);
        table.add_row([
            run.id.to_string(),
            state(run.state).into(),
            measured,
            run.models.join(", "),
            run.service_version.clone(),
        ]);
    }
    plain(&format!("{table}\n"))
}

/// How a run stands to an earlier one.
pub fn comparison(compared: &Compared) -> String {
    let mut table = headed(&[
        "model",
        "browser",
        "backend",
        "precision",
        "batch",
        "callers",
        "workers",
        "change %",
        "from",
        "to",
        "p",
        "verdict",
    ]);
    for it in &compared.comparisons {
        let cell = &it.new;
        let percent = |part: f64| format!("{:+.1}", part * 100.0);
        let change = it.change.as_ref();
        let (low, high) = change
            .and_then(|change| change.interval)
            .map_or_else(Default::default, |(low, high)| (percent(low), percent(high)));
        let verdict = match &it.verdict {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Same => "the same",
            Verdict::Unclear => "unclear: more rounds would tell",
            Verdict::Incomparable(reason) => reason.as_str(),
        };
        let differ = it.differences.iter().map(|it| format!("{} {} → {}", it.what, it.was, it.is)).collect::<Vec<_>>();
        let verdict = [verdict.to_owned()].into_iter().chain(differ).collect::<Vec<_>>().join("; ");
        let words = [&cell.model, &cell.browser, &cell.backend, &cell.precision.to_string()].map(Cell::new);
        let numbers = [
            cell.batch.to_string(),
            cell.concurrency.to_string(),
            cell.workers.to_string(),
            change.map_or_else(String::new, |change| percent(change.value)),
            low,
            high,
            it.p_adjusted.map_or_else(String::new, |p| format!("{p:.3}")),
        ];
        table.add_row(words.into_iter().chain(numbers.map(right)).chain([Cell::new(verdict)]));
    }
    let mut text = format!("{table}\n");
    for it in &compared.differences {
        let _ = writeln!(text, "{} was {} and is {}", it.what, it.was, it.is);
    }
    for (cells, which) in [(&compared.only_base, "earlier"), (&compared.only_new, "later")] {
        if !cells.is_empty() {
            let _ = writeln!(text, "{} cells are in the {which} run alone", cells.len());
        }
    }
    plain(&text)
}

/// What a run says of itself may come from a page, or another machine: nothing in it moves the cursor.
fn plain(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() && letter != '\n' { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().map(shown).collect()
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running, or killed",
        RunState::Complete => "complete",
        RunState::Interrupted => "interrupted",
    }
}

fn headed(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heads);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
