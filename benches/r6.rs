//! R6: CPU time of the service for each null request, against that of a tonic echo server.

mod common;

use common::{
    Result,
    echo::{self, EchoServer},
    load::{in_turn, tensor},
    process::cpu_seconds,
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service},
};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;
use std::time::Duration;
use webinfer::{proto::v1, rpc::client::Client};

const ROUNDS: usize = 6;
const REQUESTS: u64 = 10_000;
const CALLERS: usize = 8;
const FLOATS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    echo::serve_if_asked().await?;
    let service = Service::start(&repository("tests/models"), &ONE_WORKER).await?;
    service.load("identity").await?;
    let echo = EchoServer::start().await?;
    let mut report = Report::new(
        "R6",
        json!({"model": "identity, one ONNX node", "backend": "wasm", "floats": FLOATS, "rounds": ROUNDS,
               "requests_a_round": REQUESTS, "concurrency": CALLERS, "order": "A B B A",
               "counted": "user and system time of the server's process, without the browser's"}),
    );
    let (ratios, raw) = in_turn(
        ROUNDS,
        async || cpu_us(&service.client, service.pid()).await,
        async || cpu_us(&echo.client, echo.pid()).await,
    )
    .await?;
    let raw = json!({"service_and_echo_us_a_request": raw});
    report.figure("CPU of a null request / of a tonic echo", &ratios, Goal::AtMost(2.0), raw);
    service.stop().await?;
    report.write()
}

/// Microseconds of CPU that a process takes for each request.
async fn cpu_us(client: &Client, pid: u32) -> Result<f64> {
    let before = cpu_seconds(pid)?;
    let call = |number| async move {
        let request =
            v1::InferRequest { model: "identity".into(), items: vec![tensor(number, FLOATS)], ..Default::default() };
        client.infer(request, Duration::from_secs(10)).await.map_err(|failure| failure.message)
    };
    let calls = futures_util::stream::iter(0..REQUESTS).map(call).buffer_unordered(CALLERS);
    calls.try_for_each(|_| async { Ok(()) }).await?;
    Ok((cpu_seconds(pid)? - before) * 1e6 / REQUESTS as f64)
}
