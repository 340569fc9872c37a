//! Flood: keeps lines that may come by the thousand from filling a log. Pure.

use std::time::{Duration, Instant};

/// Lines that pass in one turn.
const MOST: u32 = 10;
/// Length of a turn.
const TURN: Duration = Duration::from_secs(1);

/// The gate for one kind of line.
#[derive(Debug, Default)]
pub struct Flood {
    /// When the turn began, and how many passed in it.
    turn: Option<(Instant, u32)>,
    held: u64,
}

impl Flood {
    /// Whether a line may pass now; then, how many were held back since the last that did.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        let passed = match self.turn {
            Some((begun, passed)) if now.saturating_duration_since(begun) < TURN => passed,
            _ => {
                self.turn = Some((now, 0));
                0
            }
        };
        if passed >= MOST {
            self.held += 1;
            return None;
        }
        self.turn = self.turn.map(|(begun, passed)| (begun, passed + 1));
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Flood, MOST, TURN};

    proptest! {
        /// Few pass in any turn, and each line either passes or is told of by one that does.
        #[test]
        fn few_pass_and_none_is_forgotten(gaps in proptest::collection::vec(0_u64..400, 1..300)) {
            let (mut flood, mut now) = (Flood::default(), Instant::now());
            let (mut passed, mut told) = (Vec::new(), 0);
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                if let Some(held) = flood.pass(now) {
                    passed.push(now);
                    told += held;
                }
            }
            for (index, at) in passed.iter().enumerate() {
                let within = passed[index..].iter().filter(|other| other.duration_since(*at) < TURN).count();
                prop_assert!(within <= 2 * MOST as usize);
            }
            prop_assert_eq!(passed.len() as u64 + told + flood.held, gaps.len() as u64);
        }
    }
}
