//! Job: one admitted request item, with all that it needs to be answered.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{error::Error, execution::Execution};

/// Type of a tensor's element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Type of an element.
    pub data_type: DataType,
    /// Dimensions, outermost first.
    pub shape: Vec<u32>,
    /// The elements.
    pub data: Bytes,
}

/// One input, of the kind that the model's task takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// UTF-8 text.
    Text(String),
    /// Tensors by name.
    Tensors(Vec<(String, Tensor)>),
}

impl Input {
    /// Bytes that it holds, for limits.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Tensors(tensors) => tensors.iter().map(|(name, tensor)| name.len() + tensor.data.len()).sum(),
        }
    }
}

/// One output, of the kind that the model's task gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The vector of a text.
    Embedding(Vec<f32>),
    /// Tensors by name.
    Tensors(Vec<(String, Tensor)>),
}

/// The answer to one job.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The output.
    pub output: Output,
    /// What ran it; shared by the jobs of its batch.
    pub execution: Arc<Execution>,
}

/// What a caller gets for a job.
pub type Reply = Result<Answer, Error>;

/// The load that a job stands for, counted from admission until the work on it ends, whoever still waits for it.
#[derive(Debug)]
pub struct Permit {
    /// One of the items that may be pending.
    pub item: OwnedSemaphorePermit,
    /// Its share of the bytes that may be pending.
    pub bytes: OwnedSemaphorePermit,
}

/// One admitted item. Only `admission` makes these.
#[derive(Debug)]
pub struct Job {
    /// Id of the model.
    pub model: Arc<str>,
    /// The input. Shared, so that the job can run again when its worker is lost.
    pub input: Arc<Input>,
    /// When it was admitted.
    pub admitted: Instant,
    /// After this nobody waits for it.
    pub deadline: Instant,
    /// Workers that were lost while they held it.
    pub lost_workers: u32,
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

    /// Answers and ends the job. Its permit is free before the caller sees the answer, so that a caller who sends its
    /// next request at once is never refused for the load of its last.
    pub fn answer(self, reply: Reply) {
        let Self { reply: sender, permit, .. } = self;
        drop(permit);
        // A caller that left has dropped its receiver: nothing to do then.
        let _ = sender.send(reply);
    }
}
