//! What is made of a tensor while the model is written, and how large it will be.

use std::sync::Arc;

use half::f16;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    grid::Scheme,
    matrix::{Coded, Shape},
    model::Model,
    proto::TensorProto,
    tensor,
};

/// What is made of a tensor.
#[derive(Clone, Debug)]
pub struct Job {
    /// The tensor of the source.
    pub source: TensorProto,
    /// What is made.
    pub work: Work,
    /// Mean squares of the values that each row is multiplied with; empty where they were not measured.
    pub matters: Arc<[f32]>,
    /// Whether scales, or values, are in 16 bits.
    pub half: bool,
}

/// Ways to make a tensor smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Blocks: codes, scales and, where the scheme has them, zero points.
    Blocks(Shape, Scheme),
    /// Columns of 8 bits: codes, scales and zero points.
    Columns {
        /// The matrix.
        shape: Shape,
        /// Whether the codes are signed.
        signed: bool,
    },
    /// Rows of 8 bits: codes and scales.
    Rows {
        /// How many.
        rows: usize,
        /// Values of each.
        width: usize,
    },
    /// Values of 16 bits.
    Half,
}

impl Work {
    /// Bits of what it makes.
    pub fn bits(self) -> u32 {
        self.codes().map_or(16, |(_, scheme)| scheme.bits)
    }

    /// The matrix whose columns are coded, and how; `None` where nothing is.
    pub fn codes(self) -> Option<(Shape, Scheme)> {
        Some(match self {
            Self::Blocks(shape, scheme) => (shape, scheme),
            // A signed code has its zero in the middle.
            Self::Columns { shape, signed } => (shape, Scheme { bits: 8, block: shape.k, asymmetric: !signed }),
            Self::Rows { rows, width } => {
                let shape = Shape { k: width, n: rows, transposed: true };
                (shape, Scheme { bits: 8, block: width, asymmetric: false })
            }
            Self::Half => return None,
        })
    }
}

/// What a job made.
#[derive(Default)]
pub struct Made {
    /// The bytes of the new tensors.
    pub parts: Vec<Vec<u8>>,
    /// What there is to tell of codes; none for floats.
    pub layer: Option<Layer>,
}

/// A weight that became smaller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Bits of its codes.
    pub bits: u32,
    /// Square error of its values against their squares, as they matter.
    #[serde(with = "crate::journal::exactly")]
    pub error: f64,
}

impl Job {
    /// The codes of some columns.
    pub fn code(&self, values: &[f32], shape: Shape, scheme: Scheme) -> Result<Coded, Error> {
        let coded = (values.len() == shape.k * shape.n).then(|| Coded::new(values, shape, &self.matters, scheme));
        let what = "it has numbers that are not finite, or not as many as its shape";
        coded.flatten().ok_or_else(|| tensor::wrong(&self.source, what).into())
    }

    /// Makes the new tensors. Of the source, some columns at a time are in memory.
    pub fn run(&self, model: &Model) -> Result<Made, Error> {
        let Some((shape, scheme)) = self.work.codes() else {
            let mut bytes = Vec::with_capacity(tensor::length(&self.source)? as usize / 2);
            model.each(&self.source, &mut |values| bytes.extend(values.iter().flat_map(|value| half_bytes(*value))))?;
            return Ok(Made { parts: vec![bytes], layer: None });
        };
        let mut parts = Parts::new(self);
        let together = (PANEL / (size_of::<f32>() * shape.k)).max(1);
        for first in (0..shape.n).step_by(together) {
            let n = together.min(shape.n - first);
            let values = model.columns(&self.source, shape, first..first + n)?;
            let coded = self.code(&values, Shape { n, ..shape }, scheme)?;
            drop(values);
            parts.add(&coded, first);
        }
        Ok(parts.made())
    }
}

/// Bytes of the source that are coded at once.
const PANEL: usize = 8 << 20;

/// What a job has made so far.
struct Parts<'a> {
    job: &'a Job,
    codes: Vec<u8>,
    scales: Vec<u8>,
    zeros: Vec<u8>,
    error: (f64, f64),
}

impl<'a> Parts<'a> {
    fn new(job: &'a Job) -> Self {
        let codes = match job.work {
            Work::Columns { shape, .. } => vec![0; shape.k * shape.n],
            Work::Blocks(Shape { k, n, .. }, Scheme { bits, block, .. }) => {
                Vec::with_capacity(n * k.div_ceil(block) * block * bits as usize / 8)
            }
            Work::Rows { rows, width } => Vec::with_capacity(rows * width),
            Work::Half => Vec::new(),
        };
        Self { job, codes, scales: Vec::new(), zeros: Vec::new(), error: (0.0, 0.0) }
    }

    /// Adds columns, from one on.
    fn add(&mut self, coded: &Coded, first: usize) {
        match self.job.work {
            Work::Columns { shape, signed } => {
                coded.put(&mut self.codes, shape.n, first, if signed { SIGN } else { 0 });
            }
            Work::Rows { .. } => self.codes.extend(coded.packed().iter().map(|code| code.wrapping_add(SIGN))),
            Work::Blocks(..) | Work::Half => self.codes.append(&mut coded.packed()),
        }
        for scale in coded.scales() {
            if self.job.half {
                self.scales.extend(half_bytes(scale));
            } else {
                self.scales.extend(scale.to_le_bytes());
            }
        }
        self.zeros.append(&mut coded.zeros());
        self.error = (self.error.0 + coded.error.0, self.error.1 + coded.error.1);
    }

    fn made(self) -> Made {
        let mut parts = vec![self.codes, self.scales];
        if self.job.work.codes().is_some_and(|(_, scheme)| scheme.asymmetric) {
            parts.push(self.zeros);
        }
        let (error, squares) = self.error;
        let error = if squares > 0.0 { error / squares } else { 0.0 };
        let layer = Layer { name: self.job.source.name().to_owned(), bits: self.job.work.bits(), error };
        Made { parts, layer: Some(layer) }
    }
}

/// Moves a code whose zero is 128 to a signed byte.
const SIGN: u8 = 128;

/// The nearest 16-bit float, which is finite where the value is.
fn half_bytes(value: f32) -> [u8; 2] {
    let most = f16::MAX.to_f32();
    f16::from_f32(if value.is_finite() { value.clamp(-most, most) } else { value }).to_le_bytes()
}
