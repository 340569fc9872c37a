//! Explain: what is known of the backends that a model may run on, for those who ask where its requests go.

use std::time::{Duration, SystemTime};

use super::costs::{Measured, Shot};
use crate::execution::Backend;

/// A backend in a browser.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Id of the browser.
    pub browser_id: String,
    /// Name and version of the browser.
    pub browser: String,
    /// Which.
    pub backend: Backend,
    /// Whether replicas go there.
    pub chosen: bool,
    /// Why it cannot be used, or why another one is; empty where nothing speaks against it.
    pub reason: String,
    /// What its runs cost.
    pub costs: Vec<Figure>,
    /// Ids of the workers that serve there.
    pub workers: Vec<String>,
}

/// What runs of one shape cost.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What was measured.
    pub shot: Shot,
    /// How long ago.
    pub age: Duration,
}

impl Figure {
    /// What was measured, as of now.
    pub fn of(measured: Measured, now: SystemTime) -> Self {
        Self { shot: measured.shot, age: now.duration_since(measured.at).unwrap_or_default() }
    }
}
