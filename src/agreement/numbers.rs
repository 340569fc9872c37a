//! Numbers: vectors, tensors, pictures and sounds.

use super::{
    Agreement, Precision,
    limits::{DEVIATION, EQUAL, Measure, SIMILARITY, SOUND, STRUCTURE},
    worst,
};
use crate::{
    proto::v1::{DataType, Pixels, Samples, Tensor, TensorMap},
    tensors::element_size,
};

/// Two vectors.
pub fn vectors(left: &[f32], right: &[f32], precision: Precision) -> Agreement {
    if left.len() != right.len() {
        return SIMILARITY.of(0.0, precision);
    }
    near(left.len(), &|index| left[index].into(), &|index| right[index].into(), precision)
}

/// Tensors by their names.
pub fn maps(left: &TensorMap, right: &TensorMap, precision: Precision) -> Agreement {
    if !left.tensors.keys().eq(right.tensors.keys()) {
        return SIMILARITY.of(0.0, precision);
    }
    let pairs = left.tensors.values().zip(right.tensors.values());
    let all = pairs.map(|(left, right)| match (Numbers::of(left), Numbers::of(right)) {
        (Some(left), Some(right)) if left.is_like(&right) => left.near(&right, precision),
        _ => SIMILARITY.of(0.0, precision),
    });
    worst(all).unwrap_or_else(|| SIMILARITY.of(1.0, precision))
}

/// Two depths.
pub fn depths(left: &Tensor, right: &Tensor, precision: Precision) -> Agreement {
    let value = match (Numbers::of(left), Numbers::of(right)) {
        (Some(left), Some(right)) if left.is_like(&right) => {
            let (left_at, right_at) = (|index| left.get(index), |index| right.get(index));
            structure(left.count(), left_at, right_at, |square| FAINT * FAINT * square)
        }
        _ => 0.0,
    };
    STRUCTURE.of(value, precision)
}

/// Two pictures, by the channel in which they differ most.
pub fn pictures(left: &Pixels, right: &Pixels, precision: Precision) -> Agreement {
    let size = |it: &Pixels| (it.width, it.height, it.channels);
    let bytes = |it: &Pixels| {
        let row = usize::try_from(it.width).ok()?.checked_mul(usize::try_from(it.channels).ok()?)?;
        row.checked_mul(usize::try_from(it.height).ok()?)
    };
    let channels = left.channels as usize;
    let is_whole = |it: &Pixels| !it.data.is_empty() && channels <= 4 && bytes(it) == Some(it.data.len());
    if size(left) != size(right) || !is_whole(left) || !is_whole(right) {
        return STRUCTURE.of(0.0, precision);
    }
    let channel = |channel: usize| {
        let at = |pixels: &Pixels, index: usize| f64::from(pixels.data[index * channels + channel]);
        let faint = (FAINT * f64::from(u8::MAX)).powi(2);
        structure(left.data.len() / channels, |index| at(left, index), |index| at(right, index), |_| faint)
    };
    STRUCTURE.of((0..channels).map(channel).fold(1.0, f64::min), precision)
}

/// Part of the range of a picture, and of the size of a depth, below which a difference counts little.
const FAINT: f64 = 0.01;

/// How two sequences agree in how they vary, how much, and around what; `faint` is what is too little to count beside
/// variances, of the mean square.
fn structure(
    count: usize,
    left: impl Fn(usize) -> f64,
    right: impl Fn(usize) -> f64,
    faint: impl Fn(f64) -> f64,
) -> f64 {
    let mean = |of: &dyn Fn(usize) -> f64| (0..count).map(of).sum::<f64>() / count as f64;
    let (left_mean, right_mean) = (mean(&left), mean(&right));
    let together = |index| (left(index) - left_mean) * (right(index) - right_mean);
    let apart = |index| (left(index) - left_mean).powi(2) + (right(index) - right_mean).powi(2);
    let square = mean(&|index| (left(index).powi(2) + right(index).powi(2)) / 2.0);
    let faint = faint(square);
    let whole = mean(&apart) + (left_mean - right_mean).powi(2) + faint;
    let value = (2.0 * mean(&together) + faint) / whole;
    match whole {
        0.0 => 1.0,
        _ if value.is_finite() => value.clamp(0.0, 1.0),
        _ => 0.0,
    }
}

/// Samples of a sound that are looked at.
const MOST_SAMPLES: usize = 65_536;
/// Parts of a second by which sounds may be apart, and the most samples.
const APART: u32 = 200;
const MOST_APART: usize = 256;

/// Two sounds.
pub fn sounds(left: &Samples, right: &Samples, precision: Precision) -> Agreement {
    if left.rate != right.rate {
        return SOUND.of(0.0, precision);
    }
    let floats = |samples: &Samples| -> Vec<f64> {
        let floats = samples.data.chunks_exact(4).take(MOST_SAMPLES);
        floats.map(|bytes| f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))).collect()
    };
    let lengths = (left.data.len().min(right.data.len()), left.data.len().max(right.data.len()));
    let (heard, other) = (floats(left), floats(right));
    if lengths.1 < 4 || heard.is_empty() != other.is_empty() {
        return SOUND.of(f64::from(u8::from(lengths.1 == 0)), precision);
    }
    let most = ((left.rate / APART) as usize).min(MOST_APART).min(heard.len() / 2).min(other.len() / 2);
    let later = |left: &[f64], right: &[f64], by: usize| {
        let count = left.len().min(right.len() - by);
        let (similarity, _) = similarity(count, &|index| left[index], &|index| right[index + by]);
        similarity
    };
    let shifts = (0..=most).flat_map(|by| [later(&heard, &other, by), later(&other, &heard, by)]);
    let value = shifts.fold(0.0, f64::max) * lengths.0 as f64 / lengths.1 as f64;
    SOUND.of(value, precision)
}

/// A tensor's elements.
struct Numbers<'a> {
    data_type: DataType,
    shape: &'a [i64],
    data: &'a [u8],
}

impl<'a> Numbers<'a> {
    fn of(tensor: &'a Tensor) -> Option<Self> {
        let Tensor { shape, data, .. } = tensor;
        (tensor.data_type() != DataType::Unspecified).then_some(Self { data_type: tensor.data_type(), shape, data })
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.data_type, self.shape, self.data.len()) == (other.data_type, other.shape, other.data.len())
    }

    fn count(&self) -> usize {
        self.data.len() / element_size(self.data_type)
    }

    fn near(&self, other: &Self, precision: Precision) -> Agreement {
        match self.data_type {
            DataType::Int32 | DataType::Int64 | DataType::Bool => {
                let equal = (0..self.count()).filter(|&index| self.bytes(index) == other.bytes(index)).count();
                EQUAL.of(if self.count() == 0 { 1.0 } else { equal as f64 / self.count() as f64 }, precision)
            }
            _ => near(self.count(), &|index| self.get(index), &|index| other.get(index), precision),
        }
    }

    fn bytes(&self, index: usize) -> &[u8] {
        let size = element_size(self.data_type);
        &self.data[index * size..(index + 1) * size]
    }

    fn get(&self, index: usize) -> f64 {
        match (self.data_type, self.bytes(index)) {
            (DataType::Float32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
            (DataType::Float16, &[low, high]) => half(u16::from_le_bytes([low, high])),
            (DataType::Int32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).into(),
            (DataType::Int64, bytes) => bytes.try_into().map_or(f64::NAN, |bytes| i64::from_le_bytes(bytes) as f64),
            (DataType::Int8, &[byte]) => i8::from_le_bytes([byte]).into(),
            (DataType::Uint8 | DataType::Bool, &[byte]) => byte.into(),
            _ => f64::NAN,
        }
    }
}

/// A float of 16 bits.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

type At<'a> = &'a dyn Fn(usize) -> f64;

/// Whether numbers are alike: all together, and each.
fn near(count: usize, left: At, right: At, precision: Precision) -> Agreement {
    let (similarity, size) = similarity(count, left, right);
    let furthest = (0..count).map(|index| (left(index), right(index))).filter(|(left, right)| left != right);
    let furthest = furthest.map(|(left, right)| (left - right).abs() / (size + left.abs().min(right.abs())));
    let nearness = if similarity > 0.0 { 1.0 / (1.0 + furthest.fold(0.0, f64::max)) } else { 0.0 };
    let of = |measure: &Measure, value| measure.of(value, precision);
    worst([of(&SIMILARITY, similarity), of(&DEVIATION, nearness)]).unwrap_or_else(|| of(&SIMILARITY, 0.0))
}

/// The cosine, less what the lengths differ; and how large the numbers are. Infinities that both have are left out; other
/// numbers that are none are like nothing.
fn similarity(count: usize, left: At, right: At) -> (f64, f64) {
    let (mut product, mut squares) = (0.0, 0.0);
    for index in 0..count {
        let (left, right) = (left(index), right(index));
        if left == right && left.is_infinite() {
            continue;
        }
        product += left * right;
        squares += left * left + right * right;
    }
    let size = (squares / 2.0 / count.max(1) as f64).sqrt();
    match squares {
        0.0 => (1.0, size),
        _ if squares.is_finite() && product.is_finite() => ((2.0 * product / squares).clamp(0.0, 1.0), size),
        _ => (0.0, size),
    }
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn halves_are_read() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x3555, 0.333_251_953_125),
        ] {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f64::NEG_INFINITY && half(0x8000) == 0.0);
    }
}
