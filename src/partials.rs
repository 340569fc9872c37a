//! Partials: what the items of a request have come to, until its caller is told. Nothing gets lost where the caller is
//! slow: what comes meanwhile is put together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::proto::v1::Partial;

/// Bytes of text, and stretches of speech, of one item that wait for a caller who does not read. No model makes so much
/// within a deadline.
const MOST_BYTES: usize = 4 * 1024 * 1024;
const MOST_CHUNKS: usize = 64 * 1024;

/// The items of one request. Clones share them.
#[derive(Clone, Debug)]
pub struct Partials(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    items: Mutex<Vec<Item>>,
    changed: Notify,
}

/// What one item has come to.
#[derive(Clone, Debug, Default)]
struct Item {
    /// What its caller has not been told.
    untold: Option<Partial>,
    /// Whether its caller, or `untold`, has something of the run that goes on.
    begun: bool,
}

impl Partials {
    /// Of so many items.
    pub fn new(items: usize) -> Self {
        Self(Arc::new(Shared { items: Mutex::new(vec![Item::default(); items]), changed: Notify::new() }))
    }

    /// The one that tells of an item.
    pub fn of(&self, index: usize) -> Teller {
        Teller { partials: self.clone(), index }
    }

    /// The next thing to tell. It never ends: its caller knows when the answer is there.
    pub async fn next(&self) -> Partial {
        loop {
            // The notification keeps one permit, so what comes between look and wait is not missed.
            match self.take() {
                Some(partial) => return partial,
                None => self.0.changed.notified().await,
            }
        }
    }

    /// What is left to tell.
    pub fn take(&self) -> Option<Partial> {
        self.items().iter_mut().find_map(|item| item.untold.take())
    }

    fn items(&self) -> MutexGuard<'_, Vec<Item>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells of one item.
#[derive(Clone, Debug)]
pub struct Teller {
    partials: Partials,
    index: usize,
}

impl Teller {
    /// A run of the item begins. What an earlier one came to does not count any more.
    pub fn begin(&self) {
        self.change(|item, index| {
            if std::mem::take(&mut item.begun) {
                item.untold = Some(Partial { item: index, restarted: true, ..Partial::default() });
            }
        });
    }

    /// The item has come to this since the last step. Returns whether that can be.
    #[must_use]
    pub fn step(&self, step: Partial) -> bool {
        let mut fits = false;
        self.change(|item, index| {
            item.begun = true;
            let untold = item.untold.get_or_insert_with(|| Partial { item: index, ..Partial::default() });
            fits = untold.text.len() + step.text.len() <= MOST_BYTES
                && untold.chunks.len() + step.chunks.len() <= MOST_CHUNKS;
            if fits {
                untold.text += &step.text;
                untold.chunks.extend(step.chunks);
            }
        });
        fits
    }

    fn change(&self, change: impl FnOnce(&mut Item, u32)) {
        let index = u32::try_from(self.index).unwrap_or(u32::MAX);
        if let Some(item) = self.partials.items().get_mut(self.index) {
            change(item, index);
        }
        self.partials.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Partial, Partials};

    #[derive(Clone, Debug)]
    enum Event {
        Begin,
        Step(String),
        Read,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![1 => Just(Event::Begin), 6 => "[a-z]{0,3}".prop_map(Event::Step), 3 => Just(Event::Read)]
    }

    proptest! {
        /// Whenever its caller reads, it has what the run that goes on has come to: no more, no less.
        #[test]
        fn the_caller_has_what_the_last_run_told(events in proptest::collection::vec(event(), 0..60)) {
            let partials = Partials::new(2);
            let teller = partials.of(1);
            let (mut told, mut heard) = (String::new(), String::new());
            for event in events.into_iter().chain([Event::Read]) {
                match event {
                    Event::Begin => {
                        told.clear();
                        teller.begin();
                    }
                    Event::Step(text) => {
                        told += &text;
                        let step = Partial { text, ..Partial::default() };
                        prop_assert!(teller.step(step));
                    }
                    Event::Read => {
                        while let Some(partial) = partials.take() {
                            prop_assert_eq!(partial.item, 1);
                            if partial.restarted {
                                heard.clear();
                            }
                            heard += &partial.text;
                        }
                        prop_assert_eq!(&heard, &told);
                    }
                }
            }
        }
    }
}
