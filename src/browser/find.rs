//! Find: where browsers of the Chromium family are on this machine.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

/// A browser on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `chromium`, `chrome`, `edge`, or `path` for one that was named by its path.
    pub kind: &'static str,
    /// The program.
    pub path: PathBuf,
}

/// Which browser is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The first that is found.
    #[default]
    Any,
    /// One of that kind.
    Kind(&'static str),
    /// The program at that path.
    Path(PathBuf),
}

/// Kinds in order of preference, with their names on PATH and their usual places.
const KINDS: [(&str, &[&str], &[&str]); 3] = [
    (
        "chrome",
        &["google-chrome-stable", "google-chrome"],
        &[
            "/opt/google/chrome/chrome",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
            "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
            "C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe",
        ],
    ),
    (
        "chromium",
        &["chromium", "chromium-browser"],
        &["/usr/lib/chromium/chromium", "/Applications/Chromium.app/Contents/MacOS/Chromium"],
    ),
    (
        "edge",
        &["microsoft-edge-stable", "microsoft-edge"],
        &[
            "/opt/microsoft/msedge/msedge",
            "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
            "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
            "C:\\Program Files\\Microsoft\\Edge\\Application\\msedge.exe",
        ],
    ),
];

/// What to do where no browser is there.
const INSTALL: &str = "install Chromium (Debian, Ubuntu: `apt-get install chromium`), Chrome or Edge, \
                       or name a program with --browser PATH; `webinfer doctor` shows what is found";

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Any);
        }
        if let Some((kind, ..)) = KINDS.iter().find(|(kind, ..)| *kind == text) {
            return Ok(Self::Kind(kind));
        }
        if text.contains(['/', '\\']) {
            return Ok(Self::Path(text.into()));
        }
        Err(format!("{text:?} is neither auto, chrome, chromium, edge nor the path of a program"))
    }
}

/// All browsers that are found, the preferred first; `search_path` is what PATH says.
pub fn find_all(search_path: &[PathBuf]) -> Vec<Found> {
    let find = |(kind, names, places): &(&'static str, &[&str], &[&str])| {
        let on_path = names.iter().flat_map(|name| search_path.iter().map(move |folder| folder.join(name)));
        let path = on_path.chain(places.iter().map(PathBuf::from)).find(|path| is_program(path))?;
        Some(Found { kind, path })
    };
    KINDS.iter().filter_map(find).collect()
}

/// The wanted one of those that are there.
pub fn choose(wanted: &Wanted, found: &[Found]) -> Result<Found, String> {
    match wanted {
        Wanted::Any => found.first().cloned().ok_or_else(|| format!("no browser was found; {INSTALL}")),
        Wanted::Kind(kind) => found
            .iter()
            .find(|found| found.kind == *kind)
            .cloned()
            .ok_or_else(|| format!("no {kind} was found; {INSTALL}")),
        Wanted::Path(path) if is_program(path) => Ok(Found { kind: "path", path: path.clone() }),
        Wanted::Path(path) => Err(format!("there is no program at {}; {INSTALL}", path.display())),
    }
}

/// Whether a start would find its program; if not, why.
pub fn check(wanted: &Wanted, search_path: &[PathBuf]) -> Result<(), String> {
    choose(wanted, &find_all(search_path)).map(drop)
}

fn is_program(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    #[cfg(unix)]
    let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let executable = true;
    metadata.is_file() && executable
}

#[cfg(test)]
mod tests {
    use super::{Found, Wanted, choose};

    #[test]
    fn the_wanted_one_or_a_reason() {
        let found = [Found { kind: "chrome", path: "/a".into() }, Found { kind: "edge", path: "/b".into() }];
        assert_eq!(choose(&Wanted::Any, &found).unwrap().kind, "chrome");
        assert_eq!(choose(&"edge".parse().unwrap(), &found).unwrap().kind, "edge");
        assert!(choose(&"chromium".parse().unwrap(), &found).unwrap_err().contains("apt-get install"));
        assert!(choose(&"/no/such".parse().unwrap(), &found).unwrap_err().contains("/no/such"));
        assert!("netscape".parse::<Wanted>().is_err());
    }
}
