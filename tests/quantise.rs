//! What `webinfer models quantize` writes, in real browsers: the service loads it, and answers nearly as in 32-bit floats.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{Service, cosine, embedding, reference::Reference, repository};
use tempfile::TempDir;
use webinfer::proto::v1;

/// A models folder with the model of the tests in 32-bit floats alone.
fn models() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (repository("tests/models/tiny-bert"), root.path().join("tiny-bert"));
    fs::create_dir_all(to.join("onnx")).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    root
}

fn quantize(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webinfer"));
    command.args(["models", "quantize"]).arg(root.join("tiny-bert")).args(arguments).output().unwrap()
}

fn quantized(root: &Path, arguments: &[&str]) -> String {
    let output = quantize(root, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Loads the model in each precision on a backend of a browser, and compares its answers with those in 32-bit floats.
async fn agrees(root: &Path, browser: &str, backend: v1::Backend, least: &[(&str, f64)]) {
    let models = format!("--models={}", root.display());
    let service = Service::real(&[&models, "--replicas=1", "--threads=1", &format!("--browser={browser}")]).await;
    let reference = Reference::read(&repository("tests/models/tiny-bert"));
    for (dtype, least) in least {
        let spec = v1::ModelSpec {
            id: (*dtype).into(),
            source: "tiny-bert".into(),
            dtype: (*dtype).into(),
            backends: vec![backend.into()],
            fallback: v1::Fallback::Exact.into(),
            ..Default::default()
        };
        service.register(spec).await.unwrap();
        service.load(dtype).await.unwrap_or_else(|error| panic!("{dtype}: {}", error.message()));
        for (sentence, fp32) in reference.sentences.iter().zip(&reference.fp32) {
            let response = service.embed(dtype, &[sentence]).await.unwrap();
            let near = cosine(embedding(&response.results[0]), fp32);
            assert!(near >= *least, "{dtype}: {near} for {sentence:?}");
            assert!(near < 1.0 - 1e-9, "{dtype}: it is not another graph that ran");
            let execution = &response.executions[0];
            assert_eq!((execution.dtype.as_str(), execution.backend_used()), (*dtype, backend));
        }
        service.unload(dtype).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_runs_on_wasm_in_chromium() {
    let root = models();
    for dtype in ["q4", "q8", "int8", "fp16", "q4f16", "q2"] {
        quantized(root.path(), &["--dtype", dtype]);
    }
    let least = [("q4", 0.95), ("q8", 0.97), ("int8", 0.97), ("fp16", 0.999), ("q4f16", 0.95), ("q2", 0.3)];
    agrees(root.path(), "chromium", v1::Backend::Wasm, &least).await;
}

// Chromium's software adapter has no 16-bit floats; Firefox's has.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_bits_run_on_webgpu_in_firefox() {
    let root = models();
    quantized(root.path(), &["--bits", "16"]);
    agrees(root.path(), "firefox", v1::Backend::Webgpu, &[("fp16", 0.999)]).await;
}

#[test]
fn the_command_tells_what_it_did_and_keeps_to_the_limit_on_bits() {
    let root = models();
    let file = root.path().join("tiny-bert/onnx/model_q4.onnx");
    let said = quantized(root.path(), &["--mixed", "--max-error", "0.01"]);
    assert!(
        said.contains("model_q4.onnx") && said.contains("passages of English") && said.contains("off by"),
        "{said}"
    );
    let large = fs::metadata(&file).unwrap().len();

    let again = quantize(root.path(), &["--bits", "4"]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));

    let most = 37_000;
    quantized(root.path(), &["--mixed", "--max-size", &most.to_string(), "--force"]);
    let small = fs::metadata(&file).unwrap().len();
    assert!(small <= most && small < large, "{small}, {large}");

    for arguments in
        [&["--bits", "3"][..], &["--mixed"], &["--dtype", "bnb4"], &["--bits", "4", "--max-error", "1"], &[]]
    {
        assert!(!quantize(root.path(), &[arguments, &["--force"]].concat()).status.success(), "{arguments:?}");
    }
    let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
