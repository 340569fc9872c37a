//! `webinfer bench load` and the client under it, against a service with a fake browser.

use std::{process::ExitCode, time::Duration};

use futures_util::future::join_all;
use webinfer::{cli, config, proto::v1, rpc::client::Client};

use crate::common::{Service, embedding, fake::Fake, text};

const DEADLINE: Duration = Duration::from_secs(10);

async fn serving(fake: &std::sync::Arc<Fake>, arguments: &[&str]) -> (Service, Client) {
    let service = Service::start(&[&["--replicas=1", "--threads=1"], arguments].concat(), fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    let client = Client::connect(&format!("http://{}", service.app.address)).await.unwrap();
    (service, client)
}

fn request(model: &str, word: &str) -> v1::InferRequest {
    v1::InferRequest { model: model.into(), items: vec![text(word)], ..Default::default() }
}

/// Runs the command in this process; whether it succeeded.
async fn load(service: &Service, arguments: &[&str]) -> bool {
    let address = format!("--address={}", service.app.address);
    let fixed = ["webinfer", "bench", "load", &address, "--warm-up=0s", "--duration=200ms", "--format=json"];
    let all = fixed.iter().chain(arguments).map(Into::into).collect();
    let mode = config::parse(all, Vec::new(), "webinfer".into(), Vec::new()).unwrap();
    let code = tokio::task::spawn_blocking(|| cli::run(mode)).await.unwrap();
    code == ExitCode::SUCCESS
}

#[tokio::test]
async fn closed_and_open_loops_run_by_call_and_by_stream() {
    let fake = Fake::new();
    let (service, client) = serving(&fake, &[]).await;
    let model = "--model=tiny-bert";
    assert!(load(&service, &[model, "--callers=3", "--items=2", "--connections=2"]).await);
    assert!(load(&service, &[model, "--callers=3", "--stream"]).await);
    assert!(load(&service, &[model, "--rate=200", "--arrivals=constant"]).await);
    assert!(load(&service, &[model, "--rate=200", "--stream", "--connections=2"]).await);
    assert!(load(&service, &["--model=identity", "--shape=x=f32:4", "--callers=2"]).await);
    // No made-up text, each of which begins with its number, was sent twice.
    let mut texts = fake.batches(1).await.concat();
    texts.retain(|text| text.starts_with(|letter: char| letter.is_ascii_digit()));
    let all = texts.len();
    assert!(all > 0);
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), all);
    drop(client);
    service.stop().await;
}

#[tokio::test]
async fn a_run_without_one_ok_answer_fails() {
    let fake = Fake::gated();
    let (service, client) = serving(&fake, &[]).await;
    assert!(!load(&service, &["--model=tiny-bert", "--callers=2", "--deadline=50ms"]).await);
    assert!(!load(&service, &["--model=no-such"]).await);
    assert!(!load(&service, &["--model=identity"]).await);
    drop(client);
    fake.release(1000);
    service.stop().await;
}

#[tokio::test]
async fn answers_of_a_stream_find_their_callers() {
    let fake = Fake::new();
    let (service, client) = serving(&fake, &[]).await;
    let stream = client.open_stream().await.unwrap();
    let words: Vec<String> = (1..=300).map(|length| "x".repeat(length % 40 + 1)).collect();
    let answers = join_all(words.iter().map(|word| stream.infer(request("tiny-bert", word), DEADLINE))).await;
    for (word, answer) in words.iter().zip(answers) {
        assert_eq!(embedding(&answer.unwrap().results[0])[0], word.len() as f32);
    }
    let failure = stream.infer(request("no-such", "x"), DEADLINE).await.unwrap_err();
    assert_eq!((failure.code, failure.reason.as_str()), ("NOT_FOUND", "MODEL_NOT_FOUND"));
    drop((stream, client));
    service.stop().await;
}

#[tokio::test]
async fn a_deadline_has_the_same_name_by_call_and_by_stream() {
    let fake = Fake::gated();
    let (service, client) = serving(&fake, &[]).await;
    let stream = client.open_stream().await.unwrap();
    let short = Duration::from_millis(50);
    let by_call = client.infer(request("tiny-bert", "x"), short).await.unwrap_err();
    let by_stream = stream.infer(request("tiny-bert", "x"), short).await.unwrap_err();
    assert_eq!((by_call.code, by_stream.code), ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"));
    fake.release(2);
    drop((stream, client));
    service.stop().await;
}

#[tokio::test]
async fn a_stream_that_has_ended_says_so() {
    let fake = Fake::new();
    let (service, client) = serving(&fake, &[]).await;
    let stream = client.open_stream().await.unwrap();
    stream.infer(request("tiny-bert", "x"), DEADLINE).await.unwrap();
    drop(client);
    service.stop().await;
    let failure = stream.infer(request("tiny-bert", "x"), DEADLINE).await.unwrap_err();
    assert!(failure.is_unavailable(), "{failure:?}");
}
