//! The program itself, as a process that can be killed.

use std::{
    ffi::OsStr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use procfs::process::{Process, all_processes};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use super::{repository, soon};

/// `webinfer serve` with the tests' models, and all that it makes in a folder of its own.
pub struct Program {
    pub child: Child,
    pub address: String,
    pub pid: u32,
    log: Arc<Mutex<Vec<String>>>,
    read: JoinHandle<()>,
}

/// A folder for what a service and its browsers make. The browsers' user may enter it.
pub fn folder() -> TempDir {
    let folder = TempDir::new_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

impl Program {
    /// Starts it and waits until the model of `--load` serves.
    pub async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_webinfer"))
            .args(["serve", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--state=none", "--models"])
            .arg(repository("tests/models"))
            .args(arguments)
            .env("TMPDIR", folder)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (log, mut address) = (Arc::new(Mutex::new(Vec::new())), None);
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, rest)) = line.split_once("gRPC on ") {
                    address = rest.split(',').next().map(str::to_owned);
                }
                let is_ready = line.contains("replicas serve") && line.contains("Ready");
                log.lock().unwrap().push(line);
                if is_ready {
                    return;
                }
            }
            panic!("it ended before it served");
        };
        soon(ready).await;
        // It must not stop for want of a reader.
        let rest = log.clone();
        let read = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                rest.lock().unwrap().push(line);
            }
        });
        let pid = child.id().unwrap();
        Self { child, address: address.unwrap(), pid, log, read }
    }

    /// Ends it in order; returns all that it has logged.
    pub async fn stop(mut self) -> Vec<String> {
        self.send(Signal::SIGTERM);
        soon(self.child.wait()).await.unwrap();
        soon(self.read).await.unwrap();
        self.log.lock().unwrap().clone()
    }

    pub async fn connect(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub fn send(&self, signal: Signal) {
        signal::kill(Pid::from_raw(self.pid.cast_signed()), signal).unwrap();
    }

    /// Memory that it holds, in bytes, and open files.
    pub fn size(&self) -> (u64, usize) {
        let process = Process::new(self.pid.cast_signed()).unwrap();
        (process.stat().unwrap().rss * procfs::page_size(), process.fd_count().unwrap())
    }
}

/// Processes whose command line names a folder, or who have their home in it.
pub fn users_of(folder: &Path) -> usize {
    let names = |line: Vec<String>| line.iter().any(|word| word.contains(&*folder.to_string_lossy()));
    let lives = |process: &Process| {
        let home = process.environ().ok().and_then(|variables| variables.get(OsStr::new("HOME")).cloned());
        home.is_some_and(|home| Path::new(&home).starts_with(folder))
    };
    let all = all_processes().unwrap().filter_map(Result::ok);
    all.filter(|process| process.cmdline().is_ok_and(names) || lives(process)).count()
}

/// The processes below one, each with the time of its start, which tells it from a later one of the same number.
pub fn tree(root: u32) -> Vec<(i32, u64)> {
    let all: Vec<_> = all_processes().unwrap().filter_map(|process| process.ok()?.stat().ok()).collect();
    let mut tree = vec![root.cast_signed()];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(all.iter().filter(|stat| stat.ppid == parent).map(|stat| stat.pid));
        next += 1;
    }
    all.iter().filter(|stat| tree[1..].contains(&stat.pid)).map(|stat| (stat.pid, stat.starttime)).collect()
}

/// Waits until none of the processes is left.
pub async fn gone(processes: &[(i32, u64)]) {
    let lives = |(pid, start): &(i32, u64)| {
        let stat = Process::new(*pid).and_then(|process| process.stat());
        stat.is_ok_and(|stat| stat.starttime == *start && stat.state != 'Z')
    };
    let gone = async {
        while processes.iter().any(lives) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.unwrap_or_else(|_| panic!("something is left of {processes:?}"));
}

/// Whether nothing is left in a folder, and no process uses it.
fn is_clean(folder: &Path) -> bool {
    let left = std::fs::read_dir(folder).unwrap().flatten();
    left.filter(|entry| entry.file_name().to_string_lossy().starts_with("webinfer-")).count() == 0
        && users_of(folder) == 0
}

/// Waits until nothing is left of a service's browsers.
pub async fn nothing_left(folder: &Path) {
    let gone = async {
        while !is_clean(folder) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), gone)
        .await
        .unwrap_or_else(|_| panic!("something is left in {}", folder.display()));
}
