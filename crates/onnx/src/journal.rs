//! What an interrupted run had done already: the errors that it had measured, and how far it had written. Lines of a file
//! beside the destination, each behind a hash of its own.
//!
//! The first line is a hash of all that the result comes from. The others are only believed under the same hash, and what
//! they say of the file that was begun only where the file's own bytes have the hash that they say: so a loss of power, which
//! may take away any of both, costs time alone.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    job::Layer,
    write::{Segment, failed, open_alone, part_name, remove, side_name, with_end},
};

/// Bytes of a journal that are read.
const LONGEST: u64 = 64 << 20;

/// A line.
#[derive(Serialize, Deserialize)]
enum Line {
    Key(String),
    Measured {
        weight: String,
        bits: u32,
        #[serde(with = "exactly")]
        error: f64,
    },
    Written(Written),
}

/// Numbers by their bits: as decimals they would come back off by the last of them.
pub mod exactly {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes one.
    pub fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(number.to_bits())
    }

    /// Reads one.
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// How far the first file was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Written {
    /// So many of its segments.
    pub segments: usize,
    /// The hash of all bytes so far.
    pub sha256: String,
    /// What was coded since the line before.
    pub layer: Option<Layer>,
}

/// A file that was begun, as far as it is as it was written.
#[derive(Default)]
pub struct Begun {
    /// Segments that are whole.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The hash of those, to be gone on with.
    pub hash: Sha256,
    /// What was coded in them.
    pub layers: Vec<Layer>,
}

/// What was done, and what is.
pub struct Journal {
    path: PathBuf,
    /// The files that may have been begun.
    begun: [PathBuf; 2],
    file: File,
    measured: HashMap<(String, u32), f64>,
    written: Vec<Written>,
}

impl Journal {
    /// Opens what is beside a destination, or begins anew where that is of another key.
    pub fn open(destination: &Path, key: &str) -> Result<Self, Error> {
        let path = destination.with_file_name(with_end(destination, ".journal"));
        let failed = |error| failed(&path, error);
        let begun = [part_name(destination), part_name(&destination.with_file_name(side_name(destination)))];
        let mut journal =
            Self { path: path.clone(), begun, file: open_alone(&path)?, measured: HashMap::new(), written: Vec::new() };
        let end = journal.read(key).map_err(failed)?;
        journal.file.set_len(end).and_then(|()| journal.file.seek(SeekFrom::Start(end))).map_err(failed)?;
        if end == 0 {
            journal.note(&Line::Key(key.to_owned()))?;
        }
        Ok(journal)
    }

    /// Reads the lines of a key, up to the first one that is damaged. Returns where that begins.
    fn read(&mut self, key: &str) -> io::Result<u64> {
        let mut file = BufReader::new(self.file.try_clone()?).take(LONGEST);
        let (mut end, mut line) = (0, Vec::new());
        while file.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            match parse(&line) {
                Some(Line::Key(own)) if end == 0 && own == key => {}
                Some(Line::Measured { weight, bits, error }) if end > 0 => {
                    self.measured.insert((weight, bits), error);
                }
                Some(Line::Written(written)) if end > 0 => self.written.push(written),
                _ => break,
            }
            end += line.len() as u64;
            line.clear();
        }
        Ok(end)
    }

    /// Whether there is something to go on with.
    pub fn is_begun(&self) -> bool {
        !self.measured.is_empty() || !self.written.is_empty()
    }

    /// What a width of a weight was measured to do.
    pub fn measured(&self, weight: &str, bits: u32) -> Option<f64> {
        self.measured.get(&(weight.to_owned(), bits)).copied()
    }

    /// Notes what a width of a weight was measured to do.
    pub fn measure(&mut self, weight: &str, bits: u32, error: f64) -> Result<(), Error> {
        self.note(&Line::Measured { weight: weight.to_owned(), bits, error })
    }

    /// Notes how far it is written.
    pub fn wrote(&mut self, written: Written) -> Result<(), Error> {
        self.note(&Line::Written(written))
    }

    fn note(&mut self, line: &Line) -> Result<(), Error> {
        let text = serde_json::to_string(line).map_err(io::Error::from);
        let text = text.map(|text| format!("{} {text}\n", hash_of_text(&text)));
        text.and_then(|text| self.file.write_all(text.as_bytes())).map_err(|error| failed(&self.path, error))
    }

    /// How much of a file that was begun is there, by its own bytes.
    pub fn begun(&self, file: &mut File, segments: &[Segment]) -> io::Result<Begun> {
        let (mut hash, mut at, mut bytes) = (Sha256::new(), 0, 0);
        let (mut begun, mut layers) = (Begun::default(), Vec::new());
        for written in &self.written {
            // What was lost and written once more is noted twice.
            if written.segments <= at {
                continue;
            }
            let Some(next) = segments.get(at..written.segments) else { break };
            let length = next.iter().map(Segment::length).sum();
            layers.extend(written.layer.clone());
            (at, bytes) = (written.segments, bytes + length);
            if hash_of(&mut (&mut *file).take(length), &mut hash)? < length || to_hex(hash.clone()) != written.sha256 {
                break;
            }
            begun = Begun { segments: at, bytes, hash: hash.clone(), layers: layers.clone() };
        }
        Ok(begun)
    }

    /// Takes the journal away, and what was begun, where the destination is whole or cannot be made. What a full disk has
    /// stopped can be gone on with.
    pub fn close<T>(self, made: Result<T, Error>) -> Result<T, Error> {
        if !matches!(made, Err(Error::Write { .. } | Error::Busy { .. })) {
            // While the lock is held, so that nobody else's are taken away.
            self.begun.iter().chain([&self.path]).try_for_each(|path| remove(path))?;
            drop(self.file);
        }
        made
    }
}

/// A line that is as it was written: behind its own hash.
fn parse(line: &[u8]) -> Option<Line> {
    let (hash, text) = str::from_utf8(line).ok()?.trim_end().split_once(' ')?;
    (hash == hash_of_text(text)).then(|| serde_json::from_str(text).ok()).flatten()
}

fn hash_of_text(text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(text);
    to_hex(hash)
}

/// A file of which a hash is made while it is written.
pub struct Hashed {
    /// The file.
    pub to: BufWriter<File>,
    /// The hash of what was written.
    pub hash: Sha256,
}

impl Hashed {
    /// The hash so far.
    pub fn digest(&self) -> String {
        to_hex(self.hash.clone())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Puts all that can be read into a hash; returns how much that was.
pub fn hash_of(from: &mut dyn Read, hash: &mut Sha256) -> io::Result<u64> {
    let (mut buffer, mut all) = (vec![0; 1 << 20], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(all),
            Ok(read) => {
                hash.update(&buffer[..read]);
                all += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A hash in letters.
pub fn to_hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
