//! Tries: whether what failed is tried again, and when. Pure.

use std::time::Duration;

use super::{HubError, Waits, Why};

/// Who gets this much further has not failed in vain.
const FURTHER: u64 = 1 << 20;

/// What was tried for one thing.
#[derive(Debug)]
pub(super) struct Tries {
    waits: Waits,
    /// Failures since it last got further.
    failed: u32,
    /// All failures.
    all: u32,
    /// As far as it ever came.
    furthest: u64,
}

impl Why {
    /// Whether another try may end otherwise.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Cut { .. } | Self::Slow { .. } | Self::TooMany { .. } => true,
            Self::Changed { .. } | Self::Hash => true,
            Self::Status { code, .. } => *code >= 500 || *code == 408,
            Self::Denied { .. } | Self::NotFound { .. } | Self::Elsewhere { .. } | Self::Loop { .. } => false,
            Self::TooLong { .. } | Self::Nonsense { .. } | Self::Length { .. } | Self::Deadline(_) => false,
        }
    }

    fn after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { after, .. } | Self::Status { after, .. } => *after,
            _ => None,
        }
    }
}

impl Tries {
    pub fn new(waits: &Waits) -> Self {
        Self { waits: waits.clone(), failed: 0, all: 0, furthest: 0 }
    }

    /// Notes a failure, so far on; returns how long to wait before the next try, or nothing where there is none.
    pub fn failed(&mut self, why: &Why, at: u64) -> Option<Duration> {
        if at >= self.furthest.saturating_add(FURTHER) {
            (self.failed, self.furthest) = (0, at);
        }
        (self.failed, self.all) = (self.failed + 1, self.all + 1);
        let most = self.waits.longest_pause;
        let told = why.after().unwrap_or_default();
        if !why.may_pass() || self.failed >= self.waits.tries || told > most {
            return None;
        }
        let doubled = self.waits.pause.saturating_mul(1 << (self.failed - 1).min(16));
        Some(doubled.min(most).max(told))
    }

    pub fn error(&self, what: &str, why: Why) -> HubError {
        HubError { what: what.to_owned(), why, tries: self.all }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{FURTHER, Tries, Waits, Why};

    fn cut() -> Why {
        Why::Cut { host: "x".into(), error: String::new() }
    }

    proptest! {
        #[test]
        fn tries_end_and_pauses_are_bounded(places in proptest::collection::vec(0u64..64 * FURTHER, 1000)) {
            let waits = Waits::default();
            let mut tries = Tries::new(&waits);
            let pauses: Vec<_> = places.iter().map_while(|at| tries.failed(&cut(), *at)).collect();
            // Each of at most 64 times that it got further, it may fail as often again.
            prop_assert!(pauses.len() <= 65 * waits.tries as usize);
            prop_assert!(pauses.iter().all(|pause| (waits.pause..=waits.longest_pause).contains(pause)));
        }
    }

    #[test]
    fn who_is_told_to_wait_waits_or_gives_up() {
        let told = |seconds| Why::TooMany { host: "x".into(), after: Some(Duration::from_secs(seconds)) };
        let waits = Waits::default();
        assert_eq!(Tries::new(&waits).failed(&told(9), 0), Some(Duration::from_secs(9)));
        assert_eq!(Tries::new(&waits).failed(&told(0), 0), Some(waits.pause));
        assert_eq!(Tries::new(&waits).failed(&told(3600), 0), None);
        assert_eq!(Tries::new(&waits).failed(&Why::NotFound { host: "x".into() }, 0), None);
    }
}
