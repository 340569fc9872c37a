//! The settings of the commands that look after models. A service knows them too, so that one file serves all.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use webinfer_store::{Endpoint, Host};

use super::settings::duration;

/// What tells these settings from the arguments of single commands.
pub(super) const HEADING: &str = "Hub";

/// Settings of `webinfer models`.
#[derive(Clone, Debug, Args)]
pub struct Hub {
    /// TOML file with settings; its keys are the flags' names with `_` for `-`
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Folder that holds the models, each in a folder in the Hub's layout
    #[arg(long, value_name = "FOLDER", default_value = "models", global = true)]
    pub models: PathBuf,

    /// Address of the Hub, or of a mirror of it
    #[arg(long, value_name = "URL", default_value = "https://huggingface.co", global = true, help_heading = HEADING)]
    pub hub_endpoint: Endpoint,
    /// File with a token for the Hub, for models that not everybody may read; only the endpoint itself ever sees it
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    pub hub_token_file: Option<PathBuf>,
    /// Hosts beside the endpoint's to which it may send on for files, each as HOST, *.HOST or with a port
    #[arg(long, value_name = "HOST,...", default_value = "huggingface.co,*.huggingface.co,*.hf.co", value_delimiter = ',', global = true, help_heading = HEADING)]
    pub hub_host: Vec<Host>,
    /// Files that are downloaded at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16), global = true, help_heading = HEADING)]
    pub hub_files: u8,
    /// Time in which a download has to be done; the next one goes on where it ended
    #[arg(long, value_name = "TIME", default_value = "6h", value_parser = duration, global = true, help_heading = HEADING)]
    pub hub_deadline: Duration,
    /// Bytes that pulled models may take; those that nobody uses and that were not used for longest give way; 0 for no limit
    #[arg(long, value_name = "BYTES", default_value_t = 0, global = true, help_heading = HEADING)]
    pub models_quota: u64,
    /// Ask nobody: only tell what is missing
    #[arg(long, global = true, help_heading = HEADING)]
    pub offline: bool,
}
