//! Errors: every way in which a call can fail, named once. What each means on the wire is in `rpc/status.rs`.

use std::time::Duration;

/// Why a call failed. Messages are for the caller: what happened, to what, and what to do next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// Path of the field, e.g. `items[3].text`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// No model has that id.
    #[error("no model has the id {id:?}; ModelService.List shows the registered ones")]
    ModelNotFound {
        /// The id that was asked for.
        id: String,
    },
    /// The id stands for something else.
    #[error("the id {id:?} is registered in other words; unregister it first, or choose another id")]
    ModelExists {
        /// The id.
        id: String,
    },
    /// Too many models are registered.
    #[error("{limit} models are registered, which is the limit; unregister one, or raise --max-models")]
    TooManyModels {
        /// The limit.
        limit: usize,
    },
    /// The model is known, not loaded.
    #[error("the model {id:?} is not loaded; call ModelService.Load first")]
    ModelNotLoaded {
        /// The id.
        id: String,
    },
    /// The load failed.
    #[error("the model {id:?} could not be loaded: {message}")]
    LoadFailed {
        /// The id.
        id: String,
        /// Why.
        message: String,
    },
    /// The queue is full.
    #[error("overloaded: {what}; try again after {} ms", retry_after.as_millis())]
    Overloaded {
        /// What is at its limit, with numbers.
        what: String,
        /// When there should be room.
        retry_after: Duration,
    },
    /// The deadline passed.
    #[error("the deadline passed before the answer was there")]
    DeadlineExceeded,
    /// Whoever asked does not read what was answered.
    #[error("what was answered was not read within {after:?}, so that the stream was ended")]
    NotRead {
        /// The time that there was for it.
        after: Duration,
    },
    /// The deadline will pass, whatever else is pending.
    #[error("the deadline is too short: this needs about {} ms", needed.as_millis())]
    DeadlineTooShort {
        /// Time that the work needs, as predicted from earlier runs.
        needed: Duration,
    },
    /// No browser can serve.
    #[error("no browser is there to serve: {reason}")]
    NoBrowser {
        /// Why.
        reason: String,
    },
    /// The workers that held the item were lost.
    #[error("workers that were lost while they held this item: {attempts}; the last one: {reason}")]
    WorkerLost {
        /// How many workers were tried.
        attempts: u32,
        /// What happened to the last.
        reason: String,
    },
    /// Too many loads failed in a row.
    #[error(
        "the model {id:?} is not tried again before {} ms: its workers are lost again and again, the last one so: {reason}",
        retry_after.as_millis()
    )]
    CircuitOpen {
        /// The id.
        id: String,
        /// What happened to the last worker.
        reason: String,
        /// When the next load begins.
        retry_after: Duration,
    },
    /// The item ended several workers.
    #[error(
        "this input ended {workers} workers of the model {model:?} and is not tried again; the last one: {reason}; send \
         another input, and report this one to the model's or runtime's makers"
    )]
    Quarantined {
        /// Id of the model.
        model: String,
        /// How many workers it ended.
        workers: usize,
        /// What happened to the last.
        reason: String,
    },
    /// No browser has that id.
    #[error("no browser has the id {id:?}; PoolService.Get shows those that there are")]
    BrowserNotFound {
        /// The id.
        id: String,
    },
    /// No run has that id.
    #[error("no benchmark has the id {id:?}; BenchmarkService.List shows those that there are")]
    RunNotFound {
        /// The id.
        id: String,
    },
    /// The history of benchmarks cannot be used.
    #[error("{0}")]
    History(String),
    /// The input does not fit the model.
    #[error("the model {model:?} refuses the input: {message}")]
    BadInput {
        /// Id of the model.
        model: String,
        /// What the worker said.
        message: String,
    },
    /// The run failed.
    #[error("the model {model:?} failed: {message}")]
    Inference {
        /// Id of the model.
        model: String,
        /// What the runtime said.
        message: String,
    },
    /// The run needed more memory than a worker has.
    #[error("the model {model:?} ran out of memory: {message}; send smaller items")]
    OutOfMemory {
        /// Id of the model.
        model: String,
        /// What the runtime said.
        message: String,
    },
    /// The output is not an answer.
    #[error("the model {model:?} gave an output that is not an answer: {message}")]
    BadOutput {
        /// Id of the model.
        model: String,
        /// What is wrong with it.
        message: String,
    },
    /// The service was started without it.
    #[error("{what} is off; start the service with {setting}")]
    NotEnabled {
        /// What was asked for.
        what: &'static str,
        /// The setting that offers it.
        setting: &'static str,
    },
    /// The service ends.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The machine failed the service.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The stable name of this kind of error, for machines: in ErrorInfo and in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "INVALID_FIELD",
            Self::ModelNotFound { .. } => "MODEL_NOT_FOUND",
            Self::ModelExists { .. } => "MODEL_EXISTS",
            Self::TooManyModels { .. } => "TOO_MANY_MODELS",
            Self::ModelNotLoaded { .. } => "MODEL_NOT_LOADED",
            Self::LoadFailed { .. } => "LOAD_FAILED",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::DeadlineTooShort { .. } => "DEADLINE_TOO_SHORT",
            Self::NotRead { .. } => "NOT_READ",
            Self::NoBrowser { .. } => "NO_BROWSER",
            Self::WorkerLost { .. } => "WORKER_LOST",
            Self::CircuitOpen { .. } => "CIRCUIT_OPEN",
            Self::Quarantined { .. } => "QUARANTINED",
            Self::BrowserNotFound { .. } => "BROWSER_NOT_FOUND",
            Self::RunNotFound { .. } => "RUN_NOT_FOUND",
            Self::History(_) => "HISTORY_UNUSABLE",
            Self::BadInput { .. } => "BAD_INPUT",
            Self::Inference { .. } => "INFERENCE_FAILED",
            Self::OutOfMemory { .. } => "OUT_OF_MEMORY",
            Self::BadOutput { .. } => "BAD_OUTPUT",
            Self::NotEnabled { .. } => "NOT_ENABLED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// Whether the service or what it runs on is at fault, and not the caller, the load or the time.
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Internal(_)
                | Self::Inference { .. }
                | Self::BadOutput { .. }
                | Self::WorkerLost { .. }
                | Self::Quarantined { .. }
        )
    }

    /// The same error, where it is about one item, with the item's place in the request.
    pub fn of_item(mut self, index: usize) -> Self {
        if let Self::BadInput { message, .. }
        | Self::Inference { message, .. }
        | Self::OutOfMemory { message, .. }
        | Self::BadOutput { message, .. } = &mut self
        {
            message.insert_str(0, &format!("items[{index}]: "));
        }
        self
    }

    /// An error of one field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }
}

/// Shortens text that came from outside, so that an error message stays readable.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 300;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
