//! Check: what a plan may ask for, and at which place it asks for something else.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use super::{Plan, Precision};
use crate::BenchError;

/// What the service knows: names that a plan may use. A list that is empty allows any name.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Ids of models.
    pub models: Vec<String>,
    /// Kinds of browsers.
    pub browsers: Vec<String>,
    /// Backends.
    pub backends: Vec<String>,
    /// Dtypes, and the bits of their weights.
    pub dtypes: Vec<(String, u32)>,
}

/// Longest name.
const LONGEST_NAME: usize = 256;
/// Longest path of an input, and most of them.
const LONGEST_PATH: usize = 4096;
const MOST_PATHS: usize = 1024;
/// Most values of one dimension.
const MOST_VALUES: usize = 256;

impl Plan {
    /// Whether all of it can be meant: names are known, numbers within their limits, and nothing is there twice.
    ///
    /// # Errors
    /// [`BenchError::Plan`] with the first place that is not right.
    pub fn check(&self, known: &Known) -> Result<(), BenchError> {
        if self.models.is_empty() {
            return Err(BenchError::plan("models", "it names none; name at least one"));
        }
        names("models", &self.models, &known.models)?;
        names("browsers", &self.browsers, &known.browsers)?;
        some("backends", &self.backends)?;
        names("backends", &self.backends, &known.backends)?;
        self.check_precisions(known)?;
        numbers("batch", &self.batch, (1, 4096))?;
        numbers("concurrency", &self.concurrency, (1, 4096))?;
        numbers("threads", &self.threads, (0, 64))?;
        numbers("workers", &self.workers, (1, 64))?;
        number("repeats", self.repeats, (1, 16))?;
        number("rounds", self.rounds, (1, 1000))?;
        time("round_time", self.round_time, (Duration::from_millis(10), Duration::from_secs(600)))?;
        number("warmup.most", self.warmup.most, (1, 1_000_000))?;
        number("warmup.least", self.warmup.least, (1, self.warmup.most))?;
        time("warmup.time", self.warmup.time, (Duration::from_millis(10), Duration::from_secs(3600)))?;
        number("at_once", self.at_once, (1, 64))?;
        let inputs = &self.inputs;
        for (name, paths) in
            [("inputs.texts", &inputs.texts), ("inputs.images", &inputs.images), ("inputs.audio", &inputs.audio)]
        {
            if paths.len() > MOST_PATHS {
                return Err(BenchError::plan(name, format!("it has {} paths; {MOST_PATHS} are the most", paths.len())));
            }
            if let Some(index) = paths.iter().position(|path| path.as_os_str().len() > LONGEST_PATH) {
                return Err(BenchError::plan(format!("{name}[{index}]"), "the path is too long"));
            }
        }
        let cells = self.size();
        if cells > Self::MOST_CELLS {
            let what = format!("it makes {cells} cells; {} are the most. Leave values out", Self::MOST_CELLS);
            return Err(BenchError::plan("its lists", what));
        }
        Ok(())
    }

    /// Cells that there are, skipped ones counted; the largest number where it would be more than that.
    fn size(&self) -> usize {
        let browsers = self.browsers.len().max(1).saturating_mul(self.repeats as usize);
        let lists = [self.models.len(), self.backends.len(), self.precisions.len(), self.batch.len()];
        let more = [self.concurrency.len(), self.threads.len(), self.workers.len()];
        lists.into_iter().chain(more).fold(browsers, usize::saturating_mul)
    }

    fn check_precisions(&self, known: &Known) -> Result<(), BenchError> {
        some("precisions", &self.precisions)?;
        distinct("precisions", &self.precisions)?;
        for (index, precision) in self.precisions.iter().enumerate() {
            let at = || format!("precisions[{index}]");
            match precision {
                Precision::Auto => {}
                Precision::Dtype(name) => {
                    let names: Vec<_> = known.dtypes.iter().map(|(name, _)| name.clone()).collect();
                    is_known(at, name, &names)?;
                }
                Precision::Bits(bits) => {
                    let widths: BTreeSet<_> = known.dtypes.iter().map(|(_, bits)| *bits).collect();
                    if (!widths.is_empty() && !widths.contains(bits)) || !(1..=64).contains(bits) {
                        let known = widths.iter().map(|bits| format!("{bits}bit")).collect::<Vec<_>>().join(", ");
                        return Err(BenchError::plan(at(), format!("no dtype has {bits} bits; these are: {known}")));
                    }
                }
            }
        }
        Ok(())
    }
}

fn some<T>(name: &str, values: &[T]) -> Result<(), BenchError> {
    match values.len() {
        0 => Err(BenchError::plan(name, "it is empty; leave it out for its default")),
        count if count > MOST_VALUES => {
            Err(BenchError::plan(name, format!("it has {count} values; {MOST_VALUES} are the most")))
        }
        _ => Ok(()),
    }
}

fn names(list: &str, values: &[String], known: &[String]) -> Result<(), BenchError> {
    if values.len() > MOST_VALUES {
        return some(list, values);
    }
    distinct(list, values)?;
    values.iter().enumerate().try_for_each(|(index, name)| is_known(|| format!("{list}[{index}]"), name, known))
}

fn is_known(at: impl Fn() -> String, name: &str, known: &[String]) -> Result<(), BenchError> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        let what = format!("a name has 1 to {LONGEST_NAME} bytes and no control characters");
        return Err(BenchError::plan(at(), what));
    }
    if !known.is_empty() && !known.iter().any(|known| known == name) {
        return Err(BenchError::plan(at(), format!("{name:?} is not known; these are: {}", known.join(", "))));
    }
    Ok(())
}

fn distinct<T: Ord + Display>(list: &str, values: &[T]) -> Result<(), BenchError> {
    let mut seen = BTreeSet::new();
    match values.iter().enumerate().find(|(_, value)| !seen.insert(*value)) {
        Some((index, value)) => Err(BenchError::plan(format!("{list}[{index}]"), format!("{value} is there twice"))),
        None => Ok(()),
    }
}

fn numbers(list: &str, values: &[u32], range: (u32, u32)) -> Result<(), BenchError> {
    some(list, values)?;
    distinct(list, values)?;
    values.iter().enumerate().try_for_each(|(index, value)| number(&format!("{list}[{index}]"), *value, range))
}

fn number(at: &str, value: u32, (least, most): (u32, u32)) -> Result<(), BenchError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(BenchError::plan(at, format!("{value} is not from {least} to {most}")))
}

fn time(at: &str, value: Duration, (least, most): (Duration, Duration)) -> Result<(), BenchError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let [value, least, most] = [value, least, most].map(humantime::format_duration);
    Err(BenchError::plan(at, format!("{value} is not from {least} to {most}")))
}
