//! Flying: the runs that workers have, and what becomes of them when they end.

use std::{sync::Arc, time::Instant};

use futures_util::FutureExt;
use tokio::{
    sync::oneshot,
    task::{Id, JoinError},
};

use super::{State, hedging::Hedge, server};
use crate::{
    bridge::Ran,
    job::{Job, Key},
    metrics,
    pool::{Replica, RunError},
    scheduler::{
        lane::Counts,
        race::{Finished, First, Outcome},
        route::Ticket,
        run::{self, Ground},
    },
};

/// A run that a worker has.
pub struct Flying {
    pub model: Arc<str>,
    pub replica: Arc<Replica>,
    pub ticket: Ticket,
    pub begun: Instant,
    pub what: What,
}

/// Which run of its batch it is.
pub enum What {
    /// The first. Here are the keys of the jobs, in their order; and what the second needs, where one may begin.
    First(Vec<Option<Key>>, Option<Hedge>),
    /// The second; and who waits for its answer.
    Second(oneshot::Sender<Ran>),
    /// The first, after the second has answered.
    Left,
}

/// A task that has ended, by what it was for.
pub enum Ended {
    /// A batch.
    Batch(Finished),
    /// A second run, or a first that was left.
    Run(Outcome),
}

impl State {
    /// A run has left its worker, or a batch has its answer.
    pub(super) fn end(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Some(ended)),
            // A batch that panicked has dropped its jobs, and with them their replies.
            Err(error) => (error.id(), None),
        };
        let Some(flying) = self.flying.remove(&id) else { return };
        let Some(ended) = ended else {
            self.leave(&flying, None, Counts::Not);
            if let What::First(keys, _) = &flying.what {
                drop(self.take_twins(keys));
            }
            return;
        };
        match (ended, flying) {
            (Ended::Batch(finished), flying) => self.finish(flying, finished),
            (Ended::Run(outcome), Flying { what: What::Second(sender), model, replica, ticket, begun }) => {
                let flying = Flying { what: What::Left, model, replica, ticket, begun };
                let counts = if outcome.is_ok() { Counts::Whole } else { Counts::Not };
                self.leave(&flying, outcome.as_ref().err(), counts);
                // Who waited may have an answer already.
                let _ = outcome.map(|ran| sender.send(ran));
            }
            (Ended::Run(outcome), flying) => {
                let counts = if outcome.is_ok() { Counts::Whole } else { Counts::AtLeast };
                self.leave(&flying, outcome.as_ref().err(), counts);
            }
        }
    }

    /// A batch has its answer, or will have none.
    fn finish(&mut self, flying: Flying, finished: Finished) {
        let Finished { mut jobs, result, hedged, by, first } = finished;
        let Flying { model, replica, ticket, begun, what } = flying;
        let flying = Flying { model: model.clone(), replica: replica.clone(), ticket, begun, what: What::Left };
        let running = match first {
            First::Gave => {
                let counts = if result.is_ok() { Counts::Whole } else { Counts::Not };
                self.leave(&flying, result.as_ref().err(), counts)
            }
            First::Fell(error) => {
                // The other has answered for it.
                if let RunError::Lost(_) = error {
                    jobs.iter_mut().for_each(|job| job.lost_workers += 1);
                }
                self.leave(&flying, Some(&error), Counts::Not)
            }
            First::Goes(run) => {
                let task = self.running.spawn(run.map(Ended::Run));
                self.flying.insert(task.id(), flying);
                false
            }
        };
        if hedged {
            metrics::hedged(&model, if by.is_some() { "won" } else { "lost" });
        }
        let twins = if let What::First(keys, _) = what { self.take_twins(&keys) } else { Vec::new() };
        let (replica, begun) = by.unwrap_or((replica, begun));
        self.cross.see(&replica, &jobs, &result, Instant::now());
        let (quarantine, activity) = (&self.quarantine, &self.activity);
        let ground = Ground { replica: &replica, begun, running, hedged, quarantine, activity };
        let again = run::settle(jobs, result, twins, &ground);
        let lane = self.lanes.entry(model).or_default();
        again.into_iter().for_each(|job| lane.queue.push_again(job));
    }

    /// A worker has left a run. Returns whether it was lost just then, and ran that.
    fn leave(&mut self, flying: &Flying, error: Option<&RunError>, counts: Counts) -> bool {
        let Flying { model, replica, ticket, .. } = flying;
        let lane = self.lanes.entry(model.clone()).or_default();
        let lost = matches!(error, Some(RunError::Lost(_)));
        // What a batch did to its worker is not the fault of the one behind it.
        let ended = lost || (counts != Counts::Whole && !replica.is_open());
        let was_front = ended && lane.lose(server(replica), *ticket);
        let counts = if ended || matches!(error, Some(RunError::Unsent(_))) { Counts::Not } else { counts };
        lane.end(server(replica), *ticket, counts, Instant::now());
        lost && was_front
    }

    /// The jobs that share the runs of those.
    fn take_twins(&mut self, keys: &[Option<Key>]) -> Vec<Vec<Job>> {
        let twins = keys.iter().map(|key| key.as_ref().and_then(|key| self.twins.remove(key)));
        twins.map(|twins| twins.map_or_else(Vec::new, |twins| twins.jobs)).collect()
    }
}
