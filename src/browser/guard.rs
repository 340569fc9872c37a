//! Guard: a small process between service and browser, so that no browser outlives the service, however that ends.
//!
//! The service holds the other end of the guard's standard input. When that closes, be it by choice, by a crash or by
//! SIGKILL, the guard kills the whole tree and removes the profile. As a child subreaper (prctl(2)) it inherits what
//! detaches itself from the tree, and so finds it.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    thread,
};

use super::sweep;
use crate::loss::{Cause, Loss};

/// What to guard.
#[derive(Clone, Debug, clap::Args)]
pub struct Guard {
    /// Folder of the browser's own, removed at the end
    #[arg(long)]
    profile: PathBuf,
    /// User that the browser runs as
    #[arg(long)]
    uid: Option<u32>,
    /// Group that the browser runs as
    #[arg(long)]
    gid: Option<u32>,
    /// The browser and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Guard {
    /// The arguments that make [`run`] do the same in another process.
    pub fn arguments(profile: &std::path::Path, user: Option<(u32, u32)>) -> Vec<std::ffi::OsString> {
        let mut arguments = vec!["guard".into(), "--profile".into(), profile.into()];
        if let Some((uid, gid)) = user {
            arguments.extend(["--uid".into(), uid.to_string().into(), "--gid".into(), gid.to_string().into()]);
        }
        arguments.push("--".into());
        arguments
    }
}

/// Starts the browser, waits for its end or for the service's, and leaves nothing behind.
pub fn run(guard: &Guard) -> ExitCode {
    let held = sweep::hold(&guard.profile);
    let result = held.and_then(|_held| watch(guard));
    tree::kill_descendants();
    // The profile may be gone already; a browser that is ending may have been writing until just now.
    for _ in 0..3 {
        if std::fs::remove_dir_all(&guard.profile).is_ok() || !guard.profile.exists() {
            break;
        }
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{}: {error}", guard.command.first().map_or("", String::as_str)));
            ExitCode::FAILURE
        }
    }
}

/// Not `eprintln`: that panics once the service, which holds the other end, is gone, and leaves the rest undone.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "{words}");
}

/// Before the kind of end in the guard's last line.
const ENDED: &str = "the browser ended: ";
const BY_SIGNAL: &str = "signal ";

/// What [`status`] reads.
fn last_words(status: std::process::ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("{ENDED}{BY_SIGNAL}{signal}");
    }
    format!("{ENDED}{status}")
}

/// How the browser's main process ended, if that is what a line of the guard says. A signal that programs send was sent
/// from outside; any other is a crash.
pub fn status(line: &str) -> Option<Loss> {
    let status = line.strip_prefix(ENDED)?;
    let cause = match status.strip_prefix(BY_SIGNAL) {
        Some("1" | "2" | "9" | "15") => Cause::Killed,
        Some(_) => Cause::Crashed,
        None => Cause::Exited,
    };
    Some(Loss::new(cause, format!("the browser process ended: {status}")))
}

fn watch(guard: &Guard) -> io::Result<()> {
    tree::adopt_orphans()?;
    let (program, arguments) = guard.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    // All that it writes goes with the profile.
    command.env("HOME", &guard.profile).env("TMPDIR", &guard.profile).env("XDG_RUNTIME_DIR", &guard.profile);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // With a uid, the standard library also gives up root's supplementary groups.
        guard.gid.map(|gid| command.gid(gid));
        guard.uid.map(|uid| command.uid(uid));
    }
    let mut child = command.spawn()?;
    let pid = child.id();
    // A service that is gone already cannot be told; the thread below then ends the browser at once.
    let _ = writeln!(io::stdout(), "{pid}");
    thread::spawn(move || {
        // Nothing is ever written there: the read ends when the service does.
        let _ = io::stdin().read(&mut [0]);
        tree::kill(pid);
    });
    let status = child.wait()?;
    say(&last_words(status));
    Ok(())
}

#[cfg(target_os = "linux")]
mod tree {
    use std::io;

    use nix::{
        errno::Errno,
        sys::{
            prctl,
            signal::{self, Signal},
            wait::waitpid,
        },
        unistd::Pid,
    };

    pub fn adopt_orphans() -> io::Result<()> {
        prctl::set_child_subreaper(true).map_err(Into::into)
    }

    pub fn kill(pid: u32) {
        // It may be gone already.
        let _ = signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }

    /// Kills until this process has no child left: what loses its parent becomes a child of this process.
    pub fn kill_descendants() {
        let own = std::process::id();
        loop {
            let children: Vec<_> = procfs::process::all_processes()
                .into_iter()
                .flatten()
                .filter_map(|process| process.ok()?.stat().ok())
                .filter(|stat| stat.ppid.cast_unsigned() == own)
                .map(|stat| stat.pid.cast_unsigned())
                .collect();
            children.into_iter().for_each(kill);
            if waitpid(None, None) == Err(Errno::ECHILD) {
                return;
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod tree {
    use std::io;

    pub fn adopt_orphans() -> io::Result<()> {
        Ok(())
    }

    #[cfg(unix)]
    pub fn kill(pid: u32) {
        use nix::{
            sys::signal::{self, Signal},
            unistd::Pid,
        };
        // It may be gone already. Its children end with it: they lose their channel to it.
        let _ = signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }

    pub fn kill_descendants() {}
}
