//! Attention (Vaswani et al., arXiv:1706.03762): of some twenty nodes one, `MultiHeadAttention` or, where query, key and value
//! are products of one value, `Attention` with their weights side by side.
//!
//! Shapes are [batch, rows, width] where heads are together and [batch, heads, rows, size] where they are apart.

use std::collections::HashMap;

use super::{
    dim::Dim,
    gelu::{scaled, split_bias},
    net::{Net, float, input, output},
    pack::{Packs, beside, vectors},
    tidy::is_along_last,
};
use crate::{
    graph::{MICROSOFT, attribute, is, node, number},
    model::Model,
    proto::{NodeProto, TensorProto, tensor_proto::DataType},
    tensor::header,
};

/// Scalings that are looked through.
const MOST_SCALES: usize = 8;

/// What is needed to fuse attention.
pub struct Attention<'a> {
    /// The values and nodes.
    pub net: &'a mut Net,
    /// Where bytes of constants are.
    pub model: &'a Model,
    /// New constants that are put together while they are written.
    pub packs: &'a mut Packs,
    /// Whether weights are to be put side by side.
    pub packed: bool,
    /// The version of ONNX's operators.
    pub opset: i64,
}

/// One of query, key and value.
struct Side {
    /// With the heads together.
    value: String,
    heads: i64,
    size: i64,
    batch: Dim,
    rows: Dim,
    /// What its numbers are multiplied with.
    scale: f32,
}

/// What the heads are of, and what they make.
struct Found {
    query: Side,
    key: Side,
    value: Side,
    scale: f32,
    mask: Option<String>,
    gives: String,
}

impl Attention<'_> {
    /// Puts one node where attention is made of several.
    pub fn fuse(mut self, count: &mut dyn FnMut(&'static str)) {
        let mut masks = HashMap::new();
        for at in 0..self.net.len() {
            let softmax = self.net.node(at).filter(|node| is(node, "Softmax"));
            let Some(found) = softmax.and_then(|softmax| find(self.net, softmax, self.opset)) else { continue };
            let Some(mask) = self.mask(&found, &mut masks) else { continue };
            count(self.put(&found, &mask));
        }
    }

    /// The mask in a shape that the operator takes: rows of the query by rows of the key. Empty for none.
    fn mask(&mut self, found: &Found, masks: &mut HashMap<(String, Dim, Dim), String>) -> Option<String> {
        let Some(mask) = &found.mask else { return Some(String::new()) };
        let shape = self.net.shape(mask)?;
        let (query, key) = (&found.query, &found.key);
        let fits = |from_last: usize, allowed: &[&Dim]| match shape.len().checked_sub(from_last) {
            Some(at) => shape.get(at).is_some_and(|dim| allowed.contains(&dim)),
            None => allowed.contains(&&Dim::known(1)),
        };
        let (one, heads) = (Dim::known(1), Dim::known(query.heads));
        if shape.len() > 4 || !fits(4, &[&one, &query.batch]) || !fits(3, &[&one, &heads]) {
            return None;
        }
        if shape.len() == 4 && shape[2] == query.rows && shape[3] == key.rows {
            return Some(mask.clone());
        }
        let known = (mask.clone(), query.rows.clone(), key.rows.clone());
        if let Some(there) = masks.get(&known) {
            return Some(there.clone());
        }
        let [query, key] = [query, key].map(|side| self.source(side));
        let rows = self.rows(&query);
        let columns = if key == query { rows.clone() } else { self.rows(&key) };
        let ones = TensorProto {
            raw_data: Some([1i64; 2].iter().flat_map(|one| one.to_le_bytes()).collect()),
            ..header(self.net.names.fresh("mask_heads".into()), DataType::Int64, &[2])
        };
        let (shape, wide) =
            (self.net.names.fresh(format!("{mask}_shape")), self.net.names.fresh(format!("{mask}_wide")));
        let mut joined = node("", "Concat", &[ones.name(), &rows, &columns], &shape);
        joined.attribute = vec![number("axis", 0)];
        self.net.insert_tensor(ones);
        self.net.insert(joined);
        self.net.insert(node("", "Expand", &[mask, &shape], &wide));
        masks.insert(known, wide.clone());
        Some(wide)
    }

    /// A value of as many rows, before weights and biases: that one stays.
    fn source(&self, side: &Side) -> String {
        let product = split_bias(self.net, &side.value).map_or(side.value.clone(), |(product, _)| product);
        let source = self.net.made_by(&product, "MatMul").map(|product| input(product, 0));
        let fits = |source: &&str| matches!(self.net.shape(source), Some([_, rows, _]) if *rows == side.rows);
        source.filter(fits).unwrap_or(&side.value).to_owned()
    }

    /// A value that has how many rows another has.
    fn rows(&mut self, of: &str) -> String {
        let mut fresh = |end: &str| self.net.names.fresh(format!("{of}_{end}"));
        let (shape, rows) = (fresh("shape"), fresh("rows"));
        let second = TensorProto {
            raw_data: Some(1i64.to_le_bytes().to_vec()),
            ..header(fresh("second"), DataType::Int64, &[1])
        };
        self.net.insert(node("", "Shape", &[of], &shape));
        self.net.insert(node("", "Gather", &[&shape, second.name()], &rows));
        self.net.insert_tensor(second);
        rows
    }

    /// Puts the node in. Returns its operator.
    fn put(&mut self, found: &Found, mask: &str) -> &'static str {
        let sides = [&found.query, &found.key, &found.value];
        let split =
            sides.map(|side| split_bias(self.net, &side.value).filter(|_| self.net.is_used_only(&side.value, 1)));
        let plain = |at: usize| split[at].as_ref().map_or(&sides[at].value, |(value, _)| value).clone();
        let values = [plain(0), plain(1), plain(2)];
        let biases = split.each_ref().map(|split| split.as_ref().map(|(_, bias)| bias.as_str()));
        let widths = sides.map(|side| side.heads * side.size);
        let packed = if self.packed { self.side_by_side(&values) } else { None };
        let bias = if biases.iter().any(Option::is_some) || packed.is_some() {
            vectors(self.net, self.model, &found.gives, &biases, &widths)
        } else {
            Some(String::new())
        };
        // Biases that cannot be read stay where they are.
        let (values, bias) = match bias {
            Some(bias) => (values, bias),
            None => (sides.map(|side| side.value.clone()), String::new()),
        };
        let packed = packed.filter(|_| !bias.is_empty());
        let (op, mut inputs) = match &packed {
            Some((of, weight)) => ("Attention", vec![of.as_str(), weight, &bias, "", "", mask]),
            None => ("MultiHeadAttention", vec![&values[0], &values[1], &values[2], &bias, "", mask]),
        };
        while inputs.last().is_some_and(|last| last.is_empty()) {
            inputs.pop();
        }
        let mut new = node(MICROSOFT, op, &inputs, &found.gives);
        new.attribute = vec![number("num_heads", found.query.heads), float("scale", found.scale)];
        self.net.replace(&found.gives, new);
        op
    }

    /// The value that all three are products of, and their weights side by side.
    fn side_by_side(&mut self, values: &[String; 3]) -> Option<(String, String)> {
        let products = values.each_ref().map(|value| self.net.made_by(value, "MatMul"));
        let [Some(query), Some(key), Some(value)] = products else { return None };
        let of = input(query, 0).to_owned();
        let weights = [query, key, value].map(|product| input(product, 1).to_owned());
        let alike =
            input(key, 0) == of && input(value, 0) == of && values.iter().all(|value| self.net.is_used_only(value, 1));
        let weight = alike.then(|| beside(self.net, self.model, self.packs, &weights)).flatten()?;
        Some((of, weight))
    }
}

/// Follows the nodes from the softmax on, both ways.
fn find(net: &Net, softmax: &NodeProto, opset: i64) -> Option<Found> {
    let last = if opset >= 13 { -1 } else { 1 };
    if net.shape(input(softmax, 0))?.len() != 4 || !is_along_last(net, softmax, last) {
        return None;
    }
    let apart = net.users(output(softmax)).next().filter(|user| is(user, "MatMul"))?;
    if !net.is_used_only(output(softmax), 1) || input(apart, 0) != output(softmax) || !net.is_float(output(apart)) {
        return None;
    }
    let turned = only(net, output(apart), "Transpose").filter(|turned| turns(turned, &[0, 2, 1, 3]))?;
    let gives = output(only(net, output(turned), "Reshape")?).to_owned();
    let (scores, mask, mut scale) = scores(net, input(softmax, 0))?;
    let query = side(net, input(scores, 0), false)?;
    let key = side(net, input(scores, 1), true)?;
    let value = side(net, input(apart, 1), false).filter(|value| value.scale == 1.0)?;
    scale *= query.scale * key.scale;
    let together = [query.batch.clone(), query.rows.clone(), Dim::known(query.heads.checked_mul(value.size)?)];
    let fits = query.batch == key.batch
        && query.batch == value.batch
        && key.rows == value.rows
        && query.heads == key.heads
        && query.heads == value.heads
        && query.size == key.size
        // Operators of one width for all three are taken by each backend.
        && value.size == query.size
        && net.shape(&gives)? == together
        && scale.is_finite()
        // To the operators 0 means the usual scale.
        && scale != 0.0;
    fits.then_some(Found { query, key, value, scale, mask, gives })
}

/// The only node that uses a value, if it is of this operator.
fn only<'a>(net: &'a Net, value: &str, op: &str) -> Option<&'a NodeProto> {
    net.users(value).next().filter(|user| is(user, op) && net.is_used_only(value, 1))
}

fn turns(node: &NodeProto, order: &[i64]) -> bool {
    attribute(node, "perm").is_some_and(|turned| turned.ints == order)
}

/// The product that scores are, what is added to it, and what it is multiplied with.
fn scores<'a>(net: &'a Net, value: &str) -> Option<(&'a NodeProto, Option<String>, f32)> {
    let product = |value: &str| {
        let (value, scale) = unscaled(net, value);
        Some((
            net.made_by(&value, "MatMul").filter(|_| net.shape(&value).is_some_and(|shape| shape.len() == 4))?,
            scale,
        ))
    };
    if let Some((scores, scale)) = product(value) {
        return Some((scores, None, scale));
    }
    let sum = net.made_by(value, "Add")?;
    let (one, other) = (input(sum, 0), input(sum, 1));
    // The mask must not make more scores of them.
    let found = |side: &str, mask: &str| {
        let (scores, scale) = product(side).filter(|_| net.shape(side) == net.shape(value))?;
        Some((scores, Some(mask.to_owned()), scale))
    };
    found(one, other).or_else(|| found(other, one))
}

/// The value that is multiplied with numbers, and their product.
fn unscaled(net: &Net, value: &str) -> (String, f32) {
    let (mut value, mut scale) = (value.to_owned(), 1.0);
    for _ in 0..MOST_SCALES {
        let Some((of, factor)) = scaled(net, &value) else { break };
        (value, scale) = (of, scale * factor);
    }
    (value, scale)
}

/// Follows heads that are apart to where they are together.
fn side(net: &Net, value: &str, is_key: bool) -> Option<Side> {
    let (mut value, mut scale) = unscaled(net, value);
    let mut turned = net.made_by(&value, "Transpose")?;
    if is_key && turns(turned, &[0, 1, 3, 2]) {
        let (of, factor) = unscaled(net, input(turned, 0));
        scale *= factor;
        turned = net.made_by(&of, "Transpose").filter(|turned| turns(turned, &[0, 2, 1, 3]))?;
    } else if !turns(turned, if is_key { &[0, 2, 3, 1] } else { &[0, 2, 1, 3] }) {
        return None;
    }
    let (apart, factor) = unscaled(net, input(turned, 0));
    scale *= factor;
    let split = net.made_by(&apart, "Reshape")?;
    value = input(split, 0).to_owned();
    let [batch, rows, heads, size] = net.shape(&apart)? else { return None };
    let (heads, size) = (heads.number()?, size.number()?);
    let whole = [batch.clone(), rows.clone(), Dim::known(heads.checked_mul(size)?)];
    if heads < 1 || size < 1 || net.shape(&value)? != whole {
        return None;
    }
    let (value, factor) = unscaled(net, &value);
    scale *= factor;
    (net.shape(&value)? == whole && net.is_float(&value)).then_some(Side {
        value,
        heads,
        size,
        batch: batch.clone(),
        rows: rows.clone(),
        scale,
    })
}
