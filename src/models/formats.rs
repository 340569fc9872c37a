//! Formats: what a folder without a graph has instead, and the command that makes ONNX of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::task::{TASKS, Task};

/// Files that are looked at, in the folder and in those below it.
const MOST_FILES: usize = 4096;

/// A way to keep a model that is not the one that runs.
struct Format {
    /// What it is called.
    name: &'static str,
    /// Names of its files; `*` stands for anything.
    files: &'static [&'static str],
    /// How it becomes ONNX.
    export: fn(&Found) -> String,
}

/// A file that tells a format, and where it lies.
struct Found<'a> {
    /// The model's folder.
    folder: &'a Path,
    /// The file's path below it.
    file: &'a str,
    /// What the exporter calls the model's task; a word to fill in where that is not known.
    task: &'a str,
    /// Whether the folder says what the model is.
    has_config: bool,
}

/// The first that has a file there is told. Many folders have a model in several: the easiest to export come first.
const FORMATS: [Format; 12] = [
    Format { name: "an ONNX graph in the wrong place", files: &["*.onnx"], export: |found| found.moved() },
    Format { name: "weights in safetensors", files: &["*.safetensors"], export: |found| found.by_optimum() },
    Format { name: "weights of PyTorch", files: &["pytorch_model*.bin"], export: |found| found.by_optimum() },
    Format { name: "a model for llama.cpp (GGUF)", files: &["*.gguf"], export: |found| found.of_original() },
    Format {
        name: "weights of transformers for TensorFlow",
        files: &["tf_model*.h5"],
        export: |found| found.by_transformers(),
    },
    Format { name: "a Keras model", files: &["*.keras"], export: |found| found.by_keras() },
    Format { name: "a Keras model in HDF5", files: &["*.h5"], export: |found| found.by_tf2onnx("keras") },
    Format {
        name: "a TensorFlow SavedModel",
        files: &["saved_model.pb"],
        export: |found| found.by_tf2onnx("saved-model"),
    },
    Format { name: "a TensorFlow Lite model", files: &["*.tflite"], export: |found| found.by_tf2onnx("tflite") },
    Format { name: "a TensorFlow.js model", files: &["group*-shard*"], export: |found| found.of_tensorflow_js() },
    Format { name: "an OpenVINO model", files: &["openvino_*"], export: |found| found.of_original() },
    Format { name: "a model of PyTorch", files: &["*.pt", "*.pth", "*.bin"], export: |found| found.by_torch() },
];

/// What a folder without a graph has instead, and what to do about it.
pub fn instead(folder: &Path, task: Option<&'static Task>, architecture: Option<&str>) -> String {
    let files = files(folder);
    let found = FORMATS.iter().find_map(|format| {
        let tells = |file: &&String| format.files.iter().any(|pattern| fits(file_name(file), pattern));
        Some((format, files.iter().find(tells)?))
    });
    let Some((format, file)) = found else {
        return "onnx/model.onnx or one of its quantised forms is needed".to_owned();
    };
    let task = task.map_or("TASK", |task| exported_as(task, architecture.unwrap_or_default()));
    let has_config = files.iter().any(|file| file == "config.json");
    let export = (format.export)(&Found { folder, file, task, has_config });
    format!("{file} is {}, which does not run here; {export}", format.name)
}

/// What the exporter calls a task. Models that make text need the variant that keeps what it has read.
fn exported_as(task: &'static Task, architecture: &str) -> &'static str {
    match task.name {
        "text-generation" => "text-generation-with-past",
        "text2text-generation" | "summarization" | "translation" => "text2text-generation-with-past",
        "image-to-text" => "image-to-text-with-past",
        "document-question-answering" => "document-question-answering-with-past",
        "automatic-speech-recognition" if !architecture.ends_with("ForCTC") => "automatic-speech-recognition-with-past",
        "reranking" | "zero-shot-classification" => "text-classification",
        "background-removal" => "image-segmentation",
        // What a folder without a config.json counts as.
        "tensor" => "TASK",
        name => name,
    }
}

impl Found<'_> {
    fn path(&self) -> PathBuf {
        self.folder.join(self.file)
    }

    fn graph(&self) -> PathBuf {
        self.folder.join("onnx/model.onnx")
    }

    fn moved(&self) -> String {
        let name = file_name(self.file);
        let mut graphs = TASKS.iter().flat_map(|task| task.files.graphs.iter().copied().flatten());
        let known = graphs.any(|graph| name.starts_with(graph.trim_end_matches('?')));
        let target = if known { self.folder.join("onnx").join(name) } else { self.graph() };
        let (folder, from, to) = (quoted(&self.folder.join("onnx")), quoted(&self.path()), quoted(&target));
        format!("graphs lie in the folder onnx, beside their files of weights: `mkdir -p {folder} && mv {from} {to}`")
    }

    fn by_optimum(&self) -> String {
        if !self.has_config {
            return self.by_torch();
        }
        format!("export it with {}", self.optimum(&quoted(self.folder)))
    }

    /// The exporter's command for what lies in a folder, and where what it makes goes.
    fn optimum(&self, model: &str) -> String {
        let (task, folder, graphs) = (self.task, quoted(self.folder), quoted(&self.folder.join("onnx")));
        format!(
            "`optimum-cli export onnx --model {model} --task {task} OUT`, of the Python package optimum-onnx; then put its \
             graphs in place with `mkdir -p {graphs} && mv OUT/*.onnx* {graphs}`, and what else OUT has into {folder}"
        )
    }

    fn by_torch(&self) -> String {
        let graph = self.graph().display().to_string();
        format!("export it in the program that made it, with `torch.onnx.export(model, inputs, {graph:?})`")
    }

    fn by_tf2onnx(&self, kind: &str) -> String {
        let path = self.path();
        // Of a SavedModel it wants the folder.
        let source = if kind == "saved-model" { path.parent().unwrap_or(self.folder) } else { &path };
        let (source, graph) = (quoted(source), quoted(&self.graph()));
        format!("export it with `python -m tf2onnx.convert --{kind} {source} --output {graph}`")
    }

    fn by_keras(&self) -> String {
        let (file, graph) = (self.path().display().to_string(), self.graph().display().to_string());
        format!(
            "export it in Python, with Keras 3.8 or later and tf2onnx: \
             `keras.saving.load_model({file:?}).export({graph:?}, format=\"onnx\")`"
        )
    }

    fn by_transformers(&self) -> String {
        let folder = self.folder.display().to_string();
        format!(
            "make safetensors of it in Python, with transformers 4 and the class of its task: \
             `AutoModel.from_pretrained({folder:?}, from_tf=True).save_pretrained({folder:?})`; then {}",
            self.optimum(&quoted(self.folder))
        )
    }

    fn of_original(&self) -> String {
        format!("export the model that it was made of, with {}", self.optimum("ORIGINAL"))
    }

    fn of_tensorflow_js(&self) -> String {
        let (model, graph) = (quoted(&self.path().with_file_name("model.json")), quoted(&self.graph()));
        format!(
            "export the model that it was made of, a SavedModel with `python -m tf2onnx.convert --saved-model ORIGINAL \
             --output {graph}`; without it `python -m tf2onnx.convert --tfjs {model} --output {graph}` may do"
        )
    }
}

/// Paths of files in a folder and in those right below it, in their order.
fn files(folder: &Path) -> Vec<String> {
    let list = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).take(MOST_FILES);
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    let (folders, mut files): (Vec<_>, Vec<_>) = list(folder).into_iter().partition(|name| folder.join(name).is_dir());
    for below in folders {
        let names = list(&folder.join(&below)).into_iter().filter(|name| folder.join(&below).join(name).is_file());
        files.extend(names.map(|name| format!("{below}/{name}")).take(MOST_FILES.saturating_sub(files.len())));
    }
    files
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a name is as a pattern with `*` says.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((begin, rest)) => name
            .strip_prefix(begin)
            .is_some_and(|name| (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| fits(name, rest)))),
    }
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+=:@".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
