//! Arrivals: when the requests of an open loop are due. Pure.

use std::time::Duration;

use clap::ValueEnum;
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// How the requests of an open loop are spread over the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// One after the other, at equal distances
    Constant,
    /// Independent of one another, as those of many users are
    Poisson,
}

impl Arrivals {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

/// The times at which requests are due, from the begin of the run, without an end.
#[derive(Debug)]
pub struct Due {
    arrivals: Arrivals,
    /// Requests a second, above 0.
    rate: f64,
    random: SmallRng,
    /// When the last one was due, in seconds.
    last: f64,
}

impl Due {
    /// Requests at a rate a second.
    pub fn new(arrivals: Arrivals, rate: f64, seed: u64) -> Self {
        Self { arrivals, rate, random: SmallRng::seed_from_u64(seed), last: 0.0 }
    }
}

impl Iterator for Due {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let gap = match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => -(1.0 - self.random.random::<f64>()).ln(),
        };
        self.last += gap / self.rate;
        Duration::try_from_secs_f64(self.last).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Arrivals, Due};

    #[test]
    fn constant_arrivals_do_not_drift() {
        let last = Due::new(Arrivals::Constant, 300.0, 0).nth(3_000_000 - 1).unwrap();
        assert!(last.abs_diff(Duration::from_secs(10_000)) < Duration::from_micros(1), "{last:?}");
    }

    proptest! {
        #[test]
        fn times_never_go_back(rate in 0.001..1e6, seed: u64, poisson: bool) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let due: Vec<_> = Due::new(arrivals, rate, seed).take(1000).collect();
            prop_assert_eq!(due.len(), 1000);
            prop_assert!(due.is_sorted());
        }

        /// The gaps of a Poisson process are as long as they vary: mean and standard deviation are 1 / rate.
        #[test]
        fn poisson_gaps_have_the_rate_and_its_spread(rate in 0.01..1e5, seed: u64) {
            const COUNT: usize = 20_000;
            let mut last = 0.0;
            let gaps: Vec<f64> = Due::new(Arrivals::Poisson, rate, seed)
                .take(COUNT)
                .map(|due| due.as_secs_f64() - std::mem::replace(&mut last, due.as_secs_f64()))
                .collect();
            let mean = gaps.iter().sum::<f64>() / COUNT as f64;
            let spread = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / COUNT as f64).sqrt();
            prop_assert!((mean * rate - 1.0).abs() < 0.06, "mean {}", mean * rate);
            prop_assert!((spread * rate - 1.0).abs() < 0.12, "spread {}", spread * rate);
        }
    }
}
