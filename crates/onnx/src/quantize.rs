//! From one file to a smaller one.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    fp16,
    graph::opset,
    grid::Scheme,
    job::{Job, Work},
    measure::{Baseline, Calibration, Run},
    mixed::{self, Limit},
    model::Model,
    plan::{Matters, Products, works},
    rewrite::{Works, rewrite},
    weights::{self, Weight},
    write::{LARGEST_MESSAGE, Layout},
};

/// What is made of a graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    /// Weights in blocks of so many bits.
    Blocks {
        /// 2, 4 or 8.
        bits: u32,
    },
    /// The same, and all else in 16-bit floats.
    BlocksHalf {
        /// 2, 4 or 8.
        bits: u32,
    },
    /// Weights of 8 bits, and what they are multiplied with as well, by its range at each run.
    Dynamic {
        /// Whether weights are signed.
        signed: bool,
    },
    /// 16-bit floats.
    Half,
    /// Blocks whose bits are chosen for each weight by what they do to the model's output.
    Mixed(Limit),
}

/// How a graph is quantised.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What is made of it.
    pub precision: Precision,
    /// Values that share a scale: a power of two from 16 on.
    pub block: usize,
    /// Whether each block has a zero point of its own.
    pub asymmetric: bool,
    /// Whether tables that are looked up become rows of 8 bits.
    pub tables: bool,
    /// The model's folder, with its tokenizer, where the model is to be run to see what matters and what comes of it.
    pub folder: Option<PathBuf>,
}

/// What is told while it goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Something begins.
    Begins(String),
    /// So many bytes of all are written.
    Wrote {
        /// So far.
        bytes: u64,
        /// In the end.
        all: u64,
    },
    /// What one width of one weight does to the output.
    Measured(mixed::Candidate),
}

/// A weight that became smaller.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Bits of its codes.
    pub bits: u32,
    /// Square error of its values against their squares, as they matter.
    pub error: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Bytes of the source.
    pub bytes_before: u64,
    /// Bytes of what was written.
    pub bytes_after: u64,
    /// The weights that became smaller.
    pub layers: Vec<Layer>,
    /// Nodes with floats in 16 and in 32 bits, where that was asked for.
    pub floats: Option<fp16::Turned>,
    /// Which input the model was run on, or why it was not.
    pub calibration: Result<Calibration, String>,
    /// What the output is off by, on input that nothing was chosen by; or why that is not known.
    pub output_error: Result<f64, String>,
    /// How long it took, without the last measurement.
    pub took: Duration,
}

/// Quantises a file. The destination is there when it is whole, or is as it was.
pub fn quantize(
    source: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Event),
) -> Result<Report, Error> {
    check(options)?;
    let began = Instant::now();
    let mut model = Model::open(source)?;
    let weights = weights::find(&model.graph);
    let baseline = match &options.folder {
        Some(folder) => {
            progress(Event::Begins("running the source".into()));
            Baseline::new(&mut model, &weights, folder)
        }
        None => Err(Error::NotRun),
    };
    let mut jobs = Vec::new();
    let works = choose(&weights, options, &baseline, &model, progress)?;
    if works.values().any(|(work, _)| matches!(work, Work::Columns { .. })) && opset(&model.rest) < 11 {
        return Err(Error::Options(
            "the graph is in operators older than version 11, which have no dynamic 8 bits; choose blocks".into(),
        ));
    }
    rewrite(&mut model, &works, &mut jobs)?;
    let floats = match options.precision {
        Precision::Half | Precision::BlocksHalf { .. } => {
            let large = baseline.as_ref().map_or_else(|_| HashSet::new(), |baseline| baseline.large.clone());
            Some(fp16::turn(&mut model, &mut jobs, &large)?)
        }
        _ => None,
    };
    if jobs.is_empty() && floats.as_ref().is_none_or(|floats| floats.half == 0) {
        return Err(Error::Nothing);
    }
    let layout = Layout::new(&model, destination, LARGEST_MESSAGE)?;
    if let Precision::Mixed(Limit::Bytes(most)) = options.precision
        && layout.bytes() > most
    {
        let bytes = layout.bytes();
        return Err(Error::Options(format!("it would have {bytes} bytes and may have {most}; give it more")));
    }
    let layers = write(&layout, &model, &jobs, progress)?;
    let took = began.elapsed();
    let output_error = baseline.as_ref().map_err(ToString::to_string).and_then(|baseline| {
        progress(Event::Begins("measuring the whole".into()));
        measure(options, baseline, &jobs, &model, destination).map_err(|error| error.to_string())
    });
    let calibration = baseline.map(|baseline| baseline.calibration).map_err(|error| error.to_string());
    let (bytes_before, bytes_after) = (model.bytes(), layout.bytes());
    Ok(Report { bytes_before, bytes_after, layers, floats, calibration, output_error, took })
}

/// What the output is off by. Blocks are run as what their codes stand for, which is what runtimes compute with; all else is
/// run as it was written.
fn measure(options: &Options, baseline: &Baseline, jobs: &[Job], model: &Model, file: &Path) -> Result<f64, Error> {
    match options.precision {
        Precision::Blocks { .. } | Precision::Mixed(_) => baseline.final_error_with(&mixed::exchanged(jobs, model)?),
        Precision::BlocksHalf { .. } | Precision::Dynamic { .. } | Precision::Half => {
            baseline.error_of(&Run::of_file(file, &baseline.held_out)?)
        }
    }
}

fn check(options: &Options) -> Result<(), Error> {
    if !options.block.is_power_of_two() || !(16..=1024).contains(&options.block) {
        let block = options.block;
        return Err(Error::Options(format!(
            "a block of {block} is none that the runtime has; choose 16, 32, 64, 128 or 256"
        )));
    }
    match options.precision {
        Precision::Blocks { bits } | Precision::BlocksHalf { bits } if ![2, 4, 8].contains(&bits) => {
            Err(Error::Options(format!("blocks of {bits} bits are none that the runtime has; choose 2, 4 or 8")))
        }
        _ => Ok(()),
    }
}

fn choose(
    weights: &[Weight],
    options: &Options,
    baseline: &Result<Baseline, Error>,
    model: &Model,
    progress: &mut dyn FnMut(Event),
) -> Result<Works, Error> {
    let none = Matters::new();
    let matters = baseline.as_ref().map_or(&none, |baseline| &baseline.matters);
    let products = match options.precision {
        Precision::Half => return Ok(Works::new()),
        Precision::Blocks { bits } | Precision::BlocksHalf { bits } => {
            Products::Blocks(Scheme { bits, block: options.block, asymmetric: options.asymmetric })
        }
        Precision::Dynamic { signed } => Products::Columns { signed },
        Precision::Mixed(limit) => {
            let blind = |error: &Error| Error::Options(format!("{error}; choose one width for all weights"));
            let baseline = baseline.as_ref().map_err(blind)?;
            return mixed::choose(&mixed::Choice { weights, options, limit, baseline, model }, progress);
        }
    };
    Ok(works(weights, products, options.tables, matters))
}

fn write(layout: &Layout, model: &Model, jobs: &[Job], progress: &mut dyn FnMut(Event)) -> Result<Vec<Layer>, Error> {
    let (mut bytes, all, mut layers) = (0, layout.bytes(), Vec::new());
    let mut make = |model: &Model, job: usize| {
        let job = &jobs[job];
        let made = job.run(model)?;
        if let Some((error, squares)) = made.error {
            let name = job.source.name().to_owned();
            layers.push(Layer {
                name,
                bits: job.work.bits(),
                error: if squares > 0.0 { error / squares } else { 0.0 },
            });
        }
        Ok(made.parts)
    };
    layout.write(model, &mut make, &mut |more| {
        bytes += more;
        progress(Event::Wrote { bytes, all });
    })?;
    Ok(layers)
}
