//! Needs: which files of a repository make a model, told by their names before any of them is there. Pure.

use webinfer_store::SMALL_FILES;

use super::{
    Dtype, Task,
    architecture::{Config, Signs},
    task::TASKS,
};
use crate::execution::Backend;

/// Which precisions are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precisions {
    /// The one that suits a processor.
    Usual,
    /// These.
    Dtypes(Vec<Dtype>),
    /// The first with so many bits.
    Bits(u32),
    /// All that there are.
    All,
}

/// What is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Paths below the repository.
    pub files: Vec<String>,
    /// In these precisions.
    pub dtypes: Vec<Dtype>,
}

/// Chooses of a repository's paths; `config` is what its config.json has.
pub fn needs(paths: &[&str], config: Option<&[u8]>, wish: &Precisions) -> Result<Needs, String> {
    let has = |path: &str| paths.contains(&path);
    let sets: Vec<_> = tasks(paths, config).into_iter().filter_map(|task| graphs(task, &has)).collect();
    let Some((_, available)) = sets.first() else {
        let graphs: Vec<_> = paths.iter().filter(|path| path.ends_with(".onnx")).copied().take(20).collect();
        return Err(match graphs.as_slice() {
            [] => "the repository has no ONNX graphs; look for one of onnx-community or Xenova that has the same model"
                .into(),
            graphs => format!("its graphs are none that a task runs: {}", graphs.join(", ")),
        });
    };
    let dtypes = choose(wish, available)?;
    let mut files: Vec<String> = SMALL_FILES.iter().filter(|path| has(path)).map(|path| (*path).to_owned()).collect();
    let graphs = sets.iter().flat_map(|(graphs, _)| graphs);
    for graph in graphs.flat_map(|graph| dtypes.iter().map(move |dtype| dtype.file(graph))).filter(|graph| has(graph)) {
        let weights = format!("{graph}_data");
        files.extend(paths.iter().filter(|path| path.starts_with(&weights)).map(|path| (*path).to_owned()));
        files.push(graph);
    }
    files.sort();
    files.dedup();
    Ok(Needs { files, dtypes })
}

/// What a repository's model can be for; all tasks where that is not known.
fn tasks(paths: &[&str], config: Option<&[u8]>) -> Vec<&'static Task> {
    let Some(config) = config else { return Task::parse("tensor").into_iter().collect() };
    let config: Option<Config> = serde_json::from_slice(config).ok();
    let signs = Signs {
        tokenizer: paths.contains(&"tokenizer.json"),
        pictures: paths.contains(&"preprocessor_config.json"),
        vision_encoder: paths.iter().any(|path| path.starts_with("onnx/vision_encoder")),
        vectors: false,
    };
    match config.map(|config| config.tasks(signs)).unwrap_or_default() {
        tasks if tasks.is_empty() => TASKS.iter().collect(),
        tasks => tasks,
    }
}

/// The graphs that a task runs, and the precisions in which all of them are there.
fn graphs(task: &Task, has: &dyn Fn(&str) -> bool) -> Option<(Vec<&'static str>, Vec<Dtype>)> {
    task.files.graphs.iter().find_map(|set| {
        let needed = || set.iter().filter(|graph| !graph.ends_with('?'));
        let all = |dtype: &Dtype| needed().all(|graph| has(&dtype.file(graph)));
        let available: Vec<_> = Dtype::ALL.into_iter().filter(all).collect();
        let names = set.iter().map(|graph| graph.trim_end_matches('?')).collect();
        (!available.is_empty()).then_some((names, available))
    })
}

fn choose(wish: &Precisions, available: &[Dtype]) -> Result<Vec<Dtype>, String> {
    let there = || available.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ");
    match wish {
        Precisions::All => Ok(available.to_vec()),
        Precisions::Usual => Ok(Dtype::choose(Backend::Wasm, available).into_iter().collect()),
        Precisions::Bits(bits) => {
            let found = available.iter().find(|dtype| dtype.bits() == *bits);
            found.map(|dtype| vec![*dtype]).ok_or_else(|| format!("no dtype has {bits} bits; there are: {}", there()))
        }
        Precisions::Dtypes(dtypes) => match dtypes.iter().find(|dtype| !available.contains(dtype)) {
            None => Ok(dtypes.clone()),
            Some(dtype) => Err(format!("it is not there in {}; there are: {}", dtype.name(), there())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Dtype, Precisions, needs};

    const BERT: &[u8] = br#"{"architectures": ["BertModel"]}"#;
    const PATHS: [&str; 12] = [
        ".gitattributes",
        "README.md",
        "config.json",
        "pytorch_model.bin",
        "tokenizer.json",
        "tokenizer_config.json",
        "onnx/model.onnx",
        "onnx/model.onnx_data",
        "onnx/model_O3.onnx",
        "onnx/model_q4.onnx",
        "onnx/model_quantized.onnx",
        "onnx/model_uint8.onnx",
    ];
    const SMALL: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];

    fn graphs(wish: &Precisions) -> Vec<String> {
        let files = needs(&PATHS, Some(BERT), wish).unwrap().files;
        assert!(SMALL.iter().all(|small| files.iter().any(|file| file == small)));
        files.into_iter().filter(|file| !SMALL.contains(&file.as_str())).collect()
    }

    #[test]
    fn only_what_is_wanted_is_needed() {
        assert_eq!(graphs(&Precisions::Usual), ["onnx/model_quantized.onnx"]);
        assert_eq!(graphs(&Precisions::Bits(4)), ["onnx/model_q4.onnx"]);
        assert_eq!(graphs(&Precisions::Dtypes(vec![Dtype::Fp32])), ["onnx/model.onnx", "onnx/model.onnx_data"]);
        assert_eq!(graphs(&Precisions::All).len(), 5);
        let error = needs(&PATHS, Some(BERT), &Precisions::Dtypes(vec![Dtype::Fp16])).unwrap_err();
        assert!(error.contains("fp16") && error.contains("fp32, q8, uint8, q4"), "{error}");
        assert!(needs(&PATHS, Some(BERT), &Precisions::Bits(2)).unwrap_err().contains("2 bits"));
    }

    #[test]
    fn a_model_of_several_graphs_needs_all_of_them_and_no_others() {
        let config: &[u8] = br#"{"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}"#;
        let paths = [
            "config.json",
            "onnx/decoder_model_merged_quantized.onnx",
            "onnx/decoder_model_quantized.onnx",
            "onnx/decoder_with_past_model_quantized.onnx",
            "onnx/encoder_model_fp16.onnx",
            "onnx/encoder_model_quantized.onnx",
        ];
        let needs = needs(&paths, Some(config), &Precisions::Usual).unwrap();
        assert_eq!(needs.files, [paths[0], paths[1], paths[5]]);
        assert_eq!(needs.dtypes, [Dtype::Q8]);
    }

    #[test]
    fn a_graph_alone_is_enough_and_none_is_not() {
        assert_eq!(needs(&["onnx/model.onnx"], None, &Precisions::Usual).unwrap().files, ["onnx/model.onnx"]);
        let strange: &[u8] = br#"{"architectures": ["Crystal"]}"#;
        assert!(needs(&PATHS, Some(strange), &Precisions::Usual).is_ok());
        let error = needs(&["config.json", "model.safetensors"], Some(BERT), &Precisions::Usual).unwrap_err();
        assert!(error.contains("no ONNX"), "{error}");
        assert!(needs(&["onnx/talker.onnx"], Some(BERT), &Precisions::Usual).unwrap_err().contains("talker"));
    }
}
