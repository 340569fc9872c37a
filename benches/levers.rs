//! Levers: ways to run MiniLM on the CPU, each against the plain one, in bare loops of one browser. `BENCH_LEVERS` narrows
//! it to what has all of its words, of a browser, a group and a precision: `BENCH_LEVERS="firefox builds q8"`.

mod common;

use std::{path::Path, time::Instant};

use common::{
    Result,
    bare::{Bare, How},
    cosine,
    load::{in_turn, text_items, texts},
    minilm, reference,
    report::Report,
    repository,
};
use serde_json::{Value, json};
use webinfer::browser::Wanted;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 6;
const MILLIS: u64 = 800;
const BATCHES: [usize; 2] = [1, 8];
const LOADS: usize = 5;
/// What shapes are padded to; the texts have some tokens less.
const TOKENS: usize = 40;
const SHELL: &str = "target/tools/headless-shell/headless_shell";

/// A way to run the model.
struct Way {
    name: String,
    bundle: &'static str,
    backend: &'static str,
    workers: usize,
    threads: u32,
    /// Another precision than the group's.
    dtype: Option<&'static str>,
    session: Value,
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Free,
    /// Padded by the page; the session knows of nothing.
    Padded,
    /// Padded, and the session made for that shape.
    Fixed,
}

/// Ways that are held against the first of them.
struct Group {
    name: &'static str,
    /// Whether the time of a load is measured, too.
    loads: bool,
    ways: Vec<Way>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let conditions = json!({"model": MODEL, "rounds": ROUNDS, "millis_a_round": MILLIS, "order": "A B B A", "loads": LOADS,
                            "texts": "100 bytes each, about 24 tokens", "padded_to_tokens": TOKENS});
    let mut report = Report::new("levers", conditions);
    let words = std::env::var("BENCH_LEVERS").unwrap_or_default();
    for browser in ["chromium", "shell", "firefox", "webkit"] {
        for group in groups(browser) {
            for (dtype, models) in minilm() {
                let label = format!("{browser} {} {dtype}", group.name);
                let wanted = words.split_whitespace().all(|word| label.split(' ').any(|it| it == word));
                if wanted && (group.name != "precisions" || dtype == "fp32") {
                    measure(&mut report, browser, &group, dtype, &models).await?;
                }
            }
        }
    }
    report.write()
}

fn plain(name: &str) -> Way {
    Way {
        name: name.to_owned(),
        bundle: "wasm",
        backend: "wasm",
        workers: 1,
        threads: 1,
        dtype: None,
        session: json!({}),
        shape: Shape::Free,
    }
}

fn groups(browser: &str) -> Vec<Group> {
    let group = |name, ways| Group { name, loads: name == "builds", ways };
    let webnn = |name: &str, shape| Way { bundle: "webnn", backend: "webnn-cpu", shape, ..plain(name) };
    if browser == "shell" {
        let ways = vec![
            webnn("free", Shape::Free),
            webnn("padded", Shape::Padded),
            webnn("fixed", Shape::Fixed),
            plain("WASM, free"),
            Way { bundle: "jspi", ..webnn("fixed, JSPI", Shape::Fixed) },
        ];
        return vec![group("webnn", ways)];
    }
    let bundle = |bundle| Way { bundle, ..plain(bundle) };
    let places = |workers, threads| Way { workers, threads, ..plain(&format!("{workers} x {threads}")) };
    let mut groups = vec![
        group("builds", vec![plain("plain"), bundle("webgpu"), bundle("jspi"), bundle("jsep")]),
        group("places", vec![places(1, 1), places(2, 1), places(1, 2), places(2, 2)]),
    ];
    if browser == "chromium" {
        groups.push(group("options", options()));
        groups.push(group("threaded", threaded()));
        let dtype = |dtype| Way { dtype: Some(dtype), ..plain(dtype) };
        groups.push(group("precisions", ["q8", "int8", "uint8", "fp32", "q4", "fp16"].map(dtype).into()));
    }
    groups
}

/// Options of sessions on one thread.
fn options() -> Vec<Way> {
    let with = |name, session| Way { session, ..plain(name) };
    vec![
        plain("none"),
        with("enableCpuMemArena", json!({"enableCpuMemArena": true})),
        with("enableMemPattern", json!({"enableMemPattern": true})),
        with("both of these", json!({"enableCpuMemArena": true, "enableMemPattern": true})),
        with("graphOptimizationLevel: extended", json!({"graphOptimizationLevel": "extended"})),
        with("graphOptimizationLevel: basic", json!({"graphOptimizationLevel": "basic"})),
        with("executionMode: parallel", json!({"executionMode": "parallel"})),
        with("gelu approximation", json!({"extra": {"optimization": {"enable_gelu_approximation": "1"}}})),
        with("no prepacking", json!({"extra": {"session": {"disable_prepacking": "1"}}})),
        Way { shape: Shape::Padded, ..plain("padded") },
        Way { shape: Shape::Fixed, ..plain("fixed shape") },
    ]
}

/// Options that are about threads.
fn threaded() -> Vec<Way> {
    let with = |name: &str, session| Way { threads: 2, session, ..plain(name) };
    vec![
        with("none", json!({})),
        with("no spinning", json!({"extra": {"session": {"intra_op": {"allow_spinning": "0"}}}})),
        with("dynamic_block_base", json!({"extra": {"session": {"dynamic_block_base": "4"}}})),
    ]
}

async fn measure(report: &mut Report, browser: &str, group: &Group, dtype: &str, models: &Path) -> Result<()> {
    let (sentences, right) = reference(&models.join(MODEL), dtype)?;
    let texts = text_items(&texts(&sentences, 64));
    let known = text_items(&sentences);
    for batch in BATCHES {
        let [first, others @ ..] = &group.ways[..] else { return Ok(()) };
        let (mut base, ..) = open(browser, first, dtype, batch, models).await?;
        for way in others {
            let what = format!("{browser} {} {dtype}, batch {batch}: {} / {}", group.name, way.name, first.name);
            let (mut lever, loaded, _) = match open(browser, way, dtype, batch, models).await {
                Ok(opened) => opened,
                Err(error) => {
                    eprintln!("{what}: is not to be had: {error}");
                    continue;
                }
            };
            let vectors = lever.embed(&known, batch).await?;
            let cosines = vectors.iter().zip(&right).map(|(vector, right)| cosine(vector, right));
            let least = cosines.fold(f64::INFINITY, f64::min);
            let (ratios, raw) = in_turn(
                ROUNDS,
                async || lever.throughput(&texts, batch, MILLIS).await,
                async || base.throughput(&texts, batch, MILLIS).await,
            )
            .await?;
            let raw = json!({"browser": lever.stop().await?, "lever_and_base_items_per_s": raw,
                             "least_cosine_to_native": least, "node_placements": loaded["nodePlacements"]});
            report.told(&what, &ratios, "", raw);
        }
        base.stop().await?;
    }
    if group.loads {
        loads(report, browser, group, dtype, models).await?;
    }
    Ok(())
}

/// Times of loads, each in a browser of its own that has kept nothing.
async fn loads(report: &mut Report, browser: &str, group: &Group, dtype: &str, models: &Path) -> Result<()> {
    let mut times = vec![Vec::new(); group.ways.len()];
    for _ in 0..LOADS {
        for (way, times) in group.ways.iter().zip(&mut times) {
            if let Ok((bare, _, seconds)) = open(browser, way, dtype, 1, models).await {
                times.push(seconds);
                bare.stop().await?;
            }
        }
    }
    for (way, times) in group.ways.iter().zip(&times).filter(|(_, times)| !times.is_empty()) {
        report.told(&format!("{browser} {dtype}: load, {}", way.name), times, "s", json!({}));
    }
    Ok(())
}

/// Opens a browser and has it load the model in a way; also what it tells of it, and the seconds of the load.
async fn open(browser: &str, way: &Way, dtype: &str, batch: usize, models: &Path) -> Result<(Bare, Value, f64)> {
    let browser = if browser == "shell" { format!("chromium={}", repository(SHELL).display()) } else { browser.into() };
    let wanted: Wanted = browser.parse()?;
    let mut lever = json!({"session": way.session});
    if way.shape != Shape::Free {
        lever["shape"] = json!([batch, TOKENS]);
    }
    if way.shape == Shape::Fixed {
        lever["session"]["freeDimensionOverrides"] = json!({"batch_size": batch, "sequence_length": TOKENS});
    }
    let how = How { backend: way.backend, threads: way.threads, lever };
    let mut bare = Bare::open(wanted, way.bundle, way.workers, models.to_owned()).await?;
    let begun = Instant::now();
    match bare.load_with(&how, MODEL, "feature-extraction", way.dtype.unwrap_or(dtype)).await {
        Ok(loaded) => Ok((bare, loaded, begun.elapsed().as_secs_f64())),
        Err(error) => {
            bare.stop().await?;
            Err(error)
        }
    }
}
