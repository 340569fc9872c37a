//! R4: throughput of a null model on one worker with many callers, against a bare WebSocket ping-pong to the same kind of
//! worker with one message in flight.

mod common;

use std::time::{Duration, Instant};

use common::{
    Result,
    bare::Bare,
    load::{closed, in_turn, tensor},
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service},
};
use prost::Message;
use serde_json::json;
use webinfer::proto::bridge;

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
    let body = bridge::service_frame::Body::Run(bridge::Run { items: vec![tensor(1, FLOATS)] });
    let frame = bytes::Bytes::from(bridge::ServiceFrame { call: 1, body: Some(body) }.encode_to_vec());
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
        async || {
            let (begun, mut echoes) = (Instant::now(), 0);
            while begun.elapsed() < TIME {
                bare.echo(frame.clone()).await?;
                echoes += 1;
            }
            Ok(f64::from(echoes) / begun.elapsed().as_secs_f64())
        },
    )
    .await?;
    let raw = json!({"browser": bare.stop().await?, "service_and_echoes_per_s": raw, "model_sha256": hash,
                     "mean_batch_of_the_service": sizes});
    report.figure("null model, 64 callers / WebSocket ping-pong", &ratios, Goal::AtLeast(4.0), raw);
    service.stop().await?;
    report.write()
}
