//! What passes over a graph share: walks into nested graphs, new names, and nodes.

use std::collections::HashSet;

use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, attribute_proto::AttributeType,
};

/// The domain of ONNX Runtime's own operators.
pub const MICROSOFT: &str = "com.microsoft";

/// The graphs inside a node: the branches of an `If`, the body of a `Loop`.
pub fn inner(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// The same, to be changed.
pub fn inner_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute.iter_mut().flat_map(|attribute| attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs))
}

/// Shows each node, those of nested graphs too.
pub fn each_node<'a>(graph: &'a GraphProto, show: &mut dyn FnMut(&'a NodeProto)) {
    for node in &graph.node {
        show(node);
        inner(node).for_each(|graph| each_node(graph, show));
    }
}

/// Gives names that no value of a graph has.
pub struct Names(HashSet<String>);

impl Names {
    /// Those of a graph and of what is nested in it.
    pub fn new(graph: &GraphProto) -> Self {
        let mut names = HashSet::new();
        Self::collect(graph, &mut names);
        Self(names)
    }

    fn collect(graph: &GraphProto, names: &mut HashSet<String>) {
        names.extend(graph.input.iter().chain(&graph.output).map(|value| value.name().to_owned()));
        names.extend(graph.initializer.iter().map(|tensor| tensor.name().to_owned()));
        for node in &graph.node {
            names.extend(node.output.iter().cloned());
            inner(node).for_each(|graph| Self::collect(graph, names));
        }
    }

    /// A new one that tells what it stands for.
    pub fn fresh(&mut self, wish: String) -> String {
        let mut name = wish.clone();
        for number in 2.. {
            if self.0.insert(name.clone()) {
                break;
            }
            name = format!("{wish}_{number}");
        }
        name
    }
}

/// A node of an operator.
pub fn node(domain: &str, op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("{output}_{op}")),
        op_type: Some(op.to_owned()),
        domain: Some(domain.to_owned()),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

/// An attribute that is a whole number.
pub fn number(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int.into()),
        i: Some(value),
        ..Default::default()
    }
}

/// An attribute of a node.
pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

/// Whether a node is of an operator of ONNX itself.
pub fn is(node: &NodeProto, op: &str) -> bool {
    node.op_type() == op && matches!(node.domain(), "" | "ai.onnx")
}

/// The version of ONNX's operators that a model is written in.
pub fn opset(model: &ModelProto) -> i64 {
    let own = model.opset_import.iter().filter(|set| matches!(set.domain(), "" | "ai.onnx"));
    own.map(OperatorSetIdProto::version).max().unwrap_or(1)
}

/// Says that the model has operators of ONNX Runtime.
pub fn import_microsoft(model: &mut ModelProto) {
    if !model.opset_import.iter().any(|set| set.domain() == MICROSOFT) {
        model.opset_import.push(OperatorSetIdProto { domain: Some(MICROSOFT.into()), version: Some(1) });
    }
}
