//! More than can be served, and clients that behave badly: the service answers the others, and gets over it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use http_body_util::Full;
use proptest::{prelude::*, test_runner::TestRunner};
use prost::Message;
use tonic::{Code, Request, Status, body::Body, codegen::http, transport::Channel};
use tower::ServiceExt;
use webinfer::{
    pool::WorkerView, proto::v1, rpc::generated::inference_service_client::InferenceServiceClient as InferenceClient,
};

use crate::common::{
    self, Service, details,
    fake::{Fake, Fault},
    line::Line,
    soon, text,
};

async fn serving(fake: &Arc<Fake>, arguments: &[&str]) -> Service {
    let service = Service::start(&[&["--replicas=1", "--threads=1"], arguments].concat(), fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    service
}

fn request(word: &str) -> v1::InferRequest {
    v1::InferRequest { model: "tiny-bert".into(), items: vec![text(word)], ..Default::default() }
}

async fn ask(mut client: InferenceClient<Channel>, word: String, timeout: Duration) -> Result<(), Status> {
    let mut request = Request::new(request(&word));
    request.set_timeout(timeout);
    client.infer(request).await.map(|_| ())
}

/// A connection of its own.
async fn connect(service: &Service) -> InferenceClient<Channel> {
    let address = format!("http://{}", service.app.address);
    InferenceClient::new(Channel::from_shared(address).unwrap().connect().await.unwrap())
}

#[tokio::test]
async fn what_can_never_fit_is_invalid_and_what_fits_later_says_when() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--max-pending-items=100", "--max-request-items=20000"]).await;
    for (items, code) in [(0, Code::InvalidArgument), (51, Code::InvalidArgument), (10_000, Code::InvalidArgument)] {
        let items = (0..items).map(|number| text(&format!("{number}"))).collect();
        assert_eq!(service.infer("tiny-bert", items).await.unwrap_err().code(), code);
    }
    let mut line = Line::open(&service, "a").await;
    for number in 0..50 {
        line.ask(&format!("{number}")).await;
    }
    line.barrier().await;
    line.ask("one too many").await;
    assert_eq!(line.outcome("one too many").await, Err(Code::ResourceExhausted));
    // Another client has a share of its own.
    let mut other = Line::open(&service, "b").await;
    other.ask("other").await;
    other.barrier().await;
    fake.release(60);
    assert!(other.outcome("other").await.is_ok() && line.outcome("49").await.is_ok());
    service.stop().await;
}

#[tokio::test]
async fn a_deadline_that_the_backlog_cannot_meet_is_refused_at_once() {
    let fake = Fake::taking(Duration::from_millis(100));
    let service = serving(&fake, &["--max-batch=1"]).await;
    let mut line = Line::open(&service, "a").await;
    for number in 0..100 {
        line.ask(&format!("{number}")).await;
    }
    line.barrier().await;
    fake.batches(5).await;
    let mut client = service.inference();
    let mut late = Request::new(request("late"));
    late.metadata_mut().insert("webinfer-client", "a".parse().unwrap());
    late.set_timeout(Duration::from_millis(300));
    let error = client.infer(late).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::ResourceExhausted, "OVERLOADED"), "{error}");
    assert!(error.metadata().contains_key("grpc-retry-pushback-ms"));
    // One that is alone with its name does not wait for the backlog of the other.
    ask(client.clone(), "soon".into(), Duration::from_secs(5)).await.unwrap();
    let error = ask(client, "sooner".into(), Duration::from_millis(80)).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(!fake.batches(0).await.concat().contains(&"late".to_owned()));
    drop(line);
    service.stop().await;
}

#[tokio::test]
async fn deadlines_of_a_millisecond_end_in_time_and_leave_nothing() {
    let fake = Fake::new();
    let service = serving(&fake, &["--max-pending-items=600", "--client-share=1", "--model-share=1"]).await;
    let calls = (0..500).map(|number| ask(service.inference(), format!("{number}"), Duration::from_millis(1)));
    for result in join_all(calls).await {
        let code = result.map_or_else(|error| error.code(), |()| Code::Ok);
        let refused = Code::ResourceExhausted;
        assert!([Code::Ok, Code::DeadlineExceeded, Code::Cancelled, refused].contains(&code), "{code:?}");
    }
    all_is_free(&service, 400).await;
    service.stop().await;
}

/// A request of so many items is let in and answered: no permit is lost.
async fn all_is_free(service: &Service, items: usize) {
    let items = || (0..items).map(|number| text(&format!("free {number}"))).collect();
    // What was given up is swept out within a moment; until then it counts.
    loop {
        match service.infer("tiny-bert", items()).await {
            Ok(_) => return,
            Err(error) if error.code() == Code::ResourceExhausted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn ten_thousand_streams_that_say_nothing_are_no_burden() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let client = connect(&service).await;
        let open = (0..2500).map(|_| {
            let mut client = client.clone();
            async move { client.infer_stream(futures_util::stream::pending()).await.unwrap() }
        });
        streams.extend(join_all(open).await);
    }
    assert_eq!(streams.len(), 10_000);
    service.embed("tiny-bert", &["served"]).await.unwrap();
    drop(streams);
    service.embed("tiny-bert", &["still served"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_delays_only_itself_and_is_ended() {
    let fake = Fake::new();
    let service = serving(&fake, &["--stall-deadline=300ms", "--default-deadline=10s"]).await;
    service.load("identity").await.unwrap();
    let item = || common::tensors(&[("x", common::floats(&[100_000], &[0.5; 100_000]))]);
    let sent = Arc::new(AtomicU32::new(0));
    let count = sent.clone();
    let requests = futures_util::stream::repeat_with(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let request = v1::InferRequest { model: "identity".into(), items: vec![item()], ..Default::default() };
        v1::InferStreamRequest { request_id: number.to_string(), request: Some(request), partials: false }
    });
    let mut stalled = connect(&service).await.infer_stream(requests).await.unwrap().into_inner();
    for number in 0..20 {
        service.embed("tiny-bert", &[&format!("served {number}")]).await.unwrap();
    }
    // The service stops reading it, so that the endless sender stops, too; then its stream ends, and says why.
    let ended = async {
        let mut answers = 0;
        loop {
            match stalled.message().await {
                Ok(answer) => assert!(answer.is_some(), "it looks as if all were answered"),
                Err(error) => return (answers, error),
            }
            answers += 1;
            if answers == 1 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    let (answers, error) = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::DeadlineExceeded, "NOT_READ"), "{error}");
    assert!(answers < 1000, "{answers} answers were kept for one that did not read");
    service.embed("tiny-bert", &["still served"]).await.unwrap();
    service.stop().await;
}

/// Asks "identity" over a connection of its own, and reads nothing of the answer but its beginning.
async fn ask_unread(service: &Service) -> (http::Response<Body>, Channel) {
    let item = common::tensors(&[("x", common::floats(&[100_000], &[0.5; 100_000]))]);
    let request = v1::InferRequest { model: "identity".into(), items: vec![item], ..Default::default() };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0], &length[..], &message].concat();
    let address = format!("http://{}", service.app.address);
    let request = http::Request::post(format!("{address}/webinfer.v1.InferenceService/Infer"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::from(body)))
        .unwrap();
    let channel = Channel::from_shared(address).unwrap().initial_stream_window_size(65_535).connect().await.unwrap();
    (soon(channel.clone().oneshot(request)).await.unwrap(), channel)
}

#[tokio::test]
async fn answers_that_are_not_read_count_until_their_caller_leaves() {
    let limits = ["--max-pending-bytes=2000000", "--max-message-bytes=1000000", "--client-share=1", "--model-share=1"];
    let service = serving(&Fake::new(), &limits).await;
    service.load("identity").await.unwrap();
    let refused = |(response, _): &(http::Response<Body>, Channel)| response.headers().contains_key("grpc-status");
    let mut unread = Vec::new();
    while unread.last().is_none_or(|last| !refused(last)) {
        assert!(unread.len() < 10, "they are kept without a bound");
        unread.push(ask_unread(&service).await);
    }
    assert!(unread.len() > 2, "of 400 kB each");
    drop(unread);
    soon(async { while refused(&ask_unread(&service).await) {} }).await;
    service.stop().await;
}

#[tokio::test]
async fn calls_that_are_reset_at_once_leave_nothing() {
    let fake = Fake::new();
    let service = serving(&fake, &["--max-pending-items=600", "--client-share=1", "--model-share=1"]).await;
    for round in 0..20 {
        let client = connect(&service).await;
        let calls: Vec<_> = (0..100)
            .map(|number| tokio::spawn(ask(client.clone(), format!("{round} {number}"), Duration::from_secs(10))))
            .collect();
        tokio::task::yield_now().await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        join_all(calls).await;
    }
    all_is_free(&service, 400).await;
    service.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_stuck_after_all_have_left_is_replaced() {
    let fake = Fake::new();
    let service = serving(&fake, &["--cancel-grace=100ms"]).await;
    fake.fault_run(Fault::Hang);
    let error = ask(service.inference(), "stuck".into(), Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
    let is_stuck = |worker: &WorkerView| &*worker.id == "worker-1";
    service.until(|view| !view.browsers.iter().flat_map(|browser| &browser.workers).any(is_stuck)).await;
    let response = service.embed("tiny-bert", &["served"]).await.unwrap();
    assert_eq!(response.executions[0].worker_id, "worker-2");
    service.stop().await;
}

/// What becomes of a request in the property below.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It waits for its answer.
    Waits,
    /// Its caller leaves after so many of the requests that follow it were sent.
    Leaves(usize),
    /// It has a short deadline.
    Expires,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![3 => Just(Fate::Waits), 2 => (0usize..6).prop_map(Fate::Leaves), 1 => Just(Fate::Expires)]
}

/// Whatever is cancelled when: each request that waits gets its own answer, what was given up in the queue reaches no
/// worker twice, and nothing is left behind.
#[test]
fn cancelling_at_any_stage_leaves_nothing() {
    let strategy = (proptest::collection::vec((fate(), any::<bool>()), 1..25), any::<bool>());
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let result = runner.run(&strategy, |(steps, breaks)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(cancel_in_between(steps, breaks));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

async fn cancel_in_between(steps: Vec<(Fate, bool)>, breaks: bool) {
    let fake = Fake::gated();
    let service =
        serving(&fake, &["--max-batch=2", "--max-pending-items=100", "--client-share=1", "--model-share=1"]).await;
    if breaks {
        fake.fault_run(Fault::Break);
    }
    let mut calls = Vec::new();
    for (number, (fate, releases)) in steps.iter().enumerate() {
        let timeout = if matches!(fate, Fate::Expires) { Duration::from_millis(5) } else { Duration::from_secs(60) };
        let call = tokio::spawn(ask(service.inference(), format!("word {number}"), timeout));
        calls.push(Some((*fate, call)));
        tokio::task::yield_now().await;
        for (earlier, slot) in calls.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|(fate, _)| matches!(fate, Fate::Leaves(after) if earlier + after <= number))
                && let Some((_, call)) = slot.take()
            {
                call.abort();
            }
        }
        if *releases {
            fake.release(1);
        }
    }
    fake.release(1000);
    for (fate, call) in calls.into_iter().flatten() {
        let result = call.await.unwrap();
        match fate {
            Fate::Waits => result.unwrap(),
            Fate::Leaves(_) => assert!(result.is_ok()),
            Fate::Expires => assert!(
                result.is_ok() || matches!(result.unwrap_err().code(), Code::DeadlineExceeded | Code::Cancelled)
            ),
        }
    }
    all_is_free(&service, 100).await;
    let ran = fake.batches(0).await.concat();
    let words: BTreeSet<_> = ran.iter().filter(|word| word.starts_with("word")).collect();
    assert!(breaks || words.len() == ran.iter().filter(|word| word.starts_with("word")).count(), "{ran:?}");
    service.stop().await;
}
