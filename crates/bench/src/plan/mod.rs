//! Plan: what is to be measured, as somebody wrote it or as flags say it. Pure.

mod cells;
mod check;
mod order;
mod precision;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use cells::{Cell, Planned};
pub use check::Known;
pub use order::{Block, Schedule, Turn};
pub use precision::Precision;

use crate::BenchError;

/// What is to be measured: each list is a dimension of a matrix, and each combination of their values a [`Cell`].
///
/// In TOML the keys are the fields' names; times are written as `2s` or `500ms`. What is left out has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Ids of models. At least one.
    pub models: Vec<String>,
    /// Kinds of browsers by name, such as `chromium`. Empty for the one that the service has.
    pub browsers: Vec<String>,
    /// Backends by name, such as `wasm`.
    pub backends: Vec<String>,
    /// Precisions: `auto`, a dtype such as `q8`, or a width such as `4bit`.
    pub precisions: Vec<Precision>,
    /// Items of each request, and so of each batch.
    pub batch: Vec<u32>,
    /// Requests in flight: each caller sends its next one when the last is answered.
    pub concurrency: Vec<u32>,
    /// WebAssembly threads of a worker; 0 lets the service choose.
    pub threads: Vec<u32>,
    /// Workers that have the model.
    pub workers: Vec<u32>,
    /// Times that each cell is there, next to each other. With 2 and an even `at_once` a run tells how far it can be believed:
    /// see [`calibrate`](crate::stats::calibrate).
    pub repeats: u32,
    /// Rounds of each cell. Rounds are what is compared, so that fewer than 5 seldom say anything.
    pub rounds: u32,
    /// Time that a round measures.
    #[serde(with = "humantime_serde")]
    pub round_time: Duration,
    /// Bounds of the warm-up.
    pub warmup: WarmupLimits,
    /// Cells that are loaded at once, and measured in turn.
    pub at_once: u32,
    /// What the models are asked.
    pub inputs: Inputs,
    /// By what the order of the cells is drawn.
    pub seed: u32,
}

/// Bounds of the warm-up. It ends when times are steady; these are for where they never are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmupLimits {
    /// Fewest requests.
    pub least: u32,
    /// Most requests.
    pub most: u32,
    /// Longest time.
    #[serde(with = "humantime_serde")]
    pub time: Duration,
}

/// What the models are asked. Where all lists are empty, the service's own probes for the model's task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inputs {
    /// Files of UTF-8 text, one input a line.
    pub texts: Vec<PathBuf>,
    /// Pictures.
    pub images: Vec<PathBuf>,
    /// Sound.
    pub audio: Vec<PathBuf>,
}

impl Inputs {
    /// Whether the service's own probes are asked.
    pub fn are_probes(&self) -> bool {
        self.texts.is_empty() && self.images.is_empty() && self.audio.is_empty()
    }
}

impl Default for WarmupLimits {
    fn default() -> Self {
        Self { least: 10, most: 1000, time: Duration::from_secs(30) }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            browsers: Vec::new(),
            backends: vec!["wasm".into()],
            precisions: vec![Precision::Auto],
            batch: vec![1],
            concurrency: vec![1],
            threads: vec![0],
            workers: vec![1],
            repeats: 1,
            rounds: 10,
            round_time: Duration::from_secs(2),
            warmup: WarmupLimits::default(),
            at_once: 2,
            inputs: Inputs::default(),
            seed: 0,
        }
    }
}

impl Plan {
    /// Most bytes of a plan in TOML.
    pub const MOST_BYTES: usize = 256 * 1024;
    /// Most cells of a plan, skipped ones counted.
    pub const MOST_CELLS: usize = 4096;

    /// Reads a plan in TOML. Names and limits are not checked yet: see [`Plan::check`].
    ///
    /// # Errors
    /// [`BenchError::Plan`] with line and column where it is not TOML, or has a key or a value of a kind that no plan has.
    pub fn from_toml(text: &str) -> Result<Self, BenchError> {
        if text.len() > Self::MOST_BYTES {
            return Err(BenchError::plan("its end", format!("it has more than {} bytes", Self::MOST_BYTES)));
        }
        toml::from_str(text).map_err(|error| {
            let place = error.span().map_or_else(|| "its end".into(), |span| place(text, span.start));
            BenchError::plan(place, error.message())
        })
    }
}

/// Line and column, from 1, of a byte of a text.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
    format!("line {}, column {}", before.matches('\n').count() + 1, column + 1)
}

#[cfg(test)]
mod tests;
