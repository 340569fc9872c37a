//! Costs: what a model takes on each backend of each kind of browser, as measured. Pure.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::execution::Backend;

/// What was measured before that says little of now: browsers, drivers and machines change.
const STALE: Duration = Duration::from_secs(7 * 86_400);

/// What runs of one shape cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shot {
    /// Length class.
    pub class: u8,
    /// Items of a run.
    pub items: u32,
    /// Microseconds for each item.
    pub micros: f64,
    /// Runs that it is the middle of.
    pub runs: u32,
}

/// What runs of one shape cost on workers of one kind, as it goes from the pool to what serves, and back.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Id of the model.
    pub model: Arc<str>,
    /// Product name of the browser.
    pub browser: String,
    /// Backend.
    pub backend: Backend,
    /// Precision, as transformers.js calls it.
    pub dtype: String,
    /// The cost.
    pub shot: Shot,
    /// Time since it was measured.
    pub age: Duration,
}

/// A shape's cost, and when it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub shot: Shot,
    /// When.
    pub at: SystemTime,
}

/// The costs of one model, by kind of browser, backend and shape.
#[derive(Clone, Debug, Default)]
pub struct Costs(BTreeMap<(String, Backend), BTreeMap<(u8, u32), Measured>>);

impl Costs {
    /// Takes in what was measured.
    pub fn note(&mut self, browser: &str, backend: Backend, shot: Shot, at: SystemTime) {
        let shapes = self.0.entry((browser.to_owned(), backend)).or_default();
        shapes.insert((shot.class, shot.items), Measured { shot, at });
    }

    /// What is known of a backend of a kind of browser, and not stale.
    pub fn of(&self, browser: &str, backend: Backend, now: SystemTime) -> Vec<Measured> {
        let shapes = self.0.get(&(browser.to_owned(), backend)).into_iter().flat_map(BTreeMap::values);
        let is_fresh = |measured: &&Measured| now.duration_since(measured.at).is_ok_and(|age| age < STALE);
        shapes.filter(is_fresh).copied().collect()
    }

    /// How many times as long one takes as the other: the geometric mean over the shapes that are known of both. `None`
    /// where there are none.
    pub fn ratio(&self, one: (&str, Backend), other: (&str, Backend), now: SystemTime) -> Option<f64> {
        let (ones, others) = (self.of(one.0, one.1, now), self.of(other.0, other.1, now));
        let mut logs = Vec::new();
        for Measured { shot: one, .. } in &ones {
            let same = others.iter().find(|other| (other.shot.class, other.shot.items) == (one.class, one.items));
            logs.extend(same.map(|other| (one.micros.max(1.0) / other.shot.micros.max(1.0)).ln()));
        }
        (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::{Costs, Shot};
    use crate::execution::Backend::{Wasm, WebGpu};

    fn shot(items: u32, micros: f64) -> Shot {
        Shot { class: 8, items, micros, runs: 3 }
    }

    proptest! {
        #[test]
        fn what_is_so_many_times_slower_is_so_many_times_slower(
            shapes in proptest::collection::vec((1u32..64, 1.0f64..1e6), 1..6),
            times in 0.01f64..100.0,
        ) {
            let now = SystemTime::now();
            let mut costs = Costs::default();
            for (items, micros) in shapes {
                costs.note("a", Wasm, shot(items, micros * 100.0), now);
                costs.note("a", WebGpu, shot(items, micros * 100.0 * times), now);
            }
            let ratio = costs.ratio(("a", WebGpu), ("a", Wasm), now).unwrap();
            prop_assert!((ratio / times - 1.0).abs() < 0.01, "{ratio} {times}");
            let inverse = costs.ratio(("a", Wasm), ("a", WebGpu), now).unwrap();
            prop_assert!((ratio * inverse - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn only_what_both_have_run_lately_is_compared() {
        let now = SystemTime::now();
        let mut costs = Costs::default();
        costs.note("a", Wasm, shot(1, 10.0), now);
        assert_eq!(costs.ratio(("a", Wasm), ("a", WebGpu), now), None);
        costs.note("a", WebGpu, shot(8, 10.0), now);
        assert_eq!(costs.ratio(("a", Wasm), ("a", WebGpu), now), None);
        costs.note("a", WebGpu, shot(1, 30.0), now);
        assert_eq!(costs.ratio(("b", Wasm), ("a", WebGpu), now), None);
        assert!((costs.ratio(("a", WebGpu), ("a", Wasm), now).unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(costs.ratio(("a", WebGpu), ("a", Wasm), now + Duration::from_secs(8 * 86_400)), None);
    }
}
