//! Names: of models, of their files, and of where they come from. What has one of these types can be joined to a path, or
//! to an address, and leads nowhere else. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest name of a model, and longest part of a path.
const LONGEST_PART: usize = 128;
/// Longest path of a file, and most parts of it.
const LONGEST_PATH: usize = 512;
const MOST_PARTS: usize = 8;
/// Longest name that an error repeats.
const LONGEST_SAID: usize = 80;

/// Names that Windows keeps for devices, with any ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// A name that is none, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not {what}: {why}")]
pub struct Refused {
    name: String,
    what: &'static str,
    why: &'static str,
}

impl Refused {
    fn new(name: &str, what: &'static str, why: &'static str) -> Self {
        let name = match name.char_indices().nth(LONGEST_SAID) {
            Some((at, _)) => format!("{}…", &name[..at]),
            None => name.to_owned(),
        };
        Self { name, what, why }
    }
}

/// Why a part of a name cannot be a file's name on all systems.
fn fault(part: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    let stem = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    if part.is_empty() || part.len() > LONGEST_PART {
        Some("each part has 1 to 128 characters")
    } else if !part.bytes().all(plain) {
        Some("it has characters other than A-Z a-z 0-9 . _ - +")
    } else if !part.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_') {
        Some("each part begins with a letter, a digit or _")
    } else if part.ends_with('.') {
        Some("a part ends with a dot")
    } else if DEVICES.contains(&stem.as_str()) || port.is_some_and(|port| matches!(port.as_bytes(), [b'0'..=b'9'])) {
        Some("Windows keeps that name for a device")
    } else {
        None
    }
}

macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refused;

            fn try_from(text: String) -> Result<Self, Refused> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The name of a model's folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);
text!(Name);

impl FromStr for Name {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let refused = |why| Err(Refused::new(text, "a name for a model", why));
        match fault(text) {
            Some(why) => refused(why),
            // The service's ids have neither.
            None if text.contains('+') || text.starts_with('_') => refused("it has a +, or begins with _"),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// The path of a file below a model's folder, with `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);
text!(FilePath);

impl FromStr for FilePath {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let refused = |why| Err(Refused::new(text, "a path of a model's file", why));
        if text.len() > LONGEST_PATH || text.split('/').count() > MOST_PARTS {
            return refused("it has more than 512 characters, or 8 parts");
        }
        match text.split('/').find_map(fault) {
            Some(why) => refused(why),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// A repository of the Hub, `owner/name`; a few old ones have no owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repo(String);
text!(Repo);

impl FromStr for Repo {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let refused = |why| Err(Refused::new(text, "a repository of the Hub", why));
        if text.split('/').count() > 2 {
            return refused("it is written as owner/name");
        }
        match text.split('/').find_map(fault) {
            Some(why) => refused(why),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl Repo {
    /// What its model is called where nothing else was said.
    pub fn name(&self) -> Result<Name, Refused> {
        self.0.rsplit('/').next().unwrap_or_default().parse()
    }
}

/// A branch, a tag or a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);
text!(Revision);

impl FromStr for Revision {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let path: FilePath = text.parse().map_err(|error: Refused| Refused { what: "a revision", ..error })?;
        Ok(Self(path.0))
    }
}

impl Revision {
    /// Whether it is a commit's full name, which always means the same files.
    pub fn is_commit(&self) -> bool {
        self.0.len() == 40 && self.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// Where a model comes from: `REPO` or `REPO@REVISION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The repository.
    pub repo: Repo,
    /// Which state of it; `main` where nothing was said.
    pub revision: Revision,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.repo, self.revision)
    }
}

impl FromStr for Source {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        Ok(Self { repo: repo.parse()?, revision: revision.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::{FilePath, Name, Repo, Revision, Source};

    /// Shapes that were used against others, and pieces to make more of.
    const PIECES: [&str; 36] = [
        "..", ".", "/", "\\", "\0", ":", "C:", "//", "con", "NUL", "com1", "LPT9.txt", "aux.onnx", "~", "%2e%2e",
        "%00", " ", "a", "model", "onnx", "é", "\u{202e}", "\u{200b}", "․․", "‥", "/", "\u{ff0f}", "\u{2215}", "\n",
        "*", "?", "-", "_", "+", "$HOME", "`id`",
    ];

    fn hostile() -> impl Strategy<Value = String> {
        let pieces =
            proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..7).prop_map(|all| all.concat());
        prop_oneof![pieces, ".{0,40}", "[a-zA-Z0-9._/+-]{0,600}", "[./\\\\]{0,9}[a-z]{0,3}"]
    }

    /// What must hold of every part that is let through, said in another way than the code does.
    fn harmless(part: &str) -> bool {
        part.is_ascii()
            && (1..=128).contains(&part.len())
            && !part.bytes().any(|byte| byte.is_ascii_control() || b"/\\:*?\"<>|%$`~ ".contains(&byte))
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !is_device(part)
    }

    fn is_device(part: &str) -> bool {
        let stem = part.to_ascii_uppercase();
        let stem = stem.split('.').next().unwrap();
        let numbered = stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.as_bytes()[3].is_ascii_digit();
        ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem) || numbered
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12_000))]

        #[test]
        fn what_is_let_through_leads_nowhere_else(text in hostile()) {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert!(harmless(name.as_ref()));
            }
            if let Ok(path) = text.parse::<FilePath>() {
                prop_assert!(path.as_ref().split('/').all(harmless));
                let parts: Vec<_> = Path::new(path.as_ref()).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(parts.len(), path.as_ref().split('/').count());
            }
            if let Ok(repo) = text.parse::<Repo>() {
                prop_assert!(repo.as_ref().split('/').all(harmless) && repo.as_ref().split('/').count() <= 2);
            }
            if let Ok(revision) = text.parse::<Revision>() {
                prop_assert!(revision.as_ref().split('/').all(harmless));
            }
        }
    }

    proptest! {
        #[test]
        fn a_refusal_is_short(text in "\\PC{0,3000}") {
            if let Err(error) = text.parse::<Source>() {
                prop_assert!(error.to_string().len() < 1200);
            }
        }

        #[test]
        fn usual_names_are_let_through(
            owner in "[A-Z][a-z]{1,20}", name in "[a-z][a-z0-9_-]{3,30}", file in "[a-z]{4,9}_q4\\.onnx",
        ) {
            let source: Source = format!("{owner}/{name}@v1.0").parse().unwrap();
            prop_assert_eq!(source.to_string(), format!("{owner}/{name}@v1.0"));
            prop_assert_eq!(source.repo.name().unwrap().to_string(), name);
            let path = format!("onnx/{file}");
            prop_assert!(path.parse::<FilePath>().is_ok());
        }
    }

    #[test]
    fn a_source_without_a_revision_is_the_main_branch() {
        let source: Source = "gpt2".parse().unwrap();
        assert_eq!((source.repo.as_ref(), source.revision.as_ref()), ("gpt2", "main"));
        assert!("refs/pr/7".parse::<Revision>().is_ok_and(|revision| !revision.is_commit()));
        assert!("0123456789abcdef0123456789abcdef01234567".parse::<Revision>().is_ok_and(|it| it.is_commit()));
        for wrong in ["", "@", "a/b/c", "a@", "@b", "a/b@../x", "https://host/a"] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong:?}");
        }
    }
}
