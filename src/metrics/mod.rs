//! Metrics: the calls that record. What there is, is in `catalogue`; sets of gauges whose labels come and go are in `groups`.
//!
//! Where much is recorded, the handles are made once and kept: to find one by its labels costs more than to record.

mod benchmarks;
mod catalogue;
mod groups;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label, SharedString, counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tikv_jemalloc_ctl::{epoch, stats};
use tokio::runtime::Handle;

pub use benchmarks::benchmarked;
pub use catalogue::{ALL, Kind, Metric, table};
pub use groups::{Counts, Groups};

use crate::{
    execution::{Execution, Runtime, Timings},
    loss::Cause,
};

/// Seconds, from 200 µs to 100 s, three or four a decade.
const SECONDS: [f64; 20] = [
    0.0002, 0.0005, 0.001, 0.002, 0.004, 0.007, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 5.0, 10.0, 30.0,
    100.0,
];
/// Seconds of a hop. There is a series for each hop of each model on all that runs it: most of a scrape is their buckets.
const HOPS: [f64; 13] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];
/// Seconds of what is loaded or started.
const STARTS: [f64; 9] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0];
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Models that are told apart in a process's life. Those beyond are one, so that who registers one after the other does not
/// fill the memory.
const MOST_MODELS: usize = 1024;
/// Series of requests that are held to be found fast.
const MOST_REQUESTS: usize = 4 * MOST_MODELS;
/// What they are called together. No id has a colon.
const OTHERS: &str = ":others";

/// Installs the recorder, once in a process, and returns the handle that renders it.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let mut builder = PrometheusBuilder::new().set_buckets(&SECONDS)?;
    for (metric, buckets) in [
        (&catalogue::HOP_SECONDS, &HOPS[..]),
        (&catalogue::LOAD_SECONDS, &STARTS),
        (&catalogue::EXAMINATION_SECONDS, &STARTS),
        (&catalogue::BROWSER_START_SECONDS, &STARTS),
        (&catalogue::BATCH_ITEMS, &BATCHES),
    ] {
        builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    catalogue::describe();
    gauge(&catalogue::BUILD, [env!("CARGO_PKG_VERSION")]).set(1.0);
    begin();
    Ok(installed.insert(handle).clone())
}

/// Counts from zero what has few labels: what grows is seen from the second value on, and a first loss must not be missed.
fn begin() {
    for metric in [&catalogue::COALESCED, &catalogue::QUARANTINED, &catalogue::RETRIES, &catalogue::BROWSER_STARTS] {
        counter(metric, NONE).absolute(0);
    }
    for cause in Cause::ALL {
        counter(&catalogue::BROWSER_ENDS, [cause.name()]).absolute(0);
        counter(&catalogue::WORKER_ENDS, [cause.name()]).absolute(0);
    }
    for worn in ["memory", "age", "runs", "asked"] {
        counter(&catalogue::RECYCLED, [worn]).absolute(0);
    }
    for result in ["sent", "failed", "dropped"] {
        counter(&catalogue::SPANS, [result]).absolute(0);
    }
    for result in ["hit", "miss"] {
        counter(&catalogue::CACHE_LOOKUPS, [result]).absolute(0);
    }
}

/// The labels of a metric, in the order of the catalogue.
fn labels<Value: Into<SharedString>>(metric: &Metric, values: impl IntoIterator<Item = Value>) -> Vec<Label> {
    metric.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value)).collect()
}

fn counter<Value: Into<SharedString>>(metric: &Metric, values: impl IntoIterator<Item = Value>) -> Counter {
    counter!(metric.name, labels(metric, values))
}

fn gauge<Value: Into<SharedString>>(metric: &Metric, values: impl IntoIterator<Item = Value>) -> Gauge {
    gauge!(metric.name, labels(metric, values))
}

fn histogram<Value: Into<SharedString>>(metric: &Metric, values: impl IntoIterator<Item = Value>) -> Histogram {
    histogram!(metric.name, labels(metric, values))
}

/// No labels.
const NONE: [&str; 0] = [];

/// A model as a label. It must be a registered id or empty.
fn model_label(model: &Arc<str>) -> SharedString {
    static KNOWN: Mutex<BTreeSet<Arc<str>>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.contains(model) || (known.len() < MOST_MODELS && known.insert(model.clone())) {
        SharedString::from_shared(model.clone())
    } else {
        SharedString::const_str(OTHERS)
    }
}

/// A request that has ended.
#[derive(Debug)]
pub struct Request<'a> {
    /// Id of the model, empty where there is none of that name.
    pub model: &'a Arc<str>,
    /// Its task, likewise.
    pub task: &'static str,
    /// How urgent it was.
    pub priority: &'static str,
    /// `OK`, `CANCELLED`, or an error's reason.
    pub outcome: &'static str,
    /// From admission to its end.
    pub took: Duration,
}

/// A request has ended.
pub fn request(Request { model, task, priority, outcome, took }: Request<'_>) {
    type Known = HashMap<(Arc<str>, [&'static str; 3]), (Counter, Histogram)>;
    static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);
    let key = (model.clone(), [task, priority, outcome]);
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let (count, seconds) = known.unwrap_or_else(|| {
        let model = model_label(model);
        let labels = [model.clone(), task.into(), priority.into(), outcome.into()];
        let found = (counter(&catalogue::REQUESTS, labels), histogram(&catalogue::REQUEST_SECONDS, [model]));
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_REQUESTS {
            known.insert(key, found.clone());
        }
        found
    });
    count.increment(1);
    seconds.record(took);
}

/// Items shared the run of an identical one.
pub fn coalesced(count: u64) {
    counter(&catalogue::COALESCED, NONE).increment(count);
}

/// An item was looked up among the kept answers.
pub fn cache_lookup(hit: bool) {
    counter(&catalogue::CACHE_LOOKUPS, [if hit { "hit" } else { "miss" }]).increment(1);
}

/// What the batches of one replica are recorded in.
#[derive(Debug)]
pub struct Batches {
    hops: [Histogram; 5],
    items: Histogram,
    all_items: Counter,
    tokens: Counter,
    padding: Counter,
    first_token: Histogram,
    token: Histogram,
}

impl Batches {
    /// Of a replica.
    pub fn new(runtime: &Runtime) -> Self {
        let model = || model_label(&runtime.model);
        let (browser, backend) = (|| SharedString::from(runtime.browser.clone()), runtime.backend_used.name());
        let (hardware, dtype) = (runtime.hardware.name(), || SharedString::from(runtime.dtype.clone()));
        let hop = |hop: &'static str| {
            let labels = [model(), hop.into(), browser(), backend.into(), hardware.into(), dtype()];
            histogram(&catalogue::HOP_SECONDS, labels)
        };
        Self {
            hops: ["queue", "bridge", "preprocess", "inference", "postprocess"].map(hop),
            items: histogram(&catalogue::BATCH_ITEMS, [model()]),
            all_items: counter(&catalogue::ITEMS, [model(), browser(), backend.into(), hardware.into(), dtype()]),
            tokens: counter(&catalogue::TOKENS, [model()]),
            padding: counter(&catalogue::PADDING, [model()]),
            first_token: histogram(&catalogue::FIRST_TOKEN_SECONDS, [model()]),
            token: histogram(&catalogue::TOKEN_SECONDS, [model()]),
        }
    }

    /// A batch has run, with so many tokens, of which so many were padding.
    pub fn record(&self, execution: &Execution, tokens: u64, padding: u64) {
        self.items.record(f64::from(execution.batch_size));
        self.all_items.increment(u64::from(execution.batch_size));
        self.tokens.increment(tokens);
        self.padding.increment(padding);
        let Timings { queue_us, bridge_us, preprocess_us, inference_us, postprocess_us } = execution.timings;
        let times = [queue_us, bridge_us, preprocess_us, inference_us, postprocess_us];
        self.hops.iter().zip(times).for_each(|(hop, micros)| hop.record(Duration::from_micros(micros)));
    }

    /// A text was made: when its first token was there, and the mean time between those that followed, where some did.
    pub fn generated(&self, first: Duration, between: Option<Duration>) {
        self.first_token.record(first);
        between.into_iter().for_each(|between| self.token.record(between));
    }
}

/// So many items of a model wait.
pub fn queue_items(model: &Arc<str>, count: usize) {
    gauge(&catalogue::QUEUE_ITEMS, [model_label(model)]).set(count as f64);
}

/// What is pending over all callers.
#[derive(Debug)]
pub struct Pending {
    items: Gauge,
    bytes: Gauge,
}

impl Pending {
    /// Where so much may be.
    pub fn new(most_items: usize, most_bytes: usize) -> Self {
        gauge(&catalogue::PENDING_LIMIT, ["items"]).set(most_items as f64);
        gauge(&catalogue::PENDING_LIMIT, ["bytes"]).set(most_bytes as f64);
        Self { items: gauge(&catalogue::PENDING_ITEMS, NONE), bytes: gauge(&catalogue::PENDING_BYTES, NONE) }
    }

    /// So much is.
    pub fn set(&self, items: usize, bytes: usize) {
        self.items.set(items as f64);
        self.bytes.set(bytes as f64);
    }
}

/// What the frames of a link are recorded in.
#[derive(Debug)]
pub struct Frames {
    /// To the browser, in bytes.
    pub to_browser: Counter,
    /// From it.
    pub from_browser: Counter,
}

impl Default for Frames {
    fn default() -> Self {
        let [to_browser, from_browser] =
            ["to_browser", "from_browser"].map(|direction| counter(&catalogue::LINK_BYTES, [direction]));
        Self { to_browser, from_browser }
    }
}

/// A browser is being started.
pub fn browser_started() {
    counter(&catalogue::BROWSER_STARTS, NONE).increment(1);
}

/// A browser's page is linked.
pub fn browser_up(product: &str, took: Duration) {
    histogram(&catalogue::BROWSER_START_SECONDS, [product.to_owned()]).record(took);
}

/// A browser ended without being asked to.
pub fn browser_ended(cause: Cause) {
    counter(&catalogue::BROWSER_ENDS, [cause.name()]).increment(1);
}

/// A worn browser was replaced.
pub fn browser_recycled(kind: &'static str) {
    counter(&catalogue::RECYCLED, [kind]).increment(1);
}

/// A worker was lost.
pub fn worker_ended(cause: Cause) {
    counter(&catalogue::WORKER_ENDS, [cause.name()]).increment(1);
}

/// A backend could not be had for a model.
pub fn fell_back(model: &Arc<str>, backend: &'static str, reason: &'static str) {
    counter(&catalogue::FALLBACKS, [model_label(model), backend.into(), reason.into()]).increment(1);
}

/// Items were answered with placeholders.
pub fn simulated(model: &Arc<str>, items: usize) {
    counter(&catalogue::SIMULATED, [model_label(model)]).increment(items as u64);
}

/// An item is not tried again.
pub fn quarantined() {
    counter(&catalogue::QUARANTINED, NONE).increment(1);
}

/// Items are taken up again.
pub fn retries(count: u64) {
    counter(&catalogue::RETRIES, NONE).increment(count);
}

/// A batch was late: `won` or `lost` by its second run, or `refused` one.
pub fn hedged(model: &Arc<str>, outcome: &'static str) {
    counter(&catalogue::HEDGES, [model_label(model), outcome.into()]).increment(1);
}

/// A replica was loaded.
pub fn loaded(runtime: &Runtime, took: Duration) {
    let (model, browser) = (model_label(&runtime.model), runtime.browser.clone().into());
    histogram(&catalogue::LOAD_SECONDS, [model.clone(), browser, runtime.backend_used.name().into()]).record(took);
    counter(&catalogue::LOADS, [model, "OK".into()]).increment(1);
}

/// A step of a new replica's examination ended.
pub fn examined(model: &Arc<str>, step: &'static str, took: Duration) {
    histogram(&catalogue::EXAMINATION_SECONDS, [model_label(model), step.into()]).record(took);
}

/// A replica could not be loaded.
pub fn load_failed(model: &Arc<str>, cause: Cause) {
    counter(&catalogue::LOADS, [model_label(model), cause.name().into()]).increment(1);
}

/// So many spans went to the collector, or did not.
pub fn spans(result: &'static str, count: u64) {
    counter(&catalogue::SPANS, [result]).increment(count);
}

/// An answer was checked by another run.
pub fn cross_checked(model: &Arc<str>, outcome: &'static str) {
    counter(&catalogue::CROSS_CHECKS, [model_label(model), outcome.into()]).increment(1);
}

/// What is like this was found to answer wrongly.
pub fn diverged(runtime: &Runtime) {
    let labels = [model_label(&runtime.model), runtime.browser.clone().into(), runtime.backend_used.name().into()];
    counter(&catalogue::DIVERGENCES, labels).increment(1);
}

/// Measures what is measured when somebody asks: the runtime, and the allocator where it is the program's.
pub fn measure() {
    let runtime = Handle::current().metrics();
    gauge(&catalogue::RUNTIME_THREADS, NONE).set(runtime.num_workers() as f64);
    gauge(&catalogue::RUNTIME_TASKS, NONE).set(runtime.num_alive_tasks() as f64);
    gauge(&catalogue::RUNTIME_QUEUE, NONE).set(runtime.global_queue_depth() as f64);
    let busy: Duration = (0..runtime.num_workers()).map(|thread| runtime.worker_total_busy_duration(thread)).sum();
    counter(&catalogue::RUNTIME_BUSY, NONE).absolute(busy.as_secs());
    // What it tells is as of the last epoch.
    let read = epoch::advance().is_ok();
    for (what, bytes) in [
        ("allocated", stats::allocated::read()),
        ("active", stats::active::read()),
        ("resident", stats::resident::read()),
        ("retained", stats::retained::read()),
    ] {
        if let Some(bytes) = bytes.ok().filter(|_| read) {
            gauge(&catalogue::ALLOCATOR, [what]).set(bytes as f64);
        }
    }
}
