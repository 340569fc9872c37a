//! Store: a model's folder in the Hub's layout, checked before anything of it reaches a browser.

use std::{
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    Dtype, File, Placeholder, Task,
    onnx::{self, Scan},
};
use crate::error::Error;

/// Files beside the graph that the runtime reads for a text model.
const TEXT_FILES: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];

/// A folder that was looked at.
pub struct Folder {
    /// Where it is, links resolved.
    pub path: PathBuf,
    /// dtypes whose graph it has.
    pub available: Vec<Dtype>,
    has_config: bool,
    has_tokenizer: bool,
}

fn invalid(message: String) -> Error {
    Error::invalid("spec.source", message)
}

/// Finds the folder `source` below `root`.
pub fn open(root: &Path, source: &str) -> Result<Folder, Error> {
    let relative = Path::new(source);
    if source.is_empty()
        || source.contains('\0')
        || relative.components().any(|part| !matches!(part, Component::Normal(_)))
    {
        return Err(invalid("must be a path below the models folder, without `..` and not absolute".into()));
    }
    let missing = |error: io::Error| {
        let root = root.display();
        invalid(format!(
            "there is no folder {source:?} in the models folder {root}: {error}; put the model there, or see --models"
        ))
    };
    let root = root.canonicalize().map_err(missing)?;
    let path = root.join(relative).canonicalize().map_err(missing)?;
    if !path.starts_with(&root) {
        return Err(invalid(format!("{source:?} leads out of the models folder")));
    }
    if !path.is_dir() {
        return Err(invalid(format!("{source:?} is not a folder")));
    }
    let available: Vec<_> = Dtype::ALL.into_iter().filter(|dtype| path.join(dtype.file()).is_file()).collect();
    if available.is_empty() {
        return Err(invalid(format!(
            "{source:?} has no ONNX graph: onnx/model.onnx or one of its quantised forms is needed"
        )));
    }
    let has_config = path.join("config.json").is_file();
    let has_tokenizer = path.join("tokenizer.json").is_file();
    Ok(Folder { path, available, has_config, has_tokenizer })
}

impl Folder {
    /// The task that its files stand for.
    pub fn task(&self) -> Result<Task, Error> {
        match (self.has_config, self.has_tokenizer) {
            (true, true) => Ok(Task::FeatureExtraction),
            (false, false) => Ok(Task::Tensor),
            (true, false) => Err(invalid(
                "the folder has a config.json but no tokenizer.json; add it, or register with the task \"tensor\""
                    .into(),
            )),
            (false, true) => Err(invalid(
                "the folder has a tokenizer.json but no config.json; add it, or register with the task \"tensor\""
                    .into(),
            )),
        }
    }

    /// The files that a worker reads for a task in a precision, checked: there, inside the folder, whole. Those that
    /// hold weights beside the graph are named again. What the graph says of itself comes with them.
    pub fn files(&self, task: Task, dtype: Dtype) -> Result<(Vec<File>, Vec<String>, Scan), Error> {
        let graph = dtype.file();
        let mut paths = vec![graph.clone()];
        if task == Task::FeatureExtraction {
            if let Some(missing) = TEXT_FILES.iter().find(|name| !self.path.join(name).is_file()) {
                return Err(invalid(format!("the folder has no {missing}, which {:?} needs", task.name())));
            }
            paths.extend(TEXT_FILES.map(str::to_owned));
        }
        self.file(graph.clone())?;
        let file = fs::File::open(self.path.join(&graph)).map_err(|error| invalid(format!("{graph}: {error}")))?;
        let scan = onnx::scan(file).map_err(|error| invalid(format!("{graph}: {error}")))?;
        let outside = |location: &str| {
            invalid(format!("{graph} keeps weights in {location:?}, outside the model's folder; that is not allowed"))
        };
        let external: Vec<_> = scan
            .external_data
            .iter()
            .map(|location| external_path(location).ok_or_else(|| outside(location)))
            .collect::<Result<_, _>>()?;
        paths.extend(external.iter().cloned());
        paths.sort();
        let files = paths.into_iter().map(|path| self.file(path)).collect::<Result<_, _>>()?;
        if task == Task::FeatureExtraction {
            self.check_json()?;
        }
        Ok((files, external, scan))
    }

    /// Tokens to which the tokenizer cuts a text; the greatest number where it does not say.
    pub fn max_tokens(&self) -> Result<u32, Error> {
        #[derive(serde::Deserialize)]
        struct Config {
            model_max_length: Option<f64>,
        }
        let name = "tokenizer_config.json";
        let text = fs::read(self.path.join(name)).map_err(|error| invalid(format!("{name}: {error}")))?;
        let config: Config = serde_json::from_slice(&text).map_err(|error| invalid(format!("{name}: {error}")))?;
        // Those that mean "no limit" write a number that no integer holds; the conversion saturates.
        Ok(config.model_max_length.map_or(u32::MAX, |most| most as u32).max(1))
    }

    /// What the answers of a graph look like.
    pub fn placeholder(&self, task: Task, scan: Scan) -> Result<Placeholder, Error> {
        #[derive(serde::Deserialize)]
        struct Config {
            hidden_size: Option<usize>,
            d_model: Option<usize>,
            dim: Option<usize>,
            n_embd: Option<usize>,
        }
        if task == Task::Tensor {
            return Ok(Placeholder::Tensors { inputs: scan.inputs, outputs: scan.outputs });
        }
        let name = "config.json";
        let text = fs::read(self.path.join(name)).map_err(|error| invalid(format!("{name}: {error}")))?;
        let config: Config = serde_json::from_slice(&text).map_err(|error| invalid(format!("{name}: {error}")))?;
        let size = config.hidden_size.or(config.d_model).or(config.dim).or(config.n_embd);
        let size = size.filter(|size| (1..=1 << 20).contains(size));
        size.map(Placeholder::Embedding).ok_or_else(|| {
            Error::invalid("spec.fallback", format!("{name} has no hidden_size, which tells the size of a placeholder"))
        })
    }

    fn check_json(&self) -> Result<(), Error> {
        for name in TEXT_FILES {
            let text = fs::read(self.path.join(name)).map_err(|error| invalid(format!("{name}: {error}")))?;
            serde_json::from_slice::<serde::de::IgnoredAny>(&text)
                .map_err(|error| invalid(format!("{name}: {error}")))?;
        }
        Ok(())
    }

    fn file(&self, path: String) -> Result<File, Error> {
        let full = self.path.join(&path);
        let real = full.canonicalize().map_err(|error| invalid(format!("{path}: {error}")))?;
        if !real.starts_with(&self.path) {
            return Err(invalid(format!("{path} is a link that leads out of the model's folder")));
        }
        let metadata = real.metadata().map_err(|error| invalid(format!("{path}: {error}")))?;
        if !metadata.is_file() {
            return Err(invalid(format!("{path} is not a file")));
        }
        Ok(File { path, bytes: metadata.len() })
    }
}

/// Where external data lies below the model's folder; the graph names it relative to itself. `None` if outside.
fn external_path(location: &str) -> Option<String> {
    let inside = !location.is_empty()
        && !location.contains(['\0', '\\'])
        && Path::new(location).components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| format!("onnx/{location}"))
}

/// SHA-256 over the lines `<sha256>  <path>\n` of the files.
pub async fn hash(folder: PathBuf, files: Vec<File>) -> Result<String, Error> {
    let work = tokio::task::spawn_blocking(move || {
        let mut lines = Sha256::new();
        for file in files {
            let digest = hash_file(&folder.join(&file.path))
                .map_err(|error| Error::Internal(format!("{} cannot be read: {error}", file.path)))?;
            lines.update(format!("{digest}  {}\n", file.path));
        }
        Ok(hex(&lines.finalize()))
    });
    work.await.map_err(|error| Error::Internal(error.to_string()))?
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::external_path;

    #[test]
    fn external_data_stays_inside() {
        assert_eq!(external_path("model.onnx_data").as_deref(), Some("onnx/model.onnx_data"));
        for outside in ["", "../x", "/etc/passwd", "a/../../x", "..\\x", "x\0"] {
            assert_eq!(external_path(outside), None, "{outside:?}");
        }
    }
}
