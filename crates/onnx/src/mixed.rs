//! Bits for each weight by what they do to the model's output: each width of each weight is tried alone, the others as they
//! are, on a few items; and then steps down are taken in the order of error for each byte that they save. How far to go is
//! told by bytes, or by the error of the whole, which is measured as it is: on the half of the items that is there to choose by,
//! and then on the other half, so that what is written is within the limit there as well.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use rayon::prelude::*;
use tract_onnx::prelude::Tensor;

use crate::{
    error::Error,
    grid::Scheme,
    job::{Job, Work},
    journal::Journal,
    matrix::Coded as Codes,
    measure::{Baseline, Exchanged},
    model::Model,
    plan::{Products, bytes, work},
    quantize::{Event, Options},
    rewrite::Works,
    weights::{Use, Weight},
    write::Layout,
};

/// Widths that are tried, the widest first.
const WIDTHS: [u32; 3] = [8, 4, 2];

/// Bytes of the nodes and heads of tensors that a weight in codes has around it, besides their names: at most about so many.
const AROUND: u64 = 256;

/// How small it is to be, or how far off it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// At most so many bytes, of all files.
    Bytes(u64),
    /// The output may be off by so much: 1 - cosine.
    Error(f64),
}

/// One width of one weight, tried alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The weight's name.
    pub name: String,
    /// The width.
    pub bits: u32,
    /// Bytes that it takes.
    pub bytes: u64,
    /// What the output is off by.
    pub error: f64,
}

/// A step down of a weight, from one width to the next.
#[derive(Debug)]
struct Step {
    weight: usize,
    level: usize,
    saves: u64,
    cost: f64,
}

/// Weights with their widths, the widest first.
struct Levels<'a> {
    weights: Vec<&'a Weight>,
    works: Vec<Vec<Work>>,
}

/// What is chosen among, and by what.
pub struct Choice<'a> {
    /// The weights.
    pub weights: &'a [Weight],
    /// Of what kind the blocks are.
    pub options: &'a Options,
    /// How far to go.
    pub limit: Limit,
    /// What the model says.
    pub baseline: &'a Baseline,
}

impl Choice<'_> {
    /// Chooses for a source. What is measured is told, and noted; what was noted is not measured again.
    pub fn choose(
        &self,
        model: &Model,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Event),
    ) -> Result<Works, Error> {
        let Self { weights, options, limit, baseline } = *self;
        let levels = Levels::new(weights, options);
        progress(Event::Begins("measuring each width of each weight".into()));
        let coded = Coded::new(&levels, model, baseline);
        let order = order(levels.steps(&coded, journal, progress)?);
        let enough = match limit {
            Limit::Bytes(most) => {
                let whole = Layout::made(model, Path::new("model"))?.bytes();
                by_bytes(&order, whole, most)?
            }
            Limit::Error(most) => {
                progress(Event::Begins("measuring how far to go".into()));
                let after = |taken: usize| coded.values(&levels.chosen(&order[..taken]));
                let enough = by_error(order.len(), most, |taken| baseline.error_with(&after(taken)?))?;
                // What is within the limit on what it was chosen by may be beyond on other input: then it goes back.
                match baseline.final_error_with(&after(enough)?)? <= most {
                    true => enough,
                    false => by_error(enough - 1, most, |taken| baseline.final_error_with(&after(taken)?))?,
                }
            }
        };
        let chosen = levels.chosen(&order[..enough]).into_iter().map(|(at, level)| {
            let name = &levels.weights[at].name;
            (name.clone(), (levels.works[at][level], baseline.matters_of(name)))
        });
        Ok(chosen.collect())
    }
}

impl<'a> Levels<'a> {
    fn new(weights: &'a [Weight], options: &Options) -> Self {
        let widths = |weight: &Weight| {
            let products =
                |bits| Products::Blocks(Scheme { bits, block: options.block, asymmetric: options.asymmetric });
            let mut works: Vec<_> =
                WIDTHS.iter().filter_map(|bits| work(weight, products(*bits), options.tables)).collect();
            if matches!(weight.used, Use::Lookup { .. }) {
                works.truncate(1);
            }
            works
        };
        let (weights, works) = weights.iter().map(|weight| (weight, widths(weight))).unzip();
        Self { weights, works }
    }

    /// The steps of all weights, with what each does to the output.
    fn steps(
        &self,
        coded: &Coded<'_>,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Event),
    ) -> Result<Vec<Step>, Error> {
        let (mut steps, mut memory) = (Vec::new(), None);
        for (at, (weight, works)) in self.weights.iter().zip(&self.works).enumerate() {
            let known: Option<Vec<f64>> =
                works.iter().map(|work| journal.measured(&weight.name, work.bits())).collect();
            let errors = match known {
                Some(known) => known,
                None => {
                    let memory = match &mut memory {
                        Some(memory) => memory,
                        empty => empty.insert(coded.baseline.remember()?),
                    };
                    let one = |level| coded.baseline.quick_error_with(&coded.values(&[(at, level)])?, memory);
                    (0..works.len()).into_par_iter().map(one).collect::<Result<_, Error>>()?
                }
            };
            let around = AROUND + 8 * weight.name.len() as u64;
            let (mut before, mut bytes_before) = (0.0, weight.bytes.saturating_sub(around));
            for (level, (work, error)) in works.iter().zip(errors).enumerate() {
                let (name, bits, bytes) = (weight.name.clone(), work.bits(), bytes(*work));
                if journal.measured(&name, bits).is_none() {
                    journal.measure(&name, bits, error)?;
                }
                progress(Event::Measured(Candidate { name, bits, bytes, error }));
                let saves = bytes_before.saturating_sub(bytes);
                steps.push(Step { weight: at, level, saves, cost: (error - before).max(0.0) });
                (before, bytes_before) = (error, bytes);
            }
        }
        Ok(steps)
    }

    /// What steps come to: weights, and the widths of each.
    fn chosen(&self, steps: &[Step]) -> Vec<(usize, usize)> {
        let mut levels = vec![None; self.weights.len()];
        for step in steps {
            levels[step.weight] = levels[step.weight].max(Some(step.level));
        }
        levels.iter().enumerate().filter_map(|(at, level)| Some((at, (*level)?))).collect()
    }
}

/// Weights in codes, each made when it is first asked for.
struct Coded<'a> {
    baseline: &'a Baseline,
    model: &'a Model,
    jobs: Vec<Vec<(Job, OnceLock<Codes>)>>,
}

impl<'a> Coded<'a> {
    fn new(levels: &Levels<'_>, model: &'a Model, baseline: &'a Baseline) -> Self {
        let sources: HashMap<_, _> = model.graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect();
        let jobs = levels.weights.iter().zip(&levels.works).map(|(weight, works)| {
            let source = sources.get(weight.name.as_str()).copied().cloned().unwrap_or_default();
            let matters = baseline.matters_of(&weight.name);
            let job = |work: &Work| Job { source: source.clone(), work: *work, matters: matters.clone(), half: false };
            works.iter().map(|work| (job(work), OnceLock::new())).collect()
        });
        Self { baseline, model, jobs: jobs.collect() }
    }

    /// What the codes of some widths of some weights stand for.
    fn values(&self, chosen: &[(usize, usize)]) -> Result<Exchanged, Error> {
        let one = |(at, level): &(usize, usize)| {
            let (job, codes) = &self.jobs[*at][*level];
            let codes = match codes.get() {
                Some(codes) => codes,
                None => {
                    let made = codes_of(job, self.model)?;
                    codes.get_or_init(|| made)
                }
            };
            exchanged_for(job, codes)
        };
        chosen.par_iter().map(one).collect()
    }
}

/// Puts steps into the order in which they are worth it: the least error for a byte first, each weight's in their own order.
fn order(mut steps: Vec<Step>) -> Vec<Step> {
    let price = |step: &Step| step.cost / step.saves.max(1) as f64;
    let mut all = Vec::new();
    while !steps.is_empty() {
        // Those whose weight has no wider step left.
        let first = |step: &Step| !steps.iter().any(|other| other.weight == step.weight && other.level < step.level);
        let candidates = steps.iter().enumerate().filter(|(_, step)| first(step));
        let best = candidates.min_by(|(_, one), (_, other)| price(one).total_cmp(&price(other))).map(|(at, _)| at);
        all.push(steps.swap_remove(best.unwrap_or(0)));
    }
    all
}

/// How many steps make it small enough.
fn by_bytes(order: &[Step], mut bytes: u64, most: u64) -> Result<usize, Error> {
    for (taken, step) in order.iter().enumerate() {
        if bytes <= most {
            return Ok(taken);
        }
        bytes = bytes.saturating_sub(step.saves);
    }
    if bytes <= most {
        Ok(order.len())
    } else {
        Err(Error::Options(format!("it cannot be smaller than {bytes} bytes; give it more")))
    }
}

/// How many steps can be taken within an error. More steps are taken to be no better.
fn by_error(steps: usize, most: f64, measure: impl Fn(usize) -> Result<f64, Error>) -> Result<usize, Error> {
    let (mut good, mut bad) = (0, steps + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if measure(middle)? <= most { good = middle } else { bad = middle }
    }
    if good == 0 {
        Err(Error::Options(format!("no weight can be smaller within an error of {most}; allow more")))
    } else {
        Ok(good)
    }
}

/// All codes of a job.
fn codes_of(job: &Job, model: &Model) -> Result<Codes, Error> {
    let (shape, scheme) = job.work.codes().ok_or(Error::Nothing)?;
    job.code(&model.floats(&job.source)?, shape, scheme)
}

/// What codes stand for, with the name of their weight.
fn exchanged_for(job: &Job, codes: &Codes) -> Result<(String, Arc<Tensor>), Error> {
    let shape: Vec<_> = job.source.dims.iter().map(|dim| *dim as usize).collect();
    let tensor = Tensor::from_shape(&shape, &codes.values()).map_err(|error| Error::Run(error.to_string()))?;
    Ok((job.source.name().to_owned(), Arc::new(tensor)))
}

/// What the codes of jobs stand for, by the names of their weights.
pub fn exchanged(jobs: &[Job], model: &Model) -> Result<Exchanged, Error> {
    jobs.iter().map(|job| exchanged_for(job, &codes_of(job, model)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Step, by_bytes, by_error, order};

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(prop::collection::vec((0u64..1000, 0.0..1.0f64), 1..4), 1..8).prop_map(|weights| {
            let each = weights.into_iter().enumerate().flat_map(|(weight, levels)| {
                levels.into_iter().enumerate().map(move |(level, (saves, cost))| Step { weight, level, saves, cost })
            });
            each.collect()
        })
    }

    proptest! {
        #[test]
        fn each_weight_goes_down_step_by_step(steps in steps()) {
            let count = steps.len();
            let order = order(steps);
            prop_assert_eq!(order.len(), count);
            for (at, step) in order.iter().enumerate() {
                let before = order[..at].iter().filter(|other| other.weight == step.weight).count();
                prop_assert_eq!(before, step.level);
            }
        }

        #[test]
        fn bytes_are_kept_to_with_the_fewest_steps(steps in steps(), most in 0u64..5000) {
            let order = order(steps);
            let after = |taken: usize| 5000u64.saturating_sub(order[..taken].iter().map(|step| step.saves).sum());
            match by_bytes(&order, 5000, most) {
                Ok(taken) => prop_assert!(after(taken) <= most && (taken == 0 || after(taken - 1) > most)),
                Err(_) => prop_assert!(after(order.len()) > most),
            }
        }

        #[test]
        fn errors_are_kept_to(errors in prop::collection::vec(0.0..1.0f64, 1..30), most in 0.0..1.0f64) {
            let mut errors = errors;
            errors.sort_by(f64::total_cmp);
            match by_error(errors.len(), most, |taken| Ok(errors[taken - 1])) {
                Ok(taken) => prop_assert!(errors[taken - 1] <= most && errors.get(taken).is_none_or(|next| *next > most)),
                Err(_) => prop_assert!(errors[0] > most),
            }
        }
    }
}
