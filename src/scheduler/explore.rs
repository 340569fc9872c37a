//! Explore: when a batch goes to a worker that is not believed to be the best, to find out whether it still is not. Pure.
//!
//! A worker that gets nothing cannot show that it has become faster. So each kind of worker that is not the best gets an
//! item now and then. That is counted in items, not in time, so that what changed shows after as many requests whether they
//! come fast or slowly, and costs the same part of them.

/// Items that the model runs between two tries of one kind, or one worker.
const EVERY: u64 = 32;
/// The same between two tries of any: at most a twentieth of the items go to a slower worker for that.
const SPACING: u64 = 20;
/// A worker that takes so many times as long as the best is tried less often, in proportion; but not one that takes no longer
/// than so many times this, in seconds for each item: nobody minds.
const RARELY: f64 = 32.0;
pub const LITTLE: f64 = 0.01;
/// A try that should take more than this part of the time that its callers have left is not made.
pub const PATIENCE: u32 = 4;

/// An idle worker that is not the best one.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Which one.
    pub index: usize,
    /// Whether it is of the best one's kind.
    pub same_kind: bool,
    /// Items that the model had run when its kind last got a batch of this length; `None` where that is to be tried at once.
    pub kind_tried: Option<u64>,
    /// The same of the worker, for all lengths.
    pub tried: u64,
    /// Its time, relative to the best one's, or a little.
    pub slower: f64,
}

/// When a model's workers were tried.
#[derive(Debug, Default)]
pub struct Explorer {
    /// Items that the model has run.
    pub passed: u64,
    last: u64,
}

impl Explorer {
    /// The one that is tried now, if one is.
    pub fn pick(&self, idle: impl Iterator<Item = Idle>) -> Option<usize> {
        let spaced = self.passed.saturating_sub(self.last) >= SPACING;
        let is_due = |since: u64, slower: f64| {
            let every = (EVERY as f64 * (slower / RARELY).max(1.0)) as u64;
            spaced && self.passed.saturating_sub(since) >= every
        };
        let due = idle.filter(|Idle { same_kind, kind_tried, tried, slower, .. }| match (same_kind, kind_tried) {
            (true, _) => is_due(*tried, *slower),
            (false, None) => true,
            (false, Some(since)) => is_due(*since, *slower),
        });
        let order = |idle: &Idle| (idle.same_kind, idle.kind_tried, idle.tried);
        due.min_by_key(order).map(|idle| idle.index)
    }

    /// One is tried.
    pub fn tries(&mut self) {
        self.last = self.passed;
    }
}
