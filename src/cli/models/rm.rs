//! `webinfer models rm`: removes models that were pulled.

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use webinfer_store::{Store, StoreError};

use crate::{cli::CommandError, config::Hub, models::optimized};

/// Arguments of `models rm`.
#[derive(Debug, Args)]
#[command(
    after_help = "What was pulled can be pulled again. A folder that somebody put there by hand cannot be brought back, \
    and goes with --force alone. A model that a running service has stays: unregister it there first."
)]
pub struct Rm {
    /// Name of the model, as `webinfer models list` shows it
    #[arg(required = true)]
    name: Vec<String>,
    /// Remove it also where it was not pulled
    #[arg(long)]
    force: bool,
}

/// Removes them.
pub fn run(hub: &Hub, rm: &Rm, json: bool) -> Result<(), CommandError> {
    let store = Store::new(&hub.models);
    for name in &rm.name {
        let made = |error| CommandError::Io { what: format!("what was optimised of {name}"), error };
        let removed = store.remove(name, rm.force);
        // What was made of a model that is gone already, such as where it gave way to another, goes all the same.
        let forgotten = match &removed {
            Ok(_) | Err(StoreError::Missing { .. }) => optimized::forget(&hub.models, name).map_err(made)?,
            Err(_) => 0,
        };
        let bytes = match removed {
            Err(StoreError::Missing { .. }) if forgotten > 0 => forgotten,
            removed => removed? + forgotten,
        };
        if json {
            println!("{}", json!({"removed": name, "bytes": bytes}));
        } else {
            println!("{name} is removed: {}", HumanBytes(bytes));
        }
    }
    Ok(())
}
