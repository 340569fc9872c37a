//! Balance: gives the models their shares of workers and memory, and the pool its size, as work comes and goes.

use std::{sync::Arc, time::Instant};

use super::Supervisor;
use crate::{
    browser,
    pool::{
        lease::Waiting,
        roster::Duty,
        scaling::Sight,
        share::{self, Budget, Claim, Grant},
    },
};

/// Items that wait make work for one replica more, so many for each.
const ITEMS_A_REPLICA: f64 = 8.0;
/// Weight of the last second in the mean of the demand.
const WEIGHT: f64 = 0.2;
/// A model whose demand is below this has nothing to do.
pub(super) const IDLE: f64 = 0.05;

impl Supervisor {
    /// Notes how much work there is, how worn the browsers are, and how many should serve; to be called once a second.
    pub(super) async fn look(&mut self) {
        let waits = self.note_demand();
        self.note_wear();
        let bounds = self.scale.bounds();
        let free = if bounds.least == bounds.most {
            None
        } else {
            tokio::task::spawn_blocking(browser::free_memory).await.ok().flatten()
        };
        let ready: u32 = self.models.keys().map(|id| self.ready_replicas(id)).sum();
        // Nobody asks for what is still being loaded; but somebody asked for the load.
        let loading = self.workers.values().filter(|worker| worker.replica.is_none()).count();
        let sight = Sight {
            demand: self.models.values().map(|kept| kept.demand).sum::<f64>() + loading as f64,
            replicas: f64::from(ready) / self.scale.wanted().max(1) as f64,
            waits,
            free,
            browser: self.places.iter().map(|place| place.memory.bytes).max().unwrap_or(0),
        };
        self.move_to_better();
        self.keep_checkers();
        self.explore();
        self.prime();
        let before = self.scale.wanted();
        self.scale.look(sight, Instant::now());
        if self.scale.wanted() != before {
            tracing::info!(before, now = self.scale.wanted(), demand = sight.demand, waits, "browsers that serve");
        }
    }

    /// Notes how much work the models have. Returns whether some of it waits too long.
    fn note_demand(&mut self) -> bool {
        let now = Instant::now();
        let waiting = self.replicas.take_waiting();
        let mut waits = false;
        for (id, kept) in &mut self.models {
            let of_model = self.workers.values().filter(|worker| worker.model == *id);
            let busy = of_model.filter_map(|worker| worker.replica.as_ref()).filter(|replica| replica.in_flight() > 0);
            let Waiting { items, longest } = waiting.get(id).copied().unwrap_or_default();
            kept.awaited = items > 0;
            if kept.awaited && kept.asleep {
                // It fell asleep while somebody was on the way to ask.
                kept.follow();
            }
            let demand = busy.count() as f64 + items as f64 / ITEMS_A_REPLICA;
            kept.demand += WEIGHT * (demand - kept.demand);
            if demand > 0.0 {
                kept.used = now;
            }
            waits |= longest >= self.scale.bounds().wait || (items > 0 && kept.is_unserved());
        }
        waits
    }

    /// Shares out workers and memory. Replicas that are too many leave; those that lack are started elsewhere.
    pub(super) async fn balance(&mut self) {
        if self.scale.wanted() == 0 {
            // What is to be loaded is so when the first browser comes up.
            return;
        }
        let wanted: Vec<_> =
            self.models.iter().filter(|(_, kept)| kept.is_wanted()).map(|(id, _)| id.clone()).collect();
        let claims: Vec<_> = wanted.iter().filter_map(|id| self.claim(id)).collect();
        let (serving, most) = (self.scale.wanted(), self.scale.bounds().most.max(1));
        let part = serving as f64 / (serving + self.settings.spares) as f64;
        let budget = Budget {
            workers: (self.settings.workers * serving).div_ceil(most),
            bytes: (self.settings.model_memory as f64 * part) as u64,
        };
        let mut granted = 0_u64;
        for ((id, claim), grant) in wanted.iter().zip(&claims).zip(share::share(&claims, budget)) {
            if let Grant::Replicas(replicas) = grant {
                granted = granted.saturating_add(claim.bytes.saturating_mul(replicas as u64));
            }
            let ready = self.ready_replicas(id);
            let Some(kept) = self.models.get_mut(id) else { continue };
            let replicas = match grant {
                Grant::Replicas(replicas) => replicas,
                Grant::Sleep => {
                    tracing::info!(model = %id, "put to sleep: others need its memory, and it was not used for longest");
                    kept.asleep = true;
                    0
                }
                Grant::NoRoom => {
                    let message = "there is no memory for it, and all that is loaded is in use; unload a model, or raise \
                                   --model-memory";
                    kept.give_up(message.into(), false);
                    0
                }
            };
            if replicas > 0 {
                kept.want(u32::try_from(replicas).unwrap_or(u32::MAX), ready);
            }
            self.let_leave(id, (ready as usize).saturating_sub(replicas));
            if replicas == 0 {
                // Those that still load, too.
                self.workers.values_mut().filter(|worker| worker.model == *id).for_each(|worker| worker.leaving = true);
            }
        }
        self.let_checkers_leave(granted, budget.bytes);
        self.end_leaving().await;
    }

    fn claim(&self, id: &Arc<str>) -> Option<Claim> {
        let kept = self.models.get(id)?;
        let spec = &kept.model.spec;
        let of_model = self.workers.values().filter(|worker| worker.model == *id && self.is_on_duty(worker));
        let busy =
            of_model.clone().any(|worker| worker.replica.as_ref().is_some_and(|replica| replica.in_flight() > 0));
        Some(Claim {
            least: spec.least_replicas as usize,
            most: spec.replicas.max(spec.least_replicas) as usize,
            now: of_model.count(),
            demand: kept.demand,
            bytes: kept.model.replica_bytes(),
            used: kept.used,
            idle: !busy && !kept.awaited && kept.demand < IDLE,
        })
    }

    /// Takes replicas of a model out of service, first those that would be better off elsewhere, then the youngest. They end
    /// once they have run what they hold.
    fn let_leave(&mut self, id: &Arc<str>, count: usize) {
        let serves =
            |worker: &super::Worker| worker.model == *id && worker.replica.is_some() && self.is_on_duty(worker);
        if count == 0 {
            return;
        }
        let mut all: Vec<_> = self.workers.iter().rev().filter(|(_, worker)| serves(worker)).collect();
        all.sort_by_key(|(_, worker)| !self.is_misplaced(worker));
        let ids: Vec<_> = all.into_iter().take(count).map(|(id, _)| id.clone()).collect();
        for worker in ids {
            let Some(worker) = self.workers.get_mut(&worker) else { continue };
            worker.leaving = true;
            if let Some(replica) = &worker.replica {
                self.replicas.remove(replica);
            }
        }
    }

    async fn end_leaving(&mut self) {
        let models = &self.models;
        // A spare gives up what sleeps.
        for worker in self.workers.values_mut() {
            let spare = self.places.get(worker.browser.place).is_some_and(|place| place.duty == Duty::Spare);
            worker.leaving |= spare && models.get(&worker.model).is_none_or(|kept| !kept.is_wanted());
        }
        let done = |worker: &super::Worker| {
            worker.leaving && worker.replica.as_ref().is_none_or(|replica| replica.in_flight() == 0)
        };
        let ids: Vec<_> = self.workers.iter().filter(|(_, worker)| done(worker)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            tracing::info!(worker = %id, "ended: its place goes to another replica");
            self.end_worker(&id).await;
        }
    }
}
