//! Snapshot: the view that others get of the supervisor's state, and its gauges.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Circuit, Place, Supervisor};
use crate::{
    browser::{self, Info},
    metrics,
    pool::{
        breaker::{self, Breaker},
        kept::Kept,
        roster::Duty,
        slot::State,
        tasks::BrowserId,
        view::{BreakerView, BrowserState, BrowserView, ModelStatus, View, WorkerState, WorkerView},
    },
};

impl Supervisor {
    /// Shows the state as it is now.
    pub(super) fn publish(&self) {
        let bounds = self.scale.bounds();
        let view = View {
            browsers: self.view_browsers(),
            models: self.view_models(),
            breakers: self.view_breakers(),
            wanted: self.scale.wanted(),
            bounds: (bounds.least, bounds.most),
        };
        for ((browser, backend, model), breaker) in &self.breakers {
            let state = match breaker.state(Instant::now()) {
                breaker::State::Closed => 0,
                breaker::State::HalfOpen => 1,
                breaker::State::Open => 2,
            };
            metrics::breaker(browser, backend.name(), model, state);
        }
        metrics::spares(view.browsers.iter().filter(|browser| browser.duty == Duty::Spare).count());
        for (name, state) in [
            ("starting", BrowserState::Starting),
            ("ready", BrowserState::Ready),
            ("backing_off", BrowserState::BackingOff),
        ] {
            metrics::browsers(name, view.browsers.iter().filter(|browser| browser.state == state).count());
        }
        for (name, state) in
            [("starting", WorkerState::Starting), ("loading", WorkerState::Loading), ("ready", WorkerState::Ready)]
        {
            metrics::workers(name, self.workers.values().filter(|worker| worker.state == state).count());
        }
        self.view.send_replace(Arc::new(view));
    }

    /// Measures the memory of all browsers.
    pub(super) async fn measure(&mut self) {
        for (index, place) in self.places.iter_mut().enumerate() {
            let pid = place.browser.as_ref().map_or(0, |(running, _)| running.info.pid);
            if pid != 0 {
                let measured = tokio::task::spawn_blocking(move || browser::tree_memory(pid)).await;
                place.memory = measured.unwrap_or_default();
            }
            metrics::browser_memory(index, place.memory.bytes);
        }
    }

    fn view_browsers(&self) -> Vec<BrowserView> {
        let browser = |(index, place): (usize, &Place)| {
            let id = BrowserId { place: index, epoch: place.slot.epoch() };
            let state = match place.slot.state() {
                State::Starting => BrowserState::Starting,
                // It is about to be.
                State::BackingOff { .. } if place.slot.epoch() == 0 => BrowserState::Starting,
                State::Ready(_) => BrowserState::Ready,
                State::BackingOff { .. } => BrowserState::BackingOff,
            };
            let workers = self.workers.iter().filter(|(_, worker)| worker.browser == id).map(|(id, worker)| {
                let (id, model, replica) = (id.clone(), worker.model.clone(), worker.replica.clone());
                let state = if worker.leaving { WorkerState::Leaving } else { worker.state };
                WorkerView { id, model, state, replica }
            });
            BrowserView {
                id: id.to_string(),
                info: place.browser.as_ref().map_or_else(Info::default, |(running, _)| running.info.clone()),
                state,
                duty: place.duty,
                reason: Self::reason(place),
                log: place.log.clone(),
                memory: place.memory,
                restarts: place.slot.epoch().saturating_sub(1),
                workers: workers.collect(),
            }
        };
        let on = self.places.iter().enumerate().filter(|(_, place)| place.duty != Duty::Off);
        on.map(browser).collect()
    }

    fn view_breakers(&self) -> Vec<BreakerView> {
        let now = Instant::now();
        let view = |((browser, backend, model), breaker): (&Circuit, &Breaker)| BreakerView {
            browser: browser.clone(),
            backend: *backend,
            model: model.clone(),
            state: breaker.state(now),
            again: breaker.again(now).map_or(Duration::ZERO, |again| again - now),
        };
        let open = self.breakers.iter().filter(|(_, breaker)| breaker.state(now) != breaker::State::Closed);
        open.map(view).collect()
    }

    fn view_models(&self) -> BTreeMap<Arc<str>, ModelStatus> {
        let sleeps = self.scale.wanted() == 0;
        let status = |(id, kept): (&Arc<str>, &Kept)| (id.clone(), kept.status(self.ready_replicas(id), sleeps));
        self.models.iter().map(status).collect()
    }
}
