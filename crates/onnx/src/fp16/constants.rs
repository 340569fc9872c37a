//! Constants of a graph, in the widths in which they are wanted.

use std::mem::take;

use half::f16;

use super::MOST;
use crate::{
    error::{Error, ReadError},
    graph::is,
    job::{Job, Work},
    model::{Data, Model},
    proto::{
        AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType, tensor_proto::DataType,
    },
    rewrite::cast,
    tensor::{is_float, of_floats},
};

/// Up to so many numbers are settings rather than weights: none of them may become zero.
const FEW: usize = 16;

/// A constant.
pub struct Constant {
    /// Its shape.
    pub dims: Vec<i64>,
    /// Its name in 16 bits, if that is wanted.
    pub half: Option<String>,
    /// Whether it is wanted in 32 bits.
    pub wants_full: bool,
    fits: bool,
}

impl Constant {
    /// Looks at all of its numbers; unless `read`, only where they are in the graph itself.
    pub fn new(model: &Model, tensor: &TensorProto, read: bool) -> Result<Self, ReadError> {
        let (mut most, mut vanishes, mut count) = (0f32, false, 0);
        let is_there = match model.data(tensor) {
            Some(Data::Made { .. }) => false,
            Some(Data::Stored { .. }) => read,
            None => true,
        };
        if is_there {
            model.each(tensor, &mut |values| {
                count += values.len();
                for value in values {
                    most = most.max(value.abs());
                    vanishes |= *value != 0.0 && f16::from_f32(*value) == f16::ZERO;
                }
            })?;
        }
        let fits = most <= MOST && !(vanishes && count <= FEW);
        Ok(Self { dims: tensor.dims.clone(), half: None, wants_full: false, fits })
    }

    /// Whether 16 bits hold it.
    pub fn fits(&self) -> bool {
        self.fits
    }

    /// The tensor in the width that is wanted, and a cast where both are.
    pub fn emit(
        &self,
        tensor: TensorProto,
        model: &mut Model,
        jobs: &mut Vec<Job>,
    ) -> Result<(TensorProto, Option<NodeProto>), Error> {
        match &self.half {
            Some(half) if self.wants_full => {
                let cast = cast(tensor.name(), half, DataType::Float16);
                Ok((tensor, Some(cast)))
            }
            Some(half) => Ok((narrow(tensor, half, model, jobs)?, None)),
            None => Ok((tensor, None)),
        }
    }
}

/// The same tensor in 16 bits.
fn narrow(tensor: TensorProto, name: &str, model: &mut Model, jobs: &mut Vec<Job>) -> Result<TensorProto, Error> {
    let mut head = TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Float16.into()),
        dims: tensor.dims.clone(),
        ..Default::default()
    };
    match model.data(&tensor) {
        // What is made in 32 bits is made in 16.
        Some(Data::Made { job, part, .. }) => {
            jobs[job].half = true;
            model.make(&mut head, job, part)?;
        }
        Some(Data::Stored { .. }) => {
            model.make(&mut head, jobs.len(), 0)?;
            jobs.push(Job { source: tensor, work: Work::Half, matters: Default::default(), half: true });
        }
        None => {
            let values = model.floats(&tensor)?;
            head.raw_data = Some(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect());
        }
    }
    Ok(head)
}

/// The attribute of a `Constant` with a tensor.
pub fn value(tensor: TensorProto) -> AttributeProto {
    AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor.into()),
        t: Some(Box::new(tensor)),
        ..Default::default()
    }
}

/// Makes initializers of a graph's float `Constant` nodes.
pub fn hoist(graph: &mut GraphProto) {
    for mut node in take(&mut graph.node) {
        let float = if is(&node, "Constant") { floats(&mut node) } else { None };
        match (float, node.output.first()) {
            (Some(mut tensor), Some(output)) => {
                tensor.name = Some(output.clone());
                graph.initializer.push(tensor);
            }
            _ => graph.node.push(node),
        }
    }
}

/// The tensor of a `Constant` of floats.
fn floats(node: &mut NodeProto) -> Option<TensorProto> {
    let attribute = node.attribute.first_mut()?;
    match attribute.name() {
        "value" if is_float(attribute.t.as_ref()?) => attribute.t.take().map(|tensor| *tensor),
        "value_float" => Some(of_floats(String::new(), &[], &[attribute.f()])),
        "value_floats" => Some(of_floats(String::new(), &[attribute.floats.len() as u64], &attribute.floats)),
        _ => None,
    }
}
