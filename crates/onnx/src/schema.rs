//! Where tensors are in a model: the messages on the way to them, by the field numbers of onnx.proto.

use std::mem::size_of;

use crate::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, TrainingInfoProto};

/// A message that has tensors somewhere inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Function,
    Training,
    Sparse,
    Tensor,
}

/// What a field of bytes has.
pub enum Part {
    /// A message with tensors.
    Message(Kind),
    /// Text or bytes.
    Text,
    /// Something else.
    Other,
}

impl Kind {
    /// What the bytes of a field are.
    pub fn part(self, field: u32) -> Part {
        use Kind::{Attribute, Function, Graph, Model, Node, Sparse, Tensor, Training};
        match (self, field) {
            (Model, 7) | (Attribute, 6 | 11) | (Training, 1 | 2) => Part::Message(Graph),
            (Model, 20) => Part::Message(Training),
            (Model, 25) => Part::Message(Function),
            (Graph, 1) | (Function, 7) => Part::Message(Node),
            (Graph, 5) | (Attribute, 5 | 10) | (Sparse, 1 | 2) => Part::Message(Tensor),
            (Graph, 15) | (Attribute, 22 | 23) => Part::Message(Sparse),
            (Node, 5) | (Function, 11) => Part::Message(Attribute),
            (Model, 2..=4 | 6)
            | (Graph, 2 | 10)
            | (Node, 1..=4 | 6..=8)
            | (Attribute, 1 | 4 | 9 | 13 | 21)
            | (Function, 1 | 4..=6 | 8 | 10 | 13) => Part::Text,
            _ => Part::Other,
        }
    }

    /// Bytes of memory that an empty one takes, at most: vectors grow by doubling.
    pub fn memory(self) -> u64 {
        let size = match self {
            Self::Model => 0,
            Self::Graph => size_of::<GraphProto>(),
            Self::Node => size_of::<NodeProto>(),
            Self::Attribute => size_of::<AttributeProto>(),
            Self::Function => size_of::<FunctionProto>(),
            Self::Training => size_of::<TrainingInfoProto>(),
            Self::Sparse => size_of::<SparseTensorProto>(),
            Self::Tensor => size_of::<crate::proto::TensorProto>(),
        };
        2 * size as u64
    }
}
