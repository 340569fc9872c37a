//! Kept: the history of runs, which blocks, out of the way of the runtime's threads.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use webinfer_bench::{BenchError, History};

use crate::error::Error;

/// The history. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kept {
    file: Option<PathBuf>,
    /// Opened at its first use.
    opened: Arc<Mutex<Option<History>>>,
}

impl Kept {
    /// That of a file; without one it is forgotten at the end.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, opened: Arc::default() }
    }

    /// Does something with it.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut History) -> Result<T, BenchError> + Send + 'static,
    ) -> Result<T, Error> {
        let own = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut opened = own.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let history = match &mut *opened {
                Some(history) => history,
                none => none.insert(match &own.file {
                    Some(file) => History::open(file)?,
                    None => History::in_memory()?,
                }),
            };
            work(history)
        });
        let done = done.await.map_err(|error| Error::Internal(format!("the history broke off: {error}")))?;
        done.map_err(told)
    }
}

/// The same in the service's own words.
pub fn told(error: BenchError) -> Error {
    match error {
        // Where it is about several fields, the place is words.
        BenchError::Plan { at, what } if at.contains(' ') => Error::invalid("plan", format!("{at}: {what}")),
        BenchError::Plan { at, what } => Error::invalid(format!("plan.{at}"), what),
        BenchError::NoRun { asked } => Error::RunNotFound { id: asked },
        error @ (BenchError::Ambiguous { .. } | BenchError::Record { .. }) => Error::invalid("id", error.to_string()),
        error => Error::History(error.to_string()),
    }
}
