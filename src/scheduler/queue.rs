//! Queue: the jobs of one model that wait, in fair order, apart by length; and how batches are cut from them. Pure.
//!
//! The order is start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queueing", 1996). Each flow, that is the
//! jobs of one client in one priority, has a virtual clock that its jobs move on by their cost divided by the
//! priority's weight. The job with the smallest start time is next: clients share by what they cost, whatever they send,
//! and no flow waits for ever.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    time::Instant,
};

use crate::{
    job::{Job, Key},
    ledger::{Client, Priority},
    size::Size,
};

/// What the queue has to know of a job.
pub trait Waiting {
    /// Whose jobs these are.
    type Flow: Clone + Eq + Hash;
    /// What identical jobs have in common.
    type Key: Clone + Eq + Hash;

    /// After this nobody waits for it.
    fn deadline(&self) -> Instant;
    /// Whether nobody waits for it any more.
    fn is_dead(&self, now: Instant) -> bool;
    /// Its flow.
    fn flow(&self) -> Self::Flow;
    /// The flow's share, relative to the others'.
    fn weight(&self) -> u64;
    /// What it costs.
    fn size(&self) -> Size;
    /// Whether it is to run in a batch of its own.
    fn is_alone(&self) -> bool;
    /// The key of its kind; `None` where it shares a run with nobody.
    fn key(&self) -> Option<&Self::Key>;
}

impl Waiting for Job {
    type Flow = (Client, Priority);
    type Key = Key;

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_dead(&self, now: Instant) -> bool {
        self.is_dead(now)
    }

    fn flow(&self) -> Self::Flow {
        let account = self.permit.account();
        (account.client.clone(), account.priority)
    }

    fn weight(&self) -> u64 {
        self.permit.account().priority.weight()
    }

    fn size(&self) -> Size {
        self.size
    }

    fn is_alone(&self) -> bool {
        self.alone
    }

    fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

/// The weights divide this, so that small jobs move a heavy flow's clock too.
const SCALE: u64 = 64;

/// Place in the order: virtual start time, then arrival.
type Place = (u64, u64);

/// The bounds of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Items.
    pub items: usize,
    /// Bytes of inputs; one item may have more.
    pub bytes: usize,
}

/// The jobs of one model that wait.
pub struct Queue<J: Waiting> {
    /// By length class, since a batch is padded to its longest item.
    classes: BTreeMap<u8, BTreeMap<Place, J>>,
    /// Virtual finish time of the last job of each flow. Those that the clock has passed say nothing.
    flows: HashMap<J::Flow, u64>,
    /// Where the jobs of each key are: all in one class, since they are identical.
    same: HashMap<J::Key, (u8, BTreeSet<Place>)>,
    /// Virtual start time of what was cut last.
    clock: u64,
    /// Arrivals so far.
    arrivals: u64,
    len: usize,
    /// Jobs that were found dead, for [`Queue::purge`] to hand out.
    dead: Vec<J>,
}

impl<J: Waiting> Default for Queue<J> {
    fn default() -> Self {
        Self {
            classes: BTreeMap::new(),
            flows: HashMap::new(),
            same: HashMap::new(),
            clock: 0,
            arrivals: 0,
            len: 0,
            dead: Vec::new(),
        }
    }
}

impl<J: Waiting> Queue<J> {
    /// Takes a job in.
    pub fn push(&mut self, job: J) {
        let finish = self.flows.entry(job.flow()).or_insert(0);
        let start = self.clock.max(*finish);
        *finish = start + job.size().cost() * SCALE / job.weight();
        self.insert(start, job);
    }

    /// Takes a job of a lost batch in again, before all that have not run yet.
    pub fn push_again(&mut self, job: J) {
        self.insert(0, job);
    }

    fn insert(&mut self, start: u64, job: J) {
        self.arrivals += 1;
        self.len += 1;
        let (class, place) = (job.size().class(), (start, self.arrivals));
        if let Some(key) = job.key() {
            self.same.entry(key.clone()).or_insert_with(|| (class, BTreeSet::new())).1.insert(place);
        }
        self.classes.entry(class).or_default().insert(place, job);
    }

    /// Place and length class of the job that is next, which may be dead.
    fn first(&self) -> Option<(Place, u8)> {
        let first = |(class, jobs): (&u8, &BTreeMap<Place, J>)| Some((*jobs.first_key_value()?.0, *class));
        self.classes.iter().filter_map(first).min()
    }

    /// That job.
    pub fn front(&self) -> Option<&J> {
        let (place, class) = self.first()?;
        self.classes.get(&class)?.get(&place)
    }

    /// The length class of the living job that is next, and how many wait in it.
    pub fn next_class(&mut self, now: Instant) -> Option<(u8, usize)> {
        loop {
            let (place, class) = self.first()?;
            let jobs = self.classes.get(&class)?;
            if !jobs.get(&place)?.is_dead(now) {
                return Some((class, jobs.len()));
            }
            let dead = self.take(class, place);
            self.dead.extend(dead);
        }
    }

    /// Cuts a batch off the front: the next job, and those after it that are as long, none of them identical to another.
    pub fn cut(&mut self, bounds: Bounds, now: Instant) -> Vec<J> {
        let Some((class, _)) = self.next_class(now) else { return Vec::new() };
        let (mut living, mut keys, mut bytes) = (Vec::new(), HashSet::new(), 0);
        for (place, job) in self.classes.get(&class).into_iter().flatten() {
            if living.len() >= bounds.items {
                break;
            }
            let first = living.is_empty();
            let identical = job.key().is_some_and(|key| !keys.insert(key));
            if job.is_dead(now) || !first && job.is_alone() || identical {
                continue;
            }
            bytes += job.size().bytes;
            if !first && bytes > bounds.bytes {
                break;
            }
            living.push(*place);
            if job.is_alone() {
                break;
            }
        }
        self.clock = self.clock.max(living.first().map_or(0, |(start, _)| *start));
        let batch = living.into_iter().filter_map(|place| self.take(class, place)).collect();
        self.forget_flows();
        batch
    }

    fn take(&mut self, class: u8, place: Place) -> Option<J> {
        let jobs = self.classes.get_mut(&class)?;
        let job = jobs.remove(&place)?;
        if jobs.is_empty() {
            self.classes.remove(&class);
        }
        self.len -= 1;
        forget(&mut self.same, &job, place);
        Some(job)
    }

    /// Takes out all jobs of a key.
    pub fn take_same(&mut self, key: &J::Key) -> Vec<J> {
        let Some((class, places)) = self.same.remove(key) else { return Vec::new() };
        places.into_iter().filter_map(|place| self.take(class, place)).collect()
    }

    /// Takes out all dead jobs, and those that were met on the way since the last call.
    pub fn purge(&mut self, now: Instant) -> Vec<J> {
        let mut dead = std::mem::take(&mut self.dead);
        let met = dead.len();
        self.classes.retain(|_, jobs| {
            dead.extend(jobs.extract_if(.., |_, job| job.is_dead(now)).map(|(place, job)| {
                forget(&mut self.same, &job, place);
                job
            }));
            !jobs.is_empty()
        });
        self.len -= dead.len() - met;
        self.forget_flows();
        dead
    }

    /// Keeps the flows not many more than the jobs. One whose clock is behind is as good as new. Where clients come under
    /// ever new names, all are forgotten: that costs the others a moment's fairness.
    fn forget_flows(&mut self) {
        if self.len == 0 {
            self.flows.clear();
            self.clock = 0;
        } else if self.flows.len() > 2 * self.len + 64 {
            self.flows.retain(|_, finish| *finish > self.clock);
            if self.flows.len() > 2 * self.len + 64 {
                self.flows.clear();
            }
        }
    }

    /// Takes out all jobs.
    pub fn drain(&mut self) -> impl Iterator<Item = J> {
        let Self { classes, dead, .. } = std::mem::take(self);
        classes.into_values().flat_map(BTreeMap::into_values).chain(dead)
    }

    /// Those that wait, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &J> {
        self.classes.values().flat_map(BTreeMap::values)
    }

    /// How many wait, dead ones counted that were not met yet.
    pub fn len(&self) -> usize {
        self.len
    }
}

/// A job is no more at its place.
fn forget<J: Waiting>(same: &mut HashMap<J::Key, (u8, BTreeSet<Place>)>, job: &J, place: Place) {
    if let Some(key) = job.key()
        && let Some((_, places)) = same.get_mut(key)
    {
        places.remove(&place);
        if places.is_empty() {
            same.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
