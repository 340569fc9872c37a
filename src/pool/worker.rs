//! Worker: starting a worker, loading its replica, and watching it to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, time::timeout};

use crate::{
    bridge::{Bridge, CallError, Event, Events, FailureKind, Inquiry, Link, Loaded, Progress},
    browser::{Info, Log},
    execution::{Backend, Hardware, Runtime, judge_adapter, judge_webnn},
    job::{Input, Output},
    loss::{Cause, Fate, Loss},
    models::Model,
};

use super::{
    choice::Choice,
    lease::Replica,
    reference::{self, References},
    tasks::{FATE_DEADLINE, Happened, WorkerEnd, ended, loss_of, send, true_cause},
};

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
    /// Whether it is there for a profile, and serves nobody else.
    pub profile: bool,
    /// Time to dial back.
    pub dial_back: Duration,
    /// Time to load.
    pub load: Duration,
}

impl NewWorker {
    /// Keeps what it wrote to its console.
    fn note(&self, event: Event) {
        if let Event::Log(line) = event {
            tracing::debug!(worker = %self.id, "{}", line.text);
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

    /// Starts the worker, and has it load its replica.
    pub async fn raise(&self, bridge: &Bridge, tell: &mpsc::Sender<Happened>) -> Result<Raised, WorkerEnd> {
        let backend = self.choice.backend;
        let expected = bridge.expect_worker();
        let start = self.page.start_worker(self.id.to_string(), expected.path.clone(), backend);
        start.await.map_err(WorkerEnd::NoPage)?;
        let Ok(Some((link, mut events))) = timeout(self.dial_back, expected.arrival()).await else {
            let detail = format!("the worker did not dial back within {:?}", self.dial_back);
            return Err(WorkerEnd::Lost(Loss::new(Cause::NoStart, detail)));
        };
        send(tell, Happened::WorkerLinked(self.id.clone())).await;
        let loaded = tokio::select! {
            loaded = timeout(self.load, load(self, &link, backend)) => loaded.unwrap_or_else(|_| {
                let message = format!("it was not loaded within {:?}", self.load);
                Err(WorkerEnd::LoadFailed(FailureKind::Runtime, message))
            }),
            end = forward(self, &link, &mut events, tell) => Err(end),
        };
        match loaded {
            Ok((loaded, model_sha256)) => Ok(Raised { link, events, loaded, model_sha256 }),
            Err(end) => {
                link.close(ended("the load failed"));
                // What it wrote before came before its answer.
                while let Ok(event) = events.try_recv() {
                    self.note(event);
                }
                Err(match end {
                    WorkerEnd::LoadFailed(kind, message) => WorkerEnd::LoadFailed(kind, self.explain(message)),
                    end => end,
                })
            }
        }
    }

    /// Ends with the worker or its page.
    pub async fn watch(&self, link: &Link, events: &mut Events, tell: &mpsc::Sender<Happened>) -> WorkerEnd {
        tokio::select! {
            end = forward(self, link, events, tell) => end,
            loss = self.page.closed() => WorkerEnd::Lost(loss),
        }
    }
}

/// A worker whose replica is loaded.
pub struct Raised {
    /// Its link.
    pub link: Link,
    /// What it says unasked.
    pub events: Events,
    /// What it says of its replica.
    pub loaded: Loaded,
    /// Hash of the model's files.
    pub model_sha256: String,
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
    let Raised { link, mut events, loaded, model_sha256 } = match worker.raise(&bridge, tell).await {
        Ok(raised) => raised,
        Err(end) => return end,
    };
    let batching = loaded.batching;
    let runtime = runtime(&worker, loaded, model_sha256);
    let (spec, fate) = (&worker.model.spec, worker.fate.clone());
    let replica = Arc::new(Replica::new(spec, batching, link.clone(), runtime, fate));
    send(tell, Happened::WorkerUp(worker.id.clone(), replica, begun.elapsed())).await;
    let end = worker.watch(&link, &mut events, tell).await;
    if let WorkerEnd::Lost(loss) = &end {
        link.close(loss.clone());
    }
    end
}

/// Loads the replica and hashes the model's files meanwhile.
async fn load(worker: &NewWorker, link: &Link, backend: Backend) -> Result<(Loaded, String), WorkerEnd> {
    let load = async {
        let inquiry = Inquiry { placements: worker.placements.is_none(), profile: worker.profile };
        link.load(&worker.model, backend, inquiry).await.map_err(|error| match error {
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
    // In a profile it would stand beside what was asked for.
    if !worker.profile {
        check(worker, link, &loaded, &sha256).await.map_err(WorkerEnd::Lost)?;
    }
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

/// What runs in a worker.
pub fn runtime(worker: &NewWorker, loaded: Loaded, model_sha256: String) -> Runtime {
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
