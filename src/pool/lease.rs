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
    bridge::{CallError, FailureKind, Link, Lost, Ran},
    execution::Runtime,
    job::Input,
    models::Spec,
};

/// A loaded model in a worker.
#[derive(Debug)]
pub struct Replica {
    /// What it is.
    pub runtime: Arc<Runtime>,
    /// Items that it takes in one call.
    pub max_batch: usize,
    /// Whether the items of a batch are padded to one length.
    pub pads: bool,
    link: Link,
    in_flight: AtomicU32,
    batches_run: AtomicU64,
}

impl Replica {
    /// A replica that has just been loaded.
    pub fn new(spec: &Spec, link: Link, runtime: Runtime) -> Self {
        Self {
            runtime: Arc::new(runtime),
            max_batch: spec.max_batch as usize,
            pads: spec.task.pads(),
            link,
            in_flight: AtomicU32::new(0),
            batches_run: AtomicU64::new(0),
        }
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

/// The replicas that serve, by model. The supervisor writes; leases count.
#[derive(Debug, Default)]
pub struct Replicas {
    serving: Mutex<HashMap<Arc<str>, Vec<Arc<Replica>>>>,
    /// Items that wait, by model; the scheduler writes, the supervisor reads.
    waiting: Mutex<HashMap<Arc<str>, usize>>,
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
        let mut serving = self.serving();
        if let Some(replicas) = serving.get_mut(&replica.runtime.model) {
            replicas.retain(|other| !Arc::ptr_eq(other, replica));
            if replicas.is_empty() {
                serving.remove(&replica.runtime.model);
            }
        }
    }

    /// The replicas of a model that serve.
    pub fn of(&self, model: &str) -> Vec<Arc<Replica>> {
        self.serving().get(model).cloned().unwrap_or_default()
    }

    /// Notes how many items wait for a model.
    pub fn set_waiting(&self, model: &Arc<str>, items: usize) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(model.clone(), items);
    }

    /// Takes what was noted since the last call.
    pub fn take_waiting(&self) -> HashMap<Arc<str>, usize> {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
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
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a leased run gave nothing.
#[derive(Clone, Debug)]
pub enum RunError {
    /// The worker is lost; the batch may run elsewhere.
    Lost(Arc<str>),
    /// The worker said that the run failed.
    Failed(CallError),
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
        inputs: &[Arc<Input>],
        abandoned: impl Future<Output = ()>,
        patience: Patience,
    ) -> Result<Ran, RunError> {
        let link = &self.replica.link;
        let lost = |lost: Lost| RunError::Lost(lost.0);
        let work = async {
            let (call, answer) = link.run(inputs).await.map_err(lost)?;
            tokio::pin!(answer);
            let answer = tokio::select! {
                answer = &mut answer => answer,
                () = abandoned => {
                    link.cancel(call).await.map_err(lost)?;
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
        if result.is_ok() {
            self.replica.batches_run.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn stuck(&self, since: &str, limit: Duration) -> RunError {
        let reason = format!("a run took longer than {limit:?} {since}");
        self.give_up(reason.trim_end());
        RunError::Lost(reason.trim_end().into())
    }

    /// Takes the replica out of service at once: the supervisor learns of it only from the link's end.
    fn give_up(&self, reason: &str) {
        self.replicas.remove(&self.replica);
        self.replica.link.close(reason);
    }

    /// A worker that breaks the protocol or calls its own failure fatal is lost. Its batch may run elsewhere, save where
    /// the input is what exhausted it: that would only exhaust the next.
    fn judge(&self, error: CallError) -> RunError {
        let reason: Arc<str> = match &error {
            CallError::Failed { fatal: false, .. } => return RunError::Failed(error),
            CallError::Lost(lost) => lost.0.clone(),
            CallError::Confused | CallError::Failed { .. } => error.to_string().into(),
        };
        self.give_up(&reason);
        match error {
            CallError::Failed { kind: FailureKind::OutOfMemory, .. } => RunError::Failed(error),
            _ => RunError::Lost(reason),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.replica.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
