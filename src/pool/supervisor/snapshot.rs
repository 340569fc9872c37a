//! Snapshot: the view that others get of the supervisor's state, and its gauges.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Circuit, Place, Supervisor};
use crate::{
    browser::{self, Info},
    metrics::Counts,
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
    pub(super) fn publish(&mut self) {
        let bounds = self.scale.bounds();
        let view = View {
            browsers: self.view_browsers(),
            models: self.view_models(),
            breakers: self.view_breakers(),
            wanted: self.scale.wanted(),
            bounds: (bounds.least, bounds.most),
        };
        let counts = self.count(&view);
        self.gauges.show(counts);
        self.view.send_replace(Arc::new(view));
    }

    fn count(&self, view: &View) -> Counts {
        let mut counts = Counts::default();
        let on = || self.places.iter().filter(|place| place.duty != Duty::Off);
        for (browser, place) in view.browsers.iter().zip(on()) {
            counts.browser(&browser.info.product, browser.state.name(), Self::short_reason(place));
            browser.workers.iter().for_each(|worker| counts.worker(&worker.model, worker.state.name()));
        }
        for (index, place) in self.places.iter().enumerate() {
            if let Some((running, page)) = &place.browser {
                counts.memory(index, &running.info.product, place.memory.bytes, page.js_heap_bytes());
            }
        }
        counts.duties(view.wanted, on().filter(|place| place.duty == Duty::Spare).count());
        let replicas = self.workers.values().filter_map(|worker| worker.replica.as_ref());
        replicas.for_each(|replica| counts.replica(&replica.runtime));
        for ((id, status), kept) in view.models.iter().zip(self.models.values()) {
            counts.model(id, status.name(), kept.wanted());
        }
        for BreakerView { browser, backend, model, state, .. } in &view.breakers {
            counts.breaker(browser, backend.name(), model, state.name());
        }
        counts
    }

    /// Measures the memory of all browsers.
    pub(super) async fn measure(&mut self) {
        for place in &mut self.places {
            let pid = place.browser.as_ref().map_or(0, |(running, _)| running.info.pid);
            if pid != 0 {
                let measured = tokio::task::spawn_blocking(move || browser::tree_memory(pid)).await;
                place.memory = measured.unwrap_or_default();
            }
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
