//! Browser: how real browsers are found, started and ended. It knows nothing of pages, links or models: a driver gets
//! an address to open.

mod chromium;
mod find;
pub mod guard;
mod memory;
mod process;
mod sweep;
mod vitals;

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use chromium::Chromium;
pub use find::{Found, Wanted, check, find_all};
pub use memory::{Memory, free_memory, is_sandboxed, machine_memory, tree_memory};
pub use sweep::sweep;

use crate::loss::{Cause, Fate, Loss};

/// How browsers are started, whatever their kind.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which browser.
    pub browser: Wanted,
    /// Whether it opens a window.
    pub show: bool,
    /// Further arguments for its command line, after the driver's own.
    pub arguments: Vec<String>,
    /// User that it runs as when the service runs as root.
    pub user: String,
    /// Whether it may run without its sandbox.
    pub no_sandbox: bool,
    /// This program, for the guard that stays with the browser.
    pub guard: PathBuf,
    /// Time in which it has to be up.
    pub start_deadline: std::time::Duration,
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
    /// GPUs as the browser process names them.
    pub gpu_devices: Vec<String>,
    /// Process id of its main process; 0 where it is not ours.
    pub pid: u32,
}

/// Starts one kind of browser.
pub trait Driver: Send + Sync + 'static {
    /// Starts a browser that opens `url`. It ends when the returned handle is dropped.
    fn start(&self, url: String) -> BoxFuture<'_, Result<Running, StartError>>;
}

/// A running browser. Dropping it ends the whole process tree.
#[derive(Debug)]
pub struct Running {
    /// What is known of it.
    pub info: Info,
    /// What became of it.
    pub fate: Fate,
    _end: DropGuard,
}

impl Running {
    /// A handle for a browser that a task looks after: the task ends the browser when `end` is cancelled, and tells its
    /// fate once all of it is gone.
    pub fn new(info: Info, fate: Fate, end: CancellationToken) -> Self {
        Self { info, fate, _end: end.drop_guard() }
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
