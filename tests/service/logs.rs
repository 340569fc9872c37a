//! What the program logs of requests, and what it never does.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::{any, get, post},
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use webinfer::{proto::v1, rpc::generated::inference_service_client::InferenceServiceClient};

use crate::common::{
    collector::{Collector, Manner},
    fake::{Fake, SPOILER, page},
    program::{self, Program},
    soon, text,
};

/// A WebDriver whose browser is the fake; it knows the addresses that it was told to open.
#[derive(Default)]
struct WebDriver {
    fake: Arc<Fake>,
    opened: Mutex<Vec<String>>,
}

impl WebDriver {
    /// Starts it; returns the setting that names it.
    async fn start(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let session = json!({"value": {"sessionId": "1", "capabilities": {"browserName": "Fake"}}});
        let router = Router::new()
            .route("/session", post(async move || answer(&session)))
            .route("/session/1/url", post(open))
            .route("/session/1/title", get(async || answer(&json!({"value": "a title"}))))
            .fallback(any(async || answer(&json!({"value": null}))))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("--browser=http://{address}")
    }
}

fn answer(value: &Value) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, "application/json")], value.to_string())
}

async fn open(State(driver): State<Arc<WebDriver>>, asked: Bytes) -> impl IntoResponse {
    let asked: Value = serde_json::from_slice(&asked).unwrap();
    let url = asked["url"].as_str().unwrap().to_owned();
    driver.opened.lock().unwrap().push(url.clone());
    let fake = driver.fake.clone();
    tokio::spawn(async move { page(fake, &url, CancellationToken::new()).await });
    answer(&json!({"value": null}))
}

/// Each line as the object that it must be.
fn objects(log: &[String]) -> Vec<Map<String, Value>> {
    log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test]
async fn lines_tell_of_requests_and_hold_no_secret() {
    let (driver, collector) = (Arc::<WebDriver>::default(), Collector::start(Manner::Takes).await);
    let (browser, endpoint, folder) = (driver.start().await, collector.setting(), program::folder());
    let arguments = [
        &*browser,
        &endpoint,
        "--otlp-header=authorization=Bearer sesame",
        "--load=tiny-bert",
        "--log=webinfer=trace",
        "--log-format=json",
    ];
    let program = Program::start(folder.path(), &arguments).await;
    let mut inference = InferenceServiceClient::new(program.connect().await);
    let (trace, input) = ("4bf92f3577b34da6a3ce929d0e0e4736", format!("{SPOILER} that nobody is to read"));
    for (id, input) in [("order-66", "well and good, and private"), ("order-67", &*input)] {
        let asked = v1::InferRequest { model: "tiny-bert".into(), items: vec![text(input)], ..Default::default() };
        let mut asked = Request::new(asked);
        let metadata = asked.metadata_mut();
        metadata.insert("x-request-id", id.parse().unwrap());
        metadata.insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
        assert_eq!(soon(inference.infer(asked)).await.is_ok(), id == "order-66");
    }
    drop(inference);
    let log = program.stop().await;
    let of = |id: &str| objects(&log).into_iter().filter(|line| line.get("request") == Some(&json!(id))).collect();
    let good: Vec<_> = of("order-66");
    assert_eq!(good.len(), 1, "{good:#?}");
    for (name, value) in [
        ("level", json!("DEBUG")),
        ("message", json!("a request ended")),
        ("trace", json!(trace)),
        ("model", json!("tiny-bert")),
        ("items", json!(1)),
        ("outcome", json!("OK")),
    ] {
        assert_eq!(good[0][name], value, "{name}");
    }
    let bad: Vec<_> = of("order-67");
    let warning = bad.iter().find(|line| line["level"] == "WARN").unwrap();
    assert_eq!((&warning["trace"], &warning["outcome"]), (&json!(trace), &json!("INFERENCE_FAILED")));
    assert_eq!(collector.got().authorization.as_deref(), Some("Bearer sesame"));

    let all = log.join("\n");
    assert!(all.contains("the page's own words about /link?token=…"), "the page's words are not there:\n{all}");
    let opened = driver.opened.lock().unwrap().clone();
    let (_, token) = opened[0].split_once("token=").unwrap();
    assert_eq!(token.len(), 64, "{opened:?}");
    for secret in [token, "sesame", "private", "nobody is to read"] {
        assert!(!all.contains(secret), "{secret} is in the log:\n{all}");
    }
}

#[tokio::test]
async fn the_collectors_headers_are_in_no_help_and_no_error() {
    let run = async |arguments: &[&str], header: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_webinfer"));
        let command = command.args(arguments).env("WEBINFER_OTLP_HEADER", header).kill_on_drop(true);
        let output = soon(command.output()).await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let help = run(&["serve", "--help"], "authorization=sesame").await;
    assert!(help.contains("--otlp-header") && !help.contains("sesame"), "{help}");
    for header in ["sesame", "name=sesame\u{1}"] {
        let error = run(&["serve"], header).await;
        assert!(error.contains("--otlp-header is not NAME=VALUE") && !error.contains("sesame"), "{error}");
    }
}
