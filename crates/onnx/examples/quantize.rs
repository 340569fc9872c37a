//! Quantises a file in every precision, and prints a table: size, error of the output, time.
//!
//!     cargo run --release -p webinfer-onnx --example quantize -- MODEL_FOLDER [DESTINATION]

use std::{env, path::PathBuf, process::ExitCode};

use webinfer_onnx::{Limit, Options, Precision, quantize};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: quantize MODEL_FOLDER [DESTINATION]");
        return ExitCode::FAILURE;
    };
    let destination = arguments.next().unwrap_or_else(env::temp_dir);
    println!("| Precision | Size | Error of the output | Time |\n| --- | --- | --- | --- |");
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
        let options = Options { precision, block: 32, asymmetric, tables: true, folder: Some(folder.clone()) };
        let file = format!("model_{}.onnx", name.replace([' ', ',', '.'], "_"));
        match quantize(&folder.join("onnx/model.onnx"), &destination.join(file), &options, &mut |_| {}) {
            Ok(report) => {
                let error = report.output_error.map_or_else(|error| error, |error| format!("{error:.6}"));
                let (before, after) = (report.bytes_before as f64 / 1e6, report.bytes_after as f64 / 1e6);
                println!("| {name} | {after:.2} of {before:.2} MB | {error} | {:.2} s |", report.took.as_secs_f64());
            }
            Err(error) => println!("| {name} | {error} | | |"),
        }
    }
    ExitCode::SUCCESS
}
