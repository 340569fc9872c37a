//! Traces of requests, as a collector gets them; ids of requests; and what is logged of them.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use webinfer::proto::v1::{self, Origin, generate_response::Result as Step};

use crate::common::{
    Service,
    collector::{Collector, Manner, Span},
    details,
    fake::{BAD, Fake, Fault},
    line::Line,
    soon, text,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(trace: &str, sampled: bool) -> String {
    format!("00-{trace}-{CALLER}-0{}", u8::from(sampled))
}

/// A service with one worker, and its collector.
async fn traced(fake: &Arc<Fake>, manner: Manner, arguments: &[&str]) -> (Service, Arc<Collector>) {
    let collector = Collector::start(manner).await;
    let endpoint = collector.setting();
    let fixed = ["--replicas=1", "--threads=1", &endpoint];
    let service = Service::start(&[&fixed, arguments].concat(), fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    (service, collector)
}

fn asking<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn request(texts: &[&str]) -> v1::InferRequest {
    v1::InferRequest {
        model: "tiny-bert".into(),
        items: texts.iter().map(|it| text(it)).collect(),
        ..Default::default()
    }
}

async fn infer(
    service: &Service,
    texts: &[&str],
    metadata: &[(&'static str, &str)],
) -> Result<Response<v1::InferResponse>, Status> {
    soon(service.inference().infer(asking(request(texts), metadata))).await
}

/// The spans of a trace that the collector has once the service has ended.
async fn spans(service: Service, collector: &Collector, trace: &str) -> Vec<Span> {
    service.stop().await;
    let mut spans = collector.got().spans;
    spans.retain(|span| span.trace == trace);
    spans
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

#[tokio::test]
async fn a_request_is_one_tree_below_its_callers_span() {
    let header = "--otlp-header=authorization=Bearer sesame";
    let (service, collector) = traced(&Fake::new(), Manner::Takes, &["--trace-share=0", header]).await;
    let metadata =
        [("traceparent", &*traceparent(TRACE, true)), ("tracestate", "vendor=7"), ("x-request-id", "order-66")];
    let response = infer(&service, &["four"], &metadata).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "order-66");
    let spans = spans(service, &collector, TRACE).await;
    let root = one(&spans, "webinfer.v1.InferenceService/Infer");
    assert_eq!((root.parent.as_str(), root.state.as_str(), root.is_server), (CALLER, "vendor=7", true));
    let below = [
        ("admission", root),
        ("item", root),
        ("queue", one(&spans, "item")),
        ("batch", root),
        ("bridge", one(&spans, "batch")),
        ("preprocess", one(&spans, "bridge")),
        ("inference", one(&spans, "bridge")),
        ("postprocess", one(&spans, "bridge")),
        ("answer", root),
    ];
    for (name, parent) in below {
        let span = one(&spans, name);
        assert_eq!(span.parent, parent.id, "{name}");
        assert!(parent.begun <= span.begun && span.ended <= parent.ended, "{span:?} in {parent:?}");
        assert!(span.begun <= span.ended && span.error.is_none(), "{span:?}");
    }
    assert_eq!(spans.len(), below.len() + 1, "{spans:#?}");
    // The fake says that they took 1, 2 and 3 µs.
    let took = ["preprocess", "inference", "postprocess"].map(|name| one(&spans, name)).map(|it| it.ended - it.begun);
    assert_eq!(took, [1000, 2000, 3000]);
    assert_eq!(one(&spans, "preprocess").ended, one(&spans, "inference").begun);
    assert_eq!(one(&spans, "batch").links, [one(&spans, "item").id.clone()]);
    assert_eq!(one(&spans, "item").links, [one(&spans, "batch").id.clone()]);
    for span in [root, one(&spans, "item")] {
        let said = [
            ("webinfer.browser.name", "Fake"),
            ("webinfer.browser.version", "1.2.3"),
            ("webinfer.backend.requested", "wasm"),
            ("webinfer.backend.used", "wasm"),
            ("webinfer.hardware", "cpu"),
            ("webinfer.dtype", "q8"),
            ("webinfer.batch.size", "1"),
            ("webinfer.worker.id", "worker-1"),
            ("webinfer.model", "tiny-bert"),
            ("webinfer.simulated", "false"),
            ("webinfer.origin", "run"),
            ("webinfer.outcome", "OK"),
        ];
        for (name, value) in said {
            assert_eq!(span.about.get(name).map(String::as_str), Some(value), "{name}: {span:?}");
        }
        assert_eq!(span.about["webinfer.model.sha256"].len(), 64);
    }
    assert_eq!((root.about["webinfer.request.id"].as_str(), root.about["webinfer.items"].as_str()), ("order-66", "1"));
    let got = collector.got();
    assert_eq!(got.authorization.as_deref(), Some("Bearer sesame"));
    assert!(got.services.iter().all(|name| name == "webinfer"));
}

#[tokio::test]
async fn a_batch_has_links_to_the_items_of_all_its_requests() {
    let fake = Fake::gated();
    let (service, collector) = traced(&fake, Manner::Takes, &["--trace-share=0"]).await;
    let untraced = Line::open(&service, "untraced").await;
    for (count, word) in [(1, "first"), (2, "second")] {
        untraced.ask(word).await;
        fake.batches(count).await;
    }
    let mut one_line = Line::open_saying(&service, &[("traceparent", &*traceparent(TRACE, true))]).await;
    let mut other_line = Line::open_saying(&service, &[("traceparent", &*traceparent(OTHER_TRACE, true))]).await;
    for (line, word) in [(&mut one_line, "third"), (&mut other_line, "other")] {
        line.ask(word).await;
        line.barrier().await;
    }
    fake.release(3);
    let batches = fake.batches(3).await;
    assert_eq!(batches[2].len(), 2, "{batches:?}");
    assert_eq!(one_line.outcome("third").await, Ok((5.0, Origin::Run)));
    assert_eq!(other_line.outcome("other").await, Ok((5.0, Origin::Run)));
    drop((untraced, one_line, other_line));
    service.stop().await;
    let all = collector.got().spans;
    assert!(all.iter().all(|span| [TRACE, OTHER_TRACE].contains(&&*span.trace)), "{all:#?}");
    let of = |trace: &str| all.iter().filter(|span| span.trace == trace).cloned().collect::<Vec<_>>();
    let (mut first, mut second) = (of(TRACE), of(OTHER_TRACE));
    if one(&first, "batch").links.contains(&one(&second, "batch").id) {
        (first, second) = (second, first);
    }
    let (batch, follower) = (one(&first, "batch"), one(&second, "batch"));
    let items = [one(&first, "item"), one(&second, "item")];
    assert_eq!(batch.links, items.map(|item| item.id.clone()));
    assert_eq!(follower.links, [batch.id.clone(), items[1].id.clone()]);
    assert_eq!((&items[0].links, &items[1].links), (&vec![batch.id.clone()], &vec![follower.id.clone()]));
    assert!([batch, follower].iter().all(|batch| batch.about["webinfer.batch.size"] == "2"));
    // Each request of a stream is below the call, and those that were refused have a span, too.
    for spans in [&first, &second] {
        let call = one(spans, "webinfer.v1.InferenceService/InferStream");
        let requests = named(spans, "request");
        assert_eq!((call.parent.as_str(), requests.len()), (CALLER, 2));
        assert!(requests.iter().all(|request| request.parent == call.id));
        let refused = requests.iter().find(|request| request.error.is_some()).unwrap();
        assert_eq!(refused.about["error.type"], "MODEL_NOT_FOUND");
        assert_eq!(one(spans, "bridge").parent, one(spans, "batch").id);
    }
}

#[tokio::test]
async fn identical_items_of_two_requests_share_a_batch() {
    let fake = Fake::gated();
    let (service, collector) = traced(&fake, Manner::Takes, &["--trace-share=0"]).await;
    let mut line = Line::open_saying(&service, &[("traceparent", &*traceparent(TRACE, true))]).await;
    let mut other = Line::open_saying(&service, &[("traceparent", &*traceparent(OTHER_TRACE, true))]).await;
    line.ask("same").await;
    fake.batches(1).await;
    other.ask("same").await;
    other.barrier().await;
    fake.release(1);
    assert_eq!(line.outcome("same").await, Ok((4.0, Origin::Run)));
    assert_eq!(other.outcome("same").await, Ok((4.0, Origin::Coalesced)));
    drop((line, other));
    let spans = spans(service, &collector, OTHER_TRACE).await;
    assert_eq!(one(&spans, "item").about["webinfer.origin"], "coalesced");
    assert_eq!(one(&spans, "item").links, [one(&spans, "batch").id.clone()]);
    assert!(named(&spans, "queue").is_empty(), "it joined a run that had begun");
}

#[tokio::test]
async fn a_lost_worker_is_seen_in_the_trace() {
    let fake = Fake::new();
    let (service, collector) = traced(&fake, Manner::Takes, &["--trace-share=0"]).await;
    fake.fault_run(Fault::Break);
    infer(&service, &["text"], &[("traceparent", &traceparent(TRACE, true))]).await.unwrap();
    let spans = spans(service, &collector, TRACE).await;
    let (item, batches) = (one(&spans, "item"), named(&spans, "batch"));
    let errors: Vec<_> = batches.iter().map(|batch| batch.about.get("error.type").map(String::as_str)).collect();
    assert_eq!(errors, [Some("closed"), None]);
    assert!(batches[0].error.is_some() && batches[1].error.is_none());
    assert_eq!(item.links, [batches[0].id.clone(), batches[1].id.clone()]);
    assert_eq!((item.about["webinfer.retries"].as_str(), item.events.len()), ("1", 1));
    assert_eq!((item.events[0].0.as_str(), item.events[0].1["error.type"].as_str()), ("run failed", "closed"));
    assert_eq!(named(&spans, "queue").len(), 2);
    assert_eq!(one(&spans, "bridge").parent, batches[1].id);
}

#[tokio::test]
async fn what_is_refused_fails_or_is_left_has_a_span() {
    let fake = Fake::gated();
    let (service, collector) = traced(&fake, Manner::Takes, &["--trace-share=1"]).await;
    let mut ids = Vec::new();
    fake.release(1);
    for texts in [&[][..], &[BAD]] {
        let status = infer(&service, texts, &[("x-request-id", "not well-formed")]).await.unwrap_err();
        ids.push(status.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned());
    }
    let named_wrongly = infer(&service, &["x"], &[("webinfer-client", "")]).await.unwrap_err();
    assert_eq!(details(&named_wrongly).1, "INVALID_FIELD");
    let mut inference = service.inference();
    let left = tokio::spawn(async move { inference.infer(request(&["nobody waits"])).await });
    fake.batches(2).await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    // The drain waits for what has not been given up yet.
    service.stop().await;
    let spans = collector.got().spans;
    let roots = named(&spans, "webinfer.v1.InferenceService/Infer");
    let outcomes: Vec<_> = roots.iter().map(|root| root.about["webinfer.outcome"].as_str()).collect();
    assert_eq!(outcomes, ["INVALID_FIELD", "BAD_INPUT", "INVALID_FIELD", "CANCELLED"]);
    // What the caller did wrong is not repeated.
    assert_eq!(roots[0].error.as_deref(), Some("INVALID_FIELD"));
    assert!(named(&spans, "admission")[0].error.is_some());
    let made: Vec<_> = roots[..2].iter().map(|root| root.about["webinfer.request.id"].clone()).collect();
    assert_eq!(made, ids);
    assert!(ids.iter().all(|id| id.len() == 16));
}

#[tokio::test]
async fn the_caller_says_what_is_traced_and_else_the_setting() {
    for (share, expected) in [("0", vec![TRACE]), ("1", vec![TRACE, "its own"])] {
        let setting = format!("--trace-share={share}");
        let (service, collector) = traced(&Fake::new(), Manner::Takes, &[&setting]).await;
        infer(&service, &["a"], &[("traceparent", &traceparent(TRACE, true))]).await.unwrap();
        infer(&service, &["b"], &[("traceparent", &traceparent(OTHER_TRACE, false))]).await.unwrap();
        infer(&service, &["c"], &[("traceparent", "what is this")]).await.unwrap();
        service.stop().await;
        let spans = collector.got().spans;
        let roots = named(&spans, "webinfer.v1.InferenceService/Infer");
        let traces: Vec<_> =
            roots.iter().map(|root| if root.parent.is_empty() { "its own" } else { &root.trace }).collect();
        assert_eq!(traces, expected);
    }
}

#[tokio::test]
async fn the_first_step_of_an_answer_is_an_event() {
    let (service, collector) = traced(&Fake::new(), Manner::Takes, &[]).await;
    let message = v1::GenerateRequest { request: Some(request(&["a story"])) };
    let metadata = [("traceparent", &*traceparent(TRACE, true)), ("x-request-id", "story")];
    let response = soon(service.inference().generate(asking(message, &metadata))).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "story");
    let mut steps = response.into_inner();
    while !matches!(soon(steps.message()).await.unwrap().unwrap().result, Some(Step::Response(_))) {}
    drop(steps);
    let spans = spans(service, &collector, TRACE).await;
    let root = one(&spans, "webinfer.v1.InferenceService/Generate");
    assert_eq!(root.events.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["first partial"]);
}

#[tokio::test]
async fn a_kept_answer_says_so() {
    let (service, collector) = traced(&Fake::new(), Manner::Takes, &["--answer-cache-bytes=10000"]).await;
    infer(&service, &["same"], &[]).await.unwrap();
    infer(&service, &["same"], &[("traceparent", &traceparent(TRACE, true))]).await.unwrap();
    let spans = spans(service, &collector, TRACE).await;
    assert_eq!(one(&spans, "item").about["webinfer.origin"], "cache");
    assert!(named(&spans, "batch").is_empty());
}

#[tokio::test]
async fn a_placeholder_says_so() {
    let collector = Collector::start(Manner::Takes).await;
    let arguments = ["--allow-simulation", &collector.setting()];
    let service = Service::start(&arguments, Fake::having("Fake", &[]).driver()).await;
    let (id, source) = ("text".to_owned(), "tiny-bert".to_owned());
    let fallback = v1::Fallback::Simulation.into();
    service.register(v1::ModelSpec { id, source, fallback, ..Default::default() }).await.unwrap();
    service.load("text").await.unwrap();
    let asked = v1::InferRequest { model: "text".into(), ..request(&["x"]) };
    let asked = asking(asked, &[("traceparent", &traceparent(TRACE, true))]);
    soon(service.inference().infer(asked)).await.unwrap();
    let spans = spans(service, &collector, TRACE).await;
    let root = one(&spans, "webinfer.v1.InferenceService/Infer");
    let said = ["webinfer.simulated", "webinfer.origin", "webinfer.backend.used"].map(|name| root.about[name].as_str());
    assert_eq!(said, ["true", "simulated", "simulation"]);
}

#[tokio::test]
async fn a_request_of_many_items_has_spans_for_some() {
    let (service, collector) = traced(&Fake::new(), Manner::Takes, &["--no-coalescing"]).await;
    infer(&service, &vec!["text"; 300], &[("traceparent", &traceparent(TRACE, true))]).await.unwrap();
    let spans = spans(service, &collector, TRACE).await;
    assert_eq!((named(&spans, "item").len(), named(&spans, "queue").len()), (128, 128));
    assert_eq!(one(&spans, "webinfer.v1.InferenceService/Infer").about["webinfer.items"], "300");
}

#[tokio::test]
async fn a_collector_that_takes_nothing_hurts_nobody() {
    for manner in [Manner::Fails, Manner::Hangs] {
        let (service, collector) = traced(&Fake::new(), manner, &["--trace-share=1", "--drain-deadline=1s"]).await;
        infer(&service, &["before"], &[]).await.unwrap();
        collector.posts(1).await;
        infer(&service, &["after"], &[]).await.unwrap();
        soon(service.stop()).await;
        assert!(collector.got().spans.is_empty());
    }
    let nowhere = ["--otlp-endpoint=http://127.0.0.1:9", "--trace-share=1"];
    let service = Service::start(&nowhere, Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    infer(&service, &["nobody listens"], &[]).await.unwrap();
    soon(service.stop()).await;
}

#[tokio::test]
async fn what_finds_no_room_is_counted() {
    let (service, collector) = traced(&Fake::new(), Manner::Hangs, &["--trace-share=1", "--drain-deadline=1s"]).await;
    let texts: Vec<_> = (0..128).map(|number| format!("text {number}")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    // More than 256 spans each; the queue has room for 8192.
    for _ in 0..40 {
        infer(&service, &texts, &[]).await.unwrap();
    }
    collector.posts(1).await;
    let metrics = service.get_http("/metrics").await;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix(r#"webinfer_spans_total{result="dropped"} "#));
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 1000, "{metrics}");
    soon(service.stop()).await;
}
