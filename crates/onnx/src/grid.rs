//! The steps of one block: a scale and a zero point, searched for the least error.
//!
//! A value stands for `scale * (code - zero)`. Rounding to the nearest step of the whole range, as is usual, is one of the
//! candidates; others cut the range, so that many values get finer steps for a few that are cut off. For the codes of each
//! candidate the best scale is known in closed form (least squares). Errors count by how much the value's input matters:
//! the mean square of what it is multiplied with, where that was measured.

/// How values become codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// Bits of a code: 2, 4 or 8.
    pub bits: u32,
    /// Values that share a scale.
    pub block: usize,
    /// Whether each block has a zero point of its own, and not the middle.
    pub asymmetric: bool,
}

impl Scheme {
    /// The greatest code.
    pub fn top(self) -> u8 {
        (u8::MAX >> (8 - self.bits.min(8))).max(1)
    }

    /// The code of zero in a block without a zero point of its own.
    pub fn middle(self) -> u8 {
        self.top() / 2 + 1
    }
}

/// A block's steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Width of a step.
    pub scale: f32,
    /// Code of zero.
    pub zero: u8,
}

/// Parts of the whole range that are tried.
const CUTS: [f32; 14] = [1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.78, 0.74, 0.7, 0.65, 0.6, 0.5, 1.05];
/// Those for 8 bits, whose steps are too fine for much to be gained.
const FINE_CUTS: [f32; 4] = [1.0, 0.99, 0.97, 0.94];
/// Times that codes and scale are fitted to each other at the end.
const FITS: usize = 2;
/// Added and taken away, it rounds a small number to the nearest whole one.
const ROUND: f32 = 12_582_912.0;

/// Finds the steps for a block, and writes its codes. `matters` has as many values as the block, or none.
pub fn fit(values: &[f32], matters: &[f32], scheme: Scheme, codes: &mut [u8]) -> Steps {
    let (least, most) = values.iter().fold((0f32, 0f32), |(least, most), value| (least.min(*value), most.max(*value)));
    if least == most {
        codes.fill(scheme.middle());
        return Steps { scale: 0.0, zero: scheme.middle() };
    }
    let mut best =
        Best { values, matters, top: f32::from(scheme.top()), gain: f64::MIN, steps: Steps { scale: 0.0, zero: 0 } };
    let cuts = if scheme.bits == 8 { &FINE_CUTS[..] } else { &CUTS[..] };
    for cut in cuts {
        if scheme.asymmetric {
            let scale = cut * (most - least) / best.top;
            let zero = (-least * cut / scale).round();
            for zero in [zero - 1.0, zero, zero + 1.0] {
                if (0.0..=best.top).contains(&zero) {
                    best.offer(scale, zero as u8);
                }
            }
        } else {
            // One side of the middle has a step more. The value farthest from zero may lie on either.
            let far = if most > -least { most } else { least };
            let zero = scheme.middle();
            best.offer(cut * far / -f32::from(zero), zero);
            best.offer(cut * far / f32::from((zero - 1).max(1)), zero);
        }
    }
    for _ in 0..FITS {
        let Steps { scale, zero } = best.steps;
        best.offer(scale, zero);
    }
    best.codes(codes);
    best.steps
}

/// The best steps so far.
struct Best<'a> {
    values: &'a [f32],
    matters: &'a [f32],
    top: f32,
    gain: f64,
    steps: Steps,
}

impl Best<'_> {
    /// Rounds with a candidate, fits the scale to the codes, and keeps it if the error becomes less.
    fn offer(&mut self, scale: f32, zero: u8) {
        let inverse = 1.0 / scale;
        if !inverse.is_finite() {
            return;
        }
        let (low, high) = (-f32::from(zero), self.top - f32::from(zero));
        let round = |value: f32| (value * inverse).max(low).min(high) + ROUND - ROUND;
        // In 8 bits what candidates differ by is less than what single precision loses.
        let (mut cross, mut square) = (0f64, 0f64);
        let mut add = |value: f32, matters: f32| {
            let code = f64::from(round(value));
            let weighed = f64::from(matters) * code;
            cross += weighed * f64::from(value);
            square += weighed * code;
        };
        if self.matters.is_empty() {
            self.values.iter().for_each(|value| add(*value, 1.0));
        } else {
            self.values.iter().zip(self.matters).for_each(|(value, matters)| add(*value, *matters));
        }
        // What the block's squares lose by the best scale for these codes.
        let gain = cross * cross / square;
        let fitted = (cross / square) as f32;
        if gain > self.gain && fitted.is_normal() {
            (self.gain, self.steps) = (gain, Steps { scale: fitted, zero });
        }
    }

    fn codes(&self, codes: &mut [u8]) {
        let Steps { scale, zero } = self.steps;
        let (inverse, zero) = (1.0 / scale, f32::from(zero));
        for (value, code) in self.values.iter().zip(codes) {
            *code = ((value * inverse).max(-zero).min(self.top - zero) + ROUND - ROUND + zero) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Scheme, fit};

    fn scheme() -> impl Strategy<Value = Scheme> {
        (prop_oneof![Just(2u32), Just(4), Just(8)], any::<bool>()).prop_map(|(bits, asymmetric)| Scheme {
            bits,
            block: 32,
            asymmetric,
        })
    }

    fn square(values: &[f32], matters: &[f32], codes: &[u8], scale: f32, zero: u8) -> f64 {
        let each = values.iter().zip(codes).enumerate().map(|(at, (value, code))| {
            let off = f64::from(*value) - f64::from(scale) * (f64::from(*code) - f64::from(zero));
            off * off * f64::from(matters.get(at).copied().unwrap_or(1.0))
        });
        each.sum()
    }

    proptest! {
        #[test]
        fn a_value_inside_the_range_is_off_by_half_a_step(values in prop::collection::vec(-4f32..4.0, 1..70), scheme in scheme()) {
            let mut codes = vec![0; values.len()];
            let steps = fit(&values, &[], scheme, &mut codes);
            for (value, code) in values.iter().zip(&codes) {
                let off = (value - steps.scale * (f32::from(*code) - f32::from(steps.zero))).abs();
                let cut = *code == 0 || *code == scheme.top();
                prop_assert!(*code <= scheme.top());
                prop_assert!(cut || off <= steps.scale.abs() * 0.5001, "{value} is off by {off} of {steps:?}");
            }
        }

        #[test]
        fn the_error_is_not_above_that_of_rounding_the_whole_range(
            both in prop::collection::vec((-4f32..4.0, 0.01f32..9.0), 2..70),
            scheme in scheme(),
        ) {
            let (values, matters): (Vec<_>, Vec<_>) = both.into_iter().unzip();
            let mut codes = vec![0; values.len()];
            let steps = fit(&values, &matters, scheme, &mut codes);
            let ours = square(&values, &matters, &codes, steps.scale, steps.zero);
            let (least, most) = values.iter().fold((0f32, 0f32), |(least, most), value| (least.min(*value), most.max(*value)));
            let top = f32::from(scheme.top());
            let (scale, zero) = if scheme.asymmetric {
                let scale = (most - least) / top;
                (scale, (-least / scale).round())
            } else {
                let far = if most > -least { most } else { least };
                (far / -f32::from(scheme.middle()), f32::from(scheme.middle()))
            };
            let plain: Vec<_> = values.iter().map(|value| ((value / scale).round() + zero).clamp(0.0, top) as u8).collect();
            let theirs = square(&values, &matters, &plain, scale, zero as u8);
            prop_assert!(ours <= theirs * 1.0001 + 1e-9, "{ours} against {theirs}");
        }

        #[test]
        fn nothing_but_zeros_stays_zero(length in 1usize..70, scheme in scheme()) {
            let mut codes = vec![0; length];
            let steps = fit(&vec![0.0; length], &[], scheme, &mut codes);
            prop_assert!(codes.iter().all(|code| *code == steps.zero));
        }
    }
}
