//! Lane: one model's queue and workers, and what was learned of them; says which batch goes next, and where. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    learn::Learned,
    queue::{Bounds, Queue, Waiting},
    route::{self, Decision, Ended, Hand, Next},
};
use crate::{
    execution::Backend,
    ledger::Pace,
    size::{CLASSES, Size},
};

/// A worker with a replica of the model that serves.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// Id of the worker.
    pub id: &'a str,
    /// What its replica runs on.
    pub backend: Backend,
}

/// The bounds of the model's batches.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Items.
    pub items: usize,
    /// Tokens, padding counted; `None` where items are not padded to one length.
    pub tokens: Option<u32>,
    /// Bytes of inputs.
    pub bytes: usize,
    /// Time that a batch is held back for more items while all workers are busy.
    pub delay: Duration,
}

/// A batch that a worker has: its number, length class, and items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Unique in the lane.
    pub number: u64,
    /// Length class, and items.
    pub shape: (u8, usize),
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

/// One model.
pub struct Lane<J: Waiting> {
    /// What waits.
    pub queue: Queue<J>,
    /// How much of it was told of last.
    pub shown: usize,
    learned: HashMap<Backend, Learned>,
    hands: HashMap<String, Hand>,
    batches: u64,
}

impl<J: Waiting> Default for Lane<J> {
    fn default() -> Self {
        Self { queue: Queue::default(), shown: 0, learned: HashMap::new(), hands: HashMap::new(), batches: 0 }
    }
}

impl<J: Waiting> Lane<J> {
    /// What to do next with the workers that serve now.
    pub fn next(&mut self, servers: &[Server<'_>], most: Most, now: Instant) -> Step<J> {
        let Some((class, waiting)) = self.queue.next_class(now) else { return Step::Wait };
        for server in servers {
            if !self.hands.contains_key(server.id) {
                self.hands.insert(server.id.to_owned(), Hand::new(now));
            }
        }
        let hands: Vec<_> = servers.iter().filter_map(|server| self.hands.get(server.id)).collect();
        // All replicas of a model run on one backend, save while one falls back; the first then speaks for all.
        let Some(backend) = servers.first().map(|server| server.backend) else { return Step::Wait };
        let learned = self.learned.entry(backend).or_default();
        // Several workers that are idle share what waits.
        let idle = hands.iter().filter(|hand| hand.is_idle()).count().max(1);
        let pays = learned.pays(class, most.items(class));
        let items = pays.min(waiting.div_ceil(idle));
        let shape = (class, items);
        let next = Next {
            shape,
            full: waiting >= pays,
            expected: learned.predict(class, shape.1),
            cold: learned.cold(),
            hold: most.delay,
        };
        let index = match route::decide(&hands, next, now) {
            Decision::Hand(index) => index,
            Decision::Hold(until) => return Step::Hold(until),
            Decision::Wait => return Step::Wait,
        };
        let batch = self.queue.cut(Bounds { items, bytes: most.bytes }, now);
        if batch.len() == pays {
            learned.cut_full(class);
        }
        self.batches += 1;
        let ticket = Ticket { number: self.batches, shape: (class, batch.len()) };
        Step::Hand(index, batch, ticket)
    }

    /// A batch goes to a worker. Returns when that should be through with it, where that is known: a shape that is new to
    /// the worker may take any time.
    pub fn hand(&mut self, server: Server<'_>, ticket: Ticket, now: Instant) -> Option<Duration> {
        let expected =
            self.learned.get(&server.backend).and_then(|learned| learned.predict(ticket.shape.0, ticket.shape.1));
        let hand = self.hands.get_mut(server.id)?;
        hand.hand(ticket.number, ticket.shape, expected, now);
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

    /// A worker has ended a batch; what it took counts where it `ran` to its end.
    pub fn end(&mut self, server: Server<'_>, ticket: Ticket, ran: bool, now: Instant) {
        let Some(Ended { took, warm }) = self.hands.get_mut(server.id).and_then(|hand| hand.end(ticket.number, now))
        else {
            return;
        };
        let learned = self.learned.entry(server.backend).or_default();
        match (ran, warm) {
            (true, true) => learned.record(ticket.shape.0, ticket.shape.1, took),
            (true, false) => learned.record_cold(ticket.shape.0, ticket.shape.1, took),
            (false, _) => {}
        }
    }

    /// Forgets the workers that neither serve nor have anything in hand.
    pub fn forget(&mut self, serves: impl Fn(&str) -> bool) {
        self.hands.retain(|id, hand| serves(id) || !hand.is_idle());
    }

    /// Whether nothing of it is worth keeping once the model is not loaded any more.
    pub fn is_empty(&self) -> bool {
        self.queue.len() == 0 && self.hands.is_empty()
    }

    /// How fast the model runs.
    pub fn pace(&self, servers: &[Server<'_>], most: Most) -> Pace {
        let replicas = u32::try_from(servers.len()).unwrap_or(u32::MAX);
        let learned = servers.first().and_then(|server| self.learned.get(&server.backend));
        let Some(learned) = learned else { return Pace { replicas, ..Pace::default() } };
        let batch_us = |class| {
            let pays = learned.pays(class, most.items(class));
            learned.item_us(class, pays).unwrap_or(0.0) * pays as f64
        };
        Pace { replicas, unit_us: learned.unit_us(), batch_us: (0..CLASSES as u8).map(batch_us).collect() }
    }
}

impl Most {
    /// Most items of a class.
    fn items(&self, class: u8) -> usize {
        let padded = self.tokens.map_or(usize::MAX, |tokens| (tokens / Size::longest(class)) as usize);
        self.items.min(padded).max(1)
    }
}
