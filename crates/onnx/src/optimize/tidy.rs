//! Takes out what changes nothing, what is computed twice, and what can be computed beforehand.

use std::collections::HashMap;

use prost::Message;

use super::{
    facts::{Content, Fact},
    net::{Net, input, output, whole},
};
use crate::{
    graph::{MICROSOFT, attribute, inner, is},
    proto::{NodeProto, TensorProto, tensor_proto::DataType},
};

/// Takes out nodes whose values nobody needs.
pub fn sweep(net: &mut Net) {
    for at in (0..net.len()).rev() {
        if net.node(at).is_some_and(|node| !node.output.iter().any(|output| net.is_used(output))) {
            net.remove(at);
        }
    }
}

/// Takes out nodes that give what they get.
pub fn idle(net: &mut Net) -> usize {
    let mut count = 0;
    for at in 0..net.len() {
        let Some(node) = net.node(at) else { continue };
        let (from, to) = (input(node, 0).to_owned(), output(node).to_owned());
        let Some(from) = kept_by(net, node).or_else(|| gives_back(net, node).then_some(from)) else { continue };
        if to.is_empty() || from.is_empty() || net.is_kept(&to) {
            continue;
        }
        net.exchange(&to, &from);
        net.remove(at);
        count += 1;
    }
    count
}

/// Whether a node's output is its first input.
fn gives_back(net: &Net, node: &NodeProto) -> bool {
    let (Some(from), Some(to)) = (net.facts.get(input(node, 0)), net.facts.get(output(node))) else {
        return is(node, "Identity");
    };
    let alike = || from.shape.is_some() && from.shape == to.shape;
    let is_one = |at: usize| net.number(input(node, at)) == Some(1.0);
    match node.op_type() {
        _ if !is(node, node.op_type()) => false,
        "Identity" => true,
        "Cast" => from.kind.is_some() && from.kind == to.kind,
        "Dropout" => node.input.len() == 1 && node.output.len() == 1,
        "Reshape" | "Expand" => alike(),
        "Transpose" => attribute(node, "perm")
            .is_some_and(|turned| turned.ints.iter().enumerate().all(|(at, to)| usize::try_from(*to) == Ok(at))),
        "Mul" | "Div" => alike() && is_one(1),
        "Concat" => node.input.len() == 1,
        _ => false,
    }
}

/// The input whose numbers, known or named, a node's output has.
fn kept_by(net: &Net, node: &NodeProto) -> Option<String> {
    let of = net.facts.get(output(node)).filter(|fact| fact.content.is_some() && fact.kind.is_some())?;
    node.input.iter().find(|input| net.facts.get(*input) == Some(of)).cloned()
}

/// Has nodes that compute the same be one.
pub fn merge(net: &mut Net) -> usize {
    // Both have only what stays: nothing can be made of a node that was taken out.
    let mut seen: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    let mut known: HashMap<String, String> = HashMap::new();
    let mut count = 0;
    for at in 0..net.len() {
        let Some(node) = net.node(at) else { continue };
        let (outputs, code) = (node.output.clone(), key(node));
        let fact = net.facts.get(output(node)).filter(|fact| fact.content.is_some() && fact.kind.is_some());
        let fact = fact.map(|fact| format!("{fact:?}"));
        // The same sizes, whatever they were read off.
        let same = fact.as_ref().and_then(|fact| known.get(fact)).filter(|_| outputs.len() == 1);
        let alike = || code.as_ref().and_then(|code| seen.get(code)).filter(|first| first.len() == outputs.len());
        let twin = same.map(|first| vec![first.clone()]).or_else(|| alike().cloned());
        if let Some(twin) = twin {
            let pairs: Vec<_> = outputs.iter().zip(&twin).filter(|(to, _)| !to.is_empty()).collect();
            if pairs.iter().all(|(to, twin)| !twin.is_empty() && !net.is_kept(to)) {
                pairs.iter().for_each(|(to, twin)| net.exchange(to, twin));
                net.remove(at);
                count += 1;
                continue;
            }
        }
        if let (Some(fact), Some(first)) = (fact, outputs.first()) {
            known.entry(fact).or_insert_with(|| first.clone());
        }
        if let Some(code) = code {
            seen.entry(code).or_insert(outputs);
        }
    }
    count
}

/// What two nodes have in common that compute the same; `None` where that is not certain.
fn key(node: &NodeProto) -> Option<Vec<u8>> {
    let draws = node.op_type().starts_with("Random")
        || matches!(node.op_type(), "Bernoulli" | "Multinomial" | "Dropout")
        || inner(node).next().is_some();
    if draws || !matches!(node.domain(), "" | "ai.onnx" | MICROSOFT) || output(node).is_empty() {
        return None;
    }
    let same = NodeProto {
        op_type: node.op_type.clone(),
        domain: Some(node.domain().to_owned()),
        input: node.input.clone(),
        attribute: node.attribute.clone(),
        ..Default::default()
    };
    Some(same.encode_to_vec())
}

/// Has constants stand where their numbers are known beforehand.
pub fn fold(net: &mut Net) -> usize {
    let mut count = 0;
    for at in 0..net.len() {
        let Some(node) = net.node(at) else { continue };
        let to = output(node).to_owned();
        if node.output.len() != 1 || net.is_kept(&to) {
            continue;
        }
        let Some(tensor) = net.facts.get(&to).and_then(|fact| constant(&to, fact)) else { continue };
        net.remove(at);
        net.insert_tensor(tensor);
        count += 1;
    }
    count
}

/// A constant of what is known of a value, if that is all.
fn constant(name: &str, fact: &Fact) -> Option<TensorProto> {
    let dims = fact.shape.as_ref()?.iter().map(super::dim::Dim::number).collect::<Option<Vec<_>>>()?;
    let raw = match (fact.content.as_ref()?, fact.kind?) {
        (Content::Floats(all), DataType::Float) => all.iter().flat_map(|value| value.to_le_bytes()).collect(),
        (Content::Ints(_), kind) => {
            let numbers = fact.numbers()?.into_iter();
            match kind {
                DataType::Int64 => numbers.flat_map(|number| number.to_le_bytes()).collect(),
                DataType::Int32 => {
                    let narrow = |number| i32::try_from(number).map(|number| number.to_le_bytes()).ok();
                    numbers.map(narrow).collect::<Option<Vec<_>>>()?.concat()
                }
                DataType::Bool => numbers.map(|truth| u8::from(truth != 0)).collect(),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(fact.kind?.into()),
        dims,
        raw_data: Some(raw),
        ..Default::default()
    })
}

/// Whether a node works along the last of its dimensions.
pub fn is_along_last(net: &Net, node: &NodeProto, otherwise: i64) -> bool {
    let rank = net.facts.get(input(node, 0)).and_then(Fact::rank).and_then(|rank| i64::try_from(rank).ok());
    let along = whole(node, "axis", otherwise);
    along == -1 || rank.is_some_and(|rank| along == rank - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Net, merge};
    use crate::{
        graph::node,
        optimize::facts,
        proto::{
            GraphProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
            tensor_proto::DataType,
            tensor_shape_proto::{Dimension, dimension},
            type_proto,
        },
    };

    fn value(name: &str) -> ValueInfoProto {
        ValueInfoProto { name: Some(name.into()), ..Default::default() }
    }

    /// A picture of any size.
    fn picture(name: &str) -> ValueInfoProto {
        let dim = |size: &str| Dimension { value: Some(dimension::Value::DimParam(size.into())), ..Default::default() };
        let shape = TensorShapeProto { dim: ["batch", "channels", "height", "width"].map(dim).to_vec() };
        let of = type_proto::Tensor { elem_type: Some(DataType::Float.into()), shape: Some(shape) };
        let r#type = TypeProto { value: Some(type_proto::Value::TensorType(of)), ..Default::default() };
        ValueInfoProto { r#type: Some(r#type), ..value(name) }
    }

    /// Two nodes that compute the same are one, and so are those that look at the one or the other.
    #[test]
    fn what_takes_the_place_of_a_node_stays() {
        let weight = TensorProto {
            name: Some("w".into()),
            data_type: Some(DataType::Float.into()),
            dims: vec![1, 1, 1, 1],
            raw_data: Some(vec![0; 4]),
            ..Default::default()
        };
        let nodes = vec![
            node("", "Conv", &["x", "w"], "c1"),
            node("", "Conv", &["x", "w"], "c2"),
            node("", "Shape", &["c1"], "s1"),
            node("", "Shape", &["c2"], "s2"),
            node("", "Shape", &["c2"], "s3"),
            node("", "Neg", &["s1"], "y1"),
            node("", "Neg", &["s2"], "y2"),
            node("", "Neg", &["s3"], "y3"),
        ];
        let mut graph = GraphProto {
            node: nodes,
            input: vec![picture("x")],
            output: ["y1", "y2", "y3"].map(value).to_vec(),
            initializer: vec![weight],
            ..Default::default()
        };
        let mut net = Net::take(&mut graph).unwrap();
        facts::learn(&mut net, &graph, 13);
        assert_eq!(merge(&mut net), 3);
        net.put(&mut graph);
        let mut there = HashSet::from(["x".to_owned(), "w".to_owned()]);
        there.extend(graph.node.iter().flat_map(|node| node.output.clone()));
        assert!(graph.node.iter().flat_map(|node| &node.input).all(|name| there.contains(name)), "{graph:?}");
    }
}
