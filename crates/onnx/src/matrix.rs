//! A matrix in codes: blocks along the sum of a product, each with its steps.

use rayon::prelude::*;

use crate::grid::{Scheme, Steps, fit};

/// Columns that one thread takes at once.
const TOGETHER: usize = 16;

/// The weights of a product: `k` rows that are summed over, `n` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Values that are summed over.
    pub k: usize,
    /// Values that come out.
    pub n: usize,
    /// Whether the columns lie one after the other, and not the rows.
    pub transposed: bool,
}

/// A matrix in codes.
#[derive(Debug, PartialEq)]
pub struct Coded {
    scheme: Scheme,
    shape: Shape,
    /// Column by column, each a whole number of blocks.
    codes: Vec<u8>,
    /// Column by column, one for each block.
    steps: Vec<Steps>,
    /// Error in squares, as they matter, and the squares themselves.
    pub error: (f64, f64),
}

impl Coded {
    /// Codes a matrix. `matters` has `k` values, or none. `None` if a value is not finite.
    pub fn new(values: &[f32], shape: Shape, matters: &[f32], scheme: Scheme) -> Option<Self> {
        let Shape { k, n, transposed } = shape;
        let blocks = k.div_ceil(scheme.block);
        let (mut codes, mut steps) =
            (vec![0; n * blocks * scheme.block], vec![Steps { scale: 0.0, zero: 0 }; n * blocks]);
        let column_codes = blocks * scheme.block;
        let chunks = codes.par_chunks_mut(TOGETHER * column_codes).zip(steps.par_chunks_mut(TOGETHER * blocks));
        let errors = chunks.enumerate().map(|(chunk, (codes, steps))| {
            let (mut column, mut error) = (vec![0.0; k], (0.0, 0.0));
            let columns = codes.chunks_exact_mut(column_codes).zip(steps.chunks_exact_mut(blocks));
            for (offset, (codes, steps)) in columns.enumerate() {
                let at = chunk * TOGETHER + offset;
                if transposed {
                    column.copy_from_slice(&values[at * k..][..k]);
                } else {
                    column.iter_mut().zip(values[at..].iter().step_by(n)).for_each(|(to, from)| *to = *from);
                }
                for (block, steps) in steps.iter_mut().enumerate() {
                    let range = block * scheme.block..k.min((block + 1) * scheme.block);
                    let matters = matters.get(range.clone()).unwrap_or_default();
                    let codes = &mut codes[block * scheme.block..][..scheme.block];
                    let (codes, rest) = codes.split_at_mut(range.len());
                    *steps = fit(&column[range.clone()], matters, scheme, codes);
                    rest.fill(steps.zero);
                    add_error(&mut error, &column[range], codes, *steps, matters);
                }
            }
            error
        });
        // In the order of the columns, so that the sum is the same each time.
        let errors: Vec<(f64, f64)> = errors.collect();
        let error = errors.iter().fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
        error.1.is_finite().then_some(Self { scheme, shape, codes, steps, error })
    }

    /// The codes as ONNX Runtime's operators of blocks have them: column by column, the first code in the lowest bits.
    pub fn packed(&self) -> Vec<u8> {
        pack(&self.codes, self.scheme.bits)
    }

    /// Puts the codes, each moved by so much, into a matrix of rows of `width`, from a column on.
    pub fn put(&self, to: &mut [u8], width: usize, first: usize, by: u8) {
        let per_column = self.codes.len() / self.shape.n;
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            for (to, codes) in to[first..].iter_mut().zip(self.codes.chunks_exact(per_column)) {
                *to = codes[row].wrapping_add(by);
            }
        }
    }

    /// The scales, column by column.
    pub fn scales(&self) -> Vec<f32> {
        self.steps.iter().map(|steps| steps.scale).collect()
    }

    /// The zero points, packed like the codes, each column for itself.
    pub fn zeros(&self) -> Vec<u8> {
        let blocks = self.steps.len() / self.shape.n;
        let columns = self.steps.chunks_exact(blocks);
        let zeros = columns.flat_map(|column| {
            let zeros: Vec<_> = column.iter().map(|steps| steps.zero).collect();
            pack(&zeros, self.scheme.bits)
        });
        zeros.collect()
    }

    /// What the codes stand for, in the order that the matrix had.
    pub fn values(&self) -> Vec<f32> {
        let Shape { k, n, transposed } = self.shape;
        let mut all = vec![0.0; k * n];
        let per_column = self.codes.len() / n;
        for (at, column) in self.codes.chunks_exact(per_column).enumerate() {
            for (row, code) in column[..k].iter().enumerate() {
                let steps = self.steps[(at * per_column + row) / self.scheme.block];
                let value = steps.scale * (f32::from(*code) - f32::from(steps.zero));
                all[if transposed { at * k + row } else { row * n + at }] = value;
            }
        }
        all
    }
}

fn add_error(error: &mut (f64, f64), values: &[f32], codes: &[u8], steps: Steps, matters: &[f32]) {
    for (at, (value, code)) in values.iter().zip(codes).enumerate() {
        let matters = matters.get(at).map_or(1.0, |matters| f64::from(*matters));
        let off = value - steps.scale * (f32::from(*code) - f32::from(steps.zero));
        error.0 += f64::from(off * off) * matters;
        error.1 += f64::from(value * value) * matters;
    }
}

/// Puts codes together, the first one into the lowest bits.
pub fn pack(codes: &[u8], bits: u32) -> Vec<u8> {
    let together = (8 / bits) as usize;
    let byte =
        |codes: &[u8]| codes.iter().rev().fold(0, |byte, code| if bits == 8 { *code } else { byte << bits | code });
    codes.chunks(together).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Coded, Scheme, Shape, pack};

    fn unpack(bytes: &[u8], bits: u32) -> Vec<u8> {
        let each = |byte: &u8| {
            (0..8 / bits).map(|at| (u16::from(*byte) >> (at * bits) & ((1 << bits) - 1)) as u8).collect::<Vec<_>>()
        };
        bytes.iter().flat_map(each).collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(codes in prop::collection::vec(any::<u8>(), 0..100), bits in prop_oneof![Just(2u32), Just(4), Just(8)]) {
            let codes: Vec<_> = codes.iter().map(|code| (u16::from(*code) & ((1 << bits) - 1)) as u8).collect();
            let unpacked = unpack(&pack(&codes, bits), bits);
            prop_assert_eq!(&unpacked[..codes.len()], &codes[..]);
            prop_assert!(unpacked[codes.len()..].iter().all(|code| *code == 0));
        }

        #[test]
        fn rows_and_columns_come_out_alike(k in 1usize..70, n in 1usize..40, seed in any::<u32>(), asymmetric in any::<bool>()) {
            let at = |row: usize, column: usize| ((seed as usize + row * 31 + column * 17) % 101) as f32 - 50.0;
            let rows: Vec<_> = (0..k).flat_map(|row| (0..n).map(move |column| at(row, column))).collect();
            let columns: Vec<_> = (0..n).flat_map(|column| (0..k).map(move |row| at(row, column))).collect();
            let scheme = Scheme { bits: 4, block: 32, asymmetric };
            let one = Coded::new(&rows, Shape { k, n, transposed: false }, &[], scheme).unwrap();
            let other = Coded::new(&columns, Shape { k, n, transposed: true }, &[], scheme).unwrap();
            prop_assert_eq!(one.packed(), other.packed());
            prop_assert_eq!(one.scales(), other.scales());
            let (values, across) = (one.values(), other.values());
            for (row, column) in (0..k).flat_map(|row| (0..n).map(move |column| (row, column))) {
                prop_assert_eq!(values[row * n + column], across[column * k + row]);
            }
            let mut plain = vec![0; k * (n + 2)];
            one.put(&mut plain, n + 2, 1, 3);
            for (column, codes) in one.codes.chunks_exact(k.div_ceil(32) * 32).enumerate() {
                prop_assert!((0..k).all(|row| plain[row * (n + 2) + column + 1] == codes[row] + 3));
            }
            prop_assert_eq!(one.zeros().len(), n * k.div_ceil(32).div_ceil(2));
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let scheme = Scheme { bits: 4, block: 32, asymmetric: false };
        let shape = Shape { k: 2, n: 1, transposed: false };
        assert_eq!(Coded::new(&[1.0, f32::NAN], shape, &[], scheme), None);
        assert_eq!(Coded::new(&[1.0, f32::INFINITY], shape, &[], scheme), None);
    }
}
