//! `webinfer profile`: runs a model under the runtime's profiler, and prints where the time went.

use std::{fmt::Write, path::PathBuf, time::Duration};

use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_BORDERS_ONLY};

use super::{
    CommandError,
    inputs::{Inputs, Parameters},
    progress, report,
};
use crate::{proto::v1, rpc::client::Client};

/// Arguments of `profile`.
#[derive(Debug, Args)]
#[command(after_help = "The service has to run with --debug.\n\nExamples:\n  \
    webinfer profile \"A cat sits on the mat.\"\n  \
    webinfer profile --model vit --image cat.png --runs 10 --out trace.json")]
pub struct Profile {
    /// What to run.
    #[command(flatten)]
    inputs: Inputs,
    /// Model to run
    #[arg(long, value_name = "ID", default_value = "all-MiniLM-L6-v2")]
    model: String,
    /// Address of the service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    address: String,
    /// How often to run it
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Most operators and kernels that are printed
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    top: usize,
    /// File for the trace, which chrome://tracing and Perfetto show
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Time that it may take, the load of a worker of its own counted
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    deadline: Duration,
    /// How to run it.
    #[command(flatten)]
    parameters: Parameters,
}

/// Profiles a request of a running service.
pub async fn run(profile: Profile) -> Result<(), CommandError> {
    let items = profile.inputs.items()?;
    let client = Client::connect(&profile.address).await?;
    let task = client.model(&profile.model).await?.spec.unwrap_or_default().task;
    progress::load(&client, &profile.model).await?;
    let request = v1::InferRequest {
        model: profile.model,
        items: items.into_iter().map(|named| named.item).collect(),
        parameters: profile.parameters.message(task == "automatic-speech-recognition"),
        ..Default::default()
    };
    let request = v1::ProfileRequest { request: Some(request), runs: profile.runs };
    let response = client.profile(request, profile.deadline).await?;
    print!("{}", describe(&response, profile.top));
    if let (Some(file), Some(told)) = (profile.out, &response.profile) {
        let failed = |error| CommandError::Io { what: format!("--out {}", file.display()), error };
        tokio::fs::write(&file, &told.trace).await.map_err(failed)?;
        println!("\ntrace      {} (chrome://tracing or Perfetto shows it)", file.display());
    }
    Ok(())
}

/// Where the time went, for people.
fn describe(response: &v1::ProfileResponse, top: usize) -> String {
    let nothing = v1::Profile::default();
    let profile = response.profile.as_ref().unwrap_or(&nothing);
    let runs = response.runs.len().max(1);
    let mut text =
        format!("load       {} ms, with the warm-up\n\n{}\n", millis(response.load_us), stages(&response.runs));
    let operators = profile.operators.iter().map(Cost::from).collect();
    let _ = writeln!(text, "\n{}", costs(["operator", "provider"], operators, (runs, top)));
    if !profile.kernels.is_empty() {
        let kernels = profile.kernels.iter().map(Cost::from).collect();
        let _ = writeln!(text, "\n{}", costs(["kernel on the GPU", "operator"], kernels, (runs, top)));
    }
    if !profile.no_kernels_reason.is_empty() {
        let _ = writeln!(text, "\nThere are no times of kernels: {}", profile.no_kernels_reason);
    }
    if profile.dropped_events > 0 {
        let _ = writeln!(text, "\n{} events were left out; fewer runs have fewer", profile.dropped_events);
    }
    text.push_str(&response.response.as_ref().map(report::records).unwrap_or_default());
    text
}

/// A stage of a run.
type Stage = (&'static str, fn(&v1::Timings) -> u64);

/// The time of each stage: the mean of all runs, the least and the most.
fn stages(runs: &[v1::Timings]) -> Table {
    let mut table = table(&["stage", "mean ms", "least ms", "most ms"], 1);
    let stages: [Stage; 4] = [
        ("bridge", |it| it.bridge_us),
        ("preprocess", |it| it.preprocess_us),
        ("inference", |it| it.inference_us),
        ("postprocess", |it| it.postprocess_us),
    ];
    for (name, of) in stages {
        let times = || runs.iter().map(of);
        let mean = times().sum::<u64>() / (runs.len().max(1) as u64);
        let numbers = [mean, times().min().unwrap_or(0), times().max().unwrap_or(0)];
        table.add_row([Cell::new(name)].into_iter().chain(numbers.map(|micros| right(millis(micros)))));
    }
    table
}

/// What took time in all runs together, and how often.
struct Cost<'a> {
    name: &'a str,
    by: &'a str,
    count: u64,
    micros: u64,
}

impl<'a> From<&'a v1::OperatorTime> for Cost<'a> {
    fn from(it: &'a v1::OperatorTime) -> Self {
        Self { name: &it.name, by: &it.provider, count: it.count, micros: it.total_us }
    }
}

impl<'a> From<&'a v1::KernelTime> for Cost<'a> {
    fn from(it: &'a v1::KernelTime) -> Self {
        Self { name: &it.program, by: &it.operator, count: it.count, micros: it.total_us }
    }
}

/// What cost the most: how often and how long in a run, and its part of all. What is below the first is one line.
fn costs(heads: [&str; 2], costs: Vec<Cost<'_>>, (runs, top): (usize, usize)) -> Table {
    let mut table = table(&[heads[0], heads[1], "times a run", "ms a run", "%"], 2);
    let all: u64 = costs.iter().map(|cost| cost.micros).sum();
    let (shown, rest) = costs.split_at(top.min(costs.len()));
    let name = format!("{} others", rest.len());
    let rest = (!rest.is_empty()).then(|| Cost {
        name: &name,
        by: "",
        count: rest.iter().map(|cost| cost.count).sum(),
        micros: rest.iter().map(|cost| cost.micros).sum(),
    });
    for Cost { name, by, count, micros } in shown.iter().chain(&rest) {
        let count = format!("{:.1}", *count as f64 / runs as f64);
        let part = format!("{:.1}", 100.0 * *micros as f64 / all.max(1) as f64);
        let micros = format!("{:.3}", *micros as f64 / 1000.0 / runs as f64);
        table.add_row([Cell::new(name), Cell::new(by), right(count), right(micros), right(part)]);
    }
    table
}

/// An empty table whose first columns are words.
fn table(heads: &[&str], words: usize) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    let head = |(index, head): (usize, &&str)| if index < words { Cell::new(head) } else { right((*head).into()) };
    table.set_header(heads.iter().enumerate().map(head));
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn millis(micros: u64) -> String {
    format!("{:.1}", micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::{Cost, costs, stages};
    use crate::proto::v1;

    /// The words of a line of a table, without its borders.
    fn cells(line: &str) -> Vec<&str> {
        line.trim_matches('│').split_whitespace().collect()
    }

    #[test]
    fn the_most_costly_are_shown_and_the_others_added_up() {
        let all = [("MatMul", 8, 6000), ("Add", 4, 3000), ("Cast", 2, 600), ("If", 2, 400)];
        let all = all.map(|(name, count, micros)| Cost { name, by: "CPU", count, micros });
        let text = costs(["operator", "provider"], all.into(), (2, 2)).to_string();
        let rows: Vec<Vec<_>> = text.lines().map(cells).collect();
        let has = |row: &[&str]| rows.iter().any(|cells| cells == row);
        assert!(has(&["MatMul", "CPU", "4.0", "3.000", "60.0"]), "{text}");
        assert!(has(&["2", "others", "2.0", "0.500", "10.0"]), "{text}");
        assert!(!text.contains("Cast"), "{text}");
    }

    #[test]
    fn stages_have_their_mean_over_the_runs() {
        let run = |inference_us| v1::Timings { inference_us, ..Default::default() };
        let text = stages(&[run(1000), run(3000)]).to_string();
        let inference = text.lines().find(|line| line.contains("inference")).unwrap();
        assert_eq!(cells(inference), ["inference", "2.0", "1.0", "3.0"], "{text}");
        assert!(stages(&[]).to_string().contains("postprocess"));
    }
}
