//! Wear: when a browser is to be replaced by a fresh one before it fails: browsers leak. Pure.

use std::time::Duration;

/// When a browser is worn. What is `None` never wears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory of its process tree, in bytes.
    pub memory: Option<u64>,
    /// Time since its start.
    pub age: Option<Duration>,
    /// Batches that it has run.
    pub runs: Option<u64>,
}

/// A browser is not worn before this age by memory or runs: a limit below what it needs at once would otherwise have it
/// replaced all the time.
const YOUNG: Duration = Duration::from_secs(60);

/// What a browser has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Memory of its process tree, in bytes.
    pub memory: u64,
    /// Time since its start.
    pub age: Duration,
    /// Batches that it has run.
    pub runs: u64,
}

impl Limits {
    /// Why a browser is worn, if it is: the kind, which is a label in the metrics.
    pub fn worn(&self, life: Life) -> Option<&'static str> {
        let above = |limit: Option<u64>, value| limit.is_some_and(|limit| value >= limit) && life.age >= YOUNG;
        if self.age.is_some_and(|limit| life.age >= limit) {
            Some("age")
        } else if above(self.memory, life.memory) {
            Some("memory")
        } else if above(self.runs, life.runs) {
            Some("runs")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Life, Limits, YOUNG};

    #[test]
    fn each_limit_wears_alone_and_none_does_at_once() {
        let life = Life { memory: 100, age: YOUNG, runs: 100 };
        let none = Limits::default();
        assert_eq!(none.worn(life), None);
        assert_eq!(Limits { memory: Some(100), ..none }.worn(life), Some("memory"));
        assert_eq!(Limits { memory: Some(101), ..none }.worn(life), None);
        assert_eq!(Limits { runs: Some(100), ..none }.worn(life), Some("runs"));
        assert_eq!(Limits { age: Some(YOUNG), ..none }.worn(life), Some("age"));
        let young = Life { age: Duration::from_secs(1), ..life };
        assert_eq!(Limits { memory: Some(1), runs: Some(1), age: Some(YOUNG) }.worn(young), None);
    }
}
