//! The download itself: asks the Hub, chooses files, and shows how far it is.

use std::fs;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use webinfer_store::{
    Name, Plan, Revision, Source, Store, StoreError,
    hub::{self, Event, Settings, Token, Waits},
};

use super::report;
use crate::{
    cli::CommandError,
    config::Hub,
    models::{Dtype, Precisions, needs},
};

/// The file that tells what a model is for.
const CONFIG: &str = "config.json";

/// What is to be there.
pub struct Job {
    pub name: Name,
    pub source: Source,
    /// The commit that stands for the revision, where one is pinned.
    pub pinned: Option<Revision>,
    pub precisions: Precisions,
}

/// Downloads it, until Ctrl-C.
pub async fn fetch(hub: &Hub, job: Job, json: bool) -> Result<(), CommandError> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_prefix(format!("pulling {}", job.name));
    let (store, tell) = (Store::new(&hub.models), |event: Event<'_>| show(&bar, event));
    let result = tokio::select! {
        result = download(hub, &store, &job, &tell) => result,
        _ = tokio::signal::ctrl_c() => Err(CommandError::Usage("interrupted; the next pull goes on where this one ended".into())),
    };
    bar.finish_and_clear();
    let outcome = result?;
    report(json, &job.name, &outcome.manifest, outcome.fetched);
    Ok(())
}

async fn download(
    settings: &Hub,
    store: &Store,
    job: &Job,
    tell: hub::Tell<'_>,
) -> Result<webinfer_store::Outcome, CommandError> {
    let hub = open(settings)?;
    let Job { name, source, pinned, precisions } = job;
    let at = Source { revision: pinned.clone().unwrap_or_else(|| source.revision.clone()), ..source.clone() };
    let mut listing = hub.list(&at, tell).await.map_err(StoreError::from)?;
    listing.source = source.clone();
    let config = match listing.file(CONFIG) {
        Some(file) => Some(hub.read(&listing, file, tell).await.map_err(StoreError::from)?),
        None => None,
    };
    let paths: Vec<_> = listing.files.iter().map(|file| file.path.as_ref()).collect();
    let needs =
        needs(&paths, config.as_deref(), precisions).map_err(|why| CommandError::Usage(format!("{source}: {why}")))?;
    let files = needs.files.iter().filter_map(|path| listing.file(path).cloned()).collect();
    let wanted = needs.dtypes.iter().map(|dtype: &Dtype| dtype.name().to_owned()).collect();
    let plan = Plan { name: name.clone(), listing, files, wanted, quota: settings.models_quota };
    Ok(store.pull(&hub, plan, tell).await?)
}

fn open(settings: &Hub) -> Result<hub::Hub, CommandError> {
    let token = |path: &std::path::PathBuf| {
        let what = || format!("--hub-token-file {}", path.display());
        let text = fs::read_to_string(path).map_err(|error| CommandError::Io { what: what(), error })?;
        Token::parse(&text).map_err(|why| CommandError::Usage(format!("{}: {why}", what())))
    };
    if settings.hub_token_file.is_some() && !settings.hub_endpoint.is_private() {
        let endpoint = &settings.hub_endpoint;
        return Err(CommandError::Usage(format!(
            "a token would go to {endpoint} in clear text; give it an https:// address"
        )));
    }
    let settings = Settings {
        endpoint: settings.hub_endpoint.clone(),
        hosts: settings.hub_host.clone(),
        token: settings.hub_token_file.as_ref().map(token).transpose()?,
        at_once: settings.hub_files.into(),
        waits: Waits { whole: settings.hub_deadline, ..Waits::default() },
    };
    Ok(hub::Hub::new(settings).map_err(StoreError::from)?)
}

/// On standard error, and where that is a terminal.
fn show(bar: &ProgressBar, event: Event<'_>) {
    match event {
        Event::Begins { bytes, .. } => bar.set_length(bytes),
        Event::Came(bytes) => bar.inc(bytes),
        Event::Lost(bytes) => bar.dec(bytes),
        Event::Done(path) => bar.set_message(path.to_string()),
        Event::Again { what, why, pause } => {
            tell(bar, &format!("{what}: {why}; once more in {} s", pause.as_secs_f64()))
        }
        Event::GivesWay { name, bytes } => tell(bar, &format!("{name} gives way: {}", HumanBytes(bytes))),
        Event::LeftOut(path) => {
            tell(bar, &format!("{} is gone: it was not pulled, and the model is another one now", path.display()))
        }
    }
}

/// A line above the bar.
fn tell(bar: &ProgressBar, line: &str) {
    bar.suspend(|| eprintln!("{line}"));
}
