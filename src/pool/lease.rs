//! Lease: the right to hand one batch to one replica. Its drop gives the right back.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::{
    bridge::{Batching, CallError, FailureKind, Link, Ran, RunItem},
    error::Error,
    execution::Runtime,
    loss::{Cause, Fate, Loss},
    metrics,
    models::Spec,
};

use super::tasks::{loss_of, true_cause};

/// Batches in a row without an answer, and not for their inputs' sake, after which a replica is replaced.
const UNFIT: u32 = 10;

/// A loaded model in a worker.
#[derive(Debug)]
pub struct Replica {
    /// What it is.
    pub runtime: Arc<Runtime>,
    /// Items that it takes in one call.
    pub max_batch: usize,
    /// Whether its batches have as many, whether that pays or not.
    pub fixed_batch: bool,
    /// Whether the items of a batch are padded to one length.
    pub pads: bool,
    /// Whether the time of a run shows only while it goes on: it makes as much as it makes.
    pub open_ended: bool,
    /// What becomes of its browser.
    pub fate: Fate,
    /// Where its batches are recorded.
    pub meters: metrics::Batches,
    link: Link,
    in_flight: AtomicU32,
    batches_run: AtomicU64,
    /// Batches in a row that gave no answer, and not for their inputs' sake.
    unanswered: AtomicU32,
}

impl Replica {
    /// A replica that has just been loaded.
    pub fn new(spec: &Spec, batching: Batching, link: Link, runtime: Runtime, fate: Fate) -> Self {
        Self {
            meters: metrics::Batches::new(&runtime),
            runtime: Arc::new(runtime),
            max_batch: Self::most(spec, batching),
            fixed_batch: spec.measured,
            pads: batching == Batching::Padded,
            open_ended: batching == Batching::Alone,
            fate,
            link,
            in_flight: AtomicU32::new(0),
            batches_run: AtomicU64::new(0),
            unanswered: AtomicU32::new(0),
        }
    }

    /// Items that a replica of a model takes in one call.
    pub fn most(spec: &Spec, batching: Batching) -> usize {
        if batching == Batching::Alone { 1 } else { spec.max_batch as usize }
    }

    /// Why it was lost, as far as can be known by the deadline.
    pub async fn true_cause(&self, loss: Loss, deadline: Duration) -> Loss {
        true_cause(loss, self.fate.clone(), deadline).await
    }

    /// Whether another one is in the same browser.
    pub fn shares_browser(&self, other: &Self) -> bool {
        self.fate.same_channel(&other.fate)
    }

    /// Whether its worker is there.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Its worker.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Batches that it has in hand.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Batches that it has run.
    pub fn batches_run(&self) -> u64 {
        self.batches_run.load(Ordering::Relaxed)
    }
}

/// The items that wait for a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub items: usize,
    /// How long the oldest has waited.
    pub longest: Duration,
}

/// The replicas that serve, by model. The supervisor writes; leases count.
#[derive(Debug, Default)]
pub struct Replicas {
    serving: Mutex<HashMap<Arc<str>, Vec<Arc<Replica>>>>,
    /// Those that check what others answer.
    checkers: Mutex<HashMap<Arc<str>, Vec<Arc<Replica>>>>,
    /// What waits, by model; the scheduler writes, the supervisor reads.
    waiting: Mutex<HashMap<Arc<str>, Waiting>>,
    changed: Notify,
}

impl Replicas {
    /// Takes a replica into service.
    pub fn add(&self, replica: Arc<Replica>) {
        self.serving().entry(replica.runtime.model.clone()).or_default().push(replica);
        self.changed.notify_one();
    }

    /// Takes a replica out of service. Leases on it go on.
    pub fn remove(&self, replica: &Arc<Replica>) {
        for mut all in [self.serving(), lock(&self.checkers)] {
            if let Some(replicas) = all.get_mut(&replica.runtime.model) {
                replicas.retain(|other| !Arc::ptr_eq(other, replica));
                if replicas.is_empty() {
                    all.remove(&replica.runtime.model);
                }
            }
        }
    }

    /// Takes a replica in that checks what others answer.
    pub fn add_checker(&self, replica: Arc<Replica>) {
        lock(&self.checkers).entry(replica.runtime.model.clone()).or_default().push(replica);
    }

    /// The replicas that check what others of a model answer.
    pub fn checkers(&self, model: &str) -> Vec<Arc<Replica>> {
        lock(&self.checkers).get(model).cloned().unwrap_or_default()
    }

    /// Ends all replicas of a model on a backend of a kind of browser at once, because of what one of them answered.
    pub fn condemn(&self, guilty: &Runtime, loss: &Loss) {
        let alike = |replica: &&Arc<Replica>| replica.runtime.is_like(guilty);
        for replica in self.of(&guilty.model).iter().chain(&self.checkers(&guilty.model)).filter(alike) {
            self.remove(replica);
            replica.link.close(loss.clone());
        }
    }

    /// The replicas of a model that serve.
    pub fn of(&self, model: &str) -> Vec<Arc<Replica>> {
        self.serving().get(model).cloned().unwrap_or_default()
    }

    /// Notes what waits for a model.
    pub fn set_waiting(&self, model: &Arc<str>, waiting: Waiting) {
        lock(&self.waiting).insert(model.clone(), waiting);
    }

    /// Takes what was noted since the last call.
    pub fn take_waiting(&self) -> HashMap<Arc<str>, Waiting> {
        std::mem::take(&mut lock(&self.waiting))
    }

    /// Leases a replica.
    pub fn lease(this: &Arc<Self>, replica: &Arc<Replica>) -> Lease {
        replica.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease { replica: replica.clone(), replicas: this.clone() }
    }

    /// Returns once a replica has come into service since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn serving(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Arc<Replica>>>> {
        lock(&self.serving)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a leased run gave nothing.
#[derive(Clone, Debug)]
pub enum RunError {
    /// The worker is lost; the batch may run elsewhere.
    Lost(Loss),
    /// The worker was lost before it got the batch.
    Unsent(Loss),
    /// The worker said that the run failed.
    Failed(CallError),
}

/// What an error of a run is to who asked for it.
pub fn explain(model: &str, error: &CallError) -> Error {
    let (model, message) = (model.to_owned(), error.to_string());
    match error {
        CallError::Failed { kind: FailureKind::BadInput, .. } => Error::BadInput { model, message },
        CallError::Failed { kind: FailureKind::OutOfMemory, .. } => Error::OutOfMemory { model, message },
        CallError::Failed { kind: FailureKind::BadOutput, .. } => Error::BadOutput { model, message },
        _ => Error::Inference { model, message },
    }
}

/// How long a run may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until its answer. A worker that needs longer is stuck.
    pub run: Duration,
    /// After nobody waits for it any more.
    pub abandoned: Duration,
}

/// The right to hand one batch to a replica.
#[derive(Debug)]
pub struct Lease {
    replica: Arc<Replica>,
    replicas: Arc<Replicas>,
}

impl Lease {
    /// Runs a batch. When `abandoned` ends first, the worker is told to leave it.
    pub async fn run(
        &self,
        batch: &[RunItem],
        abandoned: impl Future<Output = ()>,
        patience: Patience,
    ) -> Result<Ran, RunError> {
        let link = &self.replica.link;
        let work = async {
            let (call, answer) = link.run(batch, false).await.map_err(RunError::Unsent)?;
            tokio::pin!(answer);
            let answer = tokio::select! {
                answer = &mut answer => answer,
                () = abandoned => {
                    link.cancel(call).await.map_err(RunError::Lost)?;
                    let Ok(answer) = timeout(patience.abandoned, answer).await else {
                        return Err(self.stuck("after all its callers had left", patience.abandoned));
                    };
                    answer
                }
            };
            answer.map_err(|error| self.judge(error))
        };
        let Ok(result) = timeout(patience.run, work).await else {
            return Err(self.stuck("", patience.run));
        };
        if matches!(result, Err(RunError::Lost(_) | RunError::Unsent(_))) {
            // The supervisor learns of it a little later; until then nothing more is to be handed to it.
            self.replicas.remove(&self.replica);
        }
        self.note(&result);
        result
    }

    /// What is leased.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Counts; ends a replica that answers nothing any more.
    fn note(&self, result: &Result<Ran, RunError>) {
        let is_unfit = |error: &CallError| {
            matches!(error, CallError::Failed { kind: FailureKind::Runtime | FailureKind::BadOutput, .. })
        };
        let unfit = match result {
            Ok(ran) => ran.outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(is_unfit)),
            Err(RunError::Failed(error)) if is_unfit(error) => true,
            Err(_) => return,
        };
        if !unfit {
            self.replica.unanswered.store(0, Ordering::Relaxed);
            self.replica.batches_run.fetch_add(1, Ordering::Relaxed);
        } else if self.replica.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNFIT {
            self.give_up(Loss::new(Cause::WrongAnswers, format!("{UNFIT} batches in a row gave no answer")));
        }
    }

    fn stuck(&self, since: &str, limit: Duration) -> RunError {
        let detail = format!("a run took longer than {limit:?} {since}");
        let loss = Loss::new(Cause::Stuck, detail.trim_end());
        self.give_up(loss.clone());
        RunError::Lost(loss)
    }

    /// Takes the replica out of service at once: the supervisor learns of it only from the link's end.
    fn give_up(&self, loss: Loss) {
        self.replicas.remove(&self.replica);
        self.replica.link.close(loss);
    }

    /// A worker that breaks the protocol or calls its own failure fatal is lost. Its batch may run elsewhere, save where
    /// the input is what exhausted it: that would only exhaust the next.
    fn judge(&self, error: CallError) -> RunError {
        if matches!(error, CallError::Failed { fatal: false, .. }) {
            return RunError::Failed(error);
        }
        let loss = loss_of(error.clone());
        self.give_up(loss.clone());
        match error {
            CallError::Failed { kind: FailureKind::OutOfMemory, .. } => RunError::Failed(error),
            _ => RunError::Lost(loss),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.replica.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
