//! What the rows share: the service as its users run it, the bare page, and the table with its raw samples.

#![allow(dead_code, reason = "each row uses a part of it")]

pub mod bare;
pub mod echo;
pub mod load;
pub mod process;
pub mod report;
pub mod service;

use std::{error::Error, path::PathBuf};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A path below the repository's root.
pub fn repository(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), path].iter().collect()
}

/// Model folders to measure: the repository's q8 MiniLM, and the fp32 one where `BENCH_MODELS` names a models folder
/// that has it.
pub fn minilm() -> Vec<(&'static str, PathBuf)> {
    let mut found = vec![("q8", repository("models"))];
    let given = std::env::var_os("BENCH_MODELS").map(PathBuf::from);
    match given.filter(|folder| folder.join("all-MiniLM-L6-v2/onnx/model.onnx").is_file()) {
        Some(folder) => found.push(("fp32", folder)),
        None => eprintln!("fp32 is not measured: BENCH_MODELS names no folder with all-MiniLM-L6-v2/onnx/model.onnx"),
    }
    found
}

/// The sentences of a model's reference, and its vectors for a dtype.
pub fn reference(model: &std::path::Path, dtype: &str) -> Result<(Vec<String>, Vec<Vec<f32>>)> {
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(model.join("reference.json"))?)?;
    Ok((serde_json::from_value(all["sentences"].clone())?, serde_json::from_value(all[dtype].clone())?))
}

/// The cosine of two vectors.
pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
    };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}
