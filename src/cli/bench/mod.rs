//! `webinfer bench`: measurements of a service, one file for each, and what they share.

mod arrivals;
mod display;
mod drive;
mod inputs;
mod load;
mod print;
mod tally;

use clap::Subcommand;

use super::CommandError;

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Drive a running service with requests, and tell how it answers
    Load(load::Load),
}

/// Runs a measurement to its end.
pub async fn run(bench: Bench) -> Result<(), CommandError> {
    match bench {
        Bench::Load(load) => load::run(load).await,
    }
}
