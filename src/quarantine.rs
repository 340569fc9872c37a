//! Quarantine: inputs that ended several workers. They are refused at the door for a while, so that one that is sent
//! again and again cannot empty the pool.

use std::{
    hash::RandomState,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use crate::{
    error::Error,
    job::{Input, Key},
};

/// Time after which an input may be tried again: the runtime may have been replaced.
const TERM: Duration = Duration::from_secs(600);
/// Bytes of inputs that are kept.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// What an input takes beside its bytes, about.
const OVERHEAD: usize = 256;

/// The inputs, each with what it did.
#[derive(Debug)]
pub struct Quarantine {
    inputs: Cache<Key, Error>,
    hasher: RandomState,
    /// Whether there ever was one. While there was none, nobody pays for looking.
    used: AtomicBool,
}

impl Default for Quarantine {
    fn default() -> Self {
        let weigh = |key: &Key, _: &Error| u32::try_from(key.bytes() + OVERHEAD).unwrap_or(u32::MAX);
        let inputs = Cache::builder().max_capacity(MOST_BYTES).weigher(weigh).time_to_live(TERM).build();
        Self { inputs, hasher: RandomState::new(), used: AtomicBool::new(false) }
    }
}

impl Quarantine {
    /// Refuses an input to a model from now on.
    pub fn add(&self, model: Arc<str>, input: Arc<Input>, error: Error) {
        self.inputs.insert(Key::new(model, input, &self.hasher), error);
        self.used.store(true, Ordering::Release);
    }

    /// What an input to a model did, if it is refused.
    pub fn find(&self, model: &Arc<str>, input: &Arc<Input>) -> Option<Error> {
        if !self.used.load(Ordering::Acquire) {
            return None;
        }
        self.inputs.get(&Key::new(model.clone(), input.clone(), &self.hasher))
    }
}
