//! What is known of values before a graph runs: their types, their shapes, and the numbers of small ones.
//!
//! Sizes that are not known have names (`dim`), so that arithmetic on shapes comes out even where a batch has no size yet.
//! A rule says only what holds for each run that does not fail.

use half::f16;

use super::{
    dim::{Dim, Symbols},
    infer::infer,
    net::{Net, input},
};
use crate::{
    graph::is,
    proto::{GraphProto, TensorProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto},
    tensor::{data_type, elements, floats},
};

/// Values of more elements are not followed.
const MOST_ELEMENTS: usize = 64;

/// Numbers of a value, in the order of its elements. Truths are 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Whole numbers.
    Ints(Vec<Dim>),
    /// Floats.
    Floats(Vec<f32>),
}

impl Content {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(all) => all.len(),
            Self::Floats(all) => all.len(),
        }
    }
}

/// What is known of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// The type of its elements.
    pub kind: Option<DataType>,
    /// Its shape.
    pub shape: Option<Vec<Dim>>,
    /// Its numbers.
    pub content: Option<Content>,
}

impl Fact {
    /// One of a type alone.
    pub fn of(kind: Option<DataType>, shape: Option<Vec<Dim>>) -> Self {
        Self { kind, shape, content: None }
    }

    /// Its numbers, if they are whole.
    pub fn ints(&self) -> Option<&[Dim]> {
        match self.content.as_ref()? {
            Content::Ints(all) => Some(all),
            Content::Floats(_) => None,
        }
    }

    /// Its numbers, if they are whole and known.
    pub fn numbers(&self) -> Option<Vec<i64>> {
        self.ints()?.iter().map(Dim::number).collect()
    }

    /// How many dimensions it has.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// With numbers as its type has them, and without those that are not as many as the shape says, or too many to follow.
    fn checked(mut self) -> Self {
        if let (Some(DataType::Float16), Some(Content::Floats(all))) = (self.kind, &mut self.content) {
            all.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        let all = self.shape.as_ref().and_then(|shape| super::dim::product(shape)).and_then(|all| all.number());
        self.content =
            self.content.take_if(|content| content.len() <= MOST_ELEMENTS && all == i64::try_from(content.len()).ok());
        self
    }
}

/// Finds out what is known of a graph's values. The net has to be sorted.
pub fn learn(net: &mut Net, graph: &GraphProto, opset: i64) {
    let mut symbols = Symbols::default();
    let mut facts: std::collections::HashMap<_, _> =
        net.tensors().map(|(name, tensor)| (name.clone(), of_tensor(tensor))).collect();
    for value in &graph.input {
        facts.entry(value.name().to_owned()).or_insert_with(|| of_input(value, &mut symbols));
    }
    let nothing = Fact::default();
    for at in 0..net.len() {
        let Some(node) = net.node(at) else { continue };
        let inputs: Vec<&Fact> =
            (0..node.input.len()).map(|at| facts.get(input(node, at)).unwrap_or(&nothing)).collect();
        let fact = infer(node, &inputs, opset, &mut symbols).unwrap_or_default().checked();
        if let Some(output) = node.output.first().filter(|output| !output.is_empty()) {
            facts.insert(output.clone(), fact);
        }
    }
    net.facts = facts;
}

/// What is known of a constant.
pub fn of_tensor(tensor: &TensorProto) -> Fact {
    let shape = elements(&tensor.dims).map(|_| tensor.dims.iter().map(|dim| Dim::known(*dim)).collect());
    Fact { kind: Some(data_type(tensor)), shape, content: content(tensor) }.checked()
}

fn content(tensor: &TensorProto) -> Option<Content> {
    let known = |all: Vec<i64>| Content::Ints(all.into_iter().map(Dim::known).collect());
    let raw = tensor.raw_data.as_deref();
    Some(match (data_type(tensor), raw) {
        (DataType::Int64, Some(raw)) => {
            known(raw.as_chunks::<8>().0.iter().map(|eight| i64::from_le_bytes(*eight)).collect())
        }
        (DataType::Int64, None) => known(tensor.int64_data.clone()),
        (DataType::Int32, Some(raw)) => {
            known(raw.as_chunks::<4>().0.iter().map(|four| i32::from_le_bytes(*four).into()).collect())
        }
        (DataType::Bool, Some(raw)) => known(raw.iter().map(|truth| i64::from(*truth != 0)).collect()),
        (DataType::Int32, None) => known(tensor.int32_data.iter().map(|number| i64::from(*number)).collect()),
        (DataType::Bool, None) => known(tensor.int32_data.iter().map(|truth| i64::from(*truth != 0)).collect()),
        (kind @ (DataType::Float | DataType::Float16), Some(raw)) => Content::Floats(floats(kind, raw)),
        (DataType::Float, None) => Content::Floats(tensor.float_data.clone()),
        _ => return None,
    })
}

/// What is known of an input: sizes of one name are one size.
fn of_input(value: &ValueInfoProto, symbols: &mut Symbols) -> Fact {
    use tensor_shape_proto::dimension::Value;
    let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else { return Fact::default() };
    let dim = |(at, dim): (usize, &tensor_shape_proto::Dimension)| match &dim.value {
        Some(Value::DimValue(size)) if *size >= 0 => Dim::known(*size),
        Some(Value::DimParam(name)) if !name.is_empty() => symbols.named(format!("size {name}")),
        _ => symbols.named(format!("{at} of {}", value.name())),
    };
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().enumerate().map(dim).collect());
    Fact::of(DataType::try_from(tensor.elem_type()).ok(), shape)
}

/// Has the numbers of a graph's `Constant` nodes stand among its constants, where others are.
pub fn hoist(net: &mut Net) {
    for at in 0..net.len() {
        let Some(node) = net.node(at).filter(|node| is(node, "Constant")) else { continue };
        let [output] = &node.output[..] else { continue };
        let Some(mut tensor) = constant(node) else { continue };
        if net.is_kept(output) {
            continue;
        }
        tensor.name = Some(output.clone());
        net.remove(at);
        net.insert_tensor(tensor);
    }
}

fn constant(node: &crate::proto::NodeProto) -> Option<TensorProto> {
    let [attribute] = &node.attribute[..] else { return None };
    let of = |kind: DataType, dims: &[i64], raw: Vec<u8>| TensorProto {
        data_type: Some(kind.into()),
        dims: dims.to_vec(),
        raw_data: Some(raw),
        ..Default::default()
    };
    match attribute.name() {
        "value" => attribute.t.as_deref().cloned(),
        "value_int" => Some(of(DataType::Int64, &[], attribute.i().to_le_bytes().to_vec())),
        "value_float" => Some(of(DataType::Float, &[], attribute.f().to_le_bytes().to_vec())),
        "value_ints" => {
            let raw = attribute.ints.iter().flat_map(|number| number.to_le_bytes()).collect();
            Some(of(DataType::Int64, &[i64::try_from(attribute.ints.len()).ok()?], raw))
        }
        _ => None,
    }
}
