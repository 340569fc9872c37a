//! Scaling: how many browsers should serve, between a least and a most number, by their work and the memory there is.
//! Pure.

use std::time::{Duration, Instant};

/// What bounds the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Fewest browsers. With 0 the first request starts one.
    pub least: usize,
    /// Most browsers.
    pub most: usize,
    /// A browser that was not needed for this long ends.
    pub idle: Duration,
    /// Work that waits for this long calls for another browser.
    pub wait: Duration,
}

/// Time after a change in which there is no other, save the start of the first browser: it takes this long to see what a
/// new one gives.
const COOLDOWN: Duration = Duration::from_secs(10);
/// Another browser is started only where the memory that is free holds this many of the largest.
const ROOM: f64 = 1.5;
/// Browsers of which a smaller part is busy are too many.
const ENOUGH: f64 = 0.8;
/// A pool with less to do than this has nothing to do.
const IDLE: f64 = 0.02;

/// What is seen of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sight {
    /// Replicas that the work keeps busy, what waits counted; as a mean over the last seconds.
    pub demand: f64,
    /// Replicas that each browser has, on average.
    pub replicas: f64,
    /// Whether there is work that no replica serves, or that waits longer than it should.
    pub waits: bool,
    /// Memory that is free, in bytes; `None` where it is not known.
    pub free: Option<u64>,
    /// Memory of the largest browser, in bytes.
    pub browser: u64,
}

/// How many browsers should serve.
#[derive(Clone, Debug)]
pub struct Scale {
    bounds: Bounds,
    wanted: usize,
    changed: Option<Instant>,
    waits_since: Option<Instant>,
    spare_since: Option<Instant>,
}

impl Scale {
    /// Begins with the fewest.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, wanted: bounds.least, changed: None, waits_since: None, spare_since: None }
    }

    /// How many.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The bounds.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Sets other bounds.
    pub fn set(&mut self, least: usize, most: usize) {
        (self.bounds.least, self.bounds.most) = (least, most);
        self.wanted = self.wanted.clamp(least, most);
    }

    /// Somebody asks for what no browser serves, so that the first one is to start at once.
    pub fn wake(&mut self, now: Instant) {
        if self.wanted == 0 && self.bounds.most > 0 {
            self.change(1, now);
        }
    }

    /// One less, now and at most.
    pub fn shrink(&mut self) {
        self.wanted = self.wanted.saturating_sub(1);
        self.set(self.bounds.least.min(self.wanted), self.bounds.most.saturating_sub(1).max(1));
    }

    /// Looks at the pool; to be called about once a second.
    pub fn look(&mut self, sight: Sight, now: Instant) {
        note(&mut self.waits_since, sight.waits, now);
        let demand = if sight.demand < IDLE { 0.0 } else { sight.demand };
        let needed = (demand / sight.replicas.max(1.0) / ENOUGH).ceil() as usize;
        note(&mut self.spare_since, needed < self.wanted, now);
        let lasts = |since: Option<Instant>, limit| since.is_some_and(|since| now.duration_since(since) >= limit);
        if self.wanted == 0 {
            if sight.waits {
                self.wake(now);
            }
        } else if lasts(self.changed, COOLDOWN) || self.changed.is_none() {
            let room = sight.free.is_none_or(|free| free as f64 >= sight.browser as f64 * ROOM);
            if self.wanted < self.bounds.most && room && lasts(self.waits_since, self.bounds.wait) {
                self.change(self.wanted + 1, now);
            } else if self.wanted > self.bounds.least && lasts(self.spare_since, self.bounds.idle) {
                self.change(self.wanted - 1, now);
            }
        }
    }

    fn change(&mut self, wanted: usize, now: Instant) {
        (self.wanted, self.changed) = (wanted, Some(now));
        (self.waits_since, self.spare_since) = (None, None);
    }
}

/// Keeps since when something holds.
fn note(since: &mut Option<Instant>, holds: bool, now: Instant) {
    *since = if holds { since.or(Some(now)) } else { None };
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Bounds, COOLDOWN, Scale, Sight};

    fn bounds(least: usize, most: usize) -> Bounds {
        Bounds { least, most, idle: Duration::from_secs(60), wait: Duration::from_secs(1) }
    }

    proptest! {
        /// It stays within its bounds, changes by one at a time and not twice within the cooldown, and never grows into
        /// memory that is not there.
        #[test]
        fn it_is_bounded_and_calm(
            least in 0usize..3,
            more in 0usize..4,
            sights in proptest::collection::vec((0.0f64..20.0, any::<bool>(), 0u64..4_000), 1..200),
        ) {
            let (most, start) = (least + more, Instant::now());
            let mut scale = Scale::new(bounds(least, most));
            let mut changed: Option<Instant> = None;
            for (second, (demand, waits, free)) in sights.into_iter().enumerate() {
                let now = start + Duration::from_secs(second as u64);
                let before = scale.wanted();
                scale.look(Sight { demand, replicas: 2.0, waits, free: Some(free), browser: 1_000 }, now);
                let after = scale.wanted();
                prop_assert!((least..=most).contains(&after) && after.abs_diff(before) <= 1);
                if after != before {
                    prop_assert!(before == 0 || changed.is_none_or(|when| now - when >= COOLDOWN));
                    prop_assert!(after < before || before == 0 || free >= 1_500);
                    changed = Some(now);
                }
            }
        }

        /// With nothing to do it ends at the fewest; with too much of it at the most.
        #[test]
        fn it_comes_to_rest(least in 0usize..3, more in 0usize..4) {
            let (most, start) = (least + more, Instant::now());
            let mut scale = Scale::new(bounds(least, most));
            let busy = Sight { demand: 100.0, replicas: 1.0, waits: true, free: None, browser: 0 };
            for second in 0..600 {
                scale.look(busy, start + Duration::from_secs(second));
            }
            prop_assert_eq!(scale.wanted(), most);
            for second in 600..1200 {
                scale.look(Sight::default(), start + Duration::from_secs(second));
            }
            prop_assert_eq!(scale.wanted(), least);
        }
    }

    #[test]
    fn the_first_browser_starts_at_once() {
        let (mut scale, now) = (Scale::new(bounds(0, 2)), Instant::now());
        scale.look(Sight::default(), now);
        assert_eq!(scale.wanted(), 0);
        scale.look(Sight { waits: true, ..Sight::default() }, now);
        assert_eq!(scale.wanted(), 1);
    }
}
