//! Replicas are shared out among models by their work and the memory that there is.

use std::time::Duration;

use futures_util::TryStreamExt;
use webinfer::{
    pool::{View, WorkerState, WorkerView},
    proto::v1,
};

use crate::common::{
    self, Service, blamed, details, embedding,
    fake::{Fake, Fault},
};

/// A wait that is longer will not end.
const WATCHDOG: Duration = Duration::from_secs(30);

/// Waits until the workers that serve are of these models, one word for each.
async fn serving(service: &Service, expected: &[&str]) {
    let mut view = service.app.pool.watch();
    let serves = |view: &View| {
        let workers = view.browsers.iter().flat_map(|browser| &browser.workers);
        let mut models: Vec<_> = workers.map(|worker| (worker.model.to_string(), worker.state)).collect();
        models.sort_by(|left, right| left.0.cmp(&right.0));
        models.iter().all(|(_, state)| *state == WorkerState::Ready)
            && models.iter().map(|(model, _)| model.as_str()).eq(expected.iter().copied())
    };
    if tokio::time::timeout(WATCHDOG, view.wait_for(|view| serves(view))).await.is_err() {
        let view = service.app.pool.view();
        let workers = view.browsers.iter().flat_map(|browser| &browser.workers);
        let workers: Vec<_> = workers.map(|worker| (&worker.id, &worker.model, worker.state)).collect();
        panic!("not {expected:?}: {workers:?}, {:?}", view.models);
    }
}

async fn state(service: &Service, id: &str) -> v1::ModelState {
    let response = service.models().get(v1::ModelServiceGetRequest { id: id.into() }).await.unwrap().into_inner();
    response.model.unwrap().state()
}

#[tokio::test]
async fn models_that_name_no_replicas_share_the_workers() {
    let fake = Fake::new();
    let service = Service::start(&["--replicas=4"], fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    serving(&service, &["tiny-bert"; 4]).await;
    service.load("identity").await.unwrap();
    serving(&service, &["identity", "identity", "tiny-bert", "tiny-bert"]).await;
    service.models().unload(v1::UnloadRequest { id: "tiny-bert".into() }).await.unwrap();
    serving(&service, &["identity"; 4]).await;
    service.stop().await;
}

#[tokio::test]
async fn a_registration_that_names_replicas_keeps_them() {
    let fake = Fake::new();
    let service = Service::start(&["--replicas=2"], fake.driver()).await;
    let spec = |id: &str, replicas| v1::ModelSpec {
        id: id.into(),
        source: "tiny-bert".into(),
        replicas,
        ..Default::default()
    };
    service.register(spec("three", 3)).await.unwrap();
    service.load("three").await.unwrap();
    service.load("tiny-bert").await.unwrap();
    serving(&service, &["three", "three", "three", "tiny-bert"]).await;
    service.stop().await;
}

#[tokio::test]
async fn a_replica_that_gives_way_ends_its_work_first() {
    let fake = Fake::gated();
    let service = Service::start(&["--replicas=2"], fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    let ask = |word: &'static str| {
        let mut client = service.inference();
        let request =
            v1::InferRequest { model: "tiny-bert".into(), items: vec![common::text(word)], ..Default::default() };
        tokio::spawn(async move { client.infer(request).await })
    };
    let first = ask("first");
    fake.batches(1).await;
    let second = ask("second");
    fake.batches(2).await;
    service.load("identity").await.unwrap();
    let leaves = |worker: &WorkerView| worker.state == WorkerState::Leaving;
    service.until(|view| view.browsers.iter().flat_map(|browser| &browser.workers).any(leaves)).await;
    fake.release(2);
    assert_eq!(embedding(&first.await.unwrap().unwrap().into_inner().results[0])[0], 5.0);
    assert_eq!(embedding(&second.await.unwrap().unwrap().into_inner().results[0])[0], 6.0);
    serving(&service, &["identity", "tiny-bert"]).await;
    service.stop().await;
}

#[tokio::test]
async fn models_load_beside_one_another() {
    let fake = Fake::new();
    let service = Service::start(&["--replicas=2"], fake.driver()).await;
    // Its load never ends.
    fake.fault_load(Fault::Hang);
    let mut models = service.models();
    let slow = tokio::spawn(async move {
        let steps = models.load(v1::LoadRequest { id: "tiny-bert".into() }).await.unwrap();
        steps.into_inner().try_collect::<Vec<_>>().await
    });
    let loads = |worker: &WorkerView| worker.state == WorkerState::Loading;
    service.until(|view| view.browsers.iter().flat_map(|browser| &browser.workers).any(loads)).await;
    service.load("identity").await.unwrap();
    let view = service.app.pool.view();
    assert!(view.browsers.iter().flat_map(|browser| &browser.workers).any(loads), "{view:?}");
    slow.abort();
    service.stop().await;
}

#[tokio::test]
async fn what_was_not_used_for_longest_sleeps_until_it_is_asked_for() {
    let fake = Fake::new();
    let service = Service::start(&["--replicas=1", "--model-memory=150000000"], fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    service.load("identity").await.unwrap();
    serving(&service, &["identity"]).await;
    assert_eq!(state(&service, "tiny-bert").await, v1::ModelState::Asleep);
    let response = service.embed("tiny-bert", &["woken"]).await.unwrap();
    assert_eq!(embedding(&response.results[0])[0], 5.0);
    serving(&service, &["tiny-bert"]).await;
    assert_eq!(state(&service, "identity").await, v1::ModelState::Asleep);
    service.stop().await;
}

#[tokio::test]
async fn a_model_finds_no_room_while_all_others_are_in_use() {
    let fake = Fake::gated();
    let service = Service::start(&["--replicas=1", "--model-memory=150000000"], fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    let mut client = service.inference();
    let request = v1::InferRequest { model: "tiny-bert".into(), items: vec![common::text("x")], ..Default::default() };
    let running = tokio::spawn(async move { client.infer(request).await });
    fake.batches(1).await;
    let error = service.load("identity").await.unwrap_err();
    assert_eq!(details(&error).1, "LOAD_FAILED");
    assert!(error.message().contains("--model-memory"), "{error}");
    fake.release(1);
    running.await.unwrap().unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_registration_that_names_a_kind_of_browser_runs_there_or_nowhere() {
    let kinds = ["Firefox", "Edge"].map(|product| Fake::having(product, &[v1::Backend::Wasm]));
    let drivers = kinds.iter().map(Fake::driver).collect();
    let service = Service::start_all(&["--browsers=2"], drivers).await;
    let spec = |id: &str, browser: &str| v1::ModelSpec {
        id: id.into(),
        source: "tiny-bert".into(),
        browser: browser.into(),
        replicas: 2,
        ..Default::default()
    };
    for (id, browser, product) in [("a", "edge", "Edge"), ("b", "firefox", "Firefox")] {
        let model = service.register(spec(id, browser)).await.unwrap();
        assert_eq!(model.spec.unwrap().browser, browser);
        service.load(id).await.unwrap();
        let execution = service.embed(id, &["x"]).await.unwrap().executions.remove(0);
        assert_eq!(execution.browser, product);
    }
    let homes = |id: &str| {
        let view = service.app.pool.view();
        view.browsers.iter().filter(|browser| browser.workers.iter().any(|it| *it.model == *id)).count()
    };
    assert_eq!((homes("a"), homes("b")), (1, 1));

    service.register(spec("c", "safari")).await.unwrap();
    let error = service.load("c").await.unwrap_err();
    assert_eq!(details(&error).1, "LOAD_FAILED");
    for word in ["Firefox 1.2.3 is not safari", "Edge 1.2.3 is not safari"] {
        assert!(error.message().contains(word), "{error}");
    }
    let error = service.register(spec("d", "netscape")).await.unwrap_err();
    assert_eq!(blamed(&error), "spec.browser");
    service.stop().await;
}
