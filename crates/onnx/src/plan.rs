//! What is to become of each weight, and what it will take.

use std::{collections::HashMap, sync::Arc};

use crate::{
    grid::Scheme,
    job::Work,
    rewrite::Works,
    weights::{Use, Weight},
};

/// Mean squares of what the rows of each weight are multiplied with, by the weight's name.
pub type Matters = HashMap<String, Arc<[f32]>>;

/// Where weights go that are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Products {
    /// Into blocks.
    Blocks(Scheme),
    /// Into columns of 8 bits.
    Columns {
        /// Whether the codes are signed.
        signed: bool,
    },
}

/// What is done with one weight, where it makes it smaller.
pub fn work(weight: &Weight, products: Products, tables: bool) -> Option<Work> {
    let work = match (weight.used, products) {
        (Use::Product(shape), Products::Blocks(scheme)) => Work::Blocks(shape, scheme),
        (Use::Product(shape), Products::Columns { signed }) => Work::Columns { shape, signed },
        (Use::Lookup { rows, width }, _) if tables => Work::Rows { rows, width },
        (Use::Lookup { .. }, _) => return None,
    };
    (bytes(work) < weight.bytes).then_some(work)
}

/// The same for all weights of a graph.
pub fn works(weights: &[Weight], products: Products, tables: bool, matters: &Matters) -> Works {
    let each = |weight: &Weight| {
        // In long columns of 8 bits nearly all steps are as good; what matters was measured to gain nothing there.
        let matters = matters.get(&weight.name).filter(|_| matches!(products, Products::Blocks(_)));
        let matters = matters.cloned().unwrap_or_default();
        Some((weight.name.clone(), (work(weight, products, tables)?, matters)))
    };
    weights.iter().filter_map(each).collect()
}

/// Bytes of what is made, with scales in 32 bits. What no number holds is the greatest one, and so never smaller.
pub fn bytes(work: Work) -> u64 {
    let bytes = match work {
        Work::Blocks(shape, scheme) => {
            let (blocks, bits) = (shape.k.div_ceil(scheme.block), scheme.bits as usize);
            let zeros = if scheme.asymmetric { blocks.saturating_mul(bits).div_ceil(8) } else { 0 };
            let codes = blocks.saturating_mul(scheme.block).saturating_mul(bits) / 8;
            shape.n.saturating_mul(codes.saturating_add(blocks.saturating_mul(4)).saturating_add(zeros))
        }
        Work::Columns { shape, signed } => shape.n.saturating_mul(shape.k.saturating_add(if signed { 4 } else { 5 })),
        Work::Rows { rows, width } => rows.saturating_mul(width.saturating_add(4)),
        Work::Half => 0,
    };
    bytes as u64
}
