//! MSER: where the beginning of a series ends.

/// Fewest values that may be left: of fewer the error below is small by chance.
const FEWEST: usize = 5;

/// How many values from the first on are unlike those that follow; `None` where that is half of them or more, so that there
/// are too few to tell.
///
/// That is the cut that makes the standard error of the mean of the rest the smallest (White, "An Effective Truncation
/// Heuristic for Bias Reduction in Simulation Output", 1997). For MSER-5 give the means of five values each (White, Cobb and
/// Spratt, "A Comparison of Five Steady-State Truncation Heuristics for Simulation", 2000).
pub fn truncation(values: &[f64]) -> Option<usize> {
    // Away from the first value, so that squares of small differences between large values are not lost.
    let origin = *values.first()?;
    let (mut sum, mut squares, half) = (0.0, 0.0, values.len() / 2);
    let mut best = None::<(f64, usize)>;
    for (cut, value) in values.iter().enumerate().rev() {
        let value = value - origin;
        sum += value;
        squares += value * value;
        let count = (values.len() - cut) as f64;
        let error = (squares - sum * sum / count).max(0.0) / (count * count);
        // Of cuts that are alike the earliest.
        if cut <= half && values.len() - cut >= FEWEST && best.is_none_or(|(least, _)| error <= least) {
            best = Some((error, cut));
        }
    }
    best.map(|(_, cut)| cut).filter(|cut| *cut < half)
}
