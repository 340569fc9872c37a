//! Size: what an item costs, as far as that shows before anything has run it.

/// Bytes of text that make a token, about; tokenisers of English give 4 to 5.
const BYTES_A_TOKEN: usize = 4;
/// Tokens that a tokeniser adds.
const SPECIAL_TOKENS: usize = 2;
/// Bytes of tensors that count as one unit of length.
const BYTES_A_UNIT: usize = 64;

/// Below this length all are alike: what a run costs besides its length weighs more.
const SHORT: u32 = 16;

/// Length classes. The longest item of a class is less than 1.5 times as long as the shortest, or short.
pub const CLASSES: usize = 64;

/// Cost of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Length by which a batch is padded, at least 1: tokens of a text, about; of tensors a measure of their bytes.
    pub length: u32,
    /// Bytes of the input.
    pub bytes: usize,
}

impl Size {
    /// Of a text of so many bytes for a model that takes so many tokens.
    pub fn of_text(bytes: usize, most_tokens: u32) -> Self {
        let length = u32::try_from(bytes / BYTES_A_TOKEN + SPECIAL_TOKENS).unwrap_or(u32::MAX);
        Self { length: length.min(most_tokens).max(1), bytes }
    }

    /// Of tensors of so many bytes.
    pub fn of_tensors(bytes: usize) -> Self {
        Self { length: u32::try_from(bytes / BYTES_A_UNIT + 1).unwrap_or(u32::MAX), bytes }
    }

    /// The length class, below [`CLASSES`]: two to each doubling.
    pub fn class(self) -> u8 {
        let length = self.length.max(SHORT);
        let octave = length.ilog2();
        let upper = u64::from(length) * 2 >= 3_u64 << octave;
        (2 * octave) as u8 + u8::from(upper)
    }

    /// What it costs beside others, in units of length: a batch is padded about so far.
    pub fn cost(self) -> u64 {
        u64::from(Self::longest(self.class()))
    }

    /// The greatest length of a class.
    pub fn longest(class: u8) -> u32 {
        let octave = u32::from(class / 2);
        let end = if class.is_multiple_of(2) { (3_u64 << octave).div_ceil(2) } else { 2 << octave };
        u32::try_from(end - 1).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CLASSES, SHORT, Size};

    proptest! {
        #[test]
        fn classes_grow_with_length_by_less_than_a_half(length in 1u32.., other in 1u32..) {
            let size = |length| Size { length, bytes: 0 };
            let class = size(length).class();
            prop_assert!((class as usize) < CLASSES);
            prop_assert!(Size::longest(class) >= length);
            prop_assert!(u64::from(Size::longest(class)) * 2 < u64::from(length.max(SHORT)) * 3);
            prop_assert_eq!(size(Size::longest(class)).class(), class);
            prop_assert!(length > other || class <= size(other).class());
        }

        #[test]
        fn a_text_costs_no_more_than_the_model_takes(bytes: usize, most in 1u32..10_000) {
            let size = Size::of_text(bytes, most);
            prop_assert!((1..=most).contains(&size.length));
        }
    }
}
