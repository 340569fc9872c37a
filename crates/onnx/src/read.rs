//! Reads a model without its weights: the walk copies the graph, takes the large tensors' bytes out, and keeps where
//! they lie. What the copy will take in memory is counted before it is decoded.

use std::io::{Read, Seek};

use prost::Message;

use crate::{
    error::ReadError,
    model::{Data, Files, MAIN},
    proto::{ModelProto, TensorProto, tensor_proto::DataLocation},
    schema::{Kind, Part},
    tensor,
    wire::{Field, Wire, put_length, put_number},
};

/// A graph may take as much memory as its file has bytes, and this much in any case.
const LEAST_MEMORY: u64 = 128 << 20;
/// Messages inside messages: a graph in a node of a graph is three. Prost's own limit is 100.
const DEEPEST: usize = 60;
/// A tensor of more bytes stays in the file.
const LARGEST_KEPT: u64 = 1024;
/// Bytes of memory that a byte of a message may come to: an empty dimension of a shape is two bytes.
const OPAQUE: u64 = 40;
/// Bytes of memory that a byte of packed numbers may come to.
const NUMBERS: u64 = 8;
/// Bytes of memory of an empty text, in a vector that grows.
const TEXT: u64 = 48;

mod field {
    pub const FLOATS: u32 = 4;
    pub const RAW: u32 = 9;
}

/// Reads the model of a file: the messages, and where the bytes of its tensors lie.
pub fn read<R: Read + Seek>(file: R, files: &mut Files) -> Result<(ModelProto, Vec<Data>), ReadError> {
    let (wire, end) = Wire::new(file)?;
    let most = end.max(LEAST_MEMORY);
    let mut walk = Walk { wire, left: most, most, data: Vec::new(), files };
    let mut bytes = Vec::new();
    walk.message(Kind::Model, end, &mut bytes, 0)?;
    let model = ModelProto::decode(&bytes[..])?;
    if model.graph.is_none() {
        return Err(ReadError::NotOnnx("it has no graph"));
    }
    Ok((model, walk.data))
}

struct Walk<'a, R> {
    wire: Wire<R>,
    left: u64,
    most: u64,
    data: Vec<Data>,
    files: &'a mut Files,
}

impl<R: Read + Seek> Walk<'_, R> {
    fn charge(&mut self, bytes: u64) -> Result<(), ReadError> {
        self.left = self.left.checked_sub(bytes).ok_or(ReadError::TooLarge { most: self.most })?;
        Ok(())
    }

    fn message(&mut self, kind: Kind, end: u64, to: &mut Vec<u8>, depth: usize) -> Result<(), ReadError> {
        if depth > DEEPEST {
            return Err(ReadError::TooDeep);
        }
        while let Some((number, field)) = self.wire.field(end)? {
            let Field::Bytes(inner) = field else {
                self.charge(NUMBERS)?;
                put_number(to, number, &field);
                continue;
            };
            let length = inner - self.wire.at;
            match kind.part(number) {
                Part::Message(child) => {
                    self.charge(child.memory())?;
                    let mut message = Vec::new();
                    if child == Kind::Tensor {
                        self.tensor(inner)?
                            .encode(&mut message)
                            .map_err(|_| ReadError::TooLarge { most: self.most })?;
                    } else {
                        self.message(child, inner, &mut message, depth + 1)?;
                    }
                    put_length(to, number, message.len() as u64);
                    to.append(&mut message);
                    continue;
                }
                Part::Text => self.charge(TEXT.saturating_add(length))?,
                Part::Other => self.charge(TEXT.saturating_add(length.saturating_mul(OPAQUE)))?,
            }
            put_length(to, number, length);
            self.wire.copy(inner, to)?;
        }
        Ok(())
    }

    /// A tensor, without its bytes if they are many.
    fn tensor(&mut self, end: u64) -> Result<TensorProto, ReadError> {
        let (mut rest, mut raw, mut floats) = (Vec::new(), None, Vec::new());
        while let Some((number, field)) = self.wire.field(end)? {
            match field {
                Field::Bytes(inner) if number == field::RAW && inner - self.wire.at > LARGEST_KEPT => {
                    raw = Some((self.wire.at, inner));
                    self.wire.skip(&field)?;
                }
                // Packed floats are the same bytes as raw ones.
                Field::Bytes(inner) if number == field::FLOATS && inner - self.wire.at > LARGEST_KEPT => {
                    floats.push((self.wire.at, inner));
                    self.wire.skip(&field)?;
                }
                Field::Bytes(inner) => {
                    let length = inner - self.wire.at;
                    self.charge(TEXT.saturating_add(length.saturating_mul(NUMBERS)))?;
                    put_length(&mut rest, number, length);
                    self.wire.copy(inner, &mut rest)?;
                }
                _ => {
                    self.charge(NUMBERS)?;
                    put_number(&mut rest, number, &field);
                }
            }
        }
        let mut tensor = TensorProto::decode(&rest[..])?;
        if tensor.data_location == Some(DataLocation::External.into()) {
            let (file, offset, length) = self.files.external(&tensor)?;
            self.place(&mut tensor, file, offset, length)?;
            return Ok(tensor);
        }
        // Of a tensor that is here this says nothing, and could be taken for a reference of the reader itself.
        tensor.external_data.clear();
        match (raw, &floats[..]) {
            (None, []) => tensor::check_kept(&tensor)?,
            (Some((from, to)), []) => self.place(&mut tensor, MAIN, from, to - from)?,
            (None, [(from, to)]) if tensor.float_data.is_empty() => self.place(&mut tensor, MAIN, *from, to - from)?,
            _ => return Err(tensor::wrong(&tensor, "it has its numbers in several pieces")),
        }
        Ok(tensor)
    }

    /// Keeps where a tensor's bytes lie, so that the tensor itself has none.
    fn place(&mut self, tensor: &mut TensorProto, file: usize, offset: u64, length: u64) -> Result<(), ReadError> {
        tensor::check_length(tensor, length)?;
        self.charge(2 * size_of::<Data>() as u64 + OPAQUE)?;
        tensor::refer(tensor, self.data.len());
        self.data.push(Data::Stored { file, offset, length });
        Ok(())
    }
}
