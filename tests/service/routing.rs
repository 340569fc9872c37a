//! Work goes to the browser that is the fastest, whichever that is; and what is late runs a second time elsewhere.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tonic::Status;
use webinfer::{
    pool::WorkerState,
    proto::v1::{self, Backend},
    scheduler::Why,
};

use crate::common::{
    Service, embedding,
    fake::{Fake, Fault},
    soon, text,
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A service with a browser of each of two kinds, each with a worker that serves tiny-bert.
async fn serving(left: &Arc<Fake>, right: &Arc<Fake>, arguments: &[&str]) -> Service {
    let all = [&["--browsers=2", "--replicas=2", "--threads=1", "--max-batch=1"], arguments].concat();
    let service = Service::start_all(&all, vec![left.driver(), right.driver()]).await;
    let spec = v1::ModelSpec { id: "twice".into(), source: "tiny-bert".into(), replicas: 2, ..Default::default() };
    service.register(spec).await.unwrap();
    service.load("twice").await.unwrap();
    let serves = |state| matches!(state, WorkerState::Ready);
    service
        .until(|view| {
            view.browsers.len() == 2
                && view.browsers.iter().all(|browser| browser.workers.iter().any(|worker| serves(worker.state)))
        })
        .await;
    service
}

fn pair() -> (Arc<Fake>, Arc<Fake>) {
    (Fake::having("Left", &[Backend::Wasm]), Fake::having("Right", &[Backend::Wasm]))
}

/// Asks for something that was not asked for before, and returns the record of its run.
async fn ask(service: &Service, number: usize) -> v1::Execution {
    let text = format!("text {number}");
    let response = service.embed("twice", &[&text]).await.unwrap();
    assert_eq!(embedding(&response.results[0])[0], text.len() as f32);
    response.executions.into_iter().next().unwrap()
}

/// Asks so often, and returns which browser ran each.
async fn browsers(service: &Service, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut browsers = Vec::new();
    for number in numbers {
        browsers.push(ask(service, number).await.browser);
    }
    browsers
}

/// The requests until nine of ten go to a browser.
fn until(browsers: &[String], best: &str) -> usize {
    let follows = |next: &[String]| next.iter().filter(|browser| *browser == best).count() >= 9;
    browsers.windows(10).position(follows).unwrap_or(usize::MAX)
}

#[tokio::test]
async fn work_follows_the_faster_browser_whichever_way_that_changes() {
    let (left, right) = pair();
    left.take(millis(2));
    right.take(millis(30));
    let service = serving(&left, &right, &[]).await;
    assert!(until(&browsers(&service, 0..70).await, "Left") <= 50);
    // The slow one becomes fast, and the fast one stays as it was.
    right.take(Duration::ZERO);
    left.take(millis(20));
    browsers(&service, 100..200).await;
    left.take(millis(20));
    let steady = browsers(&service, 200..300).await;
    assert!(steady.iter().filter(|browser| *browser == "Left").count() <= 5, "{steady:?}");
    left.take(Duration::ZERO);
    right.take(millis(20));
    assert!(until(&browsers(&service, 300..370).await, "Left") <= 50);
    left.take(millis(40));
    assert!(until(&browsers(&service, 400..470).await, "Right") <= 50);
    let told = service.app.scheduler.explain("twice".into()).await.unwrap().unwrap();
    let (best, why) = told.best.unwrap();
    assert_eq!((told.workers[best].kind.browser.as_str(), why), ("Right", Why::Fastest), "{told:?}");
    assert_eq!(service.app.scheduler.explain("no-such".into()).await.unwrap(), None);
    let costs = service.app.scheduler.costs().await.unwrap();
    let kinds: BTreeMap<_, _> = costs.iter().map(|(_, kind, cost)| (kind.browser.as_str(), cost.runs)).collect();
    assert!(kinds["Left"] > 50 && kinds["Right"] > 50, "{kinds:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_slow_browser_that_becomes_the_fastest_is_found_out() {
    let (left, right) = pair();
    left.take(millis(10));
    right.take(millis(60));
    let service = serving(&left, &right, &[]).await;
    assert!(until(&browsers(&service, 0..70).await, "Left") <= 50);
    right.take(Duration::ZERO);
    assert!(until(&browsers(&service, 100..170).await, "Right") <= 50);
    service.stop().await;
}

/// A service of which Left is known to be the faster one, and what is late there; from now on runs wait for their release.
async fn hedging(left: &Fake, right: &Fake, service: &Service) {
    let ran = browsers(service, 0..200).await;
    assert!(until(&ran, "Left") <= 50, "{ran:?}");
    left.close_gate();
    right.close_gate();
}

/// Asks until a batch runs at Left and, since it is late, at Right.
async fn hedged(service: &Service, left: &Fake, right: &Fake) -> JoinHandle<Result<v1::InferResponse, Status>> {
    for number in 1000.. {
        let (mut client, word) = (service.inference(), format!("text {number}"));
        let request = v1::InferRequest { model: "twice".into(), items: vec![text(&word)], ..Default::default() };
        let call = tokio::spawn(async move { client.infer(request).await.map(tonic::Response::into_inner) });
        tokio::select! {
            biased;
            () = left.got(&word) => {
                right.got(&word).await;
                return call;
            }
            // It is a try of the slower one, and perhaps runs at Left too by now.
            () = right.got(&word) => {
                left.open_gate();
                right.open_gate();
                soon(call).await.unwrap().unwrap();
                left.close_gate();
                right.close_gate();
            }
        }
    }
    unreachable!("numbers do not end")
}

async fn answered(call: JoinHandle<Result<v1::InferResponse, Status>>) -> v1::Execution {
    soon(call).await.unwrap().unwrap().executions.remove(0)
}

/// Waits until a worker is gone.
async fn gone(service: &Service, id: &str) {
    let has = |worker: &webinfer::pool::WorkerView| *worker.id == *id;
    service.until(|view| !view.browsers.iter().any(|browser| browser.workers.iter().any(has))).await;
}

/// The two browsers, and a service that hedges.
async fn slow_and_fast(arguments: &[&str]) -> (Arc<Fake>, Arc<Fake>, Service) {
    let (left, right) = pair();
    left.take(millis(1));
    right.take(millis(40));
    let service = serving(&left, &right, arguments).await;
    (left, right, service)
}

#[tokio::test]
async fn the_first_answer_counts_and_the_other_run_is_left() {
    for (browser, outcome) in [("Right", "won"), ("Left", "lost")] {
        let (left, right, service) = slow_and_fast(&["--hedge=0.05"]).await;
        hedging(&left, &right, &service).await;
        let call = hedged(&service, &left, &right).await;
        let (first, other) = if browser == "Right" { (&right, &left) } else { (&left, &right) };
        let before = other.told_to_leave();
        first.open_gate();
        let execution = answered(call).await;
        assert_eq!((execution.browser.as_str(), execution.hedged, execution.retries), (browser, true, 0));
        other.left(before + 1).await;
        other.open_gate();
        let metrics = service.get_http("/metrics").await;
        assert!(metrics.contains(&format!("webinfer_hedges_total{{model=\"twice\",outcome=\"{outcome}\"}}")));
        // Both work on, and nothing was held against them.
        browsers(&service, 300..340).await;
        assert_eq!((left.starts(), right.starts()), (1, 1));
        service.stop().await;
    }
}

/// The worker of a browser.
fn worker(service: &Service, product: &str) -> String {
    let view = service.app.pool.view();
    let browser = view.browsers.iter().find(|browser| browser.info.product == product).unwrap();
    browser.workers[0].id.to_string()
}

#[tokio::test]
async fn a_worker_that_is_lost_while_another_runs_the_same_costs_nobody_anything() {
    // The first run is that of the fast one.
    for (lost, stays, retries) in [("Left", "Right", 1), ("Right", "Left", 0)] {
        let (left, right, service) = slow_and_fast(&["--hedge=0.05"]).await;
        hedging(&left, &right, &service).await;
        let call = hedged(&service, &left, &right).await;
        let (loses, runs) = if lost == "Left" { (&left, &right) } else { (&right, &left) };
        let id = worker(&service, lost);
        loses.fault_run(Fault::Break);
        loses.open_gate();
        gone(&service, &id).await;
        runs.open_gate();
        let execution = answered(call).await;
        assert_eq!((execution.browser.as_str(), execution.hedged, execution.retries), (stays, true, retries));
        service.stop().await;
    }
}

#[tokio::test]
async fn what_both_workers_lose_runs_again_and_has_lost_one() {
    let (left, right, service) = slow_and_fast(&["--hedge=0.05"]).await;
    hedging(&left, &right, &service).await;
    let call = hedged(&service, &left, &right).await;
    for (fake, product) in [(&left, "Left"), (&right, "Right")] {
        let id = worker(&service, product);
        fake.fault_run(Fault::Break);
        fake.open_gate();
        gone(&service, &id).await;
    }
    assert_eq!(answered(call).await.retries, 1);
    service.stop().await;
}

#[tokio::test]
async fn both_runs_are_left_when_the_caller_leaves() {
    let (left, right, service) = slow_and_fast(&["--hedge=0.05"]).await;
    hedging(&left, &right, &service).await;
    let call = hedged(&service, &left, &right).await;
    let before = (left.told_to_leave(), right.told_to_leave());
    call.abort();
    left.left(before.0 + 1).await;
    right.left(before.1 + 1).await;
    left.open_gate();
    right.open_gate();
    ask(&service, 300).await;
    service.stop().await;
}

#[tokio::test]
async fn the_budget_bounds_how_many_run_twice() {
    let (left, right, service) = slow_and_fast(&["--hedge=0.02"]).await;
    right.take(millis(5));
    let mut twice = 0;
    for number in 0..1000 {
        left.take(millis(if number % 25 == 24 { 60 } else { 1 }));
        twice += u32::from(ask(&service, number).await.hedged);
    }
    assert!((1..=20).contains(&twice), "{twice}");
    let metrics = service.get_http("/metrics").await;
    assert!(metrics.contains("webinfer_hedges_total{model=\"twice\",outcome=\"refused\"}"));
    service.stop().await;
}

#[tokio::test]
async fn nothing_runs_twice_where_it_was_not_asked_for() {
    let (left, right, service) = slow_and_fast(&[]).await;
    for number in 0..200 {
        left.take(millis(if number % 25 == 24 { 60 } else { 1 }));
        right.take(millis(5));
        assert!(!ask(&service, number).await.hedged);
    }
    service.stop().await;
}
