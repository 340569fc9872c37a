//! Which backend a model runs on, what stands in for it, and how that is told; on fake browsers.

use tonic::Code;
use webinfer::proto::{
    bridge::FailureKind,
    v1::{self, Backend, Fallback},
};

use crate::common::{
    Service, details, embedding,
    fake::{Fake, Fault},
    floats, soon, tensors, text,
};

fn spec(id: &str, backends: &[Backend]) -> v1::ModelSpec {
    let backends = backends.iter().map(|&backend| backend.into()).collect();
    v1::ModelSpec { id: id.into(), source: "tiny-bert".into(), backends, ..Default::default() }
}

/// Loads a model and has it answer; returns the record.
async fn run(service: &Service, spec: v1::ModelSpec) -> v1::Execution {
    let id = spec.id.clone();
    service.register(spec).await.unwrap();
    service.load(&id).await.unwrap();
    service.embed(&id, &["x"]).await.unwrap().executions.remove(0)
}

#[tokio::test]
async fn the_next_of_the_list_stands_in_and_each_that_was_passed_over_is_named() {
    let fake = Fake::having("Fake", &[Backend::Wasm]);
    let service = Service::start(&[], fake.driver()).await;
    let execution = run(&service, spec("three", &[Backend::WebnnNpu, Backend::Webgpu, Backend::Wasm])).await;
    assert_eq!(execution.backend_requested(), Backend::WebnnNpu);
    assert_eq!((execution.backend_used(), execution.hardware()), (Backend::Wasm, v1::Hardware::Cpu));
    let reason = &execution.fallback_reason;
    assert!(reason.contains("webnn-npu: no adapter; it wrote: nothing there"), "{reason}");
    assert!(reason.contains("; webgpu: no adapter"), "{reason}");
    assert!(!execution.simulated);
    let [placement] = &execution.node_placements[..] else { panic!("{execution:?}") };
    assert_eq!((placement.provider.as_str(), placement.nodes), ("FakeProvider", 7));
    let metrics = service.get_http("/metrics").await;
    assert!(
        metrics.contains("webinfer_fallbacks_total{model=\"three\",backend=\"webgpu\",reason=\"no_backend\"} 1"),
        "{metrics}"
    );
    service.stop().await;
}

#[tokio::test]
async fn without_a_next_one_or_where_only_the_first_will_do_the_load_fails() {
    let fake = Fake::having("Fake", &[Backend::Wasm]);
    let service = Service::start(&[], fake.driver()).await;
    service.register(spec("alone", &[Backend::Webgpu])).await.unwrap();
    let both = spec("exact", &[Backend::Webgpu, Backend::Wasm]);
    service.register(v1::ModelSpec { fallback: Fallback::Exact.into(), ..both }).await.unwrap();
    for id in ["alone", "exact"] {
        let error = service.load(id).await.unwrap_err();
        assert_eq!(details(&error).1, "LOAD_FAILED");
        assert!(error.message().contains("webgpu: no adapter"), "{error}");
        let error = service.embed(id, &["x"]).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
    }
    // A load that is asked for again is tried again.
    fake.backends.lock().unwrap().push(Backend::Webgpu);
    service.load("exact").await.unwrap();
    let response = service.embed("exact", &["x"]).await.unwrap();
    assert_eq!(response.executions[0].backend_used(), Backend::Webgpu);
    service.stop().await;
}

#[tokio::test]
async fn a_model_that_a_backend_cannot_run_is_run_on_the_next() {
    let fake = Fake::new();
    let service = Service::start(&[], fake.driver()).await;
    fake.fault_load(Fault::Fail(FailureKind::Runtime, "no kernel for StringNormalizer", true));
    let execution = run(&service, spec("hard", &[Backend::Webgpu, Backend::Wasm])).await;
    assert_eq!(execution.backend_used(), Backend::Wasm);
    assert!(execution.fallback_reason.contains("StringNormalizer"), "{execution:?}");
    // It is about the model alone.
    let execution = run(&service, spec("easy", &[Backend::Webgpu, Backend::Wasm])).await;
    assert_eq!((execution.backend_used(), execution.fallback_reason.as_str()), (Backend::Webgpu, ""));
    service.stop().await;
}

#[tokio::test]
async fn an_adapter_that_vanishes_with_its_browser_is_not_taken_for_granted() {
    let fake = Fake::new();
    let service = Service::start(&[], fake.driver()).await;
    let execution = run(&service, spec("gone", &[Backend::Webgpu, Backend::Wasm])).await;
    assert_eq!(execution.backend_used(), Backend::Webgpu);
    fake.backends.lock().unwrap().retain(|backend| *backend == Backend::Wasm);
    fake.fault_run(Fault::EndBrowser);
    let response = service.embed("gone", &["y"]).await.unwrap();
    let execution = &response.executions[0];
    assert_eq!((execution.backend_used(), execution.retries), (Backend::Wasm, 1));
    assert_eq!(execution.node_placements.len(), 1);
    assert!(execution.fallback_reason.starts_with("webgpu: no adapter"), "{execution:?}");
    service.stop().await;
}

#[tokio::test]
async fn replicas_go_to_the_browsers_that_have_the_better_backend() {
    let poor = Fake::having("Poor", &[Backend::Wasm]);
    let rich = Fake::having("Rich", &[Backend::Wasm, Backend::Webgpu]);
    let service = Service::start_all(&["--browsers=2"], vec![poor.driver(), rich.driver()]).await;
    let both = v1::ModelSpec { replicas: 2, ..spec("both", &[Backend::Webgpu, Backend::Wasm]) };
    service.register(both).await.unwrap();
    service.load("both").await.unwrap();
    let replicas_in = |view: &webinfer::pool::View, product: &str| {
        let browser = view.browsers.iter().find(|browser| browser.info.product == product);
        browser.map_or(0, |browser| browser.workers.iter().filter(|worker| worker.replica.is_some()).count())
    };
    service.until(|view| replicas_in(view, "Rich") == 2).await;
    let response = service.embed("both", &["x"]).await.unwrap();
    let execution = &response.executions[0];
    assert_eq!((execution.browser.as_str(), execution.backend_used()), ("Rich", Backend::Webgpu));
    // On what both have, both run.
    let wasm = v1::ModelSpec { replicas: 2, ..spec("wasm", &[Backend::Wasm]) };
    service.register(wasm).await.unwrap();
    service.load("wasm").await.unwrap();
    service.until(|view| replicas_in(view, "Poor") >= 1).await;
    service.stop().await;
}

#[tokio::test]
async fn placeholders_are_given_only_where_both_sides_allow_it_and_are_labelled_everywhere() {
    let fake = Fake::having("Fake", &[]);
    let service = Service::start(&["--allow-simulation"], fake.driver()).await;
    let wish = |id: &str, source: &str| v1::ModelSpec {
        source: source.into(),
        fallback: Fallback::Simulation.into(),
        ..spec(id, &[Backend::Webgpu, Backend::Wasm])
    };
    service.register(wish("text", "tiny-bert")).await.unwrap();
    let steps = service.load("text").await.unwrap();
    assert_eq!(steps.last().unwrap().phase(), v1::LoadPhase::Simulated);
    assert_eq!(steps.last().unwrap().ready_replicas, 0);
    let model = service.models().get(v1::ModelServiceGetRequest { id: "text".into() }).await.unwrap().into_inner();
    let model = model.model.unwrap();
    assert_eq!(model.state(), v1::ModelState::Simulated);
    assert!(model.error.contains("no adapter"), "{}", model.error);

    let request = v1::InferRequest { model: "text".into(), items: vec![text("x"), text("yy")], ..Default::default() };
    let answer = service.inference().infer(request.clone()).await.unwrap();
    assert_eq!(answer.metadata().get("webinfer-simulated").unwrap(), "true");
    let answer = answer.into_inner();
    assert_eq!(embedding(&answer.results[1]), [0.0; 32]);
    let [execution] = &answer.executions[..] else { panic!("{answer:?}") };
    assert!(execution.simulated);
    assert_eq!(execution.backend_used(), Backend::Simulation);
    assert_eq!((execution.origin(), execution.browser.as_str()), (v1::Origin::Simulated, ""));
    assert!(execution.fallback_reason.contains("webgpu: no adapter"), "{execution:?}");
    assert!(execution.fallback_reason.contains("wasm: no adapter"), "{execution:?}");

    let on_stream = v1::InferStreamRequest { request_id: "1".into(), request: Some(request.clone()), partials: false };
    let mut answers = service.inference().infer_stream(tokio_stream::once(on_stream)).await.unwrap().into_inner();
    soon(answers.message()).await.unwrap().unwrap();
    assert!(soon(answers.message()).await.unwrap().is_none());
    assert_eq!(soon(answers.trailers()).await.unwrap().unwrap().get("webinfer-simulated").unwrap(), "true");
    let metrics = service.get_http("/metrics").await;
    assert!(metrics.contains("webinfer_simulated_items_total{model=\"text\"} 4"), "{metrics}");

    // Tensors have the shape that the graph gives them.
    service.register(wish("graph", "identity")).await.unwrap();
    service.load("graph").await.unwrap();
    let answer = service.infer("graph", vec![tensors(&[("x", floats(&[4], &[1.0, 2.0, 3.0, 4.0]))])]).await.unwrap();
    let Some(v1::item_result::Output::Tensors(outputs)) = &answer.results[0].output else { panic!("{answer:?}") };
    let output = outputs.tensors.values().next().unwrap();
    assert_eq!((&output.shape[..], output.data.len()), (&[4][..], 16));
    assert!(output.data.iter().all(|byte| *byte == 0));

    // What is wrong is refused all the same.
    for wrong in [vec![], vec![tensors(&[("x", floats(&[1], &[1.0]))])]] {
        assert_eq!(service.infer("text", wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }

    // What can be run is run.
    fake.backends.lock().unwrap().push(Backend::Wasm);
    service.load("text").await.unwrap();
    let answer = service.inference().infer(request).await.unwrap();
    assert!(answer.metadata().get("webinfer-simulated").is_none());
    assert!(!answer.into_inner().executions[0].simulated);
    service.stop().await;
}

#[tokio::test]
async fn a_model_that_does_not_allow_placeholders_gets_none() {
    let fake = Fake::having("Fake", &[]);
    let service = Service::start(&["--allow-simulation"], fake.driver()).await;
    service.register(spec("strict", &[Backend::Wasm])).await.unwrap();
    service.load("strict").await.unwrap_err();
    let error = service.embed("strict", &["x"]).await.unwrap_err();
    assert_eq!(details(&error).1, "LOAD_FAILED");
    service.stop().await;
}

#[tokio::test]
async fn the_last_words_of_pages_and_workers_are_kept_and_shown() {
    let fake = Fake::having("Fake", &[]);
    let service = Service::start(&[], fake.driver()).await;
    let error = service.load("tiny-bert").await.unwrap_err();
    assert!(error.message().contains("it wrote: nothing there"), "{error}");
    let browsers = service.pool_with_log().await;
    let lines: Vec<_> = browsers[0].log.iter().map(|line| (line.source.as_str(), line.text.as_str())).collect();
    assert_eq!(lines, [("page", "the page's own words about /link?token=…"), ("worker-1", "nothing there")]);
    assert!(service.pool().await[0].log.is_empty(), "only those who ask get them");
    service.stop().await;
}
