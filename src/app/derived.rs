//! Derived: what follows from the settings.

use std::{path::PathBuf, time::SystemTime};

use crate::{
    bridge, browser,
    config::Serve,
    knowledge::Place,
    models::{Defaults, Registry},
};

/// An empty registry over the models folder.
pub fn registry(serve: &Serve) -> Registry {
    Registry::new(defaults(serve))
}

/// Where what is measured is kept.
pub fn place(serve: &Serve) -> Place {
    match (&serve.state, &serve.state_folder) {
        (Some(file), _) if file.as_os_str() == "none" => Place::Memory,
        (Some(file), _) => Place::File(file.clone()),
        (None, Some(folder)) => Place::File(folder.join("webinfer/knowledge.db")),
        (None, None) => Place::Memory,
    }
}

/// Where what browsers compile is kept: beside what is measured.
pub fn warm(serve: &Serve) -> Option<PathBuf> {
    match place(serve) {
        Place::File(file) => Some(file.with_extension("warm")),
        Place::Memory => None,
    }
}

/// Tells the page that this program serves, and how, from every other one.
pub fn page(serve: &Serve) -> String {
    let program = std::fs::metadata(&serve.program).ok();
    let built = program.and_then(|program| program.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok());
    format!("{}-{}", bridge::page(), built.unwrap_or_default().as_nanos())
}

/// Memory for replicas: half of what there is, where nothing else was said.
pub fn model_memory(serve: &Serve) -> u64 {
    match serve.model_memory {
        0 => browser::machine_memory().map_or(u64::MAX, |bytes| bytes / 2),
        bytes => bytes,
    }
}

/// What models get that do not say: on few cores a worker for each, because a second thread of a worker gives less than
/// a second worker; on many, workers of several threads, because each worker has its own copy of the model.
fn defaults(serve: &Serve) -> Defaults {
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let threads = if serve.threads > 0 { serve.threads } else { (cores / 4).clamp(1, 4) };
    let replicas = if serve.replicas > 0 { serve.replicas } else { (cores / threads).clamp(1, 4) };
    Defaults {
        root: serve.models.clone(),
        backends: serve.backend.clone(),
        allow_simulation: serve.allow_simulation,
        threads,
        replicas,
        max_batch: serve.max_batch,
        capture_bytes: serve.capture_memory,
        optimize: serve.optimize,
        max_model_bytes: serve.max_model_bytes,
        max_models: serve.max_models,
    }
}
