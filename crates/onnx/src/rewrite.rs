//! Puts quantised weights into a graph: the new tensors where the old one was, and the operators that take them.

use std::{collections::HashMap, mem::take, sync::Arc};

use crate::{
    error::Error,
    graph::{self, MICROSOFT, Names, inner_mut, is, node, number},
    job::{Job, Work},
    model::Model,
    proto::{GraphProto, NodeProto, TensorProto, tensor_proto::DataType},
    tensor::header,
};

/// What is to become of a weight, and how much each of its rows matters.
pub type Works = HashMap<String, (Work, Arc<[f32]>)>;

/// The new tensors of a weight.
struct New {
    work: Work,
    names: Vec<String>,
}

/// Rewrites the graph. The bytes of its new tensors are made by the jobs that are appended.
pub fn rewrite(model: &mut Model, works: &Works, jobs: &mut Vec<Job>) -> Result<(), Error> {
    let mut names = Names::new(&model.graph);
    let mut news = HashMap::new();
    for tensor in take(&mut model.graph.initializer) {
        let Some((work, matters)) = works.get(tensor.name()) else {
            model.graph.initializer.push(tensor);
            continue;
        };
        let heads = heads(tensor.name(), *work, &mut names);
        news.insert(
            tensor.name().to_owned(),
            New { work: *work, names: heads.iter().map(|head| head.name().to_owned()).collect() },
        );
        for (part, mut head) in heads.into_iter().enumerate() {
            model.make(&mut head, jobs.len(), part)?;
            model.graph.initializer.push(head);
        }
        jobs.push(Job { source: tensor, work: *work, matters: matters.clone(), half: false });
    }
    model.graph.value_info.retain(|value| !news.contains_key(value.name()));
    let mut pass = Pass { news: &news, names };
    pass.nodes(&mut model.graph);
    if works.values().any(|(work, _)| matches!(work, Work::Blocks(..))) {
        graph::import_microsoft(&mut model.rest);
    }
    Ok(())
}

/// The new tensors of a weight, without their bytes.
fn heads(name: &str, work: Work, names: &mut Names) -> Vec<TensorProto> {
    let mut head = |end: &str, data_type, dims: &[usize]| {
        let dims: Vec<_> = dims.iter().map(|dim| *dim as u64).collect();
        header(names.fresh(format!("{name}_{end}")), data_type, &dims)
    };
    match work {
        Work::Blocks(shape, scheme) => {
            let (blocks, bits) = (shape.k.div_ceil(scheme.block), scheme.bits as usize);
            let codes = [shape.n, blocks, (scheme.block * bits).div_ceil(8)];
            let mut all = vec![
                head(&format!("q{bits}"), DataType::Uint8, &codes),
                head("scales", DataType::Float, &[shape.n * blocks]),
            ];
            if scheme.asymmetric {
                all.push(head("zeros", DataType::Uint8, &[shape.n * (blocks * bits).div_ceil(8)]));
            }
            all
        }
        Work::Columns { shape, signed } => {
            let codes = if signed { DataType::Int8 } else { DataType::Uint8 };
            let mut all = vec![head("q8", codes, &[shape.k, shape.n]), head("scales", DataType::Float, &[shape.n])];
            if !signed {
                all.push(head("zeros", DataType::Uint8, &[shape.n]));
            }
            all
        }
        Work::Rows { rows, width } => {
            vec![head("q8", DataType::Int8, &[rows, width]), head("scales", DataType::Float, &[rows, 1])]
        }
        Work::Half => vec![head("half", DataType::Float16, &[])],
    }
}

struct Pass<'a> {
    news: &'a HashMap<String, New>,
    names: Names,
}

/// A graph's nodes as they become.
#[derive(Default)]
struct Body {
    nodes: Vec<NodeProto>,
    /// Inputs that are in 8 bits already: codes, scale and zero point of each.
    quantised: HashMap<String, [String; 3]>,
}

impl Pass<'_> {
    fn nodes(&mut self, graph: &mut GraphProto) {
        let mut body = Body::default();
        for mut old in take(&mut graph.node) {
            inner_mut(&mut old).for_each(|graph| self.nodes(graph));
            let at = usize::from(!is(&old, "Gather"));
            match old.input.get(at).and_then(|weight| self.news.get(weight)) {
                Some(new) => self.replace(old, new, &mut body),
                None => body.nodes.push(old),
            }
        }
        graph.node = body.nodes;
    }

    fn fresh(&mut self, of: &str, end: &str) -> String {
        self.names.fresh(format!("{of}_{end}"))
    }

    fn replace(&mut self, mut old: NodeProto, new: &New, body: &mut Body) {
        let output = old.output[0].clone();
        // What is added to a product comes after it.
        let added = old.input.get(2).filter(|added| is(&old, "Gemm") && !added.is_empty()).cloned();
        let product = if added.is_some() { self.fresh(&output, "product") } else { output.clone() };
        let first = body.nodes.len();
        match new.work {
            Work::Blocks(shape, scheme) => {
                let mut inputs = vec![old.input[0].as_str()];
                inputs.extend(new.names.iter().map(String::as_str));
                let mut blocks = node(MICROSOFT, "MatMulNBits", &inputs, &product);
                blocks.attribute = vec![
                    number("K", shape.k as i64),
                    number("N", shape.n as i64),
                    number("bits", i64::from(scheme.bits)),
                    number("block_size", scheme.block as i64),
                ];
                body.nodes.push(blocks);
            }
            Work::Columns { .. } => self.columns(&old.input[0], new, &product, body),
            Work::Rows { .. } => {
                let [codes, scales] = ["codes", "scales"].map(|end| self.fresh(&output, end));
                let floats = self.fresh(&output, "floats");
                let ids = take(&mut old.input[1]);
                body.nodes.push(node("", "Gather", &[&new.names[0], &ids], &codes));
                body.nodes.push(cast(&codes, &floats, DataType::Float));
                body.nodes.push(node("", "Gather", &[&new.names[1], &ids], &scales));
                body.nodes.push(node("", "Mul", &[&floats, &scales], &output));
            }
            Work::Half => body.nodes.push(old.clone()),
        }
        if let Some(added) = added {
            body.nodes.push(node("", "Add", &[&product, &added], &output));
        }
        // One of the new nodes keeps the name of the old one, by which people know it.
        if let Some(last) = body.nodes[first..].last_mut()
            && !old.name().is_empty()
        {
            last.name = old.name;
        }
    }

    fn columns(&mut self, input: &str, new: &New, output: &str, body: &mut Body) {
        let [codes, scale, zero] = body.quantised.entry(input.to_owned()).or_insert_with(|| {
            let made = ["q8", "scale", "zero"].map(|end| self.names.fresh(format!("{input}_{end}")));
            let mut quantise = node("", "DynamicQuantizeLinear", &[input], &made[0]);
            quantise.output = made.to_vec();
            body.nodes.push(quantise);
            made
        });
        let (codes, scale, zero) = (codes.clone(), scale.clone(), zero.clone());
        let [sum, floats, scales] = ["sum", "floats", "scale"].map(|end| self.fresh(output, end));
        let mut inputs = vec![codes.as_str(), &new.names[0], &zero];
        inputs.extend(new.names.get(2).map(String::as_str));
        body.nodes.push(node("", "MatMulInteger", &inputs, &sum));
        body.nodes.push(cast(&sum, &floats, DataType::Float));
        body.nodes.push(node("", "Mul", &[&scale, &new.names[1]], &scales));
        body.nodes.push(node("", "Mul", &[&floats, &scales], output));
    }
}

/// A node that changes the type.
pub fn cast(input: &str, output: &str, to: DataType) -> NodeProto {
    NodeProto { attribute: vec![number("to", i64::from(i32::from(to)))], ..node("", "Cast", &[input], output) }
}
