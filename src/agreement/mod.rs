//! Agreement: how well an answer agrees with the one that it should be. Pure.

mod labels;
mod limits;
mod numbers;
mod places;
mod words;

use crate::proto::v1::{Embedding, item_result::Output};
use limits::{BOXES, KIND, LABELS, MASKS, SIMILARITY, WORDS};

/// How well two answers agree, by the measure that speaks the most against it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// What was measured, in words.
    pub measure: &'static str,
    /// From 0 to 1, which is the same.
    pub value: f64,
    /// What it has to be at least.
    pub least: f64,
}

impl Agreement {
    /// Whether the answer is right.
    pub fn holds(&self) -> bool {
        self.value >= self.least
    }

    /// How much of the room above the limit is left; below 0 where the limit is missed.
    fn room(&self) -> f64 {
        (self.value - self.least) / (1.0 - self.least)
    }
}

/// Bits of a model's weights, of the coarser of two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32
    Bits32,
    /// 16
    Bits16,
    /// 8
    Bits8,
    /// 4
    Bits4,
    /// 2
    Bits2,
}

impl Precision {
    /// All of them, the finest first.
    pub const ALL: [Self; 5] = [Self::Bits32, Self::Bits16, Self::Bits8, Self::Bits4, Self::Bits2];

    /// The coarsest that has as many.
    pub fn of_bits(bits: u32) -> Self {
        match bits {
            0..=2 => Self::Bits2,
            3..=4 => Self::Bits4,
            5..=8 => Self::Bits8,
            9..=16 => Self::Bits16,
            _ => Self::Bits32,
        }
    }
}

/// How well an answer agrees with the reference, where the coarser of them has that precision. Whatever they hold is
/// read as what it may be: what does not agree with itself agrees with nothing.
pub fn compare(reference: &Output, answer: &Output, precision: Precision) -> Agreement {
    let (measure, value) = match (reference, answer) {
        (Output::Embedding(left), Output::Embedding(right)) if is_nothing(left) || is_nothing(right) => {
            (&SIMILARITY, 0.0)
        }
        (Output::Embedding(left), Output::Embedding(right)) => {
            return numbers::vectors(&left.values, &right.values, precision);
        }
        (Output::Tensors(left), Output::Tensors(right)) => return numbers::maps(left, right, precision),
        (Output::Depth(left), Output::Depth(right)) => return numbers::depths(left, right, precision),
        (Output::Image(left), Output::Image(right)) => return numbers::pictures(left, right, precision),
        (Output::Audio(left), Output::Audio(right)) => return numbers::sounds(left, right, precision),
        (Output::Classes(left), Output::Classes(right)) => (&LABELS, labels::classes(&left.classes, &right.classes)),
        (Output::Spans(left), Output::Spans(right)) => (&LABELS, labels::spans(&left.spans, &right.spans)),
        (Output::Answers(left), Output::Answers(right)) => return labels::answers(left, right, precision),
        (Output::Fills(left), Output::Fills(right)) => (&LABELS, labels::fills(&left.fills, &right.fills)),
        (Output::Ranking(left), Output::Ranking(right)) => {
            (&LABELS, labels::ranking(&left.documents, &right.documents))
        }
        (Output::Generated(left), Output::Generated(right)) => (&WORDS, words::share(&left.text, &right.text)),
        (Output::Transcript(left), Output::Transcript(right)) => (&WORDS, words::share(&left.text, &right.text)),
        (Output::Segments(left), Output::Segments(right)) => (&MASKS, places::masks(&left.segments, &right.segments)),
        (Output::Detections(left), Output::Detections(right)) => {
            (&BOXES, places::boxes(&left.detections, &right.detections))
        }
        _ => (&KIND, 0.0),
    };
    measure.of(value, precision)
}

/// The one that is nearest to its limit, or the furthest below.
pub fn worst(agreements: impl IntoIterator<Item = Agreement>) -> Option<Agreement> {
    agreements.into_iter().min_by(|left, right| match (left.room().is_nan(), right.room().is_nan()) {
        (false, false) => left.room().total_cmp(&right.room()),
        (left, right) => right.cmp(&left),
    })
}

/// A vector that means nothing.
fn is_nothing(embedding: &Embedding) -> bool {
    embedding.values.iter().all(|value| *value == 0.0)
}

#[cfg(test)]
mod tests;
