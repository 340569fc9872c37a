//! `webinfer models`: what is done with folders of models.

mod quantize;

use clap::{Args, Subcommand};

use super::CommandError;

/// Arguments of `models`.
#[derive(Debug, Args)]
pub struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a model's graphs smaller, and measure what that does to its output
    Quantize(Box<quantize::Quantize>),
}

/// Does it.
pub async fn run(models: Models) -> Result<(), CommandError> {
    match models.action {
        Action::Quantize(quantize) => quantize::run(*quantize).await,
    }
}
