//! Harm that is done to a real browser: its processes are killed, stopped and crashed.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use procfs::process::{Process, all_processes};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Message};

/// Time for a browser to take a command, and for the answer to one that ends it.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_millis(500);

/// What is done to a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    KillBrowser,
    KillRenderer,
    KillGpu,
    KillUtility,
    StopBrowser,
    StopRenderer,
    CrashBrowser,
    CrashRenderer,
    CrashGpu,
}

impl Harm {
    pub const ALL: [Self; 9] = [
        Self::KillBrowser,
        Self::KillRenderer,
        Self::KillGpu,
        Self::KillUtility,
        Self::StopBrowser,
        Self::StopRenderer,
        Self::CrashBrowser,
        Self::CrashRenderer,
        Self::CrashGpu,
    ];

    /// Whether the browser has to be replaced after it. A browser without WebGPU at work starts its GPU process again.
    pub fn ends_browser(self) -> bool {
        !matches!(self, Self::KillGpu | Self::KillUtility | Self::CrashGpu)
    }

    /// Does it to the browser with that main process. Returns whether it was done, as far as can be known.
    pub async fn inflict(self, main: u32) -> bool {
        match self {
            Self::KillBrowser => send(main, Signal::SIGKILL),
            Self::StopBrowser => send(main, Signal::SIGSTOP),
            Self::KillRenderer => all(main, "renderer").for_each(|pid| send(pid, Signal::SIGKILL)),
            Self::StopRenderer => all(main, "renderer").for_each(|pid| send(pid, Signal::SIGSTOP)),
            Self::KillGpu => all(main, "gpu-process").for_each(|pid| send(pid, Signal::SIGKILL)),
            Self::KillUtility => all(main, "utility").take(1).for_each(|pid| send(pid, Signal::SIGKILL)),
            Self::CrashBrowser => return crash(main, "Browser.crash", false).await,
            Self::CrashGpu => return crash(main, "Browser.crashGpuProcess", false).await,
            Self::CrashRenderer => return crash(main, "Page.crash", true).await,
        }
        true
    }
}

fn send(pid: u32, signal: Signal) {
    // It may be gone already.
    let _ = signal::kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// The processes of a type below a browser's main process.
fn all(main: u32, kind: &str) -> impl Iterator<Item = u32> {
    let processes: Vec<_> = all_processes()
        .unwrap()
        .filter_map(|process| Some((process.as_ref().ok()?.stat().ok()?, process.ok()?)))
        .collect();
    let mut family = vec![main.cast_signed()];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(processes.iter().filter(|(stat, _)| stat.ppid == parent).map(|(stat, _)| stat.pid));
        next += 1;
    }
    let wanted = format!("--type={kind}");
    let is_wanted =
        move |process: &Process| process.cmdline().is_ok_and(|line| line.iter().any(|word| word.contains(&wanted)));
    let found: Vec<_> =
        processes.into_iter().filter(|(stat, process)| family.contains(&stat.pid) && is_wanted(process)).collect();
    found.into_iter().map(|(stat, _)| stat.pid.cast_unsigned())
}

/// Has something crash; returns whether the browser took the command.
async fn crash(main: u32, method: &str, in_page: bool) -> bool {
    timeout(PATIENCE, devtools(main, method, in_page)).await.is_ok_and(|sent| sent.is_some())
}

/// Sends a command over the DevTools protocol, to the browser or to its page. `None` where nobody answers.
async fn devtools(main: u32, method: &str, to_page: bool) -> Option<()> {
    let line = Process::new(main.cast_signed()).ok()?.cmdline().ok()?;
    let profile =
        line.iter().flat_map(|word| word.split(' ')).find_map(|word| word.strip_prefix("--user-data-dir="))?;
    let file = std::fs::read_to_string(format!("{profile}/DevToolsActivePort")).ok()?;
    let (port, path) = file.split_once('\n')?;
    let (mut socket, _) = connect_async(format!("ws://127.0.0.1:{port}{}", path.trim())).await.ok()?;
    let mut number = 0;
    let mut call = async |method: &str, parameters: Value, session: &Value| {
        number += 1;
        let mut message = json!({"id": number, "method": method, "params": parameters});
        if session.is_string() {
            message["sessionId"] = session.clone();
        }
        socket.send(Message::text(message.to_string())).await.ok()?;
        loop {
            let answer: Value = serde_json::from_str(socket.next().await?.ok()?.to_text().ok()?).ok()?;
            if answer["id"] == number {
                return Some(answer["result"].clone());
            }
        }
    };
    let mut session = Value::Null;
    if to_page {
        let targets = call("Target.getTargets", json!({}), &session).await?;
        let page = targets["targetInfos"].as_array()?.iter().find(|target| {
            target["type"] == "page" && target["url"].as_str().is_some_and(|url| url.contains("/page.html"))
        })?;
        let parameters = json!({"targetId": page["targetId"], "flatten": true});
        session = call("Target.attachToTarget", parameters, &session).await?["sessionId"].clone();
    }
    // What crashes may not answer; what is closed before it is read may not be taken.
    let _ = timeout(ANSWER, call(method, json!({}), &session)).await;
    Some(())
}
