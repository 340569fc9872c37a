//! Sweep: removes what guards that were killed have left behind, processes and profile folders.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// How the names of profile folders begin.
pub const PREFIX: &str = "webinfer-browser-";
/// A guard holds a lock on this file of its folder for as long as it lives.
const LOCK: &str = "guard.lock";
/// Its name before it is locked.
const NEW_LOCK: &str = "guard.lock.new";

/// Marks a folder as one that a guard looks after, until the file is closed.
pub fn hold(folder: &Path) -> io::Result<File> {
    let file = File::create(folder.join(NEW_LOCK))?;
    file.lock()?;
    fs::rename(folder.join(NEW_LOCK), folder.join(LOCK))?;
    Ok(file)
}

/// Sweeps. Blocks on the file system.
pub fn sweep() {
    let entries = fs::read_dir(tempfile::env::temp_dir()).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    for folder in folders.map(|entry| entry.path()).filter(|folder| is_left(folder)) {
        kill_users(&folder);
        match fs::remove_dir_all(&folder) {
            Ok(()) => tracing::info!(folder = %folder.display(), "removed: its service is gone"),
            Err(error) => tracing::debug!(folder = %folder.display(), %error, "cannot be removed"),
        }
    }
}

/// A folder without a lock is being made, or is somebody else's.
fn is_left(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Kills the browsers that still use a folder.
#[cfg(target_os = "linux")]
fn kill_users(folder: &Path) {
    use std::ffi::OsStr;

    use nix::{
        sys::signal::{self, Signal},
        unistd::Pid,
    };
    // As a word of the command line, or as the value of a flag; what a driver starts has it for a home alone.
    let (word, value) = (folder.display().to_string(), format!("={}", folder.display()));
    let names = |line: Vec<String>| {
        line.iter().any(|words| words.split(' ').any(|part| part == word || part.ends_with(&value)))
    };
    let lives = |process: &procfs::process::Process| {
        let home = process.environ().ok().and_then(|variables| variables.get(OsStr::new("HOME")).cloned());
        home.is_some_and(|home| Path::new(&home) == folder)
    };
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    for process in all.filter(|process| process.cmdline().is_ok_and(names) || lives(process)) {
        // It may be gone already.
        let _ = signal::kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
}

#[cfg(not(target_os = "linux"))]
fn kill_users(_folder: &Path) {}
