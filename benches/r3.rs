//! R3: round trip of a null model, gRPC to worker and back, against a tonic echo and a bare WebSocket echo to the same
//! kind of worker, added.
//!
//! The null model is a real ONNX graph of one Identity node, run by ONNX Runtime: there is no special path for it.

mod common;

use std::time::{Duration, Instant};

use common::{
    Result,
    bare::Bare,
    echo::{self, EchoServer},
    load::{tensor, tensor_frame},
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service},
};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use serde_json::json;
use webinfer::{proto::v1, rpc::client::Client};

const ROUNDS: usize = 6;
const CALLS: usize = 1000;
const FLOATS: usize = 16;

#[tokio::main]
async fn main() -> Result<()> {
    echo::serve_if_asked().await?;
    let models = repository("tests/models");
    let service = Service::start(&models, &ONE_WORKER).await?;
    service.load("identity").await?;
    let mut bare = Bare::start(models).await?;
    let echo = EchoServer::start().await?;

    let request = v1::InferRequest { model: "identity".into(), items: vec![tensor(1, FLOATS)], ..Default::default() };
    let frame = tensor_frame(FLOATS);

    let mut report = Report::new(
        "R3",
        json!({"model": "identity, one ONNX node", "backend": "wasm", "threads": 1, "floats": FLOATS, "rounds": ROUNDS,
               "calls_a_round": CALLS, "concurrency": 1, "order": "A B B A"}),
    );
    let (mut ratios, mut tails, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut service_times = None;
        if round % 2 == 0 {
            service_times = Some(measure(async || call(&service.client, &request).await).await?);
        }
        let echo_times = measure(async || call(&echo.client, &request).await).await?;
        let socket_times = measure(async || bare.echo(frame.clone()).await).await?;
        let service_times = match service_times {
            Some(times) => times,
            None => measure(async || call(&service.client, &request).await).await?,
        };
        // The first round warms up.
        if round > 0 {
            let p50 = |times: &Histogram<u64>| times.value_at_quantile(0.5) as f64;
            let p99 = service_times.value_at_quantile(0.99) as f64;
            ratios.push(p50(&service_times) / (p50(&echo_times) + p50(&socket_times)));
            tails.push(p99 / p50(&service_times));
            raw.push(json!({"service_p50_us": p50(&service_times), "service_p99_us": p99,
                            "tonic_echo_p50_us": p50(&echo_times), "websocket_echo_p50_us": p50(&socket_times)}));
        }
    }
    let hops = hops(&service, &request).await?;
    println!("     one call's hops, mean of {CALLS}: {hops}");
    report.figure("null model p50 / (tonic echo p50 + WebSocket echo p50)", &ratios, Goal::AtMost(1.3), json!(raw));
    report.figure(
        "null model p99 / p50",
        &tails,
        Goal::AtMost(4.0),
        json!({"hops_mean_us": hops, "browser": bare.stop().await?}),
    );
    service.stop().await?;
    report.write()
}

async fn call(client: &Client, request: &v1::InferRequest) -> Result<()> {
    client.infer(request.clone(), Duration::from_secs(10)).await.map_err(|failure| failure.message)?;
    Ok(())
}

/// Times of calls one after the other, in microseconds.
async fn measure(mut call: impl AsyncFnMut() -> Result<()>) -> Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    for _ in 0..CALLS {
        let begun = Instant::now();
        call().await?;
        times.record(u64::try_from(begun.elapsed().as_micros())?)?;
    }
    Ok(times)
}

/// Where the time goes, by the service's own record.
async fn hops(service: &Service, request: &v1::InferRequest) -> Result<serde_json::Value> {
    let answers = futures_util::stream::iter(0..CALLS).then(|_| {
        let request = request.clone();
        async move { service.client.infer(request, Duration::from_secs(10)).await }
    });
    let mut answers = std::pin::pin!(answers);
    let mut sums = [0_u64; 5];
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|failure| failure.message)?;
        let timings = answer.executions.first().and_then(|execution| execution.timings).ok_or("no timings")?;
        let hops =
            [timings.queue_us, timings.bridge_us, timings.preprocess_us, timings.inference_us, timings.postprocess_us];
        sums.iter_mut().zip(hops).for_each(|(sum, hop)| *sum += hop);
    }
    let [queue, bridge, preprocess, inference, postprocess] = sums.map(|sum| sum as f64 / CALLS as f64);
    Ok(json!({"queue": queue, "bridge": bridge, "preprocess": preprocess, "inference": inference,
              "postprocess": postprocess}))
}
