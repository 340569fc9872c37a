//! The map is true: ARCHITECTURE.md says who may import whom, and docs/settings.md which settings there are; the sources are
//! read and compared.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Longest source file.
const MOST_LINES: usize = 400;

/// What only some modules may name, and which.
const CONFINED: &[(&str, &[&str])] = &[
    ("tonic::", &["rpc"]),
    ("tonic_types::", &["rpc"]),
    ("tonic::Code", &["rpc/status.rs"]),
    ("opentelemetry", &["trace"]),
    ("opentelemetry_otlp::", &["trace/spans.rs"]),
    ("axum::", &["bridge", "http"]),
    ("chromiumoxide::", &["browser"]),
    ("process_wrap::", &["browser"]),
    ("process::Command", &["browser", "benchmark/power.rs"]),
    ("rusqlite::", &["knowledge/"]),
    ("std::env", &["config/"]),
    ("counter!(", &["metrics/"]),
    ("ratatui::", &["cli/top/"]),
    ("crossterm::", &["cli/top/"]),
    ("webinfer_store::", &["models/", "cli/models", "config/hub.rs"]),
];

struct Source {
    /// Path below `src/`, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The first part of its path: its module at the root of the crate.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Its lines of code, without comments and without the tests at its end.
    fn code(&self) -> impl Iterator<Item = &str> {
        let end = self.text.find("#[cfg(test)]").unwrap_or(self.text.len());
        self.text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
    }
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// The sources of the service.
fn sources() -> Vec<Source> {
    below("src")
}

fn below(base: &str) -> Vec<Source> {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, all) } else { all.push(path) }
        }
    }
    let (base, mut paths) = (root().join(base), Vec::new());
    walk(&base, &mut paths);
    let source = |path: PathBuf| Source {
        path: path.strip_prefix(&base).unwrap().to_string_lossy().replace('\\', "/"),
        text: fs::read_to_string(&path).unwrap(),
    };
    let all: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs")).map(source).collect();
    assert!(all.len() > 10, "the sources were not found");
    all
}

/// The block of ARCHITECTURE.md that says who may import whom.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, block) = text.split_once("```imports\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let line = |line: &str| {
        let (module, imports) = line.split_once(':').unwrap_or_else(|| panic!("no module: {line}"));
        (
            module.trim().to_owned(),
            imports.split_whitespace().map(|name| name.trim_end_matches(',').to_owned()).collect(),
        )
    };
    block.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

/// Names of the crate's modules that a file imports.
fn imports(source: &Source) -> BTreeSet<String> {
    let code = source.code().collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "webinfer::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend(head(rest)),
            }
        }
    }
    found.remove(source.module());
    found
}

fn head(path: &str) -> Option<String> {
    let end = path.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_')?;
    (end > 0).then(|| path[..end].to_owned())
}

/// The first names of the paths in `a::b, c::{d, e}}…`, up to the group's end.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut begin) = (0, Vec::new(), true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begin = true,
            letter if begin && !letter.is_whitespace() => {
                heads.extend(head(&group[at..]));
                begin = false;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn modules_import_only_whom_the_map_allows() {
    let allowed = allowed();
    let (mut wrong, mut used) = (Vec::new(), BTreeMap::<String, BTreeSet<String>>::new());
    for source in sources() {
        let module = source.module().to_owned();
        let may = allowed.get(&module).unwrap_or_else(|| panic!("ARCHITECTURE.md does not name {module}"));
        for import in imports(&source) {
            if !may.contains(&import) {
                wrong.push(format!("src/{} imports {import}", source.path));
            }
            used.entry(module.clone()).or_default().insert(import);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (module, may) in &allowed {
        let unused: Vec<_> = may.difference(used.entry(module.clone()).or_default()).cloned().collect();
        assert!(unused.is_empty(), "ARCHITECTURE.md allows {module} what it does not use: {unused:?}");
    }
}

#[test]
fn confined_names_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, rooms) in CONFINED {
            let inside = rooms.iter().any(|room| source.path.starts_with(room));
            if !inside && source.code().any(|line| line.contains(name)) {
                wrong.push(format!("src/{} names {name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    for source in sources().into_iter().chain(below("crates")) {
        assert!(source.text.starts_with("//! "), "{} has no module doc", source.path);
        let lines = source.text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", source.path);
    }
}

#[test]
fn the_documentation_tells_all_settings() {
    let page = fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let (_, table) = page.split_once("<!-- settings -->\n").unwrap();
    let (table, _) = table.split_once("<!-- /settings -->").unwrap();
    let expected = webinfer::config::table();
    assert!(table.trim() == expected.trim(), "docs/settings.md's table of settings must be:\n{expected}");
}
