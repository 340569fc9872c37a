//! Media: throughput of the service against the bare loop on models of full size that see and hear: ViT-base, CLIP and
//! Whisper-tiny, with random weights, on one worker of one WASM thread.
//!
//! Both run the same runner on the same items, in turn; only one has work at a time. Pictures go in as JPEG, sound as samples.

mod common;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use common::{
    Machine, Result,
    bare::Bare,
    load::{closed_as, in_turn},
    report::{Goal, Report},
    repository,
    service::{ONE_WORKER, Service},
};
use image::{RgbImage, codecs::jpeg::JpegEncoder};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;
use webinfer::{
    browser::Wanted,
    proto::v1::{self, item::Input},
};

const ROUNDS: usize = 5;
/// Callers: enough that the worker never waits.
const CALLERS: usize = 3;
/// Items, of which no two in flight are alike.
const ITEMS: u64 = 8;
/// Spread of the weights, small enough that nothing overflows.
const SPREAD: f32 = 0.02;

/// A model to measure.
struct Model {
    name: &'static str,
    task: &'static str,
    item: fn(u64) -> Result<v1::Item>,
    parameters: Option<v1::Parameters>,
    /// Milliseconds of a round: several runs.
    millis: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let labels = ["a cat", "a dog", "a car", "a house"].map(str::to_owned).to_vec();
    let generation = v1::Generation { max_new_tokens: Some(16), do_sample: Some(false), ..Default::default() };
    let transcription = v1::Transcription { language: "en".into(), ..Default::default() };
    let models = [
        Model { name: "vit-base", task: "image-classification", item: picture, parameters: None, millis: 12_000 },
        Model {
            name: "clip-vit-base",
            task: "zero-shot-image-classification",
            item: picture,
            parameters: Some(v1::Parameters { candidate_labels: labels, ..Default::default() }),
            millis: 12_000,
        },
        Model {
            name: "whisper-tiny",
            task: "automatic-speech-recognition",
            item: sound,
            parameters: Some(v1::Parameters {
                generation: Some(generation),
                transcription: Some(transcription),
                ..Default::default()
            }),
            millis: 20_000,
        },
    ];
    let machine = Machine::here()?;
    let conditions = json!({"backend": machine.backend, "dtype": "fp32", "threads": 1, "workers": 1, "rounds": ROUNDS,
                            "order": "A B B A", "loop": "closed", "callers": CALLERS, "requests_of": 1,
                            "weights": "random", "pictures": "JPEG of 640 x 480", "sound": "30 s, 16,000 samples a second",
                            "whisper": "16 new tokens, language given"});
    let mut report = Report::new("media", conditions);
    let more = machine.arguments();
    let arguments: Vec<_> =
        ONE_WORKER.into_iter().chain(["--max-batch=1"]).chain(more.iter().map(String::as_str)).collect();
    let folder = fill(models.iter().map(|model| model.name))?;
    for Model { name, task, item, parameters, millis } in &models {
        let service = Service::start(&folder, &arguments).await?;
        let id = service.load_as(name, "fp32").await?;
        let mut bare = Bare::start_in(Wanted::Any, &machine.backend, folder.clone()).await?;
        bare.load_on(&machine.backend, name, task, "fp32").await?;
        let items = (0..ITEMS).map(item).collect::<Result<Vec<_>>>()?;
        let (time, parameters) = (Duration::from_millis(*millis), parameters.as_ref());
        let all = v1::InferRequest { model: id, parameters: parameters.cloned(), ..Default::default() };
        let request = |number: u64| vec![items[(number % ITEMS) as usize].clone()];
        let (mut hash, mut hardware) = (String::new(), String::new());
        let (ratios, raw) = in_turn(
            ROUNDS,
            async || {
                let achieved = closed_as(&service.client, &all, CALLERS, time, request).await?;
                hash.clone_from(&achieved.model_sha256);
                hardware = achieved.hardware;
                Ok(achieved.items_per_s)
            },
            async || bare.throughput_with(&items, parameters, 1, *millis).await,
        )
        .await?;
        let browser = bare.stop().await?;
        let raw =
            json!({"browser": browser, "service_and_bare_items_per_s": raw, "model_sha256": hash, "ran_on": hardware});
        report.figure(&format!("service / bare loop, {name}"), &ratios, Goal::AtLeast(0.95), raw);
        service.stop().await?;
    }
    report.write()
}

/// Copies the models' graphs, and makes the weights that belong to them. What is there is kept.
fn fill(names: impl Iterator<Item = &'static str>) -> Result<PathBuf> {
    let target = repository("target/bench-models");
    for name in names {
        let (from, to) = (repository("benches/models").join(name), target.join(name));
        fs::create_dir_all(to.join("onnx"))?;
        for file in fs::read_dir(&from)?.flatten().filter(|file| file.path().is_file()) {
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
        for graph in fs::read_dir(from.join("onnx"))?.flatten() {
            let path = to.join("onnx").join(graph.file_name());
            fs::copy(graph.path(), &path)?;
            weights(&path)?;
        }
    }
    Ok(target)
}

/// Makes the file of weights beside a graph, as long as the graph's tensors need it.
fn weights(graph: &Path) -> Result<()> {
    let sizes: serde_json::Value = serde_json::from_slice(&fs::read(repository("benches/models/weights.json"))?)?;
    let name = format!(
        "{}/{}",
        graph.parent().and_then(Path::parent).and_then(Path::file_name).unwrap_or_default().to_string_lossy(),
        graph.file_name().unwrap_or_default().to_string_lossy()
    );
    let bytes = sizes[&name].as_u64().ok_or_else(|| format!("weights.json does not tell of {name}"))?;
    let path = graph.with_extension("onnx_data");
    if path.metadata().is_ok_and(|known| known.len() == bytes) {
        return Ok(());
    }
    let mut random = SmallRng::seed_from_u64(1);
    let mut file = BufWriter::new(File::create(path)?);
    for _ in 0..bytes / 4 {
        file.write_all(&random.random_range(-SPREAD..SPREAD).to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// A picture of its own, as JPEG.
fn picture(number: u64) -> Result<v1::Item> {
    let mut random = SmallRng::seed_from_u64(number);
    let (red, green, blue) = (random.random::<u8>(), random.random::<u8>(), random.random::<u8>());
    let picture = RgbImage::from_fn(640, 480, |x, y| {
        image::Rgb([(x as u8).wrapping_add(red), (y as u8).wrapping_add(green), ((x + y) / 4) as u8 ^ blue])
    });
    let mut encoded = Vec::new();
    JpegEncoder::new_with_quality(&mut encoded, 85).encode_image(&picture)?;
    let source = Some(v1::image::Source::Encoded(encoded.into()));
    Ok(v1::Item { input: Some(Input::Image(v1::Image { source })) })
}

/// Thirty seconds of sound.
fn sound(number: u64) -> Result<v1::Item> {
    let mut random = SmallRng::seed_from_u64(number);
    let data: Vec<u8> = (0..30 * 16_000).flat_map(|_| random.random_range(-0.5..0.5_f32).to_le_bytes()).collect();
    let source = Some(v1::audio::Source::Samples(v1::Samples { rate: 16_000, data: data.into() }));
    Ok(v1::Item { input: Some(Input::Audio(v1::Audio { source })) })
}
