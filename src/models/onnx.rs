//! A look at an ONNX file without reading its weights: is it whole, which other files does it name, and what goes in and
//! comes out?
//!
//! The protobuf wire format is walked field by field and everything of no interest is skipped by seeking, so that a
//! model of gigabytes costs a few reads and no memory. Field numbers are those of the ONNX schema (onnx.proto).

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::placeholder::data_type;
use crate::proto::v1::DataType;

/// Why a file is not a usable ONNX model.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It ends inside a field.
    #[error("it is truncated: a field at byte {at} is said to have {length} bytes, and {left} are left")]
    Truncated {
        /// Where the field begins.
        at: u64,
        /// Its stated length.
        length: u64,
        /// What the file still has.
        left: u64,
    },
    /// It is something else.
    #[error("it is not an ONNX model: {0}")]
    NotOnnx(&'static str),
}

mod field {
    pub const MODEL_GRAPH: u64 = 7;
    pub const GRAPH_INITIALIZER: u64 = 5;
    pub const GRAPH_INPUT: u64 = 11;
    pub const GRAPH_OUTPUT: u64 = 12;
    pub const VALUE_NAME: u64 = 1;
    pub const VALUE_TYPE: u64 = 2;
    pub const TYPE_TENSOR: u64 = 1;
    pub const TENSOR_TYPE_ELEMENT: u64 = 1;
    pub const TENSOR_TYPE_SHAPE: u64 = 2;
    pub const SHAPE_DIMENSION: u64 = 1;
    pub const DIMENSION_VALUE: u64 = 1;
    pub const DIMENSION_NAME: u64 = 2;
    pub const TENSOR_EXTERNAL_DATA: u64 = 13;
    // Floats, integers of 32 and 64 bits, raw, doubles, unsigned integers.
    pub const TENSOR_VALUES: [u64; 6] = [4, 5, 7, 9, 10, 11];
    pub const ENTRY_KEY: u64 = 1;
    pub const ENTRY_VALUE: u64 = 2;
}

/// Longest name or location that is read.
const LONGEST_TEXT: u64 = 4096;
/// Inputs, outputs, dimensions of one and files of weights that are read, each.
const MOST_VALUES: usize = 1024;

/// What a file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The locations of its external data, each once.
    pub external_data: Vec<String>,
    /// Bytes of the largest of its weights, as far as it tells them.
    pub largest_tensor: u64,
    /// The graph's inputs.
    pub inputs: Vec<Value>,
    /// The graph's outputs.
    pub outputs: Vec<Value>,
}

/// An input or output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// The type of its elements; `None` for one that is not served.
    pub data_type: Option<DataType>,
    /// Its dimensions, outermost first.
    pub dimensions: Vec<Dimension>,
}

/// A dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Always so large.
    Fixed(u32),
    /// As large as all others of that name.
    Named(String),
    /// The graph does not say.
    Unknown,
}

/// What a field of a message has.
enum Field {
    /// A number.
    Number(u64),
    /// Bytes, up to there.
    Bytes(u64),
    /// A number of fixed width, which was skipped.
    Fixed,
}

/// Walks a whole file.
pub fn scan<R: Read + Seek>(mut file: R) -> Result<Scan, ScanError> {
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut walk = Walk { file: BufReader::with_capacity(4096, file), at: 0 };
    let mut scan = Scan::default();
    let mut has_graph = false;
    while let Some((number, inner)) = walk.field(end)? {
        match (number, inner) {
            (field::MODEL_GRAPH, Field::Bytes(graph_end)) => {
                has_graph = true;
                walk.graph(graph_end, &mut scan)?;
            }
            (_, other) => walk.skip(&other)?,
        }
    }
    if !has_graph {
        return Err(ScanError::NotOnnx("it has no graph"));
    }
    Ok(scan)
}

struct Walk<R> {
    file: BufReader<R>,
    at: u64,
}

impl<R: Read + Seek> Walk<R> {
    fn graph(&mut self, end: u64, scan: &mut Scan) -> Result<(), ScanError> {
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::GRAPH_INITIALIZER, Field::Bytes(end)) => self.tensor(end, scan)?,
                (field::GRAPH_INPUT, Field::Bytes(end)) if scan.inputs.len() < MOST_VALUES => {
                    scan.inputs.push(self.value(end)?);
                }
                (field::GRAPH_OUTPUT, Field::Bytes(end)) if scan.outputs.len() < MOST_VALUES => {
                    scan.outputs.push(self.value(end)?);
                }
                (_, other) => self.skip(&other)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, end: u64) -> Result<Value, ScanError> {
        let mut value = Value::default();
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::VALUE_NAME, Field::Bytes(end)) => value.name = self.text(end)?,
                (field::VALUE_TYPE, Field::Bytes(end)) => self.value_type(end, &mut value)?,
                (_, other) => self.skip(&other)?,
            }
        }
        Ok(value)
    }

    fn value_type(&mut self, end: u64, value: &mut Value) -> Result<(), ScanError> {
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::TYPE_TENSOR, Field::Bytes(end)) => self.tensor_type(end, value)?,
                (_, other) => self.skip(&other)?,
            }
        }
        Ok(())
    }

    fn tensor_type(&mut self, end: u64, value: &mut Value) -> Result<(), ScanError> {
        // Without a shape not even the number of dimensions is known.
        value.dimensions = vec![Dimension::Unknown];
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::TENSOR_TYPE_ELEMENT, Field::Number(number)) => value.data_type = data_type(number),
                (field::TENSOR_TYPE_SHAPE, Field::Bytes(end)) => value.dimensions = self.shape(end)?,
                (_, other) => self.skip(&other)?,
            }
        }
        Ok(())
    }

    fn shape(&mut self, end: u64) -> Result<Vec<Dimension>, ScanError> {
        let mut dimensions = Vec::new();
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::SHAPE_DIMENSION, Field::Bytes(end)) if dimensions.len() < MOST_VALUES => {
                    dimensions.push(self.dimension(end)?);
                }
                (_, other) => self.skip(&other)?,
            }
        }
        Ok(dimensions)
    }

    fn dimension(&mut self, end: u64) -> Result<Dimension, ScanError> {
        let mut dimension = Dimension::Unknown;
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::DIMENSION_VALUE, Field::Number(size)) => {
                    dimension = u32::try_from(size).map_or(Dimension::Unknown, Dimension::Fixed);
                }
                (field::DIMENSION_NAME, Field::Bytes(end)) => match self.text(end)? {
                    name if name.is_empty() => {}
                    name => dimension = Dimension::Named(name),
                },
                (_, other) => self.skip(&other)?,
            }
        }
        Ok(dimension)
    }

    fn tensor(&mut self, end: u64, scan: &mut Scan) -> Result<(), ScanError> {
        let locations = &mut scan.external_data;
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::TENSOR_EXTERNAL_DATA, Field::Bytes(entry_end)) => match self.entry(entry_end)? {
                    (key, location) if key == "location" && !locations.contains(&location) => {
                        if locations.len() == MOST_VALUES {
                            return Err(ScanError::NotOnnx("it names too many files"));
                        }
                        locations.push(location);
                    }
                    (key, length) if key == "length" => {
                        scan.largest_tensor = scan.largest_tensor.max(length.parse().unwrap_or(0));
                    }
                    _ => {}
                },
                (number, Field::Bytes(values_end)) if field::TENSOR_VALUES.contains(&number) => {
                    scan.largest_tensor = scan.largest_tensor.max(values_end - self.at);
                    self.seek(values_end)?;
                }
                (_, other) => self.skip(&other)?,
            }
        }
        Ok(())
    }

    /// An entry of what is said of external data.
    fn entry(&mut self, end: u64) -> Result<(String, String), ScanError> {
        let (mut key, mut value) = (String::new(), String::new());
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::ENTRY_KEY, Field::Bytes(text_end)) => key = self.text(text_end)?,
                (field::ENTRY_VALUE, Field::Bytes(text_end)) => value = self.text(text_end)?,
                (_, other) => self.skip(&other)?,
            }
        }
        Ok((key, value))
    }

    fn text(&mut self, end: u64) -> Result<String, ScanError> {
        let length = end - self.at;
        if length > LONGEST_TEXT {
            return Err(ScanError::NotOnnx("a name in it is too long"));
        }
        let mut text = Vec::new();
        (&mut self.file).take(length).read_to_end(&mut text)?;
        self.at = end;
        String::from_utf8(text).map_err(|_| ScanError::NotOnnx("a name in it is not UTF-8"))
    }

    /// Leaves what a field has.
    fn skip(&mut self, field: &Field) -> Result<(), ScanError> {
        match *field {
            Field::Bytes(end) => self.seek(end),
            Field::Number(_) | Field::Fixed => Ok(()),
        }
    }

    /// The next field before `end`: its number, and what it has. Bytes are left to be read or skipped.
    fn field(&mut self, end: u64) -> Result<Option<(u64, Field)>, ScanError> {
        if self.at == end {
            return Ok(None);
        }
        let begin = self.at;
        let key = self.varint(end)?;
        let skip = match key & 7 {
            0 => return Ok(Some((key >> 3, Field::Number(self.varint(end)?)))),
            1 => 8,
            5 => 4,
            2 => {
                let length = self.varint(end)?;
                let left = end - self.at;
                if length > left {
                    return Err(ScanError::Truncated { at: begin, length, left });
                }
                return Ok(Some((key >> 3, Field::Bytes(self.at + length))));
            }
            _ => return Err(ScanError::NotOnnx("it is not protobuf")),
        };
        let left = end - self.at;
        if skip > left {
            return Err(ScanError::Truncated { at: begin, length: skip, left });
        }
        self.seek(self.at + skip)?;
        Ok(Some((key >> 3, Field::Fixed)))
    }

    fn varint(&mut self, end: u64) -> Result<u64, ScanError> {
        let begin = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.file.fill_buf()?.first().filter(|_| self.at < end) else {
                return Err(ScanError::Truncated { at: begin, length: self.at - begin + 1, left: end - begin });
            };
            self.file.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ScanError::NotOnnx("it is not protobuf"))
    }

    fn seek(&mut self, to: u64) -> Result<(), ScanError> {
        // A relative seek keeps the buffer where the target lies inside it. File sizes stay below 2^63.
        self.file.seek_relative((to - self.at).cast_signed())?;
        self.at = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::{Dimension, ScanError, scan};
    use crate::proto::v1::DataType;

    fn nested(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(content);
        field
    }

    fn model(location: &str) -> Vec<u8> {
        let entry = [nested(1, b"location"), nested(2, location.as_bytes())].concat();
        let length = [nested(1, b"length"), nested(2, b"4096")].concat();
        let tensor = [nested(8, b"weight"), nested(9, &[7; 1000]), nested(13, &entry), nested(13, &length)].concat();
        let shape = [nested(1, &nested(2, b"batch")), nested(1, &[1 << 3, 5]), nested(1, b"")].concat();
        let of_tensor = nested(1, &[vec![1 << 3, 7], nested(2, &shape)].concat());
        let output = [nested(1, b"y"), nested(2, &of_tensor)].concat();
        let graph = [nested(2, b"graph"), nested(5, &tensor), nested(5, &tensor), nested(12, &output)].concat();
        [vec![1 << 3, 8], nested(2, b"producer"), nested(7, &graph)].concat()
    }

    #[test]
    fn names_each_external_file_once() {
        let found = scan(Cursor::new(model("model.onnx_data"))).unwrap();
        assert_eq!(found.external_data, ["model.onnx_data"]);
        assert_eq!(found.largest_tensor, 4096);
    }

    #[test]
    fn reads_what_comes_out() {
        let found = scan(Cursor::new(model("w"))).unwrap();
        let [output] = &found.outputs[..] else { panic!("{found:?}") };
        assert_eq!((output.name.as_str(), output.data_type), ("y", Some(DataType::Int64)));
        assert_eq!(output.dimensions, [Dimension::Named("batch".into()), Dimension::Fixed(5), Dimension::Unknown]);
    }

    proptest! {
        #[test]
        fn every_cut_is_noticed(cut in 1usize..1100) {
            let whole = model("w");
            let short = &whole[..whole.len() - cut.min(whole.len() - 1)];
            let error = scan(Cursor::new(short)).unwrap_err();
            let noticed = matches!(error, ScanError::Truncated { .. } | ScanError::NotOnnx(_));
            prop_assert!(noticed);
        }

        #[test]
        fn garbage_ends_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = scan(Cursor::new(bytes));
        }
    }
}
