//! What is lost is replaced, and its work runs elsewhere.

use std::sync::{Arc, atomic::Ordering};

use futures_util::StreamExt;
use tonic::Code;
use webinfer::{
    loss::{Cause, Loss},
    pool::{BreakerState, BrowserState, Duty, View},
    proto::{bridge::FailureKind, v1},
    rpc::generated::pool_service_client::PoolServiceClient,
};

use crate::common::{
    Service, details, embedding,
    fake::{Fake, Fault, POISON},
    soon, text,
};

async fn serving(fake: &Arc<Fake>, arguments: &[&str]) -> Service {
    let service = Service::start(&[&["--replicas=1", "--threads=1"], arguments].concat(), fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    service
}

/// Waits until a spare could take over.
async fn spare_is_warm(service: &Service) {
    let warm = |view: &Arc<View>| {
        let mut spares = view.browsers.iter().filter(|browser| browser.duty == Duty::Spare);
        spares.any(|spare| spare.workers.iter().any(|worker| worker.replica.is_some()))
    };
    service.until(warm).await;
}

/// Keeps asking until it is told to stop; returns how many answers came, and every one has to be right.
fn load(service: &Service) -> (tokio::sync::oneshot::Sender<()>, tokio::task::JoinHandle<usize>) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let mut client = service.inference();
    let task = tokio::spawn(async move {
        let mut answers = 0;
        while stopped.try_recv().is_err() {
            let word = format!("word {answers}");
            let request =
                v1::InferRequest { model: "tiny-bert".into(), items: vec![text(&word)], ..Default::default() };
            let response = client.infer(request).await.unwrap().into_inner();
            assert_eq!(embedding(&response.results[0])[0], word.len() as f32);
            answers += 1;
        }
        answers
    });
    (stop, task)
}

#[tokio::test]
async fn a_lost_worker_is_replaced_and_its_batch_runs_again() {
    for fault in
        [Fault::Break, Fault::Garbage, Fault::WrongCall, Fault::Text, Fault::Huge, Fault::TooFew, Fault::EndBrowser]
    {
        let fake = Fake::new();
        let service = serving(&fake, &[]).await;
        fake.fault_run(fault.clone());
        let response =
            service.embed("tiny-bert", &["again"]).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(embedding(&response.results[0])[0], 5.0, "{fault:?}");
        assert_eq!(response.executions[0].retries, 1, "{fault:?}");
        let restarts = u32::from(matches!(fault, Fault::EndBrowser));
        assert_eq!(fake.starts(), 1 + restarts, "{fault:?}");
        service.stop().await;
    }
}

#[tokio::test]
async fn a_stuck_worker_is_replaced() {
    let fake = Fake::new();
    let service = serving(&fake, &["--run-deadline=100ms"]).await;
    fake.fault_run(Fault::Hang);
    let response = service.embed("tiny-bert", &["again"]).await.unwrap();
    assert_eq!(response.executions[0].retries, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_silent_page_loses_its_browser() {
    let fake = Fake::silent();
    let service = Service::start(&["--heartbeat-deadline=200ms"], fake.driver()).await;
    service.until(|view| view.browsers[0].restarts > 0).await;
    service.stop().await;
}

#[tokio::test]
async fn a_spare_takes_over_from_a_lost_browser() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--spares=1"]).await;
    spare_is_warm(&service).await;
    assert_eq!(fake.starts(), 2);
    let first = service.app.pool.serving("tiny-bert")[0].runtime.worker_id.clone();
    fake.fault_run(Fault::EndBrowser);
    fake.release(2);
    let response = service.embed("tiny-bert", &["held"]).await.unwrap();
    assert_eq!(embedding(&response.results[0])[0], 4.0);
    assert_eq!(response.executions[0].retries, 1);
    assert_ne!(response.executions[0].worker_id, first);
    // The lost one comes back as the spare.
    spare_is_warm(&service).await;
    assert_eq!(fake.starts(), 3);
    service.stop().await;
}

#[tokio::test]
async fn an_input_that_ends_workers_is_quarantined_and_the_others_are_not() {
    let fake = Fake::gated();
    let service = serving(&fake, &[]).await;
    let poison = format!("{POISON} a");
    let mut client = service.inference();
    let items = |words: &[&str]| words.iter().map(|word| text(word)).collect();
    let request = v1::InferRequest { model: "tiny-bert".into(), items: items(&["first"]), ..Default::default() };
    let first = tokio::spawn(async move { client.infer(request).await });
    fake.batches(1).await;
    let ask = |word: &str| {
        let mut client = service.inference();
        let request = v1::InferRequest { model: "tiny-bert".into(), items: items(&[word]), ..Default::default() };
        tokio::spawn(async move { client.infer(request).await })
    };
    // They share a batch with it.
    let (guilty, innocent) = (ask(&poison), ask("innocent"));
    fake.release(100);
    first.await.unwrap().unwrap();
    let error = guilty.await.unwrap().unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::FailedPrecondition, "QUARANTINED"), "{error}");
    assert_eq!(embedding(&innocent.await.unwrap().unwrap().into_inner().results[0])[0], 8.0);
    // From now on it does not reach a worker.
    let before = fake.batches(0).await.len();
    let error = service.embed("tiny-bert", &[&poison]).await.unwrap_err();
    assert_eq!(details(&error).1, "QUARANTINED");
    service.embed("tiny-bert", &["fine"]).await.unwrap();
    assert_eq!(fake.batches(0).await.len(), before + 1);
    assert!(service.get_http("/metrics").await.contains("webinfer_quarantined_items_total"));
    service.stop().await;
}

#[tokio::test]
async fn browsers_that_are_killed_from_outside_are_nobodys_fault() {
    let fake = Fake::new();
    *fake.fate.lock().unwrap() = Loss::new(Cause::Killed, "killed");
    let service = serving(&fake, &["--spares=2"]).await;
    (0..4).for_each(|_| fake.fault_run(Fault::EndBrowser));
    let response = service.embed("tiny-bert", &["held"]).await.unwrap();
    assert_eq!(response.executions[0].retries, 4);
    service.stop().await;
}

#[tokio::test]
async fn what_costs_too_many_workers_is_given_up() {
    let fake = Fake::new();
    *fake.fate.lock().unwrap() = Loss::new(Cause::Killed, "killed");
    let service = serving(&fake, &["--spares=2"]).await;
    (0..8).for_each(|_| fake.fault_run(Fault::EndBrowser));
    let error = service.embed("tiny-bert", &["held"]).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::Unavailable, "WORKER_LOST"));
    service.embed("tiny-bert", &["fine"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_lost_gpu_takes_its_browser_along() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    fake.fault_run(Fault::Fail(FailureKind::DeviceLost, "the GPU device was lost", true));
    let response = service.embed("tiny-bert", &["again"]).await.unwrap();
    assert_eq!(response.executions[0].retries, 1);
    assert_eq!(fake.starts(), 2);
    service.stop().await;
}

#[tokio::test]
async fn a_replica_that_answers_nothing_is_replaced() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    (0..10).for_each(|_| fake.fault_run(Fault::Fail(FailureKind::BadOutput, "the vector is not finite", false)));
    // Each is tried twice.
    for number in 0..5 {
        let error = service.embed("tiny-bert", &[&format!("word {number}")]).await.unwrap_err();
        assert_eq!(details(&error).1, "BAD_OUTPUT");
    }
    let response = service.embed("tiny-bert", &["fine"]).await.unwrap();
    assert_eq!(response.executions[0].worker_id, "worker-2");
    service.stop().await;
}

#[tokio::test]
async fn an_output_that_is_no_answer_is_asked_for_again() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    fake.fault_run(Fault::Fail(FailureKind::BadOutput, "the vector is all zero", false));
    let response = service.embed("tiny-bert", &["again"]).await.unwrap();
    assert_eq!(embedding(&response.results[0])[0], 5.0);
    service.stop().await;
}

#[tokio::test]
async fn a_breaker_opens_and_closes_again_with_the_right_answer() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    // The next three workers answer their three probes in other words than the first did.
    fake.wrong_answers.store(9, Ordering::SeqCst);
    fake.fault_run(Fault::Break);
    let error = service.embed("tiny-bert", &["held"]).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::Unavailable, "CIRCUIT_OPEN"), "{error}");
    assert!(error.metadata().contains_key("grpc-retry-pushback-ms"));
    let view = service.app.pool.view();
    assert_eq!(view.breakers[0].state, BreakerState::Open);
    assert!(
        service
            .get_http("/metrics")
            .await
            .contains("webinfer_breakers{browser=\"Fake\",backend=\"wasm\",model=\"tiny-bert\",state=\"open\"} 1")
    );
    service.until(|view| view.breakers.is_empty()).await;
    service.embed("tiny-bert", &["fine"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_load_that_is_lost_is_tried_again_and_whoever_asks_anew_does_not_wait() {
    let fake = Fake::new();
    let service = Service::start(&[], fake.driver()).await;
    (0..2).for_each(|_| fake.fault_load(Fault::Break));
    service.load("tiny-bert").await.unwrap();
    (0..3).for_each(|_| fake.fault_load(Fault::Break));
    let error = service.load("identity").await.unwrap_err();
    assert_eq!(details(&error).1, "CIRCUIT_OPEN");
    service.load("identity").await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_model_that_ends_browsers_while_loading_is_stopped_but_not_for_what_was_killed() {
    for (cause, opens) in [(Cause::Crashed, true), (Cause::Killed, false)] {
        let fake = Fake::new();
        *fake.fate.lock().unwrap() = Loss::new(cause, "gone");
        let service = Service::start(&["--replicas=1"], fake.driver()).await;
        (0..4).for_each(|_| fake.fault_load(Fault::EndBrowser));
        let result = service.load("tiny-bert").await;
        match result {
            Ok(_) => assert!(!opens),
            Err(error) => assert_eq!((details(&error).1.as_str(), opens), ("CIRCUIT_OPEN", true), "{error}"),
        }
        service.stop().await;
    }
}

#[tokio::test]
async fn a_recycled_browser_is_replaced_without_a_gap() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    let (stop, answers) = load(&service);
    let old = service.pool().await[0].id.clone();
    pool_client(&service).recycle(v1::RecycleRequest { browser: old.clone() }).await.unwrap();
    service.until(|view| view.browsers.len() == 1 && view.browsers[0].id != old).await;
    let view = service.app.pool.view();
    assert_eq!((view.browsers[0].duty, view.browsers[0].state), (Duty::Serving, BrowserState::Ready));
    stop.send(()).unwrap();
    assert!(answers.await.unwrap() > 0);
    assert!(service.get_http("/metrics").await.contains("webinfer_browser_recycles_total{worn=\"asked\"}"));
    service.stop().await;
}

#[tokio::test]
async fn a_browser_that_has_run_enough_is_recycled() {
    let fake = Fake::new();
    let service = serving(&fake, &["--recycle-age=300ms"]).await;
    let (stop, answers) = load(&service);
    soon(async {
        while fake.starts() < 4 {
            service.get_http("/live").await;
        }
    })
    .await;
    stop.send(()).unwrap();
    answers.await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_drained_browser_ends_its_work_and_has_no_successor() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--browsers=2"]).await;
    service.until(|view| view.browsers.iter().all(|browser| browser.state == BrowserState::Ready)).await;
    let mut client = service.inference();
    let request = v1::InferRequest { model: "tiny-bert".into(), items: vec![text("held")], ..Default::default() };
    let held = tokio::spawn(async move { client.infer(request).await });
    fake.batches(1).await;
    let view = service.app.pool.view();
    let busy = view.browsers.iter().find(|browser| !browser.workers.is_empty()).unwrap().id.clone();
    pool_client(&service).drain(v1::DrainRequest { browser: busy.clone() }).await.unwrap();
    let leaves = |view: &Arc<View>| view.browsers.iter().any(|b| b.id == busy && b.duty == Duty::Leaving);
    service.until(leaves).await;
    fake.release(1);
    assert_eq!(embedding(&held.await.unwrap().unwrap().into_inner().results[0])[0], 4.0);
    service.until(|view| view.browsers.len() == 1 && view.wanted == 1).await;
    fake.release(1);
    service.embed("tiny-bert", &["fine"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn browsers_come_with_the_work_and_go_without_it() {
    let fake = Fake::gated();
    let arguments = ["--browsers=2", "--min-browsers=1", "--browser-idle-timeout=1s", "--scale-up-wait=1s"];
    let service = serving(&fake, &[&arguments[..], &["--max-batch=1"]].concat()).await;
    assert_eq!(service.app.pool.view().wanted, 1);
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let mut client = service.inference();
            let word = format!("word {number}");
            let request =
                v1::InferRequest { model: "tiny-bert".into(), items: vec![text(&word)], ..Default::default() };
            tokio::spawn(async move { client.infer(request).await })
        })
        .collect();
    service.until(|view| view.browsers.len() == 2).await;
    fake.release(100);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    service.until(|view| view.browsers.len() == 1).await;
    service.stop().await;
}

#[tokio::test]
async fn a_pool_that_sleeps_wakes_with_the_first_request() {
    let fake = Fake::new();
    let service = serving(&fake, &["--min-browsers=0", "--browser-idle-timeout=1s"]).await;
    service.embed("tiny-bert", &["before"]).await.unwrap();
    service.until(|view| view.browsers.is_empty()).await;
    assert!(service.get_http("/ready").await.starts_with("HTTP/1.1 200"));
    let response = service.embed("tiny-bert", &["woken"]).await.unwrap();
    assert_eq!(embedding(&response.results[0])[0], 5.0);
    assert_eq!(fake.starts(), 2);
    service.stop().await;
}

#[tokio::test]
async fn the_pool_is_watched_and_steered() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    let mut client = pool_client(&service);
    let mut changes = client.watch(v1::WatchRequest {}).await.unwrap().into_inner();
    let first = soon(changes.next()).await.unwrap().unwrap().pool.unwrap();
    assert_eq!((first.browsers.len(), first.min_browsers, first.max_browsers), (1, 1, 1));
    assert_eq!(first.browsers[0].duty(), v1::BrowserDuty::Serving);
    client.scale(v1::ScaleRequest { min_browsers: 2, max_browsers: 3 }).await.unwrap();
    let is_scaled = |pool: &v1::PoolStatus| {
        pool.max_browsers == 3 && pool.browsers.iter().filter(|b| b.state() == v1::BrowserState::Ready).count() == 2
    };
    soon(async { while !is_scaled(&changes.next().await.unwrap().unwrap().pool.unwrap()) {} }).await;
    for (least, most) in [(2, 1), (0, 0), (0, 65)] {
        let wrong = client.scale(v1::ScaleRequest { min_browsers: least, max_browsers: most }).await;
        assert_eq!(details(&wrong.unwrap_err()).1, "INVALID_FIELD");
    }
    let error = client.recycle(v1::RecycleRequest { browser: "browser-9-9".into() }).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::NotFound, "BROWSER_NOT_FOUND"));
    let error = client.drain(v1::DrainRequest { browser: String::new() }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    // A watch does not keep the service from ending.
    service.stop().await;
    soon(async { while changes.next().await.is_some_and(|change| change.is_ok()) {} }).await;
}

/// Runs `webinfer pool` to its end; returns whether it went well, and what it printed.
async fn command(service: &Service, arguments: &[&str]) -> (bool, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_webinfer"));
    let address = service.app.address.to_string();
    let output = soon(command.args(["pool", "--address", &address]).args(arguments).output()).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn the_command_line_shows_and_steers_the_pool() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    let (good, text) = command(&service, &[]).await;
    assert!(good && text.contains("browser-0-1") && text.contains("worker-1 tiny-bert ready"), "{text}");
    let (good, text) = command(&service, &["--json"]).await;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(good && document["browsers"][0]["duty"] == "serving" && document["max_browsers"] == 1, "{text}");
    assert!(command(&service, &["scale", "1", "2"]).await.0);
    assert!(command(&service, &["recycle", "browser-0-1"]).await.0);
    service
        .until(|view| view.bounds == (1, 2) && view.browsers.iter().all(|browser| browser.id != "browser-0-1"))
        .await;
    let (good, text) = command(&service, &["drain", "browser-0-1"]).await;
    assert!(!good && text.contains("browser-0-1") && text.contains("NOT_FOUND"), "{text}");
    let (good, text) = command(&service, &["scale", "2", "1"]).await;
    assert!(!good && text.contains("min_browsers"), "{text}");
    service.stop().await;
}

fn pool_client(service: &Service) -> PoolServiceClient<tonic::transport::Channel> {
    PoolServiceClient::new(service.channel.clone())
}
