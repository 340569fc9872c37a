//! Layer normalisation (Ba, Kiros and Hinton, arXiv:1607.06450): of nine nodes one, and one with the sum that it is of.

use super::{
    gelu::split_bias,
    net::{Net, float, input, output, whole},
    tidy::is_along_last,
};
use crate::{
    graph::{MICROSOFT, attribute, is, node, number},
    proto::NodeProto,
};

/// Puts one node where a normalisation is made of several.
pub fn fuse(net: &mut Net, opset: i64, count: &mut dyn FnMut(&'static str)) {
    for at in 0..net.len() {
        let Some(new) = net.node(at).filter(|node| is(node, "Div")).and_then(|node| decomposed(net, node, opset))
        else {
            continue;
        };
        count("LayerNormalization");
        let gives = output(&new).to_owned();
        net.replace(&gives, new);
    }
}

/// `(x - mean) / √(mean of squares + ε) · γ + β`, by its quotient.
fn decomposed(net: &Net, quotient: &NodeProto, opset: i64) -> Option<NodeProto> {
    let (centred, root) = (input(quotient, 0), net.made_by(input(quotient, 1), "Sqrt")?);
    let (variance, epsilon) = number_of(net, net.made_by(input(root, 0), "Add")?)?;
    let squares = input(mean(net, &variance, opset)?, 0).to_owned();
    let squared = net.maker(&squares)?;
    let is_square = is(squared, "Pow") && net.number(input(squared, 1)) == Some(2.0)
        || is(squared, "Mul") && input(squared, 1) == input(squared, 0);
    let difference = net.made_by(centred, "Sub")?;
    let of = input(difference, 0);
    if !is_square || input(squared, 0) != centred || input(mean(net, input(difference, 1), opset)?, 0) != of {
        return None;
    }
    let (scaled, gamma) = constant_of(net, sole_user(net, output(quotient), "Mul")?, output(quotient))?;
    let (gives, beta) = constant_of(net, sole_user(net, &scaled, "Add")?, &scaled)?;
    let width = net.shape(of)?.last()?.number();
    if width.is_none() || net.length(&gamma) != width || net.length(&beta) != width || !net.is_float(of) {
        return None;
    }
    let mut new = node("", "LayerNormalization", &[of, &gamma, &beta], &gives);
    new.attribute = vec![number("axis", -1), float("epsilon", epsilon)];
    Some(new)
}

/// The node that gives a mean over the last dimension, which stays.
fn mean<'a>(net: &'a Net, value: &str, opset: i64) -> Option<&'a NodeProto> {
    let made = net.made_by(value, "ReduceMean").filter(|made| whole(made, "keepdims", 1) != 0)?;
    let axes = match attribute(made, "axes") {
        Some(axes) => axes.ints.clone(),
        None => net.facts.get(input(made, 1)).filter(|_| opset >= 18)?.numbers()?,
    };
    let last = i64::try_from(net.shape(input(made, 0))?.len()).ok()? - 1;
    (axes == [-1] || axes == [last]).then_some(made)
}

/// The other side of a sum with a number, and the number.
fn number_of(net: &Net, sum: &NodeProto) -> Option<(String, f32)> {
    let (one, other) = (input(sum, 0), input(sum, 1));
    match (net.number(one), net.number(other)) {
        (None, Some(number)) => Some((one.to_owned(), number)),
        (Some(number), None) => Some((other.to_owned(), number)),
        _ => None,
    }
}

/// The only node that uses a value, if it is of this operator.
fn sole_user<'a>(net: &'a Net, value: &str, op: &str) -> Option<&'a NodeProto> {
    net.users(value).next().filter(|user| is(user, op) && net.is_used_only(value, 1))
}

/// What a node makes of a value and a constant, and the constant.
fn constant_of(net: &Net, node: &NodeProto, value: &str) -> Option<(String, String)> {
    let other = node.input.iter().find(|name| *name != value)?;
    net.tensor(other).map(|_| (output(node).to_owned(), other.clone()))
}

/// Puts one node where a sum is normalised: with the bias of one side, and with the sum where others use it, too.
pub fn fuse_sums(net: &mut Net, count: &mut dyn FnMut(&'static str)) {
    for at in 0..net.len() {
        let Some(new) = net.node(at).filter(|node| is(node, "LayerNormalization")).and_then(|node| summed(net, node))
        else {
            continue;
        };
        count("SkipLayerNormalization");
        if let Some(sum) = new.output.get(3).cloned() {
            net.forget(&sum);
        }
        let gives = output(&new).to_owned();
        net.replace(&gives, new);
    }
}

fn summed(net: &Net, normal: &NodeProto) -> Option<NodeProto> {
    let [of, gamma, beta] = &normal.input[..] else { return None };
    let sum = net.made_by(of, "Add").filter(|sum| sum.input.len() == 2)?;
    let (one, other) = (input(sum, 0), input(sum, 1));
    let (shape, width) = (net.shape(of)?, net.shape(of)?.last()?.number());
    let fits = net.shape(one)? == shape && net.shape(other)? == shape && shape.len() == 3;
    let constants = net.length(gamma) == width && net.length(beta) == width && width.is_some();
    let alone = normal.output.iter().skip(1).all(String::is_empty);
    if !fits || !constants || !alone || !is_along_last(net, normal, -1) || !net.is_float(of) {
        return None;
    }
    let used = net.users(of).count();
    let bias = |side: &str| split_bias(net, side).filter(|_| net.is_used_only(side, 1));
    let (input, skip, bias) = match (bias(one), bias(other)) {
        (Some((one, bias)), _) => (one, other.to_owned(), bias),
        (None, Some((other, bias))) => (other, one.to_owned(), bias),
        (None, None) => (one.to_owned(), other.to_owned(), String::new()),
    };
    let mut inputs = vec![input.as_str(), &skip, gamma, beta];
    if !bias.is_empty() {
        inputs.push(&bias);
    }
    let mut new = node(MICROSOFT, "SkipLayerNormalization", &inputs, output(normal));
    if used > 1 || net.is_kept(of) {
        new.output.extend([String::new(), String::new(), of.clone()]);
    }
    let epsilon = attribute(normal, "epsilon").map_or(1e-5, |epsilon| epsilon.f());
    new.attribute = vec![float("epsilon", epsilon)];
    Some(new)
}
