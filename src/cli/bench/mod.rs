//! `webinfer bench`: measurements, one file for each command, and what they share.

mod arrivals;
mod asked;
mod calibrate;
mod display;
mod drive;
mod inputs;
mod load;
mod own;
mod plan;
mod print;
mod progress;
mod rows;
mod run;
mod runs;
mod tally;

use clap::Subcommand;

pub use own::Own;

use super::CommandError;

/// What is measured, and what is done with what was.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Measure a matrix of models, browsers, backends, precisions, batches, callers, threads and workers
    Run(Box<run::Run>),
    /// Find the workers, threads and batch that suit a model on this machine
    Calibrate(Box<calibrate::Calibrate>),
    /// List the runs that are kept
    List(runs::List),
    /// Show a run
    Show(runs::Show),
    /// Tell how a run stands to an earlier one
    Compare(runs::Compare),
    /// Write runs as a page (.html), a table (.csv) or a document (.json)
    Report(runs::Report),
    /// Write runs so that another machine can take them in
    Export(runs::Export),
    /// Take runs in that another machine wrote
    Import(runs::Import),
    /// Remove a run
    Rm(runs::Rm),
    /// Drive a running service with requests, and tell how it answers
    Load(load::Load),
}

impl Bench {
    /// The settings of the service that a command starts, or of which it reads the history.
    pub fn own_service(&mut self) -> Option<&mut Own> {
        match self {
            Self::Run(run) => Some(&mut run.own),
            Self::Calibrate(calibrate) => Some(&mut calibrate.own),
            Self::List(list) => Some(&mut list.own),
            Self::Show(show) => Some(&mut show.own),
            Self::Compare(compare) => Some(&mut compare.own),
            Self::Report(report) => Some(&mut report.own),
            Self::Export(export) => Some(&mut export.own),
            Self::Import(import) => Some(&mut import.own),
            Self::Rm(rm) => Some(&mut rm.own),
            Self::Load(_) => None,
        }
    }

    /// Whether it tells all that it does.
    pub fn is_verbose(&self) -> bool {
        matches!(self, Self::Run(run) if run.verbose)
    }
}

/// Does what a command says, to its end.
pub async fn run(bench: Bench) -> Result<(), CommandError> {
    match bench {
        Bench::Run(run) => run::run(*run).await,
        Bench::Calibrate(calibrate) => calibrate::run(*calibrate).await,
        Bench::List(list) => list.run(),
        Bench::Show(show) => show.run(),
        Bench::Compare(compare) => compare.run(),
        Bench::Report(report) => report.run(),
        Bench::Export(export) => export.run(),
        Bench::Import(import) => import.run(),
        Bench::Rm(rm) => rm.run(),
        Bench::Load(load) => load::run(load).await,
    }
}
