//! Trace: which request something was done for. Each has an id and, where its caller names one, the id of a trace, which
//! log lines about it carry. Those that are sampled have spans besides, for an OpenTelemetry collector.
//!
//! Spans are made after the fact, of times that are taken anyway: a request that is not sampled has none, and pays for
//! the reading of a header.

mod collector;
mod flood;
mod said;

#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod spans;
#[cfg(not(feature = "otlp"))]
#[path = "no_spans.rs"]
mod spans;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::field::{DisplayValue, display};

use crate::{
    error::{Error, shorten},
    execution::{Execution, Runtime, Timings},
};
pub use collector::{Endpoint, Header, Settings};
use flood::Flood;
pub use said::Said;
use said::{Parent, TraceId};
use spans::{ItemSpan, Source, Spans};

/// Why there can be no traces.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to --otlp-endpoint: {0}")]
pub struct StartError(String);

/// A collector that takes nothing holds the end of the service up for no longer.
const LONGEST_FLUSH: Duration = Duration::from_secs(5);

/// Makes the requests' traces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Option<Source>,
    /// Bounds the lines about requests that failed by the service's own fault.
    faults: Mutex<Flood>,
}

impl Tracer {
    /// One that sends its spans to the collector of the settings, if there is one.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let source = settings.endpoint.as_ref().map(|endpoint| Source::start(endpoint, settings)).transpose()?;
        Ok(Self(Arc::new(Shared { source, faults: Mutex::default() })))
    }

    /// A call that is one request.
    pub fn call(&self, method: &'static str, said: Said<'_>) -> Call {
        let id = said.request_id.and_then(said::request_id).map_or_else(said::new_id, str::to_owned);
        Call { tracer: self.clone(), method, id, parent: said.parent(), stream: None }
    }

    /// A call that is a stream of requests.
    pub fn stream(&self, method: &'static str, said: Said<'_>) -> Call {
        let call = self.call(method, said);
        Call { stream: self.spans(&call), ..call }
    }

    fn spans(&self, call: &Call) -> Option<Spans> {
        self.0.source.as_ref().and_then(|source| source.call(call.method, call.parent.as_ref()))
    }

    /// Sends what has ended, as far as it can be sent within that time, or a short one. Nothing is traced any more after
    /// that.
    pub async fn flush(&self, within: Duration) {
        if let Some(source) = &self.0.source {
            source.flush(within.min(LONGEST_FLUSH)).await;
        }
    }
}

/// A call of a client.
#[derive(Debug)]
pub struct Call {
    tracer: Tracer,
    method: &'static str,
    id: String,
    parent: Option<Parent>,
    /// The span that those of its requests are below, where it is a stream. It ends with the call.
    stream: Option<Spans>,
}

impl Call {
    /// The id that its caller gave it, or that was made for it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Id of its trace.
    pub fn trace(&self) -> Option<DisplayValue<TraceId>> {
        self.stream.as_ref().map(Spans::trace).or(self.parent.as_ref().map(|parent| parent.trace)).map(display)
    }

    /// Its one request begins.
    pub fn request(&self) -> Open {
        self.open(self.id.clone(), self.tracer.spans(self))
    }

    /// A request of the stream begins. It has an id among the others of the stream.
    pub fn request_of_stream(&self, own: &str) -> Open {
        let own = said::request_id(own).map_or_else(said::new_id, str::to_owned);
        self.open(format!("{}/{own}", self.id), self.stream.as_ref().and_then(Spans::request))
    }

    fn open(&self, id: String, spans: Option<Spans>) -> Open {
        let trace = spans.as_ref().map(Spans::trace).or(self.parent.as_ref().map(|parent| parent.trace));
        let request = Arc::new(Request { id, trace, begun: Instant::now(), spans });
        Open { request, tracer: self.tracer.clone(), model: String::new(), items: 0, ended: false }
    }
}

/// One request, as all who work on it know it.
#[derive(Debug)]
pub struct Request {
    id: String,
    trace: Option<TraceId>,
    begun: Instant,
    /// None where it is not sampled.
    spans: Option<Spans>,
}

impl Request {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Id of its trace.
    pub fn trace(&self) -> Option<DisplayValue<TraceId>> {
        self.trace.map(display)
    }

    /// A part of the work on it has ended.
    pub fn stage(&self, name: &'static str, begun: Instant, error: Option<&Error>) {
        if let Some(spans) = &self.spans {
            spans.stage(name, begun, error);
        }
    }

    /// Something has happened to it.
    pub fn event(&self, name: &'static str) {
        if let Some(spans) = &self.spans {
            spans.event(name);
        }
    }

    /// One of its items begins.
    pub fn item(self: &Arc<Self>, index: usize, begun: Instant) -> Item {
        let span = self.spans.as_ref().and_then(|spans| spans.item(index, begun)).map(Box::new);
        Item { request: self.clone(), span }
    }
}

/// A request that goes on. Its drop ends it as cancelled.
#[derive(Debug)]
pub struct Open {
    /// The request.
    pub request: Arc<Request>,
    tracer: Tracer,
    model: String,
    items: usize,
    ended: bool,
}

impl Open {
    /// What it is about, in its caller's words.
    pub fn about(&mut self, model: &str, items: usize) {
        (self.model, self.items) = (shorten(model), items);
    }

    /// It has ended: with an answer, of whose items the first has that record, or with an error.
    pub fn end(mut self, result: Result<Option<&Execution>, &Error>) {
        self.close(result.err().map_or("OK", Error::reason), result);
    }

    fn close(&mut self, outcome: &'static str, result: Result<Option<&Execution>, &Error>) {
        self.ended = true;
        let (model, items) = (&*self.model, self.items);
        let Request { id, begun, spans, .. } = &*self.request;
        let trace = self.request.trace();
        let took_us = begun.elapsed().as_micros() as u64;
        tracing::debug!(request = id, trace, model, items, outcome, took_us, "a request ended");
        if let Some(error) = result.err().filter(|error| error.is_fault()) {
            let pass = self.tracer.0.faults.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now());
            if let Some(held) = pass {
                let more = (held > 0).then_some(held);
                tracing::warn!(request = id, trace, model, outcome, more, "a request failed: {error}");
            }
        }
        if let Some(spans) = spans {
            spans.end(&Ended { id, model, items, outcome, result });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.close(CANCELLED, Ok(None));
        }
    }
}

/// What a request's span says of its end.
#[derive(Debug)]
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "there are no spans"))]
struct Ended<'a> {
    id: &'a str,
    model: &'a str,
    items: usize,
    outcome: &'static str,
    result: Result<Option<&'a Execution>, &'a Error>,
}

/// The outcome of what its caller did not wait for.
const CANCELLED: &str = "CANCELLED";

/// One item of a request. Its drop ends it as cancelled.
#[derive(Debug)]
pub struct Item {
    /// Whose it is.
    pub request: Arc<Request>,
    span: Option<Box<ItemSpan>>,
}

impl Item {
    /// It has its answer.
    pub fn end(self, result: Result<&Execution, &Error>) {
        if let Some(span) = self.span {
            span.end(result);
        }
    }
}

/// A batch that has left its worker.
pub struct Run<'a> {
    /// When it was handed over.
    pub begun: Instant,
    /// When it was answered, or lost.
    pub ended: Instant,
    /// What ran it.
    pub runtime: &'a Runtime,
    /// Its items.
    pub items: usize,
    /// The times of its hops; or what kind of failure it was, and what is known of it.
    pub result: Result<Timings, (&'static str, &'a dyn fmt::Display)>,
}

/// Items have been in a batch.
pub fn batch<'a>(items: impl Iterator<Item = &'a mut Item>, run: &Run<'_>) {
    let sampled = items.filter_map(|Item { request, span }| Some((request.spans.as_ref()?, span.as_deref_mut()?)));
    spans::batch(sampled, run);
}
