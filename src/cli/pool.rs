//! `webinfer pool`: the browsers of a running service, and how they are steered.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{CommandError, report};
use crate::{proto::v1, rpc::client::Client};

/// Arguments of `pool`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    webinfer pool\n  \
    webinfer pool log browser-0-1\n  \
    webinfer pool watch\n  \
    webinfer pool scale 1 4\n  \
    webinfer pool recycle browser-0-1")]
pub struct Pool {
    /// Address of the service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051", global = true)]
    address: String,
    /// Print JSON, for programs; `watch` prints a line for each change
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Show the browsers and their workers, once; what is done where nothing is said
    Show,
    /// Show what the browsers, their pages and workers wrote last
    Log {
        /// One browser alone, by its id
        browser: Option<String>,
    },
    /// Tell each change of a state, with its reason, until Ctrl-C
    Watch,
    /// Set how many browsers serve
    Scale {
        /// Fewest; with 0 the first request starts one
        min: u32,
        /// Most
        max: u32,
    },
    /// Replace a browser by a fresh one, without a gap
    Recycle {
        /// Its id, as `webinfer pool` shows it
        browser: String,
    },
    /// End a browser once it has run what it holds, and have one less
    Drain {
        /// Its id, as `webinfer pool` shows it
        browser: String,
    },
}

/// Shows or steers.
pub async fn run(pool: Pool) -> Result<(), CommandError> {
    let client = Client::connect(&pool.address).await?;
    match pool.action.clone().unwrap_or(Action::Show) {
        Action::Show => {
            let now = client.pool(false).await?;
            let text =
                if pool.json { serde_json::to_string_pretty(&document(&now)).unwrap_or_default() } else { show(&now) };
            println!("{text}");
        }
        Action::Log { browser } => return log(&client.pool(true).await?, browser.as_deref(), pool.json),
        Action::Watch => return watch(&client, pool.json).await,
        Action::Scale { min, max } => client.scale(min, max).await?,
        Action::Recycle { browser } => client.recycle(browser).await?,
        Action::Drain { browser } => client.drain(browser).await?,
    }
    Ok(())
}

/// Prints the last lines of one browser, or of all.
fn log(pool: &v1::PoolStatus, id: Option<&str>, json: bool) -> Result<(), CommandError> {
    let browsers: Vec<_> = pool.browsers.iter().filter(|browser| id.is_none_or(|id| browser.id == id)).collect();
    if let (Some(id), true) = (id, browsers.is_empty()) {
        return Err(CommandError::Usage(format!(
            "no browser has the id {id:?}; `webinfer pool` shows those that there are"
        )));
    }
    for browser in browsers {
        for line in &browser.log {
            let (source, text, age) = (&line.source, &line.text, Duration::from_millis(line.age_ms));
            if json {
                println!("{}", json!({"browser": browser.id, "source": source, "text": text, "age_ms": line.age_ms}));
            } else {
                println!("{} {source}, {:.1} s ago: {text}", browser.id, age.as_secs_f64());
            }
        }
    }
    Ok(())
}

async fn watch(client: &Client, json: bool) -> Result<(), CommandError> {
    let mut changes = client.watch_pool().await?;
    let mut before = Vec::new();
    while let Some(now) = changes.next().await {
        let now = now?;
        if json {
            println!("{}", document(&now));
            continue;
        }
        let lines = lines(&now);
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        for line in lines.iter().filter(|line| !before.contains(*line)) {
            println!("{time} {line}");
        }
        let gone = |line: &&String| !lines.iter().any(|other| first_word(other) == first_word(line));
        for line in before.iter().filter(gone) {
            println!("{time} {} gone", first_word(line));
        }
        before = lines;
    }
    Err(CommandError::Usage("the service has ended".into()))
}

fn first_word(line: &str) -> &str {
    line.split(' ').next().unwrap_or(line)
}

/// A line for each browser, worker and breaker, with its state and not its counts.
fn lines(pool: &v1::PoolStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let because = |reason: &str| if reason.is_empty() { String::new() } else { format!(": {reason}") };
    for browser in &pool.browsers {
        let (state, duty) = (state(browser.state()), duty(browser.duty()));
        lines.push(format!("{} {duty}, {state}{}", browser.id, because(&browser.reason)));
        for worker in &browser.workers {
            let state = worker_state(worker.state());
            lines.push(format!("{} {state}: {} in {}", worker.id, worker.model, browser.id));
        }
    }
    for breaker in &pool.breakers {
        let (backend, state) = (report::backend(breaker.backend()), breaker_state(breaker.state()));
        lines.push(format!("breaker/{}/{backend}/{} {state}", breaker.browser, breaker.model));
    }
    lines
}

pub(super) fn show(pool: &v1::PoolStatus) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["browser", "version", "for", "state", "memory", "starts", "workers", "reason"]);
    for browser in &pool.browsers {
        let worker = |worker: &v1::Worker| {
            let state = worker_state(worker.state());
            let runs = if worker.backend() == v1::Backend::Unspecified {
                String::new()
            } else {
                let hardware = report::hardware(worker.hardware());
                format!(", {} on {hardware}", report::backend(worker.backend()))
            };
            format!("{} {} {state}{runs}, {} batches", worker.id, worker.model, worker.batches_run)
        };
        table.add_row([
            browser.id.clone(),
            format!("{} {}", browser.product, browser.version).trim().to_owned(),
            duty(browser.duty()).to_owned(),
            state(browser.state()).to_owned(),
            format!("{} MiB {}", browser.memory_bytes >> 20, browser.memory_kind).trim().to_owned(),
            (browser.restarts + 1).to_string(),
            browser.workers.iter().map(worker).collect::<Vec<_>>().join("\n"),
            browser.reason.clone(),
        ]);
    }
    let (wanted, least, most) = (pool.wanted_browsers, pool.min_browsers, pool.max_browsers);
    let mut text = format!("{table}\nbrowsers that should serve: {wanted}, of {least} to {most}");
    for breaker in &pool.breakers {
        let (backend, state) = (report::backend(breaker.backend()), breaker_state(breaker.state()));
        let (browser, model, again) = (&breaker.browser, &breaker.model, breaker.retry_after_ms);
        text += &format!("\nbreaker {state}: {model} on {backend} in {browser}; next try in {again} ms");
    }
    text
}

fn document(pool: &v1::PoolStatus) -> Value {
    let worker = |worker: &v1::Worker| {
        json!({
            "id": worker.id, "state": worker_state(worker.state()), "model": worker.model,
            "backend": report::backend(worker.backend()), "dtype": worker.dtype, "threads": worker.threads,
            "hardware": report::hardware(worker.hardware()), "adapter": worker.adapter,
            "batches_in_flight": worker.batches_in_flight, "batches_run": worker.batches_run,
        })
    };
    let browser = |browser: &v1::Browser| {
        json!({
            "id": browser.id, "product": browser.product, "version": browser.version, "duty": duty(browser.duty()),
            "state": state(browser.state()), "reason": browser.reason, "pid": browser.pid,
            "memory_bytes": browser.memory_bytes, "memory_kind": browser.memory_kind, "restarts": browser.restarts,
            "workers": browser.workers.iter().map(worker).collect::<Vec<_>>(),
        })
    };
    let breaker = |breaker: &v1::Breaker| {
        json!({
            "browser": breaker.browser, "backend": report::backend(breaker.backend()), "model": breaker.model,
            "state": breaker_state(breaker.state()), "retry_after_ms": breaker.retry_after_ms,
        })
    };
    json!({
        "browsers": pool.browsers.iter().map(browser).collect::<Vec<_>>(),
        "breakers": pool.breakers.iter().map(breaker).collect::<Vec<_>>(),
        "wanted_browsers": pool.wanted_browsers, "min_browsers": pool.min_browsers, "max_browsers": pool.max_browsers,
    })
}

pub(super) fn duty(duty: v1::BrowserDuty) -> &'static str {
    match duty {
        v1::BrowserDuty::Unspecified => "unknown",
        v1::BrowserDuty::Serving => "serving",
        v1::BrowserDuty::Spare => "spare",
        v1::BrowserDuty::Leaving => "leaving",
    }
}

pub(super) fn state(state: v1::BrowserState) -> &'static str {
    match state {
        v1::BrowserState::Unspecified => "unknown",
        v1::BrowserState::Starting => "starting",
        v1::BrowserState::Ready => "ready",
        v1::BrowserState::BackingOff => "backing off",
    }
}

pub(super) fn worker_state(state: v1::WorkerState) -> &'static str {
    match state {
        v1::WorkerState::Unspecified => "unknown",
        v1::WorkerState::Starting => "starting",
        v1::WorkerState::Loading => "loading",
        v1::WorkerState::Ready => "ready",
        v1::WorkerState::Leaving => "leaving",
    }
}

pub(super) fn breaker_state(state: v1::BreakerState) -> &'static str {
    match state {
        v1::BreakerState::Unspecified => "unknown",
        v1::BreakerState::Closed => "closed",
        v1::BreakerState::Open => "open",
        v1::BreakerState::HalfOpen => "half open",
    }
}
