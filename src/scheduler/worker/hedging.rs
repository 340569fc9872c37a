//! Hedging: begins the second runs of batches that are late. Which, where and when is said by `hedge`.

use std::{sync::Arc, time::Instant};

use futures_util::FutureExt;
use tokio::{sync::oneshot, task::Id};
use tokio_util::sync::CancellationToken;

use super::{
    State,
    flying::{Ended, Flying, What},
    server,
};
use crate::{
    bridge::RunItem,
    job::Job,
    metrics,
    pool::Replica,
    scheduler::{
        hedge::{self, Other},
        race::{self, Second},
    },
};

/// What a second run of a batch needs.
pub struct Hedge {
    items: Vec<RunItem>,
    /// Where it is told of; `None` once it was.
    sender: Option<oneshot::Sender<Second>>,
    /// Whether the budget has refused it.
    refused: bool,
}

impl Hedge {
    /// For a batch that may run a second time: not where text is made, which takes as long as it takes; nor where somebody is
    /// told of its steps, which cannot be told twice; nor where another run is another.
    pub fn new(replica: &Replica, batch: &[Job], sender: oneshot::Sender<Second>) -> Option<Self> {
        let may = !replica.open_ended && batch.iter().all(|job| job.teller.is_none() && job.repeatable);
        may.then(|| Self { items: batch.iter().map(race::item).collect(), sender: Some(sender), refused: false })
    }
}

impl State {
    /// Begins the second runs that are due. Returns when the next one is, unless something happens before.
    pub(super) fn hedge(&mut self, now: Instant) -> Option<Instant> {
        if self.settings.hedge <= 0.0 {
            return None;
        }
        let mut wake = None;
        for id in self.flying.keys().copied().collect::<Vec<_>>() {
            let Some((other, due)) = self.second_of(id) else { continue };
            if due > now {
                wake = Some(wake.map_or(due, |wake: Instant| wake.min(due)));
            } else {
                self.begin_second(id, &other, now);
            }
        }
        wake
    }

    /// Where a batch could run a second time, and when it should.
    fn second_of(&self, id: Id) -> Option<(Arc<Replica>, Instant)> {
        let Flying { model, replica, ticket, begun, what } = self.flying.get(&id)?;
        let What::First(_, Some(Hedge { sender: Some(_), .. })) = what else { return None };
        let lane = self.lanes.get(model)?;
        let late = lane.late(server(replica), *ticket)?;
        let mut replicas = self.pool.serving(model);
        replicas.retain(|other| !Arc::ptr_eq(other, replica));
        let other = |(index, other): (usize, &Arc<Replica>)| {
            let (is_idle, takes) = lane.could(server(other), *ticket);
            Other { index, is_idle, same_browser: other.shares_browser(replica), takes }
        };
        let others: Vec<_> = replicas.iter().enumerate().map(other).collect();
        let chosen = hedge::choose(&others)?;
        let due = hedge::due(*begun, late, chosen.takes?);
        Some((replicas.swap_remove(chosen.index), due))
    }

    fn begin_second(&mut self, id: Id, replica: &Arc<Replica>, now: Instant) {
        let Some(Flying { model, ticket, what: What::First(_, Some(hedge)), .. }) = self.flying.get_mut(&id) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(model) else { return };
        if !lane.budget.spend() {
            if !std::mem::replace(&mut hedge.refused, true) {
                metrics::hedged(model, "refused");
            }
            return;
        }
        let Some(sender) = hedge.sender.take() else { return };
        let (items, model) = (std::mem::take(&mut hedge.items), model.clone());
        let ticket = lane.again(*ticket);
        let expected = lane.hand(server(replica), ticket, now);
        let (leave, by) = (CancellationToken::new(), (replica.clone(), now));
        let (answers, answer) = oneshot::channel();
        // A batch that has its answer just now drops it, which leaves the second run at once.
        drop(sender.send(Second { answer, by, leave: leave.clone() }));
        let lease = self.pool.lease(replica);
        let patience = self.patience(replica, now, expected, now);
        let run = race::leg(items, lease, leave, patience).map(Ended::Run);
        let task = self.running.spawn(run);
        let what = What::Second(answers);
        self.flying.insert(task.id(), Flying { model, replica: replica.clone(), ticket, begun: now, what });
    }
}
