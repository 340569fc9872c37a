//! Choice: the backend for a replica in a browser, and the kind of browser that is guessed to run it best. Pure.

use std::str::FromStr;

use crate::{
    browser::Kind,
    execution::Backend,
    models::{FAMILIES, Task},
};

/// The backend for a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub backend: Backend,
    /// Its index in the list of those that are allowed.
    pub rank: usize,
    /// Those before it, and what was wrong with each; empty for the first.
    pub passed_over: String,
}

/// What is faster by less than this does not make up for not being what was asked for first.
pub const WORTH_IT: f64 = 1.2;

/// The first of the allowed backends without an obstacle, or one after it that is measured to be faster. `ratio` tells how
/// many times as long one takes as another, where both were measured. The error names all obstacles.
pub fn choose(
    allowed: &[Backend],
    obstacle: impl Fn(Backend) -> Option<String>,
    ratio: impl Fn(Backend, Backend) -> Option<f64>,
) -> Result<Choice, String> {
    let mut passed = Vec::new();
    let mut best: Option<(usize, Backend)> = None;
    for (rank, &backend) in allowed.iter().enumerate() {
        if let Some(reason) = obstacle(backend) {
            passed.push((rank, format!("{}: {reason}", backend.name())));
        } else if let Some((before, slower)) = best {
            let Some(times) = ratio(slower, backend).filter(|times| *times > WORTH_IT) else { continue };
            let reason = format!("it takes {times:.1} times as long here as {}", backend.name());
            passed.push((before, format!("{}: {reason}", slower.name())));
            best = Some((rank, backend));
        } else {
            best = Some((rank, backend));
        }
    }
    passed.sort_unstable();
    let before = |rank: usize| {
        let reasons = passed.iter().take_while(|(passed, _)| *passed < rank).map(|(_, reason)| reason.as_str());
        reasons.collect::<Vec<_>>().join("; ")
    };
    match best {
        Some((rank, backend)) => Ok(Choice { backend, rank, passed_over: before(rank) }),
        None => Err(before(allowed.len())),
    }
}

/// Where a model is guessed to run best, before anything was measured. Written `WHAT=KIND`: what is the family of the
/// task, the backend, `webnn` for all of its device types, or `*` for everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    what: What,
    kind: &'static Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Family(&'static str),
    Backend(Backend),
    WebNn,
    All,
}

impl FromStr for Guess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, kind) = text.split_once('=').ok_or("must be WHAT=KIND, like webnn=edge")?;
        let kind = Kind::named(kind).ok_or_else(|| format!("{kind:?} is not a kind of browser"))?;
        let family = FAMILIES.into_iter().find(|family| *family == what);
        let what =
            match (what, family) {
                ("*", _) => What::All,
                ("webnn", _) => What::WebNn,
                (_, Some(family)) => What::Family(family),
                (name, None) => What::Backend(name.parse().map_err(|error| {
                    format!("{error}; besides, there are the families {}, and *", FAMILIES.join(", "))
                })?),
            };
        Ok(Self { what, kind })
    }
}

impl Guess {
    fn is_about(&self, task: &Task, backend: Backend) -> bool {
        match self.what {
            What::Family(family) => family == task.family,
            What::Backend(meant) => meant == backend,
            What::WebNn => backend.is_webnn(),
            What::All => true,
        }
    }
}

/// Whether a kind of browser is the one that the first guess about a replica names.
pub fn is_guessed(guesses: &[Guess], task: &Task, backend: Backend, kind: Option<&Kind>) -> bool {
    let guess = guesses.iter().find(|guess| guess.is_about(task, backend));
    guess.is_some_and(|guess| kind == Some(guess.kind))
}

#[cfg(test)]
mod tests {
    use super::{Guess, choose, is_guessed};
    use crate::{browser::Kind, execution::Backend, models::Task};

    #[test]
    fn the_first_without_an_obstacle_is_chosen_and_the_others_are_named() {
        let all = [Backend::WebNnGpu, Backend::WebGpu, Backend::Wasm];
        let obstacle = |backend| (backend != Backend::Wasm).then(|| "none here".to_owned());
        let unknown = |_, _| None;
        let choice = choose(&all, obstacle, unknown).unwrap();
        assert_eq!((choice.backend, choice.rank), (Backend::Wasm, 2));
        assert_eq!(choice.passed_over, "webnn-gpu: none here; webgpu: none here");
        assert_eq!(choose(&all, |_| None, unknown).unwrap().passed_over, "");
        assert_eq!(choose(&all[..1], obstacle, unknown).unwrap_err(), "webnn-gpu: none here");
    }

    #[test]
    fn one_that_is_measured_to_be_faster_is_chosen() {
        let all = [Backend::WebGpu, Backend::WebNnCpu, Backend::Wasm];
        let time = |backend| match backend {
            Backend::WebGpu => 30.0,
            Backend::WebNnCpu => 11.0,
            _ => 10.0,
        };
        let ratio = |one, other| Some(time(one) / time(other));
        let choice = choose(&all, |_| None, ratio).unwrap();
        // The last is faster still, but not by enough.
        assert_eq!((choice.backend, choice.rank), (Backend::WebNnCpu, 1));
        assert_eq!(choice.passed_over, "webgpu: it takes 2.7 times as long here as webnn-cpu");
        let lacking = |backend| (backend == Backend::WebNnCpu).then(|| "none here".to_owned());
        let choice = choose(&all, lacking, ratio).unwrap();
        assert_eq!(choice.passed_over, "webgpu: it takes 3.0 times as long here as wasm; webnn-cpu: none here");
    }

    #[test]
    fn the_first_guess_that_is_about_it_counts() {
        let guesses: Vec<Guess> =
            ["audio=firefox", "webnn=edge", "*=chrome"].iter().map(|text| text.parse().unwrap()).collect();
        let guessed = |backend, kind| {
            is_guessed(&guesses, Task::parse("feature-extraction").unwrap(), backend, Kind::named(kind))
        };
        assert!(guessed(Backend::WebNnNpu, "edge") && !guessed(Backend::WebNnNpu, "chrome"));
        assert!(guessed(Backend::WebGpu, "chrome") && !guessed(Backend::WebGpu, "firefox"));
        for wrong in ["edge", "webnn=netscape", "smell=firefox"] {
            wrong.parse::<Guess>().unwrap_err();
        }
    }
}
