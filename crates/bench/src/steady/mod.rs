//! Steady: when a cell is warm, found from how long its requests take and not from a number of them. Pure.
//!
//! The first runs of a model compile shaders, fill caches and grow memory. How many they are depends on the model, the
//! backend and the browser. So the series of times itself says where its beginning ends (`mser`), and whether what follows
//! still moves (`trend`). Barrett and others, "Virtual Machine Warmup Blows Hot and Cold" (2017), show why a fixed number
//! is wrong, and that some programs are never steady: those are measured all the same, and marked.

mod marks;
mod mser;
mod trend;
mod warmup;

pub use marks::{Mark, marks};
pub use mser::truncation;
pub use trend::Trend;
pub use warmup::Warmup;

#[cfg(test)]
mod tests;
