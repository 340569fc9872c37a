//! Tests: what holds of the queue, whatever comes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{Bounds, Queue, Waiting};
use crate::size::Size;

#[derive(Clone, Debug, PartialEq)]
struct Fake {
    number: usize,
    flow: u8,
    weight: u64,
    length: u32,
    alone: bool,
    key: Option<u8>,
    deadline: Instant,
}

impl Waiting for Fake {
    type Flow = u8;
    type Key = u8;

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_dead(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    fn flow(&self) -> u8 {
        self.flow
    }

    fn weight(&self) -> u64 {
        self.weight
    }

    fn size(&self) -> Size {
        Size { length: self.length, bytes: self.length as usize }
    }

    fn is_alone(&self) -> bool {
        self.alone
    }

    fn key(&self) -> Option<&u8> {
        self.key.as_ref()
    }
}

fn job(number: usize, flow: u8, length: u32) -> Fake {
    let deadline = Instant::now() + Duration::from_secs(3600);
    Fake { number, flow, weight: 4, length, alone: false, key: None, deadline }
}

proptest! {
    /// Every living job leaves in exactly one batch, no dead one does, and no batch breaks its bounds: items, bytes,
    /// one length class, and a batch of its own for a job that is to be alone.
    #[test]
    fn living_jobs_leave_once_within_bounds(
        jobs in proptest::collection::vec((0u8..4, 1u32..600, 0u64..10, any::<bool>()), 0..60),
        items in 1usize..9,
        bytes in 1usize..2000,
        age in 0u64..10,
    ) {
        let start = Instant::now();
        let now = start + Duration::from_secs(age);
        let jobs: Vec<_> = jobs.into_iter().enumerate().map(|(number, (flow, length, life, alone))| {
            Fake { alone, deadline: start + Duration::from_secs(life), ..job(number, flow, length) }
        }).collect();
        let mut queue = Queue::default();
        jobs.iter().cloned().for_each(|job| queue.push(job));
        let again = queue.cut(Bounds { items, bytes }, now);
        again.into_iter().for_each(|job| queue.push_again(job));
        let mut left = Vec::new();
        loop {
            let batch = queue.cut(Bounds { items, bytes }, now);
            if batch.is_empty() {
                break;
            }
            prop_assert!(batch.len() <= items);
            prop_assert!(batch.len() == 1 || batch.iter().map(|job| job.size().bytes).sum::<usize>() <= bytes);
            prop_assert!(batch.iter().all(|job| job.size().class() == batch[0].size().class()));
            prop_assert!(batch.len() == 1 || batch.iter().all(|job| !job.alone));
            left.extend(batch);
        }
        left.sort_by_key(|job| job.number);
        let (dead, living): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.is_dead(now));
        prop_assert_eq!(left, living);
        let mut purged = queue.purge(now);
        purged.sort_by_key(|job| job.number);
        prop_assert_eq!(purged, dead);
        prop_assert_eq!(queue.len(), 0);
    }

    /// While two flows both wait, neither is served more than its share by more than one job of each and one batch.
    #[test]
    fn flows_that_wait_get_their_shares(
        lengths in proptest::collection::vec((1u32..64, 1u32..64), 40),
        weights in (prop_oneof![Just(1u64), Just(4), Just(16)], prop_oneof![Just(1u64), Just(4), Just(16)]),
        items in 1usize..5,
    ) {
        let mut queue = Queue::default();
        for (number, (left, right)) in lengths.iter().enumerate() {
            queue.push(Fake { weight: weights.0, ..job(number, 0, *left) });
            queue.push(Fake { weight: weights.1, ..job(number, 1, *right) });
        }
        let mut waiting = [lengths.len(); 2];
        let mut served = [0_f64; 2];
        let now = Instant::now();
        while waiting[0] > 0 && waiting[1] > 0 {
            for job in queue.cut(Bounds { items, bytes: usize::MAX }, now) {
                waiting[job.flow as usize] -= 1;
                served[job.flow as usize] += f64::from(job.length) / job.weight as f64;
            }
            // A batch may take jobs of the same length before their turn, and each flow is one job ahead at most.
            let slack = 64.0 * (1.0 + items as f64) * (1.0 / weights.0 as f64 + 1.0 / weights.1 as f64) + 2.0;
            prop_assert!((served[0] - served[1]).abs() <= slack * 8.0, "{served:?}");
        }
    }

    /// A client that comes while another has flooded the queue waits for about its own work, not for the flood.
    #[test]
    fn a_flood_holds_nobody_up(flood in 10usize..400, items in 1usize..9) {
        let mut queue = Queue::default();
        (0..flood).for_each(|number| queue.push(job(number, 0, 10)));
        let now = Instant::now();
        queue.cut(Bounds { items, bytes: usize::MAX }, now);
        queue.push(job(flood, 1, 300));
        let before = std::iter::from_fn(|| Some(queue.cut(Bounds { items, bytes: usize::MAX }, now)))
            .take_while(|batch| batch.iter().all(|job| job.flow == 0) && !batch.is_empty())
            .count();
        prop_assert!(before <= 1, "{before} batches of {items} went before");
    }
}

proptest! {
    /// Identical jobs leave together, and nothing else with them; what is left of the index is what is left.
    #[test]
    fn identical_jobs_leave_together(keys in proptest::collection::vec((proptest::option::of(0u8..4), 0u8..3), 0..40)) {
        let mut queue = Queue::default();
        for (number, (key, flow)) in keys.iter().enumerate() {
            queue.push(Fake { key: *key, ..job(number, *flow, 10 + u32::from(key.unwrap_or(9)) * 30) });
        }
        let now = Instant::now();
        let mut left = keys.len();
        while let [first, ..] = &queue.cut(Bounds { items: 1, bytes: usize::MAX }, now)[..] {
            left -= 1;
            if let Some(key) = first.key {
                let same = queue.take_same(&key);
                prop_assert!(same.iter().all(|job| job.key == Some(key)));
                left -= same.len();
                prop_assert!(!queue.same.contains_key(&key));
            }
            prop_assert_eq!(queue.len(), left);
        }
        prop_assert!(left == 0 && queue.same.is_empty());
    }
}

#[test]
fn flows_that_are_gone_are_forgotten() {
    let mut queue = Queue::default();
    let now = Instant::now();
    let mut kept = BTreeMap::new();
    for number in 0..10_000 {
        queue.push(job(number, (number % 251) as u8, 10));
        if number > 3 {
            queue.cut(Bounds { items: 1, bytes: usize::MAX }, now);
        }
        kept.insert(queue.flows.len(), number);
    }
    assert!(kept.keys().all(|flows| *flows <= 2 * 5 + 65), "{kept:?}");
}
