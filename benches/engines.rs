//! Engines: what each browser takes to start, in time and memory, and what MiniLM runs at on each of its backends, through
//! the service and in a bare loop in the same browser.

mod common;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use common::{
    Result,
    bare::Bare,
    cosine,
    load::{closed, in_turn, text, text_items, texts},
    minilm, reference,
    report::Report,
    repository,
    service::{ONE_WORKER, Service, vector},
};
use serde_json::json;
use webinfer::{
    browser::{Wanted, tree_memory},
    proto::v1::{self, Backend, BrowserState},
};

const MODEL: &str = "all-MiniLM-L6-v2";
const STARTS: usize = 5;
const ROUNDS: usize = 5;
const MILLIS: u64 = 2000;
/// Callers of one text each: enough that the worker never waits.
const CALLERS: usize = 4;

/// A browser, by its setting, and the backends that it has on this machine.
const ENGINES: [(&str, &[(Backend, &str)]); 4] = [
    ("chromium", &[(Backend::Wasm, "wasm"), (Backend::Webgpu, "webgpu")]),
    // The headless shell, whose program is where the tests have it.
    ("", &[(Backend::Wasm, "wasm"), (Backend::Webgpu, "webgpu"), (Backend::WebnnCpu, "webnn-cpu")]),
    ("firefox", &[(Backend::Wasm, "wasm"), (Backend::Webgpu, "webgpu")]),
    ("webkit", &[(Backend::Wasm, "wasm")]),
];

#[tokio::main]
async fn main() -> Result<()> {
    let shell = repository("target/tools/headless-shell/headless_shell");
    let conditions = json!({"model": MODEL, "threads": 1, "workers": 1, "starts": STARTS, "rounds": ROUNDS,
                            "millis_a_round": MILLIS, "callers": CALLERS, "loop": "closed", "order": "A B B A",
                            "texts": "100 bytes each, about 24 tokens, no two in flight alike; --max-batch 1"});
    let mut report = Report::new("engines", conditions);
    for (browser, backends) in ENGINES {
        let browser = if browser.is_empty() { format!("chromium={}", shell.display()) } else { browser.to_owned() };
        if browser.contains('=') && !shell.is_file() {
            eprintln!("the headless shell is not measured; run: make target/tools/headless-shell/headless_shell");
            continue;
        }
        starts(&mut report, &browser).await?;
        for (dtype, models) in minilm() {
            for (backend, name) in backends {
                // Small integers are for WASM: elsewhere most of such a graph runs on the CPU.
                if dtype == "fp32" || *backend == Backend::Wasm {
                    run(&mut report, &browser, (*backend, name), dtype, &models).await?;
                }
            }
        }
    }
    report.write()
}

/// Time from the start of the service until a page is linked, and the memory of the browser's tree then.
async fn starts(report: &mut Report, browser: &str) -> Result<()> {
    let (mut seconds, mut memory, mut product) = (Vec::new(), Vec::new(), String::new());
    for start in 0..=STARTS {
        let begun = Instant::now();
        let service = Service::start(&repository("models"), &["--load=none", "--browser", browser]).await?;
        let up = ready(&service).await?;
        let took = begun.elapsed().as_secs_f64();
        let measured = tree_memory(up.pid);
        product = format!("{} {}", up.product, up.version);
        // The first fills the system's file cache.
        if start > 0 {
            seconds.push(took);
            memory.push(measured.bytes as f64 / f64::from(1 << 20));
        }
        service.stop().await?;
    }
    report.told(&format!("{product}: start to a linked page"), &seconds, "s", json!({}));
    report.told(&format!("{product}: memory of its tree, idle"), &memory, "MiB", json!({"kind": "pss"}));
    Ok(())
}

async fn ready(service: &Service) -> Result<v1::Browser> {
    loop {
        let pool = service.client.pool(false).await?;
        match pool.browsers.into_iter().next() {
            Some(browser) if browser.state() == BrowserState::Ready => return Ok(browser),
            Some(browser) if browser.state() == BrowserState::BackingOff => return Err(browser.reason.into()),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn run(
    report: &mut Report,
    browser: &str,
    (backend, name): (Backend, &str),
    dtype: &str,
    models: &Path,
) -> Result<()> {
    let (sentences, right) = reference(&models.join(MODEL), dtype)?;
    let texts = texts(&sentences, 1024);
    let arguments = [&ONE_WORKER[..], &["--max-batch=1", "--browser", browser]].concat();
    let service = Service::start(models, &arguments).await?;
    let id = format!("{MODEL}-{dtype}-{name}");
    let spec = v1::ModelSpec {
        id: id.clone(),
        source: MODEL.to_owned(),
        dtype: dtype.to_owned(),
        backends: vec![backend.into()],
        ..Default::default()
    };
    service.client.register(spec).await?;
    service.load(&id).await?;
    let answers = Service::embed(&service.client, &id, &sentences).await?;
    let vectors = answers.results.iter().map(vector).collect::<Result<Vec<_>>>()?;
    let cosines = vectors.iter().zip(&right).map(|(vector, right)| cosine(vector, right));
    let least = cosines.fold(f64::INFINITY, f64::min);
    let execution = answers.executions.first().cloned().ok_or("no record")?;
    let memory = tree_memory(ready(&service).await?.pid).bytes as f64 / f64::from(1 << 20);
    let wanted: Wanted = browser.parse()?;
    let mut bare = Bare::start_in(wanted, name, models.to_owned()).await?;
    bare.load_on(name, MODEL, "feature-extraction", dtype).await?;
    let request = |number: u64| vec![text(&texts[number as usize % texts.len()])];
    let time = Duration::from_millis(MILLIS);
    let (ratios, raw) = in_turn(
        ROUNDS,
        async || Ok(closed(&service.client, &id, CALLERS, time, request).await?.items_per_s),
        async || bare.throughput(&text_items(&texts), 1, MILLIS).await,
    )
    .await?;
    let served: Vec<_> = raw.iter().map(|[service, _]| *service).collect();
    let nodes = execution.node_placements.iter().map(|node| json!({"provider": node.provider, "nodes": node.nodes}));
    let raw = json!({
        "browser": execution.browser, "browser_version": execution.browser_version,
        "backend_used": execution.backend_used().as_str_name(), "hardware": execution.hardware().as_str_name(),
        "adapter": execution.adapter, "model_sha256": execution.model_sha256,
        "node_placements": nodes.collect::<Vec<_>>(), "least_cosine_to_native": least, "tree_mib": memory,
        "service_and_bare_items_per_s": raw,
    });
    let what = format!("{} {name} {dtype}", execution.browser);
    report.told(&format!("{what}: service"), &served, "texts/s", raw);
    report.told(&format!("{what}: service / bare loop"), &ratios, "", json!({}));
    report.told(&format!("{what}: least cosine to native"), &[least], "", json!({}));
    report.told(&format!("{what}: memory of its tree"), &[memory], "MiB", json!({"kind": "pss"}));
    bare.stop().await?;
    service.stop().await
}
