//! What is made of a tensor while the model is written, and how large it will be.

use std::sync::Arc;

use half::f16;

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
        match self {
            Self::Blocks(_, scheme) => scheme.bits,
            Self::Columns { .. } | Self::Rows { .. } => 8,
            Self::Half => 16,
        }
    }
}

/// What a job made.
pub struct Made {
    /// The bytes of the new tensors.
    pub parts: Vec<Vec<u8>>,
    /// Error in squares, as they matter, and the squares themselves; none for floats.
    pub error: Option<(f64, f64)>,
}

impl Job {
    /// The codes of values; none for floats.
    pub fn code(&self, values: &[f32]) -> Result<Option<Coded>, Error> {
        if tensor::elements(&self.source.dims) != Some(values.len() as u64) {
            return Err(tensor::wrong(&self.source, "it has not as many numbers as its shape").into());
        }
        let coded = match self.work {
            Work::Blocks(shape, scheme) => Coded::new(values, shape, &self.matters, scheme),
            Work::Columns { shape, signed } => {
                // A signed code has its zero in the middle.
                let scheme = Scheme { bits: 8, block: shape.k, asymmetric: !signed };
                Coded::new(values, shape, &self.matters, scheme)
            }
            Work::Rows { rows, width } => {
                let scheme = Scheme { bits: 8, block: width, asymmetric: false };
                Coded::new(values, Shape { k: width, n: rows, transposed: true }, &[], scheme)
            }
            Work::Half => return Ok(None),
        };
        match coded {
            Some(coded) => Ok(Some(coded)),
            None => Err(tensor::wrong(&self.source, "it has numbers that are not finite").into()),
        }
    }

    /// Makes the new tensors.
    pub fn run(&self, model: &Model) -> Result<Made, Error> {
        let Work::Half = self.work else {
            let values = model.floats(&self.source)?;
            let Some(coded) = self.code(&values)? else { return Ok(Made { parts: Vec::new(), error: None }) };
            drop(values);
            return Ok(Made { parts: self.parts(&coded), error: Some(coded.error) });
        };
        let mut bytes = Vec::new();
        model.each(&self.source, &mut |values| bytes.extend(values.iter().flat_map(|value| half_bytes(*value))))?;
        Ok(Made { parts: vec![bytes], error: None })
    }

    fn parts(&self, coded: &Coded) -> Vec<Vec<u8>> {
        let scales = coded.scales();
        let scales = match self.half {
            true => scales.iter().flat_map(|scale| half_bytes(*scale)).collect(),
            false => scales.iter().flat_map(|scale| scale.to_le_bytes()).collect(),
        };
        match self.work {
            Work::Blocks(_, Scheme { asymmetric: true, .. }) => vec![coded.packed(), scales, coded.zeros()],
            Work::Columns { signed: false, .. } => vec![coded.plain(0), scales, coded.zeros()],
            Work::Columns { signed: true, .. } => vec![coded.plain(SIGN), scales],
            Work::Rows { .. } => vec![coded.packed().into_iter().map(|code| code.wrapping_add(SIGN)).collect(), scales],
            Work::Blocks(..) => vec![coded.packed(), scales],
            Work::Half => Vec::new(),
        }
    }
}

/// Moves a code whose zero is 128 to a signed byte.
const SIGN: u8 = 128;

/// The nearest 16-bit float, which is finite where the value is.
fn half_bytes(value: f32) -> [u8; 2] {
    let most = f16::MAX.to_f32();
    f16::from_f32(if value.is_finite() { value.clamp(-most, most) } else { value }).to_le_bytes()
}
