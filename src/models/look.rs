//! Look: what a folder of models is for and whether it is whole, told without a service.

use std::{fs, path::Path};

use webinfer_onnx::ReadError;

use super::{Dtype, Dtypes, onnx, smaller, store, wanted};
use crate::error::Error;

/// What a folder has.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// What its model is for.
    pub task: Option<&'static str>,
    /// Its precisions, with the bytes of the graphs and their weights.
    pub dtypes: Vec<(Dtype, u64)>,
    /// Those that it lacks and `models quantize` can make, with the bytes that they would have.
    pub makeable: Vec<(Dtype, u64)>,
    /// Why no service can use it.
    pub fault: Option<String>,
}

/// Looks at a folder below that of all models. Blocks on the file system.
pub fn look(root: &Path, name: &str) -> Look {
    let mut look = Look::default();
    let fault = look.fill(root, name).err();
    Look { fault: fault.map(|error| error.to_string()), ..look }
}

impl Look {
    fn fill(&mut self, root: &Path, name: &str) -> Result<(), Error> {
        let folder = store::open(root, name)?;
        let task = folder.task("")?;
        self.task = Some(task.name);
        let graphs = folder.graphs(task)?;
        for dtype in wanted::common(&graphs) {
            let all = Dtypes::new(graphs.iter().map(|graph| (graph.name, dtype)).collect());
            self.dtypes.push((dtype, folder.graph_bytes(task, &all)?));
        }
        self.makeable = smaller::makeable(&folder, task)?;
        Ok(())
    }
}

/// The files in which a graph keeps weights, below the model's folder. Blocks on the file system.
pub fn weight_files(graph: &Path) -> Result<Vec<String>, ReadError> {
    let scan = onnx::scan(fs::File::open(graph)?)?;
    Ok(scan.external_data.iter().filter_map(|at| store::external_path(at)).collect())
}

/// The graphs of a folder that are not whole, or whose weights are not there, each with what is wrong. Blocks on the file
/// system.
pub fn broken_graphs(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder.join("onnx")).into_iter().flatten().filter_map(Result::ok);
    let mut graphs: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".onnx"))
        .map(|name| format!("onnx/{name}"))
        .collect();
    graphs.sort();
    let fault = |graph: String| {
        let read = fs::File::open(folder.join(&graph)).map_err(ReadError::from).and_then(onnx::scan);
        match read {
            Err(error) => Some((graph, error.to_string())),
            Ok(scan) => {
                let there = |at: &String| store::external_path(at).is_some_and(|path| folder.join(path).is_file());
                let missing = scan.external_data.into_iter().find(|at| !there(at))?;
                Some((graph, format!("keeps weights in {missing:?}, which is not there")))
            }
        }
    };
    graphs.into_iter().filter_map(fault).collect()
}
