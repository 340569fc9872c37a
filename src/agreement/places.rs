//! Places: masks and boxes of what a picture shows, each with the one of the other answer that it fits best.

use crate::proto::v1::{Detection, Pixels, Segment};

/// Segments that are looked at, and pixels of each: those between are left out.
const MOST_SEGMENTS: usize = 64;
const MOST_PIXELS: usize = 16_384;
/// Boxes that are looked at, the likeliest ones.
const MOST_BOXES: usize = 256;

/// What a pair has in common, and what the two have together.
struct Overlap {
    both: f64,
    either: f64,
}

impl Overlap {
    fn share(&self) -> f64 {
        if self.either > 0.0 { self.both / self.either } else { 1.0 }
    }
}

/// What all masks cover in both, of what they cover in either.
pub fn masks(left: &[Segment], right: &[Segment]) -> f64 {
    let (left, right) = (&left[..left.len().min(MOST_SEGMENTS)], &right[..right.len().min(MOST_SEGMENTS)]);
    let pair = |left: &Segment, right: &Segment| {
        (left.label == right.label).then(|| meet(left.mask.as_ref()?, right.mask.as_ref()?)).flatten()
    };
    matched(left, right, pair, |segment| segment.mask.as_ref().map_or(0.0, area))
}

/// What two masks of one size cover.
fn meet(left: &Pixels, right: &Pixels) -> Option<Overlap> {
    let size = |mask: &Pixels| (mask.width, mask.height, mask.channels, mask.data.len());
    if size(left) != size(right) {
        return None;
    }
    let mut overlap = Overlap { both: 0.0, either: 0.0 };
    for (left, right) in sampled(left).zip(sampled(right)) {
        overlap.both += f64::from(left.min(right));
        overlap.either += f64::from(left.max(right));
    }
    Some(overlap)
}

fn area(mask: &Pixels) -> f64 {
    sampled(mask).map(f64::from).sum()
}

fn sampled(mask: &Pixels) -> impl Iterator<Item = u8> {
    mask.data.iter().step_by(mask.data.len().div_ceil(MOST_PIXELS).max(1)).copied()
}

/// What all boxes cover in both, of what they cover in either, each counted by its score.
pub fn boxes(left: &[Detection], right: &[Detection]) -> f64 {
    let (left, right) = (&left[..left.len().min(MOST_BOXES)], &right[..right.len().min(MOST_BOXES)]);
    if !left.iter().chain(right).all(|it| it.score.is_finite() && it.score >= 0.0) {
        return 0.0;
    }
    let score = |it: &Detection| f64::from(it.score);
    let pair = |left: &Detection, right: &Detection| {
        let (low, high) = (score(left).min(score(right)), score(left).max(score(right)));
        (left.label == right.label).then(|| Overlap { both: low * shared(left, right), either: high })
    };
    matched(left, right, pair, score)
}

/// Intersection over union of two boxes; 0 where one is none.
fn shared(left: &Detection, right: &Detection) -> f64 {
    let edges = |it: &Detection| [it.x_min, it.y_min, it.x_max, it.y_max].map(f64::from);
    let (left, right) = (edges(left), edges(right));
    if left == right && left.iter().all(|edge| edge.is_finite()) {
        return 1.0;
    }
    let area = |[x_min, y_min, x_max, y_max]: [f64; 4]| (x_max - x_min).max(0.0) * (y_max - y_min).max(0.0);
    let inner = [left[0].max(right[0]), left[1].max(right[1]), left[2].min(right[2]), left[3].min(right[3])];
    let both = area(inner);
    let share = both / (area(left) + area(right) - both);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

/// Pairs what fits best first. What is left over covers what it covers by itself.
fn matched<T>(left: &[T], right: &[T], pair: impl Fn(&T, &T) -> Option<Overlap>, alone: impl Fn(&T) -> f64) -> f64 {
    let mut pairs = Vec::new();
    for (at, one) in left.iter().enumerate() {
        let meeting = right.iter().enumerate().filter_map(|(other, it)| Some((at, other, pair(one, it)?)));
        pairs.extend(meeting.filter(|(.., overlap)| overlap.both > 0.0));
    }
    pairs.sort_by(|left, right| right.2.share().total_cmp(&left.2.share()));
    let mut free = (vec![true; left.len()], vec![true; right.len()]);
    let (mut both, mut either) = (0.0, 0.0);
    for (at, other, overlap) in pairs {
        if free.0[at] && free.1[other] {
            (free.0[at], free.1[other]) = (false, false);
            both += overlap.both;
            either += overlap.either;
        }
    }
    let over = |items: &[T], free: &[bool]| -> f64 {
        items.iter().zip(free).filter(|(_, free)| **free).map(|(item, _)| alone(item)).sum()
    };
    either += over(left, &free.0) + over(right, &free.1);
    if either > 0.0 { both / either } else { 1.0 }
}
