//! Primes: what browsers compile of the page is kept, made by a browser that is started for that alone.

use super::{Supervisor, balance::IDLE};
use crate::{
    execution::Backend,
    models::Model,
    pool::{
        prime::{self, Prime},
        tasks::{Happened, send},
    },
};

/// Memory of a replica that is loaded once more for its kernels, beside what models may take.
const MOST_BYTES: u64 = 1 << 30;
/// Letters of a model's hash that are in a name.
const LETTERS: usize = 16;

impl Supervisor {
    /// Has what is not kept yet made, for the browsers and backends that serve. One at a time, once, and while there is
    /// nothing else to do: it takes from what serves.
    pub(super) fn prime(&mut self) {
        if !self.settings.primes {
            return;
        }
        let loads = self.workers.values().any(|worker| worker.replica.is_none());
        if self.priming || self.trying || loads || self.models.values().any(|kept| kept.demand >= IDLE) {
            return;
        }
        let Some(prime) = self.next_prime() else { return };
        tracing::info!(mark = prime.mark, "a browser is started for what it compiles, which is kept");
        self.priming = true;
        let (tell, mark) = (self.tell.clone(), prime.mark.clone());
        self.tasks.spawn(async move {
            let made = prime::prime(prime).await;
            send(&tell, Happened::Primed(mark, made)).await;
        });
    }

    fn next_prime(&mut self) -> Option<Prime> {
        for worker in self.workers.values().filter(|worker| worker.replica.is_some()) {
            let index = worker.browser.place;
            let running = self.places.get(index).and_then(|place| place.browser.as_ref()).map(|(running, _)| running);
            let Some((info, caches)) =
                running.and_then(|running| running.info.caches.as_ref().map(|caches| (&running.info, caches)))
            else {
                continue;
            };
            let backend = worker.circuit.1;
            let Some(kept) = self.models.get(&worker.model) else { continue };
            let mark = mark(&info.name(), backend, &kept.model);
            // One that fails would do so again.
            if !self.primed.insert(mark.clone()) || caches.has(&mark) {
                continue;
            }
            let driver = self.drivers.get(index % self.drivers.len().max(1))?;
            let (driver, model, ground) = (driver.clone(), kept.model.clone(), self.ground.clone());
            return Some(Prime { driver, ground, model, backend, mark });
        }
        None
    }

    pub(super) fn primed(&mut self, mark: &str, made: Result<(), String>) {
        self.priming = false;
        match made {
            Ok(()) => tracing::info!(mark, "kept: the next browser starts with it"),
            Err(reason) => tracing::warn!(mark, "nothing is kept of what the browser compiled: {reason}"),
        }
    }
}

/// What a browser has that has loaded a model on a backend: the runtime's code, which is the same for all models, and on WebGPU
/// the kernels of that model, if it is not too large to be loaded for them.
fn mark(browser: &str, backend: Backend, model: &Model) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let has_kernels = backend == Backend::WebGpu && model.replica_bytes() <= MOST_BYTES;
    let kernels = model.known_sha256().filter(|_| has_kernels).and_then(|sha256| sha256.get(..LETTERS));
    format!("{browser} {} {}", backend.name(), kernels.unwrap_or_default()).trim_end().chars().map(plain).collect()
}
