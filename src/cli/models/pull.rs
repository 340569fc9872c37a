//! `webinfer models pull`: downloads a model, or what is missing of it.

use clap::Args;
use webinfer_store::{Held, Manifest, Name, Source, Store, StoreError};

use crate::{
    cli::CommandError,
    config::Hub,
    models::{Dtype, Precisions},
};

#[cfg(feature = "hub")]
mod fetch;

/// Arguments of `models pull`.
#[derive(Debug, Args)]
#[command(
    after_help = "Only the graphs of the chosen precisions and the small files beside them are downloaded. The commit and \
    the hash of each file are pinned in webinfer.lock.json beside the model: the same command again fetches only what is \
    missing or damaged, whatever happens in the repository; --update goes to its present state. What was interrupted goes \
    on where it ended.\n\nExamples:\n  \
    webinfer models pull onnx-community/all-MiniLM-L6-v2-ONNX --as minilm\n  \
    webinfer models pull onnx-community/whisper-base --dtype fp32 --dtype q8\n  \
    webinfer models pull onnx-community/Qwen3-0.6B-ONNX --bits 4\n  \
    webinfer models pull Xenova/clip-vit-base-patch32@main --all --hub-endpoint https://mirror.example"
)]
pub struct Pull {
    /// Repository on the Hub, as OWNER/NAME or OWNER/NAME@REVISION
    source: Source,
    /// Precision to have; may be given several times; without it, the one that suits a processor: q8 where it is there
    #[arg(long, value_name = "DTYPE", value_parser = dtype, conflicts_with_all = ["bits", "all"])]
    dtype: Vec<Dtype>,
    /// The precision with so many bits: 32, 16, 8, 4 or 2
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(2..=32), conflicts_with = "all")]
    bits: Option<u32>,
    /// All precisions that there are
    #[arg(long)]
    all: bool,
    /// Name that the model gets; without it, the repository's
    #[arg(long = "as", value_name = "NAME")]
    name: Option<Name>,
    /// Go to the present state of the revision, where another commit is pinned
    #[arg(long)]
    update: bool,
}

fn dtype(name: &str) -> Result<Dtype, String> {
    Dtype::parse(name).ok_or_else(|| format!("these are: {}", Dtype::ALL.map(Dtype::name).join(", ")))
}

/// Downloads it, where something is missing.
pub async fn run(hub: &Hub, pull: Pull, json: bool) -> Result<(), CommandError> {
    let name = pull.name.clone().map_or_else(|| pull.source.repo.name().map_err(StoreError::from), Ok)?;
    let held = match Store::new(&hub.models).get(name.as_ref()) {
        Ok(held) => Some(held),
        Err(StoreError::Missing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let missing = missing(&pull, held.as_ref());
    if let (Some(Held { manifest: Some(manifest), .. }), true) = (&held, missing.is_empty() && !pull.update) {
        report(json, &name, manifest, 0);
        return Ok(());
    }
    if hub.offline {
        return Err(CommandError::Usage(format!("--offline, and of {name} there is missing: {}", missing.join(", "))));
    }
    pull.fetch(hub, name, held, json).await
}

/// What of the wish is not there, in words; nothing where all of it is, and whole.
fn missing(pull: &Pull, held: Option<&Held>) -> Vec<String> {
    let Some((held, manifest)) = held.and_then(|held| Some((held, held.manifest.as_ref()?))) else {
        return vec![format!("all of {}", pull.source)];
    };
    let asked = &pull.source;
    if asked.repo != manifest.repo || (asked.revision != manifest.revision && asked.revision != manifest.commit) {
        return vec![format!("all of {asked}; there is {}", manifest.source())];
    }
    let there: Vec<_> = manifest.wanted.iter().filter_map(|name| Dtype::parse(name)).collect();
    let mut missing = match pull.precisions() {
        Precisions::Usual => Vec::new(),
        Precisions::Bits(bits) if there.iter().any(|dtype| dtype.bits() == bits) => Vec::new(),
        Precisions::Bits(bits) => vec![format!("a dtype of {bits} bits")],
        Precisions::All => vec!["what other dtypes there are".to_owned()],
        Precisions::Dtypes(dtypes) => {
            let not_there = dtypes.iter().filter(|dtype| !there.contains(dtype));
            not_there.map(|dtype| format!("the dtype {}", dtype.name())).collect()
        }
    };
    missing.extend(manifest.verify(&held.folder).iter().map(|it| format!("{}, which {}", it.path, it.wrong)));
    missing
}

impl Pull {
    fn precisions(&self) -> Precisions {
        match (self.all, self.bits) {
            (true, _) => Precisions::All,
            (_, Some(bits)) => Precisions::Bits(bits),
            _ if self.dtype.is_empty() => Precisions::Usual,
            _ => Precisions::Dtypes(self.dtype.clone()),
        }
    }

    #[cfg(not(feature = "hub"))]
    async fn fetch(&self, _: &Hub, _: Name, _: Option<Held>, _: bool) -> Result<(), CommandError> {
        Err(CommandError::Usage("this webinfer was built without downloads (its feature `hub`)".into()))
    }

    #[cfg(feature = "hub")]
    async fn fetch(&self, hub: &Hub, name: Name, held: Option<Held>, json: bool) -> Result<(), CommandError> {
        fetch::fetch(hub, self.job(name, held), json).await
    }

    /// What has to be done, given what is there.
    #[cfg(feature = "hub")]
    fn job(&self, name: Name, held: Option<Held>) -> fetch::Job {
        let before = held.and_then(|held| held.manifest);
        let known = before.as_ref().filter(|manifest| manifest.repo == self.source.repo);
        let known = known.map(|manifest| manifest.wanted.iter().filter_map(|name| Dtype::parse(name)));
        let precisions = match (self.precisions(), known) {
            (Precisions::Usual, Some(known)) => Precisions::Dtypes(known.collect()),
            // What there is of it stays in the other state, too.
            (Precisions::Dtypes(asked), Some(known)) => {
                let further: Vec<_> = known.filter(|dtype| !asked.contains(dtype)).collect();
                Precisions::Dtypes([asked, further].concat())
            }
            (precisions, _) => precisions,
        };
        // What is pinned stays, unless another state is asked for; also if it is asked for by its commit, as to mend it.
        let mut source = self.source.clone();
        let pinned = before.filter(|manifest| {
            let asked = &source.revision;
            manifest.repo == source.repo && (manifest.revision == *asked || manifest.commit == *asked) && !self.update
        });
        if let Some(manifest) = &pinned {
            source.revision = manifest.revision.clone();
        }
        fetch::Job { name, source, pinned: pinned.map(|manifest| manifest.commit), precisions }
    }
}

fn report(json: bool, name: &Name, manifest: &Manifest, fetched: usize) {
    let (source, files, bytes) = (manifest.source(), manifest.files.len(), manifest.bytes());
    if json {
        let document = serde_json::json!({
            "name": name.as_ref(), "repo": manifest.repo, "commit": manifest.commit, "dtypes": manifest.wanted,
            "files": files, "bytes": bytes, "fetched_files": fetched,
        });
        println!("{document}");
    } else if fetched == 0 {
        println!("{name} is there already: {files} files of {source}");
    } else {
        println!("{name} is there: {files} files of {source}, {}", indicatif::HumanBytes(bytes));
    }
}
