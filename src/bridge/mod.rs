//! Bridge: the service's side towards pages and workers. It serves them their files and holds their links; it knows
//! nothing of how browsers are started.

mod files;
mod frames;
mod link;
mod listener;
mod pending;
mod portion;

pub use files::page;
pub use frames::{Batching, CallError, FailureKind, Inquiry, Loaded, Probed, Profile, Progress, Ran, RunItem};
pub use link::{Event, Events, Link};
pub use listener::{Bridge, Settings};
