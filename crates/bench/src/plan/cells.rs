//! Cells: the matrix of a plan, in order, with what of it cannot be.

use serde::{Deserialize, Serialize};

use super::{Plan, Precision};

/// The one backend that has threads of its own.
const THREADED: &str = "wasm";

/// One combination: what is measured in one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Id of the model.
    pub model: String,
    /// Kind of browser; empty for the service's own.
    pub browser: String,
    /// Backend that is asked for.
    pub backend: String,
    /// Precision that is asked for.
    pub precision: Precision,
    /// Items of a request.
    pub batch: u32,
    /// Requests in flight.
    pub concurrency: u32,
    /// WebAssembly threads; 0 for the service's choice, and where the backend has none.
    pub threads: u32,
    /// Workers that have the model.
    pub workers: u32,
}

/// A cell, and why it is not measured where it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub cell: Cell,
    /// Why it cannot be measured, or need not be.
    pub skipped: Option<String>,
}

impl Cell {
    /// The same for the same cell in any run: all of its fields, quoted where they need it.
    pub fn key(&self) -> String {
        let Self { model, browser, backend, precision, batch, concurrency, threads, workers } = self;
        let texts = [model, browser, backend, &precision.to_string()].map(|text| format!("{text:?}")).join(" ");
        format!("{texts} batch={batch} concurrency={concurrency} threads={threads} workers={workers}")
    }
}

impl Plan {
    /// The matrix, the first list outermost. Each combination is there, also where it cannot be measured.
    ///
    /// The plan should be [checked](Plan::check): its size is not bounded here.
    pub fn cells(&self) -> Vec<Planned> {
        let own = [String::new()];
        let browsers = if self.browsers.is_empty() { &own[..] } else { &self.browsers };
        let mut cells = Vec::new();
        for model in &self.models {
            for browser in browsers {
                for backend in &self.backends {
                    for precision in &self.precisions {
                        let numbers = self.numbers();
                        cells.extend(numbers.flat_map(|[batch, concurrency, threads, workers]| {
                            let (model, browser, backend) = (model.clone(), browser.clone(), backend.clone());
                            let precision = precision.clone();
                            let cell =
                                Cell { model, browser, backend, precision, batch, concurrency, threads, workers };
                            vec![self.plan(cell); self.repeats as usize]
                        }));
                    }
                }
            }
        }
        cells
    }

    /// All combinations of batch, concurrency, threads and workers.
    fn numbers(&self) -> impl Iterator<Item = [u32; 4]> {
        let [batch, concurrency, threads, workers] =
            [&self.batch, &self.concurrency, &self.threads, &self.workers].map(|list| list.iter().copied());
        batch.flat_map(move |batch| {
            let (threads, workers) = (threads.clone(), workers.clone());
            concurrency.clone().flat_map(move |concurrency| {
                let workers = workers.clone();
                threads
                    .clone()
                    .flat_map(move |threads| workers.clone().map(move |workers| [batch, concurrency, threads, workers]))
            })
        })
    }

    /// A backend without threads is measured once, under the first number of threads, and without any.
    fn plan(&self, mut cell: Cell) -> Planned {
        let mut skipped = None;
        if cell.backend != THREADED {
            if self.threads.first() == Some(&cell.threads) {
                cell.threads = 0;
            } else {
                skipped = Some(format!("{} has no threads of its own, and is measured once", cell.backend));
            }
        }
        Planned { cell, skipped }
    }
}
