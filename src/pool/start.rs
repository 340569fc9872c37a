//! Start: how a worker comes up: its page starts it, it dials back, loads its model, and is examined.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::mpsc, time::timeout};

use super::{
    examine::{self, Exam, Findings},
    limits::{ANY_BUFFER, Limits},
    reference::References,
    tasks::{Happened, WorkerEnd, loss_of, send},
};
use crate::{
    bridge::{Bridge, CallError, Event, Events, FailureKind, Inquiry, Link, Loaded, Progress},
    browser::{self, Info, Log, redact},
    execution::Backend,
    loss::{Cause, Loss},
    models::Model,
};

/// What a worker needs to come up.
#[derive(Clone)]
pub struct Start {
    /// Its id.
    pub id: Arc<str>,
    /// The browser's page.
    pub page: Link,
    /// What is known of the browser.
    pub info: Info,
    /// The browser's log.
    pub log: Log,
    /// What it is to load.
    pub model: Arc<Model>,
    /// What it is to run on.
    pub backend: Backend,
    /// What is asked beside the load.
    pub inquiry: Inquiry,
    /// How it is examined.
    pub exam: Exam,
    /// Its bridge and the times that it has.
    pub ground: Ground,
}

/// What all workers stand on.
#[derive(Clone)]
pub struct Ground {
    /// Where they dial back.
    pub bridge: Bridge,
    /// What they are to answer.
    pub references: Arc<References>,
    /// Time to dial back.
    pub dial_back: Duration,
    /// Time to load.
    pub load: Duration,
    /// Most tokens that run in one call.
    pub max_batch_tokens: u64,
}

/// A worker that is up.
pub struct Up {
    /// Its link.
    pub link: Link,
    /// What comes over it unasked.
    pub events: Events,
    /// What it says of its replica.
    pub loaded: Loaded,
    /// Hash of the model's files.
    pub model_sha256: String,
    /// What its examination found.
    pub findings: Findings,
    /// From the start of the worker to the end of the load.
    pub took: Duration,
}

impl Start {
    /// Brings it up. `tell` hears of each step, where somebody wants to know.
    pub async fn run(&self, tell: Option<&mpsc::Sender<Happened>>) -> Result<Up, WorkerEnd> {
        let Ground { bridge, dial_back, load: limit, .. } = &self.ground;
        let begun = Instant::now();
        self.find_room().await?;
        let expected = bridge.expect_worker();
        let started = self.page.start_worker(self.id.to_string(), expected.path.clone(), self.backend).await;
        started.map_err(WorkerEnd::NoPage)?;
        let Ok(Some((link, mut events))) = timeout(*dial_back, expected.arrival()).await else {
            let detail = format!("the worker did not dial back within {dial_back:?}");
            return Err(WorkerEnd::Lost(Loss::new(Cause::NoStart, detail)));
        };
        if let Some(tell) = tell {
            send(tell, Happened::WorkerLinked(self.id.clone())).await;
        }
        let loaded = tokio::select! {
            loaded = timeout(*limit, self.load(&link)) => loaded.unwrap_or_else(|_| {
                let message = format!("it was not loaded within {limit:?}");
                Err(WorkerEnd::LoadFailed(FailureKind::Runtime, message))
            }),
            end = self.forward(&link, &mut events, tell) => Err(end),
        };
        match loaded {
            Ok((loaded, model_sha256, findings)) => {
                Ok(Up { link, events, loaded, model_sha256, findings, took: begun.elapsed() })
            }
            Err(end) => {
                link.close(super::tasks::ended("the load failed"));
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

    /// Refuses a load that there is no room for: it would take the browser along, or the machine.
    async fn find_room(&self) -> Result<(), WorkerEnd> {
        let (model, limits) = (&self.model, self.limits().await);
        let Err(shortage) = limits.check(model.weights) else {
            let runs = model.largest_batch(self.ground.max_batch_tokens);
            if let Some(warning) = runs.and_then(|runs| limits.warn(model.weights, runs)) {
                tracing::warn!(worker = %self.id, model = %model.spec.id, "{warning}");
            }
            return Ok(());
        };
        let (mut others, own) = (Vec::new(), model.spec.dtypes.common());
        for dtype in model.available.iter().copied().filter(|dtype| Some(*dtype) != own) {
            // One that cannot be read is none.
            others.extend(model.in_dtype(dtype).await.ok().map(|variant| (dtype, variant.weights)));
        }
        Err(WorkerEnd::LoadFailed(FailureKind::OutOfMemory, limits.explain(&shortage, &others)))
    }

    /// What there is for it.
    async fn limits(&self) -> Limits {
        let free = tokio::task::spawn_blocking(browser::free_memory);
        // Most models have no tensor that an adapter could refuse.
        let asks = self.backend == Backend::WebGpu && self.model.weights.largest > ANY_BUFFER;
        let buffer = async {
            if !asks {
                return None;
            }
            let probed = timeout(self.ground.dial_back, self.page.probe()).await.ok()?.ok()?;
            probed.webgpu?.limits.get("maxBufferSize").copied()
        };
        let (free, buffer) = tokio::join!(free, buffer);
        Limits { backend: self.backend, free: free.ok().flatten(), buffer }
    }

    /// Brings it up, does something with it, and ends it whatever came of that.
    pub async fn once<T>(&self, work: impl AsyncFnOnce(&Up) -> Result<T, WorkerEnd>) -> Result<T, WorkerEnd> {
        let done = async {
            let mut up = self.run(None).await?;
            let mut events = std::mem::replace(&mut up.events, mpsc::channel(1).1);
            tokio::select! {
                done = work(&up) => done,
                end = self.forward(&up.link, &mut events, None) => Err(end),
                loss = self.page.closed() => Err(WorkerEnd::Lost(loss)),
            }
        };
        let done = done.await;
        // A page that is gone has taken its workers along.
        let _ = self.page.end_worker(self.id.to_string()).await;
        done
    }

    /// Loads the replica from an address that holds its files' hash, and examines it.
    async fn load(&self, link: &Link) -> Result<(Loaded, String, Findings), WorkerEnd> {
        let failed = |message: String| WorkerEnd::LoadFailed(FailureKind::Runtime, message);
        self.model.touch(SystemTime::now());
        let sha256 = self.model.sha256().await.map_err(|error| failed(error.to_string()))?;
        if let Some(file) = self.model.changed().await {
            let advice = "unregister the model, and register it anew";
            return Err(failed(format!("{file} has changed on disk since it was hashed; {advice}")));
        }
        let loaded =
            link.load(&self.model, &sha256, self.backend, self.inquiry).await.map_err(|error| match error {
                CallError::Failed { kind, message, .. } if kind != FailureKind::DeviceLost => {
                    WorkerEnd::LoadFailed(kind, message)
                }
                error => WorkerEnd::Lost(loss_of(error)),
            })?;
        let findings = examine::examine(self, link, &loaded).await?;
        Ok((loaded, sha256, findings))
    }

    /// Passes progress on; ends with the link, or with what the worker says of its own failure.
    pub async fn forward(&self, link: &Link, events: &mut Events, tell: Option<&mpsc::Sender<Happened>>) -> WorkerEnd {
        while let Some(event) = events.recv().await {
            match event {
                Event::LoadProgress(frame) => {
                    if let Some((progress, tell)) = Progress::from_frame(frame).zip(tell) {
                        send(tell, Happened::WorkerProgress(self.id.clone(), progress)).await;
                    }
                }
                Event::Log(_) => self.note(event),
                Event::Failed(failed) => return WorkerEnd::Lost(loss_of(failed.into())),
                _ => return WorkerEnd::Lost(Loss::new(Cause::Confused, "the worker sent what was not asked for")),
            }
        }
        WorkerEnd::Lost(link.closed().await)
    }

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
