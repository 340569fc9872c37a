//! Lane: one model's queue and workers, and what was learned of them; says which batch goes next, and where. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    explore::{Explorer, Idle, LITTLE, PATIENCE},
    hedge::Budget,
    kinds::{Kind, Kinds, Server},
    learn::{Cost, Learned},
    queue::{Bounds, Queue, Waiting},
    route::{self, Candidate, Decision, Hand, Next, Ticket},
};
use crate::{
    ledger::Pace,
    size::{CLASSES, Size},
};

/// The bounds of the model's batches.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Items.
    pub items: usize,
    /// Whether batches have as many, whether that pays or not.
    pub fixed: bool,
    /// Tokens, padding counted; `None` where items are not padded to one length.
    pub tokens: Option<u32>,
    /// Bytes of inputs.
    pub bytes: usize,
    /// Time that a batch is held back for more items while all workers are busy.
    pub delay: Duration,
}

/// What to do next.
pub enum Step<J> {
    /// Hand a batch to the worker of that index.
    Hand(usize, Vec<J>, Ticket),
    /// See again then, unless something happens before.
    Hold(Instant),
    /// Nothing can go: nothing waits, or no worker has room.
    Wait,
}

/// How the time of a batch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// It ran to its end.
    Whole,
    /// It was left; it would have taken no less.
    AtLeast,
    /// It does not.
    Not,
}

/// A worker that is to be tried.
#[derive(Clone, Copy, Debug)]
struct Try {
    index: usize,
    items: usize,
    /// Time that it should take for them.
    takes: Duration,
}

/// One model.
pub struct Lane<J: Waiting> {
    /// What waits.
    pub queue: Queue<J>,
    /// How much of it was told of last.
    pub shown: usize,
    /// Second runs that may still begin.
    pub budget: Budget,
    kinds: Kinds,
    hands: HashMap<String, Hand>,
    explorer: Explorer,
    batches: u64,
    /// Whether something was taken over.
    seeded: bool,
    /// Length class of the last batch.
    pub(super) class: Option<u8>,
}

impl<J: Waiting> Default for Lane<J> {
    fn default() -> Self {
        Self {
            queue: Queue::default(),
            shown: 0,
            budget: Budget::default(),
            kinds: Kinds::default(),
            hands: HashMap::new(),
            explorer: Explorer::default(),
            batches: 0,
            seeded: false,
            class: None,
        }
    }
}

impl<J: Waiting> Lane<J> {
    /// What to do next with the workers that serve now.
    pub fn next(&mut self, servers: &[Server<'_>], most: Most, now: Instant) -> Step<J> {
        let Some((class, waiting)) = self.queue.next_class(now) else { return Step::Wait };
        self.meet(servers, now);
        let (candidates, next) = self.candidates(servers, (class, waiting), most);
        let best = match route::decide(&candidates, next, now) {
            Decision::Hand(index) => index,
            Decision::Hold(until) => return Step::Hold(until),
            Decision::Wait => return Step::Wait,
        };
        let items = candidates[best].items;
        // Nobody's deadline is risked for a try.
        let in_time = |job: &J, Try { takes, .. }: &Try| {
            job.deadline().saturating_duration_since(now) >= takes.saturating_mul(PATIENCE)
        };
        let tried = if most.fixed { None } else { self.explore(servers, &candidates, (class, best)) };
        let tried = tried.filter(|tried| self.queue.front().is_some_and(|job| in_time(job, tried)));
        let items = tried.map_or(items, |tried| tried.items);
        let batch = self.queue.cut(Bounds { items, bytes: most.bytes }, now);
        let tried = tried.filter(|tried| batch.iter().all(|job| in_time(job, tried)));
        let index = tried.map_or(best, |tried| tried.index);
        if tried.is_some() {
            self.explorer.tries();
        }
        if batch.len() == self.pays(&servers[index], class, most) {
            self.kinds.learn(&servers[index], now).cut_full(class);
        }
        self.explorer.passed += batch.len() as u64;
        self.class = Some(class);
        self.batches += 1;
        let ticket = Ticket { number: self.batches, shape: (class, batch.len()), tries: tried.is_some() };
        Step::Hand(index, batch, ticket)
    }

    /// Knows these workers from now on.
    pub(super) fn meet(&mut self, servers: &[Server<'_>], now: Instant) {
        for server in servers {
            if !self.hands.contains_key(server.id) {
                self.hands.insert(server.id.to_owned(), Hand::new(server.kind(), now));
            }
        }
    }

    /// Items of a class that pay on a worker.
    pub(super) fn pays(&self, server: &Server<'_>, class: u8, most: Most) -> usize {
        let items = most.items(class);
        if most.fixed {
            return items;
        }
        self.kinds.of(server).map_or_else(|| Learned::first(items), |learned| learned.pays(class, items))
    }

    /// Time that a worker should take for a batch; `None` where nothing is known of its kind.
    pub(super) fn takes(&self, server: &Server<'_>, shape: (u8, usize)) -> Option<Duration> {
        let learned = self.kinds.of(server)?;
        let expected = learned.predict(shape.0, shape.1)?;
        Some(self.hands.get(server.id)?.takes(shape, expected, learned.cold()))
    }

    /// What each worker could get of so many items of a class that wait.
    pub(super) fn candidates(
        &self,
        servers: &[Server<'_>],
        (class, waiting): (u8, usize),
        most: Most,
    ) -> (Vec<Candidate<'_>>, Next) {
        let whole = servers.iter().filter_map(|server| {
            let items = self.pays(server, class, most);
            let (hand, expected) = (self.hands.get(server.id)?, self.takes(server, (class, items)));
            Some(Candidate { hand, items, full: waiting >= items, expected })
        });
        let mut candidates: Vec<_> = whole.collect();
        // Several workers that are idle share what waits, save those that are much slower than another.
        let fastest = candidates.iter().filter_map(Candidate::rate).fold(0.0, f64::max);
        let shares =
            |worker: &&Candidate<'_>| worker.hand.is_idle() && worker.rate().is_none_or(|rate| rate * 2.0 >= fastest);
        let sharers = if most.fixed { 1 } else { candidates.iter().filter(shares).count().max(1) };
        let share = waiting.div_ceil(sharers);
        let items = candidates.iter().map(|worker| worker.items).max().unwrap_or(1).min(share);
        for (worker, server) in candidates.iter_mut().zip(servers) {
            if worker.items > share {
                worker.items = share;
                worker.expected = self.takes(server, (class, share));
            }
        }
        (candidates, Next { waiting, items, hold: most.delay })
    }

    /// Which worker is tried instead of the best one, if one is.
    fn explore(&self, servers: &[Server<'_>], candidates: &[Candidate<'_>], (class, best): (u8, usize)) -> Option<Try> {
        let learned = |index: usize| self.kinds.of(&servers[index]);
        let fastest = candidates[best].rate();
        let idle = candidates.iter().enumerate().filter(|(index, other)| *index != best && other.hand.is_idle());
        let idle = idle.map(|(index, other)| Idle {
            index,
            same_kind: other.hand.kind == candidates[best].hand.kind,
            kind_tried: learned(index).and_then(|learned| learned.tried(class)),
            tried: other.hand.standing().tried,
            slower: fastest.zip(other.rate()).map_or(1.0, |(fastest, rate)| fastest.min(1.0 / LITTLE) / rate),
        });
        let index = self.explorer.pick(idle)?;
        // A shape that it has not run is tried as it is, any other one by the smallest batch.
        let items = candidates[index].items;
        let known = learned(index).is_some_and(|learned| learned.measured(class, items).is_some());
        let items = if known { 1 } else { items };
        Some(Try { index, items, takes: self.takes(&servers[index], (class, items)).unwrap_or_default() })
    }

    /// A batch goes to a worker. Returns when that should be through with it, where that is known: a shape that is new to
    /// the worker may take any time.
    pub fn hand(&mut self, server: Server<'_>, ticket: Ticket, now: Instant) -> Option<Duration> {
        let expected = self.takes(&server, ticket.shape);
        let passed = self.explorer.passed;
        self.kinds.learn(&server, now).try_at(ticket.shape.0, Some(passed));
        let hand = self.hands.get_mut(server.id)?;
        hand.hand(ticket, expected, (passed, now));
        hand.through(now)
    }

    /// A worker is gone, as a batch of it tells. Returns whether it was running that batch.
    pub fn lose(&mut self, server: Server<'_>, ticket: Ticket) -> bool {
        let Some(hand) = self.hands.get_mut(server.id) else { return false };
        let running = hand.runs(ticket.number);
        if running {
            hand.lose();
        }
        running
    }

    /// A worker has ended a batch, and what that took counts.
    pub fn end(&mut self, server: Server<'_>, ticket: Ticket, counts: Counts, now: Instant) {
        let alone = self.hands.values().filter(|hand| hand.kind.has(&server)).nth(1).is_none();
        let Some(hand) = self.hands.get_mut(server.id) else { return };
        let Some(ended) = hand.end(ticket.number, now) else { return };
        let learned = self.kinds.learn(&server, now);
        let believed = learned.predict(ticket.shape.0, ticket.shape.1);
        match counts {
            Counts::Whole => {}
            Counts::AtLeast if believed.is_some_and(|believed| ended.took > believed) => {}
            Counts::AtLeast | Counts::Not => return,
        }
        if ended.warm {
            let of_kind = hand.judge(ended.took, believed, ticket.tries, alone);
            learned.record(ticket.shape, of_kind, ticket.tries, now);
        } else {
            learned.record_cold(ticket.shape, ended.took, ticket.tries, now);
        }
    }

    /// When a batch that a worker has is late; `None` where that is not known.
    pub fn late(&self, server: Server<'_>, ticket: Ticket) -> Option<Instant> {
        let learned = self.kinds.of(&server)?;
        self.hands.get(server.id)?.late(ticket.number, |(class, items)| learned.late(class, items))
    }

    /// Whether a worker has nothing to do, and how long it should take for a batch.
    pub fn could(&self, server: Server<'_>, ticket: Ticket) -> (bool, Option<Duration>) {
        let is_idle = self.hands.get(server.id).is_some_and(Hand::is_idle);
        (is_idle, self.takes(&server, ticket.shape))
    }

    /// The ticket for a second run of a batch.
    pub fn again(&mut self, ticket: Ticket) -> Ticket {
        self.batches += 1;
        Ticket { number: self.batches, tries: false, ..ticket }
    }

    /// Takes over what was learned before of a kind of worker.
    pub fn seed(&mut self, kind: Kind, cost: Cost, now: Instant) {
        self.seeded = true;
        self.kinds.seed(kind, cost, now);
    }

    /// What was learned, by kind of worker.
    pub fn costs(&self, now: Instant) -> impl Iterator<Item = (&Kind, Cost)> {
        self.kinds.costs(now)
    }

    /// Forgets the workers that neither serve nor have anything in hand.
    pub fn forget(&mut self, serves: impl Fn(&str) -> bool) {
        self.hands.retain(|id, hand| serves(id) || !hand.is_idle());
    }

    /// Whether nothing of it is worth keeping once the model is not loaded any more.
    pub fn is_empty(&self) -> bool {
        self.queue.len() == 0 && self.hands.is_empty() && !(self.seeded && self.batches == 0)
    }

    /// How fast the model runs: all its workers together, and the fastest of them each batch.
    pub fn pace(&self, servers: &[Server<'_>], most: Most) -> Pace {
        let replicas = u32::try_from(servers.len()).unwrap_or(u32::MAX);
        let known: Vec<_> = servers.iter().filter_map(|server| self.kinds.of(server)).collect();
        let paces: Vec<_> = known.iter().map(|learned| learned.unit_us()).filter(|unit_us| *unit_us > 0.0).collect();
        if paces.is_empty() {
            return Pace { replicas, ..Pace::default() };
        }
        let unit_us = paces.len() as f64 / paces.iter().map(|unit_us| 1.0 / unit_us).sum::<f64>();
        let batch_us = |class| {
            let of = |learned: &&Learned| {
                let pays = learned.pays(class, most.items(class));
                learned.item_us(class, pays).map(|item_us| item_us * pays as f64)
            };
            known.iter().filter_map(of).min_by(f64::total_cmp).unwrap_or(0.0)
        };
        Pace { replicas, unit_us, batch_us: (0..CLASSES as u8).map(batch_us).collect() }
    }
}

impl Most {
    /// Most items of a class.
    fn items(&self, class: u8) -> usize {
        let padded = self.tokens.map_or(usize::MAX, |tokens| (tokens / Size::longest(class)) as usize);
        self.items.min(padded).max(1)
    }
}

#[cfg(test)]
mod tests;
