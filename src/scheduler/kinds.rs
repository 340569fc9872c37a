//! Kinds: what runs a model's batches, as far as their time goes; and what was learned of each. Pure.

use std::time::Instant;

use super::learn::{Cost, Learned};
use crate::execution::Backend;

/// Kinds of which something is kept for one model. A pool has fewer; of more, what ran longest ago is forgotten.
const MOST: usize = 32;

/// A worker with a replica of the model that serves.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// Id of the worker.
    pub id: &'a str,
    /// Product name of its browser.
    pub browser: &'a str,
    /// What its replica runs on.
    pub backend: Backend,
    /// In which precision.
    pub dtype: &'a str,
}

/// What workers have in common whose batches take alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Product name of the browser.
    pub browser: String,
    /// What the replica runs on.
    pub backend: Backend,
    /// In which precision, as transformers.js calls it.
    pub dtype: String,
}

impl Kind {
    /// Whether a worker is of it.
    pub fn has(&self, server: &Server<'_>) -> bool {
        self.backend == server.backend && self.browser == server.browser && self.dtype == server.dtype
    }
}

impl Server<'_> {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        Kind { browser: self.browser.to_owned(), backend: self.backend, dtype: self.dtype.to_owned() }
    }
}

/// What was learned of a model, by kind.
#[derive(Debug, Default)]
pub struct Kinds {
    all: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    kind: Kind,
    learned: Learned,
    /// When something of it came in last.
    used: Instant,
}

impl Kinds {
    /// What is known of a worker's kind.
    pub fn of(&self, server: &Server<'_>) -> Option<&Learned> {
        self.all.iter().find(|known| known.kind.has(server)).map(|known| &known.learned)
    }

    /// The same, to learn more.
    pub fn learn(&mut self, server: &Server<'_>, now: Instant) -> &mut Learned {
        let index = self.all.iter().position(|known| known.kind.has(server));
        self.at(index, || server.kind(), now)
    }

    /// Takes a cost over that was learned before.
    pub fn seed(&mut self, kind: Kind, cost: Cost, now: Instant) {
        let index = self.all.iter().position(|known| known.kind == kind);
        self.at(index, || kind, now).seed(cost, now);
    }

    /// All that is known.
    pub fn costs(&self, now: Instant) -> impl Iterator<Item = (&Kind, Cost)> {
        self.all.iter().flat_map(move |known| known.learned.costs(now).map(|cost| (&known.kind, cost)))
    }

    fn at(&mut self, index: Option<usize>, kind: impl FnOnce() -> Kind, now: Instant) -> &mut Learned {
        let index = index.unwrap_or_else(|| {
            if self.all.len() == MOST
                && let Some((oldest, _)) = self.all.iter().enumerate().min_by_key(|(_, known)| known.used)
            {
                self.all.swap_remove(oldest);
            }
            self.all.push(Known { kind: kind(), learned: Learned::default(), used: now });
            self.all.len() - 1
        });
        let known = &mut self.all[index];
        known.used = now;
        &mut known.learned
    }
}
