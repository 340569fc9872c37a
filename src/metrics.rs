//! Metrics: every name, once, with its help text and buckets; and the calls that record.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{
    execution::{Execution, Timings},
    loss::Cause,
};

const REQUESTS: &str = "webinfer_requests_total";
const REQUEST_SECONDS: &str = "webinfer_request_seconds";
const HOP_SECONDS: &str = "webinfer_hop_seconds";
const BATCH_ITEMS: &str = "webinfer_batch_items";
const ITEMS: &str = "webinfer_items_total";
const TOKENS: &str = "webinfer_tokens_total";
const COALESCED: &str = "webinfer_coalesced_items_total";
const CACHE_LOOKUPS: &str = "webinfer_cache_lookups_total";
const QUEUE_ITEMS: &str = "webinfer_queue_items";
const LINK_BYTES: &str = "webinfer_link_bytes_total";
const BROWSERS: &str = "webinfer_browsers";
const BROWSER_ENDS: &str = "webinfer_browser_ends_total";
const BROWSER_MEMORY: &str = "webinfer_browser_memory_bytes";
const WORKERS: &str = "webinfer_workers";
const WORKER_ENDS: &str = "webinfer_worker_ends_total";
const BREAKER_STATE: &str = "webinfer_breaker_state";
const SPARES: &str = "webinfer_spare_browsers";
const RECYCLED: &str = "webinfer_browser_recycles_total";
const FALLBACKS: &str = "webinfer_fallbacks_total";
const SIMULATED: &str = "webinfer_simulated_items_total";
const QUARANTINED: &str = "webinfer_quarantined_items_total";
const RETRIES: &str = "webinfer_retries_total";
const LOAD_SECONDS: &str = "webinfer_model_load_seconds";
const SPANS: &str = "webinfer_spans_total";

/// Seconds, from 100 µs to 100 s: two a decade are too few to see a regression, five are enough.
const SECONDS: [f64; 25] = [
    0.0001, 0.0002, 0.0004, 0.0006, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2,
    0.35, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0,
];
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Installs the recorder, once in a process, and returns the handle that renders it.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(Matcher::Full(BATCH_ITEMS.to_owned()), &BATCHES)?
        .install_recorder()?;
    describe();
    Ok(installed.insert(handle).clone())
}

fn describe() {
    describe_counter!(REQUESTS, "Requests that ended, by model and outcome: OK, CANCELLED, or an error's reason.");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "From admission to the end of a whole request, by model.");
    describe_histogram!(
        HOP_SECONDS,
        Unit::Seconds,
        "Time of one batch in one hop: queue, bridge, preprocess, inference, postprocess."
    );
    describe_histogram!(BATCH_ITEMS, Unit::Count, "Items that ran in one call, by model.");
    describe_counter!(ITEMS, "Items that ran, by model, backend, hardware and dtype that really ran them.");
    describe_counter!(TOKENS, "Tokens that ran, padding counted, by model.");
    describe_counter!(COALESCED, "Items that shared the run of an identical one in flight.");
    describe_counter!(CACHE_LOOKUPS, "Items looked up among the kept answers, by result: hit or miss.");
    describe_gauge!(QUEUE_ITEMS, "Items that wait for a worker.");
    describe_counter!(LINK_BYTES, Unit::Bytes, "Bytes of frames on links, by direction.");
    describe_gauge!(BROWSERS, "Browsers by state.");
    describe_counter!(BROWSER_ENDS, "Browsers that ended without being asked to, by cause.");
    describe_gauge!(BROWSER_MEMORY, Unit::Bytes, "Memory of a browser's process tree, by its place in the pool.");
    describe_gauge!(WORKERS, "Workers by state.");
    describe_counter!(WORKER_ENDS, "Workers that were lost, by cause.");
    describe_gauge!(BREAKER_STATE, "Circuit breakers by browser, backend and model: 0 closed, 1 half open, 2 open.");
    describe_gauge!(SPARES, "Browsers that are up or on their way to take over from others.");
    describe_counter!(RECYCLED, "Browsers that were replaced before they failed, by what wore them.");
    describe_counter!(FALLBACKS, "Loads that a backend failed, so that the next one is tried, by model and backend.");
    describe_counter!(SIMULATED, "Items that were answered with placeholders, by model.");
    describe_counter!(QUARANTINED, "Items that are not tried again because they ended workers.");
    describe_counter!(RETRIES, "Items that were taken up again after their worker was lost.");
    describe_histogram!(LOAD_SECONDS, Unit::Seconds, "Time to load one replica, by model.");
    describe_counter!(SPANS, "Spans for the collector, by result: sent, failed, or dropped for want of room.");
}

/// A request has ended. `model` must be a registered id or empty, so that labels stay bounded.
pub fn request(model: &str, outcome: &'static str, took: Duration) {
    counter!(REQUESTS, "model" => model.to_owned(), "outcome" => outcome).increment(1);
    histogram!(REQUEST_SECONDS, "model" => model.to_owned()).record(took);
}

/// Items shared the run of an identical one.
pub fn coalesced(count: u64) {
    counter!(COALESCED).increment(count);
}

/// An item was looked up among the kept answers.
pub fn cache_lookup(hit: bool) {
    counter!(CACHE_LOOKUPS, "result" => if hit { "hit" } else { "miss" }).increment(1);
}

/// A batch has run, with so many tokens, padding counted.
pub fn batch(model: &str, execution: &Execution, tokens: u64) {
    let runtime = &execution.runtime;
    histogram!(BATCH_ITEMS, "model" => model.to_owned()).record(f64::from(execution.batch_size));
    counter!(
        ITEMS,
        "model" => model.to_owned(),
        "backend" => runtime.backend_used.name(),
        "hardware" => runtime.hardware.name(),
        "dtype" => runtime.dtype.clone(),
    )
    .increment(u64::from(execution.batch_size));
    counter!(TOKENS, "model" => model.to_owned()).increment(tokens);
    let Timings { queue_us, bridge_us, preprocess_us, inference_us, postprocess_us } = execution.timings;
    for (hop, micros) in [
        ("queue", queue_us),
        ("bridge", bridge_us),
        ("preprocess", preprocess_us),
        ("inference", inference_us),
        ("postprocess", postprocess_us),
    ] {
        histogram!(HOP_SECONDS, "model" => model.to_owned(), "hop" => hop).record(Duration::from_micros(micros));
    }
}

/// So many items wait.
pub fn queue_items(count: usize) {
    gauge!(QUEUE_ITEMS).set(count as f64);
}

/// A frame went over a link.
pub fn link_bytes(direction: &'static str, bytes: usize) {
    counter!(LINK_BYTES, "direction" => direction).increment(bytes as u64);
}

/// So many browsers are in a state.
pub fn browsers(state: &'static str, count: usize) {
    gauge!(BROWSERS, "state" => state).set(count as f64);
}

/// So many workers are in a state.
pub fn workers(state: &'static str, count: usize) {
    gauge!(WORKERS, "state" => state).set(count as f64);
}

/// A browser ended without being asked to.
pub fn browser_ended(cause: Cause) {
    counter!(BROWSER_ENDS, "cause" => cause.name()).increment(1);
}

/// A worker was lost.
pub fn worker_ended(cause: Cause) {
    counter!(WORKER_ENDS, "cause" => cause.name()).increment(1);
}

/// A breaker is closed (0), half open (1) or open (2).
pub fn breaker(browser: &str, backend: &'static str, model: &str, state: u8) {
    let labels = [("browser", browser.to_owned()), ("backend", backend.to_owned()), ("model", model.to_owned())];
    gauge!(BREAKER_STATE, &labels).set(f64::from(state));
}

/// There are so many spares.
pub fn spares(count: usize) {
    gauge!(SPARES).set(count as f64);
}

/// A worn browser was replaced.
pub fn browser_recycled(kind: &'static str) {
    counter!(RECYCLED, "worn" => kind).increment(1);
}

/// A backend could not be had for a model.
pub fn fell_back(model: &str, backend: &'static str) {
    counter!(FALLBACKS, "model" => model.to_owned(), "backend" => backend).increment(1);
}

/// Items were answered with placeholders.
pub fn simulated(model: &str, items: usize) {
    counter!(SIMULATED, "model" => model.to_owned()).increment(items as u64);
}

/// An item is not tried again.
pub fn quarantined() {
    counter!(QUARANTINED).increment(1);
}

/// A browser has so much memory; `place` counts from 0 to the number of browsers.
pub fn browser_memory(place: usize, bytes: u64) {
    gauge!(BROWSER_MEMORY, "place" => place.to_string()).set(bytes as f64);
}

/// Items are taken up again.
pub fn retries(count: u64) {
    counter!(RETRIES).increment(count);
}

/// A replica was loaded.
pub fn model_loaded(model: &str, took: Duration) {
    histogram!(LOAD_SECONDS, "model" => model.to_owned()).record(took);
}

/// Spans were sent to the collector or not.
#[cfg(feature = "otlp")]
pub fn spans(result: &'static str, count: u64) {
    counter!(SPANS, "result" => result).increment(count);
}
