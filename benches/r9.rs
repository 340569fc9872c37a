//! R9: what a request waits longer whose browser is killed while it runs, against one inference and 10 ms; with one warm
//! spare.

mod common;

use std::time::{Duration, Instant};

use common::{
    Result, cosine,
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service, vector},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tokio::time::{sleep, timeout};
use webinfer::proto::v1;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 15;
/// Requests before each kill, whose median is one inference.
const BEFORE: usize = 5;
/// Beside one inference.
const ALLOWED_MS: f64 = 10.0;
/// Time for a spare to be up and loaded.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let text = ["The killed browser held this sentence, which another one has to answer. "; 8].concat();
    let texts = [text.trim_end().to_owned()];
    let conditions = json!({"model": MODEL, "dtype": "q8", "backend": "wasm", "threads": 1, "rounds": ROUNDS,
                            "browsers": 1, "spares": 1, "text_bytes": texts[0].len(),
                            "killed": "the browser's main process with SIGKILL, half an inference after the request"});
    let mut report = Report::new("R9", conditions);
    let service = Service::start(&repository("models"), &[&ONE_WORKER[..], &["--spares=1"]].concat()).await?;
    service.load(MODEL).await?;
    let (mut ratios, mut raw) = (Vec::new(), Vec::new());
    let mut pid = 0;
    for _ in 0..ROUNDS {
        pid = timeout(PATIENCE, warm(&service, pid)).await??;
        let mut before = Vec::new();
        let mut right = Vec::new();
        for _ in 0..BEFORE {
            let begun = Instant::now();
            let answer = Service::embed(&service.client, MODEL, &texts).await?;
            before.push(begun.elapsed().as_secs_f64() * 1e3);
            right = vector(answer.results.first().ok_or("no result")?)?.to_vec();
        }
        before.sort_by(f64::total_cmp);
        let inference = before[BEFORE / 2];
        let (client, asked) = (service.client.clone(), texts.clone());
        let begun = Instant::now();
        let held = tokio::spawn(async move { Service::embed(&client, MODEL, &asked).await });
        sleep(Duration::from_secs_f64(inference / 2e3)).await;
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?;
        let answer = held.await??;
        let took = begun.elapsed().as_secs_f64() * 1e3;
        if cosine(vector(answer.results.first().ok_or("no result")?)?, &right) < 0.999 {
            return Err("the answer is wrong".into());
        }
        if answer.executions.first().is_none_or(|execution| execution.retries == 0) {
            // The answer was faster than the kill.
            continue;
        }
        ratios.push((took - inference) / (inference + ALLOWED_MS));
        let timings = answer.executions.first().and_then(|execution| execution.timings).unwrap_or_default();
        let ms = |us: u64| us as f64 / 1e3;
        raw.push(json!({
            "inference_ms": inference, "held_ms": took, "until_run_again_ms": ms(timings.queue_us),
            "run_again_ms": ms(timings.inference_us), "bridge_ms": ms(timings.bridge_us),
        }));
    }
    if ratios.len() < 5 {
        return Err(format!("only {} kills met a request", ratios.len()).into());
    }
    report.figure("extra latency of a held request / (one inference + 10 ms)", &ratios, Goal::AtMost(1.0), raw.into());
    service.stop().await?;
    report.write()
}

/// Waits until one browser serves and one could take over, and neither is the one that was killed; returns the process of
/// the first.
async fn warm(service: &Service, killed: u32) -> Result<u32> {
    loop {
        let pool = service.client.pool(false).await?;
        let ready = |duty| {
            let mut on = pool.browsers.iter().filter(move |browser| browser.duty() == duty && browser.pid != killed);
            on.find(|browser| browser.workers.iter().any(|worker| worker.state() == v1::WorkerState::Ready))
        };
        if let (Some(serving), Some(_)) = (ready(v1::BrowserDuty::Serving), ready(v1::BrowserDuty::Spare)) {
            return Ok(serving.pid);
        }
        sleep(Duration::from_millis(50)).await;
    }
}
