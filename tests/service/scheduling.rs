//! What runs with what, in which order, and for whom.

use std::sync::Arc;

use tonic::{Code, Request};
use webinfer::proto::v1::{self, Origin, Priority};

use crate::common::{Service, blamed, details, embedding, fake::Fake, line::Line, soon, text};

/// A service with one worker that serves tiny-bert.
async fn serving(fake: &Arc<Fake>, arguments: &[&str]) -> Service {
    let service = Service::start(&[&["--replicas=1", "--threads=1"], arguments].concat(), fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    service
}

/// Fills the worker: it has two batches in hand, so that what comes next waits in the queue.
async fn fill(fake: &Fake, line: &mut Line) {
    for (count, word) in [(1, "first"), (2, "second")] {
        line.ask(word).await;
        fake.batches(count).await;
    }
}

#[tokio::test]
async fn short_items_do_not_run_with_long_ones() {
    let fake = Fake::gated();
    let service = serving(&fake, &[]).await;
    let mut line = Line::open(&service, "a").await;
    fill(&fake, &mut line).await;
    let long = "long ".repeat(40);
    for number in 0..3 {
        line.ask(&format!("short {number}")).await;
        line.ask_as(&format!("long {number}"), &format!("{long}{number}"), Priority::Normal).await;
    }
    line.barrier().await;
    fake.release(4);
    let batches = fake.batches(4).await;
    let lengths: Vec<_> = batches[2..].iter().map(Vec::len).collect();
    assert_eq!(lengths, [3, 3], "{batches:?}");
    assert!(batches[2].iter().all(|word| word.starts_with("short")));
    for number in 0..3 {
        assert_eq!(line.outcome(&format!("short {number}")).await, Ok((7.0, Origin::Run)));
        assert_eq!(line.outcome(&format!("long {number}")).await, Ok((201.0, Origin::Run)));
    }
    service.stop().await;
}

#[tokio::test]
async fn the_urgent_overtake_and_nobody_waits_for_ever() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--max-batch=1"]).await;
    let mut line = Line::open(&service, "a").await;
    fill(&fake, &mut line).await;
    for number in 0..8 {
        line.ask_as(&format!("low {number}"), &format!("low {number}"), Priority::Low).await;
    }
    line.barrier().await;
    for number in 0..40 {
        line.ask_as(&format!("high {number}"), &format!("high {number}"), Priority::High).await;
    }
    line.barrier().await;
    fake.release(50);
    let order = fake.batches(50).await.concat();
    let place = |word: &str| order.iter().position(|other| other == word).unwrap();
    assert!(place("high 3") < place("low 1"), "{order:?}");
    assert!(place("low 1") < place("high 39"), "{order:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_flood_of_one_client_does_not_hold_up_another() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--max-batch=1"]).await;
    let mut flood = Line::open(&service, "flood").await;
    fill(&fake, &mut flood).await;
    for number in 0..200 {
        flood.ask(&format!("flood {number}")).await;
    }
    flood.barrier().await;
    let mut other = Line::open(&service, "other").await;
    other.ask("other").await;
    other.barrier().await;
    fake.release(5);
    let order = fake.batches(6).await.concat();
    assert!(order.contains(&"other".to_owned()), "{order:?}");
    assert!(other.outcome("other").await.is_ok());
    fake.release(200);
    assert!(flood.outcome("flood 199").await.is_ok());
    service.stop().await;
}

#[tokio::test]
async fn identical_items_in_flight_share_one_run() {
    let fake = Fake::gated();
    let service = serving(&fake, &[]).await;
    let mut line = Line::open(&service, "a").await;
    let mut other = Line::open(&service, "b").await;
    line.ask_as("runs", "same", Priority::Normal).await;
    fake.batches(1).await;
    line.ask_as("joins", "same", Priority::Low).await;
    line.ask("different").await;
    line.barrier().await;
    other.ask("same").await;
    other.barrier().await;
    fake.release(2);
    assert_eq!(line.outcome("runs").await, Ok((4.0, Origin::Run)));
    assert_eq!(line.outcome("joins").await, Ok((4.0, Origin::Coalesced)));
    assert_eq!(other.outcome("same").await, Ok((4.0, Origin::Coalesced)));
    assert!(line.outcome("different").await.is_ok());
    assert_eq!(fake.batches(2).await.concat(), ["same", "different"]);
    service.stop().await;
}

/// How many requests of this process were left by their callers.
async fn left(service: &Service) -> u64 {
    let metrics = service.get_http("/metrics").await;
    let of_left = metrics.lines().filter(|line| line.starts_with("webinfer_requests_total{"));
    let counts = of_left.filter(|line| line.contains("CANCELLED")).filter_map(|line| line.rsplit(' ').next());
    counts.map(|count| count.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn an_item_outlives_the_one_that_it_shares_a_run_with() {
    let fake = Fake::gated();
    let service = serving(&fake, &["--max-batch=1"]).await;
    let mut line = Line::open(&service, "a").await;
    line.ask("first").await;
    fake.batches(1).await;
    let leaver = Line::open(&service, "b").await;
    leaver.ask("same").await;
    fake.batches(2).await;
    line.ask("same").await;
    line.barrier().await;
    let before = left(&service).await;
    drop(leaver);
    soon(async { while left(&service).await <= before {} }).await;
    fake.release(2);
    assert_eq!(line.outcome("same").await, Ok((4.0, Origin::Coalesced)));
    assert_eq!(fake.told_to_leave(), 0);
    service.stop().await;
}

#[tokio::test]
async fn without_coalescing_each_item_runs() {
    let fake = Fake::new();
    let service = serving(&fake, &["--no-coalescing"]).await;
    let response = service.embed("tiny-bert", &["same", "same"]).await.unwrap();
    assert!(response.executions.iter().all(|execution| execution.origin() == Origin::Run));
    assert_eq!(fake.batches(1).await.concat(), ["same", "same"]);
    service.stop().await;
}

#[tokio::test]
async fn answers_are_kept_where_that_is_asked_for() {
    let fake = Fake::new();
    let service = serving(&fake, &["--answer-cache-bytes=1000000"]).await;
    let spec = v1::ModelSpec { id: "raw".into(), source: "tiny-bert".into(), unnormalized: true, ..Default::default() };
    service.register(spec).await.unwrap();
    service.load("raw").await.unwrap();
    let origin = async |model| {
        let response = service.embed(model, &["kept"]).await.unwrap();
        assert_eq!(embedding(&response.results[0])[0], 4.0);
        response.executions[0].origin()
    };
    assert_eq!(origin("tiny-bert").await, Origin::Run);
    assert_eq!(origin("tiny-bert").await, Origin::Cache);
    assert_eq!(origin("raw").await, Origin::Run);
    assert_eq!(fake.batches(2).await.len(), 2);
    service.stop().await;

    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    for _ in 0..2 {
        assert_eq!(service.embed("tiny-bert", &["kept"]).await.unwrap().executions[0].origin(), Origin::Run);
    }
    service.stop().await;
}

#[tokio::test]
async fn a_bad_item_fails_alone() {
    let fake = Fake::gated();
    let service = serving(&fake, &[]).await;
    let mut line = Line::open(&service, "a").await;
    fill(&fake, &mut line).await;
    for word in ["good", "bad", "fine"] {
        line.ask(word).await;
    }
    line.barrier().await;
    fake.release(3);
    assert_eq!(line.outcome("bad").await, Err(Code::InvalidArgument));
    assert!(line.outcome("good").await.is_ok() && line.outcome("fine").await.is_ok());
    assert_eq!(fake.batches(3).await[2], ["good", "bad", "fine"]);
    fake.release(1);
    let error = service.embed("tiny-bert", &["good", "bad"]).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::InvalidArgument, "BAD_INPUT"));
    assert!(error.message().contains("items[1]: so bad"), "{error}");
    service.stop().await;
}

#[tokio::test]
async fn a_batch_that_fails_as_a_whole_runs_again_item_by_item() {
    let fake = Fake::gated();
    let service = serving(&fake, &[]).await;
    let mut line = Line::open(&service, "a").await;
    fill(&fake, &mut line).await;
    for word in ["good", "spoiler", "fine"] {
        line.ask(word).await;
    }
    line.barrier().await;
    fake.release(6);
    assert_eq!(line.outcome("spoiler").await, Err(Code::Internal));
    assert!(line.outcome("good").await.is_ok() && line.outcome("fine").await.is_ok());
    let sizes: Vec<_> = fake.batches(6).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 3, 1, 1, 1]);
    service.stop().await;
}

#[tokio::test]
async fn a_registration_may_bound_its_batches() {
    let fake = Fake::new();
    let service = serving(&fake, &["--max-batch=4"]).await;
    let spec =
        |max_batch| v1::ModelSpec { id: "small".into(), source: "tiny-bert".into(), max_batch, ..Default::default() };
    let error = service.register(spec(5)).await.unwrap_err();
    assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, "spec.max_batch"));
    service.register(spec(2)).await.unwrap();
    service.load("small").await.unwrap();
    service.embed("small", &["a", "b", "c", "d", "e"]).await.unwrap();
    assert!(fake.batches(3).await.iter().all(|batch| batch.len() <= 2));
    service.stop().await;
}

#[tokio::test]
async fn priorities_and_names_are_checked() {
    let fake = Fake::new();
    let service = serving(&fake, &[]).await;
    let ask = async |priority, name: &str| {
        let request =
            v1::InferRequest { model: "tiny-bert".into(), items: vec![text("x")], priority, ..Default::default() };
        let mut request = Request::new(request);
        request.metadata_mut().insert("webinfer-client", name.parse().unwrap());
        service.inference().infer(request).await.map(|_| ())
    };
    ask(Priority::High.into(), "somebody").await.unwrap();
    assert_eq!(blamed(&ask(7, "somebody").await.unwrap_err()), "priority");
    for name in ["", &"x".repeat(129)] {
        assert_eq!(blamed(&ask(0, name).await.unwrap_err()), "webinfer-client");
    }
    service.stop().await;
}
