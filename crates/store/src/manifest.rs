//! Manifest: where a pulled model comes from, and what its files must be.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{FilePath, Hash, Repo, Revision, Source};

/// Its name in a model's folder.
pub const MANIFEST: &str = "webinfer.lock.json";

/// Most bytes of one that is read.
const MOST_BYTES: u64 = 4 << 20;
/// What later versions count up where they are not read by earlier ones.
const VERSION: u32 = 1;

/// What is pinned of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// The repository.
    pub repo: Repo,
    /// What was asked for.
    pub revision: Revision,
    /// The commit that it was then.
    pub commit: Revision,
    /// Who was asked.
    pub endpoint: String,
    /// Which of the repository's graphs were asked for, in the words of who asked.
    pub wanted: Vec<String>,
    /// The files, in the order of their paths.
    pub files: Vec<Pinned>,
}

/// A file that is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Where it is below the model's folder.
    pub path: FilePath,
    /// Its length.
    pub bytes: u64,
    /// What its hash must be.
    #[serde(flatten)]
    pub hash: Hash,
}

impl Manifest {
    /// Of a model from there, at a commit, with nothing yet.
    pub fn new(source: &Source, commit: Revision, endpoint: &str) -> Self {
        Self {
            version: VERSION,
            repo: source.repo.clone(),
            revision: source.revision.clone(),
            commit,
            endpoint: endpoint.to_owned(),
            wanted: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The manifest of a folder; `None` where it has none.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{MANIFEST}: {why}"));
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            return Err(wrong("not a file of at most 4 MiB".into()));
        }
        let manifest: Self = serde_json::from_slice(&fs::read(path)?).map_err(|error| wrong(error.to_string()))?;
        if manifest.version != VERSION {
            return Err(wrong(format!("version {}, and this program reads {VERSION}", manifest.version)));
        }
        match manifest.files.iter().find(|file| !file.hash.is_whole()) {
            Some(file) => Err(wrong(format!("the hash of {} is none", file.path))),
            None => Ok(Some(manifest)),
        }
    }

    /// Writes it into a folder, to its end.
    #[cfg(feature = "hub")]
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        crate::disk::write(&folder.join(MANIFEST), &text)
    }

    /// Length of all files.
    pub fn bytes(&self) -> u64 {
        total(self.files.iter().map(|file| file.bytes))
    }

    /// What to give to `webinfer models pull` for the same files again.
    pub fn source(&self) -> Source {
        Source { repo: self.repo.clone(), revision: self.commit.clone() }
    }
}

/// The sum of lengths, which others say and which may be any.
pub(crate) fn total(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}

#[cfg(feature = "hub")]
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MANIFEST, Manifest, Pinned};
    use crate::Hash;

    fn manifest() -> Manifest {
        let commit = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let mut manifest = Manifest::new(&"a/b".parse().unwrap(), commit, "https://hub.example");
        let hash = Hash::GitSha1("ce013625030ba8dba906f756967f9e9ca394464a".into());
        manifest.files.push(Pinned { path: "onnx/model.onnx".parse().unwrap(), bytes: 6, hash });
        manifest
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        manifest().write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest()));
    }

    #[test]
    fn what_would_lead_out_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = serde_json::to_string(&manifest()).unwrap();
        let wrong = [
            text.replace("onnx/model.onnx", "../model.onnx"),
            text.replace("onnx/model.onnx", "/etc/passwd"),
            text.replace("ce01", "../1"),
            text.replace("\"version\":1", "\"version\":2"),
        ];
        for text in wrong {
            std::fs::write(folder.path().join(MANIFEST), &text).unwrap();
            assert!(Manifest::read(folder.path()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn damage_ends_in_an_answer(at in 0usize..200, byte: u8) {
            let folder = tempfile::tempdir().unwrap();
            let mut text = serde_json::to_vec(&manifest()).unwrap();
            text[at] = byte;
            std::fs::write(folder.path().join(MANIFEST), &text).unwrap();
            let _ = Manifest::read(folder.path());
        }
    }
}
