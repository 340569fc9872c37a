//! Job: one admitted request item, with all that it needs to be answered.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    error::Error,
    execution::Execution,
    ledger::Permit,
    loss::{Cause, Fate},
    size::Size,
};

/// Type of a tensor's element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// 32-bit float.
    Float32,
    /// 16-bit float.
    Float16,
    /// Signed, 64 bits.
    Int64,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 8 bits.
    Int8,
    /// Unsigned, 8 bits.
    Uint8,
    /// One byte, 0 or 1.
    Bool,
}

impl DataType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::Int64 => 8,
            Self::Float32 | Self::Int32 => 4,
            Self::Float16 => 2,
            Self::Int8 | Self::Uint8 | Self::Bool => 1,
        }
    }
}

/// A dense tensor: row-major, little-endian, without gaps. `data` has the length that `data_type` and `shape` say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    /// Type of an element.
    pub data_type: DataType,
    /// Dimensions, outermost first.
    pub shape: Vec<u32>,
    /// The elements.
    pub data: Bytes,
}

/// One input, of the kind that the model's task takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// UTF-8 text.
    Text(String),
    /// Tensors by name.
    Tensors(Vec<(String, Tensor)>),
}

impl Input {
    /// What it costs a model that takes so many tokens.
    pub fn size(&self, most_tokens: u32) -> Size {
        match self {
            Self::Text(text) => Size::of_text(text.len(), most_tokens),
            Self::Tensors(_) => Size::of_tensors(self.bytes()),
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Tensors(tensors) => bytes_of(tensors),
        }
    }
}

fn bytes_of(tensors: &[(String, Tensor)]) -> usize {
    tensors.iter().map(|(name, tensor)| name.len() + tensor.data.len()).sum()
}

/// One output, of the kind that the model's task gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The vector of a text.
    Embedding(Vec<f32>),
    /// Tensors by name.
    Tensors(Vec<(String, Tensor)>),
}

impl Output {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Embedding(values) => size_of_val(&values[..]),
            Self::Tensors(tensors) => bytes_of(tensors),
        }
    }
}

/// The answer to one job.
#[derive(Debug)]
pub struct Answer {
    /// The output.
    pub output: Output,
    /// What ran it; shared by the jobs of its batch.
    pub execution: Arc<Execution>,
    /// Its bytes count as pending until its caller has taken it. `None` where it was not admitted, but kept.
    pub permit: Option<Permit>,
}

/// What identical items have in common: the model, and the input. Items with equal keys can share one run.
#[derive(Clone, Debug)]
pub struct Key {
    hash: u64,
    model: Arc<str>,
    input: Arc<Input>,
}

impl Key {
    /// The key of an input to a model. `model` names it in one meaning only, for as long as the key lives.
    pub fn new(model: Arc<str>, input: Arc<Input>, hasher: &impl BuildHasher) -> Self {
        let hash = hasher.hash_one((&model, &input));
        Self { hash, model, input }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.input.bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.model == other.model && self.input == other.input
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// What a caller gets for a job.
pub type Reply = Result<Answer, Error>;

/// A worker that was lost while it ran an item.
#[derive(Clone, Debug)]
pub struct Strike {
    cause: Cause,
    fate: Fate,
}

impl Strike {
    /// A strike, with what becomes of the worker's browser.
    pub fn new(cause: Cause, fate: Fate) -> Self {
        Self { cause, fate }
    }

    /// How much it speaks against the item, as far as is known by now.
    pub fn weight(&self) -> u32 {
        let found = self.fate.borrow().as_ref().map(|loss| loss.cause);
        // A closed link only says that the other side is gone.
        match if self.cause == Cause::Closed { found.unwrap_or(self.cause) } else { self.cause } {
            cause if cause.is_from_outside() => 0,
            // A GPU process that is killed from outside looks the same.
            Cause::GpuLost => 1,
            _ => 2,
        }
    }
}

/// One admitted item. Only `admission` makes these.
#[derive(Debug)]
pub struct Job {
    /// Id of the model.
    pub model: Arc<str>,
    /// The input. Shared, so that the job can run again when its worker is lost.
    pub input: Arc<Input>,
    /// What it costs.
    pub size: Size,
    /// Its key, where it may share the run of an identical one.
    pub key: Option<Key>,
    /// When it was admitted.
    pub admitted: Instant,
    /// After this nobody waits for it.
    pub deadline: Instant,
    /// Workers that were lost while they held it.
    pub lost_workers: u32,
    /// Of these, those that ran it just then: it may be what ended them.
    pub strikes: Vec<Strike>,
    /// Whether a worker gave an output for it that is not an answer.
    pub doubted: bool,
    /// Whether it is to run in a batch of its own, because one that it was in failed as a whole.
    pub alone: bool,
    /// Where the answer goes. The receiver's drop is the one way to cancel.
    pub reply: oneshot::Sender<Reply>,
    /// Given back by the job's drop, whatever becomes of it.
    pub permit: Permit,
}

impl Job {
    /// Whether nobody waits for it any more.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.reply.is_closed() || self.deadline <= now
    }

    /// Answers and ends the job. Its load is gone before the caller sees the answer, so that a caller who sends its next
    /// request at once is never refused for that of its last.
    pub fn answer(self, result: Result<(Output, Arc<Execution>), Error>) {
        let Self { reply, permit, .. } = self;
        let answer = match result {
            Ok((output, execution)) => {
                let permit = permit.into_answer(output.bytes());
                Ok(Answer { output, execution, permit: Some(permit) })
            }
            Err(error) => {
                drop(permit);
                Err(error)
            }
        };
        // A caller that left has dropped its receiver: nothing to do then.
        let _ = reply.send(answer);
    }
}
