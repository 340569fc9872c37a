//! Learn: how long the batches of a model take on one kind of worker, by length class and number of items, from its own
//! runs; and which number pays. Pure.
//!
//! What is known ages. A run moves the mean of its shape by a part, and by much more where that was not measured of late:
//! then one that is faster than was believed is believed at once, since nothing makes a run faster by accident.

use std::time::{Duration, Instant};

use super::hedge::Tail;
use crate::size::{CLASSES, Size};

/// Size class that is tried first: 8 items pay nearly everywhere.
const FIRST: usize = 3;
/// Size classes of batches: powers of two.
const SIZES: usize = 13;
/// Weight of a new run in the mean; and where the mean is old, and the run slower than that.
pub const WEIGHT: f64 = 0.2;
pub const OLD_WEIGHT: f64 = 0.4;
/// A run counts as this many times as slow as was believed at most: the machine may have paused.
pub const MOST: f64 = 4.0;
/// A mean is old when it was not measured for so long.
const OLD: Duration = Duration::from_secs(10);
/// A run that takes less than this part of what was believed casts doubt on the rest that is believed of its kind.
const SURPRISE: f64 = 0.67;
/// How far sizes may be from what is certain of them.
const ABOUT: f64 = 2.0;
/// Twice as many items pay if each then takes at most this part of the time: callers wait longer for a larger batch.
const PAYS: f64 = 0.85;
/// Runs of a size before it is judged.
const ENOUGH: u32 = 3;
/// Full batches of a length class after which the size above the one that pays is tried again.
const TRY_AGAIN: u32 = 100;
/// No time is less, in microseconds, so that each can be compared with another.
const LEAST_US: f64 = 1e-6;
/// No cost is more that is taken over.
const MOST_US: f64 = 1e10;

/// Runs of one size in one length class.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Mean time for each item, in microseconds.
    item_us: f64,
    runs: u32,
    /// Full batches of the class when it last ran.
    full: u32,
    /// When it last ran; `None` where the mean is only a guess.
    at: Option<Instant>,
    /// What is late.
    tail: Tail,
}

/// What is known of one length class.
#[derive(Clone, Copy, Debug, Default)]
struct Class {
    cells: [Cell; SIZES],
    /// Batches that were as large as pays.
    full: u32,
    /// Items that the model had run when the kind last got a batch; `None` where what is known is to be tried at once.
    tried: Option<u64>,
}

/// What is known of one model on one kind of worker.
#[derive(Debug)]
pub struct Learned {
    classes: Box<[Class; CLASSES]>,
    /// What the first run of a shape takes longer in a worker, in microseconds: on a GPU it compiles shaders.
    cold_us: f64,
    /// Mean time for each unit of cost, in microseconds.
    unit_us: f64,
}

/// What the batches of one shape take, as it can be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Length class.
    pub class: u8,
    /// Items of a batch, a power of two: those of up to the next one are alike.
    pub items: u32,
    /// Microseconds for each item.
    pub micros_per_item: f64,
    /// Runs that it was learned from.
    pub runs: u32,
    /// Time since the last of them.
    pub age: Duration,
}

impl Default for Learned {
    fn default() -> Self {
        Self { classes: Box::new([Class::default(); CLASSES]), cold_us: 0.0, unit_us: 0.0 }
    }
}

fn size_class(items: usize) -> usize {
    (items.max(1).ilog2() as usize).min(SIZES - 1)
}

/// What a size may be believed to take for each item where another one takes `mean`: many items take no less time than few,
/// and each of them no more, about. So sizes that moved together while one ran do not drift apart.
fn bounded(item_us: f64, other: usize, mean: f64, size: usize) -> f64 {
    let alike = mean * 2_f64.powi(size as i32 - other as i32);
    item_us.clamp(alike.min(mean) / ABOUT, alike.max(mean) * ABOUT)
}

/// How far a mean moves for a run that took so many times as long, where it is `old` or not.
pub fn drift(ratio: f64, old: bool) -> f64 {
    match old {
        true if ratio < 1.0 => ratio,
        true => ratio.min(MOST).powf(OLD_WEIGHT),
        false => ratio.clamp(1.0 / MOST, MOST).powf(WEIGHT),
    }
}

impl Learned {
    /// A batch has run in so much of its worker's time; `tried` says that it was to find out how long that is.
    pub fn record(&mut self, (class, items): (u8, usize), took: Duration, tried: bool, now: Instant) {
        let item_us = (took.as_secs_f64() * 1e6 / items.max(1) as f64).max(LEAST_US);
        let unit_us = item_us / f64::from(Size::longest(class));
        let weight = if self.unit_us == 0.0 { 1.0 } else { WEIGHT };
        self.unit_us += weight * (unit_us - self.unit_us);
        let believed = self.item_us(class, items);
        let Some(known) = self.classes.get_mut(usize::from(class)) else { return };
        let full = known.full;
        let size = size_class(items);
        let Cell { item_us: mean, runs, full: last, at, mut tail } = known.cells[size];
        if at.is_some() {
            tail.record(item_us / mean);
        }
        let old = tried || at.is_none_or(|at| now.saturating_duration_since(at) > OLD);
        // Of a size that has not run only this is known: many items take each no longer than few.
        let ratio = if runs > 0 { item_us / mean } else { believed.map_or(1.0, |other| (item_us / other).min(1.0)) };
        let surprise = tried && ratio < SURPRISE;
        // What was learned long ago is learned anew, and so is what was only guessed.
        let runs = if at.is_some() && full.saturating_sub(last) < TRY_AGAIN { runs } else { 0 };
        let young = runs < ENOUGH && !surprise;
        // A machine that is slower for a while is so for all sizes: compared are runs of different times.
        let moves = if young { 1.0 } else { drift(ratio, old) };
        known.cells.iter_mut().for_each(|cell| cell.item_us *= moves);
        let mean = match runs {
            0 => item_us,
            runs if young => (mean * f64::from(runs) + item_us) / f64::from(runs + 1),
            _ => mean * moves,
        };
        known
            .cells
            .iter_mut()
            .enumerate()
            .for_each(|(other, cell)| cell.item_us = bounded(cell.item_us, other, mean, size));
        known.cells[size] = Cell { item_us: mean, runs: runs.saturating_add(1), full, at: Some(now), tail };
        if surprise {
            // Its other lengths may be faster, too.
            self.classes.iter_mut().for_each(|class| class.tried = None);
            self.try_at(class, Some(0));
        }
    }

    /// A batch of a shape that is new to its worker has run.
    pub fn record_cold(&mut self, shape: (u8, usize), took: Duration, tried: bool, now: Instant) {
        let (class, items) = shape;
        let warm = self.predict(class, items);
        match warm.filter(|warm| *warm <= took) {
            Some(warm) => {
                let extra = took.saturating_sub(warm).as_secs_f64() * 1e6;
                self.cold_us += WEIGHT * (extra - self.cold_us);
            }
            // The next one takes no longer.
            None => self.record(shape, took, tried, now),
        }
        let Some(known) = self.classes.get_mut(usize::from(class)) else { return };
        let cell = &mut known.cells[size_class(items)];
        if warm.is_none() {
            cell.at = None;
        }
        if cell.at.is_none() {
            // What it takes from now on is still to be seen.
            known.tried = None;
        }
    }

    /// Worker's time that a batch will take; `None` where nothing of the model has run yet.
    pub fn predict(&self, class: u8, items: usize) -> Option<Duration> {
        let item_us = self.item_us(class, items)?;
        Some(Duration::from_secs_f64(item_us * items as f64 / 1e6))
    }

    /// Worker's time after which a batch is late; `None` before enough of that shape has run.
    pub fn late(&self, class: u8, items: usize) -> Option<Duration> {
        let times = self.classes.get(usize::from(class))?.cells[size_class(items)].tail.late()?;
        Some(self.predict(class, items)?.mul_f64(times))
    }

    /// Time for each unit of cost in the runs of late, in microseconds; 0 where nothing has run yet.
    pub fn unit_us(&self) -> f64 {
        self.unit_us
    }

    /// What the first run of a shape takes longer.
    pub fn cold(&self) -> Duration {
        Duration::from_secs_f64(self.cold_us / 1e6)
    }

    /// Items that a batch should have where nothing is known.
    pub fn first(most: usize) -> usize {
        if size_class(most) <= FIRST { most.max(1) } else { 1 << FIRST }
    }

    /// Items that a batch of the class should have, up to `most`: half as many while each then takes no longer, or else
    /// twice as many while each then takes less time. A size that has hardly run, or long ago, is tried.
    pub fn pays(&self, class: u8, most: usize) -> usize {
        let Some(Class { cells, full, .. }) = self.classes.get(usize::from(class)) else { return 1 };
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

    /// Items that the model had run when a batch of the class last went to the kind; `None` where that is to be tried at
    /// once.
    pub fn tried(&self, class: u8) -> Option<u64> {
        self.classes.get(usize::from(class))?.tried
    }

    /// Notes that.
    pub fn try_at(&mut self, class: u8, tried: Option<u64>) {
        if let Some(class) = self.classes.get_mut(usize::from(class)) {
            class.tried = tried;
        }
    }

    /// When a batch of that shape ran last; `None` where none did.
    pub fn measured(&self, class: u8, items: usize) -> Option<Instant> {
        self.classes.get(usize::from(class))?.cells[size_class(items)].at
    }

    /// Takes a cost over, for a shape that has not run.
    pub fn seed(&mut self, Cost { class, items, micros_per_item, runs, age }: Cost, now: Instant) {
        let Some(known) = self.classes.get_mut(usize::from(class)) else { return };
        let cell = &mut known.cells[size_class(items as usize)];
        if cell.runs > 0 || !(micros_per_item > 0.0 && micros_per_item <= MOST_US) {
            return;
        }
        let at = now.checked_sub(age);
        *cell = Cell {
            item_us: micros_per_item.max(LEAST_US),
            runs: runs.max(1),
            full: known.full,
            at,
            tail: Tail::default(),
        };
        known.tried.get_or_insert(0);
        if self.unit_us == 0.0 {
            self.unit_us = micros_per_item / f64::from(Size::longest(class));
        }
    }

    /// All that is known.
    pub fn costs(&self, now: Instant) -> impl Iterator<Item = Cost> {
        let cells = |(class, known): (usize, &Class)| known.cells.map(|cell| (class, cell)).into_iter().enumerate();
        self.classes.iter().enumerate().flat_map(cells).filter(|(_, (_, cell))| cell.runs > 0).map(
            move |(size, (class, cell))| Cost {
                class: class as u8,
                items: 1 << size,
                micros_per_item: cell.item_us,
                runs: cell.runs,
                age: cell.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at)),
            },
        )
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
mod tests;
