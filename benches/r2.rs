//! R2: the whole machine, many callers of one sentence each, against the bare loop at ONNX Runtime's default settings, one
//! sentence at a time.

mod common;

use std::time::Duration;

use common::{
    Result,
    bare::Bare,
    load::{closed, in_turn, text, text_items, texts},
    minilm, reference,
    report::{Goal, Report},
    service::Service,
};
use serde_json::json;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 6;
const MILLIS: u64 = 5000;
const CALLERS: usize = 32;

#[tokio::main]
async fn main() -> Result<()> {
    let conditions = json!({"model": MODEL, "backend": "wasm", "rounds": ROUNDS, "millis_a_round": MILLIS,
                            "order": "A B B A", "loop": "closed", "concurrency": CALLERS,
                            "service": "default settings", "bare_loop": "1 thread, batches of 1",
                            "texts": "100 bytes each, about 24 tokens, no two in flight alike"});
    let mut report = Report::new("R2", conditions);
    for (dtype, models) in minilm() {
        let (sentences, _) = reference(&models.join(MODEL), dtype)?;
        let texts = texts(&sentences, 1024);
        let service = Service::start(&models, &["--load=none"]).await?;
        let id = service.load_as(MODEL, dtype).await?;
        let mut bare = Bare::start(models.clone()).await?;
        bare.load(MODEL, "feature-extraction", dtype).await?;
        let request = |number: u64| vec![text(&texts[number as usize % texts.len()])];
        let learn = closed(&service.client, &id, CALLERS, Duration::from_secs(10), request).await?;
        let (mut sizes, time) = (Vec::new(), Duration::from_millis(MILLIS));
        let (ratios, raw) = in_turn(
            ROUNDS,
            async || {
                let achieved = closed(&service.client, &id, CALLERS, time, request).await?;
                sizes.push(achieved.batch);
                Ok(achieved.items_per_s)
            },
            async || bare.throughput(&text_items(&texts), 1, MILLIS).await,
        )
        .await?;
        let what = format!("whole machine / bare loop one by one, {dtype}, {CALLERS} callers");
        let raw = json!({"browser": bare.stop().await?, "service_and_bare_items_per_s": raw,
                         "model_sha256": learn.model_sha256, "mean_batch_of_the_service": sizes});
        report.figure(&what, &ratios, Goal::AtLeast(3.2), raw);
        service.stop().await?;
    }
    report.write()
}
