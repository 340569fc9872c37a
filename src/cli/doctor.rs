//! `webinfer doctor`: what is installed, what each browser can do here, and what to install for more.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use serde_json::{Value, json};

use super::{CommandError, local, matrix, report};
use crate::{
    browser::{KINDS, Kind, Wanted, find_all, switches},
    config::Serve,
    execution::Backend,
    pool::{BrowserState, Pool},
    proto::v1,
    rpc::client::Client,
};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "All settings of `webinfer serve` apply too.")]
pub struct Doctor {
    /// Show what each kind of browser is told at its start, and what for
    #[arg(long)]
    pub verbose: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// Try a model of the models folder out instead: in each browser, on each backend, in each precision that it has
    #[arg(long, value_name = "MODEL")]
    pub matrix: Option<String>,
    /// Settings with which the browsers are tried.
    #[command(flatten)]
    pub serve: Serve,
}

/// Tries every browser that is found.
pub async fn run(doctor: Doctor) -> Result<(), CommandError> {
    let serve = &doctor.serve;
    let found: Vec<_> = match &serve.browser[..] {
        [Wanted::Any] => find_all(&serve.search_path).into_iter().map(Wanted::Program).collect(),
        named => named.to_vec(),
    };
    if let Some(model) = &doctor.matrix {
        return matrix::run(serve, &found, model, doctor.json).await;
    }
    let models = models(serve);
    if !doctor.json {
        println!("webinfer {}, {} cores", env!("CARGO_PKG_VERSION"), cores());
        println!("models in {}:", serve.models.display());
        models.iter().for_each(|(model, what)| println!("  {model}: {what}"));
        if models.is_empty() {
            println!("  none; put a folder in the Hub's layout there, or see --models");
        }
    }
    let mut best = Best::default();
    let mut browsers = Vec::new();
    for wanted in &found {
        let kind = if let Wanted::Program(found) = wanted { Some(found.kind) } else { None };
        if !doctor.json {
            println!("\n{wanted}");
            if let Some(kind) = kind.filter(|_| doctor.verbose) {
                switches(kind.engine).iter().for_each(|line| println!("  {line}"));
            }
        }
        let probed = probe(serve, wanted).await;
        match &probed {
            Ok(capabilities) => best.see(capabilities),
            Err(error) if !doctor.json => println!("  does not work: {error}"),
            Err(_) => {}
        }
        match probed {
            Ok(capabilities) if !doctor.json => println!("{}", describe(&capabilities, kind)),
            probed => browsers.push(browser_json(wanted, kind, probed)),
        }
    }
    let missing = if serve.browser == [Wanted::Any] { missing(&found) } else { Vec::new() };
    let advice = best.advice(found.is_empty());
    if doctor.json {
        let models: Vec<_> = models.iter().map(|(model, what)| json!({"id": model, "what": what})).collect();
        let document = json!({
            "version": env!("CARGO_PKG_VERSION"), "cores": cores(), "models": models, "browsers": browsers,
            "not_installed": missing, "advice": advice,
        });
        println!("{}", serde_json::to_string_pretty(&document).unwrap_or_default());
    } else {
        if !missing.is_empty() {
            println!("\nnot installed:");
            missing.iter().for_each(|line| println!("  {line}"));
        }
        advice.iter().for_each(|advice| println!("\n* {advice}"));
    }
    if best.serves { Ok(()) } else { Err(CommandError::Usage("no browser can serve".into())) }
}

/// The kinds that were not found and could be, with how to get each.
fn missing(found: &[Wanted]) -> Vec<String> {
    let has = |kind: &Kind| found.iter().any(|wanted| matches!(wanted, Wanted::Program(found) if found.kind == kind));
    let possible = |kind: &&Kind| kind.name != "safari" || cfg!(target_os = "macos");
    let lines = KINDS.iter().filter(possible).filter(|kind| !has(kind));
    lines.map(|kind| format!("{}: {}", kind.name, kind.install)).collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The folders of models: what each is, or why it cannot be used.
fn models(serve: &Serve) -> Vec<(String, String)> {
    let registry = crate::app::registry(serve);
    let rejected = registry.register_folders();
    let usable = registry.list().into_iter().map(|model| {
        let dtypes = model.available.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ");
        (model.spec.id.to_string(), format!("{}, {dtypes}", model.spec.task.name))
    });
    let rejected = rejected.into_iter().map(|(folder, error)| (folder, format!("not usable: {error}")));
    usable.chain(rejected).collect()
}

/// Asks the page of a browser.
async fn probe(serve: &Serve, wanted: &Wanted) -> Result<v1::BrowserCapabilities, CommandError> {
    let detect = async |client: Client| {
        let browsers = client.detect().await?.browsers;
        browsers.into_iter().next().ok_or_else(|| CommandError::Usage("its page did not answer".into()))
    };
    with_service(serve, wanted, detect).await
}

/// Starts a browser under a service of its own, and does something with that.
pub async fn with_service<T>(
    serve: &Serve,
    wanted: &Wanted,
    work: impl AsyncFnOnce(Client) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let serve = Serve { browser: vec![wanted.clone()], browsers: 1, min_browsers: None, spares: 0, ..serve.clone() };
    let (app, client) = local(&serve).await?;
    let result = match came_up(&app.pool).await {
        Ok(()) => work(client).await,
        Err(reason) => Err(CommandError::Usage(reason)),
    };
    app.shut_down().await;
    result
}

async fn came_up(pool: &Pool) -> Result<(), String> {
    let mut watch = pool.watch();
    loop {
        let view = watch.borrow_and_update().clone();
        if let Some(browser) = view.browsers.first() {
            match browser.state {
                BrowserState::Ready => return Ok(()),
                BrowserState::BackingOff => return Err(browser.reason.to_string()),
                BrowserState::Starting => {}
            }
        }
        if watch.changed().await.is_err() {
            return Err("the pool has ended".into());
        }
    }
}

fn describe(capabilities: &v1::BrowserCapabilities, kind: Option<&Kind>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let why = |reason: &str, backend| match hint(capabilities, kind, backend) {
        Some(hint) => format!("no: {reason}; {hint}"),
        None => format!("no: {reason}"),
    };
    let webgpu = match &capabilities.webgpu {
        Some(webgpu) if webgpu.available => {
            let extra = |feature: &str, name: &str| {
                if webgpu.features.iter().any(|known| known == feature) { format!(", {name}") } else { String::new() }
            };
            let name = if webgpu.adapter.is_empty() { "an adapter without a name" } else { &webgpu.adapter };
            let extras = [("shader-f16", "fp16"), ("subgroups", "subgroups"), ("timestamp-query", "timestamps")];
            let extras: String = extras.iter().map(|(feature, name)| extra(feature, name)).collect();
            format!("{}: {name}{extras}", report::hardware(webgpu.hardware()))
        }
        Some(webgpu) => why(&webgpu.unavailable_reason, Backend::WebGpu),
        None => "not known".to_owned(),
    };
    let wasm = [
        ("threads", capabilities.wasm_threads),
        ("SIMD", capabilities.wasm_simd),
        ("relaxed SIMD", capabilities.wasm_relaxed_simd),
        ("memory64", capabilities.wasm_memory64),
        ("JSPI", capabilities.wasm_jspi),
    ];
    let list = |wanted| {
        let names: Vec<_> = wasm.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    table.add_row(["version".to_owned(), format!("{} {}", capabilities.product, capabilities.version)]);
    table.add_row(["sandbox".to_owned(), yes(capabilities.sandboxed)]);
    table.add_row(["wasm".to_owned(), format!("has {}; lacks {}", list(true), list(false))]);
    table.add_row(["webgpu".to_owned(), webgpu]);
    if capabilities.webnn.is_empty() {
        table.add_row(["webnn".to_owned(), why("the browser does not offer it", Backend::WebNnCpu)]);
    }
    for context in &capabilities.webnn {
        let state = if context.available {
            format!("yes: {} operators", context.operators.len())
        } else {
            format!("no: {}", context.unavailable_reason)
        };
        table.add_row([format!("webnn {}", context.device_type), state]);
    }
    let gpus = capabilities.gpu_devices.join("; ");
    table.add_row(["gpus".to_owned(), if gpus.is_empty() { "this browser does not tell".to_owned() } else { gpus }]);
    table
}

/// What a browser's version has to do with its lack of a backend.
fn hint(capabilities: &v1::BrowserCapabilities, kind: Option<&Kind>, backend: Backend) -> Option<String> {
    let version = capabilities.version.split('.').next()?.parse().ok()?;
    kind?.is_too_old_for(backend, version)
}

fn browser_json(wanted: &Wanted, kind: Option<&Kind>, probed: Result<v1::BrowserCapabilities, CommandError>) -> Value {
    let name = kind.map(|kind| kind.name);
    let capabilities = match probed {
        Ok(capabilities) => capabilities,
        Err(error) => {
            return json!({"browser": wanted.to_string(), "kind": name, "works": false, "error": error.to_string()});
        }
    };
    let webgpu = capabilities.webgpu.clone().unwrap_or_default();
    let webnn = capabilities.webnn.iter().map(|context| {
        json!({
            "device_type": context.device_type, "available": context.available,
            "unavailable_reason": context.unavailable_reason, "operators": context.operators,
            "max_tensor_bytes": context.max_tensor_bytes, "preferred_layout": context.preferred_layout,
        })
    });
    json!({
        "browser": wanted.to_string(), "kind": name, "works": true,
        "product": capabilities.product, "version": capabilities.version, "user_agent": capabilities.user_agent,
        "sandboxed": capabilities.sandboxed, "hardware_concurrency": capabilities.hardware_concurrency,
        "device_memory_mib": capabilities.device_memory_mib,
        "cross_origin_isolated": capabilities.cross_origin_isolated,
        "wasm": {
            "threads": capabilities.wasm_threads, "simd": capabilities.wasm_simd,
            "relaxed_simd": capabilities.wasm_relaxed_simd, "memory64": capabilities.wasm_memory64,
            "jspi": capabilities.wasm_jspi,
        },
        "webgpu": {
            "available": webgpu.available, "unavailable_reason": webgpu.unavailable_reason,
            "adapter": webgpu.adapter, "hardware": report::hardware(webgpu.hardware()),
            "features": webgpu.features, "limits": webgpu.limits,
        },
        "webnn": webnn.collect::<Vec<_>>(), "gpu_devices": capabilities.gpu_devices,
    })
}

/// What the best of the browsers can do.
#[derive(Default)]
struct Best {
    serves: bool,
    gpu: bool,
    threads: bool,
}

impl Best {
    fn see(&mut self, capabilities: &v1::BrowserCapabilities) {
        self.serves = true;
        self.threads |= capabilities.wasm_threads;
        self.gpu |= capabilities.webgpu.as_ref().is_some_and(|webgpu| webgpu.hardware() == v1::Hardware::Gpu);
    }

    fn advice(&self, none_found: bool) -> Vec<&'static str> {
        let mut advice = Vec::new();
        if none_found {
            advice.push("install a browser: `apt-get install chromium` or `firefox-esr` on Debian, or Chrome, or Edge");
        } else if !self.serves {
            advice.push("no browser came up: see the reason above; --log webinfer=debug shows what it says");
        }
        if self.serves && !self.gpu {
            advice.push(
                "no GPU is used: WebGPU runs in software here, for tests only. With a GPU, install its Vulkan driver \
                 (Debian: mesa-vulkan-drivers for Intel and AMD, the vendor's for NVIDIA), and give --gpu vulkan",
            );
        }
        if self.serves && !self.threads {
            advice.push("WebAssembly has no threads here: take a newer browser");
        }
        advice
    }
}
