//! `webinfer bench calibrate`: finds the workers, threads and batch that suit a model on this machine, and writes them as
//! settings of the service.
//!
//! Two small runs: one of threads and workers at a batch that pays nearly everywhere, and one of batches with the best of
//! these. Of what is as fast as the best, as far as can be told, the least is chosen.

use std::{path::PathBuf, thread::available_parallelism, time::Duration};

use clap::Args;
use webinfer_bench::{Plan, Row, RowState, Run};

use super::{
    own::Own,
    progress::Followed,
    rows,
    run::{interruptible, record, service},
};
use crate::{
    browser::Wanted,
    cli::{CommandError, local},
    execution::Backend,
    proto::v1,
    rpc::client::{Client, plan_to_wire},
};

/// The batch at which threads and workers are compared.
const USUAL: u32 = 8;
/// Batches that are compared.
const BATCHES: [u32; 5] = [1, 4, 8, 16, 32];
/// Part of the best throughput that is as good: less would not be told from noise.
const AS_GOOD: f64 = 0.97;
/// Most workers, and most threads.
const MOST: u32 = 16;

/// Arguments of `bench calibrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "What is printed, or written with --output, goes into the file of `webinfer serve --config`.\n\n\
    Examples:\n  \
    webinfer bench calibrate --model all-MiniLM-L6-v2 --output webinfer.toml\n  \
    webinfer bench calibrate --model vit --platform webgpu -- --gpu vulkan"
)]
pub struct Calibrate {
    /// Model
    #[arg(long, value_name = "ID", default_value = "all-MiniLM-L6-v2")]
    model: String,
    /// Backend
    #[arg(long, visible_alias = "backend", value_name = "BACKEND", default_value = "wasm")]
    platform: Backend,
    /// Browser
    #[arg(long, value_name = "BROWSER")]
    browser: Option<Wanted>,
    /// Rounds of each combination
    #[arg(long, value_name = "COUNT", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Time of a round
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::config::duration)]
    round_time: Duration,
    /// File for the settings; they are printed where none is named
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Measures, tells what was found, and writes the settings.
pub async fn run(calibrate: Calibrate) -> Result<(), CommandError> {
    let cores = available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(MOST));
    let plan = calibrate.plan(cores);
    let browsers: Vec<_> = calibrate.browser.clone().into_iter().collect();
    let widest = Plan { batch: BATCHES.into(), ..plan.clone() };
    let settings = service(calibrate.own.serve()?, &browsers, &widest, false);
    let (app, client) = interruptible(local(&settings)).await??;
    let result = interruptible(both(client, plan)).await;
    app.shut_down().await;
    let (shapes, batches) = result??;
    print!("{}\n{}", rows::table(&shapes), rows::table(&batches));
    let text = as_settings(&batches, calibrate.platform).ok_or_else(nothing)?;
    match &calibrate.output {
        None => print!("\n{text}"),
        Some(file) => {
            std::fs::write(file, text).map_err(|error| CommandError::Io { what: file.display().to_string(), error })?;
            println!("\n{}: written", file.display());
        }
    }
    Ok(())
}

/// The run of threads and workers, and that of batches.
async fn both(client: Client, plan: Plan) -> Result<(Run, Run), CommandError> {
    let shapes = measure(&client, &plan).await?;
    let best = choose(&shapes.rows, |row| (row.cell.workers * row.cell.threads.max(1), row.cell.workers));
    let best = &best.ok_or_else(nothing)?.cell;
    let plan = Plan { batch: BATCHES.into(), threads: vec![best.threads], workers: vec![best.workers], ..plan };
    let batches = measure(&client, &plan).await?;
    Ok((shapes, batches))
}

async fn measure(client: &Client, plan: &Plan) -> Result<Run, CommandError> {
    let plan = plan_to_wire(plan).map_err(CommandError::Usage)?;
    let id = Followed::default().run(client, v1::RunRequest { plan: Some(plan), ..Default::default() }).await?;
    record(client, &id).await
}

fn nothing() -> CommandError {
    CommandError::Usage("not one combination could be measured; the table of `webinfer bench show` says why".into())
}

impl Calibrate {
    /// Threads and workers up to the cores, with enough callers for all of them.
    fn plan(&self, cores: u32) -> Plan {
        let powers = |most: u32| (0..).map(|power| 1 << power).take_while(move |count| *count <= most.clamp(1, MOST));
        let threads = if self.platform == Backend::Wasm { powers(cores).collect() } else { vec![0] };
        let workers: Vec<u32> = if self.platform == Backend::Wasm { powers(cores).collect() } else { vec![1, 2] };
        let callers = 2 * workers.iter().copied().fold(1, u32::max);
        Plan {
            models: vec![self.model.clone()],
            backends: vec![self.platform.name().into()],
            batch: vec![USUAL],
            concurrency: vec![callers],
            threads,
            workers,
            rounds: self.rounds,
            round_time: self.round_time,
            ..Plan::default()
        }
    }
}

/// Of the rows that are as fast as the best, as far as can be told, the one that costs the least. What broke in between is
/// none of them.
fn choose<Costs: Ord>(rows: &[Row], costs: impl Fn(&Row) -> Costs) -> Option<&Row> {
    let measured = |row: &&Row| row.state == RowState::Measured;
    let speed = |row: &Row| Some(row).filter(measured)?.summary().map(|summary| summary.throughput.value);
    let best = rows.iter().filter_map(speed).fold(0.0, f64::max);
    rows.iter().filter(|row| speed(row).is_some_and(|speed| speed >= best * AS_GOOD)).min_by_key(|row| costs(row))
}

/// The settings that a run of batches comes to, as TOML.
fn as_settings(run: &Run, backend: Backend) -> Option<String> {
    let row = choose(&run.rows, |row| row.cell.batch)?;
    let (cell, throughput) = (&row.cell, row.summary()?.throughput.value);
    let threads = if backend == Backend::Wasm { format!("threads = {}\n", cell.threads) } else { String::new() };
    Some(format!(
        "# {}, by run {} on {} with {} cores: {throughput:.1} items/s\nbackend = [\"{}\"]\n{threads}replicas = {}\n\
         max_batch = {}\n",
        cell.model,
        run.id,
        run.machine.cpu,
        run.machine.cores,
        backend.name(),
        cell.workers,
        cell.batch,
    ))
}

#[cfg(test)]
mod tests {
    use webinfer_bench::{Latencies, Machine, Plan, Round, Row, RowState, Run, RunId, record::Hops};

    use super::{as_settings, choose};
    use crate::{
        config::{Mode, parse},
        execution::Backend,
    };

    /// A run of batches with these items in rounds of a second.
    fn run(batches: &[(u32, u64)]) -> Run {
        let plan = Plan {
            models: vec!["m".into()],
            batch: batches.iter().map(|(batch, _)| *batch).collect(),
            threads: vec![2],
            workers: vec![3],
            ..Plan::default()
        };
        let mut run = Run::new(RunId::new(0, 0), 0, plan, Machine::default());
        for (row, (_, items)) in run.rows.iter_mut().zip(batches) {
            let latencies: Latencies = [std::time::Duration::from_millis(1)].into_iter().collect();
            let round = |index| Round {
                index,
                started_ms: 0,
                seconds: 1.0,
                items: *items,
                failed: 0,
                latencies: latencies.clone(),
                hops: Hops::default(),
            };
            row.rounds = (0..3).map(round).collect();
            row.state = RowState::Measured;
        }
        run
    }

    #[test]
    fn the_least_is_chosen_of_what_is_as_fast() {
        let mut run = run(&[(1, 50), (4, 98), (8, 100), (16, 99), (32, 200)]);
        run.rows[4].state = RowState::Lost { reason: "its browser ended".into() };
        let batch = |row: &Row| row.cell.batch;
        assert_eq!(choose(&run.rows, batch).unwrap().cell.batch, 4);
        assert!(choose(&[], batch).is_none());
    }

    #[test]
    fn the_service_takes_the_settings() {
        let text = as_settings(&run(&[(1, 50), (8, 100)]), Backend::Wasm).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let arguments = ["webinfer".into(), "serve".into(), "--config".into(), file.path().into()];
        let Mode::Serve(serve) = parse(arguments.into(), Vec::new(), "webinfer".into(), Vec::new()).unwrap() else {
            panic!("another mode")
        };
        assert_eq!((serve.threads, serve.replicas, serve.max_batch), (2, 3, 8));
        assert_eq!(serve.backend, [Backend::Wasm]);
    }
}
