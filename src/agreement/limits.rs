//! Limits: how well two answers have to agree, by what is measured and by how coarse the weights are.
//!
//! A limit lies between two things that were measured on small models, with answers of fp32 as the reference: what honest
//! rounding costs at most, and what is left where something is wrong. In 32 bits backends differ by the order of their
//! sums alone. Below 8 bits rounding costs some models more than another input would, so that there a limit finds what is
//! far off and no more.

use super::{Agreement, Precision};

/// A way to measure, with its limits for 32, 16, 8, 4 and 2 bits.
pub struct Measure {
    name: &'static str,
    least: [f64; 5],
}

impl Measure {
    /// What came of it.
    pub fn of(&self, value: f64, precision: Precision) -> Agreement {
        Agreement { measure: self.name, value, least: self.least[precision as usize] }
    }
}

/// Answers of two kinds are never the same, whatever the precision.
pub const KIND: Measure = Measure { name: "kind of output", least: [0.5; 5] };

/// Of vectors: the cosine, less what their lengths differ. fp16 cost less than 0.00001, and more on GPUs, which add up in
/// 16 bits; q8 up to 0.018 (all-MiniLM-L6-v2, a sentence of 14); 4-bit blocks up to 0.07, and much more where weights are
/// noise; 2 bits nearly all. A vector of twice the length comes to 0.8, that of another text of all-MiniLM-L6-v2 to 0.65
/// at most.
pub const SIMILARITY: Measure = Measure { name: "similarity", least: [0.999, 0.99, 0.96, 0.8, 0.5] };

/// Of numbers: 1 over 1 + the largest difference, beside how large both are. fp16 came to 0.99, q8 to 0.63, 4 bits to 0.35, 2
/// bits to 0.22. It finds a number that is far off among thousands that are right.
pub const DEVIATION: Measure =
    Measure { name: "nearness of the number furthest off", least: [0.95, 0.9, 0.4, 0.25, 0.15] };

/// Of whole numbers, which are indices or counts: the part that is equal. Coarse weights let a near tie end otherwise.
pub const EQUAL: Measure = Measure { name: "share of equal numbers", least: [0.99, 0.95, 0.75, 0.5, 0.25] };

/// Of scores: what both lists give to their labels, of what either gives. fp16 came to 0.994, q8 to 0.82 (answers to a
/// question, whose scores are products), 4 bits to 0.12. Scores of half the size come to 0.5.
pub const LABELS: Measure = Measure { name: "overlap of scores", least: [0.98, 0.95, 0.6, 0.1, 0.05] };

/// Of texts: the part of the words that is in both, in order. A near tie makes a greedy text go on otherwise from there, so
/// few bits leave little more than its begin; texts that have nothing to do with each other have about no word in order.
pub const WORDS: Measure = Measure { name: "share of equal words", least: [0.9, 0.6, 0.25, 0.1, 0.05] };

/// Of masks: intersection over union. Logits of a model that cuts out lose 0.005 in q8, which moves edges by little.
pub const MASKS: Measure = Measure { name: "overlap of masks", least: [0.98, 0.95, 0.7, 0.4, 0.2] };

/// Of boxes: intersection over union, weighed by their scores, which overlap to 0.994 in fp16 and to 0.91 in q8; boxes move
/// by less. Boxes of twice the size come to 0.25.
pub const BOXES: Measure = Measure { name: "overlap of boxes", least: [0.95, 0.9, 0.6, 0.2, 0.1] };

/// Of pictures and depths: how their structure agrees, with how bright and how strong it is. q8 cost 0.001 of the similarity
/// alone, 4 bits 0.003; those of another picture come to 0.89.
pub const STRUCTURE: Measure = Measure { name: "similarity of structure", least: [0.995, 0.98, 0.9, 0.6, 0.3] };

/// Of sounds: the similarity where they fit best. Waves drift apart sooner than vectors do.
pub const SOUND: Measure = Measure { name: "similarity of sound", least: [0.99, 0.95, 0.8, 0.5, 0.2] };
