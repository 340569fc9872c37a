//! Progress: follows a run, and shows how far it is and how long it should still take.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{CommandError, report},
    proto::v1,
    rpc::client::Client,
};

/// A run that is followed.
#[derive(Debug, Default)]
pub struct Followed {
    /// Its id, once it is known.
    id: Mutex<Option<String>>,
    /// Whether each row is told as it is done.
    verbose: bool,
}

impl Followed {
    /// One that has not begun.
    pub fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    /// Its id, where it has begun.
    pub fn id(&self) -> Option<String> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has a run measured to its end.
    pub async fn run(&self, client: &Client, request: v1::RunRequest) -> Result<String, CommandError> {
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} rounds {msg}");
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let mut steps = Box::pin(client.benchmark(request).await?);
        while let Some(step) = steps.next().await {
            let step = step.inspect_err(|_| bar.abandon())?;
            bar.set_prefix(step.id.clone());
            *self.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(step.id.clone());
            bar.set_length(step.rounds.into());
            bar.set_position(step.done_rounds.into());
            bar.set_message(message(&step));
            if let Some(row) = step.row.filter(|_| self.verbose) {
                bar.suspend(|| eprintln!("{}", line(&row)));
            }
        }
        bar.finish_and_clear();
        self.id().ok_or_else(|| CommandError::Usage("the service ended the run before it began".into()))
    }
}

fn message(step: &v1::RunResponse) -> String {
    let phase = match step.phase() {
        v1::BenchmarkPhase::Load => "loading",
        v1::BenchmarkPhase::WarmUp => "warming up",
        _ => "measuring",
    };
    let cell = step.cell.as_ref().map(cell).unwrap_or_default();
    match step.remaining_ms {
        0 => format!("{phase} {cell}"),
        // Tenths of seconds would flicker.
        left => format!("about {} left; {phase} {cell}", humantime::format_duration(Duration::from_secs(left / 1000))),
    }
}

fn cell(cell: &v1::BenchmarkCell) -> String {
    let browser = if cell.browser.is_empty() { String::new() } else { format!(" in {}", cell.browser) };
    format!(
        "{}{browser} on {}, {}, batch {}, {} callers",
        cell.model,
        report::backend(cell.backend()),
        cell.precision,
        cell.batch,
        cell.concurrency
    )
}

fn line(row: &v1::BenchmarkRow) -> String {
    let cell = row.cell.as_ref().map(cell).unwrap_or_default();
    match row.summary.as_ref().and_then(|summary| summary.throughput.as_ref()) {
        Some(throughput) if row.reason.is_empty() => format!("{cell}: {:.2} items/s", throughput.value),
        _ => format!("{cell}: {}", row.reason),
    }
}
