//! Route: what each worker has in hand and when it should be through with it; which one gets the next batch, and whether
//! that batch should go now. Pure.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::{kinds::Kind, learn::drift};

/// Batches that a worker may have in hand: the one that it runs, and the next, so that transfer and run overlap. A third
/// would hold items that could still join a larger batch.
pub const DEPTH: usize = 2;

/// A batch that is handed over while its worker is busy arrives this much before the worker should be free, at least;
/// and this part of what the worker still has to do, since predictions are not exact.
const LEAD: Duration = Duration::from_millis(2);
const LEAD_PART: f64 = 0.25;

/// Bounds of a worker's relative speed, and how it forgets: by this power with each run.
const SLOWEST: f64 = 32.0;
const FORGETS: f64 = 0.99;

/// A batch that a worker gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Unique in the lane.
    pub number: u64,
    /// Length class, and items.
    pub shape: (u8, usize),
    /// Whether it goes there to find out how long that takes.
    pub tries: bool,
}

/// A batch that a worker has in hand.
#[derive(Clone, Copy, Debug)]
struct Flight {
    number: u64,
    shape: (u8, usize),
    handed: Instant,
    /// Time that it should take; `None` where nothing is known.
    expected: Option<Duration>,
}

/// What a worker has in hand, and what is known of it.
#[derive(Debug)]
pub struct Hand {
    /// Of which kind it is.
    pub kind: Kind,
    flights: VecDeque<Flight>,
    /// When it ended its last batch.
    free_since: Instant,
    /// Its time for a batch, relative to that of the other workers of its kind.
    slowness: f64,
    /// Shapes that it has run: length class, and items to the next power of two.
    warm: HashSet<(u8, u32)>,
    runs: u64,
    /// When it last ended one.
    measured: Option<Instant>,
    /// Items that the model had run when it last got a batch.
    tried: u64,
    /// Whether it is gone.
    lost: bool,
}

/// A batch that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Time of its worker that it took: since it was handed over, or since the batch before it ended.
    pub took: Duration,
    /// Whether the worker had run that shape before.
    pub warm: bool,
}

impl Hand {
    /// Of a worker that has just come up.
    pub fn new(kind: Kind, now: Instant) -> Self {
        Self {
            kind,
            flights: VecDeque::new(),
            free_since: now,
            slowness: 1.0,
            warm: HashSet::new(),
            runs: 0,
            measured: None,
            tried: 0,
            lost: false,
        }
    }

    /// Whether it may be given a batch.
    pub fn has_room(&self) -> bool {
        self.flights.len() < DEPTH
    }

    /// Whether it has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// Time until it should be through with what it has; `None` where that is not known.
    fn busy_for(&self, now: Instant) -> Option<Duration> {
        let Some(first) = self.flights.front() else { return Some(Duration::ZERO) };
        let rest = self.flights.iter().skip(1).map(|flight| flight.expected).sum::<Option<Duration>>()?;
        Some(first.expected?.saturating_sub(self.running_for(now)) + rest)
    }

    /// The same, where one that runs for longer than it should is believed to need as long again: it may be stuck.
    fn may_be_busy_for(&self, now: Instant) -> Option<Duration> {
        let late = self.flights.front().and_then(|first| self.running_for(now).checked_sub(first.expected?));
        Some(self.busy_for(now)? + late.unwrap_or_default())
    }

    /// How long the batch that it runs has run.
    fn running_for(&self, now: Instant) -> Duration {
        let begun = self.flights.front().map_or(now, |first| first.handed.max(self.free_since));
        now.saturating_duration_since(begun)
    }

    /// When a batch of it is late, with those that it has before that; `of` is the time after which one of a shape is, for its
    /// kind.
    pub fn late(&self, number: u64, of: impl Fn((u8, usize)) -> Option<Duration>) -> Option<Instant> {
        let mut late = self.flights.front()?.handed.max(self.free_since);
        for flight in &self.flights {
            late += of(flight.shape)?.mul_f64(self.slowness);
            if flight.number == number {
                return Some(late);
            }
        }
        None
    }

    /// Time until it should be through with what it has, where it has run such batches before.
    pub fn through(&self, now: Instant) -> Option<Duration> {
        let known = self.flights.iter().all(|flight| self.is_warm(flight.shape));
        self.busy_for(now).filter(|_| known)
    }

    /// Whether a batch is the one that it runs, or ran when it was lost.
    pub fn runs(&self, number: u64) -> bool {
        !self.lost && self.flights.front().is_some_and(|flight| flight.number == number)
    }

    /// It is gone; what it has in hand it did not begin.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether it has run such a batch before.
    pub fn is_warm(&self, (class, items): (u8, usize)) -> bool {
        self.warm.contains(&(class, items.max(1).ilog2()))
    }

    /// Time that it should take for a batch that its kind takes so long for, and the first of its shape so much longer.
    pub fn takes(&self, shape: (u8, usize), expected: Duration, cold: Duration) -> Duration {
        expected.mul_f64(self.slowness) + if self.is_warm(shape) { Duration::ZERO } else { cold }
    }

    /// How it stands, for who wants to know.
    pub fn standing(&self) -> Standing {
        let Self { slowness, runs, measured, tried, .. } = *self;
        Standing { in_hand: self.flights.len(), slowness, runs, measured, tried }
    }

    /// It gets a batch that should take so long, when the model had run so many items.
    pub fn hand(&mut self, ticket: Ticket, expected: Option<Duration>, at: (u64, Instant)) {
        let Ticket { number, shape, .. } = ticket;
        self.tried = at.0;
        self.flights.push_back(Flight { number, shape, handed: at.1, expected });
    }

    /// A batch of it has ended. `None` if it never had it.
    pub fn end(&mut self, number: u64, now: Instant) -> Option<Ended> {
        let index = self.flights.iter().position(|flight| flight.number == number)?;
        let flight = self.flights.remove(index)?;
        let took = now.saturating_duration_since(flight.handed.max(self.free_since));
        (self.free_since, self.measured) = (now, Some(now));
        self.runs += 1;
        let warm = self.is_warm(flight.shape);
        self.warm.insert((flight.shape.0, flight.shape.1.max(1).ilog2()));
        Some(Ended { took, warm })
    }

    /// A batch took so long that its kind takes `expected` for; `tried` says that it was to find that out. Returns the time
    /// that it says its kind takes: what was not expected is put down to both alike, save where the worker is the only one.
    pub fn judge(&mut self, took: Duration, expected: Option<Duration>, tried: bool, alone: bool) -> Duration {
        if alone {
            self.slowness = 1.0;
            return took;
        }
        let Some(expected) = expected.map(|expected| expected.as_secs_f64()).filter(|expected| *expected > 0.0) else {
            return took.div_f64(self.slowness);
        };
        let half = (took.as_secs_f64().max(1e-9) / (expected * self.slowness)).sqrt();
        let slowness = (self.slowness * drift(half, tried)).powf(FORGETS);
        self.slowness = slowness.clamp(1.0 / SLOWEST, SLOWEST);
        Duration::from_secs_f64(expected * half)
    }
}

/// How a worker stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Batches that it has.
    pub in_hand: usize,
    /// Its time for a batch, relative to that of the other workers of its kind.
    pub slowness: f64,
    /// Batches that it has ended.
    pub runs: u64,
    /// When it last ended one.
    pub measured: Option<Instant>,
    /// Items that the model had run when it last got a batch.
    pub tried: u64,
}

/// A worker that could get the next batch.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// It.
    pub hand: &'a Hand,
    /// Items that its batch would have.
    pub items: usize,
    /// Whether that is as many as pay there.
    pub full: bool,
    /// Time that it should take for them; `None` where nothing is known.
    pub expected: Option<Duration>,
}

impl Candidate<'_> {
    /// Time until it would be through with so many items.
    pub fn through(&self, items: usize, now: Instant) -> Duration {
        let batches = (items as f64 / self.items.max(1) as f64).max(1.0);
        self.hand.may_be_busy_for(now).unwrap_or_default() + self.expected.unwrap_or_default().mul_f64(batches)
    }

    /// Items that it runs in a second; `None` where nothing is known.
    pub fn rate(&self) -> Option<f64> {
        Some(self.items as f64 / self.expected?.as_secs_f64().max(1e-6))
    }
}

/// What could be cut.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Items that wait.
    pub waiting: usize,
    /// As many of them as count for who is through first.
    pub items: usize,
    /// Longest time that it may still be held back.
    pub hold: Duration,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Hand it to the worker of that index.
    Hand(usize),
    /// See again at that time, unless something happens before: the worker is busy, and more items may join it.
    Hold(Instant),
    /// No worker has room, or those that have would be through with it later than the others with all that waits.
    Wait,
}

/// Decides. Among workers with room the one is chosen that should be through first. It gets the batch at once if it is idle,
/// or the batch is full. Else that is held back until shortly before the worker should be free.
pub fn decide(candidates: &[Candidate<'_>], next: Next, now: Instant) -> Decision {
    let Next { items, hold, .. } = next;
    let with_room = candidates.iter().enumerate().filter(|(_, candidate)| candidate.hand.has_room());
    // Where nothing is known all should be through at once; then the one with less in hand is.
    let through =
        |candidate: &Candidate<'_>| (candidate.through(items, now), candidate.hand.flights.len(), candidate.hand.runs);
    let Some((index, chosen)) = with_room.min_by_key(|(_, candidate)| through(candidate)) else {
        return Decision::Wait;
    };
    if others_drain(candidates, next, now).is_some_and(|drained| drained < chosen.through(items, now)) {
        return Decision::Wait;
    }
    if chosen.full || chosen.hand.is_idle() {
        return Decision::Hand(index);
    }
    let Some(busy) = chosen.hand.busy_for(now) else { return Decision::Hand(index) };
    let held = busy.saturating_sub(LEAD.max(busy.mul_f64(LEAD_PART))).min(hold);
    if held < Duration::from_millis(1) { Decision::Hand(index) } else { Decision::Hold(now + held) }
}

/// Time until the workers without room should be through with all that waits, too; `None` where that is not known.
fn others_drain(candidates: &[Candidate<'_>], Next { waiting, items, .. }: Next, now: Instant) -> Option<Duration> {
    let known = |candidate: &&Candidate<'_>| !candidate.hand.has_room() && candidate.expected.is_some();
    let others = || candidates.iter().filter(known);
    let busy = others().filter_map(|other| other.hand.may_be_busy_for(now)).min()?;
    let soonest = others().map(|other| other.through(items, now)).min()?;
    let rate: f64 = others().filter_map(Candidate::rate).sum();
    Some(soonest.max(busy + Duration::from_secs_f64(waiting as f64 / rate)))
}

#[cfg(test)]
mod tests;
