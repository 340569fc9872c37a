//! Writes a graph with fewer nodes, and prints what was fused.
//!
//!     cargo run --release -p webinfer-onnx --example optimize -- SOURCE DESTINATION [packed]

use std::{env, path::PathBuf, process::ExitCode};

use webinfer_onnx::{Optimize, optimize};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [source, destination, more @ ..] = &arguments[..] else {
        eprintln!("usage: optimize SOURCE DESTINATION [packed]");
        return ExitCode::FAILURE;
    };
    match optimize(source, destination, Optimize { packed: !more.is_empty() }) {
        Ok(done) => {
            println!("{} nodes before, {} after: {:?}", done.nodes_before, done.nodes_after, done.fused);
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}: {error}", source.display());
            ExitCode::FAILURE
        }
    }
}
