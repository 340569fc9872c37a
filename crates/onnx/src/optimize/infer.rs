//! What an operator makes of what is known of its inputs.

use super::{
    content::{self, elementwise},
    dim::{Dim, Symbols, product},
    facts::{Content, Fact},
    net::{output, whole},
};
use crate::{
    graph::{MICROSOFT, attribute, is},
    proto::{NodeProto, tensor_proto::DataType},
};

/// Dimensions that a shape may have.
const MOST_RANK: usize = 16;

/// What is known of a node's first output.
pub fn infer(node: &NodeProto, inputs: &[&Fact], opset: i64, symbols: &mut Symbols) -> Option<Fact> {
    if node.domain() == MICROSOFT {
        return microsoft(node, inputs);
    }
    if !is(node, node.op_type()) {
        return None;
    }
    let nothing = Fact::default();
    let at = |at: usize| inputs.get(at).copied().unwrap_or(&nothing);
    let (first, kind) = (inputs.first().copied()?, inputs.first()?.kind);
    let shaped = |shape: Option<Vec<Dim>>| Some(Fact::of(kind, shape));
    match node.op_type() {
        "Relu"
        | "Erf"
        | "Exp"
        | "Log"
        | "Tanh"
        | "Sigmoid"
        | "Softmax"
        | "LayerNormalization"
        | "Elu"
        | "LeakyRelu"
        | "Abs"
        | "Floor"
        | "Ceil"
        | "Round"
        | "Sin"
        | "Cos"
        | "Softplus"
        | "Gelu"
        | "InstanceNormalization"
        | "BatchNormalization"
        | "Trilu"
        | "CumSum"
        | "Dropout"
        | "LogSoftmax" => same(inputs),
        "Identity" => Some(first.clone()),
        "Clip" => Some(Fact { content: content::clip(first, at(1), at(2)), ..same(inputs)? }),
        "Sqrt" | "Neg" | "Reciprocal" => Some(Fact { content: content::unary(node.op_type(), first), ..same(inputs)? }),
        "Not" => Some(Fact::of(Some(DataType::Bool), first.shape.clone())),
        "IsNaN" | "IsInf" => Some(Fact::of(Some(DataType::Bool), first.shape.clone())),
        "Cast" => {
            let to = DataType::try_from(i32::try_from(whole(node, "to", 0)).ok()?).ok()?;
            Some(Fact { kind: Some(to), shape: first.shape.clone(), content: content::cast(first, to) })
        }
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Mod" | "PRelu" => {
            let shape = broadcast(&inputs[..inputs.len()], symbols);
            Some(Fact { kind, shape, content: elementwise(node.op_type(), first, at(1), symbols) })
        }
        "Equal" | "Less" | "Greater" | "LessOrEqual" | "GreaterOrEqual" | "And" | "Or" | "Xor" => {
            let shape = broadcast(inputs, symbols);
            let content = elementwise(node.op_type(), first, at(1), symbols);
            Some(Fact { kind: Some(DataType::Bool), shape, content })
        }
        "Where" => Some(Fact {
            kind: at(1).kind,
            shape: broadcast(inputs, symbols),
            content: content::choose(first, at(1), at(2)),
        }),
        "Shape" => content::shape(node, first),
        "Reshape" => {
            let target = at(1).ints().filter(|_| whole(node, "allowzero", 0) == 0);
            Some(content::moved(first, target.and_then(|target| reshape(first.shape.as_ref()?, target))))
        }
        "Unsqueeze" => Some(content::moved(first, unsqueeze(first, &axes(node, at(1), opset >= 13)?))),
        "Squeeze" => Some(content::moved(first, squeeze(first, &axes(node, at(1), opset >= 13)?))),
        "Concat" => concat(node, inputs, symbols),
        "Slice" if opset >= 10 => slice(node, inputs, symbols),
        "Gather" => gather(node, first, at(1)),
        "Transpose" => shaped(transpose(node, first)),
        "Expand" => {
            let target = at(1).ints().map(<[Dim]>::to_vec);
            shaped(first.shape.as_ref().zip(target).map(|(shape, target)| symbols.broadcast_all(shape, &target)))
        }
        "ConstantOfShape" => content::filled(node, first),
        "Range" => {
            let one = |fact: &Fact| fact.ints().and_then(|all| all.first().cloned());
            let end = one(at(1)).filter(|end| end.is_size());
            let counts = one(first).is_some_and(|start| start.is(0)) && one(at(2)).is_some_and(|step| step.is(1));
            let end = end.filter(|_| counts).unwrap_or_else(|| symbols.named(format!("0 of {}", output(node))));
            Some(Fact::of(kind, Some(vec![end])))
        }
        "MatMul" => shaped(matmul(first.shape.as_ref()?, at(1).shape.as_ref()?, symbols)),
        "Gemm" => {
            let side = |fact: &Fact, turned: &str, at: usize| {
                let shape = fact.shape.as_ref().filter(|shape| shape.len() == 2)?;
                shape.get(if whole(node, turned, 0) == 0 { at } else { 1 - at }).cloned()
            };
            shaped(Some(vec![side(first, "transA", 0)?, side(at(1), "transB", 1)?]))
        }
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL2" => {
            let from_input = opset >= 18 || opset >= 13 && node.op_type() == "ReduceSum";
            shaped(reduce(node, first, &axes(node, at(1), from_input)?))
        }
        "Conv" => {
            let (shape, weight) = (first.shape.as_ref()?, at(1).shape.as_ref()?);
            let mut dims = vec![shape.first()?.clone(), weight.first()?.clone()];
            dims.extend((2..shape.len()).map(|at| symbols.named(format!("{at} of {}", output(node)))));
            shaped(Some(dims))
        }
        _ => None,
    }
}

/// The same for ONNX Runtime's own operators.
fn microsoft(node: &NodeProto, inputs: &[&Fact]) -> Option<Fact> {
    let mut fact = same(inputs)?;
    match node.op_type() {
        "Gelu" | "FastGelu" | "BiasGelu" | "QuickGelu" | "SkipLayerNormalization" => {}
        "MatMulNBits" => *fact.shape.as_mut()?.last_mut()? = Dim::known(attribute(node, "N")?.i()),
        _ => return None,
    }
    Some(fact)
}

fn same(inputs: &[&Fact]) -> Option<Fact> {
    inputs.first().map(|fact| Fact::of(fact.kind, fact.shape.clone()))
}

fn broadcast(inputs: &[&Fact], symbols: &mut Symbols) -> Option<Vec<Dim>> {
    let mut shapes = inputs.iter().map(|fact| fact.shape.as_ref());
    let first = shapes.next()??.clone();
    shapes.try_fold(first, |all, shape| Some(symbols.broadcast_all(&all, shape?)))
}

/// The axes of a node, which are an input in newer versions.
fn axes(node: &NodeProto, from: &Fact, from_input: bool) -> Option<Vec<i64>> {
    if from_input { from.numbers() } else { Some(attribute(node, "axes")?.ints.clone()) }
}

/// An axis from the front.
fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    usize::try_from(if axis < 0 { axis.checked_add(rank)? } else { axis }).ok().filter(|axis| (*axis as i64) < rank)
}

fn reshape(from: &[Dim], target: &[Dim]) -> Option<Vec<Dim>> {
    let mut shape: Vec<Dim> = target.to_vec();
    let mut open = None;
    for (at, dim) in shape.iter_mut().enumerate() {
        if dim.is(0) {
            *dim = from.get(at)?.clone();
        } else if dim.is(-1) {
            if open.replace(at).is_some() {
                return None;
            }
            *dim = Dim::known(1);
        } else if !dim.is_size() {
            return None;
        }
    }
    if let Some(open) = open {
        shape[open] = product(from)?.over(&product(&shape)?)?;
    }
    Some(shape)
}

fn unsqueeze(fact: &Fact, axes: &[i64]) -> Option<Vec<Dim>> {
    let mut rest = fact.shape.as_ref()?.iter();
    let rank = rest.len() + axes.len();
    let new: Vec<usize> = axes.iter().map(|new| axis(*new, rank)).collect::<Option<_>>()?;
    let dims = |at: usize| if new.contains(&at) { Some(Dim::known(1)) } else { rest.next().cloned() };
    if rank > MOST_RANK { None } else { (0..rank).map(dims).collect() }
}

fn squeeze(fact: &Fact, axes: &[i64]) -> Option<Vec<Dim>> {
    let shape = fact.shape.as_ref()?;
    let gone: Vec<usize> = axes.iter().map(|gone| axis(*gone, shape.len())).collect::<Option<_>>()?;
    Some((0..shape.len()).filter(|at| !gone.contains(at)).map(|at| shape[at].clone()).collect())
}

fn concat(node: &NodeProto, inputs: &[&Fact], symbols: &mut Symbols) -> Option<Fact> {
    let first = inputs.first()?;
    let mut shape = first.shape.clone()?;
    let along = axis(attribute(node, "axis")?.i(), shape.len())?;
    for other in &inputs[1..] {
        let other = other.shape.as_ref().filter(|other| other.len() == shape.len())?;
        shape[along] = symbols.sum(&shape[along], other.get(along)?)?;
    }
    let mut fact = Fact::of(first.kind, Some(shape));
    if first.rank() == Some(1) {
        let all: Option<Vec<&[Dim]>> = inputs.iter().map(|fact| fact.ints()).collect();
        fact.content = all.map(|all| Content::Ints(all.concat()));
    }
    Some(fact)
}

fn slice(node: &NodeProto, inputs: &[&Fact], symbols: &mut Symbols) -> Option<Fact> {
    let [from, starts, ends, more @ ..] = inputs else { return None };
    let mut shape = from.shape.clone()?;
    let unknown = Fact::default();
    let starts = starts.numbers()?;
    let given =
        |at: usize, input: usize| node.input.get(input).is_some_and(|name| !name.is_empty()).then(|| more.get(at));
    let axes = match given(0, 3) {
        Some(axes) => axes.copied().unwrap_or(&unknown).numbers()?,
        None => (0..i64::try_from(starts.len()).ok()?).collect(),
    };
    let steps = match given(1, 4) {
        Some(steps) => steps.copied().unwrap_or(&unknown).numbers()?,
        None => vec![1; starts.len()],
    };
    let mut taken = None;
    for (number, along) in axes.iter().enumerate() {
        let along = axis(*along, shape.len())?;
        let (start, step) = (*starts.get(number)?, *steps.get(number)?);
        let end = ends.ints().and_then(|ends| ends.get(number)).and_then(Dim::number);
        let open = ends.ints().and_then(|ends| ends.get(number));
        let from_start = start == 0 && step == 1;
        shape[along] = match (shape[along].number(), end) {
            (Some(size), Some(end)) if step == 1 && size >= 0 => {
                let clamp = |at: i64| if at < 0 { at.saturating_add(size) } else { at }.clamp(0, size);
                let (start, end) = (clamp(start), clamp(end).max(clamp(start)));
                taken = Some(start..end);
                Dim::known(end - start)
            }
            (None, Some(i64::MAX)) if from_start => shape[along].clone(),
            (None, _) if open == Some(&shape[along]) && from_start => shape[along].clone(),
            (Some(size), None) if from_start && open.is_some_and(Dim::is_size) => {
                open.map_or(Dim::known(size), |end| symbols.cut(end, size))
            }
            _ => symbols.named(format!("{along} of {}", output(node))),
        };
    }
    let part = |all: &[Dim]| {
        let range = taken.clone()?;
        Some(all.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?.to_vec())
    };
    let content = from.ints().filter(|_| shape.len() == 1 && axes.len() == 1).and_then(part).map(Content::Ints);
    Some(Fact { kind: from.kind, shape: Some(shape), content })
}

fn gather(node: &NodeProto, from: &Fact, at: &Fact) -> Option<Fact> {
    let (shape, indices) = (from.shape.as_ref()?, at.shape.as_ref()?);
    let along = axis(whole(node, "axis", 0), shape.len())?;
    let all = [&shape[..along], indices, &shape[along + 1..]].concat();
    let pick = |all: &[Dim]| {
        let index = |index: i64| axis(index, all.len()).map(|index| all[index].clone());
        at.numbers()?.into_iter().map(index).collect::<Option<Vec<_>>>()
    };
    let content = from.ints().filter(|_| shape.len() == 1).and_then(pick).map(Content::Ints);
    (all.len() <= MOST_RANK).then_some(Fact { kind: from.kind, shape: Some(all), content })
}

fn transpose(node: &NodeProto, from: &Fact) -> Option<Vec<Dim>> {
    let shape = from.shape.as_ref()?;
    match attribute(node, "perm") {
        Some(turned) if turned.ints.len() == shape.len() => {
            turned.ints.iter().map(|at| shape.get(usize::try_from(*at).ok()?).cloned()).collect()
        }
        Some(_) => None,
        None => Some(shape.iter().rev().cloned().collect()),
    }
}

fn matmul(one: &[Dim], other: &[Dim], symbols: &mut Symbols) -> Option<Vec<Dim>> {
    let ([before @ .., rows, _], [with @ .., _, columns]) = (one, other) else { return None };
    let mut shape = symbols.broadcast_all(before, with);
    shape.extend([rows.clone(), columns.clone()]);
    Some(shape)
}

fn reduce(node: &NodeProto, from: &Fact, axes: &[i64]) -> Option<Vec<Dim>> {
    let (shape, keeps) = (from.shape.as_ref()?, whole(node, "keepdims", 1) != 0);
    let gone: Vec<usize> = axes.iter().map(|gone| axis(*gone, shape.len())).collect::<Option<_>>()?;
    // Without axes it is all of them, or none.
    if gone.is_empty() {
        return None;
    }
    let dims = (0..shape.len()).filter(|at| keeps || !gone.contains(at));
    Some(dims.map(|at| if gone.contains(&at) { Dim::known(1) } else { shape[at].clone() }).collect())
}
