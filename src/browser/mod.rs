//! Browser: how real browsers are found, started and ended. It knows nothing of pages, links or models: a driver gets
//! an address to open.

mod chromium;
mod find;
mod firefox;
pub mod guard;
mod log;
mod memory;
mod process;
mod sweep;
mod vitals;
pub mod warm;
mod webdriver;

use std::{path::PathBuf, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use find::{Engine, Found, KINDS, Kind, Wanted, check, find_all};
pub use log::{Line, Log, redact};
pub use memory::{Memory, free_memory, is_sandboxed, machine_memory, tree_memory};
pub use sweep::sweep;
pub use warm::Caches;

use crate::{
    execution::Backend,
    loss::{Cause, Fate, Loss},
};

/// How browsers are started, whatever their kind.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which GPU they are to use.
    pub gpu: Gpu,
    /// Whether they open a window.
    pub show: bool,
    /// Further arguments for their command lines, after the driver's own.
    pub arguments: Vec<Argument>,
    /// User that they run as when the service runs as root.
    pub user: String,
    /// Whether they may run without their sandbox.
    pub no_sandbox: bool,
    /// This program, for the guard that stays with the browser.
    pub guard: PathBuf,
    /// Time in which one has to be up.
    pub start_deadline: Duration,
    /// What PATH says.
    pub search_path: Vec<PathBuf>,
    /// Whether there is a display to open windows on.
    pub display: bool,
    /// Variables of the service's environment that they do not get.
    pub secrets: &'static [&'static str],
    /// Where what they compile is kept, if it is.
    pub warm: Option<PathBuf>,
}

impl Settings {
    /// The further arguments for browsers of a kind.
    fn arguments_of<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = &'a str> {
        let meant = self.arguments.iter().filter(move |argument| argument.kind.is_none_or(|meant| meant == kind));
        meant.map(|argument| argument.text.as_str())
    }
}

/// Which GPU a browser is to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Gpu {
    /// What the browser chooses
    #[default]
    Auto,
    /// The one that Vulkan drives; needed on Linux for Chrome, Chromium and Edge
    Vulkan,
    /// The software adapter
    Software,
}

/// A further argument for the command line of browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Those that get it; all where none is named.
    kind: Option<&'static Kind>,
    text: String,
}

impl std::fmt::Display for Argument {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.map_or(Ok(()), |kind| write!(formatter, "{}:", kind.name))?;
        formatter.write_str(&self.text)
    }
}

impl std::str::FromStr for Argument {
    type Err = std::convert::Infallible;

    /// `ARGUMENT`, or `KIND:ARGUMENT` for one kind alone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once(':').and_then(|(name, rest)| Some((Kind::named(name)?, rest)));
        Ok(match named {
            Some((kind, text)) => Self { kind: Some(kind), text: text.to_owned() },
            None => Self { kind: None, text: text.to_owned() },
        })
    }
}

/// What a driver tells all browsers of an engine, a line each, with what it is for.
pub fn switches(engine: Engine) -> Vec<String> {
    match engine {
        Engine::Chromium => chromium::SWITCHES.iter().map(|(flag, reason)| format!("{flag}  ({reason})")).collect(),
        Engine::Firefox => firefox::PREFERENCES.lines().map(str::to_owned).collect(),
        Engine::WebDriver => {
            let line = |(name, value, reason): &(&str, &str, &str)| format!("{name}={value}  ({reason})");
            webdriver::ENVIRONMENT.iter().map(line).collect()
        }
    }
}

/// Why a browser could not be started. The message says what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// What is known of a running browser.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Product name.
    pub product: String,
    /// Full version.
    pub version: String,
    /// Arguments that it was started with, its profile and its page apart.
    pub arguments: Vec<String>,
    /// GPUs as the browser process names them; empty where it cannot be asked.
    pub gpu_devices: Vec<String>,
    /// Process id of its main process; 0 where it is not ours.
    pub pid: u32,
    /// Its caches, where they may be kept.
    pub caches: Option<Caches>,
    /// Its kind; `None` where a WebDriver that runs already chose it.
    pub kind: Option<&'static Kind>,
}

impl Info {
    /// What it is called with its version.
    pub fn name(&self) -> String {
        format!("{} {}", self.product, self.version)
    }

    /// Whether it is of a kind of that name; where nobody knows its kind, whether it calls itself so.
    pub fn is_of(&self, kind: &str) -> bool {
        self.kind.map_or_else(|| self.product.eq_ignore_ascii_case(kind), |own| own.name == kind)
    }

    /// The first number of the version.
    pub fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }

    /// What its version has to do with its lack of a backend; `None` where nothing.
    pub fn is_too_old_for(&self, backend: Backend) -> Option<String> {
        self.kind.zip(self.major()).and_then(|(kind, version)| kind.is_too_old_for(backend, version))
    }
}

/// Starts one kind of browser.
pub trait Driver: Send + Sync + 'static {
    /// Starts a browser that opens `url`. It ends when the returned handle is dropped.
    fn start(&self, url: String) -> BoxFuture<'_, Result<Running, StartError>>;
}

/// The driver of whichever browser is wanted.
#[derive(Clone, Debug)]
pub struct Starter {
    /// Which.
    pub wanted: Wanted,
    /// How.
    pub settings: Settings,
}

impl Starter {
    async fn launch(&self, url: String) -> Result<Running, StartError> {
        let settings = &self.settings;
        if let Wanted::Remote(address) = &self.wanted {
            return webdriver::connect(settings, address, url).await;
        }
        if settings.show && !settings.display {
            let message = "--show-browser needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set";
            return Err(StartError(message.into()));
        }
        // Looked for at each start: one that is installed later is found without a restart.
        let found = find::choose(&self.wanted, &find_all(&settings.search_path)).map_err(StartError)?;
        let started = match found.kind.engine {
            Engine::Chromium => chromium::start(settings, &found, url).await,
            Engine::Firefox => firefox::start(settings, &found, url).await,
            Engine::WebDriver => webdriver::start(settings, &found, url).await,
        };
        let mut running = started.map_err(|error| StartError(format!("{}: {error}", found.path.display())))?;
        running.info.kind = Some(found.kind);
        match running.info.major() {
            Some(version) if version < found.kind.least => Err(StartError(format!(
                "{}: {} {} is too old: {} or later is needed",
                found.path.display(),
                found.kind.name,
                running.info.version,
                found.kind.least
            ))),
            _ => Ok(running),
        }
    }
}

impl Driver for Starter {
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

/// A running browser. Dropping it ends the whole process tree.
#[derive(Debug)]
pub struct Running {
    /// What is known of it.
    pub info: Info,
    /// What became of it.
    pub fate: Fate,
    /// Its last words.
    pub log: Log,
    _end: DropGuard,
}

impl Running {
    /// A handle for a browser that a task looks after: the task ends the browser when `end` is cancelled, and tells its
    /// fate once all of it is gone.
    pub fn new(info: Info, fate: Fate, log: Log, end: CancellationToken) -> Self {
        Self { info, fate, log, _end: end.drop_guard() }
    }

    /// Returns when all of it is gone, with the reason. What runs goes on.
    pub fn ended(&self) -> impl Future<Output = Loss> + use<> {
        let mut fate = self.fate.clone();
        async move {
            let loss = fate.wait_for(Option::is_some).await.ok().and_then(|loss| loss.clone());
            loss.unwrap_or_else(|| Loss::new(Cause::Ended, "the task that looked after it ended"))
        }
    }

    /// Ends it and returns when all of it is gone.
    pub async fn end(self) -> Loss {
        let ended = self.ended();
        drop(self);
        ended.await
    }
}
