//! A look at an ONNX file without reading its weights: is it whole, which other files does it name, and what goes in and
//! comes out?
//!
//! Everything of no interest is skipped by seeking, so that a model of gigabytes costs a few reads and no memory. Field
//! numbers are those of the ONNX schema (onnx.proto).

use std::io::{Read, Seek};

use webinfer_onnx::{
    ReadError,
    wire::{Field, Wire},
};

use super::placeholder::data_type;
use crate::proto::v1::DataType;

mod field {
    pub const MODEL_GRAPH: u32 = 7;
    pub const MODEL_FUNCTION: u32 = 25;
    pub const GRAPH_INITIALIZER: u32 = 5;
    pub const GRAPH_INPUT: u32 = 11;
    pub const GRAPH_OUTPUT: u32 = 12;
    pub const VALUE_NAME: u32 = 1;
    pub const VALUE_TYPE: u32 = 2;
    pub const TYPE_TENSOR: u32 = 1;
    pub const TENSOR_TYPE_ELEMENT: u32 = 1;
    pub const TENSOR_TYPE_SHAPE: u32 = 2;
    pub const SHAPE_DIMENSION: u32 = 1;
    pub const DIMENSION_VALUE: u32 = 1;
    pub const DIMENSION_NAME: u32 = 2;
    pub const TENSOR_EXTERNAL_DATA: u32 = 13;
    // Floats, integers of 32 and 64 bits, raw, doubles, unsigned integers.
    pub const TENSOR_VALUES: [u32; 6] = [4, 5, 7, 9, 10, 11];
    pub const ENTRY_KEY: u32 = 1;
    pub const ENTRY_VALUE: u32 = 2;
}

/// Longest name or location that is read.
const LONGEST_TEXT: u64 = 4096;
/// Inputs, outputs, dimensions of one and files of weights that are read, each.
const MOST_VALUES: usize = 1024;

/// Messages inside messages: a graph in a node of a graph is three.
const DEEPEST: usize = 60;

/// Messages on the way to tensors. A constant, or a branch of an `If`, may keep its weights beside the graph as well.
#[derive(Clone, Copy)]
enum Way {
    Graph,
    Node,
    Attribute,
    Function,
    Sparse,
}

/// What a field leads to.
enum Step {
    /// Further.
    Into(Way),
    /// There.
    Tensor,
}

impl Way {
    /// What a field of bytes leads to; `None` where that is no tensor.
    fn step(self, number: u32) -> Option<Step> {
        Some(match (self, number) {
            (Self::Graph, field::GRAPH_INITIALIZER) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Step::Tensor,
            (Self::Graph, 1) | (Self::Function, 7) => Step::Into(Self::Node),
            (Self::Node, 5) | (Self::Function, 11) => Step::Into(Self::Attribute),
            (Self::Attribute, 6 | 11) => Step::Into(Self::Graph),
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Step::Into(Self::Sparse),
            _ => return None,
        })
    }
}

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

/// Walks a whole file.
pub fn scan<R: Read + Seek>(file: R) -> Result<Scan, ReadError> {
    let (wire, end) = Wire::new(file)?;
    let mut walk = Walk { wire };
    let mut scan = Scan::default();
    let mut has_graph = false;
    while let Some((number, inner)) = walk.wire.field(end)? {
        match (number, inner) {
            (field::MODEL_GRAPH, Field::Bytes(graph_end)) => {
                has_graph = true;
                walk.graph(graph_end, &mut scan)?;
            }
            (field::MODEL_FUNCTION, Field::Bytes(end)) => walk.tensors(Way::Function, end, &mut scan, 0)?,
            (_, other) => walk.wire.skip(&other)?,
        }
    }
    if !has_graph {
        return Err(ReadError::NotOnnx("it has no graph"));
    }
    Ok(scan)
}

struct Walk<R> {
    wire: Wire<R>,
}

impl<R: Read + Seek> Walk<R> {
    fn graph(&mut self, end: u64, scan: &mut Scan) -> Result<(), ReadError> {
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::GRAPH_INPUT, Field::Bytes(end)) if scan.inputs.len() < MOST_VALUES => {
                    scan.inputs.push(self.value(end)?);
                }
                (field::GRAPH_OUTPUT, Field::Bytes(end)) if scan.outputs.len() < MOST_VALUES => {
                    scan.outputs.push(self.value(end)?);
                }
                (number, Field::Bytes(end)) => match Way::Graph.step(number) {
                    Some(Step::Tensor) => self.tensor(end, scan)?,
                    Some(Step::Into(way)) => self.tensors(way, end, scan, 1)?,
                    None => self.wire.skip(&Field::Bytes(end))?,
                },
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(())
    }

    /// Looks at the tensors of a message.
    fn tensors(&mut self, way: Way, end: u64, scan: &mut Scan, depth: usize) -> Result<(), ReadError> {
        if depth > DEEPEST {
            return Err(ReadError::TooDeep);
        }
        while let Some((number, inner)) = self.wire.field(end)? {
            match (way.step(number), inner) {
                (Some(Step::Tensor), Field::Bytes(end)) => self.tensor(end, scan)?,
                (Some(Step::Into(way)), Field::Bytes(end)) => self.tensors(way, end, scan, depth + 1)?,
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, end: u64) -> Result<Value, ReadError> {
        let mut value = Value::default();
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::VALUE_NAME, Field::Bytes(end)) => value.name = self.wire.text(end, LONGEST_TEXT)?,
                (field::VALUE_TYPE, Field::Bytes(end)) => self.value_type(end, &mut value)?,
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(value)
    }

    fn value_type(&mut self, end: u64, value: &mut Value) -> Result<(), ReadError> {
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::TYPE_TENSOR, Field::Bytes(end)) => self.tensor_type(end, value)?,
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(())
    }

    fn tensor_type(&mut self, end: u64, value: &mut Value) -> Result<(), ReadError> {
        // Without a shape not even the number of dimensions is known.
        value.dimensions = vec![Dimension::Unknown];
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::TENSOR_TYPE_ELEMENT, Field::Number(number)) => value.data_type = data_type(number),
                (field::TENSOR_TYPE_SHAPE, Field::Bytes(end)) => value.dimensions = self.shape(end)?,
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(())
    }

    fn shape(&mut self, end: u64) -> Result<Vec<Dimension>, ReadError> {
        let mut dimensions = Vec::new();
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::SHAPE_DIMENSION, Field::Bytes(end)) if dimensions.len() < MOST_VALUES => {
                    dimensions.push(self.dimension(end)?);
                }
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(dimensions)
    }

    fn dimension(&mut self, end: u64) -> Result<Dimension, ReadError> {
        let mut dimension = Dimension::Unknown;
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::DIMENSION_VALUE, Field::Number(size)) => {
                    dimension = u32::try_from(size).map_or(Dimension::Unknown, Dimension::Fixed);
                }
                (field::DIMENSION_NAME, Field::Bytes(end)) => match self.wire.text(end, LONGEST_TEXT)? {
                    name if name.is_empty() => {}
                    name => dimension = Dimension::Named(name),
                },
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(dimension)
    }

    fn tensor(&mut self, end: u64, scan: &mut Scan) -> Result<(), ReadError> {
        let locations = &mut scan.external_data;
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::TENSOR_EXTERNAL_DATA, Field::Bytes(entry_end)) => match self.entry(entry_end)? {
                    (key, location) if key == "location" && !locations.contains(&location) => {
                        if locations.len() == MOST_VALUES {
                            return Err(ReadError::NotOnnx("it names too many files"));
                        }
                        locations.push(location);
                    }
                    (key, length) if key == "length" => {
                        scan.largest_tensor = scan.largest_tensor.max(length.parse().unwrap_or(0));
                    }
                    _ => {}
                },
                (number, Field::Bytes(values_end)) if field::TENSOR_VALUES.contains(&number) => {
                    scan.largest_tensor = scan.largest_tensor.max(values_end - self.wire.at);
                    self.wire.skip(&Field::Bytes(values_end))?;
                }
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok(())
    }

    /// An entry of what is said of external data.
    fn entry(&mut self, end: u64) -> Result<(String, String), ReadError> {
        let (mut key, mut value) = (String::new(), String::new());
        while let Some((number, inner)) = self.wire.field(end)? {
            match (number, inner) {
                (field::ENTRY_KEY, Field::Bytes(text_end)) => key = self.wire.text(text_end, LONGEST_TEXT)?,
                (field::ENTRY_VALUE, Field::Bytes(text_end)) => value = self.wire.text(text_end, LONGEST_TEXT)?,
                (_, other) => self.wire.skip(&other)?,
            }
        }
        Ok((key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use webinfer_onnx::ReadError;

    use super::{Dimension, scan};
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
    fn names_the_files_of_constants_and_of_graphs_inside() {
        let tensor = |location: &str| nested(13, &[nested(1, b"location"), nested(2, location.as_bytes())].concat());
        let node = |attribute: &[u8]| nested(1, &nested(5, attribute));
        let branch = nested(5, &tensor("branch"));
        let inside = [node(&nested(5, &tensor("constant"))), nested(5, &tensor("inside"))].concat();
        let graph = [node(&nested(6, &branch)), node(&nested(11, &inside)), nested(5, &tensor("graph"))].concat();
        let found = scan(Cursor::new(nested(7, &graph))).unwrap();
        assert_eq!(found.external_data, ["branch", "constant", "inside", "graph"]);
    }

    #[test]
    fn graphs_in_graphs_end_somewhere() {
        let graph = (0..30).fold(Vec::new(), |graph, _| nested(1, &nested(5, &nested(6, &graph))));
        assert!(matches!(scan(Cursor::new(nested(7, &graph))), Err(ReadError::TooDeep)));
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
            let noticed = matches!(error, ReadError::Truncated { .. } | ReadError::NotOnnx(_));
            prop_assert!(noticed);
        }

        #[test]
        fn garbage_ends_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = scan(Cursor::new(bytes));
        }
    }
}
