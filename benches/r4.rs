//! R4: throughput of a null model on one worker with many callers, against a bare WebSocket ping-pong to the same kind of
//! worker with one message in flight.

mod common;

use std::time::Duration;

use common::{
    Result,
    bare::Bare,
    load::{closed, in_turn, tensor, tensor_frame},
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service},
};
use serde_json::json;

const ROUNDS: usize = 6;
const TIME: Duration = Duration::from_secs(4);
const CALLERS: usize = 64;
const FLOATS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let models = repository("tests/models");
    let service = Service::start(&models, &ONE_WORKER).await?;
    service.load("identity").await?;
    let mut bare = Bare::start(models).await?;
    let frame = tensor_frame(FLOATS);
    let mut report = Report::new(
        "R4",
        json!({"model": "identity, one ONNX node", "backend": "wasm", "threads": 1, "workers": 1, "floats": FLOATS,
               "rounds": ROUNDS, "concurrency": CALLERS, "connections": 1, "order": "A B B A", "loop": "closed"}),
    );
    let (mut sizes, mut hash) = (Vec::new(), String::new());
    let (ratios, raw) = in_turn(
        ROUNDS,
        async || {
            let request = |number| vec![tensor(number, FLOATS)];
            let achieved = closed(&service.client, "identity", CALLERS, TIME, request).await?;
            sizes.push(achieved.batch);
            hash = achieved.model_sha256;
            Ok(achieved.items_per_s)
        },
        async || bare.echoes(&frame, TIME).await,
    )
    .await?;
    let raw = json!({"browser": bare.stop().await?, "service_and_echoes_per_s": raw, "model_sha256": hash,
                     "mean_batch_of_the_service": sizes});
    report.figure("null model, 64 callers / WebSocket ping-pong", &ratios, Goal::AtLeast(4.0), raw);
    service.stop().await?;
    report.write()
}
