//! SEEING: what it costs to be seen: throughput of a null model on one worker with many callers, with traces of one request in a
//! hundred against none; and with metrics and all else as they are now against another build, which `BENCH_BASELINE` names.

mod common;

use std::{path::PathBuf, time::Duration};

use axum::{Router, routing::post};
use common::{
    Result,
    load::{closed, in_turn, tensor},
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service},
};
use serde_json::json;
use tokio::net::TcpListener;

const ROUNDS: usize = 8;
const TIME: Duration = Duration::from_secs(4);
const CALLERS: usize = 64;
const FLOATS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    let models = repository("tests/models");
    let mut report = Report::new(
        "SEEING",
        json!({"model": "identity, one ONNX node", "backend": "wasm", "threads": 1, "workers": 1, "floats": FLOATS,
               "rounds": ROUNDS, "concurrency": CALLERS, "connections": 1, "order": "A B B A", "loop": "closed"}),
    );
    let endpoint = format!("--otlp-endpoint=http://{}", collector().await?);
    let plain = Service::start(&models, &ONE_WORKER).await?;
    let traced = [&ONE_WORKER[..], &[&endpoint, "--trace-share=0.01"]].concat();
    let traced = Service::start(&models, &traced).await?;
    let (ratios, raw) = compare(&traced, &plain).await?;
    report.figure("null model, 64 callers, 1 % traced / none", &ratios, Goal::AtLeast(0.95), raw);
    traced.stop().await?;
    if let Some(baseline) = std::env::var_os("BENCH_BASELINE").map(PathBuf::from) {
        let other = Service::start_program(&baseline, &models, &ONE_WORKER).await?;
        let (ratios, raw) = compare(&plain, &other).await?;
        report.figure("null model, 64 callers, now / BENCH_BASELINE", &ratios, Goal::AtLeast(0.98), raw);
        other.stop().await?;
    }
    plain.stop().await?;
    report.write()
}

async fn compare(one: &Service, other: &Service) -> Result<(Vec<f64>, serde_json::Value)> {
    one.load("identity").await?;
    other.load("identity").await?;
    let rate = async |service: &Service| {
        let request = |number| vec![tensor(number, FLOATS)];
        Ok(closed(&service.client, "identity", CALLERS, TIME, request).await?.items_per_s)
    };
    let (ratios, raw) = in_turn(ROUNDS, async || rate(one).await, async || rate(other).await).await?;
    Ok((ratios, json!({"items_per_s": raw})))
}

/// What takes spans and does nothing with them; its address.
async fn collector() -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/v1/traces", post(async || ()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
