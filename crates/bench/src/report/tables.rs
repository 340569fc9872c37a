//! Tables of a run: its figures, the conditions of each row, and how it stands to another one.

use maud::{Markup, html};

use super::{draw, words};
use crate::{
    Reading, Row, Run,
    record::Difference,
    stats::{Compared, Estimate},
    steady,
};

/// The figures of rows of one model.
pub fn figures(run: &Run, rows: &[&Row]) -> Markup {
    html! {
        div .wide { table {
            thead { tr {
                @for name in ["Cell", "Ran on", "Hardware", "Items/s", "95 % interval", "p50 ms", "p90", "p95", "p99", "Load s",
                    "First ms", "Memory", "Agreement", "Marks"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for row in rows { (figures_of(run, row)) } }
        } }
    }
}

fn figures_of(run: &Run, row: &Row) -> Markup {
    let (state, reason) = words::state(&row.state);
    let ran =
        row.conditions.as_ref().map(|it| format!("{} {}, {} {}", it.browser, it.browser_version, it.backend, it.dtype));
    html! { tr {
        th scope="row" { (words::cell(&row.cell)) }
        td { (ran.unwrap_or_default()) }
        td { @if row.conditions.is_some() { (row.hardware().name()) } }
        @if let Some(summary) = row.summary() {
            td .number { (words::figure(summary.throughput.value)) }
            td .number { (interval(&summary.throughput)) }
            @for micros in [summary.latency.p50_us, summary.latency.p90_us, summary.latency.p95_us, summary.latency.p99_us] {
                td .number { (words::millis(micros as f64)) }
            }
        } @else {
            td colspan="6" { strong { (state) } @if !reason.is_empty() { ": " (reason) } }
        }
        td .number { @if let Some(micros) = row.load_us { (words::figure(micros as f64 / 1e6)) } }
        td .number { @if let Some(micros) = row.first_result_us { (words::millis(micros as f64)) } }
        td .number { @if let Some(memory) = row.memory.value() { (words::mebibytes(memory.bytes)) } }
        td .number { @if let Some(agreement) = &row.agreement { (format!("{:.5}", agreement.value)) } }
        td {
            @if row.summary().is_some() && state != "measured" { strong { (state) } " " (reason) " " }
            @for mark in steady::marks(row, run.machine.cores) { span .mark title=(mark) { (mark.name()) } " " }
        }
    } }
}

fn interval(estimate: &Estimate) -> String {
    estimate
        .interval
        .map_or_else(|| "-".into(), |(low, high)| format!("{} .. {}", words::figure(low), words::figure(high)))
}

/// What one row was measured under, and how its requests and rounds were.
pub fn conditions(run: &Run, row: &Row) -> Markup {
    let Some(it) = &row.conditions else { return html! {} };
    let load = |load: Option<f64>| load.map_or_else(|| "not known".into(), words::figure);
    let texts = [
        ("Browser", format!("{} {}, by {}", it.browser, it.browser_version, it.driver)),
        ("Arguments", it.browser_arguments.join(" ")),
        ("Backend", it.backend.clone()),
        ("Adapter", it.adapter.clone()),
        ("Hardware", row.hardware().name().into()),
        ("GPU driver", it.gpu_driver.clone()),
        ("Threads, workers", format!("{}, {}", it.threads, it.workers)),
        ("Precision", format!("{}, {} bits", it.dtype, it.bits)),
        ("Model", it.model_sha256.clone()),
        (
            "Runtime",
            format!("transformers.js {}, ONNX Runtime Web {}", it.transformers_version, it.onnxruntime_version),
        ),
        ("Memory for what is recorded", words::mebibytes(it.capture_bytes)),
        ("Inputs", format!("{} ({} of them, {})", it.asked.what, it.asked.count, it.asked.sha256)),
        ("Load average before, after", format!("{}, {}", load(it.load_before), load(it.load_after))),
        ("Memory", reading(&row.memory, |memory| format!("{} ({})", words::mebibytes(memory.bytes), memory.kind))),
        ("GPU memory", reading(&row.gpu_memory, |bytes| words::mebibytes(*bytes))),
        ("Energy", reading(&row.energy, |joules| format!("{} J", words::figure(*joules)))),
    ];
    html! {
        details {
            summary { (row.cell.model) ": " (words::cell(&row.cell)) }
            div .row {
                table {
                    @for (name, text) in texts { tr { th scope="row" { (name) } td { (text) } } }
                    @if let Some(warm) = row.warmed_up {
                        tr { th scope="row" { "Warm-up" } td {
                            (warm.requests) " requests in " (words::figure(warm.seconds)) " s, of which the first "
                            (warm.unlike) " were unlike"
                        } }
                    }
                    @if let Some(hops) = row.summary().map(|summary| summary.hops).filter(|hops| hops.batches > 0) {
                        tr { th scope="row" { "A batch, ms by hop" } td {
                            @for (name, micros) in [("queue", hops.queue_us), ("bridge", hops.bridge_us),
                                ("before", hops.preprocess_us), ("run", hops.inference_us), ("after", hops.postprocess_us)] {
                                (name) " " (words::millis(micros as f64 / hops.batches as f64)) " "
                            }
                        } }
                    }
                    @for mark in steady::marks(row, run.machine.cores) {
                        tr { th scope="row" { (mark.name()) } td { (mark) } }
                    }
                }
                div { (draw::distribution(row)) }
            }
        }
    }
}

fn reading<T>(reading: &Reading<T>, word: impl Fn(&T) -> String) -> String {
    match reading {
        Reading::Read(value) => word(value),
        Reading::Missing(why) => format!("not known: {why}"),
    }
}

/// How rows stand to those of another run.
pub fn compared(compared: &Compared) -> Markup {
    html! {
        div .wide { table {
            thead { tr {
                @for name in ["Model", "Cell", "Throughput", "95 % interval", "Median time", "p, corrected", "Verdict",
                    "What else differs"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for comparison in &compared.comparisons { tr {
                th scope="row" { (comparison.new.model) }
                td { (words::cell(&comparison.new)) }
                td .number { @if let Some(change) = comparison.change { (words::percent(change.value)) } }
                td .number { @if let Some((low, high)) = comparison.change.and_then(|change| change.interval) {
                    (words::percent(low)) " .. " (words::percent(high))
                } }
                td .number { @if let Some(change) = comparison.median_change { (words::percent(change.value)) } }
                td .number { @if let Some(p) = comparison.p_adjusted { (format!("{p:.4}")) } }
                td { strong { (words::verdict(&comparison.verdict)) } }
                td { (differences(&comparison.differences)) }
            } } }
        } }
        @for (which, cells) in [("the base", &compared.only_base), ("this run", &compared.only_new)] {
            @if !cells.is_empty() {
                p { "In " (which) " alone:" }
                ul { @for cell in cells { li { (cell.model) ": " (words::cell(cell)) } } }
            }
        }
    }
}

/// What differs, one after the other.
pub fn differences(all: &[Difference]) -> Markup {
    html! { @for one in all { span .difference { (one.what) ": " (one.was) " → " (one.is) } " " } }
}
