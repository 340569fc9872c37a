//! Driver for Chrome, Chromium and Edge, over the Chrome DevTools Protocol.

use std::{path::Path, time::Duration};

use chromiumoxide::{
    Browser,
    cdp::browser_protocol::{network, system_info, target},
    error::CdpError,
    listeners::EventStream,
};
use futures_util::StreamExt;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Caches, Found, Gpu, Info, Kind, Running, Settings, StartError,
    process::{self, Launch},
    redact,
};
use crate::loss::{Cause, Loss};

/// How often a browser's main process is asked whether it lives, and the time that it has for the answer.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// What the browser calls the end of a page's process that was killed from outside.
const KILLED: &str = "killed";

/// Flags of every start, and what each is for.
pub const SWITCHES: &[(&str, &str)] = &[
    ("--remote-debugging-port=0", "a debugging port of the system's choice, told on standard error"),
    ("--no-first-run", "no first-run pages"),
    ("--no-default-browser-check", "no questions"),
    ("--noerrdialogs", "no dialogs"),
    ("--password-store=basic", "no key ring"),
    ("--use-mock-keychain", "no key ring on macOS"),
    ("--disable-background-networking", "no requests of the browser's own"),
    ("--disable-component-update", "no requests of the browser's own"),
    ("--disable-sync", "no requests of the browser's own"),
    ("--disable-quic", "no UDP"),
    ("--disable-default-apps", "no applications"),
    ("--disable-extensions", "no extensions"),
    ("--disable-domain-reliability", "no reports"),
    ("--disable-breakpad", "no crash reports"),
    ("--no-pings", "no requests of the browser's own"),
    ("--metrics-recording-only", "no metrics are sent"),
    ("--gaia-url=http://127.0.0.1:1/", "what has no switch to stop it gets an address where nobody is"),
    ("--component-updater=disable-pings,url-source=http://127.0.0.1:1/", "the same"),
    ("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "no name is ever looked up"),
    ("--no-proxy-server", "only the bridge's own address can be reached"),
    ("--disable-background-timer-throttling", "a page without a window is not to be slowed down"),
    ("--disable-renderer-backgrounding", "the same"),
    ("--disable-backgrounding-occluded-windows", "the same"),
    ("--enable-unsafe-webgpu", "WebGPU on Linux; without a GPU the adapter is SwiftShader and says so"),
    ("--disable-domain-blocking-for-3d-apis", "a lost device must not lock the page out of the GPU"),
    ("--disable-gpu-process-crash-limit", "the same"),
    ("--enable-features=WebMachineLearningNeuralNetwork", "WebNN, which is behind a flag"),
    ("--disable-features=OptimizationHints", "no requests of the browser's own"),
    ("--disable-features=MediaRouter", "no search for devices in the network"),
    ("--disable-features=Translate", "no requests of the browser's own"),
    ("--disable-features=AutofillServerCommunication", "no requests of the browser's own"),
    ("--disable-features=CertificateTransparencyComponentUpdater", "no requests of the browser's own"),
    ("--disable-features=NetworkTimeServiceQuerying", "no requests of the browser's own"),
];

/// Flags for a GPU that Vulkan drives on Linux.
pub const VULKAN_SWITCHES: &[(&str, &str)] = &[
    ("--use-angle=vulkan", "the GPU's Vulkan driver instead of SwiftShader"),
    ("--enable-features=Vulkan", "the same"),
    ("--disable-vulkan-surface", "there is no window to draw on"),
    ("--enable-dawn-features=vulkan_enable_f16_on_nvidia", "16-bit floats, which are held back on NVIDIA"),
];

/// Flags for the software adapter, whatever GPU there is.
pub const SOFTWARE_SWITCHES: &[(&str, &str)] =
    &[("--use-webgpu-adapter=swiftshader", "the software adapter, whatever GPU there is")];

/// Starts a browser of this engine that opens `url`.
pub async fn start(settings: &Settings, found: &Found, url: String) -> Result<Running, StartError> {
    let arguments = arguments(settings, found.kind);
    let (given, warm, program) = (arguments.clone(), settings.warm.clone(), found.path.clone());
    let prepare = move |profile: &Path| {
        let caches = warm.map(|warm| Caches::lay(&warm, &program, profile));
        let own = [format!("--user-data-dir={}", profile.display()), "about:blank".to_owned()];
        Ok(([given, own.into()].concat(), caches))
    };
    let launch = Launch { program: &found.path, environment: &[], prepare };
    let (mut process, caches) = process::start(settings, launch).await?;
    let address = process.wait_for_line(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned)).await?;
    let (pid, log) = (process.pid, process.log.clone());
    let end = CancellationToken::new();
    let (doom, doomed) = mpsc::channel(1);
    let fate = process.look_after(end.clone(), doomed);
    // Ends the tree if anything below fails.
    let running = Running::new(Info::default(), fate, log, end.clone());
    let info = open(&address, url, end, doom)
        .await
        .map_err(|error| StartError(format!("the DevTools connection failed: {}", redact(&error.to_string()))))?;
    Ok(Running { info: Info { pid, caches, arguments, ..info }, ..running })
}

fn arguments(settings: &Settings, kind: &Kind) -> Vec<String> {
    let gpu = match settings.gpu {
        Gpu::Vulkan => VULKAN_SWITCHES,
        Gpu::Software => SOFTWARE_SWITCHES,
        Gpu::Auto => &[],
    };
    let mut arguments: Vec<String> = SWITCHES.iter().chain(gpu).map(|(flag, _)| (*flag).to_owned()).collect();
    if !settings.show {
        arguments.push("--headless=new".to_owned());
    }
    if settings.no_sandbox {
        arguments.push("--no-sandbox".to_owned());
    }
    arguments.extend(settings.arguments_of(kind).map(str::to_owned));
    join_lists(arguments)
}

/// Flags whose value is a list. Of several the browser takes the last alone.
const LISTS: [&str; 4] =
    ["--enable-features=", "--disable-features=", "--enable-dawn-features=", "--disable-dawn-features="];

fn join_lists(arguments: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let list = LISTS.into_iter().find_map(|list| Some((list, argument.strip_prefix(list)?)));
        let earlier = list.and_then(|(list, _)| joined.iter_mut().find(|earlier| earlier.starts_with(list)));
        match (earlier, list) {
            (Some(earlier), Some((_, more))) => {
                earlier.push(',');
                earlier.push_str(more);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

/// Connects, opens the page and asks for what the browser process knows of itself.
async fn open(address: &str, url: String, end: CancellationToken, doom: mpsc::Sender<Loss>) -> Result<Info, CdpError> {
    let (browser, mut handler) = Browser::connect(address).await?;
    let pumped = end.clone();
    tokio::spawn(async move {
        let pump = async {
            while let Some(event) = handler.next().await {
                // Events that this version of the library does not know; the connection goes on.
                if let Err(error) = event {
                    tracing::debug!(error = &*redact(&error.to_string()), "DevTools");
                }
            }
        };
        tokio::select! {
            () = pump => {}
            () = pumped.cancelled() => {}
        }
    });
    let crashes = browser.event_listener::<target::EventTargetCrashed>().await?;
    let page = browser.new_page(url).await?;
    // The library switches it on; it would repeat every WebSocket frame of the page in base64.
    page.execute(network::DisableParams::default()).await?;
    let (version, system) =
        tokio::try_join!(browser.version(), browser.execute(system_info::GetInfoParams::default()))?;
    let (product, version) = version.product.split_once('/').unwrap_or((&version.product, ""));
    let devices = system.result.gpu.devices.into_iter().map(|device| {
        let (vendor, name) = (device.vendor_string, device.device_string);
        let name = format!("{vendor} {name} {} {}", device.driver_vendor, device.driver_version);
        format!("{} ({:#06x}:{:#06x})", name.trim(), device.vendor_id as u32, device.device_id as u32)
    });
    tokio::spawn(end.run_until_cancelled_owned(watch(browser, crashes, doom)));
    Ok(Info {
        product: product.to_owned(),
        version: version.to_owned(),
        gpu_devices: devices.collect(),
        ..Info::default()
    })
}

/// Watches a browser for what its process tree does not show: a page that crashed, and a main process that hangs.
async fn watch(browser: Browser, mut crashes: EventStream<target::EventTargetCrashed>, doom: mpsc::Sender<Loss>) {
    let mut ask = interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let loss = loop {
        tokio::select! {
            Some(crash) = crashes.next() => {
                let cause = if crash.status == KILLED { Cause::Killed } else { Cause::Crashed };
                break Loss::new(cause, format!("its page {}, with the code {}", crash.status, crash.error_code));
            }
            _ = ask.tick() => if timeout(ANSWER_DEADLINE, browser.version()).await.is_err() {
                break Loss::new(Cause::Silent, format!("its main process did not answer within {ANSWER_DEADLINE:?}"));
            },
        }
    };
    // The task that looks after it ends with the browser.
    let _ = doom.send(loss).await;
}

#[cfg(test)]
mod tests {
    use super::join_lists;

    #[test]
    fn lists_are_joined_since_the_browser_takes_the_last() {
        let all = ["--enable-features=A", "--x", "--disable-features=B", "--enable-features=C,D"];
        let joined = join_lists(all.map(str::to_owned).to_vec());
        assert_eq!(joined, ["--enable-features=A,C,D", "--x", "--disable-features=B"]);
    }
}
