//! Rate: how fast items leave, and so when there will be room. Pure.

use std::time::{Duration, Instant};

/// What a refused caller is told where nothing is known.
const RETRY_UNKNOWN: Duration = Duration::from_millis(100);
/// The bounds of what it is told.
pub const RETRY_LEAST: Duration = Duration::from_millis(1);
/// See [`RETRY_LEAST`].
pub const RETRY_MOST: Duration = Duration::from_secs(30);
/// Time constant of the mean.
const OVER: Duration = Duration::from_secs(5);

/// Items a second that leave, as an exponentially weighted mean.
#[derive(Debug, Default)]
pub struct Rate {
    first: Option<Instant>,
    last: Option<Instant>,
    /// Items, each weighted by its age.
    level: f64,
}

impl Rate {
    /// So many have left.
    pub fn count(&mut self, items: usize, now: Instant) {
        if items > 0 {
            self.level = self.level_at(now) + items as f64;
            self.last = Some(now);
            self.first.get_or_insert(now);
        }
    }

    fn level_at(&self, now: Instant) -> f64 {
        self.last.map_or(0.0, |last| self.level * decay(last, now))
    }

    /// Time until so many more have left.
    pub fn time_for(&self, items: usize, now: Instant) -> Duration {
        let Some(first) = self.first else { return RETRY_UNKNOWN };
        // A mean over less than its time constant has seen only a part of the weight.
        let seen = OVER.as_secs_f64() * (1.0 - decay(first, now));
        let seconds = items as f64 * seen / self.level_at(now);
        if !seconds.is_finite() || seconds <= 0.0 {
            return RETRY_UNKNOWN;
        }
        Duration::from_secs_f64(seconds.min(RETRY_MOST.as_secs_f64())).max(RETRY_LEAST)
    }
}

fn decay(since: Instant, now: Instant) -> f64 {
    (-now.saturating_duration_since(since).as_secs_f64() / OVER.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{RETRY_UNKNOWN, Rate};

    proptest! {
        /// After a steady stream of any length the rate is that of the stream.
        #[test]
        fn a_steady_rate_is_found(every in 1u64..200, count in 20u32..400) {
            let mut now = Instant::now();
            let mut rate = Rate::default();
            prop_assert_eq!(rate.time_for(5, now), RETRY_UNKNOWN);
            for _ in 0..count {
                rate.count(1, now);
                now += Duration::from_millis(every);
            }
            let told = rate.time_for(10, now).as_secs_f64();
            let exact = every as f64 / 100.0;
            prop_assert!((told / exact - 1.0).abs() < 0.15, "{told} instead of {exact}");
        }
    }
}
