//! Route: what each worker has in hand and when it should be through with it; which one gets the next batch, and whether
//! that batch should go now. Pure.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

/// Batches that a worker may have in hand: the one that it runs, and the next, so that transfer and run overlap. A third
/// would hold items that could still join a larger batch.
pub const DEPTH: usize = 2;

/// A batch that is handed over while its worker is busy arrives this much before the worker should be free, at least;
/// and this part of what the worker still has to do, since predictions are not exact.
const LEAD: Duration = Duration::from_millis(2);
const LEAD_PART: f64 = 0.25;

/// Weight of a new run in a worker's relative speed, and the bounds of that.
const WEIGHT: f64 = 0.1;
const SLOWEST: f64 = 4.0;

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
    flights: VecDeque<Flight>,
    /// When it ended its last batch.
    free_since: Instant,
    /// Its time for a batch, relative to that of the model's other workers.
    slowness: f64,
    /// Shapes that it has run: length class, and items to the next power of two.
    warm: HashSet<(u8, u32)>,
    runs: u64,
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
    pub fn new(now: Instant) -> Self {
        Self { flights: VecDeque::new(), free_since: now, slowness: 1.0, warm: HashSet::new(), runs: 0, lost: false }
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
        let running = now.saturating_duration_since(first.handed.max(self.free_since));
        let rest = self.flights.iter().skip(1).map(|flight| flight.expected).sum::<Option<Duration>>()?;
        Some(first.expected?.saturating_sub(running) + rest)
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

    /// Time until it would be through with a batch that the model's workers take so long for.
    fn finish(&self, expected: Duration, cold: Duration, shape: (u8, usize), now: Instant) -> Duration {
        let cold = if self.is_warm(shape) { Duration::ZERO } else { cold };
        self.busy_for(now).unwrap_or_default() + expected.mul_f64(self.slowness) + cold
    }

    fn is_warm(&self, (class, items): (u8, usize)) -> bool {
        self.warm.contains(&(class, items.max(1).ilog2()))
    }

    /// It gets a batch.
    pub fn hand(&mut self, number: u64, shape: (u8, usize), expected: Option<Duration>, now: Instant) {
        let expected = expected.map(|expected| expected.mul_f64(self.slowness));
        self.flights.push_back(Flight { number, shape, handed: now, expected });
    }

    /// A batch of it has ended. `None` if it never had it.
    pub fn end(&mut self, number: u64, now: Instant) -> Option<Ended> {
        let index = self.flights.iter().position(|flight| flight.number == number)?;
        let flight = self.flights.remove(index)?;
        let took = now.saturating_duration_since(flight.handed.max(self.free_since));
        self.free_since = now;
        self.runs += 1;
        let warm = self.is_warm(flight.shape);
        self.warm.insert((flight.shape.0, flight.shape.1.max(1).ilog2()));
        if let Some(expected) = flight.expected.filter(|expected| warm && !expected.is_zero()) {
            let ratio = took.as_secs_f64() / expected.as_secs_f64() * self.slowness;
            self.slowness += WEIGHT * (ratio.clamp(1.0 / SLOWEST, SLOWEST) - self.slowness);
        }
        Some(Ended { took, warm })
    }
}

/// A batch that could be cut.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Length class, and items that it would have now.
    pub shape: (u8, usize),
    /// Whether it is as large as pays.
    pub full: bool,
    /// Time that it should take; `None` where nothing is known.
    pub expected: Option<Duration>,
    /// What a worker takes longer that has not run that shape before.
    pub cold: Duration,
    /// Longest time that it may still be held back.
    pub hold: Duration,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Hand it to the worker of that index.
    Hand(usize),
    /// See again at that time, unless something happens before: all workers are busy, and more items may join it.
    Hold(Instant),
    /// No worker has room.
    Wait,
}

/// Decides. Among workers with room the one is chosen that should be through with it first. While one is idle it goes at
/// once; and so does a full one. Else it is held back until shortly before the chosen worker should be free.
pub fn decide(hands: &[&Hand], next: Next, now: Instant) -> Decision {
    let with_room = hands.iter().enumerate().filter(|(_, hand)| hand.has_room());
    let expected = next.expected.unwrap_or_default();
    // Where nothing is known all should be through at once; then the one with less in hand is.
    let finish = |hand: &Hand| (hand.finish(expected, next.cold, next.shape, now), hand.flights.len(), hand.runs);
    let Some((index, chosen)) = with_room.min_by_key(|(_, hand)| finish(hand)) else { return Decision::Wait };
    if next.full || hands.iter().any(|hand| hand.is_idle()) {
        return Decision::Hand(index);
    }
    let Some(busy) = chosen.busy_for(now) else { return Decision::Hand(index) };
    let held = busy.saturating_sub(LEAD.max(busy.mul_f64(LEAD_PART))).min(next.hold);
    if held < Duration::from_millis(1) { Decision::Hand(index) } else { Decision::Hold(now + held) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{DEPTH, Decision, Hand, Next, decide};

    const SHAPE: (u8, usize) = (8, 4);

    fn next(full: bool, hold: u64) -> Next {
        let expected = Some(Duration::from_millis(20));
        Next { shape: SHAPE, full, expected, cold: Duration::from_millis(100), hold: Duration::from_millis(hold) }
    }

    fn hand(batches: usize, slowness: f64, now: Instant) -> Hand {
        let mut hand = Hand::new(now);
        hand.slowness = slowness;
        (0..batches).for_each(|number| hand.hand(number as u64, SHAPE, Some(Duration::from_millis(20)), now));
        hand
    }

    proptest! {
        /// No worker gets more than it may have, none is left idle while something waits, and nothing is held back for
        /// longer than allowed, or when it is full.
        #[test]
        fn nothing_waits_without_need(
            hands in proptest::collection::vec((0..=DEPTH, 0.25f64..4.0), 0..6),
            full: bool,
            hold in 0u64..50,
        ) {
            let now = Instant::now();
            let hands: Vec<_> = hands.into_iter().map(|(batches, slowness)| hand(batches, slowness, now)).collect();
            let all: Vec<_> = hands.iter().collect();
            let next = next(full, hold);
            match decide(&all, next, now) {
                Decision::Hand(index) => {
                    prop_assert!(hands[index].has_room());
                    let finish = |hand: &Hand| hand.finish(next.expected.unwrap(), next.cold, SHAPE, now);
                    let with_room = hands.iter().filter(|hand| hand.has_room());
                    prop_assert!(with_room.map(finish).all(|other| finish(&hands[index]) <= other));
                }
                Decision::Hold(until) => {
                    prop_assert!(!full && hands.iter().all(|hand| !hand.is_idle()));
                    prop_assert!(until > now && until <= now + next.hold);
                }
                Decision::Wait => prop_assert!(hands.iter().all(|hand| !hand.has_room())),
            }
        }
    }

    #[test]
    fn the_next_batch_is_there_before_the_worker_is_free() {
        let now = Instant::now();
        let busy = hand(1, 1.0, now);
        let Decision::Hold(until) = decide(&[&busy], next(false, 1000), now) else { panic!("not held back") };
        assert!(
            until > now + Duration::from_millis(10) && until < now + Duration::from_millis(19),
            "{:?}",
            until - now
        );
        assert_eq!(decide(&[&busy], next(false, 1000), now + Duration::from_millis(18)), Decision::Hand(0));
        let mut unknown = Hand::new(now);
        unknown.hand(1, SHAPE, None, now);
        assert_eq!(decide(&[&unknown], next(false, 1000), now), Decision::Hand(0));
        let nothing = Next { expected: None, cold: Duration::ZERO, ..next(false, 1000) };
        assert_eq!(decide(&[&unknown, &Hand::new(now)], nothing, now), Decision::Hand(1));
    }

    #[test]
    fn a_worker_learns_its_speed_and_its_shapes() {
        let now = Instant::now();
        let mut slow = Hand::new(now);
        let fast = hand(0, 1.0, now);
        // An idle worker that is new to the shape is as good as any other one.
        assert_eq!(decide(&[&slow, &fast], next(false, 0), now), Decision::Hand(0));
        let mut at = now;
        for number in 0..50 {
            let warm = number > 0;
            slow.hand(number, SHAPE, Some(Duration::from_millis(20)), at);
            at += Duration::from_millis(60);
            assert_eq!(slow.end(number, at).map(|ended| ended.warm), Some(warm));
        }
        assert_eq!(slow.end(7, at), None);
        assert!((2.5..=3.5).contains(&slow.slowness), "{}", slow.slowness);
        // Three times slower, but it has run the shape before: 60 ms against 20 + 100.
        assert_eq!(decide(&[&fast, &slow], next(false, 0), at), Decision::Hand(1));
    }

    #[test]
    fn batches_in_hand_take_turns() {
        let now = Instant::now();
        let mut hand = hand(2, 1.0, now);
        let first = hand.end(0, now + Duration::from_millis(15)).unwrap();
        let second = hand.end(1, now + Duration::from_millis(40)).unwrap();
        assert_eq!((first.took, second.took), (Duration::from_millis(15), Duration::from_millis(25)));
    }
}
