//! Errors: what happened, to what, and what to do next.

use std::{io, path::Path};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A plan is not one.
    #[error("the plan is not right at {at}: {what}")]
    Plan {
        /// The place, such as `batch[1]`, or a line and column.
        at: String,
        /// What is wrong there, and what would be right.
        what: String,
    },
    /// The system says so.
    #[error("{what}: {error}")]
    Io {
        /// What was read or written.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// The history's file is not whole.
    #[error("{file} is damaged ({what}); nothing in it was changed. Move it aside to begin a new history")]
    Damaged {
        /// The file.
        file: String,
        /// What SQLite says.
        what: String,
    },
    /// The history's file is of something else.
    #[error(
        "{file} is no history of benchmarks but a file of another program; nothing in it was changed. Name another file"
    )]
    Foreign {
        /// The file.
        file: String,
    },
    /// A later version of this program wrote it.
    #[error(
        "{file} has version {found}, and this program knows {known}: a later webinfer wrote it. Nothing in it was changed; \
        use that version, or name another file"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: i64,
        /// The latest version that is known.
        known: i64,
    },
    /// Another process has been writing for too long.
    #[error("another process keeps {file} busy; try again when it has ended")]
    Busy {
        /// The file.
        file: String,
    },
    /// There is no room for what was to be kept.
    #[error("there is no room for more in {file} ({what}); what was there is whole. Make room and resume the run")]
    Full {
        /// The file.
        file: String,
        /// What SQLite says.
        what: String,
    },
    /// The history cannot be used for another reason.
    #[error("{file}: {what}")]
    Sqlite {
        /// The file.
        file: String,
        /// What SQLite says.
        what: String,
    },
    /// There is no such run.
    #[error("there is no run {asked:?}; `webinfer bench list` shows those that there are")]
    NoRun {
        /// What was asked for.
        asked: String,
    },
    /// A prefix fits several runs.
    #[error("{asked:?} fits several runs, among them {first} and {second}; give more of the id")]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// One that fits.
        first: String,
        /// Another.
        second: String,
    },
    /// A run of that id is there already.
    #[error("there is a run {id} already")]
    Exists {
        /// Its id.
        id: String,
    },
    /// A record breaks a limit, or says what cannot be.
    #[error("{at} {what}")]
    Record {
        /// Which part of it.
        at: String,
        /// What is wrong with it.
        what: String,
    },
    /// A file of exported runs cannot be taken.
    #[error("line {line} of the file {what}; nothing was imported")]
    Import {
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl BenchError {
    /// What the system says of a path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { what: path.display().to_string(), error }
    }

    /// What is wrong with a part of a record.
    pub(crate) fn record(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Record { at: at.into(), what: what.into() }
    }

    /// What is wrong with a place of a plan.
    pub(crate) fn plan(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Plan { at: at.into(), what: what.into() }
    }
}
