//! Labels: lists of things with scores, of which both lists should give each the same.

use std::collections::BTreeMap;

use super::{
    Agreement, Precision,
    limits::{LABELS, WORDS},
    words,
};
use crate::proto::v1::{Answers, Class, Fill, RankedDocument, Span};

/// Classes, of which the best ones are there.
pub fn classes(left: &[Class], right: &[Class]) -> f64 {
    let of = |classes: &[Class]| Scores::best(classes.iter().map(|it| (it.label.clone(), it.score)));
    overlap(of(left), of(right))
}

/// Words for a mask, of which the best ones are there.
pub fn fills(left: &[Fill], right: &[Fill]) -> f64 {
    let of = |fills: &[Fill]| Scores::best(fills.iter().map(|it| (it.token_id, it.score)));
    overlap(of(left), of(right))
}

/// Documents, all of them.
pub fn ranking(left: &[RankedDocument], right: &[RankedDocument]) -> f64 {
    let of = |documents: &[RankedDocument]| Scores::all(documents.iter().map(|it| (it.index, it.score)));
    overlap(of(left), of(right))
}

/// Spans, all of them.
pub fn spans(left: &[Span], right: &[Span]) -> f64 {
    let key = |it: &Span| (it.label.clone(), it.text.clone(), it.begin, it.end);
    let of = |spans: &[Span]| Scores::all(spans.iter().map(|it| (key(it), it.score)));
    overlap(of(left), of(right))
}

/// Answers: stretches with scores, of which the best ones are there; or texts that were made.
pub fn answers(left: &Answers, right: &Answers, precision: Precision) -> Agreement {
    let made = |answers: &Answers| match &answers.answers[..] {
        [one] if one.score.is_none() => Some(one.text.clone()),
        _ => None,
    };
    if let (Some(left), Some(right)) = (made(left), made(right)) {
        return WORDS.of(words::share(&left, &right), precision);
    }
    let score = |score: Option<f32>| score.unwrap_or(1.0);
    let of = |answers: &Answers| Scores::best(answers.answers.iter().map(|it| (it.text.clone(), score(it.score))));
    LABELS.of(overlap(of(left), of(right)), precision)
}

/// What a list gives to its labels.
struct Scores<K> {
    scores: BTreeMap<K, f64>,
    /// What one may have at most that is not in it.
    left_out: f64,
}

impl<K: Ord> Scores<K> {
    /// Of a list that leaves none out.
    fn all(scores: impl Iterator<Item = (K, f32)>) -> Option<Self> {
        let mut sums = BTreeMap::new();
        for (label, score) in scores {
            if !score.is_finite() || score < 0.0 {
                return None;
            }
            *sums.entry(label).or_insert(0.0) += f64::from(score);
        }
        Some(Self { scores: sums, left_out: 0.0 })
    }

    /// Of the best ones of a longer list, which together may have 1.
    fn best(scores: impl Iterator<Item = (K, f32)>) -> Option<Self> {
        let all = Self::all(scores)?;
        let sum: f64 = all.scores.values().sum();
        let last = all.scores.values().copied().fold(f64::INFINITY, f64::min);
        Some(Self { left_out: last.min(1.0 - sum).max(0.0), ..all })
    }

    /// What it gives to a label to which another list gives so much: as much, where it may be left out with that. So
    /// labels that are nearly alike may change places at the end of a list.
    fn of(&self, label: &K, other: f64) -> f64 {
        self.scores.get(label).copied().unwrap_or(other.min(self.left_out))
    }
}

/// What both give, of what either gives.
fn overlap<K: Ord>(left: Option<Scores<K>>, right: Option<Scores<K>>) -> f64 {
    let (Some(left), Some(right)) = (left, right) else {
        return 0.0;
    };
    let (mut both, mut either) = (0.0, 0.0);
    let mut add = |one: f64, other: f64| {
        both += one.min(other);
        either += one.max(other);
    };
    left.scores.iter().for_each(|(label, score)| add(*score, right.of(label, *score)));
    let others = right.scores.iter().filter(|(label, _)| !left.scores.contains_key(label));
    others.for_each(|(label, score)| add(*score, left.of(label, *score)));
    match either {
        0.0 if left.scores.keys().eq(right.scores.keys()) => 1.0,
        0.0 => 0.0,
        _ => both / either,
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, classes};

    fn list(scores: &[(&str, f32)]) -> Vec<Class> {
        scores.iter().map(|&(label, score)| Class { label: label.into(), score }).collect()
    }

    #[test]
    fn near_ties_may_end_either_way_and_others_not() {
        let close = classes(&list(&[("a", 0.45), ("b", 0.21)]), &list(&[("a", 0.44), ("c", 0.2)]));
        assert!(close > 0.95, "{close}");
        let swapped = classes(&list(&[("a", 0.34), ("b", 0.33)]), &list(&[("b", 0.335), ("a", 0.334)]));
        assert!(swapped > 0.95, "{swapped}");
        let other = classes(&list(&[("a", 0.9)]), &list(&[("b", 0.9)]));
        assert!(other < 0.2, "{other}");
        let reversed = classes(&list(&[("a", 0.9), ("b", 0.1)]), &list(&[("b", 0.9), ("a", 0.1)]));
        assert!(reversed < 0.2, "{reversed}");
    }
}
