//! App: the only place that wires the parts together.

mod derived;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    activity::Activity,
    admission::{self, Admission},
    benchmark::{self, Benchmarks},
    bridge::{self, Bridge},
    browser::{self, Driver, Starter, Wanted},
    config::{SECRETS, Serve},
    connections::{self, Connections},
    drain::Drain,
    error::Error,
    http,
    knowledge::Knowledge,
    ledger::{self, Ledger},
    media::Media,
    metrics,
    models::Registry,
    pool::{self, Learned, Pool, Shot},
    quarantine::Quarantine,
    rpc,
    scheduler::{self, Cost, Kind, Scheduler},
    trace::{self, Tracer},
};
pub use derived::registry;
use derived::{model_memory, page, place, warm};

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken.
    #[error("{address} cannot be listened on: {error}; another service may run there: choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting.
        flag: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// The bridge's port cannot be had.
    #[error("the bridge cannot listen on a loopback port: {0}")]
    Bridge(std::io::Error),
    /// The metrics cannot be set up.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// What the models do cannot be counted.
    #[error("the activity cannot be counted: {0}")]
    Activity(#[from] hdrhistogram::CreationError),
    /// There can be no traces.
    #[error(transparent)]
    Traces(#[from] trace::StartError),
}

/// A running service.
pub struct App {
    /// Where gRPC listens.
    pub address: SocketAddr,
    /// Where HTTP listens.
    pub http_address: SocketAddr,
    /// Where the bridge listens.
    pub bridge_address: SocketAddr,
    /// The registered models.
    pub registry: Arc<Registry>,
    /// The browsers.
    pub pool: Pool,
    /// What was measured.
    pub knowledge: Knowledge,
    /// Where requests go.
    pub scheduler: Scheduler,
    tracer: Tracer,
    drain: Drain,
    stop: CancellationToken,
    drain_deadline: Duration,
    grpc: JoinHandle<()>,
    http: JoinHandle<()>,
}

/// Frames may be larger than messages by their own envelope.
const FRAME_SLACK: usize = 64 * 1024;
/// How often what was learned while models served is noted.
const EXCHANGE_EVERY: Duration = Duration::from_secs(20);
/// Time that a page has to tell what its browser can do: the first adapter starts the browser's GPU process.
const PROBE_DEADLINE: Duration = Duration::from_secs(30);
/// Time that the last of what was measured has to be kept.
const FLUSH_DEADLINE: Duration = Duration::from_secs(10);
/// Time in which the last answers have to be taken.
const LAST_BYTES: Duration = Duration::from_secs(3);

/// The drivers that the settings ask for.
pub fn drivers(serve: &Serve) -> Vec<Arc<dyn Driver>> {
    let settings = browser::Settings {
        gpu: serve.gpu,
        show: serve.show_browser,
        arguments: serve.browser_arg.clone(),
        user: serve.browser_user.clone(),
        no_sandbox: serve.no_browser_sandbox,
        guard: serve.program.clone(),
        start_deadline: serve.browser_start_deadline,
        search_path: serve.search_path.clone(),
        display: serve.display,
        secrets: &SECRETS,
        warm: warm(serve),
    };
    let starter = |wanted: &Wanted| -> Arc<dyn Driver> {
        Arc::new(Starter { wanted: wanted.clone(), settings: settings.clone() })
    };
    serve.browser.iter().map(starter).collect()
}

/// Starts a service over browsers that the drivers start, in turn.
pub async fn start(serve: &Serve, drivers: Vec<Arc<dyn Driver>>) -> Result<App, StartError> {
    let metrics = metrics::install()?;
    let (endpoint, headers) = (serve.otlp_endpoint.clone(), serve.otlp_header.clone());
    let tracer = Tracer::start(&trace::Settings { endpoint, headers, share: serve.trace_share })?;
    let most = connections::most(serve.max_connections as usize);
    let grpc = listen(serve.listen, "--listen", most).await?;
    let http = listen(serve.http_listen, "--http-listen", most).await?;
    let (address, http_address) = (grpc.address(), http.address());

    let registry = Arc::new(registry(serve));
    for (folder, error) in registry.register_folders() {
        tracing::warn!("{folder} is not registered: {error}");
    }
    tokio::task::spawn_blocking(browser::sweep);
    let (drain, stop) = (Drain::default(), CancellationToken::new());
    let warm = warm(serve).map(|folder| (folder, page(serve)));
    let port = warm.as_ref().and_then(|(folder, page)| browser::warm::port(folder, page));
    let settings = bridge::Settings {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        max_frame_bytes: serve.max_message_bytes + FRAME_SLACK,
        page: serve.page.clone(),
        silence: serve.heartbeat_deadline,
    };
    let bridge = Bridge::bind(settings, registry.clone(), stop.clone()).await.map_err(StartError::Bridge)?;
    let bridge_address = bridge.address();
    let keeps = |(folder, page): (PathBuf, String)| browser::warm::keeps(&folder, &page, port, bridge_address.port());
    let primes = warm.is_some_and(keeps);
    let settings = pool::Settings {
        scale: pool::Bounds {
            least: serve.min_browsers.unwrap_or(serve.browsers) as usize,
            most: serve.browsers as usize,
            idle: serve.browser_idle_timeout,
            wait: serve.scale_up_wait,
        },
        spares: serve.spares as usize,
        wear: pool::Wear {
            memory: (serve.recycle_memory > 0).then_some(serve.recycle_memory),
            age: (!serve.recycle_age.is_zero()).then_some(serve.recycle_age),
            runs: (serve.recycle_runs > 0).then_some(serve.recycle_runs),
        },
        guesses: serve.guess.clone(),
        workers: registry.workers() as usize,
        checkers: serve.cross_check > 0.0,
        model_memory: model_memory(serve),
        max_batch_tokens: u64::from(serve.max_batch_tokens),
        primes,
        dial_back_deadline: serve.dial_back_deadline,
        load_deadline: serve.load_deadline,
        probe_deadline: PROBE_DEADLINE,
        // The answer has to have room beside it.
        max_trace_bytes: serve.max_message_bytes as u64 / 2,
    };
    let knowledge = Knowledge::open(place(serve));
    let pool = Pool::start(settings, pool::Parts { drivers, bridge, knowledge: knowledge.clone() });
    let settings = scheduler::Settings {
        max_batch_tokens: serve.max_batch_tokens,
        max_batch_bytes: serve.max_batch_bytes,
        max_batch_delay: serve.max_batch_delay,
        run_deadline: serve.run_deadline,
        cancel_grace: serve.cancel_grace,
        cross_check: serve.cross_check,
        hedge: serve.hedge,
    };
    let limits = admission::Limits {
        max_request_items: serve.max_request_items,
        max_text_bytes: serve.max_text_bytes,
        media: Media { pixels: serve.max_image_pixels, sound: serve.max_audio },
        default_deadline: serve.default_deadline,
        coalesce: !serve.no_coalescing,
        cache_bytes: serve.answer_cache_bytes,
        pending: ledger::Limits {
            items: serve.max_pending_items,
            bytes: serve.max_pending_bytes,
            wait: serve.max_wait,
            model_share: serve.model_share,
            client_share: serve.client_share,
        },
    };
    let ledger = Arc::new(Ledger::new(limits.pending));
    let quarantine = Arc::new(Quarantine::default());
    let activity = Arc::new(Activity::new(std::time::Instant::now(), SystemTime::now())?);
    let parts = scheduler::Parts {
        pool: pool.clone(),
        ledger: ledger.clone(),
        quarantine: quarantine.clone(),
        activity: activity.clone(),
    };
    let scheduler = Scheduler::start(settings, parts);
    tokio::spawn(stop.clone().run_until_cancelled_owned(exchange_costs(scheduler.clone(), pool.clone())));
    let parts = admission::Parts {
        registry: registry.clone(),
        pool: pool.clone(),
        ledger,
        scheduler: scheduler.clone(),
        quarantine,
        activity: activity.clone(),
        drain: drain.clone(),
    };
    let admission = Admission::new(limits, parts);

    let settings = benchmark::Settings {
        history: serve.history_file(),
        model_memory: model_memory(serve),
        load_deadline: serve.load_deadline,
        max_message_bytes: serve.max_message_bytes,
    };
    let parts = benchmark::Parts {
        admission: admission.clone(),
        registry: registry.clone(),
        pool: pool.clone(),
        tracer: tracer.clone(),
        drain: drain.clone(),
    };
    let benchmarks = Benchmarks::new(settings, parts);
    let settings = rpc::Settings {
        max_message_bytes: serve.max_message_bytes,
        stream_window_bytes: serve.stream_window_bytes,
        connection_window_bytes: serve.connection_window_bytes,
        max_concurrent_streams: serve.max_concurrent_streams,
        stall_deadline: serve.stall_deadline,
        origins: serve.cors_origin.clone(),
        max_batch: serve.max_batch as usize,
        max_model_bytes: serve.max_model_bytes,
        debug: serve.debug,
    };
    let parts = rpc::Parts {
        admission,
        registry: registry.clone(),
        pool: pool.clone(),
        activity,
        benchmarks,
        drain: drain.clone(),
        tracer: tracer.clone(),
    };
    let services = rpc::Services::new(settings, parts);
    let live = (!serve.no_live_page).then(|| http::Live {
        calls: services.web(),
        names: http::Names::new(serve.cors_origin.iter().map(rpc::Origin::authority)),
    });
    let grpc = tokio::spawn(async move {
        if let Err(error) = services.serve(grpc).await {
            tracing::error!(%error, "the gRPC listener ended");
        }
    });
    let parts = http::Parts { metrics, pool: pool.clone(), drain: drain.clone(), debug: serve.debug };
    let http = tokio::spawn(async move {
        if let Err(error) = http::serve(http, parts, live).await {
            tracing::error!(%error, "the HTTP listener ended");
        }
    });
    let drain_deadline = serve.drain_deadline;
    Ok(App {
        address,
        http_address,
        bridge_address,
        registry,
        pool,
        knowledge,
        scheduler,
        tracer,
        drain,
        stop,
        drain_deadline,
        grpc,
        http,
    })
}

impl App {
    /// Drains and ends: nothing new is let in, what was let in is answered, then the browsers end.
    pub async fn shut_down(self) {
        self.drain.begin();
        let ended = async {
            self.drain.done().await;
            // Connections that stay open without a call are closed by the servers themselves. A call that is no work, such as
            // one that watches the health, would keep its own open.
            let _ = tokio::time::timeout(LAST_BYTES, async { tokio::join!(self.grpc, self.http) }).await;
        };
        let deadline = Instant::now() + self.drain_deadline;
        if timeout_at(deadline, ended).await.is_err() {
            tracing::warn!("work was still going on after {:?} and is dropped", self.drain_deadline);
        }
        tokio::join!(self.pool.shut_down(), self.tracer.flush(deadline - Instant::now()));
        if tokio::time::timeout(FLUSH_DEADLINE, self.knowledge.flush()).await.is_err() {
            tracing::warn!("what was measured last is not kept: its file was not free within {FLUSH_DEADLINE:?}");
        }
        self.stop.cancel();
    }
}

/// Has what was measured of models known to what routes their requests, and what that learns known to who chooses where they
/// are loaded. Ends with either.
async fn exchange_costs(scheduler: Scheduler, pool: Pool) -> Result<(), Error> {
    let mut view = pool.watch();
    let mut ticks = interval(EXCHANGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = BTreeSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let learned = |(model, kind, cost): (Arc<str>, Kind, Cost)| Learned {
                    model,
                    browser: kind.browser,
                    backend: kind.backend,
                    dtype: kind.dtype,
                    shot: Shot { class: cost.class, items: cost.items, micros: cost.micros_per_item, runs: cost.runs },
                    age: cost.age,
                };
                pool.learned(scheduler.costs().await?.into_iter().map(learned).collect()).await?;
            }
            changed = view.changed() => changed.map_err(|_| Error::ShuttingDown)?,
        }
        let now = view.borrow_and_update().clone();
        let workers =
            now.browsers.iter().flat_map(|browser| &browser.workers).filter(|worker| worker.replica.is_some());
        let serving: BTreeMap<_, _> = workers.map(|worker| (worker.id.clone(), worker.model.clone())).collect();
        let fresh = serving.iter().filter(|(id, _)| !told.contains(*id)).map(|(_, model)| model.clone());
        for model in fresh.collect::<BTreeSet<_>>() {
            let known = pool.costs(model.clone()).await?.into_iter().map(|learned| {
                let Shot { class, items, micros: micros_per_item, runs } = learned.shot;
                let kind = Kind { browser: learned.browser, backend: learned.backend, dtype: learned.dtype };
                (kind, Cost { class, items, micros_per_item, runs, age: learned.age })
            });
            scheduler.seed(model, known.collect()).await?;
        }
        told = serving.into_keys().collect();
    }
}

/// Listens, for at most so many connections.
async fn listen(address: SocketAddr, flag: &'static str, most: usize) -> Result<Connections, StartError> {
    let listener = TcpListener::bind(address).await.and_then(|listener| Connections::new(listener, most));
    listener.map_err(|error| StartError::Listen { address, flag, error })
}
