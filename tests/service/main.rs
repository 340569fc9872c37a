//! The service over real sockets: browsers are fakes that speak the bridge's frames.
//!
//! Metrics are those of a process. What looks at them here asks for models of names of its own; `tests/metrics.rs` and
//! `tests/dashboards.rs` look at all of them, and have a process each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(all(target_os = "linux", feature = "hub"))]
#[path = "../../crates/store/tests/standin/mod.rs"]
mod standin;

mod answers;
mod backends;
mod bad_input;
mod benchmark;
mod bridge;
mod calls;
mod files;
mod limits;
mod live;
mod load;
#[cfg(all(target_os = "linux", feature = "otlp"))]
mod logs;
mod media;
mod overload;
mod placement;
mod precision;
mod profile;
#[cfg(all(target_os = "linux", feature = "hub"))]
mod pull;
mod recovery;
mod routing;
mod scheduling;
mod steps;
#[cfg(target_os = "linux")]
mod top;
#[cfg(feature = "otlp")]
mod traces;
mod web;
