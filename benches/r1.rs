//! R1: throughput of the service against the bare loop, MiniLM on one worker of one WASM thread, requests of 1 and of 32.
//!
//! Both run the same runner, on texts of one length, in the same batches, in turn; only one has work at a time.

mod common;

use std::time::Duration;

use common::{
    Result,
    bare::Bare,
    load::{closed, in_turn, text, text_items, texts},
    minilm, reference,
    report::{Goal, Report},
    service::{ONE_WORKER, Service},
};
use serde_json::json;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 6;
const MILLIS: u64 = 4000;

#[tokio::main]
async fn main() -> Result<()> {
    let conditions = json!({"model": MODEL, "backend": "wasm", "threads": 1, "workers": 1, "rounds": ROUNDS,
                            "millis_a_round": MILLIS, "order": "A B B A", "loop": "closed",
                            "texts": "100 bytes each, about 24 tokens, no two in flight alike"});
    let mut report = Report::new("R1", conditions);
    for (dtype, models) in minilm() {
        let (sentences, _) = reference(&models.join(MODEL), dtype)?;
        let texts = texts(&sentences, 1024);
        for (batch, callers) in [(1, 4), (32, 3)] {
            let most = format!("--max-batch={batch}");
            let service = Service::start(&models, &[&ONE_WORKER[..], &[&most]].concat()).await?;
            let id = service.load_as(MODEL, dtype).await?;
            let mut bare = Bare::start(models.clone()).await?;
            bare.load(MODEL, "feature-extraction", dtype).await?;
            let request = |number: u64| {
                let first = number as usize * batch;
                (first..first + batch).map(|index| text(&texts[index % texts.len()])).collect()
            };
            // The size that pays is learned: until then requests of 32 run in parts.
            let learn = closed(&service.client, &id, callers, Duration::from_secs(8), request).await?;
            let (mut sizes, hash) = (Vec::new(), learn.model_sha256);
            let time = Duration::from_millis(MILLIS);
            let (ratios, raw) = in_turn(
                ROUNDS,
                async || {
                    let achieved = closed(&service.client, &id, callers, time, request).await?;
                    sizes.push(achieved.batch);
                    Ok(achieved.items_per_s)
                },
                async || bare.throughput(&text_items(&texts), batch, MILLIS).await,
            )
            .await?;
            let browser = bare.stop().await?;
            let what = format!("service / bare loop, {dtype}, requests of {batch}, {callers} callers");
            let raw = json!({"browser": browser, "service_and_bare_items_per_s": raw, "model_sha256": hash,
                             "mean_batch_of_the_service": sizes, "batch_of_the_bare_loop": batch});
            report.figure(&what, &ratios, Goal::AtLeast(0.97), raw);
            service.stop().await?;
        }
    }
    report.write()
}
