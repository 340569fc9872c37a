//! A graph with fewer nodes that computes the same: what exporters write as many small operators becomes the few large
//! ones that ONNX Runtime has for them (domain `com.microsoft`). On a GPU each node is at least one dispatch.
//!
//! Nothing is recognised by names. A value is replaced where the nodes that it comes from compute what the one operator
//! is defined to compute, by their constants and by shapes that hold whatever the open sizes are. So what is not
//! recognised stays, and what is nearly so does, too.

mod attention;
mod content;
mod dim;
mod facts;
mod gelu;
mod infer;
mod net;
mod norm;
mod pack;
mod tidy;

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    graph::{import_microsoft, is, opset},
    job::Made,
    journal::{Journal, to_hex},
    model::Model,
    quantize::{Options, Precision, quantize},
    write::Layout,
};
use attention::Attention;
use net::Net;
use pack::Packs;

/// Of what is written by one version all files are alike; it changes with what is written.
pub const VERSION: u32 = 2;
/// Rounds of tidying: each lets the next one see more.
const MOST_ROUNDS: usize = 6;

/// What may be done to a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Optimize {
    /// Whether the weights of query, key and value are put side by side (`Attention`), where they are products of one value;
    /// each is a product of its own otherwise (`MultiHeadAttention`).
    pub packed: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optimized {
    /// Nodes of the source, without constants.
    pub nodes_before: usize,
    /// Nodes of what was written.
    pub nodes_after: usize,
    /// How many of each operator took the place of several nodes.
    pub fused: BTreeMap<&'static str, usize>,
    /// Bytes of the source.
    pub bytes_before: u64,
    /// Bytes of what was written.
    pub bytes_after: u64,
}

/// Writes a graph that computes the same with fewer nodes. Nothing is written where nothing was fused. The destination is
/// there when it is whole, or is as it was.
pub fn optimize(source: &Path, destination: &Path, options: Optimize) -> Result<Optimized, Error> {
    let mut model = Model::open(source)?;
    let mut packs = Packs::default();
    let mut fused = BTreeMap::new();
    let (nodes_before, nodes_after) = rewrite(&mut model, options, &mut packs, &mut fused)?;
    let bytes_before = model.bytes();
    if fused.is_empty() {
        return Ok(Optimized {
            nodes_before,
            nodes_after: nodes_before,
            fused,
            bytes_before,
            bytes_after: bytes_before,
        });
    }
    let layout = Layout::made(&model, destination)?;
    let mut make = |model: &Model, pack| Ok(Made { parts: packs.make(model, pack)?, layer: None });
    let mut journal = Journal::open(destination, &key(&model, options)?)?;
    let written = layout.write(&model, &mut make, &mut journal, &mut |_| {});
    journal.close(written)?;
    let bytes_after = layout.bytes();
    Ok(Optimized { nodes_before, nodes_after, fused, bytes_before, bytes_after })
}

/// The same of a graph in 32-bit floats, in 16-bit floats. A graph that has 16 already is another matter: where its numbers
/// change their width nothing is recognised. `beside` is where the graph is kept in between, and has to be empty.
pub fn optimize_to_half(full: &Path, destination: &Path, options: Optimize, beside: &Path) -> Result<Optimized, Error> {
    let between = beside.join("model.onnx");
    let done = optimize(full, &between, options)?;
    if done.fused.is_empty() {
        return Ok(done);
    }
    let half = Options { precision: Precision::Half, block: 32, asymmetric: false, tables: true, folder: None };
    let made = quantize(&between, destination, &half, &mut |_| {})?;
    let nodes_after = Model::open(destination)?.graph.node.iter().filter(|node| !is(node, "Constant")).count();
    Ok(Optimized { nodes_after, bytes_after: made.bytes_after, ..done })
}

/// A hash of all that the result comes from.
fn key(model: &Model, options: Optimize) -> Result<String, Error> {
    let mut hash = Sha256::new();
    hash.update(format!("{VERSION} {options:?} "));
    model.digest(&mut hash)?;
    Ok(to_hex(hash))
}

/// Rewrites the graph. Returns how many nodes it had, and has.
fn rewrite(
    model: &mut Model,
    options: Optimize,
    packs: &mut Packs,
    fused: &mut BTreeMap<&'static str, usize>,
) -> Result<(usize, usize), Error> {
    let opset = opset(&model.rest);
    let mut net = Net::take(&mut model.graph)?;
    let before = net.count();
    let mut count = |op: &'static str| *fused.entry(op).or_insert(0) += 1;
    facts::hoist(&mut net);
    tidy_up(&mut net, model, opset)?;
    norm::fuse(&mut net, opset, &mut count);
    tidy_up(&mut net, model, opset)?;
    Attention { net: &mut net, model, packs, packed: options.packed, opset }.fuse(&mut count);
    settle(&mut net)?;
    gelu::fuse(&mut net, &mut count);
    settle(&mut net)?;
    norm::fuse_sums(&mut net, &mut count);
    tidy_up(&mut net, model, opset)?;
    let after = net.count();
    net.put(&mut model.graph);
    packs.promise(model)?;
    import_microsoft(&mut model.rest);
    Ok((before, after))
}

/// Tidies until nothing changes any more.
fn tidy_up(net: &mut Net, model: &Model, opset: i64) -> Result<(), Error> {
    for _ in 0..MOST_ROUNDS {
        settle(net)?;
        facts::learn(net, &model.graph, opset);
        if tidy::idle(net) + tidy::fold(net) + tidy::merge(net) == 0 {
            return Ok(());
        }
    }
    settle(net)?;
    facts::learn(net, &model.graph, opset);
    Ok(())
}

/// Takes out what is not needed any more, and puts the rest into order.
fn settle(net: &mut Net) -> Result<(), Error> {
    net.sort()?;
    tidy::sweep(net);
    Ok(net.sort()?)
}
