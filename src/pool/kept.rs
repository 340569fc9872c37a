//! Kept: a model that is kept loaded, how far its load is, and when the load is given up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    choice::{self, Choice},
    costs::Costs,
    tasks::WorkerEnd,
    view::{LoadStatus, ModelStatus, Phase},
};
use crate::{
    bridge::{FailureKind, Progress},
    browser::Info,
    error::Error,
    execution::{Backend, Runtime},
    loss::{Cause, Loss},
    models::Model,
};

/// What became of a load after a worker of it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another worker is to try.
    Again(Loss),
    /// Another worker is to try, on another backend.
    FallBack(String),
    /// No other worker would do better.
    GiveUp(String),
}

/// A model that is kept loaded.
#[derive(Debug)]
pub struct Kept {
    /// The model.
    pub model: Arc<Model>,
    /// Where it could not be run, by kind of browser and backend, and why.
    unfit: BTreeMap<(String, Backend), String>,
    /// Where the runtime put the graph's nodes, by browser with its version, and backend.
    placements: BTreeMap<(String, Backend), Vec<(String, u32)>>,
    /// What its runs cost, by browser with its version.
    pub costs: Costs,
    /// The backends that were tried out, by browser with its version, whatever came of that.
    pub tried: BTreeSet<(String, Backend)>,
    /// Whether it has no replica because others needed the memory. It wakes when it is asked for.
    pub asleep: bool,
    /// Whether requests wait for it.
    pub awaited: bool,
    /// When work for it was last there.
    pub used: Instant,
    /// Replicas that its work keeps busy, as a mean over the last seconds.
    pub demand: f64,
    /// Replicas that it should have now.
    wanted: u32,
    status: watch::Sender<LoadStatus>,
    given_up: bool,
    /// Whether that is because no browser has its backends: one that comes up later may.
    lacking: bool,
}

impl Kept {
    /// A model that is to be loaded from now on.
    pub fn new(model: Arc<Model>) -> Self {
        let replicas = model.spec.least_replicas;
        let status = LoadStatus {
            phase: Phase::Prepare,
            file: String::new(),
            loaded_bytes: 0,
            total_bytes: model.bytes() * u64::from(replicas),
            ready: 0,
            replicas,
            begun: Instant::now(),
            error: None,
        };
        Self {
            model,
            unfit: BTreeMap::new(),
            placements: BTreeMap::new(),
            costs: Costs::default(),
            tried: BTreeSet::new(),
            asleep: false,
            awaited: false,
            used: Instant::now(),
            demand: 0.0,
            wanted: replicas,
            status: watch::channel(status).0,
            given_up: false,
            lacking: false,
        }
    }

    /// Whether the last load failed.
    pub fn has_failed(&self) -> bool {
        self.status.borrow().error.is_some()
    }

    /// A way to follow the load. One that failed or sleeps begins anew.
    pub fn follow(&mut self) -> watch::Receiver<LoadStatus> {
        if self.has_failed() || self.asleep {
            // Who wakes it asks at once.
            self.awaited |= self.asleep;
            (self.asleep, self.used) = (false, Instant::now());
            self.given_up = false;
            self.unfit.clear();
            self.status.send_modify(|status| {
                (status.error, status.phase, status.begun) = (None, Phase::Prepare, Instant::now());
            });
        } else {
            // Whoever asks for what is loaded has not waited for it.
            self.status.send_if_modified(|status| {
                let done = status.phase == Phase::Ready;
                if done {
                    status.begun = Instant::now();
                }
                done
            });
        }
        self.status.subscribe()
    }

    /// Replicas that it should have; none once it is given up.
    pub fn wanted(&self) -> usize {
        if self.is_wanted() { self.wanted as usize } else { 0 }
    }

    /// It cannot be run by a kind of browser on a backend.
    pub fn is_unfit(&mut self, browser: &str, backend: Backend, reason: String) {
        self.unfit.insert((browser.to_owned(), backend), reason);
    }

    /// Where the runtime puts the graph's nodes on a backend of a browser, once that is known.
    pub fn placements(&self, browser: &Info, backend: Backend) -> Option<Vec<(String, u32)>> {
        self.placements.get(&(browser.name(), backend)).cloned()
    }

    /// A replica has come up, and tells where they are.
    pub fn note_placements(&mut self, browser: &Info, runtime: &Runtime) {
        self.placements.insert((browser.name(), runtime.backend_used), runtime.node_placements.clone());
    }

    /// The backend for a replica in a browser that `lacks` some. The error tells why there is none.
    pub fn choose(&self, browser: &Info, lacks: &BTreeMap<Backend, String>) -> Result<Choice, String> {
        if let Some(reason) = self.elsewhere(browser) {
            return Err(reason);
        }
        let obstacle = |backend| self.obstacle(browser, backend, lacks);
        let (name, now) = (browser.name(), SystemTime::now());
        let ratio = |one, other| self.costs.ratio((&name, one), (&name, other), now);
        choice::choose(self.model.spec.allowed(), obstacle, ratio)
    }

    /// Why a backend cannot be used in a browser that `lacks` some, as far as is known.
    pub fn obstacle(&self, browser: &Info, backend: Backend, lacks: &BTreeMap<Backend, String>) -> Option<String> {
        let unfit = || self.unfit.get(&(browser.product.clone(), backend));
        self.elsewhere(browser).or_else(|| lacks.get(&backend).or_else(unfit).cloned())
    }

    /// Why the registration does not want a browser, whatever that can do. One that only starts may be what it wants.
    fn elsewhere(&self, browser: &Info) -> Option<String> {
        let wanted = &self.model.spec.browser;
        let may = wanted.is_empty() || browser.product.is_empty() || browser.is_of(wanted);
        (!may).then(|| format!("{} is not {wanted}, which the registration names", browser.name()))
    }

    /// Whether it is to have replicas.
    pub fn is_wanted(&self) -> bool {
        !self.given_up && !self.asleep
    }

    /// It should have so many replicas from now on; `ready` serve.
    pub fn want(&mut self, wanted: u32, ready: u32) {
        if wanted != self.wanted {
            self.wanted = wanted;
            self.status.send_modify(|status| {
                (status.replicas, status.total_bytes) = (wanted, self.model.bytes() * u64::from(wanted));
                status.loaded_bytes = status.loaded_bytes.min(status.total_bytes);
                status.phase = phase(ready, wanted);
            });
        }
    }

    /// It is given up: no worker could load it. `lacking` where that is because no browser has its backends.
    pub fn give_up(&mut self, message: String, lacking: bool) {
        (self.given_up, self.lacking) = (true, lacking);
        self.fail(Error::LoadFailed { id: self.model.spec.id.to_string(), message });
    }

    /// Another browser has come up, and may have what the others lack.
    pub fn hope(&mut self) {
        if self.given_up && self.lacking {
            self.follow();
        }
    }

    /// The load has failed. Answers are placeholders from now on, where the registration allows it.
    fn fail(&self, error: Error) {
        self.status.send_modify(|status| {
            status.error = Some(error);
            if self.model.placeholder.is_some() && status.ready == 0 {
                status.phase = Phase::Simulated;
            }
        });
    }

    /// So many of its replicas serve now.
    pub fn serves(&self, ready: u32) {
        self.status.send_if_modified(|status| {
            let changed = status.ready != ready;
            status.ready = ready;
            if phase(ready, self.wanted) == Phase::Ready {
                status.phase = Phase::Ready;
            } else if status.phase == Phase::Ready {
                status.phase = Phase::Prepare;
            }
            changed
        });
    }

    /// Whether no replica of it serves.
    pub fn is_unserved(&self) -> bool {
        self.status.borrow().ready == 0
    }

    /// Whether it serves; `sleeps` where the whole pool does.
    pub fn status(&self, ready: u32, sleeps: bool) -> ModelStatus {
        match (ready, self.status.borrow().error.clone()) {
            // What failed then may go well now; a load that cannot go well would not.
            (0, Some(_)) if sleeps && !self.given_up => ModelStatus::Asleep,
            (0, None) if self.asleep || sleeps => ModelStatus::Asleep,
            (0, None) => ModelStatus::Loading,
            (0, Some(error)) if self.model.placeholder.is_some() => ModelStatus::Simulated(error),
            (0, Some(error)) => ModelStatus::Failed(error),
            (ready, _) => ModelStatus::Ready(ready),
        }
    }

    /// A worker goes on loading; all that load now have read `reading` bytes.
    pub fn progressed(&self, progress: Progress, reading: u64) {
        self.status.send_modify(|status| {
            status.loaded_bytes = self.loaded(status.ready, reading);
            status.phase = match progress {
                Progress::Files(file, _) => {
                    status.file = file;
                    Phase::Files
                }
                Progress::Compile => Phase::Compile,
                Progress::WarmUp => Phase::WarmUp,
            };
        });
    }

    /// A replica has come up; `ready` of them serve now, and those that still load have read `reading` bytes.
    pub fn gained(&mut self, ready: u32, reading: u64) {
        self.status.send_modify(|status| {
            (status.ready, status.error) = (ready, None);
            status.loaded_bytes = self.loaded(ready, reading);
            status.phase = phase(ready, status.replicas);
        });
    }

    /// A worker of it has ended; `ready` serve now. Where none could be loaded any more, `hopeless` tells why. Returns what
    /// to do.
    pub fn lost(&mut self, end: WorkerEnd, was_loading: bool, ready: u32, hopeless: Option<String>) -> Verdict {
        let lacking = matches!(end, WorkerEnd::LoadFailed(FailureKind::NoBackend, _));
        let verdict = match (end, hopeless) {
            // Where others serve, it can be loaded.
            (WorkerEnd::LoadFailed(kind, message), _) if ready > 0 && kind != FailureKind::NoBackend => {
                Verdict::Again(Loss::new(Cause::Failed, message))
            }
            (WorkerEnd::LoadFailed(..) | WorkerEnd::Wrong(_), Some(reasons)) if ready == 0 => Verdict::GiveUp(reasons),
            (WorkerEnd::LoadFailed(_, reason) | WorkerEnd::Wrong(reason), _) => Verdict::FallBack(reason),
            (WorkerEnd::Lost(loss) | WorkerEnd::NoPage(loss), _) => Verdict::Again(loss),
        };
        match &verdict {
            Verdict::Again(_) if !was_loading => self.given_up = false,
            Verdict::Again(_) | Verdict::FallBack(_) | Verdict::GiveUp(_) => {}
        }
        self.status.send_modify(|status| {
            (status.ready, status.phase) = (ready, Phase::Prepare);
            status.loaded_bytes = self.loaded(ready, 0);
            match &verdict {
                // While its breaker is open, one try more that fails changes nothing.
                Verdict::Again(_) if matches!(status.error, Some(Error::CircuitOpen { .. })) => {}
                Verdict::Again(_) | Verdict::FallBack(_) => status.error = None,
                Verdict::GiveUp(_) => {}
            }
        });
        if let Verdict::GiveUp(message) = &verdict {
            self.give_up(message.clone(), lacking);
        }
        verdict
    }

    /// A breaker of it is open for so long, and it can be run nowhere else.
    pub fn blocked(&self, loss: &Loss, retry_after: Duration) {
        let (id, reason) = (self.model.spec.id.to_string(), loss.to_string());
        self.fail(Error::CircuitOpen { id, reason, retry_after });
    }

    /// No browser is there. The model stays wanted: one that comes up later loads it.
    pub fn no_browser(&self, reason: &str) {
        self.fail(Error::NoBrowser { reason: reason.to_owned() });
    }

    /// It was unloaded: whoever follows the load learns of it.
    pub fn let_go(self) {
        let id = self.model.spec.id.to_string();
        self.status.send_modify(|status| status.error = Some(Error::ModelNotLoaded { id }));
    }

    fn loaded(&self, ready: u32, reading: u64) -> u64 {
        let total = self.model.bytes() * u64::from(self.wanted);
        (self.model.bytes() * u64::from(ready) + reading).min(total)
    }
}

fn phase(ready: u32, wanted: u32) -> Phase {
    if ready >= wanted { Phase::Ready } else { Phase::Prepare }
}
