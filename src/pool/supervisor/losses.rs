//! Losses: workers that are lost or could not be loaded, and what follows for their models.

use std::{sync::Arc, time::Instant};

use super::{Circuit, Place, Supervisor};
use crate::{
    bridge::FailureKind,
    execution::Backend,
    loss::{Cause, Loss},
    metrics,
    pool::{
        kept::Verdict,
        roster::Duty,
        tasks::{BrowserId, WorkerEnd},
    },
};

impl Supervisor {
    pub(super) async fn lose_worker(&mut self, id: &Arc<str>, end: WorkerEnd) {
        let Some(worker) = self.end_worker(id).await else { return };
        let (model, circuit) = (worker.model, worker.circuit);
        let (product, backend, _) = &circuit;
        let end = match end {
            // A browser where it serves on that backend has it: this is a fault like others.
            WorkerEnd::LoadFailed(FailureKind::NoBackend, reason) if self.runs_on(*backend, worker.browser) => {
                WorkerEnd::Lost(Loss::new(Cause::Failed, reason))
            }
            // The last of the list is tried again when its breaker lets it; it serves only if it then answers rightly.
            WorkerEnd::Wrong(reason) if worker.replica.is_none() && self.is_last(&model, *backend) => {
                WorkerEnd::Lost(Loss::new(Cause::WrongAnswers, reason))
            }
            end => end,
        };
        let cause = match &end {
            WorkerEnd::Lost(loss) | WorkerEnd::NoPage(loss) => loss.cause,
            WorkerEnd::LoadFailed(..) => Cause::Failed,
            WorkerEnd::Wrong(_) => Cause::WrongAnswers,
        };
        metrics::worker_ended(cause);
        if worker.replica.is_none() {
            metrics::load_failed(&model, cause);
        }
        let obstacle = match &end {
            WorkerEnd::LoadFailed(FailureKind::NoBackend, _) => "no_backend",
            WorkerEnd::LoadFailed(FailureKind::OutOfMemory, _) => Cause::OutOfMemory.name(),
            _ => cause.name(),
        };
        let ready = self.ready_replicas(&model);
        let loss = match &end {
            WorkerEnd::Lost(loss) => Some(loss.clone()),
            WorkerEnd::LoadFailed(kind, message) if ready > 0 && *kind != FailureKind::NoBackend => {
                Some(Loss::new(Cause::Failed, message.clone()))
            }
            WorkerEnd::LoadFailed(..) | WorkerEnd::Wrong(_) | WorkerEnd::NoPage(_) => None,
        };
        match &end {
            WorkerEnd::LoadFailed(FailureKind::NoBackend, reason) => {
                if let Some(place) = self.places.get_mut(worker.browser.place) {
                    place.lacks.insert(*backend, explain(place, *backend, reason));
                }
            }
            WorkerEnd::Wrong(reason) => {
                tracing::error!(worker = %id, %model, browser = product, backend = backend.name(), "quarantined: {reason}");
                if let Some(kept) = self.models.get_mut(&model) {
                    kept.is_unfit(product, *backend, reason.clone());
                }
            }
            WorkerEnd::LoadFailed(_, message) if ready == 0 => {
                if let Some(kept) = self.models.get_mut(&model) {
                    kept.is_unfit(product, *backend, message.clone());
                }
            }
            _ => {}
        }
        let hopeless = self.models.get(&model).and_then(|kept| self.is_hopeless(kept));
        let hopeless = hopeless.filter(|reasons| !reasons.is_empty());
        if let Some(kept) = self.models.get_mut(&model) {
            match kept.lost(end, worker.replica.is_none(), ready, hopeless) {
                Verdict::Again(loss) => tracing::warn!(worker = %id, %model, cause = cause.name(), "lost: {loss}"),
                Verdict::FallBack(reason) => {
                    let backend = backend.name();
                    tracing::warn!(worker = %id, %model, browser = product, backend, "not to be had: {reason}");
                    metrics::fell_back(&model, backend, obstacle);
                }
                Verdict::GiveUp(message) => tracing::error!(worker = %id, %model, "could not be loaded: {message}"),
            }
        }
        let Some(loss) = loss else { return };
        // One that has answered has shown that it can.
        if worker.replica.is_none_or(|replica| replica.batches_run() == 0) {
            match self.places.get_mut(worker.browser.place) {
                // Whether its browser was killed is known only when all of it is gone.
                Some(place) if place.has_lost(worker.browser) => place.suspects.push(circuit),
                _ => self.load_failed(&circuit, &loss),
            }
        }
        // The browser's other devices went along, and it counts the losses against the page.
        if loss.cause == Cause::GpuLost {
            Box::pin(self.lose_browser(worker.browser, loss)).await;
        }
    }

    /// Whether no backend comes after this one in the list of those that a model may run on.
    fn is_last(&self, model: &Arc<str>, backend: Backend) -> bool {
        self.models.get(model).is_some_and(|kept| kept.model.spec.allowed().last() == Some(&backend))
    }

    /// Whether a browser has a replica on a backend.
    fn runs_on(&self, backend: Backend, browser: BrowserId) -> bool {
        let here = self.workers.values().filter(|worker| worker.browser == browser);
        here.filter_map(|worker| worker.replica.as_ref()).any(|replica| replica.runtime.backend_used == backend)
    }

    /// A worker never came to answer. That is held against its model, unless it was killed.
    pub(super) fn load_failed(&mut self, circuit: &Circuit, loss: &Loss) {
        if loss.cause.is_from_outside() {
            return;
        }
        let (now, model) = (Instant::now(), &circuit.2);
        let Some(breaker) = self.breakers.get_mut(circuit) else { return };
        breaker.fail(now, matches!(loss.cause, Cause::WrongAnswers | Cause::Failed | Cause::OutOfMemory));
        let Some(retry) = breaker.again(now).map(|again| again - now) else { return };
        tracing::error!(%model, cause = loss.cause.name(), ?retry, "its workers are lost again and again: {loss}");
        let (browser, backend, _) = circuit;
        // The last one of the list is tried again when its breaker lets it.
        let is_last = self.is_last(model, *backend);
        let Some(kept) = self.models.get_mut(model) else { return };
        if !is_last {
            kept.is_unfit(browser, *backend, format!("its workers are lost again and again: {loss}"));
            metrics::fell_back(model, backend.name(), loss.cause.name());
            return;
        }
        let others = self.places.iter().enumerate().filter(|(_, place)| place.duty == Duty::Serving);
        let Some(kept) = self.models.get(model) else { return };
        let can = |(index, place): (usize, &Place)| {
            let product = place.browser.as_ref().map(|(running, _)| &running.info.product);
            let choice = self.choose(kept, index);
            product.zip(choice.ok()).is_some_and(|(product, choice)| !self.is_blocked(product, choice.backend, model))
        };
        // Another kind of browser may do better.
        if !others.into_iter().any(can) {
            kept.blocked(loss, retry);
        }
    }
}

/// Why the browser of a place lacks a backend, with what its version has to do with it.
fn explain(place: &Place, backend: Backend, reason: &str) -> String {
    let hint = place.browser.as_ref().and_then(|(running, _)| running.info.is_too_old_for(backend));
    hint.map_or_else(|| reason.to_owned(), |hint| format!("{reason}; {hint}"))
}
