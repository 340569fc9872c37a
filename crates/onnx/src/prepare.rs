//! A graph as it will be, before any of its weights is made, and so how large that will be.

use std::{collections::HashSet, path::Path};

use crate::{
    error::Error,
    fp16,
    graph::opset,
    grid::Scheme,
    job::{Job, Work},
    model::Model,
    plan::{Matters, Products, works},
    quantize::{Options, Precision},
    rewrite::{Works, rewrite},
    weights,
    write::Layout,
};

/// A graph that was rewritten.
pub struct Prepared {
    /// It, with tensors that are to be made.
    pub model: Model,
    /// What makes them.
    pub jobs: Vec<Job>,
    /// Nodes with floats in 16 and in 32 bits, where that was asked for.
    pub floats: Option<fp16::Turned>,
}

impl Prepared {
    /// Rewrites a graph. `seen` has the values that were measured to be too large for 16 bits; without it no weight is read.
    pub fn new(
        mut model: Model,
        works: &Works,
        precision: Precision,
        seen: Option<&HashSet<String>>,
    ) -> Result<Self, Error> {
        if works.values().any(|(work, _)| matches!(work, Work::Columns { .. })) && opset(&model.rest) < 11 {
            return Err(Error::Options(
                "the graph is in operators older than version 11, which have no dynamic 8 bits; choose blocks".into(),
            ));
        }
        let mut jobs = Vec::new();
        rewrite(&mut model, works, &mut jobs)?;
        let floats = match precision {
            Precision::Half | Precision::BlocksHalf { .. } => Some(fp16::turn(&mut model, &mut jobs, seen)?),
            _ => None,
        };
        if jobs.is_empty() && floats.as_ref().is_none_or(|floats| floats.half == 0) {
            return Err(Error::Nothing);
        }
        Ok(Self { model, jobs, floats })
    }
}

/// Where the weights that are multiplied with go in a precision that is the same for all; `None` in 16-bit floats alone.
pub fn products(options: &Options) -> Result<Option<Products>, Error> {
    match options.precision {
        Precision::Half => Ok(None),
        Precision::Blocks { bits } | Precision::BlocksHalf { bits } => {
            Ok(Some(Products::Blocks(Scheme { bits, block: options.block, asymmetric: options.asymmetric })))
        }
        Precision::Dynamic { signed } => Ok(Some(Products::Columns { signed })),
        Precision::Mixed(_) => {
            Err(Error::Options("which bits each weight gets is known when it was measured, and not before".into()))
        }
    }
}

/// Bytes of all files that [`crate::quantize()`] will make of a source, by its graph alone: no weight is read. It is exact
/// in blocks and in 8 bits. In 16-bit floats weights that do not fit into them, which stay as they are, are taken to fit; and
/// where weights go into a file of their own, its name may have a few bytes more or less.
///
/// # Errors
///
/// What [`crate::quantize()`] would say of the options and the graph, as that there is nothing to be made smaller; and that
/// mixed precision has to be measured.
pub fn predict(source: &Model, options: &Options) -> Result<u64, Error> {
    options.check()?;
    let works = match products(options)? {
        Some(products) => works(&weights::find(&source.graph), products, options.tables, &Matters::new()),
        None => Works::new(),
    };
    let Prepared { model, .. } = Prepared::new(source.clone(), &works, options.precision, None)?;
    Ok(Layout::made(&model, Path::new("model.onnx"))?.bytes())
}
