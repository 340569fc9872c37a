//! Hash: the hashes of a model's files, and whether a file is still the one that was hashed.

use std::{
    fs::{self, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use super::File;
use crate::error::Error;

/// Bytes read from disk at a time.
const CHUNK: usize = 256 * 1024;

/// The hashes of a model's files.
#[derive(Clone, Debug)]
pub struct Hashes {
    /// SHA-256 over the lines `<sha256>  <path>\n` of the files, in lower-case hex.
    pub all: String,
    /// Each file's own.
    files: Vec<Hashed>,
}

/// A file that was hashed.
#[derive(Clone, Debug)]
pub struct Hashed {
    /// Its path below the model's folder.
    path: String,
    /// Where it lies.
    pub location: PathBuf,
    /// Its SHA-256, in lower-case hex.
    pub sha256: String,
    /// What the file system said of it.
    stamp: Stamp,
}

/// What tells a file from one that was put in its place or written over, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Number of the file in its file system; 0 where there is none.
    number: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let number = 0;
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), number }
    }
}

impl Hashed {
    /// Whether an open file is the one that was hashed.
    pub fn is(&self, metadata: &Metadata) -> bool {
        self.stamp == Stamp::of(metadata)
    }
}

impl Hashes {
    /// Reads the files of a folder.
    pub async fn of(folder: PathBuf, files: Vec<File>) -> Result<Self, Error> {
        let work = move || {
            let (mut lines, mut hashed) = (Sha256::new(), Vec::with_capacity(files.len()));
            for file in files {
                let location = folder.join(&file.path);
                let (sha256, stamp) = hash(&location)
                    .map_err(|error| Error::Internal(format!("{} cannot be read: {error}", file.path)))?;
                lines.update(format!("{sha256}  {}\n", file.path));
                hashed.push(Hashed { path: file.path, location, sha256, stamp });
            }
            Ok(Self { all: hex(&lines.finalize()), files: hashed })
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Error::Internal(error.to_string()))?
    }

    /// That of the file with that path below the model's folder.
    pub fn file(&self, path: &str) -> Option<&Hashed> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The path of the first file that is not the one that was hashed any more. Blocks on the file system.
    pub fn changed(&self) -> Option<&str> {
        let same = |file: &&Hashed| fs::metadata(&file.location).is_ok_and(|metadata| file.is(&metadata));
        self.files.iter().find(|file| !same(file)).map(|file| file.path.as_str())
    }
}

/// The SHA-256 of a file, in lower-case hex, and what tells whether it is still that one.
pub fn hash(path: &Path) -> io::Result<(String, Stamp)> {
    let mut file = fs::File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    if Stamp::of(&file.metadata()?) != stamp {
        return Err(io::Error::other("it was written while it was read"));
    }
    Ok((hex(&hasher.finalize()), stamp))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
