//! Rows: what was found of one cell, round by round.

use serde::{Deserialize, Serialize};

use super::{Conditions, Hardware, Latencies};
use crate::plan::{Cell, Planned};

/// What was found of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which.
    pub cell: Cell,
    /// How it went.
    pub state: RowState,
    /// Under what. `None` until it is loaded.
    pub conditions: Option<Conditions>,
    /// Time from asking for the model until it was ready, in microseconds.
    pub load_us: Option<u64>,
    /// Time of the first request after that, the same.
    pub first_result_us: Option<u64>,
    /// How it became steady. `None` while it was not tried.
    pub warmed_up: Option<WarmedUp>,
    /// The rounds that are over, by index.
    pub rounds: Vec<Round>,
    /// Memory of the browser's process tree, the most that was seen.
    pub memory: Reading<Memory>,
    /// Memory of the GPU that the browser took, in bytes.
    pub gpu_memory: Reading<u64>,
    /// Energy that the machine took during the rounds, in joules.
    pub energy: Reading<f64>,
    /// How its answers agree with those in fp32. `None` where nothing was compared.
    pub agreement: Option<Agreement>,
}

/// How a row went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RowState {
    /// It is still to be measured, as far as rounds are missing.
    Pending,
    /// All of its rounds are there.
    Measured,
    /// It was not tried.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It could not be measured.
    Failed {
        /// Why.
        reason: String,
    },
    /// Its browser or worker was lost meanwhile.
    Lost {
        /// Why.
        reason: String,
    },
}

/// One round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Which of the row's rounds, from 0.
    pub index: u32,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// Time from its first request to its last answer, in seconds.
    pub seconds: f64,
    /// Items that were answered in it.
    pub items: u64,
    /// Requests that failed in it.
    pub failed: u64,
    /// Times of the requests that were answered.
    pub latencies: Latencies,
    /// Times of its batches by hop.
    pub hops: Hops,
}

/// Times of batches by hop, added up, in microseconds. What each covers is said in `execution.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hops {
    /// Batches.
    pub batches: u64,
    /// Admission to hand-over.
    pub queue_us: u64,
    /// Round trip less the time in the worker.
    pub bridge_us: u64,
    /// Tokenising and making tensors.
    pub preprocess_us: u64,
    /// The session's run.
    pub inference_us: u64,
    /// Pooling, normalising, cutting.
    pub postprocess_us: u64,
}

/// How a cell became steady.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmedUp {
    /// Requests that were sent for it.
    pub requests: u32,
    /// Of these, how many from the first on were not like the later ones.
    pub unlike: u32,
    /// Time that it took, in seconds.
    pub seconds: f64,
    /// Whether it became steady.
    pub steady: bool,
}

/// What was read, or why it could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// It.
    Read(T),
    /// Why it could not be read.
    Missing(String),
}

/// Memory of a process tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// How much.
    pub bytes: u64,
    /// What was counted, such as `PSS`.
    pub kind: String,
}

/// How answers agree with those in fp32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// What was measured, such as `cosine`.
    pub measure: String,
    /// Of the answer that agrees least; 1 for the same.
    pub value: f64,
    /// What it has to be at least.
    pub least: f64,
    /// What they were compared with, such as `wasm in fp32`.
    pub against: String,
}

impl std::ops::Add for Hops {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            batches: self.batches.saturating_add(other.batches),
            queue_us: self.queue_us.saturating_add(other.queue_us),
            bridge_us: self.bridge_us.saturating_add(other.bridge_us),
            preprocess_us: self.preprocess_us.saturating_add(other.preprocess_us),
            inference_us: self.inference_us.saturating_add(other.inference_us),
            postprocess_us: self.postprocess_us.saturating_add(other.postprocess_us),
        }
    }
}

impl<T> Reading<T> {
    /// What was read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Missing(_) => None,
        }
    }
}

impl Round {
    /// Items a second.
    pub fn throughput(&self) -> f64 {
        self.items as f64 / self.seconds
    }
}

impl Row {
    /// The row of a cell that is still to be measured, or is skipped.
    pub fn new(planned: Planned) -> Self {
        let state = planned.skipped.map_or(RowState::Pending, |reason| RowState::Skipped { reason });
        let missing = || "it was not measured".to_owned();
        Self {
            cell: planned.cell,
            state,
            conditions: None,
            load_us: None,
            first_result_us: None,
            warmed_up: None,
            rounds: Vec::new(),
            memory: Reading::Missing(missing()),
            gpu_memory: Reading::Missing(missing()),
            energy: Reading::Missing(missing()),
            agreement: None,
        }
    }

    /// Whether a GPU computed it, and no software in a GPU's place. Where nothing tells, it did not.
    pub fn is_hardware(&self) -> bool {
        self.hardware() == Hardware::Gpu
    }

    /// What computed it.
    pub fn hardware(&self) -> Hardware {
        self.conditions.as_ref().map_or(Hardware::Unknown, |conditions| conditions.hardware)
    }
}
