//! Profiles on a fake browser: what is refused, what runs, and that the worker ends whatever happens.

use std::{sync::Arc, time::Duration};

use tonic::{Code, Request, Status};
use webinfer::{
    proto::{bridge::FailureKind, v1},
    rpc::generated::debug_service_client::DebugServiceClient,
};

use crate::common::{
    self, Service, details, embedding,
    fake::{BAD, Fake, Fault},
    text,
};

const MODEL: &str = "tiny-bert";
/// The first replica has the first worker, and a profile the next.
const PROFILED: &str = "worker-2";

/// A service with a loaded model, which offers profiles.
async fn loaded(fake: &Arc<Fake>) -> Service {
    let service = Service::start(&["--debug", "--replicas=1"], fake.driver()).await;
    service.load(MODEL).await.unwrap();
    service
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), details(status).1)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_it_is_refused_and_the_setting_named() {
    let service = Service::start(&["--replicas=1"], Fake::new().driver()).await;
    service.load(MODEL).await.unwrap();
    let error = service.profile(MODEL, &["a"], 1).await.unwrap_err();
    assert_eq!(reason(&error), (Code::Unimplemented, "NOT_ENABLED".into()));
    assert!(error.message().contains("--debug"), "{error}");
    let answer = service.get_http("/debug/pprof/profile?seconds=1").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("--debug"), "{answer}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_runs_so_often_in_a_worker_of_its_own() {
    let fake = Fake::new();
    let service = loaded(&fake).await;
    let response = service.profile(MODEL, &["ab", "c"], 3).await.unwrap();
    let batch = || vec!["ab".to_owned(), "c".to_owned()];
    assert_eq!(fake.batches(3).await, [batch(), batch(), batch()]);
    assert_eq!(response.profile.unwrap().operators[0].count, 3);
    assert_eq!(response.runs.len(), 3);
    assert!(response.runs.iter().all(|times| times.inference_us == 2 && times.queue_us == 0));
    let answer = response.response.unwrap();
    assert_eq!(embedding(&answer.results[0]), [2.0, f32::from(b'a')]);
    let [execution] = &answer.executions[..] else { panic!("{answer:?}") };
    assert_eq!((execution.worker_id.as_str(), execution.batch_size), (PROFILED, 2));
    assert_eq!(execution.node_placements[0].provider, "FakeProvider");
    fake.ended(PROFILED).await;
    // The replica is there as before, and nothing of the profile is.
    let ordinary = service.embed(MODEL, &["d"]).await.unwrap();
    assert_eq!(ordinary.executions[0].worker_id, "worker-1");
    assert_eq!(service.pool().await[0].workers.len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_told_as_ever() {
    let fake = Fake::new();
    let service = loaded(&fake).await;
    for (model, texts, runs, expected) in [
        ("nobody", &["a"][..], 1, (Code::NotFound, "MODEL_NOT_FOUND")),
        (MODEL, &[], 1, (Code::InvalidArgument, "INVALID_FIELD")),
        (MODEL, &["a"], 101, (Code::InvalidArgument, "INVALID_FIELD")),
        ("tiny-bert-ner", &["a"], 1, (Code::FailedPrecondition, "MODEL_NOT_LOADED")),
        (MODEL, &["a", BAD], 1, (Code::InvalidArgument, "BAD_INPUT")),
    ] {
        let error = service.profile(model, texts, runs).await.unwrap_err();
        assert_eq!(reason(&error), (expected.0, expected.1.into()), "{error}");
    }
    let mut client = DebugServiceClient::new(service.channel.clone());
    let error = client.profile(v1::ProfileRequest::default()).await.unwrap_err();
    assert_eq!(common::blamed(&error), "request");
    fake.ended(PROFILED).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_at_a_time_beside_ordinary_work() {
    let fake = Fake::gated();
    let service = loaded(&fake).await;
    let first = service.profile(MODEL, &["a"], 1);
    let others = async {
        fake.batches(1).await;
        let error = service.profile(MODEL, &["b"], 1).await.unwrap_err();
        assert_eq!(reason(&error), (Code::ResourceExhausted, "OVERLOADED".into()));
        fake.release(2);
        // The replica is free for others.
        assert_eq!(service.embed(MODEL, &["c"]).await.unwrap().executions[0].worker_id, "worker-1");
    };
    let (first, ()) = tokio::join!(first, others);
    first.unwrap();
    fake.release(1);
    // Whoever has the answer may ask for the next one at once.
    service.profile(MODEL, &["d"], 1).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_is_told_and_the_replica_stays() {
    let fake = Fake::new();
    let service = loaded(&fake).await;
    fake.fault_run(Fault::Break);
    let error = service.profile(MODEL, &["a"], 1).await.unwrap_err();
    assert_eq!(reason(&error), (Code::Unavailable, "WORKER_LOST".into()));
    assert!(error.message().contains("the socket broke"), "{error}");
    fake.fault_load(Fault::Break);
    let error = service.profile(MODEL, &["a"], 1).await.unwrap_err();
    assert_eq!(reason(&error), (Code::Unavailable, "WORKER_LOST".into()));
    fake.fault_load(Fault::Fail(FailureKind::Runtime, "no such file", true));
    let error = service.profile(MODEL, &["a"], 1).await.unwrap_err();
    assert_eq!(reason(&error), (Code::FailedPrecondition, "LOAD_FAILED".into()));
    assert_eq!(service.embed(MODEL, &["b"]).await.unwrap().executions[0].worker_id, "worker-1");
    service.profile(MODEL, &["a"], 1).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_ends_takes_the_profile_along() {
    let fake = Fake::new();
    let service = loaded(&fake).await;
    fake.fault_run(Fault::EndBrowser);
    let error = service.profile(MODEL, &["a"], 1).await.unwrap_err();
    assert_eq!(reason(&error), (Code::Unavailable, "WORKER_LOST".into()));
    assert!(error.message().contains("the fake ended"), "{error}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_or_a_caller_who_leaves_ends_the_worker() {
    let fake = Fake::new();
    let service = Service::start(&["--debug", "--replicas=1", "--default-deadline=1s"], fake.driver()).await;
    service.load(MODEL).await.unwrap();
    fake.fault_run(Fault::Hang);
    let error = service.profile(MODEL, &["a"], 1).await.unwrap_err();
    assert_eq!(reason(&error), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
    fake.ended(PROFILED).await;
    fake.fault_run(Fault::Hang);
    let mut client = DebugServiceClient::new(service.channel.clone());
    let request = v1::InferRequest { model: MODEL.into(), items: vec![text("a")], ..Default::default() };
    let mut request = Request::new(v1::ProfileRequest { request: Some(request), runs: 1 });
    request.set_timeout(Duration::from_secs(60));
    let leaves = client.profile(request);
    tokio::select! {
        answer = leaves => panic!("{answer:?}"),
        _ = fake.batches(2) => {}
    }
    fake.ended("worker-3").await;
    service.stop().await;
}

#[cfg(all(target_os = "linux", feature = "pprof"))]
#[tokio::test(flavor = "multi_thread")]
async fn the_service_tells_where_its_own_time_goes_one_profile_at_a_time() {
    let service = Service::start(&["--debug"], Fake::new().driver()).await;
    for query in ["seconds=0", "seconds=61", "seconds=x"] {
        let answer = service.get_http(&format!("/debug/pprof/profile?{query}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{query}: {answer}");
    }
    let profile = || service.get_http("/debug/pprof/profile?seconds=1");
    let (left, right) = tokio::join!(profile(), profile());
    let mut codes = [left, right].map(|answer| answer.split_whitespace().nth(1).unwrap().to_owned());
    codes.sort();
    assert_eq!(codes, ["200", "429"]);
    let answer = service.get_http("/debug/pprof/profile?seconds=1").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("nanoseconds"), "{answer}");
    service.stop().await;
}
