//! Tests: a model's workers in a simulated time, whose speeds change; and that what is learned is cheap.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{Counts, Lane, Most, Step, Ticket};
use crate::{
    execution::Backend,
    scheduler::{
        explain::Why,
        kinds::{Kind, Server},
        learn::Cost,
        queue::Waiting,
    },
    size::Size,
};

#[derive(Debug)]
struct Item {
    length: u32,
    deadline: Instant,
}

impl Waiting for Item {
    type Flow = ();
    type Key = ();

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_dead(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    fn flow(&self) {}

    fn weight(&self) -> u64 {
        4
    }

    fn size(&self) -> Size {
        Size { length: self.length, bytes: 10 }
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn key(&self) -> Option<&()> {
        None
    }
}

const SERVERS: [Server<'_>; 4] = [
    Server { id: "a", browser: "Chrome", backend: Backend::Wasm, dtype: "q8" },
    Server { id: "b", browser: "Firefox", backend: Backend::WebGpu, dtype: "q8" },
    Server { id: "c", browser: "Chrome", backend: Backend::WebGpu, dtype: "fp16" },
    Server { id: "d", browser: "Chrome", backend: Backend::Wasm, dtype: "q8" },
];

fn micros(micros: f64) -> Duration {
    Duration::from_secs_f64(micros / 1e6)
}

/// Callers that each send their next item when they have the answer to the last, and workers.
struct World {
    lane: Lane<Item>,
    servers: Vec<Server<'static>>,
    /// What each worker has, when it began the first of them, and when that ends.
    hands: Vec<(VecDeque<Ticket>, Instant)>,
    most: Most,
    now: Instant,
    callers: usize,
    pending: usize,
    /// Time that a caller has.
    patience: Duration,
    lengths: &'static [u32],
    sent: usize,
    /// Noise, in turn.
    noise: Vec<f64>,
    runs: usize,
}

impl World {
    fn new(servers: &[usize], most_items: usize, callers: usize) -> Self {
        let now = Instant::now() + Duration::from_secs(100);
        let most =
            Most { items: most_items, fixed: false, tokens: None, bytes: 1 << 20, delay: Duration::from_secs(1) };
        Self {
            lane: Lane::default(),
            servers: servers.iter().map(|index| SERVERS[*index]).collect(),
            hands: servers.iter().map(|_| (VecDeque::new(), now)).collect(),
            most,
            now,
            callers,
            pending: 0,
            patience: Duration::from_secs(1 << 20),
            lengths: &[10],
            sent: 0,
            noise: vec![1.0],
            runs: 0,
        }
    }

    /// Sends so many items; `takes` are the microseconds of a batch of an item of each worker, more items in proportion.
    /// Returns which worker ran each, in the order in which they went out.
    fn send(&mut self, items: usize, takes: &[f64]) -> Vec<usize> {
        let mut went = Vec::new();
        let last = self.sent + items;
        loop {
            while self.pending < self.callers && self.sent < last {
                let length = self.lengths[self.sent % self.lengths.len()];
                self.lane.queue.push(Item { length, deadline: self.now + self.patience });
                self.pending += 1;
                self.sent += 1;
            }
            let mut wake = None;
            loop {
                match self.lane.next(&self.servers, self.most, self.now) {
                    Step::Hand(index, batch, ticket) => {
                        assert_eq!(batch.len(), ticket.shape.1);
                        let idle = self.hands[index].0.is_empty();
                        self.lane.hand(self.servers[index], ticket, self.now);
                        self.hands[index].0.push_back(ticket);
                        if idle {
                            self.begin(index, takes);
                        }
                        went.extend(batch.iter().map(|_| index));
                    }
                    Step::Hold(until) => {
                        wake = Some(until);
                        break;
                    }
                    Step::Wait => break,
                }
            }
            let busy = self.hands.iter().enumerate().filter(|(_, (tickets, _))| !tickets.is_empty());
            let Some((index, ends)) = busy.map(|(index, (_, ends))| (index, *ends)).min_by_key(|(_, ends)| *ends)
            else {
                assert!(self.sent == last && self.lane.queue.len() == 0, "something waits, and nothing runs");
                return went;
            };
            // The task looks again every now and then.
            let wake = wake.unwrap_or(self.now + Duration::from_millis(50).max((ends - self.now) / 10));
            if self.lane.queue.len() > 0 && wake < ends {
                self.now = wake;
                continue;
            }
            self.now = ends;
            let ticket = self.hands[index].0.pop_front().unwrap();
            self.lane.end(self.servers[index], ticket, Counts::Whole, self.now);
            self.pending -= ticket.shape.1;
            if !self.hands[index].0.is_empty() {
                self.begin(index, takes);
            }
        }
    }

    fn begin(&mut self, index: usize, takes: &[f64]) {
        self.runs += 1;
        let noise = self.noise[self.runs % self.noise.len()];
        let items = self.hands[index].0[0].shape.1;
        self.hands[index].1 = self.now + micros(takes[index] * items as f64 * noise);
    }
}

/// Items until nine of the next ten go to that worker.
fn until(went: &[usize], best: usize) -> usize {
    let follows = |next: &[usize]| next.iter().filter(|index| **index == best).count() >= 9;
    went.windows(10).position(follows).unwrap_or(usize::MAX)
}

fn best_of(takes: &[f64]) -> usize {
    (0..takes.len()).min_by(|left, right| takes[*left].total_cmp(&takes[*right])).unwrap()
}

fn second_of(takes: &[f64]) -> f64 {
    let best = best_of(takes);
    takes.iter().enumerate().filter(|(index, _)| *index != best).map(|(_, takes)| *takes).fold(f64::MAX, f64::min)
}

fn share_of_others(went: &[usize], best: usize) -> f64 {
    went.iter().filter(|index| **index != best).count() as f64 / went.len() as f64
}

fn noise() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![Just(vec![1.0]), proptest::collection::vec(0.85f64..1.18, 97)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whichever worker is the fastest gets nearly all, from the 50th item on after that has changed: where the fastest
    /// becomes slow, and where a slow one becomes the fastest while all others stay as they were.
    #[test]
    fn routing_follows_the_truth(
        kinds in 2usize..4,
        callers in 1usize..4,
        most in prop_oneof![Just(1usize), Just(8)],
        slow in proptest::collection::vec(4.5f64..20.0, 8),
        base in 200.0f64..50_000.0,
        who in proptest::collection::vec(0usize..3, 8),
        noise in noise(),
    ) {
        let mut world = World::new(&[0, 1, 2][..kinds], most, callers);
        world.noise = noise;
        let mut takes: Vec<_> = slow[..kinds].iter().map(|slow| base * slow).collect();
        takes[0] = base;
        let mut fast = base;
        world.send(200, &takes);
        for (turn, who) in who.into_iter().enumerate() {
            let best = who % kinds;
            let (was, before) = (best_of(&takes), takes.clone());
            if best != was && turn % 2 == 0 && fast / slow[turn] > 50.0 {
                // The slow one becomes fast; the fast one stays as it was.
                fast /= slow[turn];
                takes[best] = fast;
            } else if best == was && second_of(&takes) * slow[turn] < 5e6 {
                // The fast one becomes slow.
                takes[best] = second_of(&takes) * slow[turn];
            }
            // One that was believed to be far too slow is tried rarely.
            let best = best_of(&takes);
            let believed = before[best] < 30.0 * before[was].max(10_000.0);
            fast = takes[best];
            let second = second_of(&takes);
            let went = world.send(400, &takes);
            // Where several wait, one that is hardly slower is through first with the last of them.
            if believed && second > fast * (callers as f64 + 1.5) {
                let after = until(&went, best);
                prop_assert!(after <= 50, "turn {turn}: {after}, {takes:?} {went:?}");
                let others = share_of_others(&went[200..], best);
                prop_assert!(others <= 0.08, "turn {turn}: {others}, {takes:?} {went:?}");
            }
        }
        let best = best_of(&takes);
        if second_of(&takes) > fast * (callers as f64 + 1.5) {
            let others = share_of_others(&world.send(2000, &takes), best);
            prop_assert!(others <= 0.05, "{others}, {takes:?}");
        }
    }

    /// The same of two workers of one kind.
    #[test]
    fn routing_follows_the_workers_of_a_kind(slow in 2.5f64..20.0, base in 200.0f64..50_000.0, noise in noise()) {
        let mut world = World::new(&[0, 3], 8, 1);
        world.noise = noise;
        for takes in [[1.0, slow], [slow, 1.0], [slow, slow * slow], [slow, 1.0], [slow * slow, slow], [1.0, slow]] {
            let takes = takes.map(|times| times * base);
            let best = usize::from(takes[1] < takes[0]);
            let went = world.send(1000, &takes);
            prop_assert!(until(&went, best) <= 50, "{takes:?} {went:?}");
            let others = share_of_others(&went[200..], best);
            prop_assert!(others <= 0.05, "{others}, {takes:?}");
        }
    }

    /// Fixed batches are full, however many workers are idle, and whatever pays.
    #[test]
    fn fixed_batches_have_as_many_items_as_they_may(
        workers in 1usize..4,
        most in 1usize..40,
        callers in 1usize..5,
        base in 200.0f64..50_000.0,
        noise in noise(),
    ) {
        let mut world = World::new(&[0, 3, 1][..workers], most, callers * most);
        (world.most.fixed, world.noise) = (true, noise);
        world.send(50 * most, &[base; 3][..workers]);
        prop_assert_eq!(world.runs, 50);
    }

    /// What is known of a worker lets none of those expire that would have been in time elsewhere.
    #[test]
    fn nobody_expires_for_a_try(slow in 4.0f64..20.0, base in 200.0f64..50_000.0) {
        let mut world = World::new(&[0, 1], 1, 1);
        let takes = [base, base * slow];
        world.send(100, &takes);
        world.patience = micros(takes[1] * 3.0);
        let went = world.send(500, &takes);
        prop_assert!(went.iter().all(|index| *index == 0), "{went:?}");
    }
}

#[test]
fn lengths_have_their_own_truth_and_find_out_that_a_worker_has_become_faster() {
    let mut world = World::new(&[0, 1], 1, 1);
    world.lengths = &[10, 40, 100, 400];
    world.send(800, &[1000.0, 9000.0]);
    let went = world.send(400, &[1000.0, 100.0]);
    assert!(until(&went, 1) <= 50, "{went:?}");
}

fn kind(server: usize) -> Kind {
    SERVERS[server].kind()
}

fn cost(micros_per_item: f64) -> Cost {
    Cost { class: 8, items: 1, micros_per_item, runs: 100, age: Duration::from_secs(86_400) }
}

#[test]
fn what_was_learned_before_counts_from_the_first_item_on_and_is_read_out() {
    let mut world = World::new(&[0, 1], 1, 1);
    world.lane.seed(kind(0), cost(50_000.0), world.now);
    world.lane.seed(kind(1), cost(5_000.0), world.now);
    assert!(!world.lane.is_empty());
    let takes = [5_000.0, 50_000.0];
    assert_eq!(world.send(1, &takes), [1]);
    // It is not true any more.
    assert!(until(&world.send(100, &takes), 0) <= 50);
    world.send(300, &takes);
    let costs: Vec<_> = world.lane.costs(world.now).collect();
    assert_eq!(costs.len(), 2);
    for (kind, cost) in costs {
        let takes = if kind == &self::kind(0) { takes[0] } else { takes[1] };
        assert!((cost.micros_per_item / takes - 1.0).abs() < 0.1 && cost.class == 8 && cost.items == 1, "{cost:?}");
    }
}

#[test]
fn it_is_told_why_the_best_is_the_best() {
    let mut world = World::new(&[0, 1, 3], 1, 1);
    let fresh = world.lane.explain(&world.servers, world.most, world.now);
    assert_eq!(fresh.best, Some((0, Why::Unknown)));
    assert_eq!(world.lane.explain(&world.servers[..1], world.most, world.now).best, Some((0, Why::Alone)));
    assert_eq!(world.lane.explain(&[], world.most, world.now).best, None);
    world.send(200, &[5_000.0, 50_000.0, 7_000.0]);
    let told = world.lane.explain(&world.servers, world.most, world.now);
    assert_eq!((told.best, told.class, told.items), (Some((0, Why::Fastest)), 8, 1));
    let predicted = told.workers.iter().map(|worker| worker.predicted.unwrap().as_millis());
    let predicted: Vec<_> = predicted.collect();
    assert!((4..=6).contains(&predicted[0]) && (40..=60).contains(&predicted[1]), "{told:?}");
    assert!(told.workers[2].slowness > told.workers[0].slowness, "{told:?}");
    assert!(told.workers.iter().all(|worker| worker.runs > 0 && worker.in_hand == 0 && worker.measured.is_some()));
    // The best one has so much in hand that another is through first.
    for number in 1000..1002 {
        world.lane.hand(world.servers[0], Ticket { number, shape: (8, 1), tries: false }, world.now);
    }
    let told = world.lane.explain(&world.servers, world.most, world.now);
    assert_eq!((told.best, told.workers[0].in_hand), (Some((2, Why::Free)), 2));
}

#[test]
#[ignore = "measures: run it by hand, in release"]
fn learning_costs_little() {
    let mut world = World::new(&[0, 1, 2, 3], 1, 1);
    world.send(1000, &[1000.0, 3000.0, 9000.0, 1000.0]);
    let rounds = 200_000_u32;
    let begun = Instant::now();
    for _ in 0..rounds {
        world.lane.queue.push(Item { length: 10, deadline: world.now + world.patience });
        let Step::Hand(index, _, ticket) = world.lane.next(&world.servers, world.most, world.now) else {
            panic!("nothing goes")
        };
        world.lane.hand(world.servers[index], ticket, world.now);
        world.now += Duration::from_millis(1);
        world.lane.end(world.servers[index], ticket, Counts::Whole, world.now);
    }
    println!("{:?} for each request: queue, cut, route, learn", begun.elapsed() / rounds);
}
