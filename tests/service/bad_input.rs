//! Bad input: each is refused with an error that says what is wrong, and nothing is lost by it.

use std::{fs, path::Path};

use futures_util::TryStreamExt;
use tempfile::TempDir;
use tonic::Code;
use webinfer::proto::v1::{self, infer_stream_response::Result as StreamResult};

use crate::common::{Service, blamed, details, fake::Fake, floats, repository, soon, tensors, text};

async fn serving() -> Service {
    let service = Service::start(&["--max-request-items=8", "--max-text-bytes=1000"], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    service.load("identity").await.unwrap();
    service
}

fn spec(id: &str) -> v1::ModelSpec {
    v1::ModelSpec { id: id.into(), source: "tiny-bert".into(), ..Default::default() }
}

#[tokio::test]
async fn items_that_do_not_fit_are_refused_with_their_field() {
    let service = serving().await;
    let raw = |data_type, shape: &[i64], bytes: usize| {
        tensors(&[("x", v1::Tensor { data_type, shape: shape.to_vec(), data: vec![0; bytes].into() })])
    };
    let float = v1::DataType::Float32.into();
    for (model, items, field) in [
        ("tiny-bert", vec![], "items"),
        ("tiny-bert", vec![text("x"); 9], "items"),
        ("tiny-bert", vec![text("ok"), v1::Item { input: None }], "items[1].input"),
        ("tiny-bert", vec![tensors(&[("x", floats(&[1], &[1.0]))])], "items[0].input"),
        ("tiny-bert", vec![text(&"x".repeat(1001))], "items[0].text"),
        ("identity", vec![text("x")], "items[0].input"),
        ("identity", vec![tensors(&[])], "items[0].tensors"),
        ("identity", vec![raw(0, &[1], 4)], "items[0].tensors.tensors[\"x\"].data_type"),
        ("identity", vec![raw(99, &[1], 4)], "items[0].tensors.tensors[\"x\"].data_type"),
        ("identity", vec![raw(float, &[2], 4)], "items[0].tensors.tensors[\"x\"].data"),
        ("identity", vec![raw(float, &[-1], 4)], "items[0].tensors.tensors[\"x\"].shape"),
        ("identity", vec![raw(float, &[i64::MAX; 8], 4)], "items[0].tensors.tensors[\"x\"].shape"),
        ("identity", vec![raw(float, &[u32::MAX.into(); 8], 4)], "items[0].tensors.tensors[\"x\"].data"),
        ("identity", vec![raw(float, &[1; 9], 4)], "items[0].tensors.tensors[\"x\"].shape"),
    ] {
        let error = service.infer(model, items).await.unwrap_err();
        assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, field), "{error}");
        assert_eq!(details(&error).1, "INVALID_FIELD");
    }
    service.embed("tiny-bert", &["still there"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let service = Service::start(&["--max-message-bytes=100000", "--max-text-bytes=90000"], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let error = service.embed("tiny-bert", &[&"x".repeat(200_000)]).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange);
    assert!(error.message().contains("100000"), "{error}");
    service.embed("tiny-bert", &["still there"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn answers_above_the_limit_of_a_message_are_told_and_end_nothing_else() {
    let limits = ["--max-message-bytes=9000", "--max-text-bytes=1000"];
    let service = Service::start(&limits, Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    // An answer takes more than such a question.
    let request = |id: &str, count| v1::InferStreamRequest {
        request_id: id.into(),
        request: Some(v1::InferRequest {
            model: "tiny-bert".into(),
            items: vec![text("x"); count],
            ..Default::default()
        }),
        partials: false,
    };
    let requests = tokio_stream::iter([request("many", 900), request("few", 9)]);
    let answers = service.inference().infer_stream(requests).await.unwrap().into_inner();
    let answers: Vec<_> = soon(answers.try_collect()).await.unwrap();
    assert_eq!(answers.len(), 2);
    for v1::InferStreamResponse { request_id, result } in answers {
        match result.unwrap() {
            StreamResult::Error(status) => {
                assert!(request_id == "many" && status.message.contains("9000"), "{}", status.message);
            }
            other => assert!(request_id == "few" && matches!(other, StreamResult::Response(_)), "{other:?}"),
        }
    }
    let error = service.infer("tiny-bert", vec![text("x"); 900]).await.unwrap_err();
    assert_eq!((blamed(&error).as_str(), details(&error).1.as_str()), ("items", "INVALID_FIELD"), "{error}");
    service.stop().await;
}

#[tokio::test]
async fn ids_and_wishes_are_checked() {
    let service = serving().await;
    let long = "a".repeat(10_000);
    for id in ["", "..", "../tiny-bert", "a/b", "a\0b", "a b", long.as_str()] {
        let error = service.register(spec(id)).await.unwrap_err();
        assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, "spec.id"), "{id:?}");
        assert!(error.message().len() < 1000, "an error repeats what came in: {} bytes", error.message().len());
        let error = service.embed(id, &["x"]).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{id:?}");
    }
    let elsewhere = ["..", "../models", "/etc", "tiny-bert/../identity", "tiny-bert\0", "no-such-folder", "make.py"];
    let other_spellings = ["tiny-bert/", "./tiny-bert", "tiny-bert/.", "tiny-bert//onnx", ".optimized/tiny-bert"];
    for source in elsewhere.into_iter().chain(other_spellings) {
        let error = service.register(v1::ModelSpec { source: source.into(), ..spec("new") }).await.unwrap_err();
        assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, "spec.source"), "{source:?}");
    }
    let probed = |source: &str, probes| v1::ModelSpec { source: source.into(), probes, ..spec("new") };
    let probe = |item| v1::Probe { item: Some(item), parameters: None };
    let sound = |rate| {
        let samples = v1::audio::Source::Samples(v1::Samples { rate, data: vec![0; 4000].into() });
        v1::Item { input: Some(v1::item::Input::Audio(v1::Audio { source: Some(samples) })) }
    };
    let top_k = Some(v1::Parameters { top_k: Some(3), ..Default::default() });
    let drawn = Some(v1::Generation { do_sample: Some(true), ..Default::default() });
    let drawn = Some(v1::Parameters { generation: drawn, ..Default::default() });
    for (wrong, field, says) in [
        (v1::ModelSpec { task: "juggling".into(), ..spec("new") }, "spec.task", "feature-extraction"),
        (v1::ModelSpec { dtype: "fp64".into(), ..spec("new") }, "spec.dtype", "fp32"),
        (v1::ModelSpec { dtype: "q4".into(), ..spec("new") }, "spec.dtype", "q8"),
        (v1::ModelSpec { replicas: 65, ..spec("new") }, "spec.replicas", "64"),
        (v1::ModelSpec { threads: 1000, ..spec("new") }, "spec.threads", "64"),
        (v1::ModelSpec { backends: vec![2, 77], ..spec("new") }, "spec.backends[1]", "77"),
        (v1::ModelSpec { backends: vec![0], ..spec("new") }, "spec.backends[0]", "0"),
        (v1::ModelSpec { backends: vec![2, 1, 2], ..spec("new") }, "spec.backends", "twice"),
        (v1::ModelSpec { backends: vec![6], ..spec("new") }, "spec.backends", "FALLBACK_SIMULATION"),
        (v1::ModelSpec { fallback: 77, ..spec("new") }, "spec.fallback", "77"),
        (v1::ModelSpec { fallback: 3, ..spec("new") }, "spec.fallback", "--allow-simulation"),
        (v1::ModelSpec { pooling: 77, ..spec("new") }, "spec.pooling", "77"),
        (v1::ModelSpec { task: "tensor".into(), pooling: 1, ..spec("new") }, "spec.pooling", "feature-extraction"),
        (probed("tiny-bert", vec![v1::Probe::default()]), "spec.probes[0].item.input", "a text"),
        (
            probed("tiny-bert", vec![probe(text("a")), probe(tensors(&[("x", floats(&[1], &[1.0]))]))]),
            "spec.probes[1].item.input",
            "tensors",
        ),
        (probed("tiny-bert", vec![probe(text("a")); 9]), "spec.probes", "8"),
        (probed("tiny-bert", vec![probe(text(&"a".repeat(200_000))); 6]), "spec.probes", "1048576"),
        (
            probed("tiny-bert", vec![v1::Probe { parameters: top_k, ..probe(text("a")) }]),
            "spec.probes[0].parameters.top_k",
            "feature-extraction",
        ),
        (
            probed("tiny-llama", vec![v1::Probe { parameters: drawn, ..probe(text("a")) }]),
            "spec.probes[0].parameters.generation.do_sample",
            "drawn",
        ),
        (probed("tiny-wav2vec2-ctc", vec![probe(sound(8_000))]), "spec.probes[0].item.audio", "16000"),
    ] {
        let error = service.register(wrong).await.unwrap_err();
        assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, field), "{error}");
        assert!(error.message().contains(says), "{error}");
    }
    let error = service.models().register(v1::RegisterRequest { spec: None }).await.unwrap_err();
    assert_eq!(blamed(&error), "spec");
    service.stop().await;
}

#[tokio::test]
async fn the_same_registration_again_is_no_error_and_another_is() {
    let models = TempDir::new().unwrap();
    copy_model(models.path(), "tiny-bert");
    let folder = format!("--models={}", models.path().display());
    let service = Service::start(&[&folder, "--max-models=2"], Fake::new().driver()).await;
    service.register(spec("mine")).await.unwrap();
    service.register(spec("mine")).await.unwrap();
    let error = service.register(v1::ModelSpec { dtype: "fp32".into(), ..spec("mine") }).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::AlreadyExists, "MODEL_EXISTS"));
    // The folder itself is registered at the start, and "mine".
    let error = service.register(spec("one-more")).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::ResourceExhausted, "TOO_MANY_MODELS"));
    service.stop().await;
}

fn copy_model(root: &Path, name: &str) {
    let to = root.join(name);
    fs::create_dir_all(to.join("onnx")).unwrap();
    let from = repository("tests/models/tiny-bert");
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// An ONNX file that keeps a weight in another file. Field numbers are those of onnx.proto.
fn graph_with_external_data(location: &str) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let mut field = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        field.extend_from_slice(content);
        field
    };
    let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
    field(7, &field(5, &field(13, &entry)))
}

#[tokio::test]
async fn folders_that_cannot_be_served_are_refused() {
    let root = TempDir::new().unwrap();
    let model = |name: &str| {
        copy_model(root.path(), name);
        root.path().join(name)
    };
    fs::remove_file(model("no-tokenizer").join("tokenizer.json")).unwrap();
    fs::remove_file(model("no-config").join("config.json")).unwrap();
    fs::remove_dir_all(model("no-graph").join("onnx")).unwrap();
    fs::write(model("broken-config").join("config.json"), "{\"model_type\": ").unwrap();
    let graph = model("truncated").join("onnx/model.onnx");
    let whole = fs::read(&graph).unwrap();
    fs::write(&graph, &whole[..whole.len() / 2]).unwrap();
    fs::write(model("empty-graph").join("onnx/model.onnx"), "").unwrap();
    fs::write(model("html-graph").join("onnx/model.onnx"), "<!doctype html><title>404</title>").unwrap();
    for (name, location) in [("outside", "../../../etc/passwd"), ("absolute", "/etc/passwd"), ("absent", "weights")] {
        fs::write(model(name).join("onnx/model.onnx"), graph_with_external_data(location)).unwrap();
    }
    let linked = model("linked").join("tokenizer.json");
    fs::remove_file(&linked).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &linked).unwrap();
    std::os::unix::fs::symlink("/etc", root.path().join("link-out")).unwrap();

    let models = format!("--models={}", root.path().display());
    let service = Service::start(&[&models], Fake::new().driver()).await;
    for (source, says) in [
        ("no-tokenizer", "tokenizer.json"),
        ("no-config", "config.json"),
        ("no-graph", "onnx/model.onnx"),
        ("broken-config", "config.json"),
        ("truncated", "truncated"),
        ("empty-graph", "not an ONNX model"),
        ("html-graph", "onnx/model.onnx"),
        ("outside", "outside the model's folder"),
        ("absolute", "outside the model's folder"),
        ("absent", "onnx/weights"),
        ("linked", "out of the model's folder"),
        ("link-out", "out of the models folder"),
    ] {
        let error = service.register(v1::ModelSpec { source: source.into(), ..spec("new") }).await.unwrap_err();
        assert_eq!(
            (error.code(), blamed(&error).as_str()),
            (Code::InvalidArgument, "spec.source"),
            "{source}: {error}"
        );
        assert!(error.message().contains(says), "{source}: {error}");
    }
    let listed = service.models().list(v1::ModelServiceListRequest {}).await.unwrap().into_inner().models;
    assert!(listed.is_empty(), "{listed:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_model_above_the_limit_is_refused() {
    let service = Service::start(&["--max-model-bytes=1000"], Fake::new().driver()).await;
    let error = service.register(spec("big")).await.unwrap_err();
    assert_eq!(blamed(&error), "spec.source");
    assert!(error.message().contains("1000") && error.message().contains("--max-model-bytes"), "{error}");
    service.stop().await;
}
