//! The mind and the memory of `webinfer bench`: what is to be measured, when a measurement counts, what it means, and where
//! it is kept.
//!
//! Nothing here measures, and nothing knows the service: a runner asks [`Plan::cells`] what to do and [`Schedule`] in which
//! order, tells [`steady::Warmup`] how long batches take until it says that they are steady, and hands each [`Round`] to
//! [`History`] when it ends. All else is calculated from the rounds that are kept: no figure is kept beside them that could
//! be another one.

mod error;
#[cfg(test)]
mod fixtures;
pub mod history;
pub mod merge;
pub mod plan;
pub mod record;
pub mod regress;
pub mod report;
pub mod stats;
pub mod steady;

pub use error::BenchError;
pub use history::{History, Listed, Selector};
pub use plan::{Cell, Inputs, Known, Plan, Planned, Precision, Schedule, Turn};
pub use record::{
    Conditions, Hardware, Latencies, Machine, Reading, Recorder, Round, Row, RowState, Run, RunId, RunState,
};
pub use stats::{Comparison, Estimate, Rule, Summary};
pub use steady::{Mark, Warmup};
