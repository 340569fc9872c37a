//! Command line: one file for each command, and what they share.

pub mod bench;
pub mod doctor;
mod drawings;
pub mod explain;
pub mod infer;
mod inputs;
mod matrix;
pub mod models;
mod outputs;
pub mod pool;
pub mod profile;
mod progress;
mod report;
mod serve;
pub mod top;

use std::{future::Future, io::IsTerminal, path::Path, process::ExitCode};

use tokio::runtime;
use tracing_subscriber::EnvFilter;

use crate::{
    app::{self, App},
    config::{DEFAULT_LOG, LogFormat, Mode, Serve},
    rpc::client::{Client, ClientError},
};

/// Why a command failed, in words for people.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The service could not start.
    #[error(transparent)]
    Start(#[from] app::StartError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// Something of the machine failed.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The command cannot do what it is asked to.
    #[error("{0}")]
    Usage(String),
}

/// Runs a command to its end.
pub fn run(mode: Mode) -> ExitCode {
    let result = match mode {
        Mode::Serve(settings) => block_on(&settings.log.clone(), settings.log_format, serve::run(settings)),
        Mode::Infer(infer) => block_on(&quieter(&infer.serve.log), infer.serve.log_format, infer::run(*infer)),
        Mode::Doctor(doctor) => block_on(&quieter(&doctor.serve.log), doctor.serve.log_format, doctor::run(doctor)),
        Mode::Profile(profile) => block_on(&quieter(DEFAULT_LOG), LogFormat::Text, profile::run(*profile)),
        Mode::Pool(pool) => block_on(&quieter(DEFAULT_LOG), LogFormat::Text, pool::run(pool)),
        Mode::Top(top) => block_on(&quieter(DEFAULT_LOG), LogFormat::Text, top::run(top)),
        Mode::Explain(explain) => block_on(&quieter(DEFAULT_LOG), LogFormat::Text, explain::run(explain)),
        Mode::Models(models) => block_on(&quieter(DEFAULT_LOG), LogFormat::Text, models::run(*models)),
        Mode::Bench(bench) => {
            let log = if bench.is_verbose() { DEFAULT_LOG.to_owned() } else { quieter(DEFAULT_LOG) };
            block_on(&log, LogFormat::Text, bench::run(bench))
        }
        Mode::Guard(guard) => return crate::browser::guard::run(&guard),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What short commands log where nothing was said: their output is not to drown.
fn quieter(log: &str) -> String {
    if log == DEFAULT_LOG { DEFAULT_LOG.replace("info", "warn") } else { log.to_owned() }
}

fn block_on(
    log: &str,
    format: LogFormat,
    command: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    let filter = EnvFilter::try_new(log).map_err(|error| CommandError::Usage(format!("--log {log:?}: {error}")))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber that is set already is as good.
    let _ = match format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::Io { what: "no runtime".into(), error })?;
    runtime.block_on(command)
}

/// A service of the command's own, on ports that the system chooses, with no model loaded.
async fn local(serve: &Serve) -> Result<(App, Client), CommandError> {
    let mut serve = serve.clone();
    serve.listen.set_port(0);
    serve.http_listen.set_port(0);
    let app = app::start(&serve, app::drivers(&serve)).await?;
    let client = Client::connect(&app.address.to_string()).await?;
    Ok((app, client))
}

fn read_file(file: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(file).map_err(|error| CommandError::Io { what: file.display().to_string(), error })
}

/// One text a line.
fn texts(lines: &str) -> Result<Vec<String>, CommandError> {
    let texts: Vec<_> = lines.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if texts.is_empty() {
        Err(CommandError::Usage("there is nothing to run: no line has text".into()))
    } else {
        Ok(texts)
    }
}
