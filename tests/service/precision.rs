//! Precisions over a real socket: what a registration may ask for, and that the record tells what it got.

use std::fs;

use tonic::Code;
use webinfer::proto::v1;

use crate::common::{Service, blamed, fake::Fake, repository};

fn spec(id: &str, wish: v1::ModelSpec) -> v1::ModelSpec {
    v1::ModelSpec { id: id.into(), source: "tiny-bert".into(), ..wish }
}

fn own(dtype: &str) -> v1::ModelSpec {
    v1::ModelSpec { dtypes: [("model".to_owned(), dtype.to_owned())].into(), ..Default::default() }
}

#[tokio::test]
async fn a_model_runs_in_what_was_asked_for_by_name_by_bits_or_by_graph() {
    let service = Service::start(&[], Fake::new().driver()).await;
    for (id, wish, expected) in [
        ("by-name", v1::ModelSpec { dtype: "fp32".into(), ..Default::default() }, "fp32"),
        ("by-bits", v1::ModelSpec { bits: 8, ..Default::default() }, "q8"),
        ("by-more-bits", v1::ModelSpec { bits: 32, ..Default::default() }, "fp32"),
        ("by-graph", v1::ModelSpec { bits: 8, ..own("fp32") }, "fp32"),
    ] {
        let got = service.register(spec(id, wish)).await.unwrap().spec.unwrap();
        assert_eq!((got.dtype.as_str(), got.bits), (expected, 0));
        assert_eq!(got.dtypes, own(expected).dtypes);
        service.load(id).await.unwrap();
        let answer = service.embed(id, &["a text"]).await.unwrap();
        assert_eq!(answer.executions[0].dtype, expected);
    }
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_there_is() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let both = v1::ModelSpec { bits: 8, dtype: "q8".into(), ..Default::default() };
    let nowhere =
        v1::ModelSpec { dtypes: [("encoder_model".to_owned(), "q8".to_owned())].into(), ..Default::default() };
    for (wish, field, says) in [
        (v1::ModelSpec { bits: 7, ..Default::default() }, "spec.bits", "2, 4, 8, 16, 32"),
        (both, "spec.bits", "either bits or a dtype"),
        (v1::ModelSpec { max_error: 1.0, ..Default::default() }, "spec.max_error", "1 is not an error"),
        (v1::ModelSpec { max_error: 0.1, bits: 8, ..Default::default() }, "spec.max_error", "or a precision"),
        (
            v1::ModelSpec { max_error: 0.1, optimize: Some(true), ..Default::default() },
            "spec.optimize",
            "one of the two",
        ),
        (own("q2"), "spec.dtypes", "it has model in: fp32, q8"),
        (own("fp64"), "spec.dtypes", "\"fp64\" is not a dtype"),
        (nowhere, "spec.dtypes", "the model runs model"),
    ] {
        let error = service.register(spec("refused", wish)).await.unwrap_err();
        assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, field), "{error}");
        assert!(error.message().contains(says), "{error}");
    }
    service.stop().await;
}

#[tokio::test]
async fn what_was_measured_of_each_precision_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let state = format!("--state={}", folder.path().join("knowledge.db").display());
    let precisions = async |service: &Service| {
        let request = v1::ModelServiceGetRequest { id: "m".into() };
        let model = service.models().get(request).await.unwrap().into_inner().model.unwrap();
        let told = |it: &v1::Precision| (it.dtype.clone(), it.bits, it.measured.len());
        assert!(model.precisions.windows(2).all(|pair| pair[0].bytes < pair[1].bytes));
        (model.precisions.iter().map(told).collect::<Vec<_>>(), model.precisions)
    };
    let service = Service::start(&[&state], Fake::new().driver()).await;
    service.register(spec("m", v1::ModelSpec { bits: 8, ..Default::default() })).await.unwrap();
    let (before, _) = precisions(&service).await;
    assert_eq!(before, [("q8".to_owned(), 8, 0), ("fp32".to_owned(), 32, 0)]);
    service.load("m").await.unwrap();
    service.stop().await;
    // It is known after a restart, too.
    let service = Service::start(&[&state], Fake::new().driver()).await;
    service.register(spec("m", v1::ModelSpec { bits: 8, ..Default::default() })).await.unwrap();
    let (after, told) = precisions(&service).await;
    assert_eq!(after, [("q8".to_owned(), 8, 1), ("fp32".to_owned(), 32, 0)]);
    let row = &told[0].measured[0];
    assert_eq!(
        (row.verdict(), row.backend(), row.hardware()),
        (v1::Verdict::Right, v1::Backend::Wasm, v1::Hardware::Cpu)
    );
    assert!(row.check.as_ref().is_some_and(|check| check.value >= check.least), "{row:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_limit_on_error_chooses_what_was_measured_to_be_within() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let limited = |id: &str| spec(id, v1::ModelSpec { max_error: 0.5, ..Default::default() });
    let dtype = async |id: &str| service.register(limited(id)).await.unwrap().spec.unwrap().dtype;
    // Of the smaller one nothing is known yet.
    assert_eq!(dtype("before").await, "fp32");
    service.register(spec("measured", v1::ModelSpec { bits: 8, ..Default::default() })).await.unwrap();
    service.load("measured").await.unwrap();
    assert_eq!(dtype("after").await, "q8");
    // The same registration again is the same model.
    assert_eq!(dtype("before").await, "fp32");
    service.stop().await;
}

#[tokio::test]
async fn bits_that_a_folder_lacks_are_made() {
    let models = tempfile::tempdir().unwrap();
    let folder = models.path().join("tiny-bert");
    fs::create_dir_all(folder.join("onnx")).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"] {
        fs::copy(repository("tests/models/tiny-bert").join(file), folder.join(file)).unwrap();
    }
    let service = Service::start(&[&format!("--models={}", models.path().display())], Fake::new().driver()).await;
    let bits = |bits| spec(&format!("in-{bits}"), v1::ModelSpec { bits, ..Default::default() });
    let whole = folder.join("onnx/model.onnx").metadata().unwrap().len();
    // What could be made is told before, with the size that it will have.
    let get = async |id: &str| {
        let request = v1::ModelServiceGetRequest { id: id.into() };
        service.models().get(request).await.unwrap().into_inner().model.unwrap()
    };
    let told = get("tiny-bert").await.makeable;
    let dtypes: Vec<_> = told.iter().map(|it| (it.dtype.as_str(), it.bits)).collect();
    let all = [("q2", 2), ("q4f16", 4), ("q4", 4), ("q8", 8), ("int8", 8), ("uint8", 8), ("fp16", 16)];
    assert_eq!(dtypes.len(), all.len(), "{dtypes:?}");
    assert!(all.iter().all(|it| dtypes.contains(it)) && dtypes.is_sorted_by_key(|(_, bits)| bits), "{dtypes:?}");
    assert!(told.iter().all(|it| it.measured.is_empty()));
    for (number, dtype, file) in [(4, "q4", "onnx/model_q4.onnx"), (8, "q8", "onnx/model_quantized.onnx")] {
        let model = service.register(bits(number)).await.unwrap();
        assert_eq!(model.spec.unwrap().dtype, dtype);
        assert!(folder.join(file).metadata().unwrap().len() < whole);
        let predicted = told.iter().find(|it| it.dtype == dtype).unwrap().bytes;
        assert_eq!(model.bytes, predicted, "{dtype}");
        let now = get(&format!("in-{number}")).await;
        assert!(now.precisions.iter().any(|it| (it.dtype.as_str(), it.bytes) == (dtype, predicted)));
        assert!(now.makeable.iter().all(|it| it.dtype != dtype) && !now.makeable.is_empty());
    }
    let two = v1::ModelSpec { dtype: "q2".into(), ..bits(2) };
    assert_eq!(blamed(&service.register(two).await.unwrap_err()), "spec.bits");
    // Nor is anything made for what is refused for another reason.
    let many = v1::ModelSpec { replicas: 65, optimize: Some(true), ..bits(2) };
    assert_eq!(blamed(&service.register(many).await.unwrap_err()), "spec.replicas");
    assert!(!folder.join("onnx/model_q2.onnx").exists() && !models.path().join(".optimized").exists());
    // What cannot be read is not made smaller, and nothing is left of it.
    fs::write(folder.join("onnx/model.onnx"), "not a graph").unwrap();
    let error = service.register(bits(16)).await.unwrap_err();
    assert_eq!(blamed(&error), "spec.bits", "{error}");
    assert!(!folder.join("onnx/model_fp16.onnx").exists());
    // Nor does it hide what can be used.
    assert_eq!(get("in-4").await.precisions.iter().map(|it| it.dtype.as_str()).collect::<Vec<_>>(), ["q4"]);
    service.stop().await;
}
