//! What tests of files share.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it, and may")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models")
}

/// The graph of one of the tests' models.
pub fn tiny(model: &str) -> PathBuf {
    folder().join(model).join("onnx/model.onnx")
}

/// The graphs of the tests' models.
pub fn models() -> Vec<PathBuf> {
    let graphs =
        |model: &Path| fs::read_dir(model.join("onnx")).map(|all| all.map(|entry| entry.unwrap().path()).collect());
    let mut all: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        all.extend(graphs(&entry.unwrap().path()).unwrap_or_else(|_| Vec::new()));
    }
    all.retain(|path| path.extension().is_some_and(|end| end == "onnx"));
    all.sort();
    assert!(all.len() > 30);
    all
}
