//! `webinfer models verify`: whether models are whole, and what was pulled.

use clap::Args;
use serde_json::{Value, json};
use webinfer_store::{Held, Store};

use crate::{cli::CommandError, config::Hub, models::broken_graphs};

/// Arguments of `models verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Of a model that was pulled, each file's hash is compared with the one that was pinned. Of all models, \
    the graphs are read to their ends, and their weights must be there. The command fails where something is wrong."
)]
pub struct Verify {
    /// Name of the model, as `webinfer models list` shows it; all where nothing is said
    name: Vec<String>,
}

/// What is wrong with a model.
struct Verdict {
    held: Held,
    /// Path and words.
    wrong: Vec<(String, String)>,
}

/// Looks at each, and fails where one is damaged.
pub fn run(hub: &Hub, verify: &Verify, json: bool) -> Result<(), CommandError> {
    let store = Store::new(&hub.models);
    let models = if verify.name.is_empty() {
        store.list()?
    } else {
        verify.name.iter().map(|name| store.get(name)).collect::<Result<_, _>>()?
    };
    let verdicts: Vec<_> = models.into_iter().map(judge).collect();
    if json {
        let models: Vec<_> = verdicts.iter().map(Verdict::document).collect();
        println!("{}", serde_json::to_string_pretty(&json!({"models": models})).unwrap_or_default());
    } else {
        verdicts.iter().for_each(Verdict::print);
    }
    match verdicts.iter().filter(|verdict| !verdict.wrong.is_empty()).count() {
        0 => Ok(()),
        damaged => Err(CommandError::Usage(format!("{damaged} of {} models are damaged", verdicts.len()))),
    }
}

fn judge(held: Held) -> Verdict {
    let damage = held.manifest.as_ref().map(|manifest| manifest.verify(&held.folder)).unwrap_or_default();
    let mut wrong: Vec<_> = damage.into_iter().map(|it| (it.path.to_string(), it.wrong.to_string())).collect();
    wrong.extend(held.fault.iter().map(|fault| (webinfer_store::MANIFEST.to_owned(), fault.clone())));
    for (path, fault) in broken_graphs(&held.folder) {
        if !wrong.iter().any(|(known, _)| *known == path) {
            wrong.push((path, fault));
        }
    }
    Verdict { held, wrong }
}

impl Verdict {
    fn print(&self) {
        let name = &self.held.name;
        if self.wrong.is_empty() {
            match &self.held.manifest {
                Some(manifest) => println!("{name}: {} files are those of {}", manifest.files.len(), manifest.source()),
                None => {
                    println!("{name}: its graphs are whole; it was not pulled, so that nothing else is known of it")
                }
            }
            return;
        }
        for (path, fault) in &self.wrong {
            println!("{name}: {path} {fault}");
        }
        match self.mend() {
            Some(command) => println!("{name}: to mend it: {command}"),
            None => println!("{name}: it was not pulled; put the files there anew"),
        }
    }

    /// The command that fetches what is damaged, and nothing else.
    fn mend(&self) -> Option<String> {
        let manifest = self.held.manifest.as_ref()?;
        let dtypes: String = manifest.wanted.iter().map(|dtype| format!(" --dtype {dtype}")).collect();
        Some(format!("webinfer models pull {} --as {}{dtypes}", manifest.source(), self.held.name))
    }

    fn document(&self) -> Value {
        let wrong: Vec<_> = self.wrong.iter().map(|(path, fault)| json!({"path": path, "fault": fault})).collect();
        json!({
            "name": self.held.name, "pulled": self.held.manifest.is_some(), "whole": wrong.is_empty(), "wrong": wrong,
            "mend": if wrong.is_empty() { None } else { self.mend() },
        })
    }
}
