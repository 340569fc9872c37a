//! R3: round trip of a null model, gRPC to worker and back, against a tonic echo and a bare WebSocket echo to the same
//! kind of worker, added.
//!
//! The null model is a real ONNX graph of one Identity node, run by ONNX Runtime: there is no special path for it.

mod common;

use std::time::{Duration, Instant};

use common::{
    Result,
    bare::Bare,
    report::{Goal, Report},
    repository,
    service::Service,
};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Server, server::TcpIncoming},
};
use webinfer::{
    proto::v1::{self, item::Input},
    rpc::generated::{
        inference_service_client::InferenceServiceClient,
        inference_service_server::{InferenceService, InferenceServiceServer},
    },
};

const ROUNDS: usize = 6;
const CALLS: usize = 1000;
const FLOATS: usize = 16;

/// Answers with what it was sent, in the messages of the API.
struct Echo;

#[tonic::async_trait]
impl InferenceService for Echo {
    async fn infer(
        &self,
        request: Request<v1::InferRequest>,
    ) -> std::result::Result<Response<v1::InferResponse>, Status> {
        let results = request.into_inner().items.into_iter().map(|item| {
            let output = match item.input {
                Some(Input::Tensors(tensors)) => Some(v1::item_result::Output::Tensors(tensors)),
                _ => None,
            };
            v1::ItemResult { output, execution: 0 }
        });
        Ok(Response::new(v1::InferResponse { results: results.collect(), executions: Vec::new() }))
    }

    type InferStreamStream = ReceiverStream<std::result::Result<v1::InferStreamResponse, Status>>;

    async fn infer_stream(
        &self,
        _request: Request<Streaming<v1::InferStreamRequest>>,
    ) -> std::result::Result<Response<Self::InferStreamStream>, Status> {
        Err(Status::unimplemented("only the unary call is measured"))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let models = repository("tests/models");
    let service = Service::start(&models, &["--load=none"]).await?;
    service.load("identity").await?;
    let mut bare = Bare::start(models).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(InferenceServiceServer::new(Echo)).serve_with_incoming(incoming));
    let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    let mut echo = InferenceServiceClient::new(channel);

    let data: Vec<u8> = (0..FLOATS).flat_map(|value| (value as f32).to_le_bytes()).collect();
    let tensor = v1::Tensor { data_type: v1::DataType::Float32.into(), shape: vec![FLOATS as i64], data: data.into() };
    let tensors = v1::TensorMap { tensors: [("x".to_owned(), tensor)].into() };
    let item = v1::Item { input: Some(Input::Tensors(tensors)) };
    let request = v1::InferRequest { model: "identity".into(), items: vec![item], ..Default::default() };
    let frame = bytes::Bytes::from(request.encode_to_vec());

    let mut report = Report::new(
        "R3",
        json!({"model": "identity, one ONNX node", "backend": "wasm", "threads": 1, "floats": FLOATS, "rounds": ROUNDS,
               "calls_a_round": CALLS, "concurrency": 1, "order": "A B B A"}),
    );
    let (mut ratios, mut tails, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut service_times = None;
        if round % 2 == 0 {
            service_times = Some(measure(async || service_call(&service, &request).await).await?);
        }
        let echo_times = measure(async || echo_call(&mut echo, &request).await).await?;
        let socket_times = measure(async || bare.echo(frame.clone()).await).await?;
        let service_times = match service_times {
            Some(times) => times,
            None => measure(async || service_call(&service, &request).await).await?,
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

async fn service_call(service: &Service, request: &v1::InferRequest) -> Result<()> {
    service.client.infer(request.clone(), Duration::from_secs(10)).await?;
    Ok(())
}

async fn echo_call(echo: &mut InferenceServiceClient<Channel>, request: &v1::InferRequest) -> Result<()> {
    echo.infer(request.clone()).await?;
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
        let timings = answer?.executions.first().and_then(|execution| execution.timings).ok_or("no timings")?;
        let hops =
            [timings.queue_us, timings.bridge_us, timings.preprocess_us, timings.inference_us, timings.postprocess_us];
        sums.iter_mut().zip(hops).for_each(|(sum, hop)| *sum += hop);
    }
    let [queue, bridge, preprocess, inference, postprocess] = sums.map(|sum| sum as f64 / CALLS as f64);
    Ok(json!({"queue": queue, "bridge": bridge, "preprocess": preprocess, "inference": inference,
              "postprocess": postprocess}))
}
