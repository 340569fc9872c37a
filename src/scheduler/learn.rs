//! Learn: how long the batches of a model take on a backend, by length class and number of items, from its own runs; and
//! which number pays. Pure.

use std::time::Duration;

use crate::size::{CLASSES, Size};

/// Size class that is tried first: 8 items pay nearly everywhere.
const FIRST: usize = 3;
/// Size classes of batches: powers of two.
const SIZES: usize = 13;
/// Weight of a new run in the mean.
const WEIGHT: f64 = 0.2;
/// Twice as many items pay if each then takes at most this part of the time: callers wait longer for a larger batch.
const PAYS: f64 = 0.85;
/// Runs of a size before it is judged.
const ENOUGH: u64 = 3;
/// Full batches of a length class after which the size above the one that pays is tried again.
const TRY_AGAIN: u32 = 100;

/// Runs of one size in one length class.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Mean time for each item, in microseconds.
    item_us: f64,
    runs: u64,
    /// Full batches of the class when it last ran.
    full: u32,
}

/// What is known of one length class.
#[derive(Clone, Copy, Debug, Default)]
struct Class {
    cells: [Cell; SIZES],
    /// Batches that were as large as pays.
    full: u32,
}

/// What is known of one model on one backend.
#[derive(Debug)]
pub struct Learned {
    classes: Box<[Class; CLASSES]>,
    /// What the first run of a shape takes longer in a worker, in microseconds: on a GPU it compiles shaders.
    cold_us: f64,
    /// Mean time for each unit of cost, in microseconds.
    unit_us: f64,
}

impl Default for Learned {
    fn default() -> Self {
        Self { classes: Box::new([Class::default(); CLASSES]), cold_us: 0.0, unit_us: 0.0 }
    }
}

fn size_class(items: usize) -> usize {
    (items.max(1).ilog2() as usize).min(SIZES - 1)
}

impl Learned {
    /// A batch has run in so much of its worker's time.
    pub fn record(&mut self, class: u8, items: usize, took: Duration) {
        let item_us = took.as_secs_f64() * 1e6 / items.max(1) as f64;
        let unit_us = item_us / f64::from(Size::longest(class));
        let weight = if self.unit_us == 0.0 { 1.0 } else { WEIGHT };
        self.unit_us += weight * (unit_us - self.unit_us);
        let Some(class) = self.classes.get_mut(usize::from(class)) else { return };
        let full = class.full;
        let size = size_class(items);
        // What was learned long ago is learned anew.
        let Cell { item_us: mean, runs, full: last } = class.cells[size];
        let runs = if full.saturating_sub(last) < TRY_AGAIN { runs } else { 0 };
        if runs < ENOUGH {
            let item_us = (mean * runs as f64 + item_us) / (runs + 1) as f64;
            class.cells[size] = Cell { item_us, runs: runs + 1, full };
            return;
        }
        // A machine that is slower for a while is so for all sizes: compared are runs of different times.
        let drift = 1.0 + WEIGHT * (item_us / mean - 1.0).clamp(-0.5, 1.0);
        class.cells.iter_mut().for_each(|cell| cell.item_us *= drift);
        class.cells[size] = Cell { item_us: mean * drift, runs: runs + 1, full };
    }

    /// A batch of a shape that is new to its worker has run.
    pub fn record_cold(&mut self, class: u8, items: usize, took: Duration) {
        if let Some(warm) = self.predict(class, items) {
            let extra = took.saturating_sub(warm).as_secs_f64() * 1e6;
            self.cold_us += WEIGHT * (extra - self.cold_us);
        } else {
            self.record(class, items, took);
        }
    }

    /// Worker's time that a batch will take; `None` where nothing of the model has run yet.
    pub fn predict(&self, class: u8, items: usize) -> Option<Duration> {
        let item_us = self.item_us(class, items)?;
        Some(Duration::from_secs_f64(item_us * items as f64 / 1e6))
    }

    /// Time for each unit of cost in the runs of late, in microseconds; 0 where nothing has run yet.
    pub fn unit_us(&self) -> f64 {
        self.unit_us
    }

    /// What the first run of a shape takes longer.
    pub fn cold(&self) -> Duration {
        Duration::from_secs_f64(self.cold_us / 1e6)
    }

    /// Items that a batch of the class should have, up to `most`: half as many while each then takes no longer, or else
    /// twice as many while each then takes less time. A size that has hardly run, or long ago, is tried.
    pub fn pays(&self, class: u8, most: usize) -> usize {
        let Some(Class { cells, full }) = self.classes.get(usize::from(class)) else { return 1 };
        let top = size_class(most);
        // The largest size class ends at the limit.
        let items = |size: usize| if size == top { most.max(1) } else { 1 << size };
        let unknown = |size: usize| cells[size].runs < ENOUGH || full.saturating_sub(cells[size].full) >= TRY_AGAIN;
        let pays = |size: usize| cells[size].item_us <= cells[size - 1].item_us * PAYS;
        let start = FIRST.min(top);
        let mut size = start;
        while !unknown(size) && size > 0 && !unknown(size - 1) && cells[size - 1].item_us <= cells[size].item_us {
            size -= 1;
        }
        if unknown(size) {
            return items(size);
        }
        if size > 0 && unknown(size - 1) {
            return items(size - 1);
        }
        while size >= start && size < top {
            if unknown(size + 1) {
                return items(size + 1);
            }
            if !pays(size + 1) {
                break;
            }
            size += 1;
        }
        items(size)
    }

    /// A batch of the class was cut as large as pays.
    pub fn cut_full(&mut self, class: u8) {
        if let Some(class) = self.classes.get_mut(usize::from(class)) {
            class.full = class.full.saturating_add(1);
        }
    }

    /// Mean time for each item of such a batch, in microseconds; from the nearest that ran, in proportion to the length,
    /// where none of that size did.
    pub fn item_us(&self, class: u8, items: usize) -> Option<f64> {
        let (at, size) = (usize::from(class), size_class(items));
        let cell = &self.classes.get(at)?.cells[size];
        if cell.runs > 0 {
            return Some(cell.item_us);
        }
        let nearest = (0..CLASSES).filter(|other| self.classes[*other].cells.iter().any(|cell| cell.runs > 0));
        let nearest = nearest.min_by_key(|other| other.abs_diff(at))?;
        let ran = self.classes[nearest].cells.iter().enumerate().filter(|(_, cell)| cell.runs > 0);
        let (_, cell) = ran.min_by_key(|(other, _)| other.abs_diff(size))?;
        let lengths = [class, nearest as u8].map(|class| f64::from(Size::longest(class)));
        Some(cell.item_us * lengths[0] / lengths[1])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Learned;

    /// Microseconds of a batch.
    type Cost = fn(usize) -> f64;

    const LINEAR: Cost = |items| 1000.0 * items as f64;
    const MOSTLY_FIXED: Cost = |items| 1000.0 + 10.0 * items as f64;
    const UP_TO_EIGHT: Cost = |items| 1000.0 * (items as f64).max(1.0) / (items.min(8) as f64).powf(0.3);

    /// The size that most of the last batches had: now and then another one is tried.
    fn settle(cost: Cost, most: usize, noise: &[f64]) -> usize {
        let mut learned = Learned::default();
        let mut sizes = Vec::new();
        for noise in noise {
            let items = learned.pays(7, most);
            assert!((1..=most).contains(&items));
            learned.cut_full(7);
            learned.record(7, items, Duration::from_secs_f64(cost(items) * noise / 1e6));
            sizes.push(items);
        }
        let last = &mut sizes[noise.len() - 21..];
        last.sort_unstable();
        last[10]
    }

    #[test]
    fn the_size_that_pays_is_found() {
        let quiet = [1.0; 60];
        assert_eq!(settle(LINEAR, 64, &quiet), 1);
        assert_eq!(settle(MOSTLY_FIXED, 64, &quiet), 64);
        assert_eq!(settle(UP_TO_EIGHT, 64, &quiet), 8);
        assert_eq!(settle(MOSTLY_FIXED, 1, &quiet), 1);
        assert_eq!(settle(MOSTLY_FIXED, 12, &quiet), 12);
    }

    #[test]
    fn a_size_that_was_slow_once_gets_another_chance() {
        let mut learned = Learned::default();
        let mut most_seen = 0;
        for run in 0..1000 {
            let items = learned.pays(0, 64);
            learned.cut_full(0);
            // Whatever is larger than one is slow at first.
            let us = if items > 1 && run < 20 { 1e7 } else { MOSTLY_FIXED(items) };
            learned.record(0, items, Duration::from_secs_f64(us / 1e6));
            most_seen = most_seen.max(items);
        }
        assert_eq!(most_seen, 64);
    }

    proptest! {
        #[test]
        fn a_prediction_is_near_what_ran(class in 0u8..64, items in 1usize..4096, us in 1u64..10_000_000) {
            let mut learned = Learned::default();
            prop_assert_eq!(learned.predict(class, items), None);
            let took = Duration::from_micros(us);
            learned.record(class, items, took);
            let predicted = learned.predict(class, items).unwrap();
            prop_assert!(predicted.abs_diff(took) <= Duration::from_micros(1), "{predicted:?}");
            // Every other batch has a prediction, too.
            prop_assert!(learned.predict(63 - class, 1 + items / 2).is_some());
        }

        #[test]
        fn noise_does_not_hide_what_pays(noise in proptest::collection::vec(0.8f64..1.25, 400)) {
            prop_assert!(settle(MOSTLY_FIXED, 64, &noise) >= 8);
        }
    }
}
