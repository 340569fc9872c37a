//! Scheduler: queues admitted jobs, cuts batches, routes them to replicas. Policy is in `queue`, `learn`, `kinds`, `route`,
//! `explore`, `hedge`, `explain` and `lane`, which are pure; `worker` is the task that holds the state.

mod cross;
mod explain;
mod explore;
mod hedge;
mod kinds;
mod lane;
mod learn;
mod queue;
mod race;
mod route;
mod run;
mod worker;

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

pub use explain::{Explanation, Standing, Why};
pub use kinds::Kind;
pub use learn::Cost;

use crate::{activity::Activity, error::Error, job::Job, ledger::Ledger, pool::Pool, quarantine::Quarantine};

/// How batches are cut and run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Tokens that run in one call, padding counted.
    pub max_batch_tokens: u32,
    /// Bytes of inputs that run in one call; one item may have more.
    pub max_batch_bytes: usize,
    /// Longest time that a batch is held back for more items while all workers are busy.
    pub max_batch_delay: Duration,
    /// A run that takes longer has a stuck worker.
    pub run_deadline: Duration,
    /// A run that goes on for longer after nobody waits for it has a stuck worker.
    pub cancel_grace: Duration,
    /// Share of the answers that are checked by another run.
    pub cross_check: f64,
    /// Part of all batches that may run a second time.
    pub hedge: f64,
}

/// What it works with.
pub struct Parts {
    /// The browsers.
    pub pool: Pool,
    /// What is pending. It notes there how fast models run.
    pub ledger: Arc<Ledger>,
    /// Where it puts what ends workers.
    pub quarantine: Arc<Quarantine>,
    /// Where it notes what runs and what waits.
    pub activity: Arc<Activity>,
}

/// Requests that wait for the task. Their items are bounded by admission.
const REQUESTS: usize = 1024;

/// What the task is told and asked.
#[derive(Debug)]
enum Request {
    /// Jobs of one model and task.
    Jobs(Vec<Job>),
    /// What was learned of a model before.
    Seed(Arc<str>, Vec<(Kind, Cost)>),
    /// What was learned by now, by model.
    Costs(oneshot::Sender<Vec<(Arc<str>, Kind, Cost)>>),
    /// Where a model's next batch would go.
    Explain(Arc<str>, oneshot::Sender<Option<Explanation>>),
}

/// A handle to the scheduler. It takes no work but admitted jobs.
#[derive(Clone, Debug)]
pub struct Scheduler {
    requests: mpsc::Sender<Request>,
}

impl Scheduler {
    /// Starts the task.
    pub fn start(settings: Settings, parts: Parts) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        tokio::spawn(worker::run(settings, parts, receiver));
        Self { requests }
    }

    /// Queues the jobs of one request, all of one model and task.
    pub async fn submit(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.tell(Request::Jobs(jobs)).await
    }

    /// Takes over what was learned of a model before, on a kind of worker each. What has run since counts more.
    pub async fn seed(&self, model: Arc<str>, costs: Vec<(Kind, Cost)>) -> Result<(), Error> {
        self.tell(Request::Seed(model, costs)).await
    }

    /// What was learned of all models, so that it can be kept.
    pub async fn costs(&self) -> Result<Vec<(Arc<str>, Kind, Cost)>, Error> {
        let (sender, costs) = oneshot::channel();
        self.tell(Request::Costs(sender)).await?;
        costs.await.map_err(|_| Error::ShuttingDown)
    }

    /// Where a model's next usual batch would go, and why; `None` where none of its replicas serves.
    pub async fn explain(&self, model: Arc<str>) -> Result<Option<Explanation>, Error> {
        let (sender, explanation) = oneshot::channel();
        self.tell(Request::Explain(model, sender)).await?;
        explanation.await.map_err(|_| Error::ShuttingDown)
    }

    async fn tell(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).await.map_err(|_| Error::ShuttingDown)
    }
}
