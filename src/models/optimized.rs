//! Optimized: a model's graphs with fewer nodes, in a folder of their own below the models folder, which is found again by what
//! they were made of.

use std::{
    fs, io,
    path::{self, Path, PathBuf},
};

use sha2::{Digest, Sha256};
use webinfer_onnx::{
    Error as NotMade, Model, Optimize, Optimized, ReadError, optimize,
    optimize::VERSION,
    optimize_to_half,
    proto::{ValueInfoProto, type_proto},
};

use super::{
    File, MAKING,
    hash::{hash, hex},
    smaller::is_inside,
};
use crate::error::Error;

/// The folder of all such folders. Its name begins with a dot, so that it is no model.
const FOLDER: &str = ".optimized";
/// How the names of folders begin that are being made.
const PART: &str = ".part-";
/// Whoever makes one has its lock.
const LOCK: &str = ".lock";
/// Letters of a hash that are in a name.
const LETTERS: usize = 16;

/// The folder, with all links resolved, that has a model's files with graphs in which what is recognised is one node; made where
/// it is not there yet, which takes seconds to minutes. A graph in which nothing is recognised is as it was. Blocks.
pub fn folder(root: &Path, source: &Path, files: &[File]) -> Result<PathBuf, Error> {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::invalid("spec.optimize", format!("the graphs of {name} cannot be optimised: {what}: {error}"))
    };
    let key = key(source, files).map_err(|error| failed("they cannot be read", &error))?;
    let unwritten = |error: io::Error| failed("no room for what is made", &error);
    let all = root.join(FOLDER);
    fs::create_dir_all(&all).map_err(unwritten)?;
    let all = all.canonicalize().map_err(unwritten)?;
    let made = all.join(format!("{name}-{}", &key[..LETTERS]));
    if made.is_dir() {
        return Ok(made);
    }
    let _alone = alone(&all)?;
    let part = tempfile::Builder::new().prefix(PART).tempdir_in(&all).map_err(unwritten)?;
    for file in files.iter().filter(|file| !file.path.ends_with(".onnx")) {
        let (from, to) = (source.join(&file.path), part.path().join(&file.path));
        place(&from, &to).map_err(unwritten)?;
    }
    for file in files.iter().filter(|file| file.path.ends_with(".onnx")) {
        let (from, to) = (source.join(&file.path), part.path().join(&file.path));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(unwritten)?;
        }
        let done = graph(&from, &to, Optimize { packed: false }).map_err(|error| failed(&file.path, &error))?;
        tracing::info!(
            file = %from.display(), before = done.nodes_before, after = done.nodes_after, fused = ?done.fused,
            "nodes of an optimised graph"
        );
        if done.fused.is_empty() {
            place(&from, &to).map_err(unwritten)?;
        }
    }
    // Where there are no locks another service may have been faster; then its folder is the same.
    match fs::rename(part.path(), &made) {
        Err(error) if !made.is_dir() => Err(unwritten(error)),
        _ => Ok(made),
    }
}

/// The right to make such folders, which ends with the process; and nothing is left of what others began and did not end.
fn alone(all: &Path) -> Result<Option<fs::File>, Error> {
    let lock = fs::File::options().write(true).create(true).truncate(false).open(all.join(LOCK));
    let Ok(lock) = lock else { return Ok(None) };
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let what = "graphs are being optimised in the same models folder, one model at a time".into();
            return Err(Error::Overloaded { what, retry_after: MAKING });
        }
        // Where files cannot be locked, nobody can tell who is at work.
        Err(fs::TryLockError::Error(_)) => return Ok(None),
    }
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    for left in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PART)) {
        if let Err(error) = fs::remove_dir_all(left.path()) {
            tracing::warn!(folder = %left.path().display(), %error, "what was left half made stays");
        }
    }
    Ok(Some(lock))
}

/// Removes all folders that were made of a model; returns how many bytes they had. Blocks.
pub fn forget(root: &Path, name: &str) -> io::Result<u64> {
    let made = |entry: &fs::DirEntry| {
        let file = entry.file_name();
        let key = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
        key.is_some_and(|key| key.len() == LETTERS && key.bytes().all(|letter| letter.is_ascii_hexdigit()))
    };
    let entries = fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten();
    let mut bytes = 0;
    for folder in entries.filter(made).map(|entry| entry.path()) {
        bytes += webinfer_store::size(&folder);
        fs::remove_dir_all(&folder)?;
    }
    Ok(bytes)
}

/// Writes a graph with fewer nodes, if there is something to recognise in it. One in 16-bit floats is made of the one in 32
/// that is beside it, if that is there: in a conversion's casts less is recognised. Blocks.
pub fn graph(from: &Path, to: &Path, options: Optimize) -> Result<Optimized, NotMade> {
    let Some(full) = full(from) else { return optimize(from, to, options) };
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = tempfile::Builder::new().prefix(".part-").tempdir_in(folder);
    let unwritten = |error| NotMade::Write { path: folder.display().to_string(), error };
    let beside = beside.map_err(unwritten)?;
    match optimize_to_half(&full, to, options, beside.path()) {
        // It is no good for that; the one in 16 may be.
        Err(error @ (NotMade::Options(_) | NotMade::Read(_) | NotMade::Nothing)) => {
            tracing::info!(file = %full.display(), %error, "not turned to 16 bits");
            optimize(from, to, options)
        }
        done => done,
    }
}

/// The graph in 32-bit floats that lies beside one in 16 and takes and gives the same.
fn full(half: &Path) -> Option<PathBuf> {
    let half = path::absolute(half).ok()?;
    let name = half.file_name()?.to_str()?.strip_suffix("_fp16.onnx")?;
    let full = half.with_file_name(format!("{name}.onnx"));
    let ends = |path: &Path| {
        let graph = Model::open(path).ok()?.graph;
        let ends: Vec<_> =
            [graph.input, graph.output].iter().map(|values| values.iter().map(end).collect::<Vec<_>>()).collect();
        Some(ends)
    };
    (is_inside(half.parent()?, &full) && ends(&full)? == ends(&half)?).then_some(full)
}

/// The name and the type of what goes in or comes out.
fn end(value: &ValueInfoProto) -> (String, Option<i32>) {
    let kind = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor.elem_type()),
        _ => None,
    };
    (value.name().to_owned(), kind)
}

/// A hash of all that the folder comes from.
fn key(source: &Path, files: &[File]) -> Result<String, ReadError> {
    let mut all = Sha256::new();
    all.update(format!("{} {VERSION}\n", env!("CARGO_PKG_VERSION")));
    for file in files {
        let path = source.join(&file.path);
        let (sha256, _) = hash(&path)?;
        all.update(format!("{sha256}  {}\n", file.path));
        if let Some(full) = full(&path) {
            Model::open(&full)?.digest(&mut all)?;
        }
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
    use std::{collections::BTreeSet, fs, path::Path};

    use webinfer_onnx::{Model, Options, Precision, quantize};

    use super::{FOLDER, LOCK, folder, forget};
    use crate::{error::Error, models::File};

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
        assert_eq!(made, made.canonicalize().unwrap());
        assert_eq!(made.parent(), Some(root.path().join(FOLDER).canonicalize().unwrap().as_path()));
        // By another name of the models folder it is the same one.
        #[cfg(unix)]
        {
            let links = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(root.path(), links.path().join("models")).unwrap();
            assert_eq!(folder(&links.path().join("models"), &source, &files(&source)).unwrap(), made);
        }
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
        // Of another model whose name begins alike.
        let other = root.path().join(FOLDER).join("tiny-more-0123456789abcdef");
        fs::create_dir(&other).unwrap();
        assert!(forget(root.path(), "tiny").unwrap() > 0);
        assert_eq!(forget(root.path(), "tiny").unwrap(), 0);
        assert!(!made.exists() && other.exists());
        // A graph that is none leaves nothing half made.
        fs::write(source.join("onnx/model.onnx"), "no graph").unwrap();
        assert!(folder(root.path(), &source, &files(&source)).is_err());
        let left = || {
            let entries = fs::read_dir(root.path().join(FOLDER)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
        };
        let expected = BTreeSet::from([LOCK.to_owned(), "tiny-more-0123456789abcdef".to_owned()]);
        assert_eq!(left(), expected);
        // Nor does one that was killed; while another one is at work nothing is touched.
        fs::create_dir_all(root.path().join(FOLDER).join(".part-killed/onnx")).unwrap();
        let other = fs::File::open(root.path().join(FOLDER).join(LOCK)).unwrap();
        other.lock().unwrap();
        assert!(matches!(folder(root.path(), &source, &files(&source)), Err(Error::Overloaded { .. })));
        assert!(left().contains(".part-killed"));
        drop(other);
        assert!(matches!(folder(root.path(), &source, &files(&source)), Err(Error::Invalid { .. })));
        assert_eq!(left(), expected);
    }

    #[test]
    fn what_has_16_bits_is_made_of_what_has_32() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("tiny");
        fs::create_dir_all(source.join("onnx")).unwrap();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/tiny-bert-sentiment/onnx/model.onnx");
        let (full, half) = (source.join("onnx/model.onnx"), source.join("onnx/model_fp16.onnx"));
        fs::copy(original, &full).unwrap();
        let options = Options { precision: Precision::Half, block: 32, asymmetric: false, tables: true, folder: None };
        quantize(&full, &half, &options, &mut |_| {}).unwrap();
        let given = fs::read(&half).unwrap();
        let files = [File { path: "onnx/model_fp16.onnx".into(), bytes: given.len() as u64 }];
        let ops = || {
            let made = folder(root.path(), &source, &files).unwrap();
            assert_eq!(fs::read_dir(made.join("onnx")).unwrap().count(), 1);
            let graph = Model::open(&made.join("onnx/model_fp16.onnx")).unwrap().graph;
            let ops: Vec<_> = graph.node.iter().map(|node| node.op_type().to_owned()).collect();
            (made, ops)
        };
        let (first, with) = ops();
        assert!(with.iter().any(|op| op == "SkipLayerNormalization"), "{with:?}");
        assert!(with.iter().any(|op| op == "MultiHeadAttention"), "{with:?}");
        assert_eq!(fs::read(&half).unwrap(), given);
        // What lies beside it is another model, or none: another folder, of the graph in 16 bits itself.
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/tiny-vit/onnx/model.onnx"), &full).unwrap();
        assert!(!ops().1.iter().any(|op| op == "SkipLayerNormalization"));
        fs::write(&full, "no graph").unwrap();
        let (second, without) = ops();
        assert_ne!(first, second);
        assert!(!without.iter().any(|op| op == "SkipLayerNormalization"), "{without:?}");
    }
}
