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
    models::{Spec, Task},
};

/// Batches that a replica may have in hand: the one that it runs, and the next, so that transfer and run overlap.
const DEPTH: u32 = 2;

/// A loaded model in a worker.
#[derive(Debug)]
pub struct Replica {
    /// What it is.
    pub runtime: Arc<Runtime>,
    model: Arc<str>,
    task: Task,
    link: Link,
    in_flight: AtomicU32,
    batches_run: AtomicU64,
}

impl Replica {
    /// A replica that has just been loaded.
    pub fn new(spec: &Spec, link: Link, runtime: Runtime) -> Self {
        let (runtime, model, task) = (Arc::new(runtime), spec.id.clone(), spec.task);
        Self { runtime, model, task, link, in_flight: AtomicU32::new(0), batches_run: AtomicU64::new(0) }
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

/// How busy a replica with room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Batches that it has in hand.
    pub in_flight: u32,
    /// Batches that it has run.
    pub batches_run: u64,
}

/// The replicas that serve, by model. The supervisor writes; leases count.
#[derive(Debug, Default)]
pub struct Replicas {
    serving: Mutex<HashMap<Arc<str>, Vec<Arc<Replica>>>>,
    changed: Notify,
}

impl Replicas {
    /// Takes a replica into service.
    pub fn add(&self, replica: Arc<Replica>) {
        self.serving().entry(replica.model.clone()).or_default().push(replica);
        self.changed.notify_one();
    }

    /// Takes a replica out of service. Leases on it go on.
    pub fn remove(&self, replica: &Arc<Replica>) {
        let mut serving = self.serving();
        if let Some(replicas) = serving.get_mut(&replica.model) {
            replicas.retain(|other| !Arc::ptr_eq(other, replica));
            if replicas.is_empty() {
                serving.remove(&replica.model);
            }
        }
    }

    /// Leases the replica that `choose` picks among those with room.
    pub fn try_lease(this: &Arc<Self>, model: &str, choose: impl FnOnce(&[Load]) -> Option<usize>) -> Option<Lease> {
        let serving = this.serving();
        let with_room: Vec<_> = serving.get(model)?.iter().filter(|replica| replica.in_flight() < DEPTH).collect();
        let load =
            |replica: &&Arc<Replica>| Load { in_flight: replica.in_flight(), batches_run: replica.batches_run() };
        let loads: Vec<_> = with_room.iter().map(load).collect();
        let replica = (*with_room.get(choose(&loads)?)?).clone();
        replica.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Lease { replica, replicas: this.clone() })
    }

    /// Returns once something has changed since the last call.
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

/// The right to hand one batch to a replica.
#[derive(Debug)]
pub struct Lease {
    replica: Arc<Replica>,
    replicas: Arc<Replicas>,
}

impl Lease {
    /// What will run.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.replica.runtime
    }

    /// Whether the replica takes more than one item in one run.
    pub fn batches(&self) -> bool {
        self.replica.task.batches()
    }

    /// Runs a batch. When `abandoned` ends first, the worker is told to forget it if it has not begun. A worker that
    /// does not answer within `deadline` is taken for stuck and lost.
    pub async fn run(
        &self,
        inputs: &[Arc<Input>],
        abandoned: impl Future<Output = ()>,
        deadline: Duration,
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
                    answer.await
                }
            };
            answer.map_err(|error| self.judge(error))
        };
        let Ok(result) = timeout(deadline, work).await else {
            let reason = format!("a run took longer than {deadline:?}");
            self.give_up(&reason);
            return Err(RunError::Lost(reason.into()));
        };
        if result.is_ok() {
            self.replica.batches_run.fetch_add(1, Ordering::Relaxed);
        }
        result
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
        self.replicas.changed.notify_one();
    }
}
