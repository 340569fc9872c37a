//! A collector that is not one: it takes OTLP over HTTP and keeps the spans, or does not.

use std::{collections::BTreeMap, future::pending, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1,
};
use prost::Message;
use tokio::{net::TcpListener, sync::watch};

use super::soon;

/// How it deals with what comes.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    Takes,
    Fails,
    Hangs,
}

pub struct Collector {
    pub address: SocketAddr,
    got: watch::Sender<Got>,
    manner: Manner,
}

/// What has come.
#[derive(Clone, Default)]
pub struct Got {
    pub posts: usize,
    pub authorization: Option<String>,
    pub services: Vec<String>,
    pub spans: Vec<Span>,
}

impl Collector {
    pub async fn start(manner: Manner) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let collector = Arc::new(Self { address, got: watch::channel(Got::default()).0, manner });
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    /// The setting that names it.
    pub fn setting(&self) -> String {
        format!("--otlp-endpoint=http://{}", self.address)
    }

    pub fn got(&self) -> Got {
        self.got.borrow().clone()
    }

    /// Waits until so many posts have come.
    pub async fn posts(&self, count: usize) {
        soon(self.got.subscribe().wait_for(|got| got.posts >= count)).await.unwrap();
    }
}

async fn take(State(collector): State<Arc<Collector>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    collector.got.send_modify(|got| got.posts += 1);
    match collector.manner {
        Manner::Takes => {}
        Manner::Fails => return StatusCode::INTERNAL_SERVER_ERROR,
        Manner::Hangs => pending().await,
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    collector.got.send_modify(|got| {
        got.authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        for resource in request.resource_spans {
            let about = attributes(&resource.resource.unwrap().attributes);
            got.services.push(about["service.name"].clone());
            got.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans).map(Span::read));
        }
    });
    StatusCode::OK
}

/// A span, so that a test can read it.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub state: String,
    pub name: String,
    pub is_server: bool,
    /// In nanoseconds.
    pub begun: u64,
    pub ended: u64,
    pub about: BTreeMap<String, String>,
    /// The spans that it has links to.
    pub links: Vec<String>,
    /// What happened meanwhile, and what is said of it.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// What its status says, where that is an error.
    pub error: Option<String>,
}

impl Span {
    fn read(span: v1::Span) -> Self {
        let status = span.status.unwrap_or_default();
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state,
            name: span.name,
            is_server: span.kind == i32::from(v1::span::SpanKind::Server),
            begun: span.start_time_unix_nano,
            ended: span.end_time_unix_nano,
            about: attributes(&span.attributes),
            links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
            events: span.events.into_iter().map(|event| (event.name, attributes(&event.attributes))).collect(),
            error: (status.code == i32::from(v1::status::StatusCode::Error)).then_some(status.message),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => panic!("not expected: {other:?}"),
    };
    all.iter().map(|pair| (pair.key.clone(), text(&pair.value))).collect()
}
