//! Kept: the history of runs, which blocks, out of the way of the runtime's threads.

use std::{
    fs::{File, TryLockError},
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

/// A lock that ends with it, and with the process.
#[derive(Debug)]
pub struct Claim {
    _file: Option<File>,
}

impl Kept {
    /// That of a file; without one it is forgotten at the end.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, opened: Arc::default() }
    }

    /// The right to measure into it, until what is returned is dropped. Nothing where another process has it: what both measured
    /// would be of a machine that had other work.
    pub async fn claim(&self) -> Result<Option<Claim>, Error> {
        let Some(mut file) = self.file.clone() else { return Ok(Some(Claim { _file: None })) };
        file.as_mut_os_string().push(".lock");
        let claim = move || match File::create(&file).map(|opened| (opened.try_lock(), opened)) {
            Ok((Ok(()), opened)) => Ok(Some(Claim { _file: Some(opened) })),
            Ok((Err(TryLockError::WouldBlock), _)) => Ok(None),
            Ok((Err(TryLockError::Error(error)), _)) | Err(error) => {
                Err(Error::History(format!("{}: {error}", file.display())))
            }
        };
        let claimed = tokio::task::spawn_blocking(claim).await;
        claimed.map_err(|error| Error::Internal(format!("the history broke off: {error}")))?
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
