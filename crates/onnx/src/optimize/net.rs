//! A graph as it is changed: who makes a value, who uses it, and what is known of it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    mem::take,
};

use super::{
    dim::Dim,
    facts::{Content, Fact},
};
use crate::{
    error::ReadError,
    graph::{Names, attribute, each_node, inner, is},
    proto::{
        AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType, tensor_proto::DataType,
    },
    tensor::elements,
};

/// A graph's nodes and constants, with who makes and who uses each value.
pub struct Net {
    nodes: Vec<Option<NodeProto>>,
    makers: HashMap<String, usize>,
    users: HashMap<String, Vec<usize>>,
    tensors: HashMap<String, TensorProto>,
    /// The names of the constants, in their order.
    order: Vec<String>,
    /// Values that have to be there: outputs, and what nested graphs take.
    kept: HashSet<String>,
    /// Names for what is new.
    pub names: Names,
    /// What is known of values.
    pub facts: HashMap<String, Fact>,
}

impl Net {
    /// Takes the nodes and constants out of a graph. One that is no graph is refused: with a value that two nodes make, one
    /// that nobody makes, or one that is made of itself.
    pub fn take(graph: &mut GraphProto) -> Result<Self, ReadError> {
        let mut net = Self {
            nodes: Vec::new(),
            makers: HashMap::new(),
            users: HashMap::new(),
            tensors: HashMap::new(),
            order: Vec::new(),
            kept: graph.output.iter().map(|value| value.name().to_owned()).collect(),
            names: Names::new(graph),
            facts: HashMap::new(),
        };
        let mut there: HashSet<String> = graph.input.iter().map(|value| value.name().to_owned()).collect();
        let sparse = graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
        there.extend(sparse.map(|values| values.name().to_owned()));
        for tensor in take(&mut graph.initializer) {
            let name = tensor.name().to_owned();
            // What is an input as well can be given another value.
            if there.contains(&name) {
                net.kept.insert(name.clone());
            }
            net.order.push(name.clone());
            if net.tensors.insert(name, tensor).is_some() {
                return Err(ReadError::NotOnnx("two of its constants have one name"));
            }
        }
        there.extend(net.order.iter().cloned());
        for node in take(&mut graph.node) {
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                if !there.insert(output.clone()) {
                    return Err(ReadError::NotOnnx("two of its nodes make one value"));
                }
            }
            net.insert(node);
        }
        let mut wanted = net.nodes.iter().flatten().flat_map(|node| &node.input).filter(|name| !name.is_empty());
        if !wanted.all(|name| there.contains(name)) || !graph.output.iter().all(|value| there.contains(value.name())) {
            return Err(ReadError::NotOnnx("it uses a value that nobody makes"));
        }
        net.sort()?;
        Ok(net)
    }

    /// Puts them back, without constants that nobody uses any more.
    pub fn put(mut self, graph: &mut GraphProto) {
        graph.node = take(&mut self.nodes).into_iter().flatten().collect();
        for name in &self.order {
            if self.is_used(name)
                && let Some(tensor) = self.tensors.remove(name)
            {
                graph.initializer.push(tensor);
            }
        }
        let makers = &self.makers;
        graph.value_info.retain(|value| makers.contains_key(value.name()));
    }

    /// The nodes that are left, each after those whose values it uses. Their numbers change.
    pub fn sort(&mut self) -> Result<(), ReadError> {
        let mut waiting: Vec<usize> = vec![0; self.nodes.len()];
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            for name in node.iter().flat_map(|node| needs(node)) {
                if let Some(&maker) = self.makers.get(name) {
                    after[maker].push(at);
                    waiting[at] += 1;
                }
            }
        }
        let mut ready: BinaryHeap<_> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].is_some() && waiting[*at] == 0).map(Reverse).collect();
        let (mut sorted, all) = (Vec::new(), self.nodes.iter().flatten().count());
        while let Some(Reverse(at)) = ready.pop() {
            sorted.extend(self.nodes[at].take());
            for &next in &after[at] {
                waiting[next] -= 1;
                if waiting[next] == 0 {
                    ready.push(Reverse(next));
                }
            }
        }
        if sorted.len() < all {
            return Err(ReadError::NotOnnx("one of its values is made of itself"));
        }
        (self.nodes, self.makers, self.users) = (Vec::new(), HashMap::new(), HashMap::new());
        sorted.into_iter().for_each(|node| self.insert(node));
        Ok(())
    }

    /// How many places for nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node that is still there.
    pub fn node(&self, at: usize) -> Option<&NodeProto> {
        self.nodes.get(at)?.as_ref()
    }

    /// All nodes, but for constants.
    pub fn count(&self) -> usize {
        self.nodes.iter().flatten().filter(|node| !is(node, "Constant")).count()
    }

    /// The node whose first output a value is.
    pub fn maker(&self, value: &str) -> Option<&NodeProto> {
        let node = self.node(*self.makers.get(value)?)?;
        (node.output.first().map(String::as_str) == Some(value)).then_some(node)
    }

    /// The same, if it is of an operator of ONNX.
    pub fn made_by(&self, value: &str, op: &str) -> Option<&NodeProto> {
        self.maker(value).filter(|node| is(node, op))
    }

    /// The nodes that use a value, one for each use.
    pub fn users(&self, value: &str) -> impl Iterator<Item = &NodeProto> {
        self.users.get(value).into_iter().flatten().filter_map(|at| self.node(*at))
    }

    /// Whether so many places use a value, and nothing else needs it.
    pub fn is_used_only(&self, value: &str, times: usize) -> bool {
        !self.kept.contains(value) && self.users.get(value).map_or(0, Vec::len) == times
    }

    /// Whether anything needs a value.
    pub fn is_used(&self, value: &str) -> bool {
        self.kept.contains(value) || self.users.get(value).is_some_and(|users| !users.is_empty())
    }

    /// Whether the value has to be there by its name.
    pub fn is_kept(&self, value: &str) -> bool {
        self.kept.contains(value)
    }

    /// A constant. What is an input as well is none.
    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.tensors.get(name).filter(|_| !self.kept.contains(name))
    }

    /// All constants.
    pub fn tensors(&self) -> impl Iterator<Item = (&String, &TensorProto)> {
        self.tensors.iter().filter(|(name, _)| !self.kept.contains(*name))
    }

    /// Puts in a new constant, whose name is free.
    pub fn insert_tensor(&mut self, tensor: TensorProto) {
        self.order.push(tensor.name().to_owned());
        self.tensors.insert(tensor.name().to_owned(), tensor);
    }

    /// The number of a constant of one element, that adds no dimension to what it is used with.
    pub fn number(&self, name: &str) -> Option<f32> {
        let fact = self.facts.get(name).filter(|fact| fact.rank() <= Some(1))?;
        match fact.content.as_ref()? {
            Content::Floats(values) => values.first().filter(|_| values.len() == 1).copied(),
            Content::Ints(_) => None,
        }
    }

    /// The shape of a value, where so much is known.
    pub fn shape(&self, name: &str) -> Option<&[Dim]> {
        self.facts.get(name)?.shape.as_deref()
    }

    /// Whether a value has floats of a width that ONNX Runtime's own operators take.
    pub fn is_float(&self, name: &str) -> bool {
        self.facts.get(name).is_some_and(|fact| matches!(fact.kind, Some(DataType::Float | DataType::Float16)))
    }

    /// The length of a constant of one dimension.
    pub fn length(&self, name: &str) -> Option<i64> {
        match self.tensor(name)?.dims[..] {
            [length] if elements(&[length]).is_some() => Some(length),
            _ => None,
        }
    }

    /// Puts in a node.
    pub fn insert(&mut self, node: NodeProto) {
        let at = self.nodes.len();
        for name in needs(&node) {
            self.users.entry(name.to_owned()).or_default().push(at);
        }
        for graph in inner(&node) {
            each_node(graph, &mut |node| self.kept.extend(node.input.iter().filter(|name| !name.is_empty()).cloned()));
            self.kept.extend(graph.output.iter().map(|value| value.name().to_owned()));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            self.makers.insert(output.clone(), at);
        }
        self.nodes.push(Some(node));
    }

    /// Takes a node out. Whoever uses its values has to get them from elsewhere.
    pub fn remove(&mut self, at: usize) {
        let Some(node) = self.nodes.get_mut(at).and_then(Option::take) else { return };
        for name in needs(&node) {
            if let Some(users) = self.users.get_mut(name) {
                users.retain(|user| *user != at);
            }
        }
        for output in &node.output {
            self.makers.remove(output);
        }
    }

    /// Takes out the node that makes a value.
    pub fn forget(&mut self, value: &str) {
        if let Some(&at) = self.makers.get(value) {
            self.remove(at);
        }
    }

    /// Has a value made by another node.
    pub fn replace(&mut self, value: &str, node: NodeProto) {
        self.forget(value);
        self.insert(node);
    }

    /// Has all who use a value use another one.
    pub fn exchange(&mut self, value: &str, other: &str) {
        let users = self.users.remove(value).unwrap_or_default();
        for &at in &users {
            for input in self.nodes[at].iter_mut().flat_map(|node| &mut node.input).filter(|input| *input == value) {
                *input = other.to_owned();
            }
        }
        self.users.entry(other.to_owned()).or_default().extend(users);
    }
}

/// The values that a node needs, those of its nested graphs too. Names of those graphs' own may be among them.
fn needs(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for graph in inner(node) {
        each_node(graph, &mut |node| names.extend(node.input.iter().map(String::as_str)));
        names.extend(graph.output.iter().map(|value| value.name()));
    }
    // A nested graph may call a value as the node calls what comes of it.
    names.retain(|name| !name.is_empty() && !node.output.iter().any(|output| output == name));
    names
}

/// The name of an input; empty where there is none.
pub fn input(node: &NodeProto, at: usize) -> &str {
    node.input.get(at).map_or("", String::as_str)
}

/// The name of the first output.
pub fn output(node: &NodeProto) -> &str {
    node.output.first().map_or("", String::as_str)
}

/// A whole number that a node has, or what it is without.
pub fn whole(node: &NodeProto, name: &str, otherwise: i64) -> i64 {
    attribute(node, name).map_or(otherwise, AttributeProto::i)
}

/// An attribute that is a float.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Float.into()),
        f: Some(value),
        ..Default::default()
    }
}
