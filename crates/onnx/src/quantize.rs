//! From one file to a smaller one.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    fp16,
    job::{Job, Layer},
    journal::{Journal, to_hex},
    measure::{Baseline, Calibration, Run},
    mixed::{self, Choice, Limit},
    model::Model,
    plan::{Matters, works},
    prepare::{Prepared, products},
    rewrite::Works,
    weights::{self, Weight},
    write::Layout,
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
    /// Values that share a scale: a power of two from 16 to 256.
    pub block: usize,
    /// Whether each block has a zero point of its own.
    pub asymmetric: bool,
    /// Whether tables that are looked up become rows of 8 bits.
    pub tables: bool,
    /// The model's folder, with its tokenizer, where the model is to be run to see what matters and what comes of it.
    pub folder: Option<PathBuf>,
}

impl Options {
    /// Whether they fit together, and the runtime has what they ask for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let block = self.block;
        if !block.is_power_of_two() || !(16..=256).contains(&block) {
            return Err(Error::Options(format!(
                "a block of {block} is none that the runtime has; choose 16, 32, 64, 128 or 256"
            )));
        }
        match self.precision {
            Precision::Blocks { bits } | Precision::BlocksHalf { bits } if ![2, 4, 8].contains(&bits) => {
                Err(Error::Options(format!("blocks of {bits} bits are none that the runtime has; choose 2, 4 or 8")))
            }
            _ => Ok(()),
        }
    }
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
    /// What the output is off by, on input that no weight was chosen by, though a limit of it was kept to; or why that is not
    /// known.
    pub output_error: Result<f64, String>,
    /// How long it took, without the last measurement.
    pub took: Duration,
}

/// Quantises a file. The destination is there when it is whole, or is as it was; where its weights are in a file of their
/// own, it may be gone if the machine stops while the two come to their places. What is interrupted leaves NAME.part and
/// NAME.journal beside it, and goes on from there when it is called again with the same source and options.
pub fn quantize(
    source: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Event),
) -> Result<Report, Error> {
    options.check()?;
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
    let task = Task { weights: &weights, options, baseline: &baseline, destination };
    let mut journal = Journal::open(destination, &task.key(&model)?)?;
    if journal.is_begun() {
        progress(Event::Begins("going on with what was interrupted".into()));
    }
    let made = task.make(model, &mut journal, progress);
    let Made { prepared: Prepared { model, jobs, floats }, bytes_after, layers } = journal.close(made)?;
    let took = began.elapsed();
    let output_error = baseline.as_ref().map_err(ToString::to_string).and_then(|baseline| {
        progress(Event::Begins("measuring the whole".into()));
        measure(options, baseline, &jobs, &model, destination).map_err(|error| error.to_string())
    });
    let calibration = baseline.map(|baseline| baseline.calibration).map_err(|error| error.to_string());
    Ok(Report { bytes_before: model.bytes(), bytes_after, layers, floats, calibration, output_error, took })
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

/// What is to be made, and of what.
struct Task<'a> {
    weights: &'a [Weight],
    options: &'a Options,
    baseline: &'a Result<Baseline, Error>,
    destination: &'a Path,
}

/// What was written.
struct Made {
    prepared: Prepared,
    bytes_after: u64,
    layers: Vec<Layer>,
}

impl Task<'_> {
    /// A hash of all that the result comes from: the program, the source, the options, and what runs of it showed.
    fn key(&self, model: &Model) -> Result<String, Error> {
        let Options { precision, block, asymmetric, tables, folder: _ } = self.options;
        let mut hash = Sha256::new();
        hash.update(format!("{} {precision:?} {block} {asymmetric} {tables} ", env!("CARGO_PKG_VERSION")));
        model.digest(&mut hash)?;
        if let Ok(baseline) = self.baseline {
            baseline.digest(&mut hash);
        }
        Ok(to_hex(hash))
    }

    fn make(&self, model: Model, journal: &mut Journal, progress: &mut dyn FnMut(Event)) -> Result<Made, Error> {
        let works = self.works(&model, journal, progress)?;
        let none = HashSet::new();
        let large = self.baseline.as_ref().map_or(&none, |baseline| &baseline.large);
        let prepared = Prepared::new(model, &works, self.options.precision, Some(large))?;
        let layout = Layout::made(&prepared.model, self.destination)?;
        let (mut bytes, all) = (0, layout.bytes());
        if let Precision::Mixed(Limit::Bytes(most)) = self.options.precision
            && all > most
        {
            return Err(Error::Options(format!("it would have {all} bytes and may have {most}; give it more")));
        }
        let mut make = |model: &Model, job: usize| prepared.jobs[job].run(model);
        let layers = layout.write(&prepared.model, &mut make, journal, &mut |more| {
            bytes += more;
            progress(Event::Wrote { bytes, all });
        })?;
        Ok(Made { prepared, bytes_after: all, layers })
    }

    /// What is to become of each weight.
    fn works(&self, model: &Model, journal: &mut Journal, progress: &mut dyn FnMut(Event)) -> Result<Works, Error> {
        let Self { weights, options, baseline, .. } = *self;
        if let Precision::Mixed(limit) = options.precision {
            let blind = |error: &Error| Error::Options(format!("{error}; choose one width for all weights"));
            let choice = Choice { weights, options, limit, baseline: baseline.as_ref().map_err(blind)? };
            return choice.choose(model, journal, progress);
        }
        let none = Matters::new();
        let matters = baseline.as_ref().map_or(&none, |baseline| &baseline.matters);
        let Some(products) = products(options)? else { return Ok(Works::new()) };
        Ok(works(weights, products, options.tables, matters))
    }
}
