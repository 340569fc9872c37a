//! Sweep: removes what guards that were killed have left behind, processes and profile folders.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How the names of profile folders begin.
pub const PREFIX: &str = "webinfer-";
/// A guard holds a lock on this file of its folder for as long as it lives.
const LOCK: &str = "guard.lock";
/// A folder without a lock may be one that is just being made, until it is this old.
const NEW: Duration = Duration::from_secs(600);

/// Marks a folder as one that a guard looks after, until the file is closed.
pub fn hold(folder: &Path) -> io::Result<File> {
    let file = File::create(folder.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Sweeps. Blocks on the file system.
pub fn sweep() {
    let entries = fs::read_dir(tempfile::env::temp_dir()).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    for folder in folders.map(|entry| entry.path()).filter(is_left) {
        kill_users(&folder);
        match fs::remove_dir_all(&folder) {
            Ok(()) => tracing::info!(folder = %folder.display(), "removed: its service is gone"),
            Err(error) => tracing::debug!(folder = %folder.display(), %error, "cannot be removed"),
        }
    }
}

fn is_left(folder: &PathBuf) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = fs::metadata(folder).and_then(|metadata| metadata.modified());
            made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age >= NEW))
        }
        // It belongs to another user.
        Err(_) => false,
    }
}

/// Kills the browsers that still use a folder.
#[cfg(target_os = "linux")]
fn kill_users(folder: &Path) {
    use nix::{
        sys::signal::{self, Signal},
        unistd::Pid,
    };
    let names = |line: Vec<String>| {
        let argument = format!("--user-data-dir={}", folder.display());
        line.iter().any(|word| word.split(' ').any(|word| word == argument))
    };
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    for process in all.filter(|process| process.cmdline().is_ok_and(names)) {
        // It may be gone already.
        let _ = signal::kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
}

#[cfg(not(target_os = "linux"))]
fn kill_users(_folder: &Path) {}
