//! Quantises a file in every precision, or in those that are named, and prints a table: size, error of the output, time, and the
//! most memory that it took (on Linux).
//!
//!     cargo run --release -p webinfer-onnx --example quantize -- MODEL_FOLDER [DESTINATION [PRECISION...]]
//!
//! With `--no-run` the model is not run, and blocks are made of the weights alone.

use std::{env, fs, path::PathBuf, process::ExitCode};

use webinfer_onnx::{Limit, Options, Precision, quantize};

/// The most memory that the process had at once, in bytes, since it was last forgotten.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}

/// Forgets it (`proc_pid_clear_refs(5)`).
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn main() -> ExitCode {
    let (flags, arguments): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|argument| argument == "--no-run");
    let mut arguments = arguments.into_iter();
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: quantize MODEL_FOLDER [DESTINATION [PRECISION...]] [--no-run]");
        return ExitCode::FAILURE;
    };
    let destination = arguments.next().map_or_else(env::temp_dir, PathBuf::from);
    let named: Vec<_> = arguments.collect();
    println!("| Precision | Size | Error of the output | Time | Memory |\n| --- | --- | --- | --- | --- |");
    let blocks = |bits| (Precision::Blocks { bits }, false);
    let all = [
        ("q8", (Precision::Dynamic { signed: false }, false)),
        ("int8", (Precision::Dynamic { signed: true }, false)),
        ("fp16", (Precision::Half, false)),
        ("blocks of 8 bits", blocks(8)),
        ("q4", blocks(4)),
        ("q4, asymmetric", (Precision::Blocks { bits: 4 }, true)),
        ("q4f16", (Precision::BlocksHalf { bits: 4 }, false)),
        ("q2", blocks(2)),
        ("q2, asymmetric", (Precision::Blocks { bits: 2 }, true)),
        ("mixed, error of at most 0.001", (Precision::Mixed(Limit::Error(0.001)), true)),
        ("mixed, error of at most 0.01", (Precision::Mixed(Limit::Error(0.01)), true)),
    ];
    for (name, (precision, asymmetric)) in all {
        if !named.is_empty() && !named.iter().any(|wanted| wanted == name) {
            continue;
        }
        let folder_to_run = flags.is_empty().then(|| folder.clone());
        let options = Options { precision, block: 32, asymmetric, tables: true, folder: folder_to_run };
        let file = format!("model_{}.onnx", name.replace([' ', ',', '.'], "_"));
        forget_peak();
        match quantize(&folder.join("onnx/model.onnx"), &destination.join(file), &options, &mut |_| {}) {
            Ok(report) => {
                let error = report.output_error.map_or_else(|error| error, |error| format!("{error:.6}"));
                let (before, after) = (report.bytes_before as f64 / 1e6, report.bytes_after as f64 / 1e6);
                let (time, memory) = (report.took.as_secs_f64(), peak().map_or(0.0, |bytes| bytes as f64 / 1e6));
                println!("| {name} | {after:.2} of {before:.2} MB | {error} | {time:.2} s | {memory:.0} MB |");
            }
            Err(error) => println!("| {name} | {error} | | | |"),
        }
    }
    ExitCode::SUCCESS
}
