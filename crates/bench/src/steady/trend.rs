//! Trend: whether a series moves in one direction, and by how much.

use statrs::distribution::{ContinuousCDF, Normal};

/// Longest series whose chance is calculated exactly.
const EXACT: usize = 20;

/// The movement of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// From the first to the last, as a part of the median: by the median of all slopes (Sen, "Estimates of the Regression
    /// Coefficient Based on Kendall's Tau", 1968).
    pub change: f64,
    /// Chance of moving at least as far in either direction where the order is an accident (Mann, "Nonparametric Tests
    /// Against Trend", 1945).
    pub p: f64,
}

impl Trend {
    /// That of a series; `None` where it is shorter than 3, or its median is not above 0. It takes the square of the
    /// length in time and memory.
    pub fn of(series: &[f64]) -> Option<Self> {
        let count = series.len();
        if count < 3 {
            return None;
        }
        let pairs = || (0..count).flat_map(|first| (first + 1..count).map(move |then| (first, then)));
        let slope = |(first, then): (usize, usize)| (series[then] - series[first]) / (then - first) as f64;
        let mut slopes: Vec<f64> = pairs().map(slope).collect();
        let score: i64 = slopes.iter().map(|slope| if *slope == 0.0 { 0 } else { slope.signum() as i64 }).sum();
        let middle = median(&mut series.to_vec());
        let change = median(&mut slopes) * (count - 1) as f64 / middle;
        (middle > 0.0 && change.is_finite()).then(|| Self { change, p: chance(count, score) })
    }
}

/// The middle of some numbers, or the mean of the two in the middle.
pub(crate) fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match numbers {
        [] => f64::NAN,
        _ if numbers.len() % 2 == 1 => numbers[half],
        _ => f64::midpoint(numbers[half - 1], numbers[half]),
    }
}

/// Chance that pairs in order less pairs out of order differ by so much or more from 0.
fn chance(count: usize, score: i64) -> f64 {
    let pairs = count * (count - 1) / 2;
    let far = score.unsigned_abs() as usize;
    if count <= EXACT {
        // Pairs out of order, so that the rest of the pairs less these is at least `far`.
        let most = (pairs - far.min(pairs)) / 2;
        return (2.0 * inversions(count)[..=most].iter().sum::<f64>()).min(1.0);
    }
    let variance = (count * (count - 1) * (2 * count + 5)) as f64 / 18.0;
    let distance = (far as f64 - 1.0).max(0.0) / variance.sqrt();
    Normal::standard().sf(distance) * 2.0
}

/// Chance of each number of pairs out of order in an order that is an accident.
fn inversions(count: usize) -> Vec<f64> {
    let mut chances = vec![1.0];
    for length in 2..=count {
        // The one that is added comes before 0 to `length - 1` of the others, each with the same chance.
        let mut next = vec![0.0; chances.len() + length - 1];
        for (there, chance) in chances.iter().enumerate() {
            next[there..there + length].iter_mut().for_each(|sum| *sum += chance / length as f64);
        }
        chances = next;
    }
    chances
}
