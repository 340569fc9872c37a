//! The table: a line for each figure, and a JSON file with its samples and conditions.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{Result, repository};

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At least.
    AtLeast(f64),
    /// At most.
    AtMost(f64),
}

/// A row of the table.
pub struct Report {
    row: &'static str,
    conditions: Value,
    figures: Vec<Value>,
}

impl Report {
    /// An empty row, with what holds for all its figures.
    pub fn new(row: &'static str, mut conditions: Value) -> Self {
        conditions["cores"] = std::thread::available_parallelism().map_or(0, usize::from).into();
        conditions["load_average_at_start"] = load_average().into();
        conditions["commit"] = commit().into();
        conditions["package_version"] = env!("CARGO_PKG_VERSION").into();
        Self { row, conditions, figures: Vec::new() }
    }

    /// Adds a figure by its samples, one a round, and prints its line.
    pub fn figure(&mut self, what: &str, samples: &[f64], goal: Goal, raw: Value) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let median = median(&sorted);
        let (sign, bound, met) = match goal {
            Goal::AtLeast(bound) => ("≥", bound, median >= bound),
            Goal::AtMost(bound) => ("≤", bound, median <= bound),
        };
        let verdict = if met { "met" } else { "short" };
        println!("{:<4} {what:<58} {median:.4} ({least:.4} .. {most:.4})  goal {sign} {bound}  {verdict}", self.row);
        self.figures.push(json!({
            "what": what, "median": median, "min": least, "max": most, "samples": samples,
            "goal": format!("{sign} {bound}"), "met": met, "raw": raw,
        }));
    }

    /// Adds a figure that is told and not judged, and prints its line.
    pub fn told(&mut self, what: &str, samples: &[f64], unit: &str, raw: Value) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let median = median(&sorted);
        println!("{:<4} {what:<58} {median:.4} ({least:.4} .. {most:.4}) {unit}", self.row);
        self.figures.push(json!({
            "what": what, "median": median, "min": least, "max": most, "samples": samples, "unit": unit, "raw": raw,
        }));
    }

    /// Writes the row's file and says where it is.
    pub fn write(self) -> Result<()> {
        let folder = repository("results");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.row));
        let document = json!({
            "row": self.row, "conditions": self.conditions, "load_average_at_end": load_average(), "figures": self.figures,
        });
        fs::write(&path, serde_json::to_string_pretty(&document)?)?;
        println!("     samples and conditions: {}", path.strip_prefix(repository(""))?.display());
        Ok(())
    }
}

/// The middle of sorted numbers.
pub fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

fn load_average() -> String {
    fs::read_to_string(Path::new("/proc/loadavg")).unwrap_or_default().trim().to_owned()
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(repository("")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
