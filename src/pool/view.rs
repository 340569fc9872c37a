//! View: the pool as others see it. A snapshot is never changed; a new one takes its place.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{breaker::State, lease::Replica, roster::Duty};
use crate::{
    browser::{Info, Log, Memory},
    error::Error,
    execution::Backend,
};

/// The pool at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The browsers, in the order of their places.
    pub browsers: Vec<BrowserView>,
    /// The models that are kept loaded.
    pub models: BTreeMap<Arc<str>, ModelStatus>,
    /// The circuit breakers that are not closed.
    pub breakers: Vec<BreakerView>,
    /// Browsers that should serve.
    pub wanted: usize,
    /// Fewest and most browsers that may.
    pub bounds: (usize, usize),
}

/// A circuit breaker that is not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerView {
    /// Product name of the browser.
    pub browser: String,
    /// Backend.
    pub backend: Backend,
    /// Id of the model.
    pub model: Arc<str>,
    /// Its state.
    pub state: State,
    /// Time until the next try.
    pub again: Duration,
}

/// One browser.
#[derive(Clone, Debug)]
pub struct BrowserView {
    /// Its id.
    pub id: String,
    /// What is known of it.
    pub info: Info,
    /// Its state.
    pub state: BrowserState,
    /// What it is for.
    pub duty: Duty,
    /// Why it is not ready, or not to stay.
    pub reason: Arc<str>,
    /// The last that was heard of it.
    pub log: Log,
    /// Memory of its process tree.
    pub memory: Memory,
    /// Browsers that this place had before.
    pub restarts: u32,
    /// Its workers, in the order of their ids.
    pub workers: Vec<WorkerView>,
}

/// Where a browser is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserState {
    /// Being started.
    Starting,
    /// Its page is linked.
    Ready,
    /// To be started again after a delay.
    BackingOff,
}

impl BrowserState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::BackingOff => "backing_off",
        }
    }
}

/// One worker.
#[derive(Clone, Debug)]
pub struct WorkerView {
    /// Its id.
    pub id: Arc<str>,
    /// Id of its model.
    pub model: Arc<str>,
    /// Its state.
    pub state: WorkerState,
    /// Its replica, once that serves.
    pub replica: Option<Arc<Replica>>,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It has not dialled back.
    Starting,
    /// It loads its replica.
    Loading,
    /// Its replica serves.
    Ready,
    /// Its place goes to another model, once it has run what it holds.
    Leaving,
}

impl WorkerState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Leaving => "leaving",
        }
    }
}

/// Whether a model serves.
#[derive(Clone, Debug)]
pub enum ModelStatus {
    /// On its way.
    Loading,
    /// It has no replica, because others needed the memory; it is loaded again when it is asked for.
    Asleep,
    /// So many replicas serve.
    Ready(u32),
    /// The load failed.
    Failed(Error),
    /// The load failed, and answers are placeholders.
    Simulated(Error),
}

impl ModelStatus {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Asleep => "asleep",
            Self::Ready(_) => "ready",
            Self::Failed(_) => "failed",
            Self::Simulated(_) => "simulated",
        }
    }
}

/// What a load is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Hashing, and waiting for a browser.
    Prepare,
    /// Reading the files.
    Files,
    /// Creating the session.
    Compile,
    /// The first run.
    WarmUp,
    /// All replicas serve.
    Ready,
    /// None could be loaded, and answers are placeholders.
    Simulated,
}

/// How far a load is.
#[derive(Clone, Debug)]
pub struct LoadStatus {
    /// What is being done.
    pub phase: Phase,
    /// File being read.
    pub file: String,
    /// Bytes read.
    pub loaded_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Replicas that serve.
    pub ready: u32,
    /// Replicas asked for.
    pub replicas: u32,
    /// When the load began.
    pub begun: Instant,
    /// Why it failed.
    pub error: Option<Error>,
}

impl View {
    /// Whether a model serves; `None` if it is not kept loaded.
    pub fn model(&self, id: &str) -> Option<&ModelStatus> {
        self.models.get(id)
    }
}
