//! Loss: why a browser or a worker is no more.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

/// What kind of end it was. Each is a label in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It did not come up.
    NoStart,
    /// The browser's process ended by itself.
    Exited,
    /// Something outside killed the browser's process, or a part of it.
    Killed,
    /// A process of the browser is stopped.
    Stopped,
    /// The page's process crashed.
    Crashed,
    /// The link was closed or broke, and nobody said why.
    Closed,
    /// It said nothing for too long.
    Silent,
    /// A run took far too long.
    Stuck,
    /// The GPU device was lost.
    GpuLost,
    /// Memory did not suffice.
    OutOfMemory,
    /// The runtime failed beyond repair.
    Failed,
    /// It gave wrong answers.
    WrongAnswers,
    /// It broke the protocol.
    Confused,
    /// The service ended it, because it was not needed any more or worn.
    Ended,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::NoStart,
        Self::Exited,
        Self::Killed,
        Self::Stopped,
        Self::Crashed,
        Self::Closed,
        Self::Silent,
        Self::Stuck,
        Self::GpuLost,
        Self::OutOfMemory,
        Self::Failed,
        Self::WrongAnswers,
        Self::Confused,
        Self::Ended,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoStart => "no_start",
            Self::Exited => "exited",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Stuck => "stuck",
            Self::GpuLost => "gpu_lost",
            Self::OutOfMemory => "out_of_memory",
            Self::Failed => "failed",
            Self::WrongAnswers => "wrong_answers",
            Self::Confused => "confused",
            Self::Ended => "ended",
        }
    }

    /// Whether no input and no model can have had a part in it.
    pub fn is_from_outside(self) -> bool {
        matches!(self, Self::Killed | Self::Stopped | Self::Ended)
    }
}

/// Why something is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Loss {
    /// The kind.
    pub cause: Cause,
    /// What is known of it, in words.
    pub detail: Arc<str>,
}

impl Loss {
    /// A loss.
    pub fn new(cause: Cause, detail: impl Into<Arc<str>>) -> Self {
        Self { cause, detail: detail.into() }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.detail)
    }
}

/// What became of a browser: there once all of it is gone. A link breaks before that, so that the cause of a lost run is
/// known only later.
pub type Fate = watch::Receiver<Option<Loss>>;
