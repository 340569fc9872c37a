//! Errors: what happened, to what, and what to do next.

use std::{io, path::Path};

use crate::{Name, Refused, Repo};

/// Why something could not be done in the folder of models.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says so.
    #[error("{what}: {error}")]
    Io {
        /// What was read or written.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// A name is none.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no such model.
    #[error("there is no model {name:?} in {folder}; `webinfer models list` shows those that there are")]
    Missing {
        /// What was asked for.
        name: String,
        /// The folder of models.
        folder: String,
    },
    /// Somebody put it there by hand.
    #[error("{name:?} was not pulled, so that nobody can bring it back; --force removes it all the same")]
    NotPulled {
        /// Which.
        name: String,
    },
    /// What is to be pulled would stand in the place of something else.
    #[error("there is a {name:?} already, which was not pulled; pull it under another name with --as")]
    Taken {
        /// Which.
        name: Name,
    },
    /// What is to be pulled is of another repository.
    #[error("{name:?} was pulled from {repo}; pull this one under another name with --as, or see `webinfer models rm`")]
    OtherRepo {
        /// Which.
        name: Name,
        /// From where it is.
        repo: Repo,
    },
    /// A service has it.
    #[error("{name:?} is in use by a service; unregister it there or end the service, and try again")]
    InUse {
        /// Which.
        name: String,
    },
    /// Somebody else is pulling it.
    #[error("{name:?} is being pulled by another process; wait for its end")]
    Pulling {
        /// Which.
        name: Name,
    },
    /// Somebody else does not give the lock back.
    #[error("another process has held {path} for 30 seconds; look for a webinfer that hangs")]
    Locked {
        /// The file with the lock.
        path: String,
    },
    /// There is too little room in the quota.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Quota(#[from] crate::Shortage),
    /// There is too little room on the disk.
    #[error(
        "the disk of {folder} has {free} bytes left, and {needed} are needed; nothing was fetched. `webinfer models rm` \
        makes room"
    )]
    DiskFull {
        /// The folder of models.
        folder: String,
        /// What the disk has left.
        free: u64,
        /// What is still to come.
        needed: u64,
    },
    /// The disk was full before all was there.
    #[error(
        "the disk is full ({error}); what was fetched of {name:?} is removed, and all else is as it was. Make room first"
    )]
    Full {
        /// What was pulled.
        name: Name,
        /// What the system says.
        error: io::Error,
    },
    /// The Hub did not give what it should.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
}

impl StoreError {
    /// What the system says of a path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { what: path.display().to_string(), error }
    }
}
