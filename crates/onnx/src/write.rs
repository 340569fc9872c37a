//! Writes a model as a stream: tensors go from the source, or from what makes them, to the file one after the other.
//!
//! The messages are encoded with references in place of large tensors, and the reader's walk goes over that once more to
//! find where the bytes belong and what the lengths around them are. So the size is known before the first byte is
//! written. What is written has the name NAME.part until it is whole and on the disk.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Cursor, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use prost::Message;

use crate::{
    error::{Error, ReadError},
    job::{Layer, Made},
    journal::{Begun, Hashed, Journal, Written},
    model::{Data, Model, PIECE},
    proto::{StringStringEntryProto, TensorProto, tensor_proto::DataLocation},
    schema::{Kind, Part},
    wire::{Field, Wire, put_length, put_number},
};

/// A protobuf message has to be smaller than 2 GiB; what is larger keeps its tensors in a second file.
pub const LARGEST_MESSAGE: u64 = 2_000_000_000;
/// Where external data may begin: the runtimes map whole pages.
const PAGE: u64 = 4096;
/// The fields of a model and a tensor that the writer puts there itself.
const GRAPH: u32 = 7;
const RAW: u32 = 9;

/// Makes the parts of a job.
pub type Make<'a> = dyn FnMut(&Model, usize) -> Result<Made, Error> + 'a;

/// What comes one after the other in a file.
pub enum Segment {
    /// These.
    Bytes(Vec<u8>),
    /// Those of a tensor.
    Data(Data),
    /// Zeros up to the next page.
    Gap(u64),
}

impl Segment {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Data(data) => data.length(),
            Self::Gap(length) => *length,
        }
    }
}

/// A model that is laid out, so that its size is known.
pub struct Layout {
    main: Vec<Segment>,
    side: Vec<Segment>,
    destination: PathBuf,
}

impl Layout {
    /// Lays a model out for a file. A message of more bytes than `largest` has its tensors in a file beside it.
    pub fn new(model: &Model, destination: &Path, largest: u64) -> Result<Self, ReadError> {
        let one = Self::of(model, destination, None)?;
        if one.bytes() <= largest { Ok(one) } else { Self::of(model, destination, Some(side_name(destination))) }
    }

    /// Lays out what is made of a source: in two files where one would be too large, or where the source has several.
    pub fn made(model: &Model, destination: &Path) -> Result<Self, ReadError> {
        Self::new(model, destination, if model.is_split() { 0 } else { LARGEST_MESSAGE })
    }

    fn of(model: &Model, destination: &Path, side: Option<String>) -> Result<Self, ReadError> {
        let mut expand = Expand { model, side: Vec::new(), location: side, at: 0 };
        let (mut main, mut graph) = (Vec::new(), Vec::new());
        // Functions and what is for training have tensors as well.
        expand.message(Kind::Model, &model.rest.encode_to_vec(), &mut main)?;
        let length = expand.message(Kind::Graph, &model.graph.encode_to_vec(), &mut graph)?;
        let mut key = Vec::new();
        put_length(&mut key, GRAPH, length);
        main.push(Segment::Bytes(key));
        main.append(&mut graph);
        Ok(Self { main, side: expand.side, destination: destination.to_owned() })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.main.iter().chain(&self.side).map(Segment::length).sum()
    }

    /// The bytes of a model of one file, of which nothing is to be made.
    pub fn to_vec(&self, model: &Model) -> Result<Vec<u8>, Error> {
        let mut parts = Parts { job: None, make: &mut |_, _| Ok(Made::default()), layer: None };
        let mut sink = Sink { to: Vec::with_capacity(self.bytes() as usize), path: &self.destination };
        self.main.iter().try_for_each(|segment| sink.segment(model, segment, &mut parts))?;
        Ok(sink.to)
    }

    /// Writes the files, beginning where the journal says that an earlier run was interrupted. `wrote` is told of each
    /// piece's bytes. Returns what there is to tell of each weight, in the order in which they are written.
    pub fn write(
        &self,
        model: &Model,
        make: &mut Make<'_>,
        journal: &mut Journal,
        wrote: &mut dyn FnMut(u64),
    ) -> Result<Vec<Layer>, Error> {
        let mut parts = Parts { job: None, make, layer: None };
        let side = self.destination.with_file_name(side_name(&self.destination));
        let mut files = vec![(&self.main, self.destination.clone())];
        if !self.side.is_empty() {
            // First, so that a new graph never stands there without its weights.
            files.insert(0, (&self.side, side.clone()));
        }
        let mut layers = Vec::new();
        for (number, (segments, path)) in files.iter().enumerate() {
            let path = &part_name(path);
            let failed = |error| failed(path, error);
            let mut file = open_alone(path)?;
            // The weights are in the first file; a second one has the graph alone.
            let begun =
                if number == 0 { journal.begun(&mut file, segments).map_err(failed)? } else { Begun::default() };
            file.set_len(begun.bytes).and_then(|()| file.seek(SeekFrom::Start(begun.bytes))).map_err(failed)?;
            wrote(begun.bytes);
            layers.extend(begun.layers);
            let mut sink = Sink { to: Hashed { to: BufWriter::new(file), hash: begun.hash }, path };
            for (at, segment) in segments.iter().enumerate().skip(begun.segments) {
                sink.segment(model, segment, &mut parts)?;
                let layer = parts.layer.take();
                layers.extend(layer.clone());
                if number == 0 && matches!(segment, Segment::Data(_)) {
                    sink.to.flush().map_err(failed)?;
                    journal.wrote(Written { segments: at + 1, sha256: sink.to.digest(), layer })?;
                }
                wrote(segment.length());
            }
            let file = sink.to.to.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().map_err(failed)?;
        }
        let folder = self.destination.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !self.side.is_empty() {
            // What is there is not to stand beside weights that are not its own, if it ends between the two.
            remove(&self.destination)?;
            sync_folder(folder)?;
        }
        for (_, path) in &files {
            fs::rename(part_name(path), path).map_err(|error| failed(path, error))?;
        }
        if self.side.is_empty() {
            remove(&side)?;
        }
        sync_folder(folder)?;
        Ok(layers)
    }
}

/// Opens a file that may have been begun. Nobody else is to write it meanwhile.
pub fn open_alone(path: &Path) -> Result<File, Error> {
    if path.is_symlink() {
        // What it leads to is not ours to write.
        return Err(failed(path, io::Error::new(io::ErrorKind::InvalidInput, "it is a link; remove it")));
    }
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| failed(path, error))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Busy { path: path.display().to_string() }),
        // Where files cannot be locked, they are not.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

/// An error of writing a file.
pub fn failed(path: &Path, error: io::Error) -> Error {
    Error::Write { path: path.display().to_string(), error }
}

/// A file's name with that end.
pub fn with_end(path: &Path, end: &str) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned() + end
}

/// The name of the file with the weights of a graph.
pub fn side_name(path: &Path) -> String {
    with_end(path, "_data")
}

/// The path of a file until it is whole.
pub fn part_name(path: &Path) -> PathBuf {
    path.with_file_name(with_end(path, ".part"))
}

/// Makes the new names last through a loss of power, where folders can be told so.
fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, error))
    } else {
        Ok(())
    }
}

/// The parts of the job at hand, each until it is written.
struct Parts<'a, 'b> {
    job: Option<(usize, Vec<Vec<u8>>)>,
    make: &'a mut Make<'b>,
    /// What there is to tell of it, until it is told.
    layer: Option<Layer>,
}

impl Parts<'_, '_> {
    fn take(&mut self, model: &Model, job: usize, part: usize) -> Result<Vec<u8>, Error> {
        if self.job.as_ref().is_none_or(|(at, _)| *at != job) {
            self.job = None;
            let Made { parts, layer } = (self.make)(model, job)?;
            self.job = Some((job, parts));
            // A job that is done once more, for its later parts, was told of with its first.
            self.layer = layer.filter(|_| part == 0);
        }
        let made = self.job.as_mut().and_then(|(_, parts)| parts.get_mut(part));
        Ok(made.map(std::mem::take).unwrap_or_default())
    }
}

/// A file that is being written, or memory.
struct Sink<'a, W> {
    to: W,
    path: &'a Path,
}

impl<W: Write> Sink<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.to.write_all(bytes).map_err(|error| failed(self.path, error))
    }

    fn segment(&mut self, model: &Model, segment: &Segment, parts: &mut Parts<'_, '_>) -> Result<(), Error> {
        match segment {
            Segment::Bytes(bytes) => self.put(bytes),
            Segment::Gap(length) => self.put(&vec![0; *length as usize]),
            Segment::Data(Data::Made { job, part, length }) => {
                let bytes = parts.take(model, *job, *part)?;
                debug_assert_eq!(bytes.len() as u64, *length, "job {job}, part {part}");
                self.put(&bytes)
            }
            Segment::Data(Data::Stored { file, offset, length }) => {
                let (mut at, end) = (*offset, offset + length);
                let mut buffer = vec![0; PIECE.min(*length) as usize];
                while at < end {
                    let piece = &mut buffer[..PIECE.min(end - at) as usize];
                    model.read(*file, at, piece)?;
                    self.put(piece)?;
                    at += piece.len() as u64;
                }
                Ok(())
            }
        }
    }
}

/// Puts the bytes of tensors back to where the messages refer to them.
struct Expand<'a> {
    model: &'a Model,
    side: Vec<Segment>,
    /// The name of the second file, where there is to be one.
    location: Option<String>,
    /// Where the second file ends.
    at: u64,
}

impl Expand<'_> {
    /// Returns the length of what was appended.
    fn message(&mut self, kind: Kind, bytes: &[u8], to: &mut Vec<Segment>) -> Result<u64, ReadError> {
        let (mut wire, end) = Wire::new(Cursor::new(bytes))?;
        let (mut plain, mut length) = (Vec::new(), 0);
        while let Some((number, field)) = wire.field(end)? {
            let Field::Bytes(inner) = field else {
                put_number(&mut plain, number, &field);
                continue;
            };
            let content = &bytes[wire.at as usize..inner as usize];
            wire.skip(&field)?;
            let Part::Message(child) = kind.part(number) else {
                put_length(&mut plain, number, content.len() as u64);
                plain.extend_from_slice(content);
                continue;
            };
            let mut inside = Vec::new();
            let long = match child {
                Kind::Tensor => self.tensor(content, &mut inside)?,
                child => self.message(child, content, &mut inside)?,
            };
            put_length(&mut plain, number, long);
            // Small messages of one piece stay in the piece at hand.
            if let [Segment::Bytes(one)] = &inside[..] {
                plain.extend_from_slice(one);
            } else {
                length += plain.len() as u64 + long;
                to.push(Segment::Bytes(std::mem::take(&mut plain)));
                to.append(&mut inside);
            }
        }
        length += plain.len() as u64;
        to.push(Segment::Bytes(plain));
        Ok(length)
    }

    fn tensor(&mut self, bytes: &[u8], to: &mut Vec<Segment>) -> Result<u64, ReadError> {
        let mut tensor = TensorProto::decode(bytes)?;
        let Some(data) = self.model.data(&tensor) else {
            to.push(Segment::Bytes(bytes.to_vec()));
            return Ok(bytes.len() as u64);
        };
        (tensor.data_location, tensor.external_data) = (None, Vec::new());
        if let Some(location) = &self.location {
            let gap = self.at.next_multiple_of(PAGE) - self.at;
            let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
            tensor.data_location = Some(DataLocation::External.into());
            tensor.external_data = vec![
                entry("location", location.clone()),
                entry("offset", (self.at + gap).to_string()),
                entry("length", data.length().to_string()),
            ];
            self.side.push(Segment::Gap(gap));
            self.side.push(Segment::Data(data));
            self.at += gap + data.length();
            to.push(Segment::Bytes(tensor.encode_to_vec()));
        } else {
            let mut head = tensor.encode_to_vec();
            put_length(&mut head, RAW, data.length());
            to.push(Segment::Bytes(head));
            to.push(Segment::Data(data));
        }
        Ok(to.iter().map(Segment::length).sum())
    }
}
