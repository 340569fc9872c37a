//! Verify: whether a pulled model's files are what was pinned.

use std::{fmt, io, path::Path};

use crate::{FilePath, Manifest, Pinned, hash};

/// A file that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which.
    pub path: FilePath,
    /// In which way.
    pub wrong: Wrong,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// It is no file, or a link leads to it.
    NotAFile,
    /// It is too long or too short.
    Length {
        /// So long it is.
        is: u64,
        /// And so long it must be.
        must: u64,
    },
    /// Its bytes are others.
    Hash,
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("is missing"),
            Self::NotAFile => formatter.write_str("is not a file of the folder itself"),
            Self::Length { is, must } => write!(formatter, "has {is} bytes, and {must} were pinned"),
            Self::Hash => formatter.write_str("has other bytes than those that were pinned: its hash differs"),
            Self::Unreadable(error) => write!(formatter, "cannot be read: {error}"),
        }
    }
}

impl Manifest {
    /// Holds each file of a folder against what was pinned. Reads all of them.
    pub fn verify(&self, folder: &Path) -> Vec<Damage> {
        let damage = |file: &Pinned| Some(Damage { path: file.path.clone(), wrong: file.check(folder).err()? });
        self.files.iter().filter_map(damage).collect()
    }
}

impl Pinned {
    /// Whether the file in a folder is this one.
    pub(crate) fn check(&self, folder: &Path) -> Result<(), Wrong> {
        let unreadable = |error: io::Error| Wrong::Unreadable(error.to_string());
        let path = folder.canonicalize().map_err(unreadable)?.join(self.path.as_ref());
        match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => return Err(Wrong::Missing),
            Ok(real) if real == path && path.is_file() => {}
            _ => return Err(Wrong::NotAFile),
        }
        let is = path.metadata().map_err(unreadable)?.len();
        if is != self.bytes {
            return Err(Wrong::Length { is, must: self.bytes });
        }
        if hash::of_file(&path, &self.hash).map_err(unreadable)? == self.hash { Ok(()) } else { Err(Wrong::Hash) }
    }
}
