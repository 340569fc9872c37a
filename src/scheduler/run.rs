//! Run: what becomes of the jobs of a batch that has run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::race::Outcome;
use crate::{
    activity::Activity,
    bridge::{CallError, FailureKind, Ran},
    error::Error,
    execution::{Execution, Origin, Timings},
    job::{Job, Output, Strike},
    loss::{Cause, Loss},
    metrics,
    pool::{Replica, RunError, explain},
    quarantine::Quarantine,
    trace,
};

/// What ran a batch, and where it is noted what came of that.
pub struct Ground<'a> {
    /// The replica.
    pub replica: &'a Replica,
    /// When the batch was handed over.
    pub begun: Instant,
    /// Whether the worker had begun it.
    pub running: bool,
    /// Whether it began to run a second time.
    pub hedged: bool,
    /// Where inputs go that end workers.
    pub quarantine: &'a Quarantine,
    /// What the models do.
    pub activity: &'a Activity,
}

/// Workers that an item may lose before it is given up.
const MOST_LOST: u32 = 8;
/// Weight of the strikes by which an item is taken for the cause: two workers, or four that lost their GPU.
const MOST_WEIGHT: u32 = 4;

/// Answers a batch, by its `result`. `twins` are the jobs that share the run of the job of the same index. Returns those that are to run
/// again.
pub fn settle(mut jobs: Vec<Job>, result: Outcome, mut twins: Vec<Vec<Job>>, ground: &Ground<'_>) -> Vec<Job> {
    let run = trace::Run {
        begun: ground.begun,
        ended: Instant::now(),
        runtime: &ground.replica.runtime,
        items: jobs.len(),
        result: match &result {
            Ok(ran) => Ok(ran.timings()),
            Err(RunError::Lost(loss) | RunError::Unsent(loss)) => Err((loss.cause.name(), loss)),
            Err(RunError::Failed(error)) => Err(("failed", error)),
        },
    };
    trace::batch(jobs.iter_mut().chain(twins.iter_mut().flatten()).map(|job| &mut job.trace), &run);
    let all = jobs.into_iter().zip(twins);
    match result {
        Ok(ran) => answer(all, ran, ground),
        Err(RunError::Lost(loss) | RunError::Unsent(loss)) => {
            let jobs = all.flat_map(|(job, twins)| std::iter::once(job).chain(twins));
            again(jobs, &loss, ground)
        }
        Err(RunError::Failed(error)) => fail(all.collect(), &error),
    }
}

/// Answers each job; returns those that are to run again.
fn answer(all: impl ExactSizeIterator<Item = (Job, Vec<Job>)>, ran: Ran, ground: &Ground<'_>) -> Vec<Job> {
    let mut left = Vec::new();
    let timings = ran.timings();
    let batch_size = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let execution = |job: &Job, origin| Execution {
        runtime: ground.replica.runtime.clone(),
        batch_size,
        retries: job.lost_workers,
        timings: Timings { queue_us: micros_between(job.admitted, ground.begun), ..timings },
        origin,
        hedged: ground.hedged,
        shape: ran.shape.clone(),
    };
    let mut shared: Option<Arc<Execution>> = None;
    for ((job, twins), outcome) in all.zip(ran.outcomes) {
        let output = match outcome {
            Ok(output) => output,
            Err(error) => {
                left.extend(doubt(job, twins, &error));
                continue;
            }
        };
        metrics::coalesced(twins.len() as u64);
        for twin in twins {
            let record = Arc::new(execution(&twin, Origin::Coalesced));
            twin.answer(Ok((output.clone(), record)));
        }
        let record = execution(&job, Origin::Run);
        if let Some((first, between)) = token_times(&output, &record.timings) {
            ground.replica.meters.generated(first, between);
        }
        // Jobs of one request were admitted together, and so share the record.
        let record = match &shared {
            Some(known) if known.timings == record.timings && known.retries == record.retries => known.clone(),
            _ => shared.insert(Arc::new(record)).clone(),
        };
        job.answer(Ok((output, record)));
    }
    if let Some(record) = shared {
        ground.replica.meters.record(&record, ran.tokens, ran.padding);
        ground.activity.ran(&record, ran.tokens, Instant::now());
    }
    left
}

/// Of a text that was made: when its first token was there, from admission, and the mean time between the others.
fn token_times(output: &Output, timings: &Timings) -> Option<(Duration, Option<Duration>)> {
    let usage = match output {
        Output::Generated(generated) => generated.usage.as_ref(),
        Output::Transcript(transcript) => transcript.usage.as_ref(),
        _ => None,
    };
    let usage = usage.filter(|usage| usage.generated_tokens > 0)?;
    let first = Duration::from_micros(usage.first_token_us);
    let rest = Duration::from_micros(timings.preprocess_us + timings.inference_us).saturating_sub(first);
    let between = usage.generated_tokens.checked_sub(1).filter(|others| *others > 0).map(|others| rest / others);
    Some((Duration::from_micros(timings.queue_us + timings.bridge_us) + first, between))
}

/// Answers a job and its twins with their error. Where that is an output which is no answer, they run once more before:
/// the fault may be the worker's.
fn doubt(mut job: Job, twins: Vec<Job>, error: &CallError) -> Vec<Job> {
    let bad_output = matches!(error, CallError::Failed { kind: FailureKind::BadOutput, .. });
    if bad_output && !job.doubted {
        (job.doubted, job.alone) = (true, true);
        metrics::retries(1);
        return std::iter::once(job).chain(twins).collect();
    }
    let error = explain(&job.model, error);
    std::iter::once(job).chain(twins).for_each(|job| job.answer(Err(error.clone())));
    Vec::new()
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
            left.extend(doubt(job, twins, error));
        }
    }
    left
}

/// Counts the lost worker; answers the jobs that have had their share, and those that look like the cause of it.
fn again(jobs: impl Iterator<Item = Job>, loss: &Loss, ground: &Ground<'_>) -> Vec<Job> {
    let mut left = Vec::new();
    for mut job in jobs {
        job.lost_workers += 1;
        if let Some(error) = ground.quarantine.find(&job.model, &job.input) {
            job.answer(Err(error));
            continue;
        }
        // A replica that answers wrongly was ended for what it did before.
        let blameless = loss.cause.is_from_outside() || loss.cause == Cause::WrongAnswers;
        if ground.running && !blameless {
            job.strikes.push(Strike::new(loss.cause, ground.replica.fate.clone()));
            job.alone = true;
        }
        let weight: u32 = job.strikes.iter().map(Strike::weight).sum();
        let reason = loss.to_string();
        if weight >= MOST_WEIGHT {
            let workers = job.strikes.len();
            let error = Error::Quarantined { model: job.model.to_string(), workers, reason };
            let request = &job.trace.request;
            tracing::error!(request = request.id(), trace = request.trace(), model = %job.model, "{error}");
            metrics::quarantined();
            ground.quarantine.add(job.model.clone(), job.input.clone(), error.clone());
            job.answer(Err(error));
        } else if job.lost_workers >= MOST_LOST {
            let attempts = job.lost_workers;
            job.answer(Err(Error::WorkerLost { attempts, reason }));
        } else {
            let request = &job.trace.request;
            let (trace, cause) = (request.trace(), loss.cause.name());
            tracing::debug!(request = request.id(), trace, model = %job.model, cause, "an item runs again: {loss}");
            left.push(job);
        }
    }
    metrics::retries(left.len() as u64);
    left
}
