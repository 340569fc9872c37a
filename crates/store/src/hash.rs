//! Hashes that the Hub gives: SHA-256 of large files, and of small ones what git calls them.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What a file's hash must be, in small hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// SHA-256 of its bytes.
    Sha256(String),
    /// The name of its git object: SHA-1 of `blob LENGTH\0` and its bytes.
    GitSha1(String),
}

impl Hash {
    /// Its digits.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::GitSha1(digits) => digits,
        }
    }

    /// Whether it has as many digits as such a hash has, and nothing else.
    pub fn is_whole(&self) -> bool {
        let length = match self {
            Self::Sha256(_) => 64,
            Self::GitSha1(_) => 40,
        };
        self.digits().len() == length && self.digits().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// Takes a file's bytes as they come.
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitSha1(Sha1),
}

impl Hasher {
    /// For a hash of that kind, of a file of that length.
    pub fn new(kind: &Hash, bytes: u64) -> Self {
        match kind {
            Hash::Sha256(_) => Self::Sha256(Sha256::new()),
            Hash::GitSha1(_) => Self::GitSha1(Sha1::new_with_prefix(format!("blob {bytes}\0"))),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitSha1(hasher) => hasher.update(bytes),
        }
    }

    pub fn finish(self) -> Hash {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hasher) => Hash::Sha256(hex(&hasher.finalize())),
            Self::GitSha1(hasher) => Hash::GitSha1(hex(&hasher.finalize())),
        }
    }

    /// Takes what a file has.
    pub fn read(&mut self, path: &Path) -> io::Result<()> {
        let mut file = fs::File::open(path)?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                length => self.update(&buffer[..length]),
            }
        }
    }
}

/// The hash of a file, of the kind of another.
pub(crate) fn of_file(path: &Path, kind: &Hash) -> io::Result<Hash> {
    let mut hasher = Hasher::new(kind, path.metadata()?.len());
    hasher.read(path)?;
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::{Hash, Hasher};

    #[test]
    fn hashes_are_those_of_sha256sum_and_of_git() {
        let hash = |kind: Hash| {
            let mut hasher = Hasher::new(&kind, 6);
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            hasher.finish()
        };
        // `printf 'hello\n' | sha256sum`, and `printf 'hello\n' | git hash-object --stdin`
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(hash(Hash::Sha256(String::new())).digits(), sha256);
        assert_eq!(hash(Hash::GitSha1(String::new())).digits(), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn a_hash_has_all_its_digits() {
        assert!(Hash::GitSha1("0".repeat(40)).is_whole() && Hash::Sha256("f".repeat(64)).is_whole());
        for wrong in ["", "../../x", &"0".repeat(39), &"G".repeat(40), &"A".repeat(40)] {
            assert!(!Hash::GitSha1(wrong.to_owned()).is_whole(), "{wrong}");
        }
    }
}
