//! Store: a model's folder in the Hub's layout, checked before anything of it reaches a browser.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use webinfer_store::{SMALL_FILES, Source};

use super::{
    Dtype, Dtypes, File, Placeholder, Task,
    architecture::{Config, Signs},
    formats,
    memory::{Shape, Weights},
    onnx::{self, Scan},
    tokenizer::Tokenizer,
};
use crate::error::{Error, shorten};

/// Samples a second where the processor does not say.
const USUAL_RATE: u32 = 16_000;

/// A folder that was looked at.
pub struct Folder {
    /// Where it is, links resolved.
    pub path: PathBuf,
    /// What the model says that it is.
    config: Option<Config>,
}

/// A graph of a folder.
pub struct Graph {
    /// Its name, without dtype.
    pub name: &'static str,
    /// The dtypes in which it is there.
    pub available: Vec<Dtype>,
}

/// What a worker reads of a folder.
pub struct Contents {
    /// The files, in the order of their paths.
    pub files: Vec<File>,
    /// Those of them in which the graphs keep weights.
    pub external_data: Vec<String>,
    /// Bytes of the weights.
    pub weights: Weights,
    /// What the first graph says of itself.
    pub scan: Scan,
}

fn invalid(message: String) -> Error {
    Error::invalid("spec.source", message)
}

/// How a model gets to be where it is not, in words.
fn advice(source: &str) -> String {
    match source.strip_prefix("hub:").unwrap_or(source).parse::<Source>() {
        Ok(Source { repo, revision }) if repo.as_ref().contains('/') => {
            let name = repo.as_ref().rsplit('/').next().unwrap_or_default();
            format!("a service downloads nothing; `webinfer models pull {repo}@{revision}` does, and makes it {name:?}")
        }
        _ => "put the model there, with `webinfer models pull` where it is on the Hub, or see --models".to_owned(),
    }
}

/// Finds the folder `source` below `root`.
pub fn open(root: &Path, source: &str) -> Result<Folder, Error> {
    let relative = Path::new(source);
    // One spelling, by which its lock is known; and the store's own folders begin with a dot.
    if source.contains('\0') || source.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        let message =
            "must be a path below the models folder, of names that do not begin with a dot and single slashes";
        return Err(invalid(message.into()));
    }
    let missing = |error: io::Error| {
        let root = root.display();
        invalid(format!("there is no folder {source:?} in the models folder {root}: {error}; {}", advice(source)))
    };
    let root = root.canonicalize().map_err(missing)?;
    let path = root.join(relative).canonicalize().map_err(missing)?;
    if !path.starts_with(&root) {
        return Err(invalid(format!("{source:?} leads out of the models folder")));
    }
    if !path.is_dir() {
        return Err(invalid(format!("{source:?} is not a folder")));
    }
    let has_graph = fs::read_dir(path.join("onnx")).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.path().extension().is_some_and(|ext| ext == "onnx")))
    });
    let config = if path.join("config.json").is_file() { Some(read_json(&path, "config.json")?) } else { None };
    let folder = Folder { path, config };
    if !has_graph {
        let architecture = folder.config.as_ref().and_then(Config::architecture);
        let instead = formats::instead(&folder.path, folder.tasks().first().copied(), architecture);
        return Err(invalid(format!("{source:?} has no ONNX graph: {instead}")));
    }
    Ok(folder)
}

impl Folder {
    /// One that was found before, for another look at its files.
    pub fn again(path: &Path) -> Self {
        Self { path: path.to_owned(), config: None }
    }

    /// The same model at another place.
    pub fn moved(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// The task that is wished for, or the one that the model stands for.
    pub fn task(&self, wish: &str) -> Result<&'static Task, Error> {
        let can = self.tasks();
        if wish.is_empty() {
            return can.first().copied().ok_or_else(|| self.no_task());
        }
        let Some(task) = Task::parse(wish) else {
            let known = super::task::TASKS.each_ref().map(|task| task.name).join(", ");
            let message = format!("{:?} is not a task that is served; these are: {known}", shorten(wish));
            return Err(Error::invalid("spec.task", message));
        };
        if can.is_empty() || can.contains(&task) || task.is_tensor() {
            return Ok(task);
        }
        let names: Vec<_> = can.iter().map(|task| format!("{:?}", task.name)).collect();
        let architecture = self.config.as_ref().and_then(Config::architecture).unwrap_or("model");
        Err(Error::invalid(
            "spec.task",
            format!("the model is a {architecture}, which cannot do {wish:?}; it can do {}", names.join(", ")),
        ))
    }

    /// What the model can be for; nothing where that is not known.
    fn tasks(&self) -> Vec<&'static Task> {
        let Some(config) = &self.config else {
            return if self.has("tokenizer.json") { Vec::new() } else { Task::parse("tensor").into_iter().collect() };
        };
        config.tasks(Signs {
            tokenizer: self.has("tokenizer.json"),
            pictures: self.has("preprocessor_config.json"),
            vision_encoder: self.has_graph("vision_encoder"),
            vectors: self.gives_vectors(),
        })
    }

    fn has_graph(&self, graph: &str) -> bool {
        Dtype::ALL.into_iter().any(|dtype| self.has(&dtype.file(graph)))
    }

    /// Whether the one graph gives a vector for each token, and no logits.
    fn gives_vectors(&self) -> bool {
        let file = Dtype::ALL.into_iter().map(|dtype| dtype.file("model")).find(|file| self.has(file));
        let scan = file.and_then(|file| self.scan(&file).ok()).unwrap_or_default();
        let gives = |name: &str| scan.outputs.iter().any(|output| output.name == name);
        (gives("last_hidden_state") || gives("token_embeddings")) && !gives("logits")
    }

    fn no_task(&self) -> Error {
        let wrong = |message: String| Error::invalid("spec.task", message);
        match (&self.config, self.config.as_ref().and_then(Config::architecture)) {
            (None, _) => invalid("the folder has a tokenizer.json but no config.json; add it, or name a task".into()),
            (Some(_), None) => {
                wrong("config.json names no architecture, which would tell the task; name a task".into())
            }
            (Some(_), Some(name)) if !self.has("tokenizer.json") && !self.has("preprocessor_config.json") => {
                invalid(format!(
                    "the folder has neither a tokenizer.json nor a preprocessor_config.json, of which a {:?} needs one; add \
                     it, or register with the task \"tensor\"",
                    shorten(name)
                ))
            }
            (Some(_), Some(name)) => wrong(format!("what a {:?} is for is not known; name a task", shorten(name))),
        }
    }

    /// The graphs that a task runs, each with the dtypes in which the folder has it.
    pub fn graphs(&self, task: &Task) -> Result<Vec<Graph>, Error> {
        let there = |name: &'static str| Graph {
            name,
            available: Dtype::ALL.into_iter().filter(|dtype| self.has(&dtype.file(name))).collect(),
        };
        for set in task.files.graphs {
            let (graphs, optional): (Vec<_>, Vec<_>) = set.iter().copied().partition(|graph| !graph.ends_with('?'));
            let graphs: Vec<_> = graphs.into_iter().map(there).collect();
            if graphs.iter().all(|graph| !graph.available.is_empty()) {
                let optional = optional.into_iter().map(|graph| there(graph.trim_end_matches('?')));
                return Ok(graphs.into_iter().chain(optional.filter(|graph| !graph.available.is_empty())).collect());
            }
        }
        let names = |set: &&[&str]| {
            let files = set.iter().filter(|graph| !graph.ends_with('?')).map(|graph| Dtype::Fp32.file(graph));
            files.collect::<Vec<_>>().join(" with ")
        };
        let sets = task.files.graphs.iter().map(names).collect::<Vec<_>>().join(", or ");
        Err(invalid(format!("{:?} needs {sets}, in any dtype, and the folder has no such files", task.name)))
    }

    /// The files that a worker reads for a task in a precision, checked: there, inside the folder, whole.
    pub fn contents(&self, task: &Task, dtypes: &Dtypes) -> Result<Contents, Error> {
        if let Some(missing) = task.files.needs.iter().find(|name| !self.has(name)) {
            return Err(invalid(format!("the folder has no {missing}, which {:?} needs", task.name)));
        }
        let (mut paths, mut external_data, mut first) = (Vec::new(), Vec::new(), None);
        let mut weights = Weights::default();
        for (graph, dtype) in dtypes.graphs() {
            let graph = dtype.file(graph);
            let scan = self.scan(&graph)?;
            for location in &scan.external_data {
                external_data.push(external_path(location).ok_or_else(|| {
                    invalid(format!(
                        "{graph} keeps weights in {location:?}, outside the model's folder; that is not allowed"
                    ))
                })?);
            }
            weights.largest = weights.largest.max(scan.largest_tensor);
            paths.push(graph);
            first.get_or_insert(scan);
        }
        paths.extend(external_data.iter().cloned());
        if !task.is_tensor() {
            paths.extend(SMALL_FILES.iter().filter(|name| self.has(name)).map(|name| (*name).to_owned()));
        }
        paths.sort();
        paths.dedup();
        let files: Vec<_> = paths.into_iter().map(|path| self.file(path)).collect::<Result<_, _>>()?;
        for file in &files {
            if external_data.contains(&file.path) {
                weights.beside += file.bytes;
            } else if file.path.ends_with(".onnx") {
                weights.inside += file.bytes;
            }
        }
        for file in files.iter().filter(|file| file.path.ends_with(".json")) {
            read_json::<serde::de::IgnoredAny>(&self.path, &file.path)?;
        }
        if task.has_tokenizer() {
            self.check_tokenizer()?;
        }
        Ok(Contents { files, external_data, weights, scan: first.unwrap_or_default() })
    }

    /// Bytes of graphs and of the weights beside them.
    pub fn graph_bytes(&self, task: &Task, dtypes: &Dtypes) -> Result<u64, Error> {
        let files = self.contents(task, dtypes)?.files;
        Ok(files.iter().filter(|file| file.path.starts_with("onnx/")).map(|file| file.bytes).sum())
    }

    fn scan(&self, graph: &str) -> Result<Scan, Error> {
        self.file(graph.to_owned())?;
        let file = fs::File::open(self.path.join(graph)).map_err(|error| invalid(format!("{graph}: {error}")))?;
        onnx::scan(file).map_err(|error| invalid(format!("{graph}: {error}")))
    }

    /// A tokenizer of another model gives numbers that this one has no vectors for, which fails at some inputs only.
    fn check_tokenizer(&self) -> Result<(), Error> {
        let Some(known) = self.config.as_ref().and_then(Config::vocabulary) else { return Ok(()) };
        let tokenizer: Tokenizer = read_json(&self.path, "tokenizer.json")?;
        match tokenizer.words() {
            Some(words) if words > known => Err(invalid(format!(
                "tokenizer.json has {words} words, and config.json says that the model knows {known}: they are not of one model"
            ))),
            _ => Ok(()),
        }
    }

    /// Tokens to which the tokenizer cuts a text, the greatest number where it does not say; and its mask.
    pub fn tokens(&self, task: &Task) -> Result<(u32, Option<String>), Error> {
        #[derive(serde::Deserialize)]
        struct Tokens {
            model_max_length: Option<f64>,
            mask_token: Option<serde_json::Value>,
        }
        if !task.has_tokenizer() {
            return Ok((u32::MAX, None));
        }
        let tokens: Tokens = read_json(&self.path, "tokenizer_config.json")?;
        // Those that mean "no limit" write a number that no integer holds; the conversion saturates.
        let most = tokens.model_max_length.map_or(u32::MAX, |most| most as u32).max(1);
        let mask = tokens.mask_token.and_then(|mask| Some(mask.get("content").unwrap_or(&mask).as_str()?.to_owned()));
        Ok((most, mask))
    }

    /// Samples a second of the sound that the model takes.
    pub fn sample_rate(&self) -> Result<u32, Error> {
        #[derive(serde::Deserialize)]
        struct Sound {
            sampling_rate: Option<u32>,
        }
        let name = "preprocessor_config.json";
        if !self.has(name) {
            return Ok(USUAL_RATE);
        }
        Ok(read_json::<Sound>(&self.path, name)?.sampling_rate.unwrap_or(USUAL_RATE))
    }

    /// Sizes inside the model.
    pub fn shape(&self) -> Option<Shape> {
        self.config.as_ref().and_then(Config::shape)
    }

    /// What the answers of a graph look like.
    pub fn placeholder(&self, task: &Task, scan: Scan) -> Result<Placeholder, Error> {
        let wrong = |message: &str| Err(Error::invalid("spec.fallback", message));
        if task.is_tensor() {
            return Ok(Placeholder::Tensors { inputs: scan.inputs, outputs: scan.outputs });
        }
        if !task.embeds_text() {
            return wrong("only \"feature-extraction\" and \"tensor\" have placeholders; choose another");
        }
        match self.config.as_ref().and_then(Config::width).filter(|size| (1..=1 << 20).contains(size)) {
            Some(size) => Ok(Placeholder::Embedding(size)),
            None => wrong("config.json has no hidden_size, which tells the size of a placeholder"),
        }
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

fn read_json<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<T, Error> {
    let text = fs::read(folder.join(name)).map_err(|error| invalid(format!("{name}: {error}")))?;
    serde_json::from_slice(&text).map_err(|error| invalid(format!("{name}: {error}")))
}

/// Where external data lies below the model's folder; the graph names it relative to itself. `None` if outside.
pub fn external_path(location: &str) -> Option<String> {
    let inside = !location.is_empty()
        && !location.contains(['\0', '\\'])
        && Path::new(location).components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| format!("onnx/{location}"))
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
