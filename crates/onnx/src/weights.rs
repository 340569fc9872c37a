//! The weights of a graph that can be quantised, and the others with the reason.

use std::collections::HashMap;

use crate::{
    graph::{attribute, each_node, is},
    matrix::Shape,
    proto::{GraphProto, NodeProto, TensorProto},
    tensor::{elements, is_float, reference},
};

/// What a weight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is multiplied with, as the second factor.
    Product(Shape),
    /// Rows of it are looked up.
    Lookup {
        /// How many rows.
        rows: usize,
        /// Values of each.
        width: usize,
    },
}

/// A weight that can be quantised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Its name.
    pub name: String,
    /// What it is for, in all places where it is used.
    pub used: Use,
    /// Bytes in 32-bit floats.
    pub bytes: u64,
    /// The values that it is multiplied with, of each place.
    pub inputs: Vec<String>,
}

/// How a node uses one of its inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Product { transposed: bool },
    Lookup,
    Other,
}

fn role(node: &NodeProto, input: usize) -> Role {
    let number = |name, otherwise| attribute(node, name).map_or(otherwise, |attribute| attribute.i());
    let one = |name| attribute(node, name).is_none_or(|attribute| attribute.f() == 1.0);
    if node.output.first().is_none_or(String::is_empty) {
        Role::Other
    } else if is(node, "MatMul") && input == 1 {
        Role::Product { transposed: false }
    } else if is(node, "Gemm")
        && input == 1
        && number("transA", 0) == 0
        && one("alpha")
        && (one("beta") || node.input.len() < 3)
    {
        Role::Product { transposed: number("transB", 0) != 0 }
    } else if is(node, "Gather") && input == 0 && node.input.len() == 2 && number("axis", 0) == 0 {
        Role::Lookup
    } else {
        Role::Other
    }
}

/// Whether it has the numbers that its shape says. A shape alone costs nothing, and may say any size.
fn is_there(tensor: &TensorProto) -> bool {
    // Raw bytes and those elsewhere were counted when they were read.
    tensor.raw_data.is_some()
        || reference(tensor).is_some()
        || elements(&tensor.dims) == Some(tensor.float_data.len() as u64)
}

/// The weights of the outermost graph that are used, also by nested graphs, in one way that can be quantised.
pub fn find(graph: &GraphProto) -> Vec<Weight> {
    let mut uses: HashMap<&str, Option<(Role, Vec<String>)>> = HashMap::new();
    each_node(graph, &mut |node| {
        for (at, name) in node.input.iter().enumerate() {
            let role = role(node, at);
            let first = node.input[0].clone();
            let known = uses.entry(name).or_insert_with(|| Some((role, Vec::new())));
            match known {
                Some((same, inputs)) if *same == role && role != Role::Other => inputs.push(first),
                _ => *known = None,
            }
        }
    });
    let seen = |name: &str| graph.input.iter().chain(&graph.output).any(|value| value.name() == name);
    let weight = |tensor: &TensorProto| {
        let (role, inputs) = uses.get(tensor.name())?.as_ref()?;
        let [first, second] = tensor.dims[..] else { return None };
        if !is_there(tensor) || !is_float(tensor) || seen(tensor.name()) {
            return None;
        }
        let bytes = elements(&tensor.dims).filter(|elements| *elements > 0)?.checked_mul(4)?;
        let (first, second) = (usize::try_from(first).ok()?, usize::try_from(second).ok()?);
        let used = match *role {
            Role::Product { transposed: false } => Use::Product(Shape { k: first, n: second, transposed: false }),
            Role::Product { transposed: true } => Use::Product(Shape { k: second, n: first, transposed: true }),
            Role::Lookup => Use::Lookup { rows: first, width: second },
            Role::Other => return None,
        };
        Some(Weight { name: tensor.name().to_owned(), used, bytes, inputs: inputs.clone() })
    };
    graph.initializer.iter().filter_map(weight).collect()
}
