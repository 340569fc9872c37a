//! Optimized: a model's graphs with fewer nodes, in a folder of their own below the models folder, which is found again by what
//! they were made of.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use webinfer_onnx::{Optimize, optimize};

use super::{
    File,
    hash::{hash, hex},
};
use crate::error::Error;

/// The folder of all such folders. Its name begins with a dot, so that it is no model.
const FOLDER: &str = ".optimized";
/// Letters of a hash that are in a name.
const LETTERS: usize = 16;

/// The folder that has a model's files with graphs in which what is recognised is one node; made where it is not there yet, which
/// takes seconds to minutes. A graph in which nothing is recognised is as it was. Blocks.
pub fn folder(root: &Path, source: &Path, files: &[File]) -> Result<PathBuf, Error> {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::invalid("spec.optimize", format!("the graphs of {name} cannot be optimised: {what}: {error}"))
    };
    let key = key(source, files).map_err(|error| failed("they cannot be read", &error))?;
    let all = root.join(FOLDER);
    let made = all.join(format!("{name}-{}", &key[..LETTERS]));
    if made.is_dir() {
        return Ok(made);
    }
    let unwritten = |error: io::Error| failed("no room for what is made", &error);
    fs::create_dir_all(&all).map_err(unwritten)?;
    let part = tempfile::Builder::new().prefix(".part-").tempdir_in(&all).map_err(unwritten)?;
    for file in files.iter().filter(|file| !file.path.ends_with(".onnx")) {
        let (from, to) = (source.join(&file.path), part.path().join(&file.path));
        place(&from, &to).map_err(unwritten)?;
    }
    for file in files.iter().filter(|file| file.path.ends_with(".onnx")) {
        let (from, to) = (source.join(&file.path), part.path().join(&file.path));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(unwritten)?;
        }
        let done = optimize(&from, &to, Optimize { packed: false }).map_err(|error| failed(&file.path, &error))?;
        tracing::info!(
            file = %from.display(), before = done.nodes_before, after = done.nodes_after, fused = ?done.fused,
            "nodes of an optimised graph"
        );
        if done.fused.is_empty() {
            place(&from, &to).map_err(unwritten)?;
        }
    }
    // Another service may have been faster; then its folder is the same.
    match fs::rename(part.path(), &made) {
        Err(error) if !made.is_dir() => Err(unwritten(error)),
        _ => Ok(made),
    }
}

/// A hash of all that the folder comes from.
fn key(source: &Path, files: &[File]) -> io::Result<String> {
    let mut all = Sha256::new();
    all.update(format!("{}\n", env!("CARGO_PKG_VERSION")));
    for file in files {
        let (sha256, _) = hash(&source.join(&file.path))?;
        all.update(format!("{sha256}  {}\n", file.path));
    }
    Ok(hex(&all.finalize()))
}

/// Has a file at another place, too: the same one, as far as the file system can, since models are large.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let from = from.canonicalize()?;
    fs::hard_link(&from, to).or_else(|_| fs::copy(&from, to).map(drop))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{FOLDER, folder};
    use crate::models::File;

    fn files(source: &Path) -> Vec<File> {
        let paths = ["config.json", "onnx/model.onnx", "tokenizer.json"];
        let bytes = |path: &str| fs::metadata(source.join(path)).unwrap().len();
        paths.iter().map(|path| File { path: (*path).to_owned(), bytes: bytes(path) }).collect()
    }

    #[test]
    fn a_folder_is_made_once_and_anew_when_its_source_changes() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("tiny");
        fs::create_dir_all(source.join("onnx")).unwrap();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/tiny-bert");
        for path in ["config.json", "onnx/model.onnx", "tokenizer.json"] {
            fs::copy(original.join(path), source.join(path)).unwrap();
        }
        let made = folder(root.path(), &source, &files(&source)).unwrap();
        assert!(made.starts_with(root.path().join(FOLDER)));
        let nodes = |folder: &Path| {
            let model = webinfer_onnx::Model::open(&folder.join("onnx/model.onnx")).unwrap();
            model.graph.node.len()
        };
        assert!(nodes(&made) < nodes(&source));
        assert_eq!(fs::read(made.join("tokenizer.json")).unwrap(), fs::read(source.join("tokenizer.json")).unwrap());
        let written = fs::metadata(made.join("onnx/model.onnx")).unwrap().modified().unwrap();
        assert_eq!(folder(root.path(), &source, &files(&source)).unwrap(), made);
        assert_eq!(fs::metadata(made.join("onnx/model.onnx")).unwrap().modified().unwrap(), written);
        fs::write(source.join("config.json"), "{}").unwrap();
        assert_ne!(folder(root.path(), &source, &files(&source)).unwrap(), made);
        // A graph that is none leaves nothing half made.
        fs::write(source.join("onnx/model.onnx"), "no graph").unwrap();
        assert!(folder(root.path(), &source, &files(&source)).is_err());
        assert_eq!(fs::read_dir(root.path().join(FOLDER)).unwrap().count(), 2);
    }
}
