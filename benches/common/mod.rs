//! What the rows share: the service as its users run it, the bare page, and the table with its raw samples.

#![allow(dead_code, reason = "each row uses a part of it")]

pub mod bare;
pub mod echo;
pub mod load;
pub mod process;
pub mod report;
pub mod service;

use std::{error::Error, path::PathBuf};

use clap::ValueEnum;
use webinfer::browser::Gpu;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What a bench runs on, where its environment says something: `BENCH_BACKEND`, `BENCH_GPU`, and `BENCH_NO_SANDBOX` for
/// machines whose containers allow none.
pub struct Machine {
    pub backend: String,
    pub gpu: Gpu,
    pub no_sandbox: bool,
}

impl Machine {
    pub fn here() -> Result<Self> {
        let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let gpu = said("BENCH_GPU").unwrap_or("auto".into());
        Ok(Self {
            backend: said("BENCH_BACKEND").unwrap_or("wasm".into()),
            gpu: Gpu::from_str(&gpu, true)?,
            no_sandbox: said("BENCH_NO_SANDBOX").is_some(),
        })
    }

    /// What the service has to be told of it.
    pub fn arguments(&self) -> Vec<String> {
        let gpu = self.gpu.to_possible_value().map_or("auto".into(), |value| value.get_name().to_owned());
        let mut arguments = vec![format!("--backend={}", self.backend), format!("--gpu={gpu}")];
        arguments.extend(self.no_sandbox.then(|| "--no-browser-sandbox".into()));
        arguments
    }
}

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
