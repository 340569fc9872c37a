//! Driver for browsers that only their own WebDriver program can start (W3C WebDriver): WebKitGTK and Safari, and whatever
//! a WebDriver that runs already starts.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use thirtyfour::{Capabilities, WebDriver};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Found, Info, Kind, Log, Running, Settings, StartError, find,
    process::{self, Launch},
    redact,
};
use crate::loss::{Cause, Loss};

/// Variables of WebKitGTK's environment, and what each is for.
pub const ENVIRONMENT: [(&str, &str, &str); 5] = [
    ("JSC_useSharedArrayBuffer", "1", "threads of WebAssembly, which are off without it"),
    ("JSC_useWasmRelaxedSIMD", "1", "relaxed SIMD of WebAssembly"),
    ("GDK_BACKEND", "x11", "the display that is started for it"),
    ("NO_AT_BRIDGE", "1", "no accessibility bus"),
    ("LD_LIBRARY_PATH", "", "its sandbox fails at a folder of it that the browser's user may not read"),
];

/// Between two tries to reach a driver that is being started.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// A session is given a command so often: it may find that its page is lost, and a grid ends sessions that get none.
const ASK_EVERY: Duration = Duration::from_secs(20);
/// Time that a driver has for an answer, and for the end of a session.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Waits for the display of its own that Xvfb opens, then becomes the program. Given a number, Xvfb would fail where
/// another server has it.
const ON_A_DISPLAY: &str = r#"
"$0" -displayfd 3 -screen 0 800x600x24 -nolisten tcp 3>"$HOME/display" &
while ! [ -s "$HOME/display" ]; do kill -0 $! || exit 1; sleep 0.05; done
DISPLAY=:$(cat "$HOME/display") exec "$@"
"#;

/// Starts a driver, and has it start its browser on `url`.
pub async fn start(settings: &Settings, found: &Found, url: String) -> Result<Running, StartError> {
    // Drivers take a port but do not tell which they chose, so a free one is looked for.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = port.map_err(|error| StartError(format!("there is no free port for it: {error}")))?;
    let own = vec![found.path.display().to_string(), format!("--port={}", address.port())];
    let (program, arguments) = if cfg!(target_os = "linux") && !settings.show {
        let Some(server) = find::on_path("Xvfb", &settings.search_path) else {
            let message = "it needs a display: install Xvfb (Debian: `apt-get install xvfb`)";
            return Err(StartError(message.into()));
        };
        let shell = vec!["-c".to_owned(), ON_A_DISPLAY.to_owned(), server.display().to_string()];
        (Path::new("/bin/sh"), [shell, own].concat())
    } else {
        (found.path.as_path(), own[1..].to_vec())
    };
    let environment = ENVIRONMENT.map(|(name, value, _)| (name, value));
    let launch = Launch { program, environment: &environment, prepare: move |_: &Path| Ok((arguments, ())) };
    let (process, ()) = process::start(settings, launch).await?;
    let (pid, log, end) = (process.pid, process.log.clone(), CancellationToken::new());
    let (doom, doomed) = mpsc::channel(1);
    let fate = process.look_after(end.clone(), doomed);
    // Ends the tree if anything below fails.
    let running = Running::new(Info::default(), fate, log, end.clone());
    let session = tokio::select! {
        session = open(address, capabilities(settings, found.kind)) => session?,
        loss = running.ended() => {
            return Err(StartError(format!("its driver ended: {loss}; it said: {}", running.log.last_words())));
        }
    };
    let arguments = settings.arguments_of(found.kind).map(str::to_owned).collect();
    let info = Info { pid, arguments, ..info(&session) };
    tokio::spawn(async move {
        let loss = end.run_until_cancelled(keep(&session, url)).await;
        // The whole tree is killed: there is nothing left to quit.
        let _ = session.leak();
        if let Some(loss) = loss {
            let _ = doom.send(loss).await;
        }
    });
    Ok(Running { info, ..running })
}

/// Has a driver that runs already start a browser on `url`. The browser must be on this machine: only there it reaches
/// the page.
pub async fn connect(settings: &Settings, address: &str, url: String) -> Result<Running, StartError> {
    let failed = |error| StartError(format!("the WebDriver at {address} gave no session: {error}"));
    let session = timeout(settings.start_deadline, WebDriver::new(address, Capabilities::new()));
    let session = session.await.map_err(|_| failed("it did not answer in time".to_owned()))?;
    let session = session.map_err(|error| failed(error.to_string()))?;
    let (info, end) = (info(&session), CancellationToken::new());
    let (tell, fate) = watch::channel(None);
    let ended = end.clone();
    tokio::spawn(async move {
        let loss = ended.run_until_cancelled(keep(&session, url)).await;
        if !matches!(timeout(ANSWER_DEADLINE, session.quit()).await, Ok(Ok(()))) {
            tracing::warn!("a session of a remote WebDriver could not be ended");
        }
        tell.send_replace(Some(loss.unwrap_or_else(|| Loss::new(Cause::Ended, "it was ended"))));
    });
    Ok(Running::new(info, fate, Log::default(), end))
}

/// What the driver is to start.
fn capabilities(settings: &Settings, kind: &Kind) -> Value {
    if kind.name != "webkit" {
        return json!({});
    }
    let mut arguments = vec!["--automation"];
    if !settings.no_sandbox {
        arguments.push("--enable-sandbox");
    }
    arguments.extend(settings.arguments_of(kind));
    let mut options = json!({"args": arguments});
    if let Some(program) = mini_browser() {
        options["binary"] = json!(program);
    }
    json!({"webkitgtk:browserOptions": options})
}

/// WebKitGTK's own browser, which each system keeps elsewhere, out of PATH.
fn mini_browser() -> Option<PathBuf> {
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = ["/usr/lib", "/usr/libexec", "/usr/lib64"].map(Path::new);
    let below = places.into_iter().flat_map(|place| list(place).chain([place.to_owned()]));
    let of_webkit = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("webkit"));
    let folders = below.flat_map(|folder| list(&folder).filter(of_webkit).collect::<Vec<_>>());
    folders.map(|folder| folder.join("MiniBrowser")).find(|program| program.is_file())
}

/// Opens a session with a driver that is being started.
async fn open(address: SocketAddr, capabilities: Value) -> Result<WebDriver, StartError> {
    while TcpStream::connect(address).await.is_err() {
        sleep(TRY_EVERY).await;
    }
    let failed = |error: String| StartError(format!("its driver gave no session: {error}"));
    let capabilities: Capabilities = serde_json::from_value(capabilities).map_err(|error| failed(error.to_string()))?;
    WebDriver::new(format!("http://{address}"), capabilities).await.map_err(|error| failed(error.to_string()))
}

fn info(session: &WebDriver) -> Info {
    let capabilities = serde_json::to_value(session.capabilities()).unwrap_or_default();
    let text = |name: &str| capabilities[name].as_str().unwrap_or_default().to_owned();
    Info { product: text("browserName"), version: text("browserVersion"), ..Info::default() }
}

/// Opens the page, and asks for it again and again; returns when the browser is lost.
async fn keep(session: &WebDriver, url: String) -> Loss {
    if let Err(error) = session.goto(url).await {
        let error = error.to_string();
        return Loss::new(Cause::NoStart, format!("its driver could not open the page: {}", redact(&error)));
    }
    let mut ask = interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ask.tick().await;
        match timeout(ANSWER_DEADLINE, session.title()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                return Loss::new(Cause::Crashed, format!("its driver says: {}", redact(&error.to_string())));
            }
            Err(_) => {
                let detail = format!("its driver did not answer within {ANSWER_DEADLINE:?}");
                return Loss::new(Cause::Silent, detail);
            }
        }
    }
}
