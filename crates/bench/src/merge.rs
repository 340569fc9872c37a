//! Merge: runs of one machine in the history of another.
//!
//! A file of exported runs has one JSON document in each line: first what it is, then a run in each.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read, Write},
};

use serde::{Deserialize, Serialize};

use crate::{BenchError, History, Run, RunId, Selector};

const FORMAT: &str = "webinfer-bench";
const VERSION: u32 = 1;
/// Most runs of a file.
const MOST_RUNS: usize = 1024;
/// Longest line, and largest file, in bytes.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;
const LARGEST: u64 = 128 * 1024 * 1024;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    version: u32,
    runs: usize,
}

/// What of the first line is read first: of a later version the rest may be anything.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

/// What became of a run of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was added.
    Added,
    /// The history has it already.
    Same,
    /// The history has another one of its id, which stays.
    Conflict,
}

/// Writes runs, each once; nothing where they are more than an import takes.
///
/// # Errors
/// [`BenchError::Record`] where they are too many or too large; [`BenchError::Io`] where they cannot be written.
pub fn export(runs: &[Run], mut to: impl Write) -> Result<(), BenchError> {
    let unwritten = |error: io::Error| BenchError::Io { what: "the runs cannot be written".into(), error };
    let mut ids = BTreeSet::new();
    let once: Vec<_> = runs.iter().filter(|run| ids.insert(run.id.as_str())).collect();
    let head = Head { format: FORMAT.into(), version: VERSION, runs: once.len() };
    let mut lines = vec![serde_json::to_vec(&head).map_err(|error| unwritten(error.into()))?];
    let mut bytes = lines[0].len() as u64 + 1;
    for run in once {
        let line = serde_json::to_vec(run).map_err(|error| unwritten(error.into()))?;
        let length = line.len() as u64 + 1;
        bytes += length;
        if length > LONGEST_LINE || bytes > LARGEST || lines.len() > MOST_RUNS {
            let most = format!("{MOST_RUNS} runs of {LONGEST_LINE} bytes each and {LARGEST} in all");
            return Err(BenchError::record(
                "the export",
                format!("is too large: {most} are the most; name fewer runs"),
            ));
        }
        lines.push(line);
    }
    let mut write = || -> io::Result<()> {
        for line in &lines {
            to.write_all(line)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    };
    write().map_err(unwritten)
}

/// Takes the runs of a file into a history: all that it does not have, or none where anything is wrong with the file.
///
/// # Errors
/// [`BenchError::Import`] with the line that is wrong; what is wrong with the history.
pub fn import(from: impl Read, history: &mut History) -> Result<Vec<(RunId, Outcome)>, BenchError> {
    let runs = read(from)?;
    let (mut outcomes, mut new) = (Vec::new(), Vec::new());
    for run in runs {
        let outcome = match history.get(&Selector::Prefix(run.id.to_string())) {
            Ok(there) if there == run => Outcome::Same,
            Ok(_) => Outcome::Conflict,
            Err(BenchError::NoRun { .. }) => Outcome::Added,
            Err(error) => return Err(error),
        };
        outcomes.push((run.id.clone(), outcome.clone()));
        if outcome == Outcome::Added {
            new.push(run);
        }
    }
    history.add(&new)?;
    Ok(outcomes)
}

fn read(from: impl Read) -> Result<Vec<Run>, BenchError> {
    let mut from = io::BufReader::new(from.take(LARGEST + 1));
    let (mut number, mut all, mut runs) = (0, 0_u64, Vec::<Run>::new());
    let mut expected = None;
    loop {
        number += 1;
        let refuse = |what: String| BenchError::Import { line: number, what };
        let mut line = Vec::new();
        let length = (&mut from).take(LONGEST_LINE + 1).read_until(b'\n', &mut line);
        let length = length.map_err(|error| refuse(format!("cannot be read: {error}")))? as u64;
        all += length;
        if length > LONGEST_LINE || all > LARGEST {
            return Err(refuse(format!("is too long: {LONGEST_LINE} bytes a line and {LARGEST} in all are the most")));
        }
        let Some(expected) = expected else {
            expected = Some(head(&line).map_err(refuse)?);
            continue;
        };
        if line.is_empty() {
            return if runs.len() == expected {
                Ok(runs)
            } else {
                Err(refuse(format!("is its end, after {} of {expected} runs: it was cut off", runs.len())))
            };
        }
        if runs.len() == expected {
            return Err(refuse(format!("comes after all of its {expected} runs")));
        }
        let run: Run = serde_json::from_slice(&line).map_err(|error| refuse(format!("is no run: {error}")))?;
        run.check().map_err(|error| refuse(format!("is no run: {error}")))?;
        if runs.iter().any(|there| there.id == run.id) {
            return Err(refuse(format!("has {} again", run.id)));
        }
        runs.push(run);
    }
}

/// How many runs follow.
fn head(line: &[u8]) -> Result<usize, String> {
    let unknown = |error| format!("does not say that it is an export of `webinfer bench`: {error}");
    let kind: Kind = serde_json::from_slice(line).map_err(unknown)?;
    if kind.format != FORMAT {
        return Err(format!(
            "says that it is {:?}, and not {FORMAT}",
            kind.format.chars().take(64).collect::<String>()
        ));
    }
    if kind.version != VERSION {
        return Err(format!(
            "is of version {}, and this program knows {VERSION}: use the one that wrote it",
            kind.version
        ));
    }
    let head: Head = serde_json::from_slice(line).map_err(unknown)?;
    if head.runs > MOST_RUNS {
        return Err(format!("announces {} runs; {MOST_RUNS} are the most", head.runs));
    }
    Ok(head.runs)
}

#[cfg(test)]
mod tests;
