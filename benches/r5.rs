//! R5: tensors of 4 MiB, gRPC client to worker and back, against a bare WebSocket echo of the same frames.

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
const CALLERS: usize = 3;
const FLOATS: usize = 1 << 20;
/// MB of one tensor, there and back.
const MEGABYTES: f64 = 2.0 * 4.0 * FLOATS as f64 / 1e6;

#[tokio::main]
async fn main() -> Result<()> {
    let models = repository("tests/models");
    let service = Service::start(&models, &ONE_WORKER).await?;
    service.load("identity").await?;
    let mut bare = Bare::start(models).await?;
    let frame = tensor_frame(FLOATS);
    let mut report = Report::new(
        "R5",
        json!({"model": "identity, one ONNX node", "backend": "wasm", "threads": 1, "workers": 1, "floats": FLOATS,
               "rounds": ROUNDS, "concurrency": CALLERS, "order": "A B B A", "loop": "closed",
               "counted": "bytes of the tensor, once there and once back"}),
    );
    let mut hash = String::new();
    let (ratios, raw) = in_turn(
        ROUNDS,
        async || {
            let request = |number| vec![tensor(number, FLOATS)];
            let achieved = closed(&service.client, "identity", CALLERS, TIME, request).await?;
            hash = achieved.model_sha256;
            Ok(achieved.items_per_s * MEGABYTES)
        },
        async || Ok(bare.echoes(&frame, TIME).await? * MEGABYTES),
    )
    .await?;
    let raw = json!({"browser": bare.stop().await?, "service_and_echo_mb_per_s": raw, "model_sha256": hash});
    report.figure("4 MiB tensors, MB/s / bare WebSocket echo", &ratios, Goal::AtLeast(0.6), raw);
    service.stop().await?;
    report.write()
}
