//! Tasks: what takes time, away from the supervisor: starting a browser and watching it, starting a worker and loading
//! its replica. Each tells the supervisor what came of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, time::timeout};

use crate::{
    bridge::{Bridge, CallError, Event, Events, FailureKind, Link, Loaded, Probed, Progress},
    browser::{self, Driver, Info, Log, Running, redact},
    execution::{Backend, Hardware, Runtime, judge_adapter, judge_webnn},
    job::{Input, Output},
    loss::{Cause, Fate, Loss},
    models::Model,
};

use super::{
    choice::Choice,
    lease::Replica,
    reference::{self, References},
};

/// Time in which a browser whose link broke is found to have ended, if it has.
const FATE_DEADLINE: Duration = Duration::from_millis(300);

/// What a page said of its browser, and what the service knows of it.
#[derive(Debug)]
pub struct Probe {
    /// Id of the browser.
    pub browser: String,
    /// What the driver knows.
    pub info: Info,
    /// Whether its sandbox is on.
    pub sandboxed: bool,
    /// What the page said.
    pub page: Probed,
}

/// Which browser an event is about: its place and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowserId {
    /// Its place in the pool.
    pub place: usize,
    /// Its number at that place.
    pub epoch: u32,
}

impl std::fmt::Display for BrowserId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "browser-{}-{}", self.place, self.epoch)
    }
}

/// Why a worker is no more, or never was.
#[derive(Clone, Debug)]
pub enum WorkerEnd {
    /// It was lost; another may do better.
    Lost(Loss),
    /// Its page was gone before it could be asked to start it.
    NoPage(Loss),
    /// The load failed in a way that another worker would repeat.
    LoadFailed(FailureKind, String),
}

/// What the tasks tell the supervisor.
#[derive(Debug)]
pub enum Happened {
    /// A browser is up and its page linked.
    BrowserUp(BrowserId, Running, Link),
    /// A browser could not start.
    BrowserFailed(BrowserId, Loss),
    /// A browser is lost; some of it may be left.
    BrowserLost(BrowserId, Loss),
    /// Nothing is left of a browser that was lost.
    BrowserGone(BrowserId, Loss),
    /// The page says that a worker broke down.
    WorkerBroke(Arc<str>, Loss),
    /// A worker has dialled back.
    WorkerLinked(Arc<str>),
    /// A worker's load goes on.
    WorkerProgress(Arc<str>, Progress),
    /// A worker's replica serves.
    WorkerUp(Arc<str>, Arc<Replica>, Duration),
    /// A worker is gone.
    WorkerEnded(Arc<str>, WorkerEnd),
}

/// Starts a browser and watches it to its end.
pub async fn keep_browser(
    id: BrowserId,
    driver: Arc<dyn Driver>,
    bridge: Bridge,
    dial_back: Duration,
    tell: mpsc::Sender<Happened>,
) {
    let failed = |reason: String| Happened::BrowserFailed(id, Loss::new(Cause::NoStart, reason));
    let (url, expected) = bridge.expect_page();
    let running = match driver.start(url).await {
        Ok(running) => running,
        Err(error) => return send(&tell, failed(error.to_string())).await,
    };
    let (ended, page, log) = (running.ended(), expected.arrival(), running.log.clone());
    tokio::pin!(ended);
    let (link, mut events) = tokio::select! {
        arrival = timeout(dial_back, page) => match arrival {
            Ok(Some(arrival)) => arrival,
            Ok(None) => return send(&tell, failed("the bridge has ended".into())).await,
            Err(_) => {
                running.end().await;
                let words = log.last_words();
                let reason = format!(
                    "the browser started, but its page did not dial back within {dial_back:?}; it said: {words}"
                );
                return send(&tell, failed(reason)).await;
            }
        },
        loss = &mut ended => {
            // It is the pool's, not the browser's, if somebody killed it meanwhile.
            let words = running.log.last_words();
            let loss = Loss::new(loss.cause, format!("while its page was awaited: {loss}; it said: {words}"));
            return send(&tell, Happened::BrowserFailed(id, loss)).await;
        }
    };
    send(&tell, Happened::BrowserUp(id, running, link.clone())).await;
    let watch_page = async {
        while let Some(event) = events.recv().await {
            match event {
                Event::WorkerEnded(end) => {
                    let loss = Loss::new(Cause::Failed, end.reason);
                    send(&tell, Happened::WorkerBroke(end.worker_id.into(), loss)).await;
                }
                Event::Failed(failed) => tracing::warn!(browser = %id, "{}", redact(&failed.message)),
                Event::Log(line) => {
                    tracing::debug!(browser = %id, "{}", redact(&line.text));
                    log.add("page", &line.text);
                }
                _ => {}
            }
        }
        link.closed().await
    };
    let loss = tokio::select! {
        loss = &mut ended => loss,
        loss = watch_page => loss,
    };
    link.close(loss.clone());
    send(&tell, Happened::BrowserLost(id, loss)).await;
}

/// Why a worker was lost, as far as can be known by the deadline: a link breaks before its browser is found to have ended.
pub async fn true_cause(loss: Loss, mut fate: Fate, deadline: Duration) -> Loss {
    if loss.cause != Cause::Closed {
        return loss;
    }
    match timeout(deadline, fate.wait_for(Option::is_some)).await {
        Ok(Ok(known)) => known.clone().unwrap_or(loss),
        _ => loss,
    }
}

/// Ends what is left of a browser that was lost. A link breaks before the browser's own end is told: that is waited for a
/// little, since it knows the cause better.
pub async fn bury(id: BrowserId, running: Running, loss: Loss, tell: mpsc::Sender<Happened>) {
    let known = timeout(FATE_DEADLINE, running.ended()).await;
    let end = running.end().await;
    let loss = match known {
        Ok(known) => known,
        Err(_) if loss.cause == Cause::Closed => Loss::new(Cause::Closed, format!("{loss}; then {end}")),
        Err(_) => loss,
    };
    send(&tell, Happened::BrowserGone(id, loss)).await;
}

/// The end of something that the service does not need any more.
pub fn ended(detail: &str) -> Loss {
    Loss::new(Cause::Ended, detail)
}

/// Asks a page what its browser can do. `None` if it does not answer in time.
pub async fn probe(id: BrowserId, info: Info, page: Link, deadline: Duration) -> Option<Probe> {
    let page = timeout(deadline, page.probe()).await.ok()?.ok()?;
    let pid = info.pid;
    let sandboxed = tokio::task::spawn_blocking(move || browser::is_sandboxed(pid)).await.unwrap_or(false);
    Some(Probe { browser: id.to_string(), info, sandboxed, page })
}

/// What a worker needs to come up.
pub struct NewWorker {
    /// Its id.
    pub id: Arc<str>,
    /// The browser's page.
    pub page: Link,
    /// What is known of the browser.
    pub info: Info,
    /// What becomes of the browser.
    pub fate: Fate,
    /// The browser's log.
    pub log: Log,
    /// What it is to load.
    pub model: Arc<Model>,
    /// What it is to answer.
    pub references: Arc<References>,
    /// The backend that it is to run on.
    pub choice: Choice,
    /// Where the runtime puts the graph's nodes, once an earlier worker of such a browser has found out.
    pub placements: Option<Vec<(String, u32)>>,
    /// Time to dial back.
    pub dial_back: Duration,
    /// Time to load.
    pub load: Duration,
}

impl NewWorker {
    /// Keeps what it wrote to its console.
    fn note(&self, event: Event) {
        if let Event::Log(line) = event {
            tracing::debug!(worker = %self.id, "{}", redact(&line.text));
            self.log.add(self.id.clone(), &line.text);
        }
    }

    /// An error of the worker, with what it wrote to its console.
    fn explain(&self, message: String) -> String {
        match self.log.last_words_of(&self.id) {
            words if words.is_empty() => message,
            words => format!("{message}; it wrote: {words}"),
        }
    }
}

/// Starts a worker, has it load its replica, and watches it to its end.
pub async fn keep_worker(worker: NewWorker, bridge: Bridge, tell: mpsc::Sender<Happened>) {
    let (id, fate) = (worker.id.clone(), worker.fate.clone());
    let end = match raise_and_watch(worker, bridge, &tell).await {
        WorkerEnd::Lost(loss) => WorkerEnd::Lost(true_cause(loss, fate, FATE_DEADLINE).await),
        end => end,
    };
    send(&tell, Happened::WorkerEnded(id, end)).await;
}

async fn raise_and_watch(worker: NewWorker, bridge: Bridge, tell: &mpsc::Sender<Happened>) -> WorkerEnd {
    let begun = Instant::now();
    let backend = worker.choice.backend;
    let expected = bridge.expect_worker();
    if let Err(lost) = worker.page.start_worker(worker.id.to_string(), expected.path.clone(), backend).await {
        return WorkerEnd::NoPage(lost);
    }
    let Ok(Some((link, mut events))) = timeout(worker.dial_back, expected.arrival()).await else {
        let detail = format!("the worker did not dial back within {:?}", worker.dial_back);
        return WorkerEnd::Lost(Loss::new(Cause::NoStart, detail));
    };
    send(tell, Happened::WorkerLinked(worker.id.clone())).await;
    let loaded = tokio::select! {
        loaded = timeout(worker.load, load(&worker, &link, backend)) => loaded.unwrap_or_else(|_| {
            let message = format!("it was not loaded within {:?}", worker.load);
            Err(WorkerEnd::LoadFailed(FailureKind::Runtime, message))
        }),
        end = forward(&worker, &link, &mut events, tell) => Err(end),
    };
    match loaded {
        Ok((loaded, model_sha256)) => {
            let batching = loaded.batching;
            let runtime = runtime(&worker, loaded, model_sha256);
            let (spec, fate) = (&worker.model.spec, worker.fate.clone());
            let replica = Arc::new(Replica::new(spec, batching, link.clone(), runtime, fate));
            send(tell, Happened::WorkerUp(worker.id.clone(), replica, begun.elapsed())).await;
        }
        Err(end) => {
            link.close(ended("the load failed"));
            // What it wrote before came before its answer.
            while let Ok(event) = events.try_recv() {
                worker.note(event);
            }
            return match end {
                WorkerEnd::LoadFailed(kind, message) => WorkerEnd::LoadFailed(kind, worker.explain(message)),
                end => end,
            };
        }
    }
    let end = tokio::select! {
        end = forward(&worker, &link, &mut events, tell) => end,
        loss = worker.page.closed() => WorkerEnd::Lost(loss),
    };
    if let WorkerEnd::Lost(loss) = &end {
        link.close(loss.clone());
    }
    end
}

/// Loads the replica and hashes the model's files meanwhile.
async fn load(worker: &NewWorker, link: &Link, backend: Backend) -> Result<(Loaded, String), WorkerEnd> {
    let load = async {
        link.load(&worker.model, backend, worker.placements.is_none()).await.map_err(|error| match error {
            CallError::Failed { kind, message, .. } if kind != FailureKind::DeviceLost => {
                WorkerEnd::LoadFailed(kind, message)
            }
            error => WorkerEnd::Lost(loss_of(error)),
        })
    };
    let hash = async {
        let hash = worker.model.sha256().await;
        hash.map_err(|error| WorkerEnd::LoadFailed(FailureKind::Runtime, error.to_string()))
    };
    let (loaded, sha256) = tokio::try_join!(load, hash)?;
    check(worker, link, &loaded, &sha256).await.map_err(WorkerEnd::Lost)?;
    Ok((loaded, sha256))
}

/// Has the replica answer a fixed text, and compares.
async fn check(worker: &NewWorker, link: &Link, loaded: &Loaded, sha256: &str) -> Result<(), Loss> {
    let spec = &worker.model.spec;
    if !spec.task.embeds_text() {
        return Ok(());
    }
    let wrong = |detail: String| Loss::new(Cause::WrongAnswers, detail);
    let (_, answer) = link.run(&[Arc::new(Input::text(reference::TEXT)).into()]).await?;
    match answer.await.map_err(loss_of)?.outcomes.pop() {
        Some(Ok(Output::Embedding(answer))) => {
            let model = format!("{sha256} {} {:?} {}", spec.dtype.name(), spec.pooling, spec.unnormalized);
            let trusted = loaded.backend == Backend::Wasm;
            worker.references.judge(&model, answer.values, trusted).map_err(wrong)
        }
        Some(Err(error)) => Err(wrong(error.to_string())),
        _ => Err(Loss::new(Cause::Confused, "the worker gave an output of the wrong kind")),
    }
}

/// What an error means for the worker that made it.
pub fn loss_of(error: CallError) -> Loss {
    match error {
        CallError::Lost(loss) => loss,
        CallError::Confused => Loss::new(Cause::Confused, error.to_string()),
        CallError::Failed { kind, message, .. } => {
            let cause = match kind {
                FailureKind::DeviceLost => Cause::GpuLost,
                FailureKind::OutOfMemory => Cause::OutOfMemory,
                FailureKind::BadOutput => Cause::WrongAnswers,
                _ => Cause::Failed,
            };
            Loss::new(cause, message)
        }
    }
}

/// Passes progress on; ends with the link, or with what the worker says of its own failure.
async fn forward(worker: &NewWorker, link: &Link, events: &mut Events, tell: &mpsc::Sender<Happened>) -> WorkerEnd {
    let id = &worker.id;
    while let Some(event) = events.recv().await {
        match event {
            Event::LoadProgress(frame) => {
                if let Some(progress) = Progress::from_frame(frame) {
                    send(tell, Happened::WorkerProgress(id.clone(), progress)).await;
                }
            }
            Event::Log(_) => worker.note(event),
            Event::Failed(failed) => return WorkerEnd::Lost(loss_of(failed.into())),
            _ => return WorkerEnd::Lost(Loss::new(Cause::Confused, "the worker sent what was not asked for")),
        }
    }
    WorkerEnd::Lost(link.closed().await)
}

fn runtime(worker: &NewWorker, loaded: Loaded, model_sha256: String) -> Runtime {
    let hardware = match loaded.backend {
        Backend::Wasm => Hardware::Cpu,
        Backend::WebGpu => judge_adapter(&loaded.adapter, loaded.fallback_adapter, &worker.info.gpu_devices),
        backend => judge_webnn(backend, &worker.info.gpu_devices),
    };
    Runtime {
        model: worker.model.spec.id.clone(),
        browser: worker.info.product.clone(),
        browser_version: worker.info.version.clone(),
        backend_requested: worker.model.spec.preferred(),
        backend_used: loaded.backend,
        fallback_reason: worker.choice.passed_over.clone(),
        adapter: loaded.adapter,
        hardware,
        dtype: worker.model.spec.dtype.name().to_owned(),
        threads: loaded.threads,
        transformers_version: loaded.transformers_version,
        onnxruntime_version: loaded.onnxruntime_version,
        model_sha256,
        worker_id: worker.id.to_string(),
        node_placements: worker.placements.clone().unwrap_or(loaded.node_placements),
    }
}

async fn send(tell: &mpsc::Sender<Happened>, what: Happened) {
    // A supervisor that is gone has ended everything already.
    let _ = tell.send(what).await;
}
