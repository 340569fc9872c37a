//! Kept: a model that is kept loaded, how far its load is, and when the load is given up.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use super::{
    placement::Demand,
    tasks::WorkerEnd,
    view::{LoadStatus, ModelStatus, Phase},
};
use crate::{
    bridge::{FailureKind, Progress},
    error::Error,
    models::Model,
};

/// Workers that may be lost while loading, in a row, before the load is given up.
const LOAD_ATTEMPTS: u32 = 3;

/// What became of a load after a worker of it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another worker is to try.
    Again(Arc<str>),
    /// Another worker is to try, on WASM.
    FallBack(String),
    /// No other worker would do better.
    GiveUp(String),
}

/// A model that is kept loaded.
#[derive(Debug)]
pub struct Kept {
    /// The model.
    pub model: Arc<Model>,
    /// Why it runs on WASM instead of the backend that was asked for, if so.
    pub fallback: Option<String>,
    status: watch::Sender<LoadStatus>,
    lost_in_a_row: u32,
    given_up: bool,
}

impl Kept {
    /// A model that is to be loaded from now on.
    pub fn new(model: Arc<Model>) -> Self {
        let replicas = model.spec.replicas;
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
        Self { model, fallback: None, status: watch::channel(status).0, lost_in_a_row: 0, given_up: false }
    }

    /// A way to follow the load. One that failed begins anew.
    pub fn follow(&mut self) -> watch::Receiver<LoadStatus> {
        if self.status.borrow().error.is_some() {
            (self.given_up, self.lost_in_a_row) = (false, 0);
            self.status.send_modify(|status| {
                (status.error, status.phase, status.begun) = (None, Phase::Prepare, Instant::now());
            });
        }
        self.status.subscribe()
    }

    /// The replicas that it lacks; none once it is given up.
    pub fn demand(&self, ready: usize, coming: usize) -> Demand {
        let wanted = if self.given_up { 0 } else { self.model.spec.replicas as usize };
        Demand { wanted, ready, coming }
    }

    /// Whether it serves.
    pub fn status(&self, ready: u32) -> ModelStatus {
        match (ready, self.status.borrow().error.clone()) {
            (0, None) => ModelStatus::Loading,
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
        self.lost_in_a_row = 0;
        self.status.send_modify(|status| {
            (status.ready, status.error) = (ready, None);
            status.loaded_bytes = self.loaded(ready, reading);
            status.phase = if ready >= status.replicas { Phase::Ready } else { Phase::Prepare };
        });
    }

    /// A worker of it has ended; `ready` serve now. Returns what to do.
    pub fn lost(&mut self, end: WorkerEnd, was_loading: bool, ready: u32) -> Verdict {
        let verdict = self.judge(end, was_loading);
        match &verdict {
            Verdict::Again(_) if !was_loading => self.given_up = false,
            Verdict::Again(_) => {}
            Verdict::FallBack(reason) => self.fallback = Some(reason.clone()),
            Verdict::GiveUp(_) => self.given_up = true,
        }
        self.status.send_modify(|status| {
            (status.ready, status.phase) = (ready, Phase::Prepare);
            status.loaded_bytes = self.loaded(ready, 0);
            status.error = match &verdict {
                Verdict::GiveUp(message) => {
                    Some(Error::LoadFailed { id: self.model.spec.id.to_string(), message: message.clone() })
                }
                Verdict::Again(_) | Verdict::FallBack(_) => None,
            };
        });
        verdict
    }

    /// No browser is there. The model stays wanted: one that comes up later loads it.
    pub fn no_browser(&self, reason: &str) {
        self.status.send_modify(|status| status.error = Some(Error::NoBrowser { reason: reason.to_owned() }));
    }

    /// It was unloaded: whoever follows the load learns of it.
    pub fn let_go(self) {
        let id = self.model.spec.id.to_string();
        self.status.send_modify(|status| status.error = Some(Error::ModelNotLoaded { id }));
    }

    fn judge(&mut self, end: WorkerEnd, was_loading: bool) -> Verdict {
        match end {
            WorkerEnd::Lost(reason) => {
                self.lost_in_a_row += u32::from(was_loading);
                if self.lost_in_a_row < LOAD_ATTEMPTS {
                    return Verdict::Again(reason);
                }
                Verdict::GiveUp(format!("{LOAD_ATTEMPTS} workers in a row were lost while loading it: {reason}"))
            }
            WorkerEnd::LoadFailed(FailureKind::NoBackend, reason)
                if self.model.spec.allow_fallback && self.fallback.is_none() =>
            {
                Verdict::FallBack(reason)
            }
            WorkerEnd::LoadFailed(_, message) => Verdict::GiveUp(message),
        }
    }

    fn loaded(&self, ready: u32, reading: u64) -> u64 {
        let total = self.model.bytes() * u64::from(self.model.spec.replicas);
        (self.model.bytes() * u64::from(ready) + reading).min(total)
    }
}
