//! Pending: the calls of one link that wait for their answer, by number. Pure.

use std::collections::HashMap;

/// Waiters by call number. Numbers start at 1 and are never used twice.
#[derive(Debug)]
pub struct Pending<W> {
    last: u64,
    waiting: HashMap<u64, W>,
    dead: bool,
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Self { last: 0, waiting: HashMap::new(), dead: false }
    }
}

impl<W> Pending<W> {
    /// Takes a waiter in and numbers its call; gives it back once the link is dead.
    pub fn insert(&mut self, waiter: W) -> Result<u64, W> {
        if self.dead {
            return Err(waiter);
        }
        self.last += 1;
        self.waiting.insert(self.last, waiter);
        Ok(self.last)
    }

    /// The waiter of an answered call. `None` for a number that nobody waits for: the peer breaks the protocol.
    pub fn answer(&mut self, call: u64) -> Option<W> {
        self.waiting.remove(&call)
    }

    /// The waiter of a call that is not answered yet.
    pub fn peek(&self, call: u64) -> Option<&W> {
        self.waiting.get(&call)
    }

    /// Whether no call waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Marks the link as dead and returns all waiters, to be failed.
    pub fn die(&mut self) -> Vec<W> {
        self.dead = true;
        self.waiting.drain().map(|(_, waiter)| waiter).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Pending;

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        Answer(u64),
        Die,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![8 => Just(Step::Insert), 8 => (0u64..40).prop_map(Step::Answer), 1 => Just(Step::Die)]
    }

    proptest! {
        /// Every waiter leaves exactly once: answered, failed by death, or refused after it.
        #[test]
        fn each_waiter_leaves_once(steps in proptest::collection::vec(step(), 0..100)) {
            let mut pending = Pending::default();
            let mut inside = BTreeSet::new();
            let mut made = 0;
            let mut dead = false;
            for step in steps {
                match step {
                    Step::Insert => {
                        made += 1;
                        match pending.insert(made) {
                            Ok(call) => prop_assert!(!dead && inside.insert((call, made))),
                            Err(waiter) => prop_assert!(dead && waiter == made),
                        }
                    }
                    Step::Answer(call) => {
                        let expected = inside.iter().find(|(number, _)| *number == call).copied();
                        prop_assert_eq!(pending.peek(call).copied(), expected.map(|(_, waiter)| waiter));
                        prop_assert_eq!(pending.answer(call), expected.map(|(_, waiter)| waiter));
                        if let Some(entry) = expected {
                            inside.remove(&entry);
                        }
                    }
                    Step::Die => {
                        let failed: BTreeSet<_> = pending.die().into_iter().collect();
                        prop_assert_eq!(failed, inside.iter().map(|(_, waiter)| *waiter).collect());
                        inside.clear();
                        dead = true;
                    }
                }
            }
        }
    }
}
