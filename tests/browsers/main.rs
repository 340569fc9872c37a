//! The whole of it on real browsers. What takes long, or harms many of them, is in `chaos` and `endurance`, and is run by name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;

mod chaos;
mod chromium;
#[cfg(target_os = "linux")]
mod drivers;
mod endurance;
mod engines;
mod probes;
mod quantise;
mod recording;
mod tasks;
mod wrong;
