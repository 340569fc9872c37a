//! Every task on a real Chromium: the tiny models' answers against PyTorch's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use common::{Service, cases::Cases, soon};
use webinfer::proto::v1;

/// Loads a model, whose task was found in its own files, and runs its cases.
async fn agrees(service: &Service, model: &str) {
    let Cases { task, cases } = Cases::read(model);
    let request = v1::ModelServiceGetRequest { id: model.into() };
    let registered = service.models().get(request).await.unwrap().into_inner().model.unwrap();
    assert_eq!(registered.spec.unwrap().task, task, "{model}");
    if let Err(error) = service.load(model).await {
        panic!("{model}: {}", error.message());
    }
    for case in &cases {
        let name = &case.name;
        let pooling = v1::Pooling::from_str_name(name).unwrap_or_default();
        let id = if pooling == v1::Pooling::Unspecified { model.to_owned() } else { format!("{model}-{name}") };
        if id != model {
            let (source, pooling) = (model.to_owned(), pooling.into());
            service.register(v1::ModelSpec { id: id.clone(), source, pooling, ..Default::default() }).await.unwrap();
            service.load(&id).await.unwrap();
        }
        let request = v1::InferRequest {
            model: id,
            items: vec![case.item.clone()],
            parameters: Some(case.parameters.clone()),
            ..Default::default()
        };
        let response = soon(service.inference().infer(request)).await;
        let response = response.unwrap_or_else(|error| panic!("{model}, {name}: {}", error.message())).into_inner();
        case.check(&response.results[0], &format!("{model}, {name}"));
        assert!(!response.executions[0].simulated);
    }
    service.unload(model).await;
}

async fn all_agree(models: &[&str]) {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    for model in models {
        agrees(&service, model).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_classified_tagged_read_and_ranked() {
    all_agree(&[
        "tiny-bert-sentiment",
        "tiny-bert-nli",
        "tiny-bert-reranker",
        "tiny-bert-ner",
        "tiny-bert-qa",
        "tiny-bert-mlm",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_written() {
    all_agree(&["tiny-llama", "tiny-t5"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_classified_embedded_and_compared_with_labels() {
    all_agree(&["tiny-vit", "tiny-vit-features", "tiny-clip"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pictures_show_is_found_cut_out_and_measured() {
    all_agree(&["tiny-yolos", "tiny-owlvit", "tiny-segformer", "tiny-depth"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_made_of_pictures() {
    all_agree(&["tiny-matting", "tiny-swin2sr"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sounds_are_classified_and_compared_with_labels() {
    all_agree(&["tiny-wav2vec2-keywords", "tiny-clap"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_becomes_text_and_text_becomes_speech() {
    all_agree(&["tiny-wav2vec2-ctc", "tiny-vits"]).await;
}
