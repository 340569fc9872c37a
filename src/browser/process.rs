//! Process: a browser's process tree with its own profile folder, under a guard, as an unprivileged user where the
//! service is root.

use std::{io, path::Path, process::Stdio, time::Duration};

use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessGroup};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Log, Settings, StartError,
    guard::{self, Guard},
    redact, sweep, vitals,
};
use crate::loss::{Cause, Fate, Loss};

/// Time that the guard has to leave nothing behind.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// Who writes what a process says.
const DRIVER: &str = "browser";
/// How often it is looked whether a process is stopped.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// A started tree that nobody looks after yet. Dropping it ends the tree.
pub struct Process {
    child: Box<dyn ChildWrapper>,
    lifeline: ChildStdin,
    errors: Lines<ChildStderr>,
    /// What it has said.
    pub log: Log,
    /// Process id of the browser's main process.
    pub pid: u32,
}

/// What to start.
pub struct Launch<'a, P> {
    /// The program.
    pub program: &'a Path,
    /// Variables of its environment, beside the service's own.
    pub environment: &'a [(&'a str, &'a str)],
    /// Fills the profile folder, and gives the program's arguments.
    pub prepare: P,
}

/// Starts a browser, or its driver, under a guard. Returns what its preparation gave, too.
pub async fn start<P, T>(settings: &Settings, launch: Launch<'_, P>) -> Result<(Process, T), StartError>
where
    P: FnOnce(&Path) -> io::Result<(Vec<String>, T)> + Send + 'static,
    T: Send + 'static,
{
    let Launch { program, environment, prepare } = launch;
    let user = unprivileged_user(&settings.user)?;
    let no_profile = |error: io::Error| {
        let folder = tempfile::env::temp_dir();
        StartError(format!("no profile folder can be made in {}: {error}; see TMPDIR", folder.display()))
    };
    let make = move || {
        let profile = tempfile::Builder::new().prefix(sweep::PREFIX).tempdir()?;
        // Until the guard does so. Where the service is killed before, the next one finds the folder.
        let held = sweep::hold(profile.path())?;
        let (arguments, prepared) = prepare(profile.path())?;
        #[cfg(unix)]
        if let Some((uid, gid)) = user {
            hand_over(profile.path(), uid, gid)?;
        }
        Ok((profile, held, arguments, prepared))
    };
    let made = tokio::task::spawn_blocking(make).await;
    let made = made.unwrap_or_else(|error| Err(io::Error::other(error)));
    let (profile, held, arguments, prepared) = made.map_err(no_profile)?;
    let mut command = CommandWrap::with_new(&settings.guard, |command| {
        command
            .args(Guard::arguments(profile.path(), user))
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            // The folder is the browser's own and can be read by its user, which this one's may not be.
            .current_dir(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in settings.secrets {
            command.env_remove(name);
        }
    });
    // A group of its own, so that Ctrl-C reaches the service alone and the guard ends the tree in order.
    let mut child = command
        .wrap(ProcessGroup::leader())
        .spawn()
        .map_err(|error| StartError(format!("the guard of the browser cannot be started: {error}")))?;
    let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
    let (Some(lifeline), Some(output), Some(errors)) = pipes else {
        return Err(StartError("the guard of the browser has no pipes".into()));
    };
    // From here on the guard removes it.
    let _ = profile.keep();
    let mut process = Process { child, lifeline, errors: Lines::new(errors), log: Log::default(), pid: 0 };
    process.pid = process.read_pid(output, settings.start_deadline).await?;
    drop(held);
    Ok((process, prepared))
}

/// Makes a folder, and the caches that lie in it, a user's own.
#[cfg(unix)]
fn hand_over(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            hand_over(&entry?.path(), uid, gid)?;
        }
    }
    Ok(())
}

/// The user that browsers run as: another one only where the service is root.
#[cfg(unix)]
fn unprivileged_user(name: &str) -> Result<Option<(u32, u32)>, StartError> {
    use nix::unistd::{Uid, User};
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    match User::from_name(name) {
        Ok(Some(user)) if !user.uid.is_root() => Ok(Some((user.uid.as_raw(), user.gid.as_raw()))),
        Ok(Some(_)) => Err(StartError(format!("{name:?} is root; browsers keep their sandbox only as another user"))),
        Ok(None) => Err(StartError(format!("there is no user {name:?}; name one with --browser-user"))),
        Err(error) => Err(StartError(format!("the user {name:?} cannot be looked up: {error}"))),
    }
}

#[cfg(not(unix))]
fn unprivileged_user(_name: &str) -> Result<Option<(u32, u32)>, StartError> {
    Ok(None)
}

impl Process {
    async fn read_pid(&mut self, output: ChildStdout, deadline: Duration) -> Result<u32, StartError> {
        let mut lines = Lines::new(output);
        let line = timeout(deadline, lines.next()).await;
        match line.ok().flatten().and_then(|line| line.parse().ok()) {
            Some(pid) => Ok(pid),
            None => Err(self.failure("it could not be started").await),
        }
    }

    /// Reads what the browser says until a line that `matches`.
    pub async fn wait_for_line<T>(&mut self, matches: impl Fn(&str) -> Option<T>) -> Result<T, StartError> {
        while let Some(line) = self.errors.next().await {
            // It may hold what gives power over the browser.
            if let Some(found) = matches(&line) {
                return Ok(found);
            }
            tracing::debug!(pid = self.pid, "{}", redact(&line));
            self.log.add(DRIVER, &line);
        }
        Err(self.failure("it ended while starting").await)
    }

    async fn failure(&mut self, what: &str) -> StartError {
        let rest = async {
            while let Some(line) = self.errors.next().await {
                self.log.add(DRIVER, &line);
            }
        };
        // The lines end with the guard; one that hangs is not waited for.
        let _ = timeout(Duration::from_secs(1), rest).await;
        let words = self.log.last_words();
        let hint = if words.contains("No usable sandbox") {
            "; allow unprivileged user namespaces on this machine, or accept the risk with --no-browser-sandbox"
        } else {
            ""
        };
        StartError(format!("the browser did not come up: {what}; it said: {words}{hint}"))
    }

    /// Looks after the tree until it ends: by itself, by `end`, because one of its processes is stopped, or because its
    /// driver finds that it is `doomed`. Then tells what became of it.
    pub fn look_after(self, end: CancellationToken, mut doomed: mpsc::Receiver<Loss>) -> Fate {
        let Self { mut child, lifeline, mut errors, log, pid } = self;
        let (tell, fate) = watch::channel(None);
        tokio::spawn(async move {
            let talk = async {
                let mut status = None;
                while let Some(line) = errors.next().await {
                    tracing::debug!(pid, "{}", redact(&line));
                    log.add(DRIVER, &line);
                    status = guard::status(&line).or(status);
                }
                status.unwrap_or_else(|| Loss::new(Cause::Exited, "the browser process ended"))
            };
            // The guard's standard error closes with the guard, which is the last to go.
            let loss = tokio::select! {
                loss = talk => loss,
                Some(loss) = doomed.recv() => loss,
                detail = stopped(pid) => Loss::new(Cause::Stopped, detail),
                () = end.cancelled() => Loss::new(Cause::Ended, "it was ended"),
            };
            drop(lifeline);
            if timeout(END_DEADLINE, child.wait()).await.is_err() {
                tracing::warn!(pid, "the browser's guard hangs and is killed");
                if let Err(error) = child.start_kill() {
                    tracing::warn!(pid, %error, "the browser's guard cannot be killed");
                }
            }
            tell.send_replace(Some(loss));
        });
        fate
    }
}

/// Bytes of a line that count. Others are read and dropped.
const LONGEST_LINE: usize = 8192;

/// The lines that a process writes, in whatever encoding.
struct Lines<R>(BufReader<R>);

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: R) -> Self {
        Self(BufReader::new(reader))
    }

    /// The next one; nothing at the end.
    async fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let bytes = self.0.fill_buf().await.ok()?;
            if bytes.is_empty() && line.is_empty() {
                return None;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            line.extend_from_slice(&part[..part.len().min(LONGEST_LINE - line.len())]);
            let (is_last, read) = (bytes.is_empty(), end.map_or(bytes.len(), |end| end + 1));
            self.0.consume(read);
            if is_last || end.is_some() {
                return Some(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
            }
        }
    }
}

/// Returns once a process of the tree has been found stopped twice in a row: one that goes on at once is no loss.
async fn stopped(pid: u32) -> String {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = false;
    loop {
        look.tick().await;
        let found = tokio::task::spawn_blocking(move || vitals::stopped(pid)).await.ok().flatten();
        match found {
            Some(detail) if before => return detail,
            found => before = found.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, Lines};

    #[tokio::test]
    async fn lines_need_neither_be_text_nor_end() {
        let long = vec![b'x'; 3 * LONGEST_LINE];
        let all = [b"one\r\n\n\xff two\n", &long[..], b"\nlast"].concat();
        let mut lines = Lines::new(&all[..]);
        for expected in ["one", "", "\u{fffd} two", &"x".repeat(LONGEST_LINE), "last"] {
            assert_eq!(lines.next().await.as_deref(), Some(expected));
        }
        assert_eq!(lines.next().await, None);
    }
}
