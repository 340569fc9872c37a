//! ANSWERS: what it costs to know that answers are right: throughput with cross-checks against none, and what the examination
//! of a new replica adds to its load, with a new reference and with a kept one.

mod common;

use std::time::Duration;

use common::{
    Result,
    load::{closed, in_turn, text, texts},
    minilm, reference,
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service, program},
};
use serde_json::json;

const MODEL: &str = "tiny-bert";
const SHARE: f64 = 0.05;
const ROUNDS: usize = 8;
const LOADS: usize = 5;
const TIME: Duration = Duration::from_secs(4);
const CALLERS: usize = 32;
/// A check runs in another browser.
const TWO_BROWSERS: [&str; 5] = ["--load=none", "--browsers=2", "--replicas=2", "--threads=1", "--backend=wasm"];
const STEPS: [&str; 3] = ["probes", "reference", "calibration"];

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new(
        "ANSWERS",
        json!({"backend": "wasm", "threads": 1, "model": MODEL, "browsers": 2, "share": SHARE, "concurrency": CALLERS,
               "rounds": ROUNDS, "loads": LOADS, "order": "A B B A", "loop": "closed"}),
    );
    cross_checks(&mut report).await?;
    examination(&mut report).await?;
    report.write()
}

async fn cross_checks(report: &mut Report) -> Result<()> {
    let models = repository("tests/models");
    let (sentences, _) = reference(&repository("models/all-MiniLM-L6-v2"), "q8")?;
    let plain = Service::start(&models, &TWO_BROWSERS).await?;
    let share = format!("--cross-check={SHARE}");
    let checked = Service::start(&models, &[&TWO_BROWSERS[..], &[&share]].concat()).await?;
    let words = texts(&sentences, 1);
    let rate = async |service: &Service| {
        let request = |number| vec![text(&format!("{number} {}", words[0]))];
        Ok(closed(&service.client, MODEL, CALLERS, TIME, request).await?.items_per_s)
    };
    plain.load(MODEL).await?;
    checked.load(MODEL).await?;
    let (ratios, raw) = in_turn(ROUNDS, async || rate(&checked).await, async || rate(&plain).await).await?;
    report.figure(
        "tiny-bert, 5 % cross-checked / none",
        &ratios,
        Goal::AtLeast(1.0 - SHARE),
        json!({"items_per_s": raw}),
    );
    let ran = checked.metric("webinfer_cross_checks_total", "").await?;
    report.told("cross-checks that ran meanwhile", &[ran], "checks", json!(ran));
    plain.stop().await?;
    checked.stop().await
}

async fn examination(report: &mut Report) -> Result<()> {
    let folders = minilm().into_iter().map(|(dtype, models)| ("all-MiniLM-L6-v2", dtype, models));
    let tiny = ["fp32", "q8"].map(|dtype| (MODEL, dtype, repository("tests/models")));
    for (model, dtype, models) in tiny.into_iter().chain(folders) {
        let state = tempfile::tempdir()?;
        let state = format!("--state={}", state.path().join("knowledge.db").display());
        let (mut new, mut kept) = (Vec::new(), Vec::new());
        for round in 0..LOADS {
            new.push(parts(Service::start(&models, &ONE_WORKER).await?, model, dtype).await?);
            let again = Service::start_program(&program(), &models, &[&ONE_WORKER[..], &[&state]].concat()).await?;
            let parts = parts(again, model, dtype).await?;
            // The first one makes the reference.
            if round > 0 {
                kept.push(parts);
            }
        }
        for (what, loads) in [("new", new), ("kept", kept)] {
            let shares: Vec<f64> = loads.iter().map(|(took, steps)| steps.iter().sum::<f64>() / took).collect();
            let what = format!("{model} {dtype}, {what} reference: examination / load");
            let raw: Vec<_> = loads.iter().map(|(took, steps)| json!({"load_s": took, "steps_s": steps})).collect();
            report.told(&what, &shares, "", json!({"steps": STEPS, "loads": raw}));
        }
    }
    Ok(())
}

/// Seconds that a load took, and each step of the examination in it.
async fn parts(service: Service, model: &str, dtype: &str) -> Result<(f64, Vec<f64>)> {
    service.load_as(model, dtype).await?;
    let took = service.metric("webinfer_model_load_seconds_sum", "").await?;
    let mut steps = Vec::new();
    for step in STEPS {
        steps.push(service.metric("webinfer_model_examination_seconds_sum", &format!("step=\"{step}\"")).await?);
    }
    service.stop().await?;
    Ok((took, steps))
}
