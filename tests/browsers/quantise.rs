//! What is made of graphs, in real browsers: smaller by `webinfer models quantize`, with fewer nodes by a registration. The service
//! loads it, and answers nearly as the graphs that it was made of.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;
use webinfer::proto::v1;

use crate::common::{Service, cosine, embedding, reference::Reference, repository};

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

/// What is expected of a precision on a backend.
struct Case {
    dtype: &'static str,
    /// Least cosine to native ONNX Runtime in 32-bit floats.
    least: f64,
}

const fn case(dtype: &'static str, least: f64) -> Case {
    Case { dtype, least }
}

const Q4: Case = case("q4", 0.95);
const Q8: Case = case("q8", 0.97);
const FP16: Case = case("fp16", 0.999);

/// Writes the model in each precision, loads it on a backend of a browser, has it answer so many sentences, and compares with
/// those in 32-bit floats. Returns where the nodes ran, by precision.
async fn agrees(browser: &str, backend: v1::Backend, cases: &[Case], sentences: usize) -> Vec<Vec<v1::NodePlacement>> {
    let root = models();
    for Case { dtype, .. } in cases {
        quantized(root.path(), &["--dtype", dtype]);
    }
    let models = format!("--models={}", root.path().display());
    let service = Service::real(&[&models, "--replicas=1", "--threads=1", &format!("--browser={browser}")]).await;
    let reference = Reference::read(&repository("tests/models/tiny-bert"));
    let mut placements = Vec::new();
    for Case { dtype, least } in cases {
        service.register(spec(dtype, backend)).await.unwrap();
        service.load(dtype).await.unwrap_or_else(|error| panic!("{dtype}: {}", error.message()));
        let mut ran = None;
        for (sentence, fp32) in reference.sentences.iter().zip(&reference.fp32).take(sentences) {
            let mut response = service.embed(dtype, &[sentence]).await.unwrap();
            let near = cosine(embedding(&response.results[0]), fp32);
            assert!(near >= *least, "{dtype}: {near} for {sentence:?}");
            assert!(near < 1.0 - 1e-9, "{dtype}: it is not another graph that ran");
            let execution = response.executions.remove(0);
            assert_eq!((execution.dtype.as_str(), execution.backend_used()), (*dtype, backend));
            ran = Some(execution.node_placements);
        }
        placements.extend(ran);
        service.unload(dtype).await;
    }
    service.stop().await;
    placements
}

fn spec(dtype: &str, backend: v1::Backend) -> v1::ModelSpec {
    v1::ModelSpec {
        id: dtype.into(),
        source: "tiny-bert".into(),
        dtype: dtype.into(),
        backends: vec![backend.into()],
        fallback: v1::Fallback::Exact.into(),
        ..Default::default()
    }
}

/// Nodes that a provider ran.
fn nodes(placements: &[v1::NodePlacement], provider: &str) -> u32 {
    placements.iter().filter(|it| it.provider.contains(provider)).map(|it| it.nodes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_runs_on_wasm_in_chromium() {
    let cases = [Q4, Q8, case("int8", 0.97), FP16, case("q4f16", 0.95), case("q2", 0.3)];
    agrees("chromium", v1::Backend::Wasm, &cases, 14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_runs_on_wasm_in_firefox() {
    agrees("firefox", v1::Backend::Wasm, &[Q4, Q8], 3).await;
}

// Chromium's software adapter has no 16-bit floats; Firefox's has.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_bits_run_on_webgpu_in_firefox() {
    agrees("firefox", v1::Backend::Webgpu, &[FP16], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_run_on_webgpu_in_chromium() {
    for placements in agrees("chromium", v1::Backend::Webgpu, &[Q4, Q8], 3).await {
        assert!(nodes(&placements, "WebGpu") > 10, "{placements:?}");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn an_optimised_graph_has_fewer_nodes_and_answers_as_what_it_was_made_of() {
    let root = models();
    let models = format!("--models={}", root.path().display());
    let service = Service::real(&[&models, "--replicas=1", "--threads=1", "--browser=chromium"]).await;
    let mut ran = Vec::new();
    for (id, optimize) in [("as-it-is", false), ("optimised", true)] {
        let spec = v1::ModelSpec { id: id.into(), optimize: Some(optimize), ..spec("fp32", v1::Backend::Wasm) };
        let registered = service.register(spec).await.unwrap();
        assert_eq!(registered.spec.unwrap().optimize, Some(optimize));
        service.load(id).await.unwrap_or_else(|error| panic!("{id}: {}", error.message()));
        let mut response = service.embed(id, &["how do i read this book?"]).await.unwrap();
        let (vector, execution) = (embedding(&response.results[0]).to_vec(), response.executions.remove(0));
        assert_eq!(execution.check.as_ref().map(|check| check.against.as_str()), Some("wasm in fp32"), "{id}");
        ran.push((vector, execution));
        service.unload(id).await;
    }
    let [(right, as_it_is), (vector, optimised)] = &ran[..] else { unreachable!() };
    assert!(cosine(vector, right) > 0.99999, "{vector:?} and {right:?}");
    let nodes = |execution: &v1::Execution| nodes(&execution.node_placements, "");
    assert!(nodes(optimised) < nodes(as_it_is), "{optimised:?}");
    assert_ne!(optimised.model_sha256, as_it_is.model_sha256);
    service.stop().await;
}
