//! Smaller: graphs that a folder lacks in a precision, made of those in 32-bit floats, and the size that they would have.

use std::path::Path;

use webinfer_onnx::{Error as NotMade, Event, Options, Precision, predict, quantize};

use super::{
    Dtype, Dtypes, MAKING, Task,
    store::{Folder, Graph},
    wanted,
};
use crate::error::Error;

/// Values of a block that share a scale, as in what the Hub has.
const BLOCK: usize = 32;

/// How a dtype is made of 32-bit floats; `None` where it is not.
pub fn recipe(dtype: Dtype) -> Option<Precision> {
    Some(match dtype {
        Dtype::Q8 | Dtype::Uint8 => Precision::Dynamic { signed: false },
        Dtype::Int8 => Precision::Dynamic { signed: true },
        Dtype::Fp16 => Precision::Half,
        Dtype::Q4F16 => Precision::BlocksHalf { bits: 4 },
        Dtype::Q4 => Precision::Blocks { bits: 4 },
        Dtype::Q2 => Precision::Blocks { bits: 2 },
        Dtype::Bnb4 | Dtype::Fp32 => return None,
    })
}

/// As it is made where nobody says how.
fn options(precision: Precision) -> Options {
    Options { precision, block: BLOCK, asymmetric: false, tables: true, folder: None }
}

/// The precisions that a folder lacks for a task and could be given, the fewest bits first, with the bytes that all graphs and
/// their weights would have. Reads graphs, and not their weights; blocks on the file system.
pub fn makeable(folder: &Folder, task: &Task) -> Result<Vec<(Dtype, u64)>, Error> {
    let graphs = folder.graphs(task)?;
    let there = wanted::common(&graphs);
    let open = |graph: &Graph| webinfer_onnx::Model::open(&folder.path.join(Dtype::Fp32.file(graph.name))).ok();
    let parts: Vec<_> = graphs.iter().map(|graph| (graph, open(graph))).collect();
    let bytes = |dtype: Dtype, precision: Precision| {
        let part = |(graph, source): &(&Graph, Option<webinfer_onnx::Model>)| {
            if graph.available.contains(&dtype) {
                return folder.graph_bytes(task, &Dtypes::new(vec![(graph.name, dtype)])).ok();
            }
            // One that cannot be predicted cannot be made.
            predict(source.as_ref()?, &options(precision)).ok()
        };
        parts.iter().map(part).sum::<Option<u64>>()
    };
    let lacking = Dtype::ALL.into_iter().filter(|dtype| !there.contains(dtype));
    let mut makeable: Vec<_> = lacking.filter_map(|dtype| Some((dtype, bytes(dtype, recipe(dtype)?)?))).collect();
    makeable.sort_by_key(|&(dtype, bytes)| (dtype.bits(), bytes));
    Ok(makeable)
}

/// Makes a graph in the most usual dtype of so many bits, by its weights alone: what that does to answers is measured when the
/// model is loaded. Returns whether it did, and does not where the folder has such a graph or none in 32-bit floats. Blocks for
/// as long as it takes.
pub fn make(folder: &Path, graph: &Graph, bits: u32) -> Result<bool, Error> {
    let dtypes = Dtype::of_bits(bits);
    let there = |dtype: &Dtype| folder.join(dtype.file(graph.name)).exists();
    let made = dtypes.first().and_then(|&dtype| Some((dtype, recipe(dtype)?)));
    let Some((dtype, precision)) = made.filter(|_| there(&Dtype::Fp32) && !dtypes.iter().any(there)) else {
        return Ok(false);
    };
    let (source, destination) = (folder.join(Dtype::Fp32.file(graph.name)), folder.join(dtype.file(graph.name)));
    if !is_inside(folder, &source) {
        let message = format!("{} is a link that leads out of the model's folder", Dtype::Fp32.file(graph.name));
        return Err(Error::invalid("spec.source", message));
    }
    let report = quantize(&source, &destination, &options(precision), &mut |_: Event| {}).map_err(|error| {
        let message = format!("{} cannot be made of {}: {error}", dtype.file(graph.name), Dtype::Fp32.file(graph.name));
        match error {
            NotMade::Busy { .. } => Error::Overloaded { what: message, retry_after: MAKING },
            NotMade::Write { .. } => Error::Internal(message),
            _ => Error::invalid("spec.bits", message),
        }
    })?;
    tracing::info!(
        file = %destination.display(), before = report.bytes_before, after = report.bytes_after, took = ?report.took,
        "made in {bits} bits"
    );
    Ok(true)
}

/// Whether a file of a folder, and the folder that it is in, lie in it once links are followed.
pub fn is_inside(folder: &Path, file: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let real = |path: &Path| path.canonicalize().is_ok_and(|real| real.starts_with(&folder));
    real(file) && file.parent().is_some_and(real)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::{Dtype, Graph, make};

    #[test]
    fn what_lies_outside_of_a_folder_is_not_made_smaller() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/tiny-bert/onnx/model.onnx");
        fs::copy(&source, outside.path().join("model.onnx")).unwrap();
        let graph = Graph { name: "model", available: vec![Dtype::Fp32] };
        let refused = || make(inside.path(), &graph, 4).unwrap_err().to_string();
        symlink(outside.path(), inside.path().join("onnx")).unwrap();
        assert!(refused().contains("leads out"), "{}", refused());
        fs::remove_file(inside.path().join("onnx")).unwrap();
        fs::create_dir(inside.path().join("onnx")).unwrap();
        symlink(outside.path().join("model.onnx"), inside.path().join("onnx/model.onnx")).unwrap();
        assert!(refused().contains("leads out"), "{}", refused());
        fs::remove_file(inside.path().join("onnx/model.onnx")).unwrap();
        fs::copy(&source, inside.path().join("onnx/model.onnx")).unwrap();
        assert!(make(inside.path(), &graph, 4).unwrap());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
