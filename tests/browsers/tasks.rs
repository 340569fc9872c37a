//! Every task on a real Chromium: the tiny models' answers against PyTorch's.

use tonic::Code;
use webinfer::proto::v1::{
    self, Backend, generate_response::Result as Step, item::Input, item_result::Output, part::Part,
};

use crate::common::{
    Service,
    cases::{Cases, audio, image},
    cosine, embedding, soon, text,
};

/// One of each family, and one that writes.
const FAMILIES: [&str; 5] = ["tiny-bert-sentiment", "tiny-vit", "tiny-wav2vec2-keywords", "tiny-clip", "tiny-llama"];

/// Loads a model, whose task was found in its own files, and runs its cases. Returns what ran them.
async fn agrees(service: &Service, model: &str) -> Backend {
    let mut ran = Backend::Unspecified;
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
        ran = response.executions[0].backend_used();
    }
    service.unload(model).await;
    ran
}

async fn all_agree(models: &[&str]) {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    for model in models {
        agrees(&service, model).await;
    }
    service.stop().await;
}

/// One of each family agrees on a backend of a browser.
async fn families_agree(browser: &str, backend: Backend) {
    let name = if backend == Backend::Webgpu { "webgpu" } else { "wasm" };
    let (browser, name) = (format!("--browser={browser}"), format!("--backend={name}"));
    let service = Service::real(&["--replicas=1", "--threads=1", &browser, &name]).await;
    for model in FAMILIES {
        assert_eq!(agrees(&service, model).await, backend, "{model}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_agrees_on_webgpu_in_chromium() {
    families_agree("chromium", Backend::Webgpu).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_agrees_on_wasm_in_firefox() {
    families_agree("firefox", Backend::Wasm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_agrees_on_webgpu_in_firefox() {
    families_agree("firefox", Backend::Webgpu).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_agrees_on_wasm_in_webkit() {
    families_agree("webkit", Backend::Wasm).await;
}

/// A JPEG is drawn in the model's size at once, and pixels by way of their own. The decoders of the test and of the browser
/// agree to a step of a colour, since each block has one colour and colours are not sampled down.
async fn a_jpeg_gives_what_its_pixels_give(browser: &str) {
    let service = Service::real(&["--replicas=1", "--threads=1", &format!("--browser={browser}")]).await;
    service.load("tiny-vit-features").await.unwrap();
    let colour =
        |x: u32, y: u32| image::Rgb([(x / 8 * 11 % 256) as u8, (y / 8 * 17 % 256) as u8, (x / 16 * 29 % 256) as u8]);
    let picture = image::RgbImage::from_fn(208, 112, colour);
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100).encode_image(&picture).unwrap();
    let decoded = image::load_from_memory(&jpeg).unwrap().into_rgb8();
    let mut turned = decoded.clone();
    turned.pixels_mut().for_each(|pixel| pixel.0.reverse());
    let pixels = |picture: image::RgbImage| {
        let (width, height) = picture.dimensions();
        let data = picture.into_raw().into();
        v1::image::Source::Pixels(v1::Pixels { width, height, channels: 3, data })
    };
    let sources = [v1::image::Source::Encoded(jpeg.into()), pixels(decoded), pixels(turned)];
    let items = sources.map(|source| v1::Item { input: Some(Input::Image(v1::Image { source: Some(source) })) });
    let response = service.infer("tiny-vit-features", items.to_vec()).await.unwrap();
    let vectors: Vec<_> = response.results.iter().map(embedding).collect();
    let [same, other] = [cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2])];
    assert!(1.0 - same < 1e-4 && 1.0 - other > 1e-3, "{browser}: {same} to its pixels, {other} to other colours");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jpeg_gives_what_its_pixels_give_in_each_engine() {
    for browser in ["chromium", "firefox", "webkit"] {
        a_jpeg_gives_what_its_pixels_give(browser).await;
    }
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
    all_agree(&["tiny-whisper", "tiny-wav2vec2-ctc", "tiny-vits"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_described_read_and_talked_about() {
    all_agree(&["tiny-vit-gpt2", "tiny-donut", "tiny-vlm"]).await;
}

async fn ask(service: &Service, model: &str, item: v1::Item, parameters: v1::Parameters) -> Output {
    let request =
        v1::InferRequest { model: model.into(), items: vec![item], parameters: Some(parameters), ..Default::default() };
    let response = soon(service.inference().infer(request)).await;
    let mut response = response.unwrap_or_else(|error| panic!("{model}: {}", error.message())).into_inner();
    response.results.remove(0).output.unwrap()
}

fn making(generation: v1::Generation) -> v1::Parameters {
    v1::Parameters { generation: Some(generation), ..Default::default() }
}

async fn write(service: &Service, model: &str, prompt: &str, generation: v1::Generation) -> v1::Generated {
    match ask(service, model, text(prompt), making(generation)).await {
        Output::Generated(generated) => generated,
        other => panic!("{other:?}"),
    }
}

/// The steps of a request, put together: its text and its stretches of speech; and the answer.
async fn told(service: &Service, request: v1::InferRequest) -> (String, Vec<v1::Chunk>, usize, Output) {
    let request = v1::GenerateRequest { request: Some(request) };
    let mut steps = soon(service.inference().generate(request)).await.unwrap().into_inner();
    let (mut text, mut chunks, mut count) = (String::new(), Vec::new(), 0);
    loop {
        match soon(steps.message()).await.unwrap().unwrap().result.unwrap() {
            Step::Partial(partial) => {
                text += &partial.text;
                chunks.extend(partial.chunks);
                count += 1;
            }
            Step::Response(mut response) => return (text, chunks, count, response.results.remove(0).output.unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_does_what_else_its_architecture_is_for() {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    for (source, task) in [
        ("tiny-t5", "summarization"),
        ("tiny-t5", "translation"),
        ("tiny-t5", "text2text-generation"),
        ("tiny-clip", "image-feature-extraction"),
    ] {
        let (id, source) = (task.to_owned(), source.to_owned());
        service.register(v1::ModelSpec { id, source, task: task.into(), ..Default::default() }).await.unwrap();
        service.load(task).await.unwrap();
    }
    let few = v1::Generation { max_new_tokens: Some(8), ..Default::default() };
    // What its config says of the task is put in front of the text.
    for (task, prefix) in [("summarization", "summarize: "), ("translation", "translate: ")] {
        let plain = write(&service, task, "The cat sleeps.", few.clone()).await;
        let prompt = format!("{prefix}The cat sleeps.");
        let in_words = write(&service, "text2text-generation", &prompt, few.clone()).await;
        assert_eq!(
            (plain.text, plain.usage.unwrap().prompt_tokens),
            (in_words.text, in_words.usage.unwrap().prompt_tokens)
        );
    }
    let items = ["shapes-32.png", "photo-like.jpg", "picture.webp", "animated.gif", "grey.png", "alpha.png"].map(image);
    let response = service.infer("image-feature-extraction", items.to_vec()).await.unwrap();
    for (index, result) in response.results.iter().enumerate() {
        let vector = embedding(result);
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-6 && vector.iter().any(|value| *value != 0.0));
        let same = response.results.iter().filter(|other| cosine(embedding(other), vector) > 0.999_999).count();
        assert_eq!(same, 1, "picture {index} has the vector of another");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_told_as_it_grows_ends_where_it_is_to_and_can_be_drawn_again() {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    service.load("tiny-llama").await.unwrap();
    let twenty = v1::Generation { max_new_tokens: Some(20), ..Default::default() };
    let request = v1::InferRequest {
        model: "tiny-llama".into(),
        items: vec![text("The cat sleeps")],
        parameters: Some(making(twenty.clone())),
        ..Default::default()
    };
    let (grown, _, steps, output) = told(&service, request).await;
    let Output::Generated(whole) = output else { panic!("{output:?}") };
    assert!(steps >= 5, "it was told in {steps} steps");
    assert_eq!(grown, whole.text);
    assert_eq!(whole.finish_reason(), v1::FinishReason::Length);

    let stop: String = whole.text.chars().skip(6).take(3).collect();
    let before = &whole.text[..whole.text.find(&stop).unwrap()];
    let cut =
        write(&service, "tiny-llama", "The cat sleeps", v1::Generation { stop: vec![stop], ..twenty.clone() }).await;
    assert_eq!((cut.text.as_str(), cut.finish_reason()), (before, v1::FinishReason::StopText));
    assert!(cut.usage.unwrap().generated_tokens < 20);

    let drawn = v1::Generation { do_sample: Some(true), temperature: Some(2.0), seed: Some(7), ..twenty };
    let first = write(&service, "tiny-llama", "The cat sleeps", drawn.clone()).await;
    let again = write(&service, "tiny-llama", "The cat sleeps", drawn).await;
    assert_eq!(first.text, again.text);
    assert_ne!(first.text, whole.text);

    let long = "cat ".repeat(300);
    let error = service.infer("tiny-llama", vec![text(&long)]).await.unwrap_err();
    assert!(error.message().contains("items[0]: the prompt has"), "{error}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_pictures_and_text_talks_without_a_picture_too() {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    service.load("tiny-vlm").await.unwrap();
    let parts = vec![v1::Part { part: Some(Part::Text("What is red?".into())) }];
    let chat = v1::Chat { messages: vec![v1::ChatMessage { role: "user".into(), parts }] };
    let item = v1::Item { input: Some(Input::Chat(chat)) };
    let few = v1::Generation { max_new_tokens: Some(4), ..Default::default() };
    let output = ask(&service, "tiny-vlm", item, making(few)).await;
    let Output::Generated(generated) = output else { panic!("{output:?}") };
    assert!((1..=4).contains(&generated.usage.unwrap().generated_tokens));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_speech_is_told_segment_by_segment() {
    let service = Service::real(&["--replicas=1", "--threads=1"]).await;
    service.load("tiny-whisper").await.unwrap();
    let transcription = |language: &str, timestamps: v1::Timestamps| {
        let (language, timestamps) = (language.to_owned(), timestamps.into());
        let transcription = v1::Transcription { language, timestamps, ..Default::default() };
        v1::Parameters { transcription: Some(transcription), ..Default::default() }
    };
    let request = |parameters| v1::InferRequest {
        model: "tiny-whisper".into(),
        items: vec![audio("long.flac")],
        parameters: Some(parameters),
        ..Default::default()
    };
    let (grown, chunks, steps, output) = told(&service, request(transcription("de", v1::Timestamps::Segments))).await;
    let Output::Transcript(transcript) = output else { panic!("{output:?}") };
    assert!(steps > 2, "70 s in windows of 2 s were told in {steps} steps");
    assert_eq!(grown.trim(), transcript.text);
    assert_eq!(chunks, transcript.chunks);
    assert_eq!(transcript.language, "de");
    let begins: Vec<_> = chunks.iter().map(|chunk| chunk.begin_s).collect();
    assert!(begins.is_sorted() && begins.iter().all(|begin| (0.0..70.1).contains(begin)), "{begins:?}");
    assert!(begins.last().is_some_and(|last| *last > 35.0), "the end was not heard: {begins:?}");

    let wrong = request(transcription("klingon", v1::Timestamps::None));
    let error = soon(service.inference().infer(wrong)).await.unwrap_err();
    assert!(error.message().contains("klingon") && error.message().contains("de"), "{error}");
    // Silence is no error: the model says what it hears.
    ask(&service, "tiny-whisper", audio("silence.wav"), transcription("", v1::Timestamps::None)).await;
    service.stop().await;
}

/// Inputs that a model cannot take as they are, which a worker must neither fail nor answer as if they were others.
#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_are_too_much_for_a_model_are_their_own_fault() {
    let service = Service::real(&["--replicas=1", "--threads=1", "--max-message-bytes=1000000"]).await;
    for model in ["tiny-bert-nli", "tiny-bert-mlm", "tiny-bert-qa", "tiny-matting"] {
        service.load(model).await.unwrap();
    }
    // The hypotheses are read, however long the text is.
    let labels = ["animals", "music", "the weather of tomorrow"].map(str::to_owned);
    let labels = v1::Parameters { candidate_labels: labels.into(), ..Default::default() };
    let long = "The cat sleeps on the windowsill. ".repeat(200);
    let output = ask(&service, "tiny-bert-nli", text(&long), labels).await;
    let Output::Classes(classes) = output else { panic!("{output:?}") };
    let scores: Vec<_> = classes.classes.iter().map(|class| class.score).collect();
    assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{scores:?}");

    let hidden = format!("{long}[MASK]");
    let error = service.infer("tiny-bert-mlm", vec![text(&hidden)]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("which are all that the model reads"), "{error}");

    let source = Some(v1::question::Source::Context(String::new()));
    let question = v1::Item { input: Some(Input::Question(v1::Question { text: "What runs?".into(), source })) };
    let output = ask(&service, "tiny-bert-qa", question, v1::Parameters::default()).await;
    assert!(matches!(&output, Output::Answers(answers) if answers.answers.is_empty()), "{output:?}");

    // Four bytes for each pixel of the answer; the small one's has room.
    let picture = |side: u32| {
        let data = vec![128; (side * side * 3) as usize];
        let source =
            v1::image::Source::Pixels(v1::Pixels { data: data.into(), width: side, height: side, channels: 3 });
        v1::Item { input: Some(Input::Image(v1::Image { source: Some(source) })) }
    };
    let error = service.infer("tiny-matting", vec![picture(540)]).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("--max-message-bytes"), "{error}");
    let response = service.infer("tiny-matting", vec![picture(64)]).await.unwrap();
    assert_eq!(response.executions[0].retries, 0);
    service.stop().await;
}
