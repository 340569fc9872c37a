//! Groups: gauges of things whose labels come and go. Where nothing is left of a kind its gauge is 0.

use std::{collections::BTreeMap, sync::Arc};

use metrics::SharedString;

use super::{
    Metric,
    catalogue::{
        BREAKERS, BROWSER_HEAP, BROWSER_MEMORY, BROWSERS, BROWSERS_WANTED, MODELS, REPLICAS, REPLICAS_WANTED, SPARES,
        WORKERS,
    },
    gauge, model_label,
};
use crate::execution::Runtime;

/// Gauges that show counts.
#[derive(Debug, Default)]
pub struct Groups {
    shown: Counts,
}

impl Groups {
    /// Shows these counts, and no others.
    pub fn show(&mut self, counts: Counts) {
        for gone in self.shown.0.keys().filter(|key| !counts.0.contains_key(*key)) {
            gone.set(0);
        }
        for (key, count) in counts.0.iter().filter(|(key, count)| self.shown.0.get(*key) != Some(count)) {
            key.set(*count);
        }
        self.shown = counts;
    }
}

/// How many there are of each kind of thing in the pool.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<Key, u64>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: &'static str,
    labels: Vec<SharedString>,
}

impl Key {
    fn set(&self, count: u64) {
        // The catalogue has it: the key was made of it.
        if let Some(metric) = super::ALL.iter().find(|metric| metric.name == self.name) {
            gauge(metric, self.labels.clone()).set(count as f64);
        }
    }
}

impl Counts {
    /// A browser, its state, and why it is not ready or not to stay.
    pub fn browser(&mut self, product: &str, state: &'static str, reason: &'static str) {
        self.add(&BROWSERS, [product.to_owned().into(), state.into(), reason.into()], 1);
    }

    /// The memory of a browser's process tree, and so much of it in JavaScript heaps; `place` counts from 0 to the number
    /// of browsers.
    pub fn memory(&mut self, place: usize, product: &str, bytes: u64, js_heap_bytes: u64) {
        let labels = || [place.to_string().into(), product.to_owned().into()];
        self.add(&BROWSER_MEMORY, labels(), bytes);
        self.add(&BROWSER_HEAP, labels(), js_heap_bytes);
    }

    /// Browsers that should serve, and those that are there to take over.
    pub fn duties(&mut self, wanted: usize, spares: usize) {
        self.add(&BROWSERS_WANTED, [], wanted as u64);
        self.add(&SPARES, [], spares as u64);
    }

    /// A worker with its state.
    pub fn worker(&mut self, model: &Arc<str>, state: &'static str) {
        self.add(&WORKERS, [model_label(model), state.into()], 1);
    }

    /// A replica that is loaded.
    pub fn replica(&mut self, runtime: &Runtime) {
        let (browser, dtype) = (runtime.browser.clone().into(), runtime.dtype.clone().into());
        let (backend, hardware) = (runtime.backend_used.name().into(), runtime.hardware.name().into());
        self.add(&REPLICAS, [model_label(&runtime.model), browser, backend, hardware, dtype], 1);
    }

    /// A model with its state, and the replicas that it should have.
    pub fn model(&mut self, model: &Arc<str>, state: &'static str, wanted: usize) {
        self.add(&MODELS, [model_label(model), state.into()], 1);
        self.add(&REPLICAS_WANTED, [model_label(model)], wanted as u64);
    }

    /// A breaker that is not closed.
    pub fn breaker(&mut self, browser: &str, backend: &'static str, model: &Arc<str>, state: &'static str) {
        self.add(&BREAKERS, [browser.to_owned().into(), backend.into(), model_label(model), state.into()], 1);
    }

    fn add<const LABELS: usize>(&mut self, metric: &Metric, labels: [SharedString; LABELS], count: u64) {
        *self.0.entry(Key { name: metric.name, labels: labels.into() }).or_default() += count;
    }
}
