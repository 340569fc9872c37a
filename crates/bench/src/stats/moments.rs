//! Moments: mean and spread of few numbers, and how far their mean may be from the truth.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::CONFIDENCE;

/// The most that neighbours are taken to be alike, and the fewest numbers that any are worth: more than that cannot be told
/// from chance by as few as there are.
const MOST_ALIKE: f64 = 0.5;
const FEWEST: f64 = 2.5;

/// Mean and spread of at least two numbers, in the order in which they were measured.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Their mean.
    pub mean: f64,
    /// Their variance, as an estimate of that of which they are draws.
    pub variance: f64,
    /// How many independent ones would say as much of the mean, at most as many as there are.
    pub effective: f64,
}

/// The standard error of a mean or of a difference of means, and its degrees of freedom.
#[derive(Clone, Copy, Debug)]
pub struct StandardError {
    /// The error.
    pub value: f64,
    /// Degrees of freedom.
    pub freedom: f64,
}

impl Moments {
    /// Those of some numbers. `None` of fewer than two.
    ///
    /// Where each number is like the one before, they say less of the mean than as many independent ones: by the factor
    /// `(1 - r) / (1 + r)`, r being the correlation of neighbours (Zwiers and von Storch, "Taking Serial Correlation into
    /// Account in Tests of the Mean", 1995). Of few numbers r comes out too low, by `(1 + 4 r) / n` (Kendall, "Note on Bias
    /// in the Estimation of Autocorrelation", 1954), which is put right. An r below 0 is taken as chance.
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let count = numbers.len() as f64;
        if numbers.len() < 2 {
            return None;
        }
        let mean = numbers.iter().sum::<f64>() / count;
        let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        let products: f64 = numbers.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        let found = if squares > 0.0 { products / squares } else { -1.0 };
        let alike = ((count * found + 1.0) / (count - 4.0).max(1.0)).clamp(0.0, MOST_ALIKE);
        let effective = (count * (1.0 - alike) / (1.0 + alike)).max(FEWEST).min(count);
        Some(Self { mean, variance: squares / (count - 1.0), effective })
    }

    /// That of their mean.
    pub fn error(&self) -> StandardError {
        StandardError { value: (self.variance / self.effective).sqrt(), freedom: self.effective - 1.0 }
    }

    /// That of the difference of two means (Welch, "The generalization of Student's problem when several different
    /// population variances are involved", 1947).
    pub fn error_of_difference(&self, other: &Self) -> StandardError {
        let [one, two] = [self, other].map(|moments| moments.variance / moments.effective);
        let parts = one.powi(2) / (self.effective - 1.0) + two.powi(2) / (other.effective - 1.0);
        let freedom = if parts > 0.0 { (one + two).powi(2) / parts } else { self.effective + other.effective - 2.0 };
        StandardError { value: (one + two).sqrt(), freedom }
    }
}

impl StandardError {
    /// The interval around an estimate. `None` where it has no bounds.
    pub fn interval(&self, around: f64) -> Option<(f64, f64)> {
        let reach = self.student()?.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)) * self.value;
        reach.is_finite().then_some((around - reach, around + reach))
    }

    /// The chance that an estimate is this far from 0, or further, if the truth is 0.
    pub fn chance(&self, estimate: f64) -> Option<f64> {
        if estimate == 0.0 {
            return Some(1.0);
        }
        if self.value == 0.0 {
            return Some(0.0);
        }
        Some(2.0 * self.student()?.cdf(-(estimate / self.value).abs()))
    }

    /// The distribution of an estimate's distance from the truth, in standard errors.
    pub fn student(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, self.freedom).ok()
    }
}
