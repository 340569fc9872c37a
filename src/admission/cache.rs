//! Cache: answers that are kept for identical items. The key is exact: the model with its files' hash and precision, and
//! the whole input.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    execution::{Execution, Origin, Timings},
    job::{Key, Output},
    metrics,
};

/// Bytes that an entry takes beside its input and output, about.
const OVERHEAD: usize = 512;

/// The kept answers, bounded in bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Answers {
    kept: Cache<Key, Arc<(Output, Arc<Execution>)>>,
}

impl Answers {
    /// An empty cache of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let weigh = |key: &Key, answer: &Arc<(Output, Arc<Execution>)>| {
            u32::try_from(key.bytes() + answer.0.encoded_len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self { kept: Cache::builder().max_capacity(bytes).weigher(weigh).build() }
    }

    /// The answer to an identical item, with the record of the run that gave it.
    pub fn get(&self, key: &Key) -> Option<(Output, Arc<Execution>)> {
        let kept = self.kept.get(key);
        metrics::cache_lookup(kept.is_some());
        let (output, execution) = &*kept?;
        let timings = Timings { queue_us: 0, ..execution.timings };
        let execution = Execution { timings, origin: Origin::Cache, ..Execution::clone(execution) };
        Some((output.clone(), Arc::new(execution)))
    }

    /// Keeps an answer.
    pub fn keep(&self, key: Key, output: &Output, execution: &Arc<Execution>) {
        self.kept.insert(key, Arc::new((output.clone(), execution.clone())));
    }
}
