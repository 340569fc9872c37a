//! The service over real sockets, with a fake browser that speaks the bridge's frames.

use std::time::Duration;

use futures_util::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use webinfer::{
    app,
    proto::{
        bridge::FailureKind,
        v1::{self, infer_stream_response::Result as StreamResult},
    },
};

use crate::common::{
    Service, blamed, details, embedding,
    fake::{Fake, Fault},
    floats, output_tensor, settings, soon, tensors, text,
};

/// A service with one worker that serves tiny-bert in batches of up to four.
async fn serving(fake: &std::sync::Arc<Fake>, arguments: &[&str]) -> Service {
    let fixed = ["--replicas=1", "--threads=1", "--max-batch=4"];
    let service = Service::start(&[&fixed, arguments].concat(), fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    service
}

#[tokio::test]
async fn an_answer_says_what_ran_it() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    let response = service.embed("tiny-bert", &["abc", "hello"]).await.unwrap();
    assert_eq!(embedding(&response.results[0]), [3.0, f32::from(b'a')]);
    assert_eq!(embedding(&response.results[1]), [5.0, f32::from(b'h')]);
    let [execution] = &response.executions[..] else { panic!("{:?}", response.executions) };
    assert_eq!((execution.browser.as_str(), execution.browser_version.as_str()), ("Fake", "1.2.3"));
    assert_eq!((execution.backend_requested(), execution.backend_used()), (v1::Backend::Wasm, v1::Backend::Wasm));
    assert_eq!((execution.hardware(), execution.dtype.as_str()), (v1::Hardware::Cpu, "q8"));
    assert_eq!((execution.batch_size, execution.retries, execution.threads), (2, 0, 1));
    assert_eq!(execution.model_sha256.len(), 64);
    let timings = execution.timings.unwrap();
    assert_eq!((timings.preprocess_us, timings.inference_us, timings.postprocess_us), (1, 2, 3));
    service.stop().await;
}

#[tokio::test]
async fn a_large_request_runs_in_batches_and_keeps_its_order() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    let texts: Vec<String> = (1..=10).map(|length| "x".repeat(length)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let response = service.embed("tiny-bert", &texts).await.unwrap();
    let lengths: Vec<_> = response.results.iter().map(|result| embedding(result)[0]).collect();
    assert_eq!(lengths, (1..=10).map(|length| length as f32).collect::<Vec<_>>());
    let sizes: Vec<_> = fake.batches(3).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 2]);
    let sizes: Vec<_> = response.executions.iter().map(|execution| execution.batch_size).collect();
    assert_eq!(sizes, [4, 4, 2]);
    assert_eq!(response.results[9].execution, 2);
    service.stop().await;
}

#[tokio::test]
async fn tensors_come_back_as_they_went_and_one_run_each() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    service.load("identity").await.unwrap();
    let item = |value: f32| tensors(&[("x", floats(&[2], &[value, 2.5]))]);
    let response = service.infer("identity", vec![item(1.0), item(f32::NAN)]).await.unwrap();
    assert_eq!(output_tensor(&response.results[0], "x"), &floats(&[2], &[1.0, 2.5]));
    assert_eq!(output_tensor(&response.results[1], "x"), &floats(&[2], &[f32::NAN, 2.5]));
    let sizes: Vec<_> = response.executions.iter().map(|execution| execution.batch_size).collect();
    assert_eq!(sizes, [2], "both went in one frame");
    service.stop().await;
}

#[tokio::test]
async fn a_stream_answers_each_request_by_its_id() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--max-batch=1"]).await;
    let (sender, requests) = tokio::sync::mpsc::channel(16);
    let request = |id: &str, model: &str, item: v1::Item| v1::InferStreamRequest {
        request_id: id.into(),
        request: Some(v1::InferRequest { model: model.into(), items: vec![item], ..Default::default() }),
        partials: false,
    };
    let mut client = service.inference();
    let mut answers = client.infer_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    sender.send(request("one", "tiny-bert", text("a"))).await.unwrap();
    fake.batches(1).await;
    sender.send(request("one", "tiny-bert", text("b"))).await.unwrap();
    sender.send(request("two", "no-such", text("c"))).await.unwrap();
    sender.send(request("", "tiny-bert", text("d"))).await.unwrap();
    let mut errors = Vec::new();
    for _ in 0..3 {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        let Some(StreamResult::Error(error)) = answer.result else { panic!("{answer:?}") };
        assert!(!error.details.is_empty());
        errors.push((answer.request_id, Code::from(error.code)));
    }
    errors.sort_by_key(|(id, _)| id.clone());
    let code = |name: &str, code| (name.to_owned(), code);
    assert_eq!(
        errors,
        [code("", Code::InvalidArgument), code("one", Code::InvalidArgument), code("two", Code::NotFound)]
    );
    sender.send(request("three", "tiny-bert", text("long"))).await.unwrap();
    drop(sender);
    fake.release(2);
    let mut lengths = Vec::new();
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        let Some(StreamResult::Response(response)) = answer.result else { panic!("{answer:?}") };
        lengths.push((answer.request_id, embedding(&response.results[0])[0]));
    }
    assert_eq!(lengths, [("one".to_owned(), 1.0), ("three".to_owned(), 4.0)]);
    service.stop().await;
}

#[tokio::test]
async fn a_deadline_is_answered_in_time() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--default-deadline=100ms"]).await;
    let error = service.embed("tiny-bert", &["stuck"]).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    fake.release(1);
    service.stop().await;
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_run() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--max-batch=1"]).await;
    let ask = |word: &'static str| {
        let mut client = service.inference();
        let request = v1::InferRequest { model: "tiny-bert".into(), items: vec![text(word)], ..Default::default() };
        tokio::spawn(async move { client.infer(request).await })
    };
    let first = ask("first");
    fake.batches(1).await;
    let second = ask("second");
    // The worker has two in hand now; a third waits in the queue.
    fake.batches(2).await;
    let third = ask("third");
    second.abort();
    fake.cancelled(1).await;
    fake.batches(3).await;
    third.abort();
    fake.release(1);
    first.await.unwrap().unwrap();
    let fourth = ask("fourth");
    fake.release(2);
    fourth.await.unwrap().unwrap();
    assert_eq!(fake.batches(4).await.concat(), ["first", "second", "third", "fourth"]);
    service.stop().await;
}

#[tokio::test]
async fn more_than_may_be_pending_is_refused_and_later_taken() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--max-pending-items=2", "--model-share=1", "--client-share=1"]).await;
    let mut client = service.inference();
    let request =
        v1::InferRequest { model: "tiny-bert".into(), items: vec![text("a"), text("b")], ..Default::default() };
    let pending = tokio::spawn(async move { client.infer(request).await });
    fake.batches(1).await;
    let error = service.embed("tiny-bert", &["c"]).await.unwrap_err();
    let (details, reason) = details(&error);
    assert_eq!((error.code(), reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    let delay = details.retry_info().unwrap().retry_delay.unwrap();
    let pushback: u128 = error.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!(delay > Duration::ZERO && pushback == delay.as_nanos().div_ceil(1_000_000), "{delay:?}, {pushback} ms");
    fake.release(2);
    pending.await.unwrap().unwrap();
    service.embed("tiny-bert", &["c"]).await.unwrap();
    let error = service.embed("tiny-bert", &["a", "b", "c"]).await.unwrap_err();
    assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, "items"));
    service.stop().await;
}

#[tokio::test]
async fn a_failed_run_is_explained_and_leaves_the_worker() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    for (kind, code, reason) in [
        (FailureKind::BadInput, Code::InvalidArgument, "BAD_INPUT"),
        (FailureKind::Runtime, Code::Internal, "INFERENCE_FAILED"),
        (FailureKind::OutOfMemory, Code::ResourceExhausted, "OUT_OF_MEMORY"),
        (FailureKind::BadOutput, Code::Internal, "BAD_OUTPUT"),
    ] {
        fake.fault_run(Fault::Fail(kind, "so it is", false));
        if kind == FailureKind::BadOutput {
            // It is tried once more: the worker may be at fault.
            fake.fault_run(Fault::Fail(kind, "so it is", false));
        }
        let error = service.embed("tiny-bert", &["x"]).await.unwrap_err();
        assert_eq!((error.code(), details(&error).1.as_str()), (code, reason));
        assert!(error.message().contains("so it is"), "{error}");
    }
    let response = service.embed("tiny-bert", &["fine"]).await.unwrap();
    assert_eq!(response.executions[0].worker_id, "worker-1");
    service.stop().await;
}

#[tokio::test]
async fn a_load_tells_its_steps_and_its_end() {
    let fake = Fake::new();
    let service = Service::start(&["--replicas=2"], fake.driver()).await;
    let steps = service.load("tiny-bert").await.unwrap();
    let last = steps.last().unwrap();
    assert_eq!((last.phase(), last.ready_replicas, last.replicas), (v1::LoadPhase::Ready, 2, 2));
    assert_eq!(last.loaded_bytes, last.total_bytes);
    assert!(steps.windows(2).all(|pair| pair[0].loaded_bytes <= pair[1].loaded_bytes), "{steps:?}");
    let model = service.models().get(v1::ModelServiceGetRequest { id: "tiny-bert".into() }).await.unwrap().into_inner();
    let model = model.model.unwrap();
    assert_eq!((model.state(), model.ready_replicas), (v1::ModelState::Ready, 2));
    let workers: Vec<_> = service.pool().await.into_iter().flat_map(|browser| browser.workers).collect();
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|worker| worker.state() == v1::WorkerState::Ready && worker.dtype == "q8"));
    service.stop().await;
}

#[tokio::test]
async fn a_load_that_fails_says_why_and_may_be_tried_again() {
    let fake = Fake::new();
    let service = Service::start(&[], fake.driver()).await;
    fake.fault_load(Fault::Fail(FailureKind::Runtime, "no such operator", true));
    let error = service.load("tiny-bert").await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::FailedPrecondition, "LOAD_FAILED"));
    assert!(error.message().contains("no such operator"), "{error}");
    let error = service.embed("tiny-bert", &["x"]).await.unwrap_err();
    assert_eq!(details(&error).1, "LOAD_FAILED");
    assert!(service.get_http("/ready").await.contains("no such operator"));
    service.load("tiny-bert").await.unwrap();
    service.embed("tiny-bert", &["x"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn requests_wait_for_a_load_and_end_with_an_unload() {
    let fake = Fake::new();
    let service = Service::start(&[], fake.driver()).await;
    let spec = v1::ModelSpec { id: "awaited".into(), source: "tiny-bert".into(), ..Default::default() };
    service.register(spec).await.unwrap();
    let error = service.embed("awaited", &["x"]).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::FailedPrecondition, "MODEL_NOT_LOADED"));
    fake.fault_load(Fault::Hang);
    let mut steps = service.models().load(v1::LoadRequest { id: "awaited".into() }).await.unwrap().into_inner();
    steps.message().await.unwrap();
    let mut client = service.inference();
    let request = v1::InferRequest { model: "awaited".into(), items: vec![text("x")], ..Default::default() };
    let waiting = tokio::spawn(async move { client.infer(request).await });
    let waits = async |items: u32| {
        let line = format!("webinfer_queue_items{{model=\"awaited\"}} {items}\n");
        while !service.get_http("/metrics").await.contains(&line) {}
    };
    soon(waits(1)).await;
    service.models().unload(v1::UnloadRequest { id: "awaited".into() }).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(details(&error).1, "MODEL_NOT_LOADED");
    soon(waits(0)).await;
    let error = loop {
        match soon(steps.message()).await {
            Ok(Some(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(details(&error).1, "MODEL_NOT_LOADED");
    service.models().unregister(v1::UnregisterRequest { id: "awaited".into() }).await.unwrap();
    let error = service.load("awaited").await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::NotFound, "MODEL_NOT_FOUND"));
    service.stop().await;
}

#[tokio::test]
async fn a_browser_that_never_dials_back_is_an_error() {
    let fake = Fake::mute();
    let service = Service::start(&["--dial-back-deadline=100ms"], fake.driver()).await;
    let error = service.load("tiny-bert").await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::Unavailable, "NO_BROWSER"));
    assert!(error.message().contains("did not dial back"), "{error}");
    assert!(service.get_http("/ready").await.starts_with("HTTP/1.1 503"));
    assert!(!service.pool().await[0].reason.is_empty());
    service.stop().await;
}

#[tokio::test]
async fn health_and_readiness_follow_the_models_and_the_drain() {
    let fake = Fake::gated();
    let service = serving(&fake, &[]).await;
    let mut health = HealthClient::new(service.channel.clone());
    let mut check = async |name: &str| {
        let request = HealthCheckRequest { service: name.into() };
        health.check(request).await.map(|response| response.into_inner().status())
    };
    assert_eq!(check("").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check("webinfer.v1.InferenceService").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check("tiny-bert").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check("identity").await.unwrap_err().code(), Code::NotFound);
    assert!(service.get_http("/ready").await.starts_with("HTTP/1.1 200"));
    assert!(service.get_http("/live").await.starts_with("HTTP/1.1 200"));

    let mut watch =
        HealthClient::new(service.channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut client = service.inference();
    let request = v1::InferRequest { model: "tiny-bert".into(), items: vec![text("admitted")], ..Default::default() };
    let admitted = tokio::spawn(async move { client.infer(request).await });
    fake.batches(1).await;
    let stopping = tokio::spawn(service.stop());
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop(watch);
    fake.release(1);
    admitted.await.unwrap().unwrap();
    stopping.await.unwrap();
}

#[tokio::test]
async fn capabilities_and_limits_are_reported() {
    let fake = Fake::new();
    let service = serving(&fake, &["--max-request-items=7"]).await;
    let response = service.capabilities().detect(v1::DetectRequest {}).await.unwrap().into_inner();
    let browser = &response.browsers[0];
    assert_eq!((browser.product.as_str(), browser.version.as_str()), ("Fake", "1.2.3"));
    assert_eq!(browser.webgpu.as_ref().unwrap().hardware(), v1::Hardware::SoftwareAdapter);
    assert_eq!(response.limits.unwrap().max_request_items, 7);
    service.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let fake = Fake::new();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("--listen={}", taken.local_addr().unwrap());
    let Err(error) = app::start(&settings(&[&address]), vec![fake.driver()]).await else { panic!("it started") };
    let text = error.to_string();
    assert!(text.contains("--listen") && text.contains(&taken.local_addr().unwrap().to_string()), "{text}");
}

#[tokio::test]
async fn who_watches_does_not_hold_up_the_end() {
    let fake = Fake::new();
    let service = Service::start(&["--drain-deadline=1h"], fake.driver()).await;
    let mut health = HealthClient::new(service.channel.clone());
    let watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    fake.fault_load(Fault::Hang);
    let mut steps = service.models().load(v1::LoadRequest { id: "tiny-bert".into() }).await.unwrap().into_inner();
    steps.message().await.unwrap();
    let ended = tokio::spawn(service.stop());
    let error = loop {
        match soon(steps.message()).await {
            Ok(Some(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    soon(ended).await.unwrap();
    drop(watched);
}
