//! Trial: a worker that comes up, is examined and ends, to find out how a model fares on a backend of a browser.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    costs::Shot,
    start::Start,
    tasks::{BrowserId, WorkerEnd},
    worker,
};
use crate::{
    bridge::FailureKind,
    browser::Info,
    execution::{Backend, Check, Hardware},
    knowledge::{self, Circumstance, Cost, VerdictRow},
};

/// What a trial found.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Where.
    pub browser: BrowserId,
    /// What is known of that browser.
    pub info: Info,
    /// Id of the model.
    pub model: Arc<str>,
    /// On what.
    pub backend: Backend,
    /// In which precision.
    pub dtype: String,
    /// Hash of the files in that precision; empty where they could not be read.
    pub model_sha256: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a trial.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It answers as the reference does, or there is nothing to ask it.
    Right(Box<Right>),
    /// It does not.
    Wrong(String),
    /// The browser lacks the backend.
    Lacking(String),
    /// It could not be loaded.
    Failed(String),
    /// Its worker or browser was lost; another try may go otherwise.
    Lost(String),
}

/// What is known of a replica that answers rightly.
#[derive(Clone, Debug)]
pub struct Right {
    /// How well its answers agree; `None` where there is nothing to ask.
    pub check: Option<Check>,
    /// What its runs cost.
    pub costs: Vec<Shot>,
    /// Time of its load.
    pub took: Duration,
    /// WebGPU adapter.
    pub adapter: String,
    /// What kind of hardware that is.
    pub hardware: Hardware,
    /// WASM threads.
    pub threads: u32,
}

/// Tries a backend out.
pub async fn try_out(start: Start, browser: BrowserId) -> Tried {
    let tried = start.once(async |up| {
        Ok(Right {
            check: up.findings.check.clone(),
            costs: up.findings.costs.clone(),
            took: up.took,
            hardware: worker::hardware(&up.loaded, &start.info),
            adapter: up.loaded.adapter.clone(),
            threads: up.loaded.threads,
        })
    });
    let verdict = match tried.await {
        Ok(right) => Verdict::Right(Box::new(right)),
        Err(WorkerEnd::Wrong(detail)) => Verdict::Wrong(detail),
        Err(WorkerEnd::LoadFailed(FailureKind::NoBackend, reason)) => Verdict::Lacking(reason),
        // There may be more memory at another time.
        Err(WorkerEnd::LoadFailed(FailureKind::OutOfMemory, reason)) => Verdict::Lost(reason),
        Err(WorkerEnd::LoadFailed(_, reason)) => Verdict::Failed(reason),
        Err(WorkerEnd::Lost(loss) | WorkerEnd::NoPage(loss)) => Verdict::Lost(loss.to_string()),
    };
    let spec = &start.model.spec;
    Tried {
        browser,
        info: start.info.clone(),
        model: spec.id.clone(),
        backend: start.backend,
        dtype: spec.dtypes.name(),
        model_sha256: start.model.known_sha256().unwrap_or_default().to_owned(),
        verdict,
    }
}

impl Tried {
    /// What is kept of it; nothing where another try may go otherwise.
    pub fn row(&self) -> Option<VerdictRow> {
        let right = match &self.verdict {
            Verdict::Right(right) => Some(right),
            _ => None,
        };
        let (verdict, reason) = match &self.verdict {
            Verdict::Right(_) => (knowledge::Verdict::Right, ""),
            Verdict::Wrong(reason) => (knowledge::Verdict::Wrong, reason.as_str()),
            Verdict::Lacking(reason) | Verdict::Failed(reason) => (knowledge::Verdict::Failed, reason.as_str()),
            Verdict::Lost(_) => return None,
        };
        let check = right.and_then(|right| right.check.as_ref());
        Some(VerdictRow {
            circumstance: self.circumstance(right.map(Box::as_ref)),
            verdict,
            agreement: check.map(|check| (check.measure.to_owned(), check.value, check.least)),
            reason: reason.to_owned(),
            load_ms: right.map_or(0, |right| u64::try_from(right.took.as_millis()).unwrap_or(u64::MAX)),
            measured: SystemTime::now(),
        })
    }

    /// What is kept of a cost that it found.
    pub fn cost(&self, right: &Right, shot: Shot, measured: SystemTime) -> Cost {
        let Shot { class, items, micros: micros_per_item, runs } = shot;
        Cost { circumstance: self.circumstance(Some(right)), class, items, micros_per_item, runs, measured }
    }

    fn circumstance(&self, right: Option<&Right>) -> Circumstance {
        Circumstance {
            model_sha256: self.model_sha256.clone(),
            browser: self.info.product.clone(),
            browser_version: self.info.version.clone(),
            backend: self.backend,
            dtype: self.dtype.clone(),
            adapter: right.map(|right| right.adapter.clone()).unwrap_or_default(),
            threads: right.map_or(0, |right| right.threads),
        }
    }
}
