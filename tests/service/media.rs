//! Pictures and sound at the door: what is let in, how it reaches the worker, and what is refused by name.

use tonic::Code;
use webinfer::proto::v1::{self, item::Input, item_result::Output};

use crate::common::{
    self, Service, blamed,
    cases::{audio, image},
    fake::Fake,
    text,
};

const LISTENER: &str = "tiny-wav2vec2-keywords";
const VIEWER: &str = "tiny-vit";

fn samples(rate: u32, values: &[f32]) -> v1::Item {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let source = Some(v1::audio::Source::Samples(v1::Samples { rate, data: data.into() }));
    v1::Item { input: Some(Input::Audio(v1::Audio { source })) }
}

fn encoded(bytes: Vec<u8>) -> v1::Item {
    let source = Some(v1::image::Source::Encoded(bytes.into()));
    v1::Item { input: Some(Input::Image(v1::Image { source })) }
}

fn pixels(width: u32, height: u32, channels: u32, bytes: usize) -> v1::Item {
    let data = vec![0; bytes].into();
    let source = Some(v1::image::Source::Pixels(v1::Pixels { width, height, channels, data }));
    v1::Item { input: Some(Input::Image(v1::Image { source })) }
}

/// What reached the worker: the fake gives sound back as it came.
fn heard(response: &v1::InferResponse, index: usize) -> (u32, usize) {
    match &response.results[index].output {
        Some(Output::Audio(samples)) => (samples.rate, samples.data.len() / 4),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sound_reaches_the_worker_as_samples_at_the_models_rate() {
    let service = Service::start(&[], Fake::new().driver()).await;
    service.load(LISTENER).await.unwrap();
    let items = vec![audio("tones-16k.wav"), audio("tones-44k-stereo.flac"), samples(8000, &[0.5; 4000])];
    let response = service.infer(LISTENER, items).await.unwrap();
    assert_eq!([0, 1, 2].map(|index| heard(&response, index)), [(16_000, 16_000), (16_000, 16_000), (16_000, 8000)]);
    service.stop().await;
}

#[tokio::test]
async fn what_is_broken_or_too_long_or_too_large_is_refused_and_the_rest_served() {
    let arguments = ["--max-audio=2s", "--max-image-pixels=1000000"];
    let service = Service::start(&arguments, Fake::new().driver()).await;
    service.load(LISTENER).await.unwrap();
    service.load(VIEWER).await.unwrap();
    let no_source = v1::Item { input: Some(Input::Audio(v1::Audio { source: None })) };
    for (model, items, field, says) in [
        (LISTENER, vec![text("words")], "items[0].input", "takes audio"),
        (LISTENER, vec![image("shapes-32.png")], "items[0].input", "takes audio"),
        (LISTENER, vec![no_source], "items[0].audio", "samples"),
        (LISTENER, vec![audio("tones-16k.wav"), audio("not-media.bin")], "items[1].audio", "WAV"),
        (LISTENER, vec![audio("shapes-32.png")], "items[0].audio", "WAV"),
        (LISTENER, vec![audio("empty.wav")], "items[0].audio", "empty"),
        (LISTENER, vec![audio("truncated.wav")], "items[0].audio", "cut off"),
        (LISTENER, vec![audio("truncated.flac")], "items[0].audio", ""),
        (LISTENER, vec![audio("long.flac")], "items[0].audio", "--max-audio"),
        // The limit is for all sound of a request together.
        (LISTENER, vec![audio("tones-16k.wav"); 3], "items[2].audio", "--max-audio"),
        (LISTENER, vec![samples(0, &[0.5])], "items[0].audio", "rate"),
        (LISTENER, vec![samples(16_000, &[])], "items[0].audio", "empty"),
        (LISTENER, vec![samples(16_000, &[0.5, f32::NAN])], "items[0].audio", "finite"),
        (VIEWER, vec![audio("tones-16k.wav")], "items[0].input", "takes an image"),
        (VIEWER, vec![image("truncated.png")], "items[0].image.encoded", "cut off"),
        (VIEWER, vec![image("truncated.jpg")], "items[0].image.encoded", "cut off"),
        (VIEWER, vec![image("bomb.png")], "items[0].image.encoded", "--max-image-pixels"),
        (VIEWER, vec![image("not-media.bin")], "items[0].image.encoded", "PNG"),
        (VIEWER, vec![encoded(Vec::new())], "items[0].image.encoded", "empty"),
        (VIEWER, vec![pixels(2, 2, 3, 11)], "items[0].image.pixels", "need 12"),
        (VIEWER, vec![pixels(2, 2, 2, 8)], "items[0].image.pixels", "channels"),
        (VIEWER, vec![pixels(u32::MAX, u32::MAX, 4, 4)], "items[0].image.pixels", "--max-image-pixels"),
        (VIEWER, vec![pixels(0, 2, 3, 0)], "items[0].image.pixels", "no pixels"),
    ] {
        let error = service.infer(model, items).await.unwrap_err();
        assert_eq!((error.code(), blamed(&error).as_str()), (Code::InvalidArgument, field), "{error}");
        assert!(error.message().contains(says), "{says:?} is not in {error}");
    }
    service.infer(LISTENER, vec![audio("tones-16k.wav"); 2]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_task_that_the_model_cannot_do_is_refused_and_those_it_can_are_named() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let spec = |source: &str, task: &str| v1::ModelSpec {
        id: format!("{source}-{task}"),
        source: source.into(),
        task: task.into(),
        ..Default::default()
    };
    for (source, task, says) in [
        ("tiny-bert-sentiment", "translation", "\"text-classification\""),
        ("tiny-vit", "automatic-speech-recognition", "\"image-classification\""),
        ("tiny-llama", "image-text-to-text", "\"text-generation\""),
        ("tiny-bert", "question-answering", "\"feature-extraction\""),
    ] {
        let error = service.register(spec(source, task)).await.unwrap_err();
        assert_eq!(blamed(&error), "spec.task");
        assert!(error.message().contains(says), "{error}");
    }
    // A sequence to sequence model can do all of them; any graph runs on tensors.
    for (source, task) in [("tiny-t5", "summarization"), ("tiny-t5", "translation"), ("tiny-vit", "tensor")] {
        service.register(spec(source, task)).await.unwrap();
    }
    service.stop().await;
}

#[tokio::test]
async fn a_tokenizer_that_is_missing_or_of_another_model_is_refused() {
    let models = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(&std::path::Path)| {
        let (from, to) = (common::repository("tests/models/tiny-bert-sentiment"), models.path().join(name));
        std::fs::create_dir_all(to.join("onnx")).unwrap();
        for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
        change(&to);
    };
    copy("without", &|folder| std::fs::remove_file(folder.join("tokenizer.json")).unwrap());
    copy("another", &|folder| {
        let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
        std::fs::write(folder.join("config.json"), config.replace("\"vocab_size\": 197", "\"vocab_size\": 100"))
            .unwrap();
    });
    let folder = format!("--models={}", models.path().display());
    let service = Service::start(&[&folder], Fake::new().driver()).await;
    for (id, says) in [("without", "tokenizer.json"), ("another", "not of one model")] {
        let error = service.register(v1::ModelSpec { id: id.into(), ..Default::default() }).await.unwrap_err();
        assert_eq!(blamed(&error), "spec.source");
        assert!(error.message().contains(says), "{error}");
    }
    service.stop().await;
}
