//! Whether answers are right, and where requests go by what was measured; on fake browsers.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::TryStreamExt;
use webinfer::{
    pool::WorkerState,
    proto::v1::{self, Backend, Fallback, Verdict},
    rpc::generated::pool_service_client::PoolServiceClient,
};

use crate::common::{self, Service, details, embedding, fake::Fake, soon};

fn spec(id: &str, backends: &[Backend]) -> v1::ModelSpec {
    let backends = backends.iter().map(|&backend| backend.into()).collect();
    v1::ModelSpec { id: id.into(), source: "tiny-bert".into(), backends, replicas: 1, ..Default::default() }
}

/// A service with a model on WebGPU, or else on WebAssembly.
async fn serving(fake: &std::sync::Arc<Fake>, arguments: &[&str]) -> Service {
    let service = Service::start(arguments, fake.driver()).await;
    service.register(spec("m", &[Backend::Webgpu, Backend::Wasm])).await.unwrap();
    service.load("m").await.unwrap();
    service
}

/// The backend of the replica that serves, once it is that one.
async fn until_on(service: &Service, backend: &str) {
    let is_there = |worker: &webinfer::pool::WorkerView| {
        let replica = worker.replica.as_ref().filter(|_| worker.state == WorkerState::Ready);
        replica.is_some_and(|replica| replica.runtime.backend_used.name() == backend)
    };
    service.until(|view| view.browsers.iter().all(|browser| browser.workers.iter().all(is_there))).await;
}

#[tokio::test]
async fn a_replica_that_answers_wrongly_does_not_serve_and_the_next_choice_does() {
    let fake = Fake::new();
    *fake.wrong_on.lock().unwrap() = Some(Backend::Webgpu);
    let service = serving(&fake, &[]).await;
    let execution = service.embed("m", &["hello"]).await.unwrap().executions.remove(0);
    assert_eq!((execution.backend_requested(), execution.backend_used()), (Backend::Webgpu, Backend::Wasm));
    let reason = &execution.fallback_reason;
    assert!(reason.starts_with("webgpu: its answers have a ") && reason.contains("to wasm in fp32"), "{reason}");
    let check = execution.check.unwrap();
    assert!(check.value >= check.least && check.against == "wasm in fp32", "{check:?}");
    service.stop().await;
}

#[tokio::test]
async fn where_the_only_choice_is_wrong_the_load_fails_with_figures() {
    let fake = Fake::new();
    *fake.wrong_on.lock().unwrap() = Some(Backend::Webgpu);
    let service = Service::start(&[], fake.driver()).await;
    let exact = spec("m", &[Backend::Webgpu, Backend::Wasm]);
    service.register(v1::ModelSpec { fallback: Fallback::Exact.into(), ..exact }).await.unwrap();
    let error = service.load("m").await.unwrap_err();
    assert_eq!(details(&error).1, "CIRCUIT_OPEN");
    assert!(error.message().contains("to wasm in fp32"), "{error}");
    service.stop().await;
}

#[tokio::test]
async fn without_wasm_the_first_replica_is_the_measure_and_the_record_says_so() {
    let fake = Fake::having("Fake", &[Backend::Webgpu]);
    let service = serving(&fake, &[]).await;
    let check = service.embed("m", &["hello"]).await.unwrap().executions.remove(0).check.unwrap();
    assert_eq!((check.against.as_str(), check.value), ("the first replica", 1.0));
    service.stop().await;
}

#[tokio::test]
async fn a_backend_that_turns_wrong_is_caught_by_checks_and_answers_no_more() {
    let fake = Fake::new();
    let service = serving(&fake, &["--cross-check=0.05"]).await;
    until_on(&service, "webgpu").await;
    // The one that checks is there, too.
    service.until(|view| view.browsers[0].workers.len() == 2).await;
    service.until(|view| view.browsers[0].workers.iter().all(|worker| worker.replica.is_some())).await;
    *fake.wrong_on.lock().unwrap() = Some(Backend::Webgpu);
    let (mut wrong, mut after) = (0, 0);
    for number in 0.. {
        let text = format!("text {number}");
        let response = service.embed("m", &[&text]).await.unwrap();
        if response.executions[0].backend_used() == Backend::Webgpu {
            wrong += 1;
            assert_eq!(after, 0, "it answers again");
            assert!(wrong <= 100, "it was not caught");
        } else {
            assert_eq!(embedding(&response.results[0])[0], text.len() as f32);
            after += 1;
        }
        if after == 20 {
            break;
        }
    }
    assert!(wrong > 0);
    let view = service.app.pool.view();
    assert!(view.breakers.iter().any(|breaker| breaker.backend.name() == "webgpu"), "{:?}", view.breakers);
    let metrics = service.get_http("/metrics").await;
    assert!(
        metrics.contains("webinfer_divergences_total{model=\"m\",browser=\"Fake\",backend=\"webgpu\"} 1"),
        "{metrics}"
    );
    let reason = service.embed("m", &["why"]).await.unwrap().executions.remove(0).fallback_reason;
    assert!(reason.contains("do not answer alike"), "{reason}");
    service.stop().await;
}

#[tokio::test]
async fn a_wrong_checker_convicts_nobody_else() {
    let fake = Fake::having("Fake", &[Backend::Wasm, Backend::Webgpu]);
    let service = Service::start(&["--cross-check=1"], fake.driver()).await;
    service.register(spec("m", &[Backend::Wasm, Backend::Webgpu])).await.unwrap();
    service.load("m").await.unwrap();
    service.until(|view| view.browsers[0].workers.iter().filter(|worker| worker.replica.is_some()).count() == 2).await;
    *fake.wrong_on.lock().unwrap() = Some(Backend::Webgpu);
    for number in 0..20 {
        let response = service.embed("m", &[&format!("text {number}")]).await.unwrap();
        assert_eq!(response.executions[0].backend_used(), Backend::Wasm);
    }
    service.until(|view| view.breakers.iter().any(|breaker| breaker.backend.name() == "webgpu")).await;
    assert_eq!(service.embed("m", &["still"]).await.unwrap().executions[0].backend_used(), Backend::Wasm);
    service.stop().await;
}

#[tokio::test]
async fn a_model_goes_where_it_is_measured_to_be_faster_unless_only_the_first_will_do() {
    let fake = Fake::new();
    *fake.speeds.lock().unwrap() =
        vec![(Backend::Webgpu, Duration::from_millis(40)), (Backend::Wasm, Duration::from_millis(2))];
    let service = serving(&fake, &[]).await;
    until_on(&service, "wasm").await;
    let execution = service.embed("m", &["hello"]).await.unwrap().executions.remove(0);
    assert_eq!(execution.backend_used(), Backend::Wasm);
    let reason = &execution.fallback_reason;
    assert!(reason.starts_with("webgpu: it takes ") && reason.ends_with("times as long here as wasm"), "{reason}");
    // It is told on request, too.
    let mut pool = PoolServiceClient::new(service.channel.clone());
    let explained = pool.explain(v1::ExplainRequest { model: "m".into() }).await.unwrap().into_inner();
    let [chosen, other] = &explained.candidates[..] else { panic!("{explained:?}") };
    assert!(chosen.chosen && chosen.backend() == Backend::Wasm && chosen.workers.len() == 1, "{chosen:?}");
    assert!(!other.chosen && other.backend() == Backend::Webgpu && other.reason.contains("times as long"), "{other:?}");
    assert!(!other.costs.is_empty() && other.costs[0].item_us > chosen.costs[0].item_us);
    // Exactly what was asked for.
    let exact = spec("exact", &[Backend::Webgpu, Backend::Wasm]);
    service.register(v1::ModelSpec { fallback: Fallback::Exact.into(), ..exact }).await.unwrap();
    service.load("exact").await.unwrap();
    assert_eq!(service.embed("exact", &["x"]).await.unwrap().executions[0].backend_used(), Backend::Webgpu);
    service.stop().await;
}

#[tokio::test]
async fn what_was_measured_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = format!("--state={}", folder.path().join("knowledge.db").display());
    let fake = Fake::new();
    *fake.speeds.lock().unwrap() =
        vec![(Backend::Webgpu, Duration::from_millis(40)), (Backend::Wasm, Duration::from_millis(2))];
    let service = serving(&fake, &[&state]).await;
    until_on(&service, "wasm").await;
    service.stop().await;
    let service = serving(&fake, &[&state]).await;
    until_on(&service, "wasm").await;
    service.stop().await;
}

#[tokio::test]
async fn a_matrix_tells_what_is_right_wrong_and_lacking() {
    let fake = Fake::new();
    *fake.wrong_on.lock().unwrap() = Some(Backend::Webgpu);
    let service = Service::start(&[], fake.driver()).await;
    service.until(|view| view.browsers.iter().any(|browser| !browser.info.product.is_empty())).await;
    let mut pool = PoolServiceClient::new(service.channel.clone());
    let request = |model: &str| v1::MatrixRequest { model: model.into(), ..Default::default() };
    let steps = pool.matrix(request("tiny-bert")).await.unwrap().into_inner();
    let steps: Vec<v1::MatrixResponse> = soon(steps.try_collect()).await.unwrap();
    // Five backends in two precisions, after one message that tells how many.
    assert_eq!((steps.len(), steps[0].total, steps[0].done), (11, 10, 0));
    for row in steps.iter().skip(1).map(|step| step.row.as_ref().unwrap()) {
        let (expected, told) = match row.backend() {
            Backend::Wasm => (Verdict::Right, row.check.is_some() && !row.costs.is_empty() && row.reason.is_empty()),
            Backend::Webgpu => (Verdict::Wrong, row.reason.contains("to wasm in fp32")),
            _ => (Verdict::Lacking, row.reason.contains("no adapter")),
        };
        assert_eq!(row.verdict(), expected, "{row:?}");
        assert!(told, "{row:?}");
    }
    // However often a backend is named, it is tried once.
    let often = v1::MatrixRequest { backends: vec![Backend::Wasm.into(); 100_000], ..request("tiny-bert") };
    let often = v1::MatrixRequest { dtypes: vec!["q8".into(); 100_000], ..often };
    let steps = pool.matrix(often).await.unwrap().into_inner();
    assert_eq!(soon(steps.try_collect::<Vec<_>>()).await.unwrap().len(), 2);
    let error = pool.matrix(request("nobody")).await.unwrap_err();
    assert_eq!(details(&error).1, "MODEL_NOT_FOUND");
    let wrong = v1::MatrixRequest { dtypes: vec!["fp8".into()], ..request("tiny-bert") };
    assert_eq!(common::blamed(&pool.matrix(wrong).await.unwrap_err()), "dtypes[0]");
    // One at a time; the next can begin once who asked has left.
    let first = pool.matrix(request("tiny-bert")).await.unwrap();
    assert_eq!(details(&pool.matrix(request("tiny-bert")).await.unwrap_err()).1, "OVERLOADED");
    drop(first);
    assert!(fake.wrong_answers.load(Ordering::SeqCst) == 0);
    service.stop().await;
}
