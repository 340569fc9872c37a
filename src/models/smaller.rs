//! Smaller: graphs that a folder lacks in a precision, made of those in 32-bit floats.

use std::path::Path;

use webinfer_onnx::{Event, Options, Precision, quantize};

use super::{Dtype, store::Graph};
use crate::error::Error;

/// Values of a block that share a scale, as in what the Hub has.
const BLOCK: usize = 32;

/// How a dtype is made of 32-bit floats; `None` where it is not.
pub fn recipe(dtype: Dtype) -> Option<Precision> {
    Some(match dtype {
        Dtype::Q8 | Dtype::Uint8 => Precision::Dynamic { signed: false },
        Dtype::Int8 => Precision::Dynamic { signed: true },
        Dtype::Fp16 => Precision::Half,
        Dtype::Q4F16 => Precision::BlocksHalf { bits: 4 },
        Dtype::Q4 => Precision::Blocks { bits: 4 },
        Dtype::Q2 => Precision::Blocks { bits: 2 },
        Dtype::Bnb4 | Dtype::Fp32 => return None,
    })
}

/// Makes a graph in the most usual dtype of so many bits, by its weights alone: what that does to answers is measured when the
/// model is loaded. Returns whether it did, and does not where the folder has such a graph or none in 32-bit floats. Blocks for
/// as long as it takes.
pub fn make(folder: &Path, graph: &Graph, bits: u32) -> Result<bool, Error> {
    let dtypes = Dtype::of_bits(bits);
    let there = |dtype: &Dtype| folder.join(dtype.file(graph.name)).exists();
    let made = dtypes.first().and_then(|&dtype| Some((dtype, recipe(dtype)?)));
    let Some((dtype, precision)) = made.filter(|_| there(&Dtype::Fp32) && !dtypes.iter().any(there)) else {
        return Ok(false);
    };
    let (source, destination) = (folder.join(Dtype::Fp32.file(graph.name)), folder.join(dtype.file(graph.name)));
    let options = Options { precision, block: BLOCK, asymmetric: false, tables: true, folder: None };
    let report = quantize(&source, &destination, &options, &mut |_: Event| {}).map_err(|error| {
        let message = format!("{} cannot be made of {}: {error}", dtype.file(graph.name), Dtype::Fp32.file(graph.name));
        Error::invalid("spec.bits", message)
    })?;
    tracing::info!(
        file = %destination.display(), before = report.bytes_before, after = report.bytes_after, took = ?report.took,
        "made in {bits} bits"
    );
    Ok(true)
}
