//! Driver for Chrome, Chromium and Edge, over the Chrome DevTools Protocol.

use std::path::PathBuf;

use chromiumoxide::{
    Browser,
    cdp::browser_protocol::{network, system_info},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Driver, Info, Running, Settings, StartError, find, process};

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
        let ended = process.look_after(end.clone());
        // Ends the tree if anything below fails.
        let running = Running::new(Info::default(), ended, end.clone());
        let info = self
            .open(&address, url, end)
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
    ) -> Result<Info, chromiumoxide::error::CdpError> {
        let (browser, mut handler) = Browser::connect(address).await?;
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
                () = end.cancelled() => {}
            }
        });
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
        Ok(Info { product: product.to_owned(), version: version.to_owned(), gpu_devices: devices.collect(), pid: 0 })
    }
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
