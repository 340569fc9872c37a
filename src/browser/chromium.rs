//! Driver for Chrome, Chromium and Edge, over the Chrome DevTools Protocol.

use std::{path::PathBuf, time::Duration};

use chromiumoxide::{
    Browser,
    cdp::browser_protocol::{network, system_info, target},
    error::CdpError,
    listeners::EventStream,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Driver, Info, Running, Settings, StartError, find, process};
use crate::loss::{Cause, Loss};

/// How often a browser's main process is asked whether it lives, and the time that it has for the answer.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// What the browser calls the end of a page's process that was killed from outside.
const KILLED: &str = "killed";

/// Flags for every start. What each is for is said beside it.
const FLAGS: &[&str] = &[
    // The debugging port is chosen by the system and told on standard error.
    "--remote-debugging-port=0",
    // No questions, no first-run pages, no key ring.
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--use-mock-keychain",
    "--noerrdialogs",
    // No requests of the browser's own.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-domain-reliability",
    "--disable-breakpad",
    "--no-pings",
    "--metrics-recording-only",
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication,\
     CertificateTransparencyComponentUpdater,NetworkTimeServiceQuerying",
    // What has no switch to stop it gets an address where nobody is.
    "--gaia-url=http://127.0.0.1:1/",
    "--component-updater=disable-pings,url-source=http://127.0.0.1:1/",
    // No name is ever looked up: only the bridge's own address can be reached.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    // A page without a window is not to be slowed down.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    // On Linux WebGPU is given only on request; without a GPU the adapter is SwiftShader and says so.
    "--enable-unsafe-webgpu",
    // A lost device must not lock the page out of the GPU.
    "--disable-domain-blocking-for-3d-apis",
    "--disable-gpu-process-crash-limit",
];

/// The driver.
#[derive(Debug)]
pub struct Chromium {
    settings: Settings,
    search_path: Vec<PathBuf>,
}

impl Chromium {
    /// A driver that starts browsers as the settings say; `search_path` is what PATH says.
    pub fn new(settings: Settings, search_path: Vec<PathBuf>) -> Self {
        Self { settings, search_path }
    }

    fn arguments(&self, profile: &std::path::Path) -> Vec<String> {
        let mut arguments: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        if !self.settings.show {
            arguments.push("--headless=new".to_owned());
        }
        if self.settings.no_sandbox {
            arguments.push("--no-sandbox".to_owned());
        }
        arguments.extend(self.settings.arguments.iter().cloned());
        arguments.push("about:blank".to_owned());
        arguments
    }

    async fn launch(&self, url: String) -> Result<Running, StartError> {
        let found = find::choose(&self.settings.browser, &find::find_all(&self.search_path)).map_err(StartError)?;
        let path = found.path.display();
        let mut process = process::start(&self.settings, &found.path, |profile| self.arguments(profile))
            .await
            .map_err(|error| StartError(format!("{path}: {error}")))?;
        let address = process
            .wait_for_line(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
            .await
            .map_err(|error| StartError(format!("{path}: {error}")))?;
        let pid = process.pid;
        let end = CancellationToken::new();
        let (doom, doomed) = mpsc::channel(1);
        let fate = process.look_after(end.clone(), doomed);
        // Ends the tree if anything below fails.
        let running = Running::new(Info::default(), fate, end.clone());
        let info = self
            .open(&address, url, end, doom)
            .await
            .map_err(|error| StartError(format!("{path}: the DevTools connection failed: {error}")))?;
        Ok(Running { info: Info { pid, ..info }, ..running })
    }

    /// Connects, opens the page and asks for what the browser process knows of itself.
    async fn open(
        &self,
        address: &str,
        url: String,
        end: CancellationToken,
        doom: mpsc::Sender<Loss>,
    ) -> Result<Info, CdpError> {
        let (browser, mut handler) = Browser::connect(address).await?;
        let pumped = end.clone();
        tokio::spawn(async move {
            let pump = async {
                while let Some(event) = handler.next().await {
                    // Events that this version of the library does not know; the connection goes on.
                    if let Err(error) = event {
                        tracing::debug!(%error, "DevTools");
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
            let name = format!("{} {} {}", device.vendor_string, device.device_string, device.driver_vendor);
            format!("{} ({:#06x}:{:#06x})", name.trim(), device.vendor_id as u32, device.device_id as u32)
        });
        tokio::spawn(end.run_until_cancelled_owned(watch(browser, crashes, doom)));
        Ok(Info { product: product.to_owned(), version: version.to_owned(), gpu_devices: devices.collect(), pid: 0 })
    }
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

impl Driver for Chromium {
    fn start(&self, url: String) -> BoxFuture<'_, Result<Running, StartError>> {
        async move {
            let deadline = self.settings.start_deadline;
            timeout(deadline, self.launch(url)).await.unwrap_or_else(|_| {
                Err(StartError(format!("the browser was not up within {deadline:?}; see --browser-start-deadline")))
            })
        }
        .boxed()
    }
}
