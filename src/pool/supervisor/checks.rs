//! Checks: replicas that check what others answer, and what becomes of those that answer wrongly.

use std::{sync::Arc, time::Instant};

use super::Supervisor;
use crate::{
    execution::{Backend, Runtime},
    metrics,
    pool::{
        choice::Choice,
        examine,
        lease::Replica,
        roster::Duty,
        tasks::{Happened, WorkerEnd, send},
    },
};

impl Supervisor {
    /// Sees to it that what each model answers can be checked by a replica on another backend or in another kind of browser.
    /// Where all that serve are alike, one is started that only checks; on WebAssembly, where it can be.
    pub(super) fn keep_checkers(&mut self) {
        if !self.settings.checkers {
            return;
        }
        let checked = self.models.iter().filter(|(_, kept)| !kept.model.spec.measured);
        let ids: Vec<_> = checked.map(|(id, _)| id.clone()).collect();
        for id in ids {
            let of_model = || self.workers.values().filter(|worker| worker.model == id && !worker.leaving);
            let mut serving = of_model().filter(|worker| worker.replica.is_some() && self.is_on_duty(worker));
            let Some((product, backend, _)) = serving.next().map(|worker| worker.circuit.clone()) else {
                // There is nothing to check.
                self.end_checkers(|worker| worker.model == id);
                continue;
            };
            let needed = serving.all(|worker| worker.circuit.0 == product && worker.circuit.1 == backend);
            let there = of_model().any(|worker| worker.checks);
            if needed && !there {
                if let Some((place, backend)) = self.place_of_checker(&id, &product, backend) {
                    let choice = Choice { backend, rank: 0, passed_over: String::new() };
                    self.start_worker_on(&id, place, choice, true);
                }
            } else if there && !needed {
                self.end_checkers(|worker| worker.model == id);
            }
        }
    }

    /// Those that check give way to those that serve, where the memory does not suffice for both.
    pub(super) fn let_checkers_leave(&mut self, serving: u64, most: u64) {
        let checkers = self.workers.values().filter(|worker| worker.checks);
        let bytes = checkers.filter_map(|worker| Some(self.models.get(&worker.model)?.model.replica_bytes())).sum();
        if serving.saturating_add(bytes) > most {
            self.end_checkers(|_| true);
        }
    }

    fn end_checkers(&mut self, which: impl Fn(&super::Worker) -> bool) {
        let checkers = self.workers.values_mut().filter(|worker| worker.checks && which(worker));
        checkers.for_each(|worker| worker.leaving = true);
    }

    /// A browser and a backend that differ from what serves a model. WebAssembly comes first, whatever the registration says:
    /// it is not used to answer.
    fn place_of_checker(&self, id: &Arc<str>, product: &str, backend: Backend) -> Option<(usize, Backend)> {
        let kept = self.models.get(id)?;
        let used: u64 = self
            .workers
            .values()
            .filter_map(|worker| self.models.get(&worker.model))
            .map(|kept| kept.model.replica_bytes())
            .sum();
        if used + kept.model.replica_bytes() > self.settings.model_memory {
            return None;
        }
        let backends = || std::iter::once(Backend::Wasm).chain(kept.model.spec.allowed().iter().copied());
        let places = self.places.iter().enumerate().filter(|(_, place)| place.duty == Duty::Serving);
        let options = places.filter_map(|(index, place)| {
            let (running, _) = place.browser.as_ref().filter(|(_, page)| page.is_open())?;
            let there = &running.info.product;
            let differs = |other: &Backend| *other != backend || there != product;
            let can = |other: &Backend| kept.obstacle(&running.info, *other, &place.lacks).is_none();
            let chosen = backends().find(|other| differs(other) && can(other))?;
            Some((chosen != Backend::Wasm, there == product, index, chosen))
        });
        options.min().map(|(_, _, place, backend)| (place, backend))
    }

    /// A model runs nowhere any more that is like what answered wrongly, until it is loaded anew.
    pub(super) async fn convict(&mut self, guilty: &Runtime, reason: &str) {
        let circuit = (guilty.browser.clone(), guilty.backend_used, guilty.model.clone());
        metrics::diverged(guilty);
        self.breakers.entry(circuit.clone()).or_default().trip(Instant::now());
        if let Some(kept) = self.models.get_mut(&guilty.model) {
            kept.is_unfit(&circuit.0, circuit.1, reason.to_owned());
        }
        let alike = self.workers.iter().filter(|(_, worker)| worker.circuit == circuit);
        let ids: Vec<_> = alike.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.lose_worker(&id, WorkerEnd::Wrong(reason.to_owned())).await;
        }
    }

    /// Has a replica answer its model's probes again.
    pub(super) fn suspect(&mut self, replica: &Arc<Replica>, reason: &str) {
        let holds = |worker: &&super::Worker| worker.replica.as_ref().is_some_and(|other| Arc::ptr_eq(other, replica));
        let Some(worker) = self.workers.values().find(holds) else { return };
        let (place, backend) = (worker.browser.place, worker.circuit.1);
        let Some(model) = self.models.get(&worker.model).map(|kept| kept.model.clone()) else { return };
        let Some(start) = self.start(place, model, backend) else { return };
        let (tell, replica, reason) = (self.tell.clone(), replica.clone(), reason.to_owned());
        self.tasks.spawn(async move {
            // One that is lost meanwhile is none to convict.
            if let Err(WorkerEnd::Wrong(detail)) = examine::again(&start, replica.link()).await {
                let reason = format!("{reason}; {detail}");
                send(&tell, Happened::Convicted(replica.runtime.clone(), reason)).await;
            }
        });
    }
}
