//! Scheduler: queues admitted jobs, cuts batches, routes them to replicas. Policy is in `queue`, `learn`, `route` and
//! `lane`, which are pure; `worker` is the task that holds the state.

mod cross;
mod lane;
mod learn;
mod queue;
mod route;
mod run;
mod worker;

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

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

/// A handle to the scheduler. It takes nothing but admitted jobs.
#[derive(Clone, Debug)]
pub struct Scheduler {
    jobs: mpsc::Sender<Vec<Job>>,
}

impl Scheduler {
    /// Starts the task.
    pub fn start(settings: Settings, parts: Parts) -> Self {
        let (jobs, receiver) = mpsc::channel(REQUESTS);
        tokio::spawn(worker::run(settings, parts, receiver));
        Self { jobs }
    }

    /// Queues the jobs of one request, all of one model and task.
    pub async fn submit(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.jobs.send(jobs).await.map_err(|_| Error::ShuttingDown)
    }
}
