//! Runs models here, on the processor, to learn what goes into their weights and how far off their outputs are.

mod inputs;
mod passages;
mod run;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    mem::take,
    path::Path,
    sync::Arc,
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tract_onnx::prelude::{Datum, IntoTValue, TValue, TVec, Tensor};

use self::inputs::Inputs;
pub use self::inputs::Item;
use self::run::{Memory, Runner, failed};
use crate::{
    error::Error,
    graph::{each_node, is},
    model::Model,
    plan::Matters,
    proto::{
        TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_proto::DataType,
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    },
    weights::{Use, Weight},
    write::Layout,
};

/// Bytes of the largest model that is run: it is in memory a few times then.
const LARGEST: u64 = 1 << 30;
/// A value that was seen to be larger may not fit into 16 bits on other input.
const LARGE: f32 = 65_504.0 / 4.0;

/// Items by which weights are put into an order; how far to go is told by all.
const QUICK: usize = 4;

/// Weights in place of a model's own, by name.
pub type Exchanged = HashMap<String, Arc<Tensor>>;

/// What a model was run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// In words.
    pub what: String,
    /// Items by which was chosen.
    pub chosen_by: usize,
    /// Items on which the result was measured.
    pub held_out: usize,
}

/// The float outputs of a model for some items.
pub struct Run(Vec<Vec<Vec<f32>>>);

impl Run {
    /// Those of a file.
    pub fn of_file(file: &Path, items: &[Item]) -> Result<Self, Error> {
        let model = Model::open(file)?;
        check_size(&model)?;
        let bytes = Layout::new(&model, file, u64::MAX)?.to_vec(&model)?;
        let Some(first) = items.first() else { return Ok(Self(Vec::new())) };
        let runner = Runner::new(&bytes, &first.iter().map(|value| &**value).collect::<Vec<_>>())?;
        let outputs = model.graph.output.len();
        let run = |item: &Item| Ok(floats(&runner.run(item.iter().cloned().collect())?[..outputs]));
        Ok(Self(items.par_iter().map(run).collect::<Result<_, Error>>()?))
    }
}

fn check_size(model: &Model) -> Result<(), Error> {
    let bytes = model.bytes();
    if bytes > LARGEST {
        Err(Error::Run(format!("it has {bytes} bytes, and what has more than {LARGEST} is not run")))
    } else {
        Ok(())
    }
}

/// The values of outputs; nothing for those that are no floats.
fn floats(outputs: &[TValue]) -> Vec<Vec<f32>> {
    outputs.iter().map(|output| values(output).map(<[f32]>::to_vec).unwrap_or_default()).collect()
}

fn values(tensor: &Tensor) -> Option<&[f32]> {
    if tensor.datum_type() != f32::datum_type() {
        return None;
    }
    tensor.try_as_plain_ram().ok()?.as_slice().ok()
}

/// A source whose weights can be exchanged, what it answers with its own, and what was seen meanwhile.
pub struct Baseline {
    /// What it is run on.
    pub calibration: Calibration,
    /// Items on which results are measured.
    pub held_out: Vec<Item>,
    /// Mean squares of what the weights' rows are multiplied with.
    pub matters: Matters,
    /// Values that were seen to be too large for 16 bits.
    pub large: HashSet<String>,
    runner: Runner,
    chosen_by: Vec<Item>,
    /// The weights, in the order in which they are inputs.
    weights: Vec<(String, Arc<Tensor>)>,
    /// How many outputs are the model's own, and which of them count.
    outputs: usize,
    counts: Vec<bool>,
    own: Run,
    own_held_out: Run,
}

impl Baseline {
    /// Runs the model of a folder on what suits it.
    pub fn new(model: &mut Model, weights: &[Weight], folder: &Path) -> Result<Self, Error> {
        check_size(model)?;
        let inputs = Inputs::new(model, weights, folder);
        let items = (0..inputs.len()).map(|number| inputs.item(number)).collect::<Result<Vec<_>, _>>()?;
        let half = items.len() / 2;
        let calibration = Calibration { what: inputs.what, chosen_by: half, held_out: items.len() - half };
        let mut chosen_by = items;
        let held_out = chosen_by.split_off(half);

        let exchangeable = tensors(model, weights)?;
        let outputs = model.graph.output.len();
        let counts = model.graph.output.iter().map(|output| !output.name().starts_with("present")).collect();
        let watched = watched(model, weights);
        let bytes = open_up(model, &exchangeable, &watched)?;
        let like = chosen_by
            .first()
            .into_iter()
            .flatten()
            .map(|value| &**value)
            .chain(exchangeable.iter().map(|(_, tensor)| tensor.as_ref()));
        let runner = Runner::new(&bytes, &like.collect::<Vec<_>>())?;
        drop(bytes);

        let mut baseline = Self {
            calibration,
            held_out,
            matters: Matters::new(),
            large: HashSet::new(),
            runner,
            chosen_by,
            weights: exchangeable,
            outputs,
            counts,
            own: Run(Vec::new()),
            own_held_out: Run(Vec::new()),
        };
        let mut seen = Seen::default();
        let own = baseline.run(&baseline.chosen_by, &Exchanged::new(), Some((&watched, &mut seen)))?;
        baseline.own = own;
        baseline.own_held_out = baseline.run(&baseline.held_out, &Exchanged::new(), None)?;
        baseline.large = seen.large;
        baseline.matters = matters(weights, &seen.squares);
        Ok(baseline)
    }

    /// Puts into a hash what tells this run of the model from another one.
    pub fn digest(&self, hash: &mut Sha256) {
        for value in [&self.own, &self.own_held_out].iter().flat_map(|run| run.0.iter().flatten().flatten()) {
            hash.update(value.to_le_bytes());
        }
        for (name, matters) in self.matters.iter().collect::<BTreeMap<_, _>>() {
            hash.update(name);
            matters.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
        self.large.iter().collect::<BTreeSet<_>>().into_iter().for_each(|name| hash.update(name));
    }

    /// What a run is off by: the mean of 1 - cosine over items and outputs.
    pub fn error_of(&self, run: &Run) -> Result<f64, Error> {
        self.off(&self.own_held_out, run)
    }

    /// The mean squares of what a weight's rows are multiplied with; none where nothing was seen.
    pub fn matters_of(&self, weight: &str) -> Arc<[f32]> {
        self.matters.get(weight).cloned().unwrap_or_default()
    }

    /// The same as [`Baseline::error_with`], on the items on which results are measured.
    pub fn final_error_with(&self, exchanged: &Exchanged) -> Result<f64, Error> {
        self.error_of(&self.run(&self.held_out, exchanged, None)?)
    }

    /// What the output is off by with some weights exchanged, on the items by which is chosen.
    pub fn error_with(&self, exchanged: &Exchanged) -> Result<f64, Error> {
        self.off(&self.own, &self.run(&self.chosen_by, exchanged, None)?)
    }

    /// Remembers the runs of a few items, for [`Baseline::quick_error_with`].
    pub fn remember(&self) -> Result<Memory, Error> {
        let (none, mut memory) = (Exchanged::new(), Memory::default());
        for item in self.chosen_by.iter().take(QUICK) {
            self.runner.remember(self.values(item, &none), &mut memory)?;
        }
        Ok(memory)
    }

    /// What the output of these few items is off by.
    pub fn quick_error_with(&self, exchanged: &Exchanged, memory: &Memory) -> Result<f64, Error> {
        let one = |(number, item): (usize, &Item)| {
            let given = self.runner.run_again(self.values(item, exchanged), memory, number)?;
            Ok(floats(&given[..self.outputs]))
        };
        let items = self.chosen_by[..memory.items()].par_iter().enumerate();
        self.off(&self.own, &Run(items.map(one).collect::<Result<_, Error>>()?))
    }

    /// What goes in for an item.
    fn values(&self, item: &Item, exchanged: &Exchanged) -> TVec<TValue> {
        let weights = self.weights.iter().map(|(name, own)| exchanged.get(name).unwrap_or(own).clone().into_tvalue());
        item.iter().cloned().chain(weights).collect()
    }

    fn off(&self, own: &Run, other: &Run) -> Result<f64, Error> {
        let (mut sum, mut count) = (0.0, 0);
        for (own, other) in own.0.iter().zip(&other.0) {
            for ((own, other), _) in own.iter().zip(other).zip(&self.counts).filter(|(_, counts)| **counts) {
                if own.is_empty() || own.len() != other.len() {
                    continue;
                }
                sum += 1.0 - cosine(own, other);
                count += 1;
            }
        }
        if count == 0 { Err(Error::Run("no output of it is of floats".into())) } else { Ok(sum / f64::from(count)) }
    }

    fn run(&self, items: &[Item], exchanged: &Exchanged, watch: Option<(&[String], &mut Seen)>) -> Result<Run, Error> {
        let one = |item: &Item| self.runner.run(self.values(item, exchanged));
        let Some((names, seen)) = watch else {
            let all = items.par_iter().map(|item| Ok(floats(&one(item)?[..self.outputs])));
            return Ok(Run(all.collect::<Result<_, Error>>()?));
        };
        let mut all = Vec::new();
        for item in items {
            let outputs = one(item)?;
            for (name, output) in names.iter().zip(&outputs[self.outputs..]) {
                seen.see(name, output);
            }
            all.push(floats(&outputs[..self.outputs]));
        }
        Ok(Run(all))
    }
}

/// What was seen of values inside a model.
#[derive(Default)]
struct Seen {
    /// Sums of squares over the last dimension, and how many.
    squares: HashMap<String, (Vec<f64>, u64)>,
    large: HashSet<String>,
}

impl Seen {
    fn see(&mut self, name: &str, tensor: &Tensor) {
        let (Some(values), Some(width)) = (values(tensor), tensor.shape().last().filter(|width| **width > 0)) else {
            return;
        };
        let (sums, count) = self.squares.entry(name.to_owned()).or_insert_with(|| (vec![0.0; *width], 0));
        for row in values.chunks_exact(*width) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(value * value));
            *count += 1;
        }
        if values.iter().any(|value| value.abs() > LARGE || value.is_nan()) {
            self.large.insert(name.to_owned());
        }
    }
}

fn matters(weights: &[Weight], squares: &HashMap<String, (Vec<f64>, u64)>) -> Matters {
    let of = |weight: &Weight| {
        let Use::Product(shape) = weight.used else { return None };
        let (mut sums, mut count) = (vec![0.0; shape.k], 0);
        for input in &weight.inputs {
            let (more, seen) = squares.get(input).filter(|(more, _)| more.len() == shape.k)?;
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            count += seen;
        }
        let mean = sums.iter().sum::<f64>() / shape.k as f64;
        // A row that nothing came to counts a little: other input may come to it.
        let each = sums.iter().map(|sum| (sum / mean).max(1e-3) as f32);
        (count > 0 && mean.is_normal()).then(|| (weight.name.clone(), each.collect()))
    };
    weights.iter().filter_map(of).collect()
}

/// The tensors of weights.
fn tensors(model: &Model, weights: &[Weight]) -> Result<Vec<(String, Arc<Tensor>)>, Error> {
    let mut all = Vec::new();
    for tensor in &model.graph.initializer {
        if weights.iter().any(|weight| weight.name == tensor.name()) {
            let shape: Vec<_> = tensor.dims.iter().map(|dim| *dim as usize).collect();
            let tract = Tensor::from_shape(&shape, &model.floats(tensor)?).map_err(failed)?;
            all.push((tensor.name().to_owned(), Arc::new(tract)));
        }
    }
    Ok(all)
}

/// The values to be watched: what is multiplied with weights, and all that could be too large.
fn watched(model: &Model, weights: &[Weight]) -> Vec<String> {
    let mut names: Vec<String> = weights
        .iter()
        .filter(|weight| matches!(weight.used, Use::Product(_)))
        .flat_map(|weight| weight.inputs.clone())
        .collect();
    each_node(&model.graph, &mut |node| {
        if ["Add", "Mul", "MatMul", "Gemm", "Conv"].iter().any(|op| is(node, op)) {
            names.extend(node.output.first().cloned());
        }
    });
    let mine: HashSet<_> = model.graph.node.iter().flat_map(|node| &node.output).collect();
    let mut seen: HashSet<&str> = model.graph.output.iter().map(ValueInfoProto::name).collect();
    names.iter().filter(|name| mine.contains(name) && seen.insert(name)).cloned().collect()
}

/// The bytes of the model with its weights as inputs and the watched values as outputs.
fn open_up(model: &mut Model, weights: &[(String, Arc<Tensor>)], watched: &[String]) -> Result<Vec<u8>, Error> {
    let graph = model.graph.clone();
    let names: HashSet<_> = weights.iter().map(|(name, _)| name.as_str()).collect();
    model.graph.initializer.retain(|tensor| !names.contains(tensor.name()));
    model.graph.value_info.clear();
    for (name, tensor) in weights {
        let dim =
            |size: &usize| Dimension { value: Some(dimension::Value::DimValue(*size as i64)), ..Default::default() };
        let shape = TensorShapeProto { dim: tensor.shape().iter().map(dim).collect() };
        let of = type_proto::Tensor { elem_type: Some(DataType::Float.into()), shape: Some(shape) };
        let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(of)), ..Default::default() });
        model.graph.input.push(ValueInfoProto { name: Some(name.clone()), r#type, ..Default::default() });
    }
    for name in watched {
        model.graph.output.push(ValueInfoProto { name: Some(name.clone()), ..Default::default() });
    }
    let layout = Layout::new(model, Path::new("memory"), u64::MAX);
    let bytes = layout.map_err(Error::from).and_then(|layout| layout.to_vec(model));
    let _ = take(&mut model.graph);
    model.graph = graph;
    bytes
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |left: &[f32], right: &[f32]| {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum::<f64>()
    };
    let (both, left, right) = (dot(left, right), dot(left, left), dot(right, right));
    // Nothing is as far off as what is not a number.
    if left == 0.0 && right == 0.0 {
        1.0
    } else {
        Some(both / (left * right).sqrt()).filter(|cosine| cosine.is_finite()).unwrap_or(-1.0)
    }
}
