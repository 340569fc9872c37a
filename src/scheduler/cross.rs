//! Cross: a share of the answers is checked by another run on another backend or in another kind of browser, out of the way
//! of callers. Which are checked is policy, and pure; the checks are tasks of the scheduler's.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::race::Outcome;
use crate::{
    agreement::{self, Agreement, Precision},
    bridge::RunItem,
    execution::{Backend, Runtime},
    job::{Input, Job, Output},
    metrics,
    models::Dtypes,
    pool::{Lease, Patience, Pool, Replica},
};

/// Answers that wait to be checked; further ones are not.
const MOST: usize = 64;
/// Bytes of an answer, and of its input, that are held for it.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Workers whose answers are counted.
const MOST_WORKERS: usize = 1024;
/// An answer that could not be checked for this long is let go.
const OLDEST: Duration = Duration::from_secs(60);

/// An answer that is to be checked.
#[derive(Debug)]
pub struct Sample {
    input: Arc<Input>,
    output: Output,
    /// Who gave it.
    suspect: Arc<Replica>,
    /// Whether it ran with others, which answers of 8-bit models depend on.
    together: bool,
    at: Instant,
}

/// Which answers are checked.
#[derive(Debug, Default)]
pub struct Cross {
    share: f64,
    /// The part of an answer that is owed, by worker.
    owed: HashMap<String, f64>,
    waiting: VecDeque<Sample>,
}

impl Cross {
    /// That share is checked.
    pub fn new(share: f64) -> Self {
        Self { share, ..Self::default() }
    }

    /// Takes from a batch what is to be checked: of each worker every so many-th answer.
    pub fn see(&mut self, replica: &Arc<Replica>, jobs: &[Job], result: &Outcome, now: Instant) {
        let Ok(ran) = result else { return };
        if self.share <= 0.0 {
            return;
        }
        let together = jobs.len() > 1;
        for (job, outcome) in jobs.iter().zip(&ran.outcomes) {
            let Ok(output) = outcome else { continue };
            if !can_be_checked(job, output) || !self.is_due(&replica.runtime.worker_id) {
                continue;
            }
            let (input, output, suspect) = (job.input.clone(), output.clone(), replica.clone());
            if self.waiting.len() >= MOST {
                self.drop_oldest();
            }
            self.waiting.push_back(Sample { input, output, suspect, together, at: now });
        }
    }

    fn is_due(&mut self, worker: &str) -> bool {
        if self.owed.len() >= MOST_WORKERS && !self.owed.contains_key(worker) {
            // Those of workers that are gone are among them.
            self.owed.clear();
        }
        let owed = self.owed.entry(worker.to_owned()).or_default();
        *owed += self.share;
        let due = *owed >= 1.0;
        *owed -= f64::from(u8::from(due));
        due
    }

    /// The next check that can be made now, with a lease on who makes it: one that differs from who answered, and has nothing
    /// to do.
    pub fn next(&mut self, pool: &Pool, now: Instant) -> Option<(Sample, Lease)> {
        // What is gone can do no more harm.
        self.waiting.retain(|sample| sample.suspect.is_open());
        while self.waiting.front().is_some_and(|sample| now.saturating_duration_since(sample.at) > OLDEST) {
            self.drop_oldest();
        }
        for index in 0..self.waiting.len() {
            let suspect = &self.waiting[index].suspect.runtime;
            let others = pool.checkers(&suspect.model).into_iter().chain(pool.serving(&suspect.model));
            let mut free = others.filter(|other| other.in_flight() == 0 && !other.runtime.is_like(suspect));
            if let Some(checker) = free.next() {
                return Some((self.waiting.remove(index)?, pool.lease(&checker)));
            }
        }
        None
    }

    /// Whether some wait for who could check them.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn drop_oldest(&mut self) {
        if let Some(sample) = self.waiting.pop_front() {
            metrics::cross_checked(&sample.suspect.runtime.model, "dropped");
        }
    }
}

fn can_be_checked(job: &Job, output: &Output) -> bool {
    job.repeatable && job.input.bytes() <= MOST_BYTES && output.encoded_len() <= MOST_BYTES
}

/// Has another replica answer, and acts on what comes of it.
pub async fn check(sample: Sample, lease: Lease, limit: Duration, pool: Pool) {
    let (suspect, model) = (&sample.suspect, &sample.suspect.runtime.model);
    // What makes text may take longer than that, and stops when it is told to.
    let patience = Patience { run: limit * 2, abandoned: limit };
    let ran = lease.run(&[RunItem::from(sample.input.clone())], sleep(limit), patience).await;
    let Some(Ok(other)) = ran.ok().and_then(|mut ran| ran.outcomes.pop()) else {
        return metrics::cross_checked(model, "failed");
    };
    let agreement = agreement::compare(&other, &sample.output, precision(&sample, &lease.replica().runtime));
    if agreement.holds() {
        return metrics::cross_checked(model, "agreed");
    }
    metrics::cross_checked(model, "diverged");
    let reason = explain(&agreement, &suspect.runtime, &lease.replica().runtime);
    tracing::error!(%model, "{reason}");
    let trusted = |replica: &Replica| replica.runtime.backend_used == Backend::Wasm;
    // A pool that has ended has nobody to convict.
    let _ = match (trusted(suspect), trusted(lease.replica())) {
        (false, true) => pool.convict(suspect, reason).await,
        (true, false) => pool.convict(lease.replica(), reason).await,
        _ => pool.suspect(vec![suspect.clone(), lease.replica().clone()], reason).await,
    };
}

/// The coarser precision of the two. Answers of 8-bit models that ran with others are further off: they are scaled over all.
fn precision(sample: &Sample, checker: &Runtime) -> Precision {
    let bits = |runtime: &Runtime| Dtypes::bits_of(&runtime.dtype);
    let coarser = bits(&sample.suspect.runtime).min(bits(checker));
    Precision::of_bits(if sample.together && coarser == 8 { 4 } else { coarser })
}

fn explain(agreement: &Agreement, suspect: &Runtime, checker: &Runtime) -> String {
    let Agreement { measure, value, least } = agreement;
    let name = |runtime: &Runtime| {
        format!("{} {} on {}", runtime.browser, runtime.browser_version, runtime.backend_used.name())
    };
    let (suspect, checker) = (name(suspect), name(checker));
    format!("{suspect} and {checker} do not answer alike: {measure} is {value:.5}, and {least} is the least")
}
