//! R1: throughput of the service against the bare loop, MiniLM on one worker of one WASM thread, requests of 1 and of 32.
//!
//! Both run the same runner, on the same texts, in the same batches, in turn; only one has work at a time.

mod common;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use common::{
    Result,
    bare::Bare,
    minilm, reference,
    report::{Goal, Report},
    service::Service,
};
use serde_json::json;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 5;
const MILLIS: u64 = 4000;

#[tokio::main]
async fn main() -> Result<()> {
    let conditions = json!({"model": MODEL, "backend": "wasm", "threads": 1, "workers": 1, "rounds": ROUNDS,
                            "millis_a_round": MILLIS, "order": "A B B A", "loop": "closed"});
    let mut report = Report::new("R1", conditions);
    for (dtype, models) in minilm() {
        let (texts, _) = reference(&models.join(MODEL), dtype)?;
        for (batch, callers) in [(1, 4), (32, 3)] {
            let most = format!("--max-batch={batch}");
            let service = Service::start(&models, &["--load=none", &most]).await?;
            let id = service.load_as(MODEL, dtype).await?;
            let mut bare = Bare::start(models.clone()).await?;
            bare.load(MODEL, "feature-extraction", dtype).await?;
            let load = Closed { service: &service, model: &id, texts: &texts, size: batch, callers };
            // One unmeasured turn of each.
            bare.throughput(&texts, batch, MILLIS / 2).await?;
            load.throughput(MILLIS / 2).await?;
            let (mut ratios, mut raw) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let (service_rate, bare_rate) = if round % 2 == 0 {
                    let service_rate = load.throughput(MILLIS).await?;
                    (service_rate, bare.throughput(&texts, batch, MILLIS).await?)
                } else {
                    let bare_rate = bare.throughput(&texts, batch, MILLIS).await?;
                    (load.throughput(MILLIS).await?, bare_rate)
                };
                ratios.push(service_rate / bare_rate);
                raw.push(json!({"service_items_per_s": service_rate, "bare_items_per_s": bare_rate}));
            }
            let browser = bare.stop().await?;
            let what = format!("service / bare loop, {dtype}, requests of {batch}, {callers} callers");
            report.figure(&what, &ratios, Goal::AtLeast(0.97), json!({"browser": browser, "rounds": raw}));
            service.stop().await?;
        }
    }
    report.write()
}

/// A closed loop: each caller sends its next request when it has the answer to its last.
struct Closed<'a> {
    service: &'a Service,
    model: &'a str,
    texts: &'a [String],
    /// Items of a request.
    size: usize,
    callers: usize,
}

impl Closed<'_> {
    /// Items a second.
    async fn throughput(&self, millis: u64) -> Result<f64> {
        let (done, begun) = (AtomicU64::new(0), Instant::now());
        let end = begun + Duration::from_millis(millis);
        let caller = async |first: usize| -> Result<()> {
            let mut at = first;
            while Instant::now() < end {
                let texts = (0..self.size).map(|index| self.texts[(at + index) % self.texts.len()].clone());
                Service::embed(&self.service.client, self.model, &texts.collect::<Vec<_>>()).await?;
                done.fetch_add(self.size as u64, Ordering::Relaxed);
                at += self.size;
            }
            Ok(())
        };
        futures_util::future::try_join_all((0..self.callers).map(|number| caller(number * self.size))).await?;
        Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
    }
}
