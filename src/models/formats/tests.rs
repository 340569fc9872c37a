//! Tests of the formats: one folder for each.

use std::fs;

use proptest::prelude::*;

use super::{files, fits, instead};
use crate::models::{Task, store};

/// What is said of a folder with such files, with `FOLDER` for its path.
fn said(config: Option<&str>, names: &[&str]) -> String {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().canonicalize().unwrap().join("model");
    for name in names {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
    }
    for (name, text) in [("config.json", config.unwrap_or_default()), ("tokenizer.json", "{}")] {
        if config.is_some() {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let error = store::open(root.path(), "model").err().unwrap().to_string();
    error.replace(&folder.display().to_string(), "FOLDER")
}

const BERT: Option<&str> = Some(r#"{"architectures": ["BertModel"]}"#);

/// A folder's config and other files, what they are, and what is said of them.
type Case<'a> = (Option<&'a str>, &'a [&'a str], &'a str, &'a [&'a str]);

#[test]
fn each_format_is_named_with_its_exporter() {
    let optimum = "optimum-cli export onnx --model FOLDER --task feature-extraction OUT";
    let put = "mkdir -p FOLDER/onnx && mv OUT/*.onnx* FOLDER/onnx";
    let torch = "torch.onnx.export(model, inputs, \"FOLDER/onnx/model.onnx\")";
    let cases: [Case; 15] = [
        (BERT, &["model.safetensors"], "weights in safetensors", &[optimum, put]),
        (BERT, &["model-00001-of-00002.safetensors"], "weights in safetensors", &[optimum]),
        (BERT, &["pytorch_model.bin"], "weights of PyTorch", &[optimum]),
        (None, &["model.safetensors"], "weights in safetensors", &[torch]),
        (None, &["model.pt"], "a model of PyTorch", &[torch]),
        (BERT, &["model.pth"], "a model of PyTorch", &[torch]),
        (
            None,
            &["saved_model.pb", "variables/variables.index"],
            "SavedModel",
            &["python -m tf2onnx.convert --saved-model FOLDER --output FOLDER/onnx/model.onnx"],
        ),
        (None, &["1/saved_model.pb"], "SavedModel", &["--saved-model FOLDER/1 --output"]),
        (None, &["model.h5"], "Keras model in HDF5", &["tf2onnx.convert --keras FOLDER/model.h5 --output"]),
        (BERT, &["tf_model.h5"], "transformers for TensorFlow", &["from_tf=True", optimum]),
        (None, &["m.keras"], "a Keras model", &["load_model(\"FOLDER/m.keras\").export(\"FOLDER/onnx/model.onnx\""]),
        (
            None,
            &["model.json", "group1-shard1of2.bin"],
            "TensorFlow.js",
            &["the model that it was made of", "--tfjs FOLDER/model.json"],
        ),
        (None, &["m.tflite"], "TensorFlow Lite", &["tf2onnx.convert --tflite FOLDER/m.tflite --output"]),
        (None, &["m-Q4_K_M.gguf"], "GGUF", &["that it was made of", "--model ORIGINAL --task TASK OUT"]),
        (None, &["openvino_model.xml", "openvino_model.bin"], "OpenVINO", &["--model ORIGINAL"]),
    ];
    for (config, names, name, commands) in cases {
        let said = said(config, names);
        assert!(said.starts_with("spec.source: \"model\" has no ONNX graph: "), "{said}");
        assert!(said.contains(name) && said.contains(names.last().unwrap()) || names.len() > 1, "{names:?}: {said}");
        for part in [&[name], commands].concat() {
            assert!(said.contains(part), "{names:?} lacks {part:?}: {said}");
        }
    }
}

#[test]
fn graphs_in_the_wrong_place_are_told_the_right_one() {
    let move_it = "mkdir -p FOLDER/onnx && mv FOLDER/";
    for (file, there) in [
        ("model.onnx", "model.onnx FOLDER/onnx/model.onnx"),
        ("model_quantized.onnx", "model_quantized.onnx FOLDER/onnx/model_quantized.onnx"),
        ("resnet50.onnx", "resnet50.onnx FOLDER/onnx/model.onnx"),
        ("cpu/model.onnx", "cpu/model.onnx FOLDER/onnx/model.onnx"),
        ("a b.onnx", "'FOLDER/a b.onnx' FOLDER/onnx/model.onnx"),
    ] {
        let said = said(BERT, &[file, "model.safetensors"]);
        let command = if file.contains(' ') { "mkdir -p FOLDER/onnx && mv " } else { move_it };
        assert!(said.contains(&format!("{command}{there}`")), "{said}");
    }
}

#[test]
fn what_makes_text_is_exported_with_its_past() {
    let task = |config, file| {
        let said = said(Some(config), &[file]);
        said.split_once("--task ").unwrap().1.split(' ').next().unwrap().to_owned()
    };
    let gpt = r#"{"architectures": ["GPT2LMHeadModel"]}"#;
    assert_eq!(task(gpt, "model.safetensors"), "text-generation-with-past");
    assert_eq!(task(gpt, "gpt.gguf"), "text-generation-with-past");
    assert_eq!(task(r#"{"architectures": ["Wav2Vec2ForCTC"]}"#, "pytorch_model.bin"), "automatic-speech-recognition");
    assert_eq!(task(r#"{"architectures": ["Crystal"]}"#, "model.safetensors"), "TASK");
}

#[test]
fn a_folder_of_nothing_known_is_told_what_is_needed() {
    assert!(said(BERT, &["notes.txt"]).ends_with("onnx/model.onnx or one of its quantised forms is needed"));
}

#[test]
fn a_folder_that_is_gone_has_nothing() {
    let folder = tempfile::tempdir().unwrap().path().join("gone");
    assert!(files(&folder).is_empty());
    assert!(instead(&folder, Task::parse("tensor"), None).contains("is needed"));
}

proptest! {
    #[test]
    fn a_star_stands_for_anything(begin in "[a-c]{0,3}", middle in "[a-c.é]{0,3}", end in "[a-c]{0,3}") {
        let (name, pattern) = (format!("{begin}{middle}{end}"), format!("{begin}*{end}"));
        prop_assert!(fits(&name, &pattern));
        let longer = format!("{name}-");
        prop_assert!(!fits(&longer, &pattern) || end.is_empty());
    }
}
