//! Plan: what is to be measured, of a file and of flags. Each flag takes the place of what the file says of the same.

use std::{path::PathBuf, time::Duration};

use clap::{Args, value_parser};
use webinfer_bench::{Plan, Precision};

use super::own::told;
use crate::{
    browser::Wanted,
    cli::{CommandError, read_file},
    config::duration,
    execution::Backend,
};

/// The model that is measured where nothing is said.
const MODEL: &str = "all-MiniLM-L6-v2";

/// What to measure. Lists are separated by commas; each combination is measured.
#[derive(Debug, Args)]
#[command(next_help_heading = "Matrix")]
pub struct Matrix {
    /// TOML file with a plan; flags take the place of what it says
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Models
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    pub model: Vec<String>,
    /// Family of the models: text, vision, audio, multimodal or tensor; others are refused, and without --model all of it are
    /// measured
    #[arg(long, value_name = "FAMILY", value_parser = crate::models::FAMILIES)]
    pub model_type: Option<String>,
    /// Kinds of browsers, or KIND=PATH for a program; a service of its own has one of each
    #[arg(long, value_name = "BROWSER,...", value_delimiter = ',')]
    pub browser: Vec<Wanted>,
    /// Backends: wasm, webgpu, webnn (or webnn-cpu), webnn-gpu, webnn-npu
    #[arg(long, visible_alias = "backend", value_name = "BACKEND,...", value_delimiter = ',')]
    platform: Vec<Backend>,
    /// Precisions: auto, or dtypes such as q8 or fp16
    #[arg(long, visible_alias = "dtype", value_name = "PRECISION,...", value_delimiter = ',')]
    precision: Vec<Precision>,
    /// Precisions by the bits of the weights: 2, 4, 8, 16, 32
    #[arg(long, value_name = "BITS,...", value_delimiter = ',')]
    bits: Vec<u32>,
    /// Compute in 16 bits with weights of 4 bits (q4f16, with --bits 4) or of 16 (fp16)
    #[arg(long)]
    mixed_precision: bool,
    /// Items of each request, and of each run
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',')]
    batch: Vec<u32>,
    /// Callers, each of which sends its next request when it has its answer
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',')]
    concurrency: Vec<u32>,
    /// WASM threads of a worker; 0 for the service's choice
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',')]
    threads: Vec<u32>,
    /// Workers that have the model
    #[arg(long, value_name = "COUNT,...", value_delimiter = ',')]
    workers: Vec<u32>,
    /// Rounds of each cell, 10 where nothing is said; fewer than 5 seldom say anything
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Time of a round, 2s where nothing is said
    #[arg(long, value_name = "TIME", value_parser = duration)]
    round_time: Option<Duration>,
    /// Cells that are loaded at once and measured in turn, 2 where nothing is said
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=64))]
    at_once: Option<u32>,
    /// Times that each cell is there, 1 where nothing is said: how far apart they are tells how far to believe the others
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=16))]
    repeats: Option<u32>,
}

impl Matrix {
    /// The plan. Names are checked by the service.
    pub fn plan(&self) -> Result<Plan, CommandError> {
        let mut plan = match &self.plan {
            None => Plan::default(),
            Some(file) => Plan::from_toml(&read_file(file)?).map_err(told)?,
        };
        put(&mut plan.models, self.model.clone());
        let backends: Vec<_> = self.platform.iter().map(|backend| backend.name().to_owned()).collect();
        put(&mut plan.backends, backends);
        put(&mut plan.browsers, self.browser.iter().filter_map(kind).collect());
        put(&mut plan.precisions, self.precisions()?);
        for (list, given) in [
            (&mut plan.batch, &self.batch),
            (&mut plan.concurrency, &self.concurrency),
            (&mut plan.threads, &self.threads),
            (&mut plan.workers, &self.workers),
        ] {
            put(list, given.clone());
        }
        plan.rounds = self.rounds.unwrap_or(plan.rounds);
        plan.round_time = self.round_time.unwrap_or(plan.round_time);
        plan.at_once = self.at_once.unwrap_or(plan.at_once);
        plan.repeats = self.repeats.unwrap_or(plan.repeats);
        if plan.models.is_empty() && self.model_type.is_none() {
            plan.models.push(MODEL.to_owned());
        }
        Ok(plan)
    }

    fn precisions(&self) -> Result<Vec<Precision>, CommandError> {
        let mut all = self.precision.clone();
        if !self.mixed_precision {
            all.extend(self.bits.iter().map(|bits| Precision::Bits(*bits)));
            return Ok(all);
        }
        let mixed = |bits: &u32| match bits {
            4 => Ok(Precision::Dtype("q4f16".into())),
            16 => Ok(Precision::Dtype("fp16".into())),
            bits => Err(CommandError::Usage(format!(
                "--mixed-precision computes in 16 bits, with weights of 4 bits (q4f16) or 16 (fp16), and of {bits} there \
                 is none; see `webinfer models quantize --mixed` for weights of several widths"
            ))),
        };
        let bits = if self.bits.is_empty() { &[16][..] } else { &self.bits[..] };
        all.extend(bits.iter().map(mixed).collect::<Result<Vec<_>, _>>()?);
        Ok(all)
    }
}

/// Name of the kind of browser that is wanted, where one is.
pub fn kind(wanted: &Wanted) -> Option<String> {
    match wanted {
        Wanted::Any | Wanted::Remote(_) => None,
        Wanted::Kind(kind) => Some(kind.name.to_owned()),
        Wanted::Program(found) => Some(found.kind.name.to_owned()),
    }
}

fn put<T>(place: &mut Vec<T>, given: Vec<T>) {
    if !given.is_empty() {
        *place = given;
    }
}
