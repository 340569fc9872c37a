//! `webinfer bench list`, `show`, `compare`, `report`, `export`, `import` and `rm`: what is done with runs that are kept.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;
use webinfer_bench::{
    History, Rule, Run, RunState, Selector,
    merge::{self, Outcome},
    regress, report,
    stats::{Verdict, compare_runs},
};

use super::{
    own::{Own, told},
    rows,
};
use crate::cli::CommandError;

/// Runs of a list.
const MOST: u32 = 1000;

/// Arguments of `bench list`.
#[derive(Debug, Args)]
pub struct List {
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Arguments of `bench show`.
#[derive(Debug, Args)]
pub struct Show {
    /// Run: the beginning of its id, "latest", or "latest~1" for the one before
    #[arg(default_value = "latest")]
    run: Selector,
    /// Print the record instead of a table
    #[arg(long)]
    json: bool,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Arguments of `bench compare`.
#[derive(Debug, Args)]
#[command(after_help = "It fails where a row is slower, and that is no accident.\n\nExamples:\n  \
    webinfer bench compare latest~1 latest\n  \
    webinfer bench compare 20261130-1425 latest --least 0.05")]
pub struct Compare {
    /// The earlier run
    base: Selector,
    /// The later one
    #[arg(default_value = "latest")]
    other: Selector,
    /// Change of throughput that is worth telling, as a part of it
    #[arg(long, value_name = "PART", default_value_t = Rule::default().least)]
    least: f64,
    /// Chance of calling a row different where all are alike
    #[arg(long, value_name = "PART", default_value_t = Rule::default().alpha)]
    alpha: f64,
    /// Print it for programs
    #[arg(long)]
    json: bool,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Arguments of `bench report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Runs; a page of two compares the later one with the earlier
    #[arg(default_values = ["latest"])]
    runs: Vec<Selector>,
    /// File; its ending says what is written: .html, .csv or .json
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Arguments of `bench export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Runs; all where none is named
    runs: Vec<Selector>,
    /// File; standard output where none is named
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Arguments of `bench import`.
#[derive(Debug, Args)]
pub struct Import {
    /// File that `bench export` wrote
    file: PathBuf,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Arguments of `bench rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Runs
    #[arg(required = true)]
    runs: Vec<Selector>,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

impl List {
    /// Lists.
    pub fn run(&self) -> Result<(), CommandError> {
        print!("{}", rows::list(&self.own.open()?.list(MOST).map_err(told)?));
        Ok(())
    }
}

impl Show {
    /// Shows.
    pub fn run(&self) -> Result<(), CommandError> {
        let history = self.own.open()?;
        let run = history.get(&self.run).map_err(told)?;
        if self.json {
            println!("{:#}", report::json(&run).map_err(told)?);
            return Ok(());
        }
        print!("{}", rows::table(&run));
        if run.state == RunState::Complete {
            let changes = regress::follow(&history, &run, &Rule::default()).map_err(told)?;
            for change in changes.iter().filter(|change| change.is_regression()) {
                println!("slower than in {}: {}", change.since, change.comparison.new.key());
            }
        }
        Ok(())
    }
}

impl Compare {
    /// Compares.
    pub fn run(&self) -> Result<(), CommandError> {
        let history = self.own.open()?;
        let (base, other) = (history.get(&self.base).map_err(told)?, history.get(&self.other).map_err(told)?);
        let compared = compare_runs(&base, &other, &Rule { alpha: self.alpha, least: self.least });
        if self.json {
            let value = serde_json::to_value(&compared).map_err(|error| CommandError::Usage(error.to_string()))?;
            println!("{value:#}");
        } else {
            print!("{}", rows::comparison(&compared));
        }
        let slower = compared.comparisons.iter().filter(|it| it.verdict == Verdict::Slower).count();
        match slower {
            0 => Ok(()),
            count => Err(CommandError::Usage(format!("{count} rows are slower"))),
        }
    }
}

impl Report {
    /// Writes.
    pub fn run(&self) -> Result<(), CommandError> {
        let runs = get(&self.own.open()?, &self.runs)?;
        let ending = self.output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let text = match (ending, &runs[..]) {
            ("html", [run]) => report::html(run, None),
            ("html", [base, run]) => report::html(run, Some(&compare_runs(base, run, &Rule::default()))),
            ("html", _) => return Err(CommandError::Usage("a page has one run, or two that it compares".into())),
            ("csv", [run]) => report::csv(run).map_err(told)?,
            ("csv", _) => return Err(CommandError::Usage("a .csv has one run".into())),
            ("json", [run]) => format!("{:#}\n", report::json(run).map_err(told)?),
            ("json", runs) => {
                let all: Vec<Value> = runs.iter().map(report::json).collect::<Result<_, _>>().map_err(told)?;
                format!("{:#}\n", Value::from(all))
            }
            _ => return Err(CommandError::Usage("--output must end with .html, .csv or .json".into())),
        };
        std::fs::write(&self.output, text).map_err(failed(&self.output))
    }
}

impl Export {
    /// Writes.
    pub fn run(&self) -> Result<(), CommandError> {
        let history = self.own.open()?;
        let listed = history.list(MOST + 1).map_err(told)?;
        if self.runs.is_empty() && listed.len() > MOST as usize {
            return Err(CommandError::Usage(format!(
                "there are more than {MOST} runs; name those that are to be exported"
            )));
        }
        let all: Vec<_> = listed.iter().map(|run| Selector::Prefix(run.id.to_string())).collect();
        let runs = get(&history, if self.runs.is_empty() { &all } else { &self.runs })?;
        let to: Box<dyn Write> = match &self.output {
            Some(file) => Box::new(File::create(file).map_err(failed(file))?),
            None => Box::new(io::stdout().lock()),
        };
        merge::export(&runs, io::BufWriter::new(to)).map_err(told)
    }
}

impl Import {
    /// Takes in.
    pub fn run(&self) -> Result<(), CommandError> {
        let file = BufReader::new(File::open(&self.file).map_err(failed(&self.file))?);
        for (id, outcome) in merge::import(file, &mut self.own.open()?).map_err(told)? {
            let word = match outcome {
                Outcome::Added => "added",
                Outcome::Same => "there already",
                Outcome::Conflict => "not taken: another run of this id is there",
            };
            println!("{id}: {word}");
        }
        Ok(())
    }
}

impl Rm {
    /// Removes.
    pub fn run(&self) -> Result<(), CommandError> {
        let mut history = self.own.open()?;
        // Before any is gone, which would move what "latest" means.
        let ids: Vec<_> = self.runs.iter().map(|run| history.find(run)).collect::<Result<_, _>>().map_err(told)?;
        for id in ids {
            let id = history.delete(&Selector::Prefix(id.to_string())).map_err(told)?;
            println!("{id}: removed");
        }
        Ok(())
    }
}

fn get(history: &History, runs: &[Selector]) -> Result<Vec<Run>, CommandError> {
    runs.iter().map(|run| history.get(run)).collect::<Result<_, _>>().map_err(told)
}

fn failed(file: &Path) -> impl FnOnce(io::Error) -> CommandError {
    let what = file.display().to_string();
    |error| CommandError::Io { what, error }
}
