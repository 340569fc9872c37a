//! R8: from the start of the service to the first right answer of MiniLM, where what browsers compiled is kept from a start
//! before, against the first start of all.

mod common;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use common::{
    Result, cosine, reference,
    report::{Goal, Report},
    repository,
    service::{Service, vector},
};
use serde_json::json;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 6;
/// Longest wait for what is kept after a first start.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::main]
async fn main() -> Result<()> {
    let models = repository("models");
    let conditions = json!({"model": MODEL, "dtype": "q8", "backend": "wasm", "threads": 1, "rounds": ROUNDS});
    let mut report = Report::new("R8", conditions);
    let (mut ratios, mut raw) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state.db");
        let (service, first) = start(&models, &state).await?;
        kept(&state.with_extension("warm")).await?;
        service.stop().await?;
        let (service, second) = start(&models, &state).await?;
        service.stop().await?;
        // The first round fills the system's file cache.
        if round > 0 {
            ratios.push(second / first);
            raw.push(json!({"first_s": first, "second_s": second}));
        }
    }
    report.figure("start to first right answer, second / first", &ratios, Goal::AtMost(0.5), json!(raw));
    report.write()
}

/// A service that has given its first answer, and the seconds until then.
async fn start(models: &Path, state: &Path) -> Result<(Service, f64)> {
    let (texts, vectors) = reference(&models.join(MODEL), "q8")?;
    let begun = Instant::now();
    let state = format!("--state={}", state.display());
    let program = Path::new(env!("CARGO_BIN_EXE_webinfer"));
    let service = Service::start_program(program, models, &["--replicas=1", "--threads=1", &state]).await?;
    service.load(MODEL).await?;
    let answer = Service::embed(&service.client, MODEL, &texts[..1]).await?;
    let seconds = begun.elapsed().as_secs_f64();
    match cosine(vector(answer.results.first().ok_or("no result")?)?, &vectors[0]) {
        good if good > 0.99 => Ok((service, seconds)),
        bad => Err(format!("the answer is wrong: cosine {bad}").into()),
    }
}

/// Waits until what the browser compiled is kept.
async fn kept(folder: &Path) -> Result<()> {
    let marks = || {
        let programs = std::fs::read_dir(folder).into_iter().flatten().flatten();
        programs.map(|program| program.path().join("has")).find(|marks| marks.exists())
    };
    let begun = Instant::now();
    while marks().is_none() {
        if begun.elapsed() > PATIENCE {
            return Err("nothing was kept of what the browser compiled".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
