//! Words: figures, times and cells as people read them.

use crate::{Row, RowState, plan::Cell, stats::Verdict};

/// A number with three digits that count.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        large if large >= 100.0 => 0,
        large if large >= 10.0 => 1,
        large if large >= 1.0 => 2,
        large if large >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// Microseconds, in milliseconds.
pub fn millis(micros: f64) -> String {
    figure(micros / 1000.0)
}

/// A part, as a change in percent.
pub fn percent(part: f64) -> String {
    format!("{:+.1} %", part * 100.0)
}

/// Bytes, in MiB.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Milliseconds since 1970, as a time in UTC.
pub fn time(millis: u64) -> String {
    let since = std::time::Duration::from_millis(millis.min(253_402_300_799_999));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string().replace('T', " ").replace('Z', " UTC")
}

/// What makes a cell what it is, besides its model.
pub fn cell(cell: &Cell) -> String {
    let browser = if cell.browser.is_empty() { "default browser" } else { &cell.browser };
    let mut text =
        format!("{browser}, {}, {}, batch {}, {} at once", cell.backend, cell.precision, cell.batch, cell.concurrency);
    if cell.threads > 0 {
        text.push_str(&format!(", {} threads", cell.threads));
    }
    if cell.workers > 1 {
        text.push_str(&format!(", {} workers", cell.workers));
    }
    text
}

/// The name of a state, and why it is so.
pub fn state(state: &RowState) -> (&'static str, &str) {
    match state {
        RowState::Pending => ("pending", ""),
        RowState::Measured => ("measured", ""),
        RowState::Skipped { reason } => ("skipped", reason),
        RowState::Failed { reason } => ("failed", reason),
        RowState::Lost { reason } => ("lost", reason),
    }
}

/// What a comparison says, in words.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Faster => "faster".into(),
        Verdict::Slower => "slower".into(),
        Verdict::Same => "the same".into(),
        Verdict::Unclear => "unclear".into(),
        Verdict::Incomparable(why) => format!("not comparable: {why}"),
    }
}

/// Which of the page's colours a row has: that of its backend, as it ran.
pub fn colour(row: &Row) -> &'static str {
    let ran = row.conditions.as_ref().map_or(&row.cell.backend, |conditions| &conditions.backend);
    match ran.as_str() {
        "wasm" => "wasm",
        "webgpu" => "webgpu",
        name if name.starts_with("webnn") => "webnn",
        _ => "other",
    }
}
