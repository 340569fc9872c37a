//! Probes on a real Chromium: each tiny model answers what new replicas are asked, the same each time, and nearly the same
//! on another backend and in another precision.

use webinfer::{
    agreement::{self, Agreement, Precision},
    models,
    proto::v1::{self, item_result::Output},
};

use crate::common::{self, Service, repository, soon};

/// Loads a model and asks it its probes, each in a request of its own.
async fn answers(service: &Service, model: &str) -> Vec<Output> {
    if let Err(error) = service.load(model).await {
        panic!("{model}: {}", error.message());
    }
    asked(service, model).await
}

async fn asked(service: &Service, model: &str) -> Vec<Output> {
    let mut answers = Vec::new();
    for v1::Probe { item, parameters } in models::probes(&service.app.registry.get(model).unwrap()) {
        let request = v1::InferRequest {
            model: model.into(),
            items: item.into_iter().collect(),
            parameters,
            ..Default::default()
        };
        let response = soon(service.inference().infer(request)).await;
        let mut response = response.unwrap_or_else(|error| panic!("{model}: {}", error.message())).into_inner();
        answers.push(response.results.remove(0).output.unwrap());
    }
    answers
}

fn worst(reference: &[Output], answers: &[Output], precision: Precision) -> Agreement {
    assert_eq!(reference.len(), answers.len());
    let pairs = reference.iter().zip(answers);
    agreement::worst(pairs.map(|(reference, answer)| agreement::compare(reference, answer, precision))).unwrap()
}

/// Ids of all models of the tests.
fn all() -> Vec<String> {
    let folders = std::fs::read_dir(repository("tests/models")).unwrap().map(|entry| entry.unwrap());
    let models = folders.filter(|folder| folder.path().join("onnx").is_dir());
    let mut names: Vec<_> = models.map(|folder| folder.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 25, "{names:?}");
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn each_model_answers_its_probes_the_same_each_time() {
    let service = Service::real(&["--replicas=1", "--threads=1", "--no-coalescing"]).await;
    for model in all() {
        let first = answers(&service, &model).await;
        let again = asked(&service, &model).await;
        if model == "tiny-vits" {
            assert!(first.is_empty(), "a voice has no probes");
        } else {
            let agreement = worst(&first, &again, Precision::Bits32);
            assert!(agreement.value > 1.0 - 1e-9, "{model}: {agreement:?}");
        }
        service.unload(&model).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webgpu_agrees_with_wasm() {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    for source in
        ["tiny-bert", "tiny-bert-sentiment", "tiny-llama", "tiny-vit", "tiny-depth", "tiny-wav2vec2-ctc", "tiny-clip"]
    {
        let reference = in_form(&service, source, "fp32", v1::Backend::Wasm).await;
        let agreement =
            worst(&reference, &in_form(&service, source, "fp32", v1::Backend::Webgpu).await, Precision::Bits32);
        assert!(agreement.holds(), "{source}: {agreement:?}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_bits_agree_with_many() {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    let many = in_form(&service, "tiny-bert", "fp32", v1::Backend::Wasm).await;
    let few = in_form(&service, "tiny-bert", "q8", v1::Backend::Wasm).await;
    let agreement = worst(&many, &few, Precision::Bits8);
    assert!(agreement.holds() && agreement.value < 1.0, "{agreement:?}");
    // Those to other probes do not.
    let moved: Vec<_> = few.iter().cycle().skip(1).take(few.len()).cloned().collect();
    assert!(!worst(&many, &moved, Precision::Bits8).holds());
    service.stop().await;
}

async fn in_form(service: &Service, source: &str, dtype: &str, backend: v1::Backend) -> Vec<Output> {
    let id = format!("{source}-{dtype}-{backend:?}");
    let spec = v1::ModelSpec {
        id: id.clone(),
        source: source.into(),
        dtype: dtype.into(),
        backends: vec![backend.into()],
        fallback: v1::Fallback::Exact.into(),
        ..Default::default()
    };
    service.register(spec).await.unwrap();
    let answers = answers(service, &id).await;
    service.unload(&id).await;
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_of_the_registration_take_the_place_of_others() {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    let probe = v1::Probe { item: Some(common::text("A cat sleeps")), parameters: None };
    let (id, source) = ("mine".to_owned(), "tiny-llama".to_owned());
    let spec = v1::ModelSpec { id, source, probes: vec![probe.clone()], ..Default::default() };
    let registered = service.register(spec).await.unwrap();
    assert_eq!(registered.spec.unwrap().probes, [probe]);
    let Output::Generated(generated) = &answers(&service, "mine").await[0] else { panic!("it writes") };
    assert!(generated.usage.unwrap().generated_tokens > 0);
    service.stop().await;
}
