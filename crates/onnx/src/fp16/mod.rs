//! Turns a graph to 16-bit floats, except for what they cannot hold.
//!
//! A value may exist in two widths: in 32 bits under its own name, and in 16 bits under a new one. A node that is turned
//! takes and gives the narrow ones; one that is not, the wide ones; where the other width is needed, a cast is put before
//! the node that needs it, once. So inputs and outputs of the model keep their types, and so do those of nested graphs.
//!
//! A node is turned if its operator is worth it, or if a value that comes to it is narrow already; and it is not turned if
//! its operator needs 32 bits, if a constant that it takes does not fit into 16, if its values were measured not to, or if
//! nothing comes to it but what was made of whole numbers (masks, positions, shapes), which is little and often large. What
//! becomes narrow is clipped to the largest number there is, so that a mask stays a number.

mod constants;
mod types;

use std::{
    collections::{HashMap, HashSet},
    mem::take,
};

use crate::{
    error::Error,
    graph::{Names, inner, inner_mut, is, node, number, opset},
    job::Job,
    model::Model,
    proto::{GraphProto, NodeProto, tensor_proto::DataType, type_proto::Value},
    rewrite::cast,
    tensor::{is_float, of_floats},
};
use constants::Constant;

/// The greatest 16-bit float.
const MOST: f32 = 65_504.0;
/// Rows of which a table has enough to be looked up in 16 bits.
const TABLE: i64 = 16;

/// A float value of a graph.
#[derive(Default)]
struct Float {
    /// Its name in 32 bits, if it is there.
    full: Option<String>,
    /// Its name in 16 bits, if it is there.
    half: Option<String>,
    /// Whether something comes into it that is not made of whole numbers alone.
    active: bool,
    /// What is constant, and which widths of it are wanted.
    constant: Option<Constant>,
}

/// What was turned.
#[derive(Debug, Default)]
pub struct Turned {
    /// Nodes with floats that are in 16 bits.
    pub half: usize,
    /// Nodes with floats that stay in 32 bits.
    pub full: usize,
}

/// Turns a model. `seen` has the values that were measured not to fit; without it the numbers of constants are not read
/// either, and all of them are taken to fit.
pub fn turn(model: &mut Model, jobs: &mut Vec<Job>, seen: Option<&HashSet<String>>) -> Result<Turned, Error> {
    if !model.rest.functions.is_empty() {
        // Nodes in them stay as they are, and those that call them cannot know what comes of it.
        return Err(Error::Options(
            "the model has functions of its own, whose types are not followed; choose another precision than 16-bit floats"
                .into(),
        ));
    }
    let mut graph = take(&mut model.graph);
    let names = Names::new(&graph);
    let clips = opset(&model.rest) >= 11;
    let mut pass = Pass { model, jobs, seen, names, scopes: Vec::new(), clips, turned: Turned::default() };
    pass.graph(&mut graph)?;
    let turned = pass.turned;
    model.graph = graph;
    Ok(turned)
}

type Scope = HashMap<String, Float>;

struct Pass<'a> {
    model: &'a mut Model,
    jobs: &'a mut Vec<Job>,
    seen: Option<&'a HashSet<String>>,
    names: Names,
    /// The float values of this graph and of those around it, the outermost first.
    scopes: Vec<Scope>,
    /// Whether `Clip` takes its limits as inputs.
    clips: bool,
    turned: Turned,
}

impl Pass<'_> {
    /// Turns a graph; returns which of its outputs are floats.
    fn graph(&mut self, graph: &mut GraphProto) -> Result<Vec<bool>, Error> {
        constants::hoist(graph);
        let mut scope = Scope::new();
        for input in &graph.input {
            let float = matches!(input.r#type.as_ref().and_then(|of| of.value.as_ref()),
                Some(Value::TensorType(tensor)) if tensor.elem_type() == i32::from(DataType::Float));
            if float {
                let full = Some(input.name().to_owned());
                scope.insert(input.name().to_owned(), Float { full, active: true, ..Float::default() });
            }
        }
        for tensor in graph.initializer.iter().filter(|tensor| is_float(tensor)) {
            let constant = Some(Constant::new(self.model, tensor, self.seen.is_some())?);
            // An initializer that is an input as well may be replaced by the caller: it stays as it is.
            scope.entry(tensor.name().to_owned()).or_insert(Float { constant, ..Float::default() });
        }
        self.scopes.push(scope);
        let mut nodes = Vec::new();
        for node in take(&mut graph.node) {
            self.node(node, &mut nodes)?;
        }
        let given: Vec<_> = graph.output.iter().map(|output| self.find(output.name()).is_some()).collect();
        for (output, _) in graph.output.iter_mut().zip(&given).filter(|(_, float)| **float) {
            output.name = Some(self.full(output.name(), &mut nodes));
        }
        let scope = self.scopes.pop().unwrap_or_default();
        graph.value_info.retain(|value| !scope.contains_key(value.name()));
        let mut first = Vec::new();
        for tensor in take(&mut graph.initializer) {
            match scope.get(tensor.name()).and_then(|float| float.constant.as_ref()) {
                Some(constant) => {
                    let (tensor, cast) = constant.emit(tensor, self.model, self.jobs)?;
                    graph.initializer.push(tensor);
                    first.extend(cast);
                }
                None => graph.initializer.push(tensor),
            }
        }
        first.append(&mut nodes);
        graph.node = first;
        Ok(given)
    }

    fn node(&mut self, mut node: NodeProto, to: &mut Vec<NodeProto>) -> Result<(), Error> {
        if types::is_unknown(&node) {
            let op = node.op_type();
            return Err(Error::Options(format!(
                "the graph has the operator {op}, whose types are not followed; choose another precision than 16-bit floats"
            )));
        }
        let floats: Vec<_> = node.input.iter().map(|input| self.find(input).is_some()).collect();
        let (half, active) = (self.turns(&node, &floats), self.active(&node));
        for (input, _) in node.input.iter_mut().zip(&floats).filter(|(_, float)| **float) {
            *input = if half { self.half(input, to) } else { self.full(input, to) };
        }
        let mut given: Vec<bool> =
            (0..node.output.len()).map(|output| types::is_float(&node, output, &floats)).collect();
        if inner(&node).next().is_some() {
            // A loop's body says first whether it goes on; one that is damaged may say nothing.
            let skip = usize::from(node.op_type() == "Loop");
            for graph in inner_mut(&mut node) {
                let mut all = self.graph(graph)?;
                given = all.split_off(skip.min(all.len()));
            }
        }
        if half && is(&node, "Cast") && given == [true] {
            node.attribute = vec![number("to", i64::from(i32::from(DataType::Float16)))];
        }
        let has_floats = floats.contains(&true) || given.contains(&true);
        for (output, _) in node.output.iter_mut().zip(given).filter(|(output, given)| *given && !output.is_empty()) {
            let name = output.clone();
            let mut float = Float { active, ..Float::default() };
            if half {
                *output = self.names.fresh(format!("{name}_half"));
                float.half = Some(output.clone());
            } else {
                float.full = Some(name.clone());
            }
            self.insert(name, float);
        }
        match (has_floats, half) {
            (true, true) => self.turned.half += 1,
            (true, false) => self.turned.full += 1,
            _ => {}
        }
        to.push(node);
        Ok(())
    }

    /// Whether a node is to work on 16 bits.
    fn turns(&self, node: &NodeProto, floats: &[bool]) -> bool {
        let inputs =
            || node.input.iter().zip(floats).filter(|(_, float)| **float).filter_map(|(name, _)| self.find(name));
        if types::needs_full(node)
            || inputs().any(|float| float.constant.as_ref().is_some_and(|constant| !constant.fits()))
            || node.input.iter().chain(&node.output).any(|name| self.seen.is_some_and(|seen| seen.contains(name)))
        {
            return false;
        }
        let mut values = inputs().filter(|float| float.constant.is_none());
        if node.output.iter().enumerate().all(|(output, _)| !types::is_float(node, output, floats)) {
            // It only looks at floats: in the width that they have.
            return inputs().count() > 0
                && values.all(|float| float.half.is_some())
                && inputs().any(|float| float.half.is_some());
        }
        types::is_heavy(node) && inputs().any(|float| float.active)
            || self.is_lookup(node)
            || values.any(|float| float.half.is_some())
    }

    fn is_lookup(&self, node: &NodeProto) -> bool {
        let table = || self.find(node.input.first()?)?.constant.as_ref();
        node.op_type() == "Gather"
            && table()
                .is_some_and(|table| table.dims.first().is_some_and(|rows| *rows >= TABLE) && table.dims.len() == 2)
    }

    fn active(&self, node: &NodeProto) -> bool {
        self.is_lookup(node)
            || inner(node).next().is_some()
            || node.input.iter().any(|input| self.find(input).is_some_and(|float| float.active))
    }

    fn find(&self, name: &str) -> Option<&Float> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    fn insert(&mut self, name: String, float: Float) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, float);
        }
    }

    /// The name of a value in 32 bits, which is made where it is not there.
    fn full(&mut self, name: &str, to: &mut Vec<NodeProto>) -> String {
        let own = self.scopes.last().is_some_and(|scope| scope.contains_key(name));
        let names = &mut self.names;
        let found = self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name));
        let Some(float) = found else { return name.to_owned() };
        if let Some(constant) = &mut float.constant {
            constant.wants_full = true;
            return name.to_owned();
        }
        match (&float.full, &float.half) {
            (Some(full), _) => full.clone(),
            (None, Some(half)) => {
                // A cast that stands in a branch is not there for what comes after it.
                let full = if own { name.to_owned() } else { names.fresh(format!("{name}_full")) };
                to.push(cast(half, &full, DataType::Float));
                let (half, active) = (Some(half.clone()), float.active);
                self.insert(name.to_owned(), Float { full: Some(full.clone()), half, active, constant: None });
                full
            }
            (None, None) => name.to_owned(),
        }
    }

    /// The name of a value in 16 bits, which is made where it is not there.
    fn half(&mut self, name: &str, to: &mut Vec<NodeProto>) -> String {
        let names = &mut self.names;
        let found = self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name));
        let Some(float) = found else { return name.to_owned() };
        if let Some(constant) = &mut float.constant {
            return constant.half.get_or_insert_with(|| names.fresh(format!("{name}_half"))).clone();
        }
        match (&float.half, &float.full) {
            (Some(half), _) => half.clone(),
            (None, Some(full)) => {
                let (half, full, active) = (names.fresh(format!("{name}_half")), full.clone(), float.active);
                let clipped = names.fresh(format!("{name}_clipped"));
                to.append(&mut narrow(&full, &clipped, &half, self.clips));
                self.insert(
                    name.to_owned(),
                    Float { full: Some(full), half: Some(half.clone()), active, constant: None },
                );
                half
            }
            (None, None) => name.to_owned(),
        }
    }
}

/// Nodes that make a value 16 bits wide, which is finite where it was.
fn narrow(full: &str, clipped: &str, half: &str, clips: bool) -> Vec<NodeProto> {
    if !clips {
        return vec![cast(full, half, DataType::Float16)];
    }
    let constant = |end: &str, value: f32| {
        let name = format!("{clipped}_{end}");
        let mut made = node("", "Constant", &[], &name);
        made.attribute = vec![constants::value(of_floats(String::new(), &[], &[value]))];
        (name, made)
    };
    let ((least, low), (most, high)) = (constant("least", -MOST), constant("most", MOST));
    let clip = node("", "Clip", &[full, &least, &most], clipped);
    vec![low, high, clip, cast(clipped, half, DataType::Float16)]
}
