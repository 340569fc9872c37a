//! Find: the kinds of browsers that can be driven, and where they are on this machine.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::execution::Backend;

/// How a browser is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Started directly, then driven over the Chrome DevTools Protocol.
    Chromium,
    /// Started directly; its page says the rest.
    Firefox,
    /// Started by its own WebDriver program.
    WebDriver,
}

/// A kind of browser. All that sets it apart from others of its engine is here.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in settings and tables.
    pub name: &'static str,
    /// How it is driven.
    pub engine: Engine,
    /// Its program's names on PATH.
    names: &'static [&'static str],
    /// Its program's usual places on Linux, macOS and Windows.
    places: &'static [&'static str],
    /// What to do where it is not there.
    pub install: &'static str,
    /// The first version whose workers can run the page's modules, with WASM SIMD and threads.
    pub least: u32,
    /// The first version with WebGPU in workers; `None` where no version has it.
    pub least_webgpu: Option<u32>,
    /// The first version with WebNN in workers; `None` where no version has it.
    pub least_webnn: Option<u32>,
}

/// All kinds, the preferred first. The versions are those of the browsers' own release notes.
pub static KINDS: [Kind; 6] = [
    Kind {
        name: "chrome",
        engine: Engine::Chromium,
        names: &["google-chrome-stable", "google-chrome"],
        places: &[
            "/opt/google/chrome/chrome",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
            "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
            "C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe",
        ],
        install: "install Google Chrome from https://www.google.com/chrome",
        least: 91,
        least_webgpu: Some(113),
        least_webnn: Some(112),
    },
    Kind {
        name: "chromium",
        engine: Engine::Chromium,
        names: &["chromium", "chromium-browser"],
        places: &["/usr/lib/chromium/chromium", "/Applications/Chromium.app/Contents/MacOS/Chromium"],
        install: "install Chromium (Debian: `apt-get install chromium`)",
        least: 91,
        least_webgpu: Some(113),
        least_webnn: Some(112),
    },
    Kind {
        name: "edge",
        engine: Engine::Chromium,
        names: &["microsoft-edge-stable", "microsoft-edge"],
        places: &[
            "/opt/microsoft/msedge/msedge",
            "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
            "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
            "C:\\Program Files\\Microsoft\\Edge\\Application\\msedge.exe",
        ],
        install: "install Microsoft Edge from https://www.microsoft.com/edge",
        least: 91,
        least_webgpu: Some(113),
        least_webnn: Some(112),
    },
    Kind {
        name: "firefox",
        engine: Engine::Firefox,
        names: &["firefox-esr", "firefox"],
        places: &[
            "/usr/lib/firefox-esr/firefox-esr",
            "/usr/lib/firefox/firefox",
            "/opt/firefox/firefox",
            "/Applications/Firefox.app/Contents/MacOS/firefox",
            "C:\\Program Files\\Mozilla Firefox\\firefox.exe",
            "C:\\Program Files (x86)\\Mozilla Firefox\\firefox.exe",
        ],
        install: "install Firefox (Debian: `apt-get install firefox-esr`)",
        least: 114,
        least_webgpu: Some(141),
        least_webnn: None,
    },
    Kind {
        name: "safari",
        engine: Engine::WebDriver,
        names: &["safaridriver"],
        places: &["/usr/bin/safaridriver"],
        install: "Safari comes with macOS; allow its driver once with `sudo safaridriver --enable`",
        least: 17,
        least_webgpu: Some(26),
        least_webnn: None,
    },
    Kind {
        name: "webkit",
        engine: Engine::WebDriver,
        names: &["WebKitWebDriver"],
        places: &["/usr/bin/WebKitWebDriver"],
        install: "install WebKitGTK with its driver (Debian: `apt-get install webkit2gtk-driver xvfb xauth`)",
        least: 2,
        least_webgpu: None,
        least_webnn: None,
    },
];

impl Kind {
    /// The kind of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// What the version of a browser of this kind has to do with its lack of a backend; `None` where nothing.
    pub fn is_too_old_for(&self, backend: Backend, version: u32) -> Option<String> {
        let (name, least) = match backend {
            Backend::WebGpu => ("WebGPU", self.least_webgpu),
            backend if backend.is_webnn() => ("WebNN", self.least_webnn),
            _ => return None,
        };
        match least {
            None => Some(format!("no version of {} has {name} in workers", self.name)),
            Some(least) if version < least => {
                Some(format!("{} {version} is too old for {name}: {least} or later is needed", self.name))
            }
            Some(_) => None,
        }
    }
}

/// A browser on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its program, or that of its driver.
    pub path: PathBuf,
}

/// Which browser is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The first that is found.
    #[default]
    Any,
    /// One of that kind.
    Kind(&'static Kind),
    /// The program at that path, which is of that kind.
    Program(Found),
    /// Whatever the WebDriver at that address starts.
    Remote(String),
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("auto"),
            Self::Kind(kind) => formatter.write_str(kind.name),
            Self::Program(found) => write!(formatter, "{}: {}", found.kind.name, found.path.display()),
            Self::Remote(address) => formatter.write_str(address),
        }
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Any);
        }
        if text.starts_with("http://") {
            return Ok(Self::Remote(text.to_owned()));
        }
        if let Some(kind) = Kind::named(text) {
            return Ok(Self::Kind(kind));
        }
        if let Some((kind, path)) = text.split_once('=').and_then(|(name, path)| Some((Kind::named(name)?, path))) {
            return Ok(Self::Program(Found { kind, path: path.into() }));
        }
        if text.contains(['/', '\\']) {
            return Ok(Self::Program(Found { kind: kind_of(Path::new(text)), path: text.into() }));
        }
        let names = KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
        Err(format!(
            "{text:?} is neither auto nor one of {names}, nor the path of a program, nor the http:// address of a \
             WebDriver"
        ))
    }
}

/// The kind that a program is of, by its name. Browsers that are built from Chromium have the most names.
fn kind_of(path: &Path) -> &'static Kind {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_of = |kind: &&Kind| {
        kind.names.contains(&&*name) || kind.places.iter().any(|place| place.rsplit(['/', '\\']).next() == Some(&*name))
    };
    let [_, chromium, _, firefox, ..] = &KINDS;
    KINDS.iter().find(is_of).unwrap_or(if name.contains("firefox") { firefox } else { chromium })
}

/// All browsers that are found, the preferred first; `search_path` is what PATH says.
pub fn find_all(search_path: &[PathBuf]) -> Vec<Found> {
    let find = |kind: &'static Kind| {
        let on_path = kind.names.iter().flat_map(|name| search_path.iter().map(move |folder| folder.join(name)));
        let path =
            on_path.chain(kind.places.iter().map(PathBuf::from)).find(|path| is_program(path) && !is_snap(path))?;
        Some(Found { kind, path })
    };
    KINDS.iter().filter_map(find).collect()
}

/// What to do where no browser is there.
const INSTALL: &str = "install Chromium (Debian: `apt-get install chromium`; Ubuntu's is a snap, which cannot be driven), \
                       Chrome, Edge or Firefox, or name a program with --browser PATH; `webinfer doctor` shows what is found";

/// The wanted one of those that are there.
pub fn choose(wanted: &Wanted, found: &[Found]) -> Result<Found, String> {
    match wanted {
        Wanted::Any => found.first().cloned().ok_or_else(|| format!("no browser was found; {INSTALL}")),
        Wanted::Kind(kind) => found.iter().find(|found| found.kind == *kind).cloned().ok_or_else(|| {
            format!("no {} was found; {}, or give its path: {}=PATH", kind.name, kind.install, kind.name)
        }),
        Wanted::Program(found) if is_program(&found.path) => Ok(found.clone()),
        Wanted::Program(found) => Err(format!("there is no program at {}; {INSTALL}", found.path.display())),
        Wanted::Remote(address) => Err(format!("{address} is not a program")),
    }
}

/// Whether a start would find its program; if not, why.
pub fn check(wanted: &[Wanted], search_path: &[PathBuf]) -> Result<(), String> {
    let found = find_all(search_path);
    let mut programs = wanted.iter().filter(|wanted| !matches!(wanted, Wanted::Remote(_)));
    programs.try_for_each(|wanted| choose(wanted, &found).map(drop))
}

/// A program of that name on the search path.
pub fn on_path(name: &str, search_path: &[PathBuf]) -> Option<PathBuf> {
    search_path.iter().map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    #[cfg(unix)]
    let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let executable = true;
    metadata.is_file() && executable
}

/// How much of a script is looked at.
const SCRIPT_BYTES: u64 = 4096;

/// Whether a program is a snap, whose confinement keeps it from a profile folder of our choosing. Ubuntu has scripts for some
/// in /usr/bin.
fn is_snap(path: &Path) -> bool {
    let is_below_snap = |path: &Path| path.starts_with("/snap") || path.ends_with("usr/bin/snap");
    if path.canonicalize().is_ok_and(|target| is_below_snap(&target)) {
        return true;
    }
    let mut begin = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SCRIPT_BYTES).read_to_end(&mut begin));
    read.is_ok() && begin.starts_with(b"#!") && String::from_utf8_lossy(&begin).contains("/snap/bin")
}

#[cfg(test)]
mod tests {
    use super::{Engine, Found, KINDS, Wanted, choose};

    fn parse(text: &str) -> Wanted {
        text.parse().unwrap()
    }

    #[test]
    fn the_wanted_one_or_a_reason() {
        let [chrome, chromium, edge, ..] = &KINDS;
        let found = [Found { kind: chrome, path: "/a".into() }, Found { kind: edge, path: "/b".into() }];
        assert_eq!(choose(&Wanted::Any, &found).unwrap().kind, chrome);
        assert_eq!(choose(&parse("edge"), &found).unwrap().kind, edge);
        assert!(choose(&parse("chromium"), &found).unwrap_err().contains(chromium.install));
        assert!(choose(&parse("/no/such"), &found).unwrap_err().contains("/no/such"));
        assert!("netscape".parse::<Wanted>().is_err());
    }

    #[test]
    fn a_path_tells_its_kind_unless_it_is_said() {
        let engine = |text| match parse(text) {
            Wanted::Program(found) => (found.kind.engine, found.path.display().to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(engine("/opt/ff/firefox-bin").0, Engine::Firefox);
        assert_eq!(engine("/a/WebKitWebDriver").0, Engine::WebDriver);
        assert_eq!(engine("/tmp/headless-shell").0, Engine::Chromium);
        assert_eq!(engine("firefox=/opt/waterfox"), (Engine::Firefox, "/opt/waterfox".into()));
        assert_eq!(parse("http://127.0.0.1:4444"), Wanted::Remote("http://127.0.0.1:4444".into()));
    }
}
