//! Power: what the machine's own meters tell of the energy that it takes. It is of all that runs there: nobody can tell a
//! browser's part.
//!
//! Processors by Linux's powercap interface (RAPL), GPUs by `nvidia-smi`, which runs once for all of a run.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Where Linux has the meters of processors.
pub const POWERCAP: &str = "/sys/class/powercap";
/// What is asked of each GPU, ten times a second.
const ASKED: [&str; 3] = ["--query-gpu=index,power.draw", "--format=csv,noheader,nounits", "--loop-ms=100"];

/// The meters that can be read.
#[derive(Debug)]
pub struct Meters {
    packages: Result<Vec<Package>, String>,
    /// `None` where no GPU is to be measured.
    gpus: Option<Result<Gpus, String>>,
}

/// A processor's meter: it begins again at 0 above its range.
#[derive(Debug)]
struct Package {
    file: PathBuf,
    range: u64,
}

#[derive(Debug)]
struct Gpus {
    /// What all have taken since the beginning.
    taken: Arc<Mutex<Taken>>,
    _child: Child,
}

/// What GPUs have taken.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    joules: f64,
    /// Powers of which that was made.
    lines: u64,
}

/// What the meters say at a moment.
#[derive(Clone, Debug)]
pub struct Reading {
    packages: Vec<u64>,
    /// `None` where GPUs do not count.
    gpus: Option<Taken>,
}

impl Meters {
    /// The meters of this machine; those of GPUs only where one is to be measured.
    pub fn find(powercap: &Path, gpus: bool) -> Self {
        Self { packages: packages(powercap), gpus: gpus.then(Gpus::start) }
    }

    /// What they say now, of GPUs too where these count; the error tells why nothing. Blocks for a few reads of files that are
    /// not on a disk.
    pub fn read(&self, gpus: bool) -> Result<Reading, String> {
        let packages = self.packages.as_ref().map_err(String::clone)?;
        let micros = |package: &Package| {
            number(&package.file).ok_or_else(|| format!("{} cannot be read any more", package.file.display()))
        };
        let gpus = match self.gpus.as_ref().filter(|_| gpus) {
            None => None,
            Some(Ok(gpus)) => Some(*gpus.taken.lock().unwrap_or_else(PoisonError::into_inner)),
            Some(Err(reason)) => return Err(reason.clone()),
        };
        Ok(Reading { packages: packages.iter().map(micros).collect::<Result<_, _>>()?, gpus })
    }

    /// Joules between two readings; the error tells what is missing in them.
    pub fn between(&self, before: &Reading, after: &Reading) -> Result<f64, String> {
        let packages = self.packages.as_deref().unwrap_or_default();
        let micros = packages.iter().zip(before.packages.iter().zip(&after.packages)).map(|(package, (from, to))| {
            to.checked_sub(*from).unwrap_or_else(|| package.range.saturating_sub(*from).saturating_add(*to))
        });
        let gpus = match (before.gpus, after.gpus) {
            (Some(before), Some(after)) if after.lines == before.lines => {
                return Err("no energy of GPUs: nvidia-smi told no power meanwhile".into());
            }
            (Some(before), Some(after)) => after.joules - before.joules,
            _ => 0.0,
        };
        Ok(micros.sum::<u64>() as f64 / 1e6 + gpus)
    }
}

impl Gpus {
    fn start() -> Result<Self, String> {
        let mut child = Command::new("nvidia-smi")
            .args(ASKED)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("no energy of GPUs: nvidia-smi cannot be run: {error}"))?;
        let output = child.stdout.take().ok_or("no energy of GPUs: nvidia-smi has no output")?;
        let taken = Arc::new(Mutex::new(Taken::default()));
        let sum = taken.clone();
        tokio::spawn(async move {
            let (mut lines, mut last) = (BufReader::new(output).lines(), HashMap::new());
            while let Ok(Some(line)) = lines.next_line().await {
                let Some(joules) = energy(&line, &mut last, Instant::now()) else { continue };
                let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                *sum = Taken { joules: sum.joules + joules, lines: sum.lines + 1 };
            }
        });
        Ok(Self { taken, _child: child })
    }
}

/// Joules that a line of `nvidia-smi` stands for: its GPU has had that power since the line before. `None` where it says
/// something else, such as "[N/A]".
fn energy(line: &str, last: &mut HashMap<u32, Instant>, now: Instant) -> Option<f64> {
    let (index, watts) = line.split_once(',')?;
    let (index, watts): (_, f64) = (index.trim().parse().ok()?, watts.trim().parse().ok()?);
    let since = last.insert(index, now).map_or(0.0, |last| now.saturating_duration_since(last).as_secs_f64());
    watts.is_finite().then_some(watts * since)
}

/// The meters of whole processors: what is inside of them is counted with them.
fn packages(powercap: &Path) -> Result<Vec<Package>, String> {
    let none = |reason: String| format!("no energy of processors: {reason}");
    let folders = fs::read_dir(powercap).map_err(|error| none(format!("{}: {error}", powercap.display())))?;
    let mut packages = Vec::new();
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("intel-rapl:").filter(|rest| !rest.contains(':')) else { continue };
        let file = folder.path().join("energy_uj");
        if let Err(error) = fs::read_to_string(&file) {
            return Err(none(format!("{}: {error}; root can let others read it", file.display())));
        }
        let range = number(&folder.path().join("max_energy_range_uj"));
        packages.push(Package { file, range: range.ok_or_else(|| none(format!("the meter {rest} has no range")))? });
    }
    if packages.is_empty() { Err(none(format!("{} has none", powercap.display()))) } else { Ok(packages) }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        fs,
        path::Path,
        time::{Duration, Instant},
    };

    use super::{Meters, Reading, Taken, energy};

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn processors_are_added_up_and_their_meters_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for number in ["0", "1", "0:0"] {
            write(root, &format!("intel-rapl:{number}/max_energy_range_uj"), "10000000\n");
        }
        // What is inside of a processor is counted with it.
        write(root, "intel-rapl:0:0/energy_uj", "5");
        let set = |first: &str, second: &str| {
            write(root, "intel-rapl:0/energy_uj", first);
            write(root, "intel-rapl:1/energy_uj", second);
        };
        set("1000000\n", "9000000\n");
        let meters = Meters::find(root, false);
        let before = meters.read(true).unwrap();
        set("1500000\n", "2000000\n");
        let after = meters.read(false).unwrap();
        assert!((meters.between(&before, &after).unwrap() - 3.5).abs() < 1e-9);
        fs::remove_file(root.join("intel-rapl:1/energy_uj")).unwrap();
        assert!(meters.read(false).unwrap_err().contains("any more"));
    }

    #[test]
    fn why_nothing_can_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for place in [folder.path().join("none"), folder.path().to_owned()] {
            let reason = Meters::find(&place, false).read(false).unwrap_err();
            assert!(reason.contains("no energy of processors"), "{reason}");
        }
    }

    #[test]
    fn a_gpus_power_counts_for_the_time_since_its_last_line() {
        let (mut last, begun) = (HashMap::new(), Instant::now());
        let lines = [
            (0, "0, 100.00"),
            (0, "1, 50.00"),
            (500, "0, 200.00"),
            (1000, "1, 60.00"),
            (1000, "0, [N/A]"),
            (1000, "no devices were found"),
            (1500, "0, inf"),
        ];
        let joules = lines.map(|(millis, line)| energy(line, &mut last, begun + Duration::from_millis(millis)));
        assert_eq!(joules.iter().flatten().count(), 4, "{joules:?}");
        assert!((joules.iter().flatten().sum::<f64>() - 160.0).abs() < 1e-6, "{joules:?}");
    }

    #[test]
    fn gpus_that_tell_nothing_are_not_left_out_in_silence() {
        let meters = Meters { packages: Ok(Vec::new()), gpus: None };
        let at = |joules, lines| Reading { packages: Vec::new(), gpus: Some(Taken { joules, lines }) };
        assert_eq!(meters.between(&at(1.0, 5), &at(3.5, 9)), Ok(2.5));
        assert!(meters.between(&at(1.0, 5), &at(1.0, 5)).unwrap_err().contains("no energy of GPUs"));
    }
}
