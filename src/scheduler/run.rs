//! Run: one batch on one lease, and the answers to its jobs.

use std::{sync::Arc, time::Instant};

use super::Settings;
use crate::{
    bridge::{CallError, FailureKind, Ran},
    error::Error,
    execution::{Execution, Timings},
    job::{Answer, Job},
    metrics,
    pool::{Lease, RunError},
};

/// Runs a batch of at least one job and answers it. Returns the jobs that are to run again elsewhere.
pub async fn run(mut batch: Vec<Job>, lease: Lease, settings: Settings) -> Vec<Job> {
    let begun = Instant::now();
    let inputs: Vec<_> = batch.iter().map(|job| job.input.clone()).collect();
    let abandoned = async {
        for job in &mut batch {
            job.reply.closed().await;
        }
    };
    let result = lease.run(&inputs, abandoned, settings.run_deadline).await;
    match result {
        Ok(ran) => {
            answer(batch, ran, &lease, begun);
            Vec::new()
        }
        Err(RunError::Failed(error)) => {
            for job in batch {
                let reply = Err(explain(&job.model, &error));
                job.answer(reply);
            }
            Vec::new()
        }
        Err(RunError::Lost(reason)) => again(batch, &reason, settings.max_lost_workers),
    }
}

fn answer(batch: Vec<Job>, ran: Ran, lease: &Lease, begun: Instant) {
    let in_worker = ran.preprocess_us + ran.inference_us + ran.postprocess_us;
    let batch_size = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let mut shared: Option<Arc<Execution>> = None;
    for (job, output) in batch.into_iter().zip(ran.outputs) {
        let queue_us = u64::try_from((begun - job.admitted).as_micros()).unwrap_or(u64::MAX);
        // Jobs of one request were admitted together, and so share the record.
        let execution = match &shared {
            Some(record) if record.timings.queue_us == queue_us && record.retries == job.lost_workers => record.clone(),
            _ => {
                let timings = Timings {
                    queue_us,
                    bridge_us: ran.round_trip_us.saturating_sub(in_worker),
                    preprocess_us: ran.preprocess_us,
                    inference_us: ran.inference_us,
                    postprocess_us: ran.postprocess_us,
                };
                let retries = job.lost_workers;
                let record = Arc::new(Execution { runtime: lease.runtime().clone(), batch_size, retries, timings });
                if shared.is_none() {
                    metrics::batch(&job.model, &record);
                }
                shared.insert(record).clone()
            }
        };
        job.answer(Ok(Answer { output, execution }));
    }
}

/// Counts the lost worker; answers the jobs that have had their share.
fn again(batch: Vec<Job>, reason: &Arc<str>, most: u32) -> Vec<Job> {
    let mut left = Vec::with_capacity(batch.len());
    for mut job in batch {
        job.lost_workers += 1;
        if job.lost_workers < most {
            left.push(job);
        } else {
            let attempts = job.lost_workers;
            job.answer(Err(Error::WorkerLost { attempts, reason: reason.to_string() }));
        }
    }
    metrics::retries(left.len() as u64);
    left
}

fn explain(model: &str, error: &CallError) -> Error {
    let (model, message) = (model.to_owned(), error.to_string());
    match error {
        CallError::Failed { kind: FailureKind::BadInput, .. } => Error::BadInput { model, message },
        CallError::Failed { kind: FailureKind::OutOfMemory, .. } => Error::OutOfMemory { model, message },
        CallError::Failed { kind: FailureKind::BadOutput, .. } => Error::BadOutput { model, message },
        _ => Error::Inference { model, message },
    }
}
