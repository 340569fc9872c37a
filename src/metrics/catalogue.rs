//! Catalogue: every metric once, with its type, labels and meaning. The documentation's table is made of it; dashboards
//! and alerts are held against it by a test.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often values were seen, by size.
    Histogram,
}

impl Kind {
    /// Its name in the exposition format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts or measures.
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal in $unit:literal by [$($label:literal),*]: $help:literal;)*) => {
        $(pub(super) const $constant: Metric = Metric {
            name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help,
        };)*

        /// All of them.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

catalogue! {
    BUILD = Gauge "webinfer_build_info" in "1" by ["version"]: "always 1; tells the service's version";

    REQUESTS = Counter "webinfer_requests_total" in "requests" by ["model", "task", "priority", "outcome"]:
        "requests that ended; the outcome is `OK`, `CANCELLED`, or a reason of the table of errors; the model is empty where there is none of that name";
    REQUEST_SECONDS = Histogram "webinfer_request_seconds" in "seconds" by ["model"]:
        "from admission to the answer of a whole request, or to its error";
    FIRST_TOKEN_SECONDS = Histogram "webinfer_first_token_seconds" in "seconds" by ["model"]:
        "from admission to the first token of a text that was made";
    TOKEN_SECONDS = Histogram "webinfer_token_seconds" in "seconds" by ["model"]:
        "mean time between the tokens of a text that was made, after the first";
    PENDING_ITEMS = Gauge "webinfer_pending_items" in "items" by []: "items that are queued or run, over all callers";
    PENDING_BYTES = Gauge "webinfer_pending_bytes" in "bytes" by []: "their bytes, and those of answers that were not read yet";
    PENDING_LIMIT = Gauge "webinfer_pending_limit" in "items or bytes" by ["what"]:
        "what may be pending: `items`, `bytes`";
    QUEUE_ITEMS = Gauge "webinfer_queue_items" in "items" by ["model"]: "items that wait for a worker";
    COALESCED = Counter "webinfer_coalesced_items_total" in "items" by []: "items that shared the run of an identical one";
    CACHE_LOOKUPS = Counter "webinfer_cache_lookups_total" in "items" by ["result"]:
        "items looked up among the kept answers: `hit` or `miss`";
    SIMULATED = Counter "webinfer_simulated_items_total" in "items" by ["model"]:
        "items that were answered with placeholders";
    QUARANTINED = Counter "webinfer_quarantined_items_total" in "items" by []:
        "items that are not tried again because they ended workers";
    RETRIES = Counter "webinfer_retries_total" in "items" by []:
        "items that were taken up again after their worker was lost, or gave what is no answer";

    HEDGES = Counter "webinfer_hedges_total" in "batches" by ["model", "outcome"]:
        "batches that were late: `won`, by a second run elsewhere, or `lost`, by the first; `refused` where the budget left no second run";

    HOP_SECONDS = Histogram "webinfer_hop_seconds" in "seconds" by ["model", "hop", "browser", "backend", "hardware", "dtype"]:
        "time of one batch in `queue`, `bridge`, `preprocess`, `inference`, `postprocess`, by what really ran it";
    BATCH_ITEMS = Histogram "webinfer_batch_items" in "items" by ["model"]: "items that ran in one call";
    ITEMS = Counter "webinfer_items_total" in "items" by ["model", "browser", "backend", "hardware", "dtype"]:
        "items that ran, by what really ran them; `hardware` is `cpu`, `gpu`, `software_adapter` or `unknown`";
    TOKENS = Counter "webinfer_tokens_total" in "tokens" by ["model"]: "tokens that ran, padding counted";
    PADDING = Counter "webinfer_padding_tokens_total" in "tokens" by ["model"]:
        "those among them that only filled up shorter items of a batch";
    LINK_BYTES = Counter "webinfer_link_bytes_total" in "bytes" by ["direction"]:
        "frames between service and browsers: `to_browser`, `from_browser`";

    MODELS = Gauge "webinfer_models" in "models" by ["model", "state"]:
        "1 for each model that is kept loaded, by its state: `loading`, `ready`, `asleep`, `failed`, `simulated`";
    REPLICAS = Gauge "webinfer_replicas" in "replicas" by ["model", "browser", "backend", "hardware", "dtype"]:
        "replicas that are loaded";
    REPLICAS_WANTED = Gauge "webinfer_replicas_wanted" in "replicas" by ["model"]: "replicas that a model should have";
    LOADS = Counter "webinfer_model_loads_total" in "loads" by ["model", "outcome"]:
        "loads of a replica that ended: `OK`, or the cause of its worker's end";
    LOAD_SECONDS = Histogram "webinfer_model_load_seconds" in "seconds" by ["model", "browser", "backend"]:
        "time to load one replica, its examination included";
    EXAMINATION_SECONDS = Histogram "webinfer_model_examination_seconds" in "seconds" by ["model", "step"]:
        "what the examination of a new replica adds to its load: its answers to the `probes`, the `reference` that they are held against, and the `calibration`, where its runs are timed because there is a choice";
    FALLBACKS = Counter "webinfer_fallbacks_total" in "loads" by ["model", "backend", "reason"]:
        "loads that a backend failed, so that the next of the list is tried: `no_backend`, `failed`, `out_of_memory`, `wrong_answers`";
    BREAKERS = Gauge "webinfer_breakers" in "breakers" by ["browser", "backend", "model", "state"]:
        "1 for each circuit breaker that is `open` or `half_open`";

    BENCHMARK_ROWS = Counter "webinfer_benchmark_rows_total" in "rows" by ["model", "state"]:
        "rows of benchmarks that are done: `measured`, `failed`, `lost`";
    BENCHMARK_THROUGHPUT = Gauge "webinfer_benchmark_items_per_second" in "items/s" by ["model", "browser", "backend", "hardware", "dtype", "batch", "concurrency", "threads", "workers"]:
        "throughput of the last row that was measured so: the geometric mean of its rounds";
    BENCHMARK_SECONDS = Gauge "webinfer_benchmark_request_seconds" in "seconds" by ["model", "browser", "backend", "hardware", "dtype", "batch", "concurrency", "threads", "workers", "quantile"]:
        "time of its requests, from admission to answer: the quantiles `0.5`, `0.99`";
    BENCHMARK_LOAD = Gauge "webinfer_benchmark_load_seconds" in "seconds" by ["model", "browser", "backend", "hardware", "dtype", "batch", "concurrency", "threads", "workers"]:
        "time until all its workers were loaded";
    BENCHMARK_MEMORY = Gauge "webinfer_benchmark_memory_bytes" in "bytes" by ["model", "browser", "backend", "hardware", "dtype", "batch", "concurrency", "threads", "workers"]:
        "memory of its browsers' process trees, with all that was loaded there; 0 where it cannot be read";

    CROSS_CHECKS = Counter "webinfer_cross_checks_total" in "requests" by ["model", "outcome"]:
        "answers that were checked by another run on another browser or backend: `agreed`, `diverged`, `failed`, or `dropped` because nobody was free to check";
    DIVERGENCES = Counter "webinfer_divergences_total" in "verdicts" by ["model", "browser", "backend"]:
        "times that a backend of a browser was found to answer wrongly, and was taken out of service";

    BROWSERS = Gauge "webinfer_browsers" in "browsers" by ["browser", "state", "reason"]:
        "browsers: `starting`, `ready`, `backing_off`; the reason is the cause of the last loss where one is not ready";
    BROWSERS_WANTED = Gauge "webinfer_browsers_wanted" in "browsers" by []: "browsers that should serve";
    SPARES = Gauge "webinfer_spare_browsers" in "browsers" by []:
        "browsers that are up, or on their way, to take over from others";
    BROWSER_STARTS = Counter "webinfer_browser_starts_total" in "browsers" by []: "browsers that were started";
    BROWSER_START_SECONDS = Histogram "webinfer_browser_start_seconds" in "seconds" by ["browser"]:
        "from a browser's start to its linked page";
    BROWSER_ENDS = Counter "webinfer_browser_ends_total" in "browsers" by ["cause"]:
        "browsers that ended without being asked to: `killed`, `exited`, `crashed`, `stopped`, `silent`, `gpu_lost`, `no_start`, `closed`";
    RECYCLED = Counter "webinfer_browser_recycles_total" in "browsers" by ["worn"]:
        "browsers that were replaced before they failed: by `memory`, `age`, `runs`, or because somebody `asked`";
    BROWSER_MEMORY = Gauge "webinfer_browser_memory_bytes" in "bytes" by ["place", "browser"]:
        "memory of a browser's process tree, by its place in the pool";
    BROWSER_HEAP = Gauge "webinfer_browser_js_heap_bytes" in "bytes" by ["place", "browser"]:
        "JavaScript heaps of a browser's page and workers, WebAssembly counted; 0 where the browser does not tell (all but Chromium's)";
    WORKERS = Gauge "webinfer_workers" in "workers" by ["model", "state"]:
        "workers: `starting`, `loading`, `ready`, `leaving`";
    WORKER_ENDS = Counter "webinfer_worker_ends_total" in "workers" by ["cause"]:
        "workers that were lost: the causes of browsers, and `stuck`, `out_of_memory`, `wrong_answers`, `confused`, `failed`";

    SPANS = Counter "webinfer_spans_total" in "spans" by ["result"]:
        "spans for the collector of traces: `sent`, `failed`, or `dropped` because too many waited";

    RUNTIME_THREADS = Gauge "webinfer_runtime_threads" in "threads" by []: "threads of the service that run tasks";
    RUNTIME_TASKS = Gauge "webinfer_runtime_tasks" in "tasks" by []: "tasks of the service that are alive";
    RUNTIME_QUEUE = Gauge "webinfer_runtime_queue_tasks" in "tasks" by []: "tasks that wait for any of the threads";
    RUNTIME_BUSY = Counter "webinfer_runtime_busy_seconds_total" in "seconds" by []: "time that the threads ran tasks, added up";
    ALLOCATOR = Gauge "webinfer_allocator_bytes" in "bytes" by ["what"]:
        "the service's heap: `allocated` by the program, `active` in pages of that, `resident` in memory, `retained` for later";

    PROCESS_CPU = Counter "process_cpu_seconds_total" in "seconds" by []: "CPU time of the service's process";
    PROCESS_OPEN = Gauge "process_open_fds" in "files" by []: "files and sockets that it has open";
    PROCESS_MOST = Gauge "process_max_fds" in "files" by []: "files and sockets that it may have open";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" in "bytes" by []: "its address space";
    PROCESS_VIRTUAL_MOST = Gauge "process_virtual_memory_max_bytes" in "bytes" by []: "the most that may have";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" in "bytes" by []: "its memory";
    PROCESS_START = Gauge "process_start_time_seconds" in "seconds" by []: "when it started, since 1970";
    PROCESS_THREADS = Gauge "process_threads" in "threads" by []: "its threads";
}

/// Tells the recorder of all that are this crate's own.
pub(super) fn describe() {
    for Metric { name, kind, unit, help, .. } in ALL.iter().filter(|metric| metric.name.starts_with("webinfer_")) {
        let unit = match *unit {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        match kind {
            Kind::Counter => describe_counter!(*name, unit, *help),
            Kind::Gauge => describe_gauge!(*name, unit, *help),
            Kind::Histogram => describe_histogram!(*name, unit, *help),
        }
    }
}

/// The documentation's table.
pub fn table() -> String {
    let mut text = String::from("| Metric | Type | Unit | Labels | What it is |\n| --- | --- | --- | --- | --- |\n");
    for Metric { name, kind, unit, labels, help } in ALL {
        text += &format!("| `{name}` | {} | {unit} | {} | {help} |\n", kind.name(), labels.join(", "));
    }
    text
}
