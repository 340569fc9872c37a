//! Spans: what a collector is told of a request. Those of a request are below its caller's:
//!
//! ```text
//! webinfer.v1.InferenceService/Infer
//! ├ admission
//! ├ item ─ queue        one for each item; a queue for each time that it waited
//! ├ batch ─ bridge ─ preprocess, inference, postprocess
//! └ answer
//! ```
//!
//! Each request of a batch has a span of it, so that its trace is whole. That of the first has links to all items of the
//! batch, and each other one has links to that and to its own items. An item has a link to each batch that it was in.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use opentelemetry::{
    Context, KeyValue, SpanId as Id, TraceFlags, TraceId as Trace,
    trace::{
        Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer as _,
        TracerProvider as _,
    },
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanLimits},
};

use super::{
    CANCELLED, Ended, Endpoint, Run, Settings, StartError,
    export::{self, Sending},
    said::{Parent, TraceId},
};
use crate::{
    error::{Error, shorten},
    execution::{Execution, Runtime, Timings},
};

/// Items of one request that have a span.
const MOST_ITEMS: usize = 128;
/// What the SDK keeps of one span.
const LIMITS: SpanLimits = SpanLimits {
    max_events_per_span: 64,
    max_attributes_per_span: 64,
    max_links_per_span: 256,
    max_attributes_per_event: 8,
    max_attributes_per_link: 8,
};

/// Makes spans.
#[derive(Debug)]
pub struct Source {
    tracer: SdkTracer,
    sending: Sending,
}

impl Source {
    pub fn start(endpoint: &Endpoint, settings: &Settings) -> Result<Self, StartError> {
        let headers = settings.headers.iter().filter_map(|header| header.parts());
        let headers = headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint.traces())
            .with_headers(headers.collect())
            .with_timeout(export::ANSWER_DEADLINE)
            .build();
        let mut exporter = exporter.map_err(|error| StartError(error.to_string()))?;
        let service = [("service.name", env!("CARGO_PKG_NAME")), ("service.version", env!("CARGO_PKG_VERSION"))];
        let service = service.map(|(name, value)| KeyValue::new(name, value));
        let resource = Resource::builder_empty().with_attributes(service).build();
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, &resource);
        let (queue, sending) = export::start(exporter);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.share))))
            .with_span_limits(LIMITS)
            .with_span_processor(queue)
            .build();
        Ok(Self { tracer: provider.tracer(env!("CARGO_PKG_NAME")), sending })
    }

    /// The span of a call, where it is sampled.
    pub fn call(&self, method: &'static str, parent: Option<&Parent>) -> Option<Spans> {
        let context = match parent {
            Some(Parent { sampled: false, .. }) => return None,
            Some(parent) => Context::new().with_remote_span_context(remote(parent)),
            None => Context::new(),
        };
        let spans = Spans::begin(&self.tracer, method, SpanKind::Server, &context)?;
        spans
            .context
            .span()
            .set_attributes([KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", method)]);
        Some(spans)
    }

    pub async fn flush(&self, within: Duration) {
        self.sending.end(within).await;
    }
}

fn remote(parent: &Parent) -> SpanContext {
    let state = parent.state.parse().unwrap_or(TraceState::NONE);
    let (trace, span) = (Trace::from(parent.trace.0), Id::from(parent.span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, state)
}

/// The span of a request or of a stream, and those below it.
#[derive(Debug)]
pub struct Spans {
    tracer: SdkTracer,
    context: Context,
    /// The same moment on both clocks.
    begun: (Instant, SystemTime),
}

impl Spans {
    fn begin(tracer: &SdkTracer, name: &'static str, kind: SpanKind, parent: &Context) -> Option<Self> {
        let begun = (Instant::now(), SystemTime::now());
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(begun.1);
        let span = tracer.build_with_context(builder, parent);
        span.is_recording().then(|| Self { tracer: tracer.clone(), context: Context::new().with_span(span), begun })
    }

    pub fn trace(&self) -> TraceId {
        TraceId(u128::from_be_bytes(self.own().trace_id().to_bytes()))
    }

    /// A request of the stream.
    pub fn request(&self) -> Option<Self> {
        Self::begin(&self.tracer, "request", SpanKind::Internal, &self.context)
    }

    /// A part of the work that has ended just now.
    pub fn stage(&self, name: &'static str, begun: Instant, error: Option<&Error>) {
        let mut span = self.child(name, &self.context, begun);
        if let Some(error) = error {
            span.set_attribute(KeyValue::new("error.type", error.reason()));
            span.set_status(status(error));
        }
        span.end();
    }

    pub fn event(&self, name: &'static str) {
        self.context.span().add_event(name, Vec::new());
    }

    pub fn item(&self, index: usize, begun: Instant) -> Option<ItemSpan> {
        if index >= MOST_ITEMS {
            return None;
        }
        let mut span = self.child("item", &self.context, begun);
        span.set_attribute(KeyValue::new("webinfer.item.index", index as i64));
        Some(ItemSpan { context: Context::new().with_span(span), queued: begun })
    }

    pub fn end(&self, ended: &Ended<'_>) {
        let span = self.context.span();
        span.set_attributes([
            KeyValue::new("webinfer.request.id", ended.id.to_owned()),
            KeyValue::new("webinfer.model", ended.model.to_owned()),
            KeyValue::new("webinfer.items", ended.items as i64),
            KeyValue::new("webinfer.outcome", ended.outcome),
        ]);
        match ended.result {
            Ok(execution) => span.set_attributes(execution.map(record).unwrap_or_default()),
            Err(error) => {
                span.set_attribute(KeyValue::new("error.type", error.reason()));
                span.set_status(status(error));
            }
        }
        span.end();
    }

    /// The time that an item waited for a batch.
    fn queue(&self, item: &mut ItemSpan, run: &Run<'_>) {
        // One that joined a run that had begun has not waited.
        if item.queued < run.begun {
            self.child("queue", &item.context, item.queued).end_with_timestamp(self.at(run.begun));
        }
        item.queued = run.ended;
    }

    /// A batch that items of this request were in. Returns its span.
    fn batch(&self, links: Vec<Link>, run: &Run<'_>) -> SpanContext {
        let builder = self.builder("batch", run.begun).with_links(links);
        let mut span = self.tracer.build_with_context(builder, &self.context);
        span.set_attributes(replica(run.runtime));
        span.set_attribute(KeyValue::new("webinfer.batch.size", run.items as i64));
        let own = span.span_context().clone();
        match &run.result {
            Ok(timings) => self.hops(&own, run, timings),
            Err((kind, detail)) => {
                span.set_attribute(KeyValue::new("error.type", *kind));
                span.set_status(Status::error(shorten(&detail.to_string())));
            }
        }
        span.end_with_timestamp(self.at(run.ended));
        own
    }

    /// The round trip to the worker and what it did there: after the first half of what is neither.
    fn hops(&self, batch: &SpanContext, run: &Run<'_>, timings: &Timings) {
        let Timings { bridge_us, preprocess_us, inference_us, postprocess_us, .. } = *timings;
        let stages = [("preprocess", preprocess_us), ("inference", inference_us), ("postprocess", postprocess_us)];
        let in_worker = stages.iter().fold(0, |sum: u64, (_, micros)| sum.saturating_add(*micros));
        let round_trip = Duration::from_micros(bridge_us.saturating_add(in_worker));
        let begun = run.ended.checked_sub(round_trip).map_or(run.begun, |begun| begun.max(run.begun));
        let mut bridge = self.child("bridge", &below(batch), begun);
        let inside = below(bridge.span_context());
        let mut at = begun + Duration::from_micros(bridge_us / 2).min(run.ended.saturating_duration_since(begun));
        for (name, micros) in stages {
            let mut span = self.child(name, &inside, at);
            at += Duration::from_micros(micros).min(run.ended.saturating_duration_since(at));
            span.end_with_timestamp(self.at(at));
        }
        bridge.end_with_timestamp(self.at(run.ended));
    }

    fn child(&self, name: &'static str, parent: &Context, begun: Instant) -> Span {
        self.tracer.build_with_context(self.builder(name, begun), parent)
    }

    fn builder(&self, name: &'static str, begun: Instant) -> SpanBuilder {
        SpanBuilder::from_name(name).with_kind(SpanKind::Internal).with_start_time(self.at(begun))
    }

    fn own(&self) -> SpanContext {
        self.context.span().span_context().clone()
    }

    fn at(&self, moment: Instant) -> SystemTime {
        let (begun, wall) = self.begun;
        match moment.checked_duration_since(begun) {
            Some(later) => wall + later,
            None => wall - begun.duration_since(moment),
        }
    }
}

/// The span of an item.
#[derive(Debug)]
pub struct ItemSpan {
    context: Context,
    /// Since when it waits for a batch.
    queued: Instant,
}

impl ItemSpan {
    pub fn end(self, result: Result<&Execution, &Error>) {
        let span = self.context.span();
        match result {
            Ok(execution) => span.set_attributes(record(execution)),
            Err(error) => {
                span.set_attribute(KeyValue::new("error.type", error.reason()));
                span.set_status(status(error));
            }
        }
        span.set_attribute(KeyValue::new("webinfer.outcome", result.err().map_or("OK", Error::reason)));
        span.end();
    }

    /// It was in a batch, whose span that is.
    fn ran(&self, batch: &SpanContext, run: &Run<'_>) {
        let span = self.context.span();
        span.add_link(batch.clone(), Vec::new());
        if let Err((kind, detail)) = &run.result {
            let detail = KeyValue::new("webinfer.detail", shorten(&detail.to_string()));
            span.add_event("run failed", vec![KeyValue::new("error.type", *kind), detail]);
        }
    }

    fn link(&self) -> Link {
        Link::with_context(self.context.span().span_context().clone())
    }
}

impl Drop for ItemSpan {
    fn drop(&mut self) {
        let span = self.context.span();
        if span.is_recording() {
            span.set_attribute(KeyValue::new("webinfer.outcome", CANCELLED));
            span.end();
        }
    }
}

/// Items have been in a batch.
pub fn batch<'a>(items: impl Iterator<Item = (&'a Spans, &'a mut ItemSpan)>, run: &Run<'_>) {
    let mut requests: Vec<(&Spans, Vec<&ItemSpan>)> = Vec::new();
    let mut places = HashMap::new();
    for (spans, item) in items {
        spans.queue(item, run);
        let place = *places.entry(spans.own().span_id()).or_insert_with(|| {
            requests.push((spans, Vec::new()));
            requests.len() - 1
        });
        requests[place].1.push(item);
    }
    let mut first: Option<SpanContext> = None;
    for (spans, items) in &requests {
        let own = items.iter().map(|item| item.link());
        let links = match &first {
            None => requests.iter().flat_map(|(_, items)| items).map(|item| item.link()).collect(),
            Some(first) => std::iter::once(Link::with_context(first.clone())).chain(own).collect(),
        };
        let span = spans.batch(links, run);
        items.iter().for_each(|item| item.ran(&span, run));
        first.get_or_insert(span);
    }
}

fn below(span: &SpanContext) -> Context {
    Context::new().with_remote_span_context(span.clone())
}

/// What a caller did wrong is told by its kind alone: the words may repeat what it sent.
fn status(error: &Error) -> Status {
    Status::error(if error.is_fault() { shorten(&error.to_string()) } else { error.reason().to_owned() })
}

/// The record of what ran an item.
fn record(execution: &Execution) -> Vec<KeyValue> {
    let mut all = replica(&execution.runtime);
    all.extend([
        KeyValue::new("webinfer.batch.size", i64::from(execution.batch_size)),
        KeyValue::new("webinfer.retries", i64::from(execution.retries)),
        KeyValue::new("webinfer.origin", execution.origin.name()),
        KeyValue::new("webinfer.simulated", execution.is_simulated()),
    ]);
    all
}

/// The part of the record that is the same for all runs of a replica.
fn replica(runtime: &Runtime) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("webinfer.model", runtime.model.clone()),
        KeyValue::new("webinfer.model.sha256", runtime.model_sha256.clone()),
        KeyValue::new("webinfer.backend.requested", runtime.backend_requested.name()),
        KeyValue::new("webinfer.backend.used", runtime.backend_used.name()),
        KeyValue::new("webinfer.hardware", runtime.hardware.name()),
        KeyValue::new("webinfer.dtype", runtime.dtype.clone()),
        KeyValue::new("webinfer.threads", i64::from(runtime.threads)),
    ];
    let texts = [
        ("webinfer.browser.name", &runtime.browser),
        ("webinfer.browser.version", &runtime.browser_version),
        ("webinfer.adapter", &runtime.adapter),
        ("webinfer.fallback_reason", &runtime.fallback_reason),
        ("webinfer.worker.id", &runtime.worker_id),
    ];
    let told = texts.into_iter().filter(|(_, text)| !text.is_empty());
    all.extend(told.map(|(name, text)| KeyValue::new(name, shorten(text))));
    all
}
