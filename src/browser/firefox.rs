//! Driver for Firefox. It is started directly on the page, which says the rest; since version 141 it does not speak the
//! Chrome DevTools Protocol any more.

use std::{fs, path::Path};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Found, Info, Running, Settings, StartError,
    process::{self, Launch},
};

/// Preferences of every start, each group under what it is for.
pub const PREFERENCES: &str = include_str!("firefox.js");

const ENVIRONMENT: [(&str, &str); 2] = [
    ("MOZ_CRASHREPORTER_DISABLE", "1"),
    // Without it a release build ignores the preference that keeps it from asking for remote settings.
    ("MOZ_REMOTE_SETTINGS_DEVTOOLS", "1"),
];

/// Starts a browser of this engine that opens `url`.
pub async fn start(settings: &Settings, found: &Found, url: String) -> Result<Running, StartError> {
    let version = version(&found.path).unwrap_or_default();
    let mut arguments = vec!["--no-remote".to_owned()];
    if !settings.show {
        arguments.push("--headless".to_owned());
    }
    arguments.extend(settings.arguments_of(found.kind).map(str::to_owned));
    let given = arguments.clone();
    let prepare = move |profile: &Path| {
        let file = profile.join("user.js");
        fs::write(&file, PREFERENCES)?;
        // The browser's user reads it, who may be another one; the folder is closed to all others.
        #[cfg(unix)]
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        Ok(([given, vec!["--profile".to_owned(), profile.display().to_string(), url]].concat(), ()))
    };
    let launch = Launch { program: &found.path, environment: &ENVIRONMENT, prepare };
    let (process, ()) = process::start(settings, launch).await?;
    let info = Info { product: "Firefox".to_owned(), version, arguments, pid: process.pid, ..Info::default() };
    let (log, end) = (process.log.clone(), CancellationToken::new());
    // Nobody else finds it doomed: its page's links break when its content process does.
    let (_, doomed) = mpsc::channel(1);
    Ok(Running::new(info, process.look_after(end.clone(), doomed), log, end))
}

/// The version, as the file beside the program says.
fn version(program: &Path) -> Option<String> {
    let program = program.canonicalize().ok()?;
    let folder = program.parent()?;
    // On macOS it lies in the bundle's resources.
    let places = [folder.join("application.ini"), folder.join("../Resources/application.ini")];
    let text = places.iter().find_map(|place| fs::read_to_string(place).ok())?;
    text.lines().find_map(|line| line.strip_prefix("Version=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_lies_beside_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("firefox");
        std::fs::write(&program, "").unwrap();
        assert_eq!(super::version(&program), None);
        std::fs::write(folder.path().join("application.ini"), "[App]\nName=Firefox\nVersion=153.7.0\n").unwrap();
        assert_eq!(super::version(&program).as_deref(), Some("153.7.0"));
    }
}
