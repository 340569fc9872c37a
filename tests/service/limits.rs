//! Loads that there is no room for are refused before they begin, with figures; on a fake browser.

use std::{fs, path::Path};

use tempfile::TempDir;
use webinfer::proto::v1::{self, Backend, Fallback};

use crate::common::{Service, details, fake::Fake, floats, repository, tensors};

/// A field of a message.
fn nested(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        field.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    [field, content.to_vec()].concat()
}

/// The graph of the tests that gives back what it gets, with one tensor more, which is said to have so many bytes.
fn graph(file: &Path, bytes: u64) {
    let name = file.file_name().unwrap().to_str().unwrap().to_owned() + "_data";
    let entry = |key: &str, value: &str| nested(13, &[nested(1, key.as_bytes()), nested(2, value.as_bytes())].concat());
    let tensor = [entry("location", &name), entry("length", &bytes.to_string())].concat();
    let identity = fs::read(repository("tests/models/identity/onnx/model.onnx")).unwrap();
    fs::write(file, [identity, nested(7, &nested(5, &tensor))].concat()).unwrap();
    fs::write(file.with_file_name(name), "weights").unwrap();
}

/// A folder of models with one whose largest tensors have so many bytes in fp32 and in fp16.
fn models(fp32: u64, fp16: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("large/onnx");
    fs::create_dir_all(&onnx).unwrap();
    graph(&onnx.join("model.onnx"), fp32);
    graph(&onnx.join("model_fp16.onnx"), fp16);
    folder
}

async fn start(fake: &std::sync::Arc<Fake>, models: &TempDir) -> Service {
    let limits = [("maxBufferSize", 320 << 20), ("maxStorageBufferBindingSize", 128 << 20)];
    *fake.adapter_limits.lock().unwrap() = limits.map(|(name, value)| (name.to_owned(), value)).into();
    Service::start(&[&format!("--models={}", models.path().display())], fake.driver()).await
}

fn spec(id: &str, dtype: &str, backends: &[Backend]) -> v1::ModelSpec {
    let backends = backends.iter().map(|&backend| backend.into()).collect();
    v1::ModelSpec { id: id.into(), source: "large".into(), dtype: dtype.into(), backends, ..Default::default() }
}

#[tokio::test]
async fn what_the_adapter_does_not_take_is_refused_with_the_precision_that_it_would() {
    let (fake, models) = (Fake::new(), models(400 << 20, 300 << 20));
    let service = start(&fake, &models).await;
    let exact = Fallback::Exact.into();
    service.register(v1::ModelSpec { fallback: exact, ..spec("exact", "fp32", &[Backend::Webgpu]) }).await.unwrap();
    let error = service.load("exact").await.unwrap_err();
    assert_eq!(details(&error).1, "LOAD_FAILED");
    let figures = "its largest tensor has 400 MiB, and the adapter takes 320 MiB in a buffer";
    assert!(error.message().contains(figures), "{error}");
    assert!(error.message().contains("there is room for: fp16 ("), "{error}");
    // What it names can be loaded.
    service.register(spec("half", "fp16", &[Backend::Webgpu])).await.unwrap();
    service.load("half").await.unwrap();
    let answer = service.infer("half", vec![tensors(&[("x", floats(&[1], &[1.0]))])]).await.unwrap();
    assert_eq!(answer.executions[0].backend_used(), Backend::Webgpu);
    service.stop().await;
}

#[tokio::test]
async fn where_no_precision_fits_that_is_said_and_the_next_backend_stands_in() {
    let (fake, models) = (Fake::new(), models(400 << 20, 360 << 20));
    let service = start(&fake, &models).await;
    service.register(spec("both", "fp32", &[Backend::Webgpu, Backend::Wasm])).await.unwrap();
    service.load("both").await.unwrap();
    let answer = service.infer("both", vec![tensors(&[("x", floats(&[1], &[1.0]))])]).await.unwrap();
    let execution = &answer.executions[0];
    assert_eq!(execution.backend_used(), Backend::Wasm);
    let reason = &execution.fallback_reason;
    assert!(reason.starts_with("webgpu: its largest tensor has 400 MiB"), "{reason}");
    assert!(reason.contains("no room for the folder's other precisions, either: fp16"), "{reason}");
    service.stop().await;
}
