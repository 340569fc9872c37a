//! `webinfer models optimize`: a model's graphs with fewer nodes, in a folder of its own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use webinfer_onnx::{Optimize as Options, Optimized};

use crate::{
    cli::CommandError,
    models::{Dtype, optimized, weight_files},
};

/// Arguments of `models optimize`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Of a folder in the Hub's layout, all files are copied, and its graphs are written with fewer nodes; the copy is \
        a model like others, and has the name DESTINATION.part until it is whole. A graph in which nothing is recognised is \
        copied as it is, with its weights. One in fp16 is made of the one in fp32 beside it, if that is there, since less is \
        recognised in a conversion. What is recognised: layer \
        normalisation, also with the sum that it is of; gelu, its approximation by tanh, and x sigmoid(ax); attention \
        with or without a mask. They become operators of ONNX Runtime (com.microsoft), which other runtimes do not have.\n\n\
        Examples:\n  \
        webinfer models optimize models/minilm models/minilm-fused\n  \
        webinfer models optimize models/whisper-base models/whisper-base-fused --dtype fp32\n  \
        webinfer models optimize model.onnx model_fused.onnx"
)]
pub struct Optimize {
    /// A model's folder, or a graph
    source: PathBuf,
    /// Where it goes: a folder that is not there yet, or a file
    destination: PathBuf,
    /// Take along the graphs of these precisions alone; all where none is said
    #[arg(long, value_name = "NAME", value_parser = dtype)]
    dtype: Vec<Dtype>,
    /// Put the weights of query, key and value side by side where they are multiplied with one value
    #[arg(long)]
    packed: bool,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

fn dtype(text: &str) -> Result<Dtype, String> {
    Dtype::parse(text).ok_or_else(|| {
        let names: Vec<_> = Dtype::ALL.iter().map(|dtype| dtype.name()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

/// Optimises a file, or the graphs of a folder, one after the other.
pub async fn run(arguments: Optimize, json: bool) -> Result<(), CommandError> {
    let work = tokio::task::spawn_blocking(move || all(&arguments, json));
    work.await.map_err(|error| CommandError::Usage(error.to_string()))?
}

fn io(what: &Path) -> impl FnOnce(std::io::Error) -> CommandError {
    let what = what.display().to_string();
    |error| CommandError::Io { what, error }
}

fn all(arguments: &Optimize, json: bool) -> Result<(), CommandError> {
    let Optimize { source, destination, .. } = arguments;
    if destination.exists() && (source.is_dir() || !arguments.force) {
        let how = if source.is_dir() { "name another folder" } else { "--force writes over it" };
        return Err(CommandError::Usage(format!("{} is there already; {how}", destination.display())));
    }
    if !source.is_dir() {
        return one(arguments, source, destination, json).map(drop);
    }
    folder(arguments, json)
}

/// Optimises a folder. What is written has another name until it is whole.
fn folder(arguments: &Optimize, json: bool) -> Result<(), CommandError> {
    let Optimize { source, destination, .. } = arguments;
    let usage = |what: &str| CommandError::Usage(format!("{} {what}", destination.display()));
    let mut name = destination.file_name().ok_or_else(|| usage("is no name for a folder"))?.to_owned();
    name.push(".part");
    let part = destination.with_file_name(name);
    if part.canonicalize().is_ok_and(|part| source.canonicalize().is_ok_and(|source| source.starts_with(&part))) {
        return Err(usage("would first be what is its source; name another folder"));
    }
    // Of a run that was interrupted.
    remove(&part).map_err(io(&part))?;
    let done = fill(arguments, &part, json).and_then(|()| fs::rename(&part, destination).map_err(io(destination)));
    if done.is_err() {
        // What is told is what went wrong first.
        let _ = remove(&part);
    }
    done
}

/// Removes a folder with what is in it, or a file or link, if it is there.
fn remove(path: &Path) -> std::io::Result<()> {
    let folder = path.is_dir() && !path.is_symlink();
    let done = if folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Fills a new folder: with what is no graph, the graphs of fewer nodes, and the others with their weights.
fn fill(arguments: &Optimize, to: &Path, json: bool) -> Result<(), CommandError> {
    let Optimize { source, dtype, .. } = arguments;
    let all = names(&source.join("onnx"))?.into_iter().filter(|name| is_graph(name)).collect::<Vec<_>>();
    let wanted = |name: &&PathBuf| dtype.is_empty() || dtype.contains(&of_name(name));
    let graphs: Vec<_> = all.iter().filter(wanted).map(|name| Path::new("onnx").join(name)).collect();
    if graphs.is_empty() {
        return Err(CommandError::Usage(format!("{} has no graph of those precisions", source.display())));
    }
    copy(source, to, &all)?;
    let mut as_they_are = Vec::new();
    for graph in graphs {
        if !one(arguments, &source.join(&graph), &to.join(&graph), json)? {
            as_they_are.push(graph);
        }
    }
    // Graphs may share a file of weights.
    let mut files = BTreeSet::new();
    for graph in as_they_are {
        let path = source.join(&graph);
        let weights =
            weight_files(&path).map_err(|error| CommandError::Usage(format!("{}: {error}", path.display())))?;
        files.extend(weights.into_iter().map(PathBuf::from));
        files.insert(graph);
    }
    files.iter().try_for_each(|file| take(&source.join(file), &to.join(file)))
}

/// The names of a folder's files, in their order.
fn names(folder: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let entries = fs::read_dir(folder).map_err(io(folder))?.flatten();
    let mut names: Vec<_> =
        entries.filter(|entry| entry.path().is_file()).map(|entry| PathBuf::from(entry.file_name())).collect();
    names.sort();
    Ok(names)
}

fn is_graph(name: &Path) -> bool {
    name.extension().is_some_and(|end| end == "onnx")
}

/// Copies what is neither a graph nor weights of one.
fn copy(source: &Path, to: &Path, graphs: &[PathBuf]) -> Result<(), CommandError> {
    // Of a graph that cannot be read nothing is known; where it is wanted, that is told when its turn comes.
    let of = |name: &PathBuf| weight_files(&source.join("onnx").join(name)).unwrap_or_default();
    let weights: BTreeSet<_> = graphs.iter().flat_map(of).map(PathBuf::from).collect();
    for folder in ["", "onnx"] {
        fs::create_dir_all(to.join(folder)).map_err(io(to))?;
        for name in names(&source.join(folder))? {
            let path = Path::new(folder).join(&name);
            // What was pinned of the source is not true of the copy.
            let pinned = name.to_string_lossy().starts_with("webinfer.");
            if !pinned && !weights.contains(&path) && (folder.is_empty() || !is_graph(&name)) {
                fs::copy(source.join(&path), to.join(&path)).map_err(io(&path))?;
            }
        }
    }
    Ok(())
}

/// Copies a file to where there is none.
fn take(from: &Path, to: &Path) -> Result<(), CommandError> {
    if to.exists() {
        let what = "has the name of what another graph keeps its weights in; choose graphs with --dtype";
        return Err(CommandError::Usage(format!("{} {what}", from.display())));
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(io(folder))?;
    }
    fs::copy(from, to).map(drop).map_err(io(from))
}

/// The precision that the name of a graph's file stands for.
fn of_name(name: &Path) -> Dtype {
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    let end = |dtype: &Dtype| dtype.file("").trim_start_matches("onnx/").trim_end_matches(".onnx").to_owned();
    let named = Dtype::ALL.iter().find(|dtype| **dtype != Dtype::Fp32 && stem.ends_with(&end(dtype)));
    named.copied().unwrap_or(Dtype::Fp32)
}

/// Optimises a graph, and tells what came of it. Returns whether it was written.
fn one(arguments: &Optimize, from: &Path, to: &Path, json: bool) -> Result<bool, CommandError> {
    let done = optimized::graph(from, to, Options { packed: arguments.packed })
        .map_err(|error| CommandError::Usage(format!("{}: {error}", from.display())))?;
    if json {
        println!("{}", to_json(from, &done));
    } else {
        println!("{}", describe(from, &done));
    }
    Ok(!done.fused.is_empty())
}

fn to_json(file: &Path, done: &Optimized) -> serde_json::Value {
    json!({
        "file": file, "nodes_before": done.nodes_before, "nodes_after": done.nodes_after, "fused": done.fused,
        "bytes_before": done.bytes_before, "bytes_after": done.bytes_after,
    })
}

fn describe(file: &Path, done: &Optimized) -> String {
    let fused: Vec<_> = done.fused.iter().map(|(op, count)| format!("{count} {op}")).collect();
    let what = if fused.is_empty() { "nothing is recognised".to_owned() } else { fused.join(", ") };
    format!("{}: {} nodes before, {} after: {what}", file.display(), done.nodes_before, done.nodes_after)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use prost::Message;
    use webinfer_onnx::proto::{
        GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto,
        tensor_proto::DataLocation,
    };

    use super::{CommandError, Dtype, Optimize, all};

    /// A graph in which nothing is recognised, with its weight in a file.
    fn plain(location: &str) -> Vec<u8> {
        let value = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
        let weight = TensorProto {
            name: Some("w".into()),
            dims: vec![2],
            data_type: Some(1),
            data_location: Some(DataLocation::External.into()),
            external_data: vec![StringStringEntryProto { key: Some("location".into()), value: Some(location.into()) }],
            ..Default::default()
        };
        let node = NodeProto {
            op_type: Some("Add".into()),
            input: vec!["x".into(), "w".into()],
            output: vec!["y".into()],
            ..Default::default()
        };
        let graph = GraphProto {
            node: vec![node],
            initializer: vec![weight],
            input: vec![value("x")],
            output: vec![value("y")],
            ..Default::default()
        };
        ModelProto { graph: Some(graph), ..Default::default() }.encode_to_vec()
    }

    /// A model with a graph that gets fewer nodes, and two that do not.
    fn source(root: &Path) -> PathBuf {
        let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/tiny-bert"), root.join("source"));
        fs::create_dir_all(to.join("onnx/more")).unwrap();
        for name in ["config.json", "onnx/model.onnx"] {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
        for (graph, weights) in [("model_fp16.onnx", "more/weights"), ("model_q4.onnx", "model_q4.onnx_data")] {
            fs::write(to.join("onnx").join(graph), plain(weights)).unwrap();
            fs::write(to.join("onnx").join(weights), [0; 8]).unwrap();
        }
        to
    }

    fn optimised(source: &Path, destination: &Path, dtype: Vec<Dtype>) -> Result<(), CommandError> {
        let (source, destination) = (source.to_owned(), destination.to_owned());
        all(&Optimize { source, destination, dtype, packed: false, force: false }, true)
    }

    #[test]
    fn a_folder_is_copied_with_the_weights_of_what_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (source, to) = (source(root.path()), root.path().join("fused"));
        // Of a run that was interrupted.
        fs::create_dir(root.path().join("fused.part")).unwrap();
        fs::write(root.path().join("fused.part/old"), "old").unwrap();
        optimised(&source, &to, Vec::new()).unwrap();
        for file in ["config.json", "onnx/model_fp16.onnx", "onnx/more/weights", "onnx/model_q4.onnx_data"] {
            assert_eq!(fs::read(to.join(file)).unwrap(), fs::read(source.join(file)).unwrap(), "{file}");
        }
        assert!(to.join("onnx/model.onnx").is_file() && to.join("onnx/model_q4.onnx").is_file());
        assert!(!to.join("old").exists() && !root.path().join("fused.part").exists());
    }

    #[test]
    fn graphs_that_are_left_out_leave_no_weights() {
        let root = tempfile::tempdir().unwrap();
        let (source, to) = (source(root.path()), root.path().join("fused"));
        optimised(&source, &to, vec![Dtype::Fp16]).unwrap();
        assert!(to.join("onnx/model_fp16.onnx").is_file() && to.join("onnx/more/weights").is_file());
        for file in ["model.onnx", "model_q4.onnx", "model_q4.onnx_data"] {
            assert!(!to.join("onnx").join(file).exists(), "{file}");
        }
    }

    #[test]
    fn what_goes_wrong_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (source, to) = (source(root.path()), root.path().join("fused"));
        fs::write(source.join("onnx/model_q4.onnx"), "no graph").unwrap();
        optimised(&source, &to, Vec::new()).unwrap_err();
        assert!(!to.exists() && !root.path().join("fused.part").exists());
        // What is the source is not taken for what is left of a run.
        fs::rename(&source, root.path().join("fused.part")).unwrap();
        optimised(&root.path().join("fused.part"), &to, Vec::new()).unwrap_err();
        assert!(root.path().join("fused.part/config.json").is_file());
    }
}
