//! Machine: where a run is, as far as the system tells.

use std::{fs, num::NonZero, thread::available_parallelism};

use webinfer_bench::Machine;

use crate::browser::machine_memory;

/// This machine. Blocks on the file system.
pub fn machine() -> Machine {
    let kernel = |name: &str| text(&format!("/proc/sys/kernel/{name}"));
    let os = match (kernel("ostype"), kernel("osrelease")) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        _ => system().to_owned(),
    };
    let cores = available_parallelism().map_or(1, NonZero::get);
    Machine {
        os,
        cpu: text("/proc/cpuinfo").as_deref().and_then(processor).unwrap_or("unknown").to_owned(),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        memory_bytes: machine_memory().unwrap_or(0),
    }
}

/// Load average over a minute; `None` where the system has none.
pub fn load_average() -> Option<f64> {
    text("/proc/loadavg")?.split(' ').next()?.parse().ok()
}

fn system() -> &'static str {
    if cfg!(windows) {
        "Windows"
    } else if cfg!(target_os = "macos") {
        "macOS"
    } else {
        "unknown"
    }
}

/// The model of the first processor: x86 calls it by that name; others do not say.
fn processor(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|(_, name)| name.trim())
}

fn text(file: &str) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::processor;

    #[test]
    fn the_processors_name_is_found() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 2.0GHz\nflags\t: fpu\n";
        assert_eq!(processor(text), Some("A CPU @ 2.0GHz"));
        assert_eq!(processor("processor\t: 0\nFeatures\t: fp\n"), None);
    }
}
