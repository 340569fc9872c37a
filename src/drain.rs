//! Drain: the end of the service, in order: no new work is let in, and what was let in is waited for.

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Shared by all who let work in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    begun: CancellationToken,
    work: TaskTracker,
}

impl Drain {
    /// Lets a piece of work in until the token is dropped; `None` once draining has begun.
    pub fn enter(&self) -> Option<TaskTrackerToken> {
        (!self.begun.is_cancelled()).then(|| self.work.token())
    }

    /// Ends when draining begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Whether draining has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Begins to drain.
    pub fn begin(&self) {
        self.begun.cancel();
        self.work.close();
    }

    /// Ends when all work is done. Call [`Drain::begin`] first.
    pub async fn done(&self) {
        self.work.wait().await;
    }
}
