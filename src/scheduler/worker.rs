//! Worker: the task that holds the queues. It wakes when jobs come, when a replica has room, and when the pool changes.

use std::{collections::HashMap, sync::Arc, time::Instant};

use tokio::{sync::mpsc, task::JoinSet};

use super::{Settings, queue::Queue, route, run};
use crate::{
    error::Error,
    job::Job,
    metrics,
    pool::{ModelStatus, Pool, View},
};

/// Runs until all handles are gone.
pub async fn run(settings: Settings, pool: Pool, mut incoming: mpsc::Receiver<Vec<Job>>) {
    let mut queues = Queues { settings, queues: HashMap::new() };
    let mut running: JoinSet<Vec<Job>> = JoinSet::new();
    let mut view = pool.watch();
    loop {
        tokio::select! {
            jobs = incoming.recv() => match jobs {
                Some(jobs) => queues.push(jobs),
                None => return,
            },
            Some(ended) = running.join_next() => {
                // A batch that panicked has dropped its jobs, and with them their replies.
                queues.push_front(ended.unwrap_or_default());
            }
            () = pool.room() => {}
            Ok(()) = view.changed() => queues.check(&view.borrow_and_update()),
        }
        while let Ok(jobs) = incoming.try_recv() {
            queues.push(jobs);
        }
        queues.dispatch(&pool, &mut running);
    }
}

struct Queues {
    settings: Settings,
    /// By model. Empty ones are removed.
    queues: HashMap<Arc<str>, Queue<Job>>,
}

impl Queues {
    fn push(&mut self, jobs: Vec<Job>) {
        if let Some(first) = jobs.first() {
            self.queues.entry(first.model.clone()).or_default().push(jobs);
        }
    }

    fn push_front(&mut self, jobs: Vec<Job>) {
        if let Some(first) = jobs.first() {
            self.queues.entry(first.model.clone()).or_default().push_front(jobs);
        }
    }

    /// Hands out batches while replicas have room.
    fn dispatch(&mut self, pool: &Pool, running: &mut JoinSet<Vec<Job>>) {
        let now = Instant::now();
        for (model, queue) in &mut self.queues {
            while !queue.is_empty()
                && let Some(lease) = pool.try_lease(model, route::choose)
            {
                let most = if lease.batches() { self.settings.max_batch } else { 1 };
                let batch = queue.cut(most, now);
                if !batch.is_empty() {
                    running.spawn(run::run(batch, lease, self.settings));
                }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        metrics::queue_items(self.queues.values().map(Queue::len).sum());
    }

    /// Answers the jobs of models that will not serve, and drops those that nobody waits for.
    fn check(&mut self, view: &View) {
        let now = Instant::now();
        for (model, queue) in &mut self.queues {
            let error = match view.model(model) {
                Some(ModelStatus::Loading | ModelStatus::Ready(_)) => {
                    queue.purge(now);
                    continue;
                }
                Some(ModelStatus::Failed(error)) => error.clone(),
                None => Error::ModelNotLoaded { id: model.to_string() },
            };
            for job in queue.drain() {
                job.answer(Err(error.clone()));
            }
        }
    }
}
