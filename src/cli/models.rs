//! `webinfer models`: what is in the folder of models, how more gets there, whether it is whole, and how it becomes smaller or
//! faster.

mod list;
mod optimize;
mod pull;
mod quantize;
mod rm;
mod verify;

use clap::{Args, Subcommand};

use super::CommandError;
use crate::config::Hub;

/// Arguments of `models`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    webinfer models pull onnx-community/whisper-base\n  \
    webinfer models list\n  \
    webinfer models quantize models/whisper-base --bits 4\n  \
    webinfer models optimize models/whisper-base models/whisper-base-fused\n  \
    webinfer models verify\n  \
    webinfer models rm whisper-base")]
pub struct Models {
    /// Where models are, and where they come from.
    #[command(flatten)]
    pub hub: Hub,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the models: task, precisions, from where they are, when they were used last
    List,
    /// Download a model from the Hub, or what is missing of it
    Pull(pull::Pull),
    /// Hold the files against what was pinned when they were pulled, and read the graphs to their ends
    Verify(verify::Verify),
    /// Make a model's graphs smaller, and measure what that does to its output
    Quantize(Box<quantize::Quantize>),
    /// Copy a model with graphs of fewer nodes, which compute the same
    Optimize(optimize::Optimize),
    /// Remove a model that was pulled
    Rm(rm::Rm),
}

/// Does it.
pub async fn run(models: Models) -> Result<(), CommandError> {
    let Models { hub, json, action } = models;
    match action {
        Action::List => list::run(&hub, json),
        Action::Pull(pull) => pull::run(&hub, pull, json).await,
        Action::Verify(verify) => verify::run(&hub, &verify, json),
        Action::Quantize(quantize) => quantize::run(*quantize, json).await,
        Action::Optimize(optimize) => optimize::run(optimize, json).await,
        Action::Rm(rm) => rm::run(&hub, &rm, json),
    }
}

impl From<webinfer_store::StoreError> for CommandError {
    fn from(error: webinfer_store::StoreError) -> Self {
        Self::Usage(error.to_string())
    }
}
