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

/// The first of the allowed backends without an obstacle. The error names all obstacles.
pub fn choose(allowed: &[Backend], obstacle: impl Fn(Backend) -> Option<String>) -> Result<Choice, String> {
    let mut passed = Vec::new();
    for (rank, &backend) in allowed.iter().enumerate() {
        match obstacle(backend) {
            None => return Ok(Choice { backend, rank, passed_over: passed.join("; ") }),
            Some(reason) => passed.push(format!("{}: {reason}", backend.name())),
        }
    }
    Err(passed.join("; "))
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
        let choice = choose(&all, obstacle).unwrap();
        assert_eq!((choice.backend, choice.rank), (Backend::Wasm, 2));
        assert_eq!(choice.passed_over, "webnn-gpu: none here; webgpu: none here");
        assert_eq!(choose(&all, |_| None).unwrap().passed_over, "");
        assert_eq!(choose(&all[..1], obstacle).unwrap_err(), "webnn-gpu: none here");
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
