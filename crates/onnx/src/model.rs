//! A model: its graph in memory, and the bytes of its tensors where they lie.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use sha2::Sha256;

use crate::{
    error::ReadError,
    journal::hash_of,
    matrix::Shape,
    proto::{GraphProto, ModelProto, TensorProto},
    read::read,
    tensor,
};

/// The number of the model's own file.
pub const MAIN: usize = 0;
/// Bytes that are read or copied at once.
pub const PIECE: u64 = 1 << 20;
/// Files of external data of one model.
const MOST_FILES: usize = 4096;

/// Where the bytes of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// In a file.
    Stored {
        /// Its number.
        file: usize,
        /// The first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Nowhere yet: they are made when they are written.
    Made {
        /// The job that makes them.
        job: usize,
        /// Which part of what it makes.
        part: usize,
        /// How many there will be.
        length: u64,
    },
}

impl Data {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Stored { length, .. } | Self::Made { length, .. } => *length,
        }
    }
}

/// The files of a model, open.
#[derive(Debug)]
pub struct Files {
    /// The folder of the graph, links resolved.
    folder: PathBuf,
    /// The open files, the model's own first.
    open: Vec<(Mutex<File>, u64)>,
    /// The numbers of those with external data, by location.
    numbers: HashMap<String, usize>,
}

impl Files {
    fn new(path: &Path) -> Result<Self, ReadError> {
        let real = path.canonicalize()?;
        let file = File::open(&real)?;
        let length = file.metadata()?.len();
        let folder = real.parent().unwrap_or(&real).to_owned();
        Ok(Self { folder, open: vec![(Mutex::new(file), length)], numbers: HashMap::new() })
    }

    /// The file, offset and length of a tensor's external data.
    pub fn external(&mut self, tensor: &TensorProto) -> Result<(usize, u64, u64), ReadError> {
        let entry = |key| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
        let number = |key| {
            let parsed = entry(key).map(str::parse).transpose();
            parsed.map_err(|_| tensor::wrong(tensor, format!("its {key} is not a number")))
        };
        let file = self.locate(tensor, entry("location").unwrap_or_default())?;
        let (offset, there) = (number("offset")?.unwrap_or(0), self.open[file].1);
        let left = there.checked_sub(offset);
        let length = number("length")?.or(left).unwrap_or(0);
        if left.is_none_or(|left| length > left) {
            let what = format!("it wants {length} bytes at {offset} of a file that has {there}");
            return Err(tensor::wrong(tensor, what));
        }
        Ok((file, offset, length))
    }

    /// Opens what lies in the graph's folder, and nothing else.
    fn locate(&mut self, tensor: &TensorProto, location: &str) -> Result<usize, ReadError> {
        if let Some(number) = self.numbers.get(location) {
            return Ok(*number);
        }
        let name = || tensor.name().to_owned();
        let outside = || ReadError::Outside { name: name(), location: location.chars().take(200).collect() };
        let inside = !location.is_empty()
            && !location.contains(['\0', '\\'])
            && Path::new(location).components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || self.open.len() == MOST_FILES {
            return Err(outside());
        }
        let failed = |error| ReadError::External { name: name(), location: location.to_owned(), error };
        let real = self.folder.join(location).canonicalize().map_err(failed)?;
        if !real.starts_with(&self.folder) {
            return Err(outside());
        }
        let file = File::open(&real).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(outside());
        }
        self.numbers.insert(location.to_owned(), self.open.len());
        self.open.push((Mutex::new(file), metadata.len()));
        Ok(self.open.len() - 1)
    }

    /// Reads into a buffer.
    pub fn read(&self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let (file, length) = &self.open[file];
        let (wanted, left) = (buffer.len() as u64, length.saturating_sub(offset));
        if wanted > left {
            return Err(ReadError::Truncated { at: offset, length: wanted, left });
        }
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)?;
        Ok(())
    }
}

/// A model that was read. A clone shares its open files.
#[derive(Clone, Debug)]
pub struct Model {
    /// All of the model but its graph.
    pub rest: ModelProto,
    /// The graph. Tensors of many bytes have them elsewhere: see [`Model::floats`].
    pub graph: GraphProto,
    data: Vec<Data>,
    files: Arc<Files>,
}

impl Model {
    /// Reads a file, except for the bytes of its large tensors.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let mut files = Files::new(path)?;
        let (mut rest, data) = read(File::open(path)?, &mut files)?;
        let graph = rest.graph.take().ok_or(ReadError::NotOnnx("it has no graph"))?;
        Ok(Self { rest, graph, data, files: Arc::new(files) })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.open.iter().map(|(_, length)| length).sum()
    }

    /// Whether weights lie in other files than the graph.
    pub fn is_split(&self) -> bool {
        self.files.open.len() > 1
    }

    /// Puts the bytes of all files into a hash.
    pub fn digest(&self, hash: &mut Sha256) -> Result<(), ReadError> {
        for (file, _) in &self.files.open {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(0))?;
            hash_of(&mut *file, hash)?;
        }
        Ok(())
    }

    /// Where a tensor's bytes are, if not with it.
    pub fn data(&self, tensor: &TensorProto) -> Option<Data> {
        self.data.get(tensor::reference(tensor)?).copied()
    }

    /// Has a tensor's bytes made when they are written.
    pub fn make(&mut self, tensor: &mut TensorProto, job: usize, part: usize) -> Result<(), ReadError> {
        let length = tensor::length(tensor)?;
        tensor::refer(tensor, self.data.len());
        self.data.push(Data::Made { job, part, length });
        Ok(())
    }

    /// Reads a piece of a file of the model.
    pub fn read(&self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.files.read(file, offset, buffer)
    }

    /// A tensor's floats.
    pub fn floats(&self, tensor: &TensorProto) -> Result<Vec<f32>, ReadError> {
        let mut all = Vec::with_capacity(self.data(tensor).map_or(0, |data| data.length() as usize / size_of::<f32>()));
        self.each(tensor, &mut |piece| all.extend_from_slice(piece))?;
        Ok(all)
    }

    /// Some columns of a matrix of 32-bit floats: row by row, or column by column where they lie so.
    pub fn columns(&self, tensor: &TensorProto, shape: Shape, range: Range<usize>) -> Result<Vec<f32>, ReadError> {
        let Shape { k, n, transposed } = shape;
        let mut all = Vec::with_capacity(k * range.len());
        // Pieces of values that lie side by side: where the first begins, how many it has, and how far the next one is.
        let (first, length, next) = match transposed {
            true => (range.start * k, k, k),
            false => (range.start, range.len(), n),
        };
        let pieces = if transposed { range.len() } else { k };
        let whole = self.data(tensor).is_none().then(|| self.floats(tensor)).transpose()?;
        let mut bytes = vec![0; length * size_of::<f32>()];
        for begin in (0..pieces).map(|piece| first + piece * next) {
            match (&whole, self.data(tensor)) {
                (Some(whole), _) => match whole.get(begin..begin + length) {
                    Some(values) => all.extend_from_slice(values),
                    None => return Err(tensor::wrong(tensor, "it has not as many numbers as its shape")),
                },
                (None, Some(Data::Stored { file, offset, .. })) => {
                    self.read(file, offset + (begin * size_of::<f32>()) as u64, &mut bytes)?;
                    all.extend(bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)));
                }
                _ => return Err(tensor::wrong(tensor, "its bytes are not made yet")),
            }
        }
        Ok(all)
    }

    /// Shows a tensor's floats piece by piece.
    pub fn each(&self, tensor: &TensorProto, show: &mut dyn FnMut(&[f32])) -> Result<(), ReadError> {
        let Some(data) = self.data(tensor) else {
            match &tensor.raw_data {
                Some(raw) => show(&tensor::floats(tensor::data_type(tensor), raw)),
                None => show(&tensor.float_data),
            }
            return Ok(());
        };
        let Data::Stored { file, mut offset, length } = data else {
            return Err(tensor::wrong(tensor, "its bytes are not made yet"));
        };
        let (end, mut buffer) = (offset + length, vec![0; PIECE.min(length) as usize]);
        while offset < end {
            let piece = &mut buffer[..PIECE.min(end - offset) as usize];
            self.read(file, offset, piece)?;
            offset += piece.len() as u64;
            show(&tensor::floats(tensor::data_type(tensor), piece));
        }
        Ok(())
    }
}
