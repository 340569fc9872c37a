//! Run: one batch on one lease, and what becomes of its jobs.

use std::{sync::Arc, time::Instant};

use super::Settings;
use crate::{
    bridge::{CallError, FailureKind, Ran},
    error::Error,
    execution::{Execution, Origin, Runtime, Timings},
    job::Job,
    metrics,
    pool::{Lease, Patience, RunError},
};

/// A batch that has left its worker.
#[derive(Debug)]
pub struct Finished {
    /// Its jobs.
    pub jobs: Vec<Job>,
    /// What came of it.
    pub result: Result<Ran, RunError>,
}

/// Runs a batch to its end.
pub async fn run(mut jobs: Vec<Job>, lease: Lease, settings: Settings) -> Finished {
    let inputs: Vec<_> = jobs.iter().map(|job| job.input.clone()).collect();
    let abandoned = async {
        for job in &mut jobs {
            job.reply.closed().await;
        }
    };
    let patience = Patience { run: settings.run_deadline, abandoned: settings.cancel_grace };
    let result = lease.run(&inputs, abandoned, patience).await;
    Finished { jobs, result }
}

/// What ran a batch.
pub struct Ground {
    /// The replica.
    pub runtime: Arc<Runtime>,
    /// When the batch was handed over.
    pub begun: Instant,
    /// Workers that an item may lose before it is given up.
    pub max_lost_workers: u32,
}

/// Answers a batch. `twins` are the jobs that share the run of the job of the same index. Returns those that are to run
/// again.
pub fn settle(finished: Finished, twins: Vec<Vec<Job>>, ground: &Ground) -> Vec<Job> {
    let Finished { jobs, result } = finished;
    let all = jobs.into_iter().zip(twins);
    match result {
        Ok(ran) => {
            answer(all, ran, ground);
            Vec::new()
        }
        Err(RunError::Lost(reason)) => {
            let jobs = all.flat_map(|(job, twins)| std::iter::once(job).chain(twins));
            again(jobs, &reason, ground.max_lost_workers)
        }
        Err(RunError::Failed(error)) => fail(all.collect(), &error),
    }
}

fn answer(all: impl ExactSizeIterator<Item = (Job, Vec<Job>)>, ran: Ran, ground: &Ground) {
    let in_worker = ran.preprocess_us + ran.inference_us + ran.postprocess_us;
    let batch_size = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let execution = |job: &Job, origin| Execution {
        runtime: ground.runtime.clone(),
        batch_size,
        retries: job.lost_workers,
        timings: Timings {
            queue_us: micros_between(job.admitted, ground.begun),
            bridge_us: ran.round_trip_us.saturating_sub(in_worker),
            preprocess_us: ran.preprocess_us,
            inference_us: ran.inference_us,
            postprocess_us: ran.postprocess_us,
        },
        origin,
    };
    let mut shared: Option<Arc<Execution>> = None;
    for ((job, twins), outcome) in all.zip(ran.outcomes) {
        let output = match outcome {
            Ok(output) => output,
            Err(error) => {
                let error = explain(&job.model, &error);
                std::iter::once(job).chain(twins).for_each(|job| job.answer(Err(error.clone())));
                continue;
            }
        };
        metrics::coalesced(twins.len() as u64);
        for twin in twins {
            let record = Arc::new(execution(&twin, Origin::Coalesced));
            twin.answer(Ok((output.clone(), record)));
        }
        let record = execution(&job, Origin::Run);
        // Jobs of one request were admitted together, and so share the record.
        let record = match &shared {
            Some(known) if known.timings == record.timings && known.retries == record.retries => known.clone(),
            _ => shared.insert(Arc::new(record)).clone(),
        };
        job.answer(Ok((output, record)));
    }
    if let Some(record) = shared {
        metrics::batch(&ground.runtime.model, &record, ran.tokens);
    }
}

fn micros_between(earlier: Instant, later: Instant) -> u64 {
    u64::try_from(later.saturating_duration_since(earlier).as_micros()).unwrap_or(u64::MAX)
}

/// A batch that failed as a whole runs again, each job alone, so that none fails for another. One that was alone has its
/// answer.
fn fail(all: Vec<(Job, Vec<Job>)>, error: &CallError) -> Vec<Job> {
    let several = all.len() > 1;
    let mut left = Vec::new();
    for (mut job, twins) in all {
        let cancelled = matches!(error, CallError::Failed { kind: FailureKind::Cancelled, .. });
        if several || cancelled {
            job.alone |= !cancelled;
            left.extend(std::iter::once(job).chain(twins));
        } else {
            let error = explain(&job.model, error);
            std::iter::once(job).chain(twins).for_each(|job| job.answer(Err(error.clone())));
        }
    }
    left
}

/// Counts the lost worker; answers the jobs that have had their share.
fn again(jobs: impl Iterator<Item = Job>, reason: &Arc<str>, most: u32) -> Vec<Job> {
    let mut left = Vec::new();
    for mut job in jobs {
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
