//! Own: the service that a benchmark starts for itself, and the history that it writes.

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use webinfer_bench::{BenchError, History};

use crate::{cli::CommandError, config::Serve};

/// Settings of `serve` that these commands need.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service of its own, and history")]
pub struct Own {
    /// File in which benchmarks are kept; without it, benchmarks.db beside the service's --state
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// TOML file with settings, as of `webinfer serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Further settings, as of `webinfer serve`
    #[arg(last = true, value_name = "SETTINGS")]
    settings: Vec<OsString>,
    /// What they come to.
    #[arg(skip)]
    pub serve: Option<Box<Serve>>,
}

impl Own {
    /// They as arguments of `serve`.
    pub fn arguments(&self) -> impl Iterator<Item = OsString> + use<> {
        let of = |name: &str, file: &Option<PathBuf>| {
            file.iter().flat_map(|file| [name.into(), file.clone().into()]).collect::<Vec<OsString>>()
        };
        let files = [of("--history", &self.history), of("--config", &self.config)];
        files.into_iter().flatten().chain(self.settings.clone())
    }

    /// The settings of the service.
    pub fn serve(&self) -> Result<&Serve, CommandError> {
        self.serve.as_deref().ok_or_else(|| CommandError::Usage("the settings were not read".into()))
    }

    /// The history.
    pub fn open(&self) -> Result<History, CommandError> {
        let none = || CommandError::Usage("no history is kept: name its file with --history FILE".into());
        let file = self.serve()?.history_file().ok_or_else(none)?;
        History::open(&file).map_err(told)
    }
}

/// The error of the history or a plan, whose words say it all.
pub fn told(error: BenchError) -> CommandError {
    CommandError::Usage(error.to_string())
}
