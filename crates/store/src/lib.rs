//! The folder of models: what is in it, where it came from, and how more gets there.
//!
//! A model is a folder in the Hub's layout. One that was pulled has a [`Manifest`] beside its files, which says from which
//! commit they are and what their hashes must be; what somebody put there by hand has none, and is never touched. All that
//! the store keeps for itself is below `.webinfer`: locks, and what is not downloaded to its end.

mod disk;
mod error;
mod hash;
mod hosts;
#[cfg(feature = "hub")]
pub mod hub;
mod ids;
mod locks;
mod manifest;
#[cfg(feature = "hub")]
mod pull;
#[cfg(feature = "hub")]
mod quota;
mod store;
mod verify;

pub use disk::size;
pub use error::StoreError;
pub use hash::Hash;
pub use hosts::{Endpoint, Host};
pub use ids::{FilePath, Name, Refused, Repo, Revision, Source};
pub use locks::InUse;
pub use manifest::{MANIFEST, Manifest, Pinned};
#[cfg(feature = "hub")]
pub use pull::{Outcome, Plan};
#[cfg(feature = "hub")]
pub use quota::Shortage;
pub use store::{Held, Store, Unfinished};
pub use verify::{Damage, Wrong};

/// Files beside the graphs that a model's runtime reads where they are there.
pub const SMALL_FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];
