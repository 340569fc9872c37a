//! The settings of a service: each with its name, default, help and range; and what has to hold between them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{browser, execution::Backend, pool, rpc, trace};

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// TOML file with settings; its keys are the flags' names with `_` for `-`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address of the gRPC listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051", help_heading = "Listeners")]
    pub listen: SocketAddr,
    /// Address of the HTTP listener: the live page, /metrics, /live, /ready
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", help_heading = "Listeners")]
    pub http_listen: SocketAddr,
    /// Origins of pages that may call over gRPC-Web, each as SCHEME://HOST:PORT, or * for all; without one the gRPC listener
    /// speaks gRPC alone, and the HTTP listener answers the live page alone
    #[arg(long, value_name = "ORIGIN,...", value_delimiter = ',', help_heading = "Listeners")]
    pub cors_origin: Vec<rpc::Origin>,
    /// Serve neither the live page nor gRPC-Web on the HTTP listener
    #[arg(long, help_heading = "Listeners")]
    pub no_live_page: bool,

    /// Folder that holds the models, each in a folder in the Hub's layout
    #[arg(long, value_name = "FOLDER", default_value = "models", help_heading = "Models")]
    pub models: PathBuf,
    /// Models to load at the start; "none" for no model
    #[arg(
        long,
        value_name = "ID,...",
        default_value = "all-MiniLM-L6-v2",
        value_delimiter = ',',
        help_heading = "Models"
    )]
    pub load: Vec<String>,
    /// Backends of models whose registration names none, the best first: wasm (or cpu), webgpu, webnn-cpu (or webnn),
    /// webnn-gpu, webnn-npu
    #[arg(long, value_name = "BACKEND,...", default_value = "wasm", value_delimiter = ',', help_heading = "Models")]
    pub backend: Vec<Backend>,
    /// Let registrations have requests answered with labelled placeholders where no browser can run the model
    #[arg(long, help_heading = "Models")]
    pub allow_simulation: bool,
    /// WASM threads of a replica whose registration names none; 0 for a quarter of the cores, 1 to 4
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Models")]
    pub threads: u32,
    /// Workers that share the cores; models on WASM whose registration names no replicas get one to all of them, by their
    /// work; 0 for the cores divided by the threads of each, 1 to 4
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Models")]
    pub replicas: u32,
    /// Models that may be registered
    #[arg(long, value_name = "COUNT", default_value_t = 256, help_heading = "Models")]
    pub max_models: usize,
    /// Largest model, all its files together
    #[arg(long, value_name = "BYTES", default_value_t = 2_147_483_648, help_heading = "Models")]
    pub max_model_bytes: u64,
    /// Memory that replicas may take, about; models that were not used for longest give way; 0 for half of the machine's
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = "Models")]
    pub model_memory: u64,
    /// Memory that a replica's shapes may take: of the GPU for recorded commands on WebGPU, for sessions of their own on WebNN; 0
    /// for none
    #[arg(long, value_name = "BYTES", default_value_t = 2_147_483_648, help_heading = "Models")]
    pub capture_memory: u64,
    /// Optimise the graphs of models before they run, where a registration does not say; the first start with it takes longer
    #[arg(long, help_heading = "Models")]
    pub optimize: bool,
    /// Time in which a replica has to be loaded
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, help_heading = "Models")]
    pub load_deadline: Duration,

    /// Browsers, each one of auto, chrome, chromium, edge, firefox, safari, webkit, the path of a program, KIND=PATH, or the
    /// http:// address of a WebDriver; of several the pool has some of each
    #[arg(long, value_name = "BROWSER,...", default_value = "auto", value_delimiter = ',', help_heading = "Browsers")]
    pub browser: Vec<browser::Wanted>,
    /// Kinds of browsers that are guessed to be the fastest for a family of tasks (text, vision, audio, multimodal, tensor),
    /// for a backend, or for everything (*); the first that fits counts
    #[arg(
        long,
        value_name = "WHAT=KIND,...",
        default_value = "audio=firefox,webnn=edge,*=chrome",
        value_delimiter = ',',
        help_heading = "Browsers"
    )]
    pub guess: Vec<pool::Guess>,
    /// GPU that browsers use
    #[arg(long, value_enum, default_value = "auto", help_heading = "Browsers")]
    pub gpu: browser::Gpu,
    /// Most browsers that serve
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Browsers")]
    pub browsers: u32,
    /// Fewest browsers that serve; below --browsers, they come and go with the work; with 0 the first request starts one;
    /// where not given, as many as --browsers
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Browsers")]
    pub min_browsers: Option<u32>,
    /// Browsers beside these that are up and loaded, to take over from one that is lost
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16), help_heading = "Browsers")]
    pub spares: u32,
    /// Another browser is started when work waits for this long, where --min-browsers leaves room and there is memory
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration, help_heading = "Browsers")]
    pub scale_up_wait: Duration,
    /// A browser above --min-browsers ends when it was not needed for this long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, help_heading = "Browsers")]
    pub browser_idle_timeout: Duration,
    /// A browser is replaced by a fresh one, without a gap, when its process tree has this much memory; 0 for never
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = "Browsers")]
    pub recycle_memory: u64,
    /// The same when it is this old; 0s for never
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = delay, help_heading = "Browsers")]
    pub recycle_age: Duration,
    /// The same when it has run so many batches; 0 for never
    #[arg(long, value_name = "COUNT", default_value_t = 0, help_heading = "Browsers")]
    pub recycle_runs: u64,
    /// Open windows instead of running headless
    #[arg(long, help_heading = "Browsers")]
    pub show_browser: bool,
    /// Further argument for the browsers' command lines, or KIND:ARGUMENT for one kind alone; may be given several
    /// times
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true, help_heading = "Browsers")]
    pub browser_arg: Vec<browser::Argument>,
    /// User that browsers run as when the service runs as root
    #[arg(long, value_name = "NAME", default_value = "nobody", help_heading = "Browsers")]
    pub browser_user: String,
    /// Let browsers run without their sandbox: a page that breaks out then has all rights of its user
    #[arg(long, help_heading = "Browsers")]
    pub no_browser_sandbox: bool,
    /// Time in which a browser has to be up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Browsers")]
    pub browser_start_deadline: Duration,
    /// Time in which a started page or worker has to dial back
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration, help_heading = "Browsers")]
    pub dial_back_deadline: Duration,
    /// A page that gives no sign of life for this long is lost, and so is a worker that does not run anything meanwhile
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, help_heading = "Browsers")]
    pub heartbeat_deadline: Duration,

    /// Most items that run in one call; how many do is learned from what pays
    #[arg(long, value_name = "ITEMS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Batches")]
    pub max_batch: u32,
    /// Most tokens that run in one call, padding counted
    #[arg(long, value_name = "TOKENS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batches")]
    pub max_batch_tokens: u32,
    /// Most bytes of inputs that run in one call; one item may have more
    #[arg(long, value_name = "BYTES", default_value_t = 16_777_216, help_heading = "Batches")]
    pub max_batch_bytes: usize,
    /// Longest time that a batch is held back for more items while all workers are busy; 0s to hand it over at once
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = delay, help_heading = "Batches")]
    pub max_batch_delay: Duration,
    /// Part of all batches that may run a second time, in another browser, where the first run takes longer than nearly all
    /// such runs do; the first answer counts; 0 for never
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = part, help_heading = "Batches")]
    pub hedge: f64,
    /// Run each item by itself, also where an identical one is in flight
    #[arg(long, help_heading = "Batches")]
    pub no_coalescing: bool,
    /// Bytes of answers that are kept for identical items; 0 keeps none
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = "Batches")]
    pub answer_cache_bytes: u64,

    /// Share of the answers that are checked by another run on another backend or in another browser, 0 to 1: what is found
    /// to answer wrongly is taken out of service; where all replicas of a model are alike, one more is loaded to check
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = part, help_heading = "Answers")]
    pub cross_check: f64,

    /// Deadline of a call that has none
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, help_heading = "Requests")]
    pub default_deadline: Duration,
    /// A run that takes longer has a stuck worker, which is replaced; one that makes text, or otherwise takes an item at a
    /// time, is bound by its callers' deadlines instead
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration, help_heading = "Requests")]
    pub run_deadline: Duration,
    /// The same for a run that goes on after nobody waits for it any more
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Requests")]
    pub cancel_grace: Duration,
    /// Largest message, either way
    #[arg(long, value_name = "BYTES", default_value_t = 33_554_432, help_heading = "Requests")]
    pub max_message_bytes: usize,
    /// Items of one request
    #[arg(long, value_name = "ITEMS", default_value_t = 1024, help_heading = "Requests")]
    pub max_request_items: usize,
    /// Bytes of one text
    #[arg(long, value_name = "BYTES", default_value_t = 262_144, help_heading = "Requests")]
    pub max_text_bytes: usize,
    /// Most pixels of one picture
    #[arg(long, value_name = "PIXELS", default_value_t = 33_554_432, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Requests")]
    pub max_image_pixels: u64,
    /// Longest sound of one request
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration, help_heading = "Requests")]
    pub max_audio: Duration,
    /// Items that may be queued or run, over all callers
    #[arg(long, value_name = "ITEMS", default_value_t = 8192, help_heading = "Requests")]
    pub max_pending_items: usize,
    /// Bytes of items that may be queued or run, over all callers
    #[arg(long, value_name = "BYTES", default_value_t = 268_435_456, help_heading = "Requests")]
    pub max_pending_bytes: usize,
    /// A request that is expected to wait longer is refused
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, help_heading = "Requests")]
    pub max_wait: Duration,
    /// Part of what may be pending that one model may hold, above 0 and at most 1
    #[arg(long, value_name = "PART", default_value_t = 0.75, value_parser = share, help_heading = "Requests")]
    pub model_share: f64,
    /// Part of what may be pending that one client may hold, above 0 and at most 1
    #[arg(long, value_name = "PART", default_value_t = 0.5, value_parser = share, help_heading = "Requests")]
    pub client_share: f64,
    /// A stream whose answers are not read for this long is ended
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, help_heading = "Requests")]
    pub stall_deadline: Duration,
    /// HTTP/2 window of one stream
    #[arg(long, value_name = "BYTES", default_value_t = 4_194_304, help_heading = "Requests")]
    pub stream_window_bytes: u32,
    /// HTTP/2 window of one connection
    #[arg(long, value_name = "BYTES", default_value_t = 16_777_216, help_heading = "Requests")]
    pub connection_window_bytes: u32,
    /// Connections that each listener may have open; further ones wait
    #[arg(long, value_name = "COUNT", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Requests")]
    pub max_connections: u32,
    /// Streams that one connection may have open
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, help_heading = "Requests")]
    pub max_concurrent_streams: u32,

    /// Time that admitted work has to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Service")]
    pub drain_deadline: Duration,
    /// Offer what shows where time goes: DebugService over gRPC, and /debug/pprof/profile over HTTP
    #[arg(long, help_heading = "Service")]
    pub debug: bool,
    /// File in which what is measured of models is kept across restarts, or "none"; without it, webinfer/knowledge.db in the
    /// user's state folder. What browsers compile is kept beside it
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    pub state: Option<PathBuf>,
    /// File in which benchmarks are kept, or "none"; without it, benchmarks.db beside --state
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    pub history: Option<PathBuf>,
    /// What is logged to standard error, e.g. "info" or "webinfer=debug"
    #[arg(long, value_name = "FILTER", default_value = DEFAULT_LOG, help_heading = "Service")]
    pub log: String,

    /// How log lines are written
    #[arg(long, value_enum, default_value = "text", help_heading = "Service")]
    pub log_format: LogFormat,

    /// Address of an OpenTelemetry collector that takes OTLP over HTTP, like http://localhost:4318; without one there are
    /// no traces
    #[arg(long, value_name = "URL", help_heading = "Traces")]
    pub otlp_endpoint: Option<trace::Endpoint>,
    /// Header for the collector; may be given several times; a secret, which the variable and the file hide better than
    /// the command line
    #[arg(long, value_name = "NAME=VALUE", hide_default_value = true, help_heading = "Traces")]
    pub otlp_header: Vec<trace::Header>,
    /// Part of the requests that are traced where the caller does not say, from 0 to 1; a caller's traceparent says
    #[arg(long, value_name = "PART", default_value_t = 0.01, value_parser = part, help_heading = "Traces")]
    pub trace_share: f64,

    /// This program, for the guards of browsers.
    #[arg(skip)]
    pub program: PathBuf,
    /// Folder whose files stand in for those of the page. Nothing sets it but tests.
    #[arg(skip)]
    pub page: Option<PathBuf>,
    /// What PATH says.
    #[arg(skip)]
    pub search_path: Vec<PathBuf>,
    /// Where programs of this user keep their state.
    #[arg(skip)]
    pub state_folder: Option<PathBuf>,
    /// Whether there is a display to open windows on.
    #[arg(skip)]
    pub display: bool,
}

impl Serve {
    /// The file in which benchmarks are kept; none where they are forgotten at the end.
    pub fn history_file(&self) -> Option<PathBuf> {
        let is_none = |file: &PathBuf| file.as_os_str() == "none";
        match (&self.history, &self.state, &self.state_folder) {
            (Some(file), ..) => Some(file.clone()).filter(|file| !is_none(file)),
            (None, Some(file), _) => Some(file).filter(|file| !is_none(file)).map(|file| file.with_file_name(HISTORY)),
            (None, None, folder) => folder.as_ref().map(|folder| folder.join("webinfer").join(HISTORY)),
        }
    }
}

/// Name of the file of benchmarks where nothing else was said.
const HISTORY: &str = "benchmarks.db";

/// What is logged where nothing was said. The library that speaks DevTools warns of each event that it does not know.
pub const DEFAULT_LOG: &str = "info,chromiumoxide=error";

/// Variables whose values nobody else is to have: browsers start without them.
pub const SECRETS: [&str; 1] = ["WEBINFER_OTLP_HEADER"];

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings as a whole.
pub(super) fn check(serve: &Serve) -> Result<(), String> {
    if serve.listen == serve.http_listen && serve.listen.port() != 0 {
        return Err(format!("--listen and --http-listen are both {}; give them different ports", serve.listen));
    }
    if serve.min_browsers.is_some_and(|least| least > serve.browsers) {
        return Err("--min-browsers is above --browsers".into());
    }
    if serve.max_text_bytes > serve.max_message_bytes {
        return Err("--max-text-bytes is above --max-message-bytes, so that no such text could ever come in".into());
    }
    let share = serve.model_share.min(serve.client_share);
    if serve.max_message_bytes as f64 > serve.max_pending_bytes as f64 * share {
        return Err(
            "--max-message-bytes is above the part of --max-pending-bytes that one client or model may hold, so \
                    that such a message could never run"
                .into(),
        );
    }
    let window = 1 << 16..1 << 31;
    if !window.contains(&serve.stream_window_bytes) || !window.contains(&serve.connection_window_bytes) {
        return Err("HTTP/2 windows must have 65,536 to 2,147,483,647 bytes".into());
    }
    if serve.otlp_header.iter().any(|header| header.parts().is_none()) {
        return Err("an --otlp-header is not NAME=VALUE, of characters that HTTP allows".into());
    }
    if serve.max_request_items == 0 || serve.max_pending_items == 0 || serve.max_concurrent_streams == 0 {
        return Err("a limit of 0 would refuse everything".into());
    }
    Ok(())
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("must be a number above 0 and at most 1, like 0.5".into()),
    }
}

/// A share that may be none.
fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("must be a number from 0 to 1, like 0.01".into()),
    }
}

/// A duration that may be none.
fn delay(text: &str) -> Result<Duration, String> {
    if text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic()) == "0" {
        Ok(Duration::ZERO)
    } else {
        duration(text)
    }
}

/// Reads a length of time.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(86_400) => Ok(time),
        Ok(_) => Err("must be between 1ms and 24h".into()),
        Err(error) => Err(format!("{error}; write it like 500ms, 30s or 2m")),
    }
}
