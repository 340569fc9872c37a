//! What a model is run on to be measured: text for a model of tokens, noise for one of pictures, sound or vectors. It is the
//! same for the same folder.

use std::path::Path;

use tokenizers::{Tokenizer, TruncationParams};
use tract_onnx::prelude::{IntoTValue, TValue, Tensor};

use super::passages::PASSAGES;
use crate::{
    error::Error,
    model::Model,
    proto::{ValueInfoProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto::Value},
    weights::{Use, Weight},
};

/// Tokens of an item, at most.
const TOKENS: usize = 48;
/// Samples of an item of sound: a second.
const SAMPLES: usize = 16_000;
/// Rows and columns of a picture where the folder does not say.
const PIXELS: usize = 224;
/// Numbers of an item, of all inputs together: all items are in memory while a model is measured.
const MOST_NUMBERS: usize = 1 << 24;

/// The values that go into a model, in the order of its inputs.
pub type Item = Vec<TValue>;

/// Makes inputs.
pub struct Inputs<'a> {
    inputs: Vec<&'a ValueInfoProto>,
    /// The tokens of each item, alike many.
    tokens: Vec<Vec<i64>>,
    pixels: usize,
    /// Of what kind they are, in words.
    pub what: String,
}

impl<'a> Inputs<'a> {
    /// What is known of the inputs of a model in a folder.
    pub fn new(model: &'a Model, weights: &[Weight], folder: &Path) -> Self {
        let is_weight = |name: &str| model.graph.initializer.iter().any(|tensor| tensor.name() == name);
        let inputs: Vec<_> = model.graph.input.iter().filter(|input| !is_weight(input.name())).collect();
        let (tokens, what) = match passages(&folder.join("tokenizer.json")) {
            Some(tokens) => (tokens, format!("{} passages of English", PASSAGES.len())),
            None => (random_tokens(weights), format!("{} rows of tokens drawn at random", PASSAGES.len())),
        };
        let has = |end: &str| inputs.iter().any(|input| input.name().ends_with(end));
        let what = if has("ids") { what } else { format!("{} items of noise", PASSAGES.len()) };
        let what = if has("ids") && has("pixel_values") { what + ", with noise for pictures" } else { what };
        Self { inputs, tokens, pixels: pixels(folder).unwrap_or(PIXELS), what }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// One item.
    pub fn item(&self, number: usize) -> Result<Item, Error> {
        let (mut noise, mut left) = (Noise(number as u64 + 1), MOST_NUMBERS);
        let mut item = Item::new();
        for input in &self.inputs {
            let shape = self.shape(input)?;
            let count = shape.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
            left = count.and_then(|count| left.checked_sub(count)).ok_or_else(|| {
                Error::Run(format!("its inputs take more than {MOST_NUMBERS} numbers together, which is not tried"))
            })?;
            item.push(self.tensor(input, &shape, number, &mut noise)?.into_tvalue());
        }
        Ok(item)
    }

    /// The shape that an input gets.
    fn shape(&self, input: &ValueInfoProto) -> Result<Vec<usize>, Error> {
        let unknown = |what: &str| unknown(input, what);
        let Some(Value::TensorType(of)) = input.r#type.as_ref().and_then(|of| of.value.as_ref()) else {
            return Err(unknown("it is no tensor"));
        };
        let dims = of.shape.as_ref().map(|shape| &shape.dim[..]).unwrap_or_default();
        let mut shape = Vec::new();
        for dim in dims {
            shape.push(match &dim.value {
                Some(dimension::Value::DimValue(size)) if (1..=1 << 20).contains(size) => *size as usize,
                Some(dimension::Value::DimParam(name)) => self.size(input.name(), name).ok_or_else(|| unknown(name))?,
                _ => return Err(unknown("a dimension has no name")),
            });
        }
        Ok(shape)
    }

    fn tensor(
        &self,
        input: &ValueInfoProto,
        shape: &[usize],
        number: usize,
        noise: &mut Noise,
    ) -> Result<Tensor, Error> {
        let unknown = |what: &str| unknown(input, what);
        let (name, count) = (input.name(), shape.iter().product::<usize>());
        let data_type = match input.r#type.as_ref().and_then(|of| of.value.as_ref()) {
            Some(Value::TensorType(of)) => DataType::try_from(of.elem_type()).unwrap_or(DataType::Undefined),
            _ => DataType::Undefined,
        };
        let tensor = match data_type {
            DataType::Int64 | DataType::Int32 => {
                let tokens = &self.tokens[number];
                let value = |at: usize| match name {
                    _ if name.contains("mask") => Some(1),
                    _ if name.contains("type") => Some(0),
                    _ if name.contains("position") => Some((at % tokens.len()) as i64),
                    _ if name.ends_with("ids") => Some(tokens[at % tokens.len()]),
                    _ => None,
                };
                let values: Option<Vec<i64>> = (0..count).map(value).collect();
                let values = values.ok_or_else(|| unknown("it is of whole numbers"))?;
                if data_type == DataType::Int64 {
                    Tensor::from_shape(shape, &values)
                } else {
                    Tensor::from_shape(shape, &values.iter().map(|value| *value as i32).collect::<Vec<_>>())
                }
            }
            DataType::Float if name.contains("mask") => Tensor::from_shape(shape, &vec![1f32; count]),
            DataType::Float => Tensor::from_shape(shape, &(0..count).map(|_| noise.normal()).collect::<Vec<_>>()),
            DataType::Bool => Tensor::from_shape(shape, &vec![false; count]),
            _ => return Err(unknown("its type")),
        };
        tensor.map_err(|error| Error::Run(error.to_string()))
    }

    /// The size of a dimension, by what exporters call it.
    fn size(&self, input: &str, name: &str) -> Option<usize> {
        name.split('+').map(|part| self.part(input, part.trim())).sum()
    }

    /// One of what the size of a dimension is the sum of.
    fn part(&self, input: &str, name: &str) -> Option<usize> {
        Some(match name {
            _ if name.contains("batch") => 1,
            _ if name.contains("past") => 0,
            _ if name.contains("sequence") && input == "input_values" => SAMPLES,
            _ if name.contains("sequence") => self.tokens.first()?.len(),
            _ if name.contains("channels") => 3,
            "height" | "width" => self.pixels,
            _ => return None,
        })
    }
}

/// Why there is nothing to give to an input.
fn unknown(input: &ValueInfoProto, what: &str) -> Error {
    Error::Run(format!("what its input {:?} takes is not known: {what}", input.name()))
}

/// The passages in tokens, all cut to one length; `None` without a tokenizer that can be read.
fn passages(file: &Path) -> Option<Vec<Vec<i64>>> {
    let mut tokenizer = Tokenizer::from_file(file).ok()?;
    tokenizer.with_padding(None);
    let encode = |tokenizer: &Tokenizer, text: &str| {
        let ids = tokenizer.encode(text, true).ok()?.get_ids().iter().map(|id| i64::from(*id)).collect::<Vec<_>>();
        (!ids.is_empty()).then_some(ids)
    };
    let lengths: Option<Vec<_>> = PASSAGES.iter().map(|text| Some(encode(&tokenizer, text)?.len())).collect();
    let max_length = lengths?.into_iter().min()?.min(TOKENS);
    tokenizer.with_truncation(Some(TruncationParams { max_length, ..Default::default() })).ok()?;
    let all: Vec<_> = PASSAGES.iter().map(|text| encode(&tokenizer, text)).collect::<Option<_>>()?;
    all.iter().all(|tokens| tokens.len() == max_length).then_some(all)
}

/// Numbers below that of the rows of the largest table.
fn random_tokens(weights: &[Weight]) -> Vec<Vec<i64>> {
    let rows = weights.iter().filter_map(|weight| match weight.used {
        Use::Lookup { rows, .. } => Some(rows),
        Use::Product(_) => None,
    });
    let (words, mut noise) = (rows.max().unwrap_or(100) as u64, Noise(0));
    PASSAGES.iter().map(|_| (0..TOKENS).map(|_| (noise.next() % words) as i64).collect()).collect()
}

/// Rows of a picture, as the folder says.
fn pixels(folder: &Path) -> Option<usize> {
    let read = |name: &str| serde_json::from_slice::<serde_json::Value>(&std::fs::read(folder.join(name)).ok()?).ok();
    let number =
        |value: &serde_json::Value| value.as_u64().filter(|size| (1..=2048).contains(size)).map(|size| size as usize);
    let processor = read("preprocessor_config.json");
    let size = |key: &str| {
        let size = processor.as_ref()?.get(key)?;
        number(size).or_else(|| number(size.get("height")?)).or_else(|| number(size.get("shortest_edge")?))
    };
    size("crop_size").or_else(|| size("size")).or_else(|| number(read("config.json")?.get("image_size")?))
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// About normal: the sum of twelve even ones.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1u32 << 24) as f32).sum::<f32>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Inputs, Value};
    use crate::proto::{
        TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_proto::DataType,
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    };

    /// An input of floats that is a mask, and so is quickly made.
    fn mask(dims: &[i64]) -> ValueInfoProto {
        let dim = |size: &i64| Dimension { value: Some(dimension::Value::DimValue(*size)), ..Default::default() };
        let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
        let of = type_proto::Tensor { elem_type: Some(DataType::Float.into()), shape: Some(shape) };
        let r#type = TypeProto { value: Some(Value::TensorType(of)), ..Default::default() };
        ValueInfoProto { name: Some("mask".into()), r#type: Some(r#type), ..Default::default() }
    }

    #[test]
    fn an_item_takes_so_much_memory_and_no_more() {
        let item = |all: &[&ValueInfoProto]| {
            let inputs = Inputs { inputs: all.to_vec(), tokens: vec![vec![1]], pixels: 7, what: String::new() };
            inputs.item(0).map(|item| item.len()).map_err(|error| error.to_string())
        };
        let (most, one) = (mask(&[1 << 12, 1 << 12]), mask(&[1]));
        assert_eq!(item(&[&most]), Ok(1));
        assert_eq!(item(&[&one, &one]), Ok(2));
        for too_many in [item(&[&most, &one]), item(&[&mask(&[1 << 13, 1 << 12])]), item(&[&mask(&[1 << 20; 4])])] {
            assert!(too_many.is_err_and(|error| error.contains("together")));
        }
    }

    fn inputs() -> Inputs<'static> {
        Inputs { inputs: Vec::new(), tokens: vec![vec![1, 2, 3]], pixels: 7, what: String::new() }
    }

    #[test]
    fn sizes_are_sums_of_as_many_parts_as_there_are() {
        let size = |name: &str| inputs().size("x", name);
        assert_eq!(size("past_sequence_length + sequence_length"), Some(3));
        assert_eq!(size("height+unheard_of"), None);
        assert_eq!(size("height+"), None);
        assert_eq!(size(&vec!["height"; 200_000].join("+")), Some(1_400_000));
    }
}
