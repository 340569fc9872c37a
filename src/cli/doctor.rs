//! `webinfer doctor`: what is installed, what each browser can do here, and what to install for more.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};

use super::{CommandError, local, report};
use crate::{
    browser::{Wanted, find_all, switches},
    config::Serve,
    pool::{BrowserState, Pool},
    proto::v1,
};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "All settings of `webinfer serve` apply too.")]
pub struct Doctor {
    /// Show what each kind of browser is told at its start, and what for
    #[arg(long)]
    pub verbose: bool,
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
    println!("webinfer {}, {} cores", env!("CARGO_PKG_VERSION"), cores());
    println!("models in {}:", serve.models.display());
    print_models(serve);
    if found.is_empty() {
        println!("\nno browser was found");
    }
    let mut best = Best::default();
    for wanted in &found {
        println!("\n{wanted}");
        if let Wanted::Program(found) = wanted
            && doctor.verbose
        {
            switches(found.kind.engine).iter().for_each(|line| println!("  {line}"));
        }
        match probe(serve, wanted).await {
            Ok(capabilities) => {
                println!("{}", describe(&capabilities));
                best.see(&capabilities);
            }
            Err(error) => println!("  does not work: {error}"),
        }
    }
    for advice in best.advice(found.is_empty()) {
        println!("\n* {advice}");
    }
    if best.serves { Ok(()) } else { Err(CommandError::Usage("no browser can serve".into())) }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn print_models(serve: &Serve) {
    let registry = crate::app::registry(serve);
    let rejected = registry.register_folders();
    for model in registry.list() {
        let dtypes = model.available.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", ");
        println!("  {}: {}, {dtypes}", model.spec.id, model.spec.task.name());
    }
    for (folder, error) in &rejected {
        println!("  {folder}: not usable: {error}");
    }
    if registry.list().is_empty() && rejected.is_empty() {
        println!("  none; put a folder in the Hub's layout there, or see --models");
    }
}

/// Starts the browser under a service of its own and asks its page.
async fn probe(serve: &Serve, wanted: &Wanted) -> Result<v1::BrowserCapabilities, CommandError> {
    let serve = Serve { browser: vec![wanted.clone()], browsers: 1, ..serve.clone() };
    let (app, client) = local(&serve).await?;
    let result = match came_up(&app.pool).await {
        Ok(()) => client.detect().await.map_err(CommandError::from).and_then(|response| {
            response.browsers.into_iter().next().ok_or_else(|| CommandError::Usage("its page did not answer".into()))
        }),
        Err(reason) => Err(CommandError::Usage(reason)),
    };
    drop(client);
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

fn describe(capabilities: &v1::BrowserCapabilities) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let webgpu = match &capabilities.webgpu {
        Some(webgpu) if webgpu.available => {
            let half = if webgpu.features.iter().any(|feature| feature == "shader-f16") { ", fp16" } else { "" };
            let name = if webgpu.adapter.is_empty() { "an adapter without a name" } else { &webgpu.adapter };
            format!("{}: {name}{half}", report::hardware(webgpu.hardware()))
        }
        Some(webgpu) => format!("no: {}", webgpu.unavailable_reason),
        None => "not known".to_owned(),
    };
    table.add_row(["version".to_owned(), format!("{} {}", capabilities.product, capabilities.version)]);
    table.add_row(["sandbox".to_owned(), yes(capabilities.sandboxed)]);
    table.add_row(["wasm threads".to_owned(), yes(capabilities.wasm_threads)]);
    table.add_row(["wasm simd".to_owned(), yes(capabilities.wasm_simd)]);
    table.add_row(["webgpu".to_owned(), webgpu]);
    if capabilities.webnn.is_empty() {
        table.add_row(["webnn", "no: this browser does not have it"]);
    }
    for context in &capabilities.webnn {
        let state = if context.available { "yes".to_owned() } else { format!("no: {}", context.unavailable_reason) };
        table.add_row([format!("webnn {}", context.device_type), state]);
    }
    let gpus = capabilities.gpu_devices.join("; ");
    table.add_row(["gpus".to_owned(), if gpus.is_empty() { "this browser does not tell".to_owned() } else { gpus }]);
    table
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
                 (Debian: mesa-vulkan-drivers for Intel and AMD, the vendor's for NVIDIA)",
            );
        }
        if self.serves && !self.threads {
            advice.push("WebAssembly has no threads here: take a newer browser");
        }
        advice
    }
}
