//! Knowledge: what was measured of models on this machine, kept across restarts. It only ever saves time: where it cannot be
//! kept or read the service goes on without.
//!
//! One thread owns the database, since SQLite blocks. What is to be kept is handed to it and not waited for.

mod owner;
mod rows;
mod schema;
mod store;

use std::{path::PathBuf, time::SystemTime};

use prost::Message;
use tokio::sync::{mpsc, oneshot};

use crate::{
    execution::Backend,
    proto::v1::{InferResponse, ItemResult, item_result::Output},
};
use owner::Command;

/// Where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it is forgotten at the end.
    Memory,
    /// In a file, which other services may have open, too.
    File(PathBuf),
}

/// On what something was measured: all that makes a replica what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Circumstance {
    /// Hash of the model's files.
    pub model_sha256: String,
    /// Product name of the browser.
    pub browser: String,
    /// Full version of the browser.
    pub browser_version: String,
    /// Backend that ran.
    pub backend: Backend,
    /// transformers.js dtype.
    pub dtype: String,
    /// WebGPU adapter; empty on WASM.
    pub adapter: String,
    /// WASM threads; 0 on WebGPU.
    pub threads: u32,
}

/// What runs of a shape cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// On what.
    pub circumstance: Circumstance,
    /// Length class of the items.
    pub class: u8,
    /// Items of a run: a power of two.
    pub items: u32,
    /// Microseconds of each.
    pub micros_per_item: f64,
    /// Runs that were measured.
    pub runs: u32,
    /// When, last.
    pub measured: SystemTime,
}

/// What came of the probes of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its answers agreed with the reference.
    Right,
    /// They did not.
    Wrong,
    /// There were none.
    Failed,
}

/// How a replica did.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictRow {
    /// On what.
    pub circumstance: Circumstance,
    /// Whether it was right.
    pub verdict: Verdict,
    /// What was measured of its answers, in words; how much it was, and what it had to be at least. `None` where nothing was.
    pub agreement: Option<(String, f64, f64)>,
    /// Why it was not right; empty where it was.
    pub reason: String,
    /// Milliseconds that its load took.
    pub load_ms: u64,
    /// When.
    pub measured: SystemTime,
}

/// What waits for the thread. Beyond that what is to be kept is dropped: it comes again.
const WAITING: usize = 256;
/// Largest set of answers that is kept.
const LARGEST_REFERENCE: usize = 4 * 1024 * 1024;
/// Longest text of a row; of a reason, more is cut off.
const LONGEST_TEXT: usize = 1024;

/// A handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Knowledge {
    commands: mpsc::Sender<Command>,
}

impl Knowledge {
    /// Opens what is known. It does not fail: what is wrong with a file is a warning, and nothing is known then.
    pub fn open(place: Place) -> Self {
        let (commands, receiver) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name("knowledge".into());
        if let Err(error) = thread.spawn(move || owner::run(&place, receiver)) {
            tracing::warn!(%error, "there is no thread for what is measured: nothing of it is kept");
        }
        Self { commands }
    }

    /// The answers of a reference to the probes, in their order.
    pub async fn reference(&self, key: &str) -> Option<Vec<Output>> {
        let key = key.to_owned();
        let encoded = self.ask(|reply| Command::Reference { key, reply }).await??;
        let results = InferResponse::decode(encoded.as_slice()).ok()?.results;
        results.into_iter().map(|result| result.output).collect()
    }

    /// Keeps the answers of a reference.
    pub fn keep_reference(&self, key: String, answers: &[Output]) {
        let results = answers.iter().map(|answer| ItemResult { output: Some(answer.clone()), execution: 0 });
        let answers = InferResponse { results: results.collect(), executions: Vec::new() };
        if answers.encoded_len() <= LARGEST_REFERENCE && key.len() <= LONGEST_TEXT {
            self.tell(Command::KeepReference { key, answers: answers.encode_to_vec(), now: SystemTime::now() });
        }
    }

    /// Forgets the references whose keys begin so.
    pub fn forget_references(&self, prefix: &str) {
        self.tell(Command::ForgetReferences { prefix: prefix.to_owned() });
    }

    /// What runs of a model cost, wherever.
    pub async fn costs(&self, model_sha256: &str) -> Vec<Cost> {
        let model = model_sha256.to_owned();
        self.ask(|reply| Command::Costs { model, reply }).await.unwrap_or_default()
    }

    /// Keeps what runs of a shape cost, in place of what was kept of them before.
    pub fn keep_cost(&self, cost: Cost) {
        if cost.micros_per_item.is_finite() && cost.circumstance.is_short() {
            self.tell(Command::KeepCost(cost));
        }
    }

    /// How replicas of a model did, wherever.
    pub async fn verdicts(&self, model_sha256: &str) -> Vec<VerdictRow> {
        let model = model_sha256.to_owned();
        self.ask(|reply| Command::Verdicts { model, reply }).await.unwrap_or_default()
    }

    /// Keeps how a replica did, in place of what was kept of such replicas before.
    pub fn keep_verdict(&self, mut row: VerdictRow) {
        row.reason = row.reason.chars().take(LONGEST_TEXT).collect();
        if row.circumstance.is_short() {
            self.tell(Command::KeepVerdict(row));
        }
    }

    /// Returns once all that was handed over before is kept.
    pub async fn flush(&self) {
        self.ask(|reply| Command::Flush { reply }).await;
    }

    fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::debug!("what was measured is not kept: too much of it waits");
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Circumstance {
    fn is_short(&self) -> bool {
        let texts = [&self.model_sha256, &self.browser, &self.browser_version, &self.dtype, &self.adapter];
        texts.iter().all(|text| text.len() <= LONGEST_TEXT)
    }
}

#[cfg(test)]
mod tests;
