//! Gelu and its relatives, which exporters write as five to ten nodes (Hendrycks and Gimpel, arXiv:1606.08415).

use super::net::{Net, float, input, output};
use crate::{
    graph::{MICROSOFT, is, node},
    proto::{NodeProto, tensor_proto::DataType},
};

/// Products inside products that are looked through.
const DEEPEST: usize = 4;
/// Values that are tried as what a gelu is of.
const MOST_CANDIDATES: usize = 16;

/// Puts one node where a gelu is made of several. Returns how many of each kind there were.
pub fn fuse(net: &mut Net, count: &mut dyn FnMut(&'static str)) {
    for at in 0..net.len() {
        let Some(made) = net.node(at).filter(|made| is(made, made.op_type())) else { continue };
        let found = match made.op_type() {
            "Erf" => erf(net, made),
            "Tanh" => tanh(net, made),
            "Sigmoid" => sigmoid(net, made),
            _ => None,
        };
        let Some(found) = found.filter(|found| net.is_float(&found.of)) else { continue };
        let (from, bias) = match bias(net, &found) {
            Some((from, bias)) => (from, Some(bias)),
            None => (found.of.clone(), None),
        };
        let op = if bias.is_some() { "BiasGelu" } else { found.op };
        count(op);
        let inputs: Vec<&str> = [from.as_str()].into_iter().chain(bias.as_deref()).collect();
        let mut new = node(MICROSOFT, op, &inputs, &found.gives);
        new.attribute.extend(found.alpha.map(|alpha| float("alpha", alpha)));
        net.replace(&found.gives, new);
    }
}

/// A gelu that was found.
struct Found {
    op: &'static str,
    /// The value that it is of.
    of: String,
    /// What it makes.
    gives: String,
    alpha: Option<f32>,
}

/// `x · ½ · (1 + erf(x / √2))`, in whatever order.
fn erf(net: &Net, node: &NodeProto) -> Option<Found> {
    let (of, factor) = scaled(net, input(node, 0))?;
    if !near(net, &of, factor, std::f32::consts::FRAC_1_SQRT_2) {
        return None;
    }
    let gives = product_with(net, output(node), &of)?;
    Some(Found { op: "Gelu", of, gives, alpha: None })
}

/// `x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`, in whatever order.
fn tanh(net: &Net, node: &NodeProto) -> Option<Found> {
    let root = (2.0 / std::f32::consts::PI).sqrt();
    for of in candidates(net, input(node, 0)) {
        let (numbers, mut values) = factors(net, input(node, 0), &[&of], 0)?;
        let all = values.len();
        values.retain(|value| *value != of);
        let [sum] = &values[..] else { continue };
        // x · (1 + 0.044715 x²) is the same.
        let less = all == 2;
        if all <= 2
            && near(net, &of, numbers, root)
            && is_cube(net, sum, &of, less)
            && let Some(gives) = product_with(net, output(node), &of)
        {
            return Some(Found { op: "FastGelu", of, gives, alpha: None });
        }
    }
    None
}

/// `x · sigmoid(α x)`.
fn sigmoid(net: &Net, node: &NodeProto) -> Option<Found> {
    let (of, alpha) = scaled(net, input(node, 0)).unwrap_or_else(|| (input(node, 0).to_owned(), 1.0));
    let mut users = net.users(output(node));
    let user = users.next().filter(|user| is(user, "Mul") && net.is_used_only(output(node), 1))?;
    let other = user.input.iter().find(|name| *name != output(node))?;
    let gives = output(user).to_owned();
    (*other == of && !gives.is_empty()).then_some(Found { op: "QuickGelu", of, gives, alpha: Some(alpha) })
}

/// The value that a constant is multiplied with, or that is divided by one.
pub fn scaled(net: &Net, value: &str) -> Option<(String, f32)> {
    let made = net.maker(value)?;
    let of = |at: usize, factor: f32| Some((input(made, at).to_owned(), factor));
    let number = |at: usize| net.number(input(made, at));
    if is(made, "Mul") {
        match (number(0), number(1)) {
            (_, Some(factor)) => of(0, factor),
            (Some(factor), _) => of(1, factor),
            _ => None,
        }
    } else if is(made, "Div") {
        of(0, 1.0 / number(1)?)
    } else {
        None
    }
}

/// Whether a number is another one, as near as its type holds it.
fn near(net: &Net, of: &str, number: f32, wanted: f32) -> bool {
    let half = net.facts.get(of).is_none_or(|fact| fact.kind != Some(DataType::Float));
    (number / wanted - 1.0).abs() < if half { 1e-3 } else { 1e-5 }
}

/// Follows `1 + value` up to the product of it, a half and `x`.
fn product_with(net: &Net, value: &str, x: &str) -> Option<String> {
    let only = |value: &str| net.is_used_only(value, 1).then(|| net.users(value).next()).flatten();
    let sum = only(value).filter(|user| is(user, "Add"))?;
    let other = sum.input.iter().find(|name| *name != value)?;
    if net.number(other)? != 1.0 {
        return None;
    }
    let sum = output(sum).to_owned();
    let mut at = sum.clone();
    // A half may be multiplied last of three.
    for _ in 0..2 {
        let user = only(&at).filter(|user| is(user, "Mul"))?;
        at = output(user).to_owned();
        let (numbers, mut values) = factors(net, &at, &[x, &sum], 0)?;
        values.sort();
        let mut wanted = [x.to_owned(), sum.clone()];
        wanted.sort();
        if values == wanted && numbers == 0.5 {
            return Some(at);
        }
    }
    None
}

/// What a value is the product of: a number, and other values. What is in `whole` is not looked into.
fn factors(net: &Net, value: &str, whole: &[&str], depth: usize) -> Option<(f32, Vec<String>)> {
    if let Some(number) = net.number(value) {
        return Some((number, Vec::new()));
    }
    let itself = || Some((1.0, vec![value.to_owned()]));
    let Some(made) = net.maker(value).filter(|_| depth < DEEPEST && !whole.contains(&value)) else { return itself() };
    let (number, mut values) = match made.op_type() {
        "Mul" | "Div" | "Pow" if is(made, made.op_type()) => factors(net, input(made, 0), whole, depth + 1)?,
        _ => return itself(),
    };
    let second = net.number(input(made, 1));
    Some(match (made.op_type(), second) {
        ("Mul", _) => {
            let (other, more) = factors(net, input(made, 1), whole, depth + 1)?;
            values.extend(more);
            (number * other, values)
        }
        ("Div", Some(by)) => (number / by, values),
        ("Pow", Some(2.0)) => (number * number, [&values[..], &values].concat()),
        ("Pow", Some(3.0)) => (number * number * number, [&values[..], &values, &values].concat()),
        _ => return itself(),
    })
}

/// Values that a tanh may be of: what its argument is the product of, and what the sums among that are of.
fn candidates(net: &Net, value: &str) -> Vec<String> {
    let mut found = vec![value.to_owned()];
    let mut at = 0;
    while at < found.len() && found.len() < MOST_CANDIDATES {
        let inside = net.maker(&found[at]).filter(|made| is(made, "Add") || is(made, "Mul"));
        found.extend(inside.into_iter().flat_map(|made| made.input.clone()).filter(|name| net.number(name).is_none()));
        at += 1;
    }
    found
}

/// Whether a sum is `x + 0.044715 x³`, or `1 + 0.044715 x²`.
fn is_cube(net: &Net, sum: &str, x: &str, less: bool) -> bool {
    let Some(made) = net.made_by(sum, "Add") else { return false };
    let [one, other] = &made.input[..] else { return false };
    let first = |value: &str| if less { net.number(value) == Some(1.0) } else { value == x };
    let term = if first(one) { other } else { one };
    if !first(one) && !first(other) {
        return false;
    }
    let Some(all) = factors(net, term, &[x], 0) else { return false };
    let (numbers, values) = all;
    values.len() == if less { 2 } else { 3 }
        && values.iter().all(|value| value == x)
        && near(net, x, numbers, 0.044_715)
}

/// The product and the bias that a gelu is of the sum of, if it alone uses that.
fn bias(net: &Net, found: &Found) -> Option<(String, String)> {
    // The argument of erf and the product are two uses.
    if found.op == "Gelu" && net.is_used_only(&found.of, 2) { split_bias(net, &found.of) } else { None }
}

/// A sum of a value and a constant of its last dimension: both.
pub fn split_bias(net: &Net, sum: &str) -> Option<(String, String)> {
    let made = net.made_by(sum, "Add")?;
    let fits = |value: &str, bias: &str| {
        let shape = net.facts.get(value)?.shape.as_ref()?;
        let whole = net.facts.get(sum)?.shape.as_ref()? == shape;
        (whole && shape.last()?.number() == Some(net.length(bias)?)).then(|| (value.to_owned(), bias.to_owned()))
    };
    let (one, other) = (input(made, 0), input(made, 1));
    fits(one, other).or_else(|| fits(other, one))
}
