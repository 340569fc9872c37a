//! HTML: a run as one page that needs nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{draw, tables, words};
use crate::{Hardware, Row, Run, RunState, stats::Compared};

const STYLE: &str = include_str!("style.css");

/// The page of a run, and how it stands to another one if that is given. It asks for nothing, and runs no script.
pub fn html(run: &Run, compared: Option<&Compared>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "webinfer benchmark " (run.id) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                svg .patterns width="0" height="0" aria-hidden="true" { defs {
                    pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                        rect .gap width="6" height="6" {}
                        rect .stripe width="3" height="6" {}
                    }
                } }
                header { h1 { "webinfer benchmark " (run.id) } (head(run)) }
                main {
                    @for model in &run.plan.models { (of_model(run, model)) }
                    @if let Some(compared) = compared {
                        section { h2 { "Against the run before" } p { (tables::differences(&compared.differences)) }
                            (draw::changes(compared)) (tables::compared(compared)) }
                    }
                    section { h2 { "Conditions" } @for row in &run.rows { (tables::conditions(run, row)) } }
                    (reading())
                }
            }
        }
    };
    page.into_string()
}

fn head(run: &Run) -> Markup {
    let state = match run.state {
        RunState::Complete => "complete",
        RunState::Interrupted => "interrupted: some rows may lack rounds",
        RunState::Running => "not ended: some rows may lack rounds",
    };
    html! {
        dl {
            dt { "Began" } dd { (words::time(run.started_ms)) }
            @if let Some(ended) = run.ended_ms { dt { "Ended" } dd { (words::time(ended)) } }
            dt { "State" } dd { (state) }
            dt { "Service" } dd { (run.service_version) " " (run.commit) }
            dt { "Machine" } dd {
                (run.machine.os) ", " (run.machine.cpu) ", " (run.machine.cores) " cores, "
                (words::mebibytes(run.machine.memory_bytes))
            }
            dt { "Plan" } dd {
                (run.plan.rounds) " rounds of " (humantime::format_duration(run.plan.round_time)) ", "
                (run.plan.at_once) " cells in turn, seed " (run.plan.seed)
            }
        }
    }
}

fn of_model(run: &Run, model: &str) -> Markup {
    let rows: Vec<&Row> = run.rows.iter().filter(|row| row.cell.model == model).collect();
    let told = draw::told(&rows);
    html! {
        section {
            h2 { (model) }
            @if told.is_empty() {
                p { "Nothing was measured." }
            } @else {
                p .legend {
                    @for (class, name) in [("wasm", "WebAssembly"), ("webgpu", "WebGPU"), ("webnn", "WebNN")] {
                        @if told.iter().any(|(row, _)| words::colour(row) == class) {
                            span class={ "key " (class) } {} (name) " "
                        }
                    }
                    @if told.iter().any(|(row, _)| row.hardware() == Hardware::Software) {
                        span .key.software {} "software in place of a GPU"
                    }
                }
                (draw::throughput(&told))
                (draw::latency(&told))
            }
            (tables::figures(run, &rows))
        }
    }
}

fn reading() -> Markup {
    html! {
        section .notes {
            h2 { "How to read this" }
            p {
                "A figure is the geometric mean of its rounds, and the interval holds the true one with 95 % confidence: "
                "by Student's t over the rounds, which count for less where each is like the one before. Neighbours of "
                "the plan were measured in turn."
            }
            p { "A row that says software was computed by the CPU in place of a GPU: it tells nothing of GPUs." }
            p {
                "Marks: " b { "noisy" } ", its rounds are far apart; " b { "throttled" } ", it slowed from round to round; "
                b { "warming" } ", it was not steady when its rounds began; "
                b { "busy" } ", the machine had other work; " b { "failing" } ", requests failed meanwhile."
            }
        }
    }
}
