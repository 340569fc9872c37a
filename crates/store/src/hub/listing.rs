//! Listing: the files of a repository at one commit, as the Hub tells them.

use serde::Deserialize;

use super::{Hub, HubError, MOST_LISTING, Tell, Why};
use crate::{FilePath, Hash, Pinned, Revision, Source, hosts};

/// The files of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What was asked for.
    pub source: Source,
    /// The commit that it is.
    pub commit: Revision,
    /// The files that a folder of models can have, by path.
    pub files: Vec<Pinned>,
}

#[derive(Deserialize)]
struct Model {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
    size: u64,
}

impl Hub {
    /// Asks which files a repository has.
    pub async fn list(&self, source: &Source, tell: Tell<'_>) -> Result<Listing, HubError> {
        let (url, what) = (self.settings.endpoint.listing(source), source.to_string());
        let text = self.text(&url, &what, MOST_LISTING, tell).await?;
        let host = hosts::name(&url);
        read(source, &text).map_err(|error| HubError { what, why: Why::Nonsense { host, error }, tries: 1 })
    }
}

impl Listing {
    /// A file by its path.
    pub fn file(&self, path: &str) -> Option<&Pinned> {
        self.files.iter().find(|file| file.path.as_ref() == path)
    }
}

fn read(source: &Source, text: &[u8]) -> Result<Listing, String> {
    let model: Model = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let commit: Revision = model.sha.parse().map_err(|error: crate::Refused| error.to_string())?;
    if !commit.is_commit() || (source.revision.is_commit() && source.revision != commit) {
        return Err(format!("{commit} is not the commit that was asked for"));
    }
    let mut files: Vec<_> = model.siblings.into_iter().filter_map(pinned).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let folded = |file: &Pinned| file.path.as_ref().to_ascii_lowercase();
    let mut names: Vec<_> = files.iter().map(folded).collect();
    names.sort();
    match names.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(format!("{} is there twice", two[0])),
        None => Ok(Listing { source: source.clone(), commit, files }),
    }
}

/// What can be a file of a model: names of other shapes never reach the disk, and what has no hash cannot be checked.
fn pinned(file: Sibling) -> Option<Pinned> {
    let path: FilePath = file.rfilename.parse().ok()?;
    let (bytes, hash) = match file.lfs {
        Some(Large { sha256, size }) => (size, Hash::Sha256(sha256)),
        None => (file.size?, Hash::GitSha1(file.blob_id?)),
    };
    hash.is_whole().then_some(Pinned { path, bytes, hash })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::read;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn what_cannot_be_a_file_is_left_out() {
        let sha256 = "a".repeat(64);
        let text = format!(
            r#"{{"sha": "{COMMIT}", "siblings": [
                {{"rfilename": "onnx/model.onnx", "size": 5, "blobId": "{COMMIT}", "lfs": {{"sha256": "{sha256}", "size": 5}}}},
                {{"rfilename": "config.json", "size": 2, "blobId": "{COMMIT}"}},
                {{"rfilename": "../../etc/passwd", "size": 2, "blobId": "{COMMIT}"}},
                {{"rfilename": "no-hash.json", "size": 2}},
                {{"rfilename": "short-hash.json", "size": 2, "blobId": "../x"}}]}}"#
        );
        let listing = read(&"a/b".parse().unwrap(), text.as_bytes()).unwrap();
        let paths: Vec<_> = listing.files.iter().map(|file| file.path.as_ref()).collect();
        assert_eq!(paths, ["config.json", "onnx/model.onnx"]);
        assert_eq!(listing.file("onnx/model.onnx").unwrap().hash.digits(), sha256);
        let twice = text.replace("onnx/model.onnx", "CONFIG.json");
        assert!(read(&"a/b".parse().unwrap(), twice.as_bytes()).unwrap_err().contains("twice"));
        let other = format!("a/b@{}", "f".repeat(40));
        assert!(read(&other.parse().unwrap(), text.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn garbage_ends_in_an_answer(text in "[\\[\\]{}\":,a-z0-9]{0,200}") {
            let _ = read(&"a/b".parse().unwrap(), text.as_bytes());
        }
    }
}
