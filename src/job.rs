//! Job: one admitted request item, with all that it needs to be answered.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use prost::Message;
use tokio::sync::oneshot;

use crate::{
    error::Error,
    execution::Execution,
    ledger::Permit,
    loss::{Cause, Fate},
    partials::Teller,
    proto::v1,
    size::Size,
    trace,
};

/// One input: what an item holds, and how it is to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Of the kind that the model's task takes, checked. Sound is there as samples, at the model's rate.
    pub item: v1::item::Input,
    /// As the task has them, checked; `None` where nothing is said. The items of a request share them.
    pub parameters: Option<Arc<v1::Parameters>>,
}

impl Input {
    /// A text that is run as usual.
    pub fn text(text: impl Into<String>) -> Self {
        Self { item: v1::item::Input::Text(text.into()), parameters: None }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.encoded_len()
    }

    fn encoded_len(&self) -> usize {
        self.item.encoded_len() + self.parameters.as_ref().map_or(0, |parameters| parameters.encoded_len())
    }

    /// Equal inputs have equal bytes: maps are in order.
    pub fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.item.encode(&mut bytes);
        if let Some(parameters) = &self.parameters {
            bytes.extend(parameters.encode_to_vec());
        }
        bytes
    }
}

/// One output, of the kind that the model's task gives.
pub type Output = v1::item_result::Output;

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
        let hash = hasher.hash_one((&model, input.encoded()));
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
    /// Where to tell what it has come to, where somebody wants to know.
    pub teller: Option<Teller>,
    /// Whose it is, for those who look on.
    pub trace: trace::Item,
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
    /// Whether another run may stand for its own: it would come to the same, and nobody measures what it takes.
    pub repeatable: bool,
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
        let Self { reply, permit, trace, .. } = self;
        trace.end(result.as_ref().map(|(_, execution)| &**execution));
        let answer = match result {
            Ok((output, execution)) => {
                let permit = permit.into_answer(output.encoded_len());
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
