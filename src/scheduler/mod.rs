//! Scheduler: queues admitted jobs, cuts batches, routes them to replicas. Policy is in `queue` and `route`, which are
//! pure; `worker` is the task that holds the state.

mod queue;
mod route;
mod run;
mod worker;

use std::time::Duration;

use tokio::sync::mpsc;

use crate::{error::Error, job::Job, pool::Pool};

/// How batches are cut and run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Items that run in one call.
    pub max_batch: usize,
    /// A run that takes longer has a stuck worker.
    pub run_deadline: Duration,
    /// Workers that an item may lose before it is given up.
    pub max_lost_workers: u32,
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
    pub fn start(settings: Settings, pool: Pool) -> Self {
        let (jobs, receiver) = mpsc::channel(REQUESTS);
        tokio::spawn(worker::run(settings, pool, receiver));
        Self { jobs }
    }

    /// Queues the jobs of one request, all of one model and task.
    pub async fn submit(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.jobs.send(jobs).await.map_err(|_| Error::ShuttingDown)
    }
}
