//! Tests: where a batch goes, and when.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Candidate, DEPTH, Decision, Hand, Next, Ticket, decide};
use crate::{execution::Backend, scheduler::kinds::Kind};

const SHAPE: (u8, usize) = (8, 4);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn new(now: Instant) -> Hand {
    Hand::new(Kind { browser: "Fake".into(), backend: Backend::Wasm, dtype: "q8".into() }, now)
}

fn give(hand: &mut Hand, number: u64, expected: Option<Duration>, now: Instant) {
    hand.hand(Ticket { number, shape: SHAPE, tries: false }, expected, (0, now));
}

/// One that has so many batches, which take it so long each.
fn hand(batches: usize, takes: Duration, now: Instant) -> Hand {
    let mut hand = new(now);
    (0..batches).for_each(|number| give(&mut hand, number as u64, Some(takes), now));
    hand
}

fn candidate(hand: &Hand, takes: Option<Duration>, full: bool) -> Candidate<'_> {
    Candidate { hand, items: SHAPE.1, full, expected: takes }
}

fn next(waiting: usize, hold: u64) -> Next {
    Next { waiting, items: waiting.min(SHAPE.1), hold: millis(hold) }
}

proptest! {
    /// No worker gets more than it may have; the one that gets the batch is through first of those with room; what is held
    /// back is so for no longer than allowed, and not when it is full; and it only waits for others that are faster.
    #[test]
    fn nothing_waits_without_need(
        hands in proptest::collection::vec((0..=DEPTH, 1u64..100), 0..6),
        waiting in 1usize..20,
        hold in 0u64..50,
        later in 0u64..200,
    ) {
        let begun = Instant::now();
        let now = begun + millis(later);
        let hands: Vec<_> = hands.into_iter().map(|(batches, takes)| (hand(batches, millis(takes), begun), takes)).collect();
        let full = waiting >= SHAPE.1;
        let all: Vec<_> = hands.iter().map(|(hand, takes)| candidate(hand, Some(millis(*takes)), full)).collect();
        let next = next(waiting, hold);
        let through = |candidate: &Candidate<'_>| candidate.through(next.items, now);
        let first = all.iter().filter(|candidate| candidate.hand.has_room()).map(through).min();
        match decide(&all, next, now) {
            Decision::Hand(index) => {
                prop_assert!(all[index].hand.has_room());
                prop_assert_eq!(Some(through(&all[index])), first);
            }
            Decision::Hold(until) => {
                prop_assert!(!full && until > now && until <= now + next.hold);
                let idle = all.iter().filter(|candidate| candidate.hand.is_idle());
                prop_assert!(idle.map(through).all(|idle| Some(idle) > first));
            }
            Decision::Wait => {
                let sooner = |candidate: &Candidate<'_>| Some(through(candidate)) < first;
                prop_assert!(first.is_none() || all.iter().any(|other| !other.hand.has_room() && sooner(other)));
            }
        }
    }

    /// What a worker is slower than its kind shows in both, and the product of the two comes near the truth, whichever way it
    /// changes; one that is alone is its kind.
    #[test]
    fn a_worker_learns_its_speed(before in 1u64..1000, after in 1u64..1000, alone: bool) {
        let now = Instant::now();
        let (mut hand, mut of_kind) = (new(now), millis(before));
        for _ in 0..100 {
            of_kind = hand.judge(millis(after), Some(of_kind), false, alone);
        }
        let predicted = hand.takes(SHAPE, of_kind, Duration::ZERO).as_secs_f64() / millis(after).as_secs_f64();
        prop_assert!((0.9..1.1).contains(&predicted), "{predicted}");
        prop_assert!(!alone || of_kind == millis(after));
    }
}

#[test]
fn the_next_batch_is_there_before_the_worker_is_free() {
    let now = Instant::now();
    let takes = Some(millis(20));
    let busy = hand(1, millis(20), now);
    let decide_at = |now| decide(&[candidate(&busy, takes, false)], next(3, 1000), now);
    let Decision::Hold(until) = decide_at(now) else { panic!("not held back") };
    assert!(until > now + millis(10) && until < now + millis(19), "{:?}", until - now);
    assert_eq!(decide_at(now + millis(18)), Decision::Hand(0));
    let mut unknown = new(now);
    give(&mut unknown, 1, None, now);
    assert_eq!(decide(&[candidate(&unknown, takes, false)], next(3, 1000), now), Decision::Hand(0));
    let (fresh, none) = (new(now), None);
    let both = [candidate(&unknown, none, false), candidate(&fresh, none, false)];
    assert_eq!(decide(&both, next(3, 1000), now), Decision::Hand(1));
}

#[test]
fn a_batch_waits_for_a_worker_that_is_faster_and_busy_and_not_for_one_that_is_stuck() {
    let now = Instant::now();
    let (fast, slow) = (hand(DEPTH, millis(10), now), new(now));
    let both = [candidate(&fast, Some(millis(10)), true), candidate(&slow, Some(millis(100)), true)];
    assert_eq!(decide(&both, next(4, 1000), now), Decision::Wait);
    // With all that waits the fast one would take longer.
    assert_eq!(decide(&both, next(60, 1000), now), Decision::Hand(1));
    assert_eq!(decide(&both, next(4, 1000), now + millis(20)), Decision::Wait);
    assert_eq!(decide(&both, next(4, 1000), now + millis(150)), Decision::Hand(1));
}

#[test]
fn a_first_run_of_a_shape_costs_more() {
    let now = Instant::now();
    let (cold, mut warm) = (new(now), new(now));
    give(&mut warm, 1, None, now);
    assert_eq!(warm.end(1, now).map(|ended| ended.warm), Some(false));
    assert_eq!(warm.end(1, now), None);
    give(&mut warm, 2, None, now);
    assert_eq!(warm.end(2, now).map(|ended| ended.warm), Some(true));
    assert_eq!(cold.takes(SHAPE, millis(20), millis(100)), millis(120));
    assert_eq!(warm.takes(SHAPE, millis(20), millis(100)), millis(20));
}

#[test]
fn batches_in_hand_take_turns() {
    let now = Instant::now();
    let mut hand = hand(2, millis(20), now);
    let first = hand.end(0, now + millis(15)).unwrap();
    let second = hand.end(1, now + millis(40)).unwrap();
    assert_eq!((first.took, second.took), (millis(15), millis(25)));
}
