//! Registry: all registered models by id.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError},
};

use bytes::Bytes;
use tokio::sync::OnceCell;
use webinfer_store::{InUse, StoreError};

use super::{
    Dtype, Fallback, MAKING, Model, Pooling, Spec, Wishes, check_bytes, optimized, pooled, smaller,
    store::{self, Contents, Folder, Graph},
    wanted,
};
use crate::{
    error::{Error, shorten},
    execution::Backend,
};

/// Longest id.
const LONGEST_ID: usize = 128;
/// Most replicas, and most threads of one.
const MOST: u32 = 64;

/// What registrations that say nothing get, and the limits for all.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The folder that holds the models' folders.
    pub root: PathBuf,
    /// Backends, the best first; at least one.
    pub backends: Vec<Backend>,
    /// Whether a registration may ask for placeholders.
    pub allow_simulation: bool,
    /// WASM threads of a replica.
    pub threads: u32,
    /// Replicas on WASM; on other backends one.
    pub replicas: u32,
    /// Most items of one call.
    pub max_batch: u32,
    /// GPU memory that recorded commands of a replica may take.
    pub capture_bytes: u64,
    /// Whether graphs are optimised first.
    pub optimize: bool,
    /// Largest model, in bytes.
    pub max_model_bytes: u64,
    /// Most models.
    pub max_models: usize,
}

/// All registered models. Cheap to share.
#[derive(Debug)]
pub struct Registry {
    defaults: Defaults,
    models: RwLock<BTreeMap<Arc<str>, Arc<Model>>>,
    /// Held while a graph is made smaller.
    making: Mutex<()>,
}

impl Registry {
    /// An empty registry.
    pub fn new(defaults: Defaults) -> Self {
        Self { defaults, models: RwLock::default(), making: Mutex::default() }
    }

    /// Workers on WASM that the cores keep busy.
    pub fn workers(&self) -> u32 {
        self.defaults.replicas
    }

    /// What a registration with a limit on error would give in fp32. Blocks on the file system.
    pub fn look(&self, wishes: &Wishes) -> Result<Arc<Model>, Error> {
        check_id(&wishes.id)?;
        self.has_room(&self.models.read().unwrap_or_else(PoisonError::into_inner))?;
        self.resolve(wishes.clone(), Some(Dtype::Fp32)).map(Arc::new)
    }

    /// Registers a model after a check of its wishes and files, and one of the caller's own; in the precision that is found
    /// to be within its limit on error, where it has one. Blocks on the file system.
    pub fn register(
        &self,
        wishes: Wishes,
        within: Option<Dtype>,
        check: impl FnOnce(&Model) -> Result<(), Error>,
    ) -> Result<Arc<Model>, Error> {
        check_id(&wishes.id)?;
        if let Ok(known) = self.get(&wishes.id) {
            return if known.wishes == wishes { Ok(known) } else { Err(Error::ModelExists { id: wishes.id }) };
        }
        // Before anything is made for it; another one may still be faster.
        self.has_room(&self.models.read().unwrap_or_else(PoisonError::into_inner))?;
        let model = Arc::new(self.resolve(wishes, within)?);
        check(&model)?;
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        self.has_room(&models)?;
        let known = models.entry(model.spec.id.clone()).or_insert_with(|| model.clone());
        if known.wishes == model.wishes {
            Ok(known.clone())
        } else {
            Err(Error::ModelExists { id: known.spec.id.to_string() })
        }
    }

    fn has_room(&self, models: &BTreeMap<Arc<str>, Arc<Model>>) -> Result<(), Error> {
        let limit = self.defaults.max_models;
        if models.len() < limit { Ok(()) } else { Err(Error::TooManyModels { limit }) }
    }

    /// Registers every folder below the root that holds a usable model, under its own name. Returns why others were left.
    pub fn register_folders(&self) -> Vec<(String, Error)> {
        let Ok(entries) = fs::read_dir(&self.defaults.root) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        let register = |name: String| {
            let wishes = Wishes { id: name.clone(), ..Wishes::default() };
            self.register(wishes, None, |_| Ok(())).err().map(|error| (name, error))
        };
        names.into_iter().filter_map(register).collect()
    }

    /// The model of that id.
    pub fn get(&self, id: &str) -> Result<Arc<Model>, Error> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.get(id).cloned().ok_or_else(|| Error::ModelNotFound { id: shorten(id) })
    }

    /// All models in the order of their ids.
    pub fn list(&self) -> Vec<Arc<Model>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Forgets a model.
    pub fn remove(&self, id: &str) -> Result<Arc<Model>, Error> {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.remove(id).ok_or_else(|| Error::ModelNotFound { id: shorten(id) })
    }

    /// Makes the graphs that a folder lacks in so many bits as a registration asks for. Returns whether there were any.
    fn make_missing(&self, folder: &Folder, graphs: &[Graph], wishes: &Wishes) -> Result<bool, Error> {
        // What asks for two things is refused, and nothing is made for it.
        let asks = wishes.bits != 0 && wishes.dtype.is_empty() && wishes.max_error == 0.0;
        let lacks = |graph: &&Graph| {
            let has = Dtype::of_bits(wishes.bits).iter().any(|dtype| graph.available.contains(dtype));
            asks && !has && !wishes.dtypes.contains_key(graph.name)
        };
        let missing: Vec<_> = graphs.iter().filter(lacks).collect();
        if missing.is_empty() {
            return Ok(false);
        }
        let _turn = self.turn()?;
        for graph in missing {
            smaller::make(&folder.path, graph, wishes.bits)?;
        }
        Ok(true)
    }

    /// The turn to make graphs: it takes all cores.
    fn turn(&self) -> Result<MutexGuard<'_, ()>, Error> {
        match self.making.try_lock() {
            Ok(turn) => Ok(turn),
            // It guards nothing that a panic could have left half done.
            Err(TryLockError::Poisoned(turn)) => Ok(turn.into_inner()),
            Err(TryLockError::WouldBlock) => {
                let what = "graphs of another model are being made, one at a time".into();
                Err(Error::Overloaded { what, retry_after: MAKING })
            }
        }
    }

    fn resolve(&self, wishes: Wishes, within: Option<Dtype>) -> Result<Model, Error> {
        let source = if wishes.source.is_empty() { wishes.id.clone() } else { wishes.source.clone() };
        // Before a look at what is in it: from here on it stays.
        let in_use = InUse::take(&self.defaults.root, &source);
        let in_use = in_use.map_err(in_use_elsewhere)?.map(Arc::new);
        let mut folder = store::open(&self.defaults.root, &source)?;
        let task = folder.task(&wishes.task)?;
        let mut graphs = folder.graphs(task)?;
        // What can be refused is refused first: what is made takes long, and stays.
        let backends = if wishes.backends.is_empty() { &self.defaults.backends } else { &wishes.backends };
        let backend = check_backends(backends)?;
        let fallback = wishes.fallback.unwrap_or_default();
        if fallback == Fallback::Simulation && !self.defaults.allow_simulation {
            let message = "this service gives no placeholders for answers; choose another, or start it with \
                           --allow-simulation";
            return Err(Error::invalid("spec.fallback", message));
        }
        if !task.embeds() && (wishes.pooling.is_some() || wishes.unnormalized) {
            let message = "only \"feature-extraction\" and \"image-feature-extraction\" have pooling and normalising";
            return Err(Error::invalid("spec.pooling", message));
        }
        let default_replicas = match backend {
            Backend::Wasm => self.defaults.replicas,
            _ => 1,
        };
        let replicas = count("spec.replicas", wishes.replicas, default_replicas)?;
        let threads = count("spec.threads", wishes.threads, self.defaults.threads)?;
        let max_batch = max_batch(wishes.max_batch, self.defaults.max_batch)?;
        let optimize = self.optimizes(&wishes)?;
        if self.make_missing(&folder, &graphs, &wishes)? {
            graphs = folder.graphs(task)?;
        }
        let dtypes = wanted::dtypes(&wishes, within, backend, &graphs)?;
        let mut contents = folder.contents(task, &dtypes)?;
        check_bytes(&contents.files, self.defaults.max_model_bytes)?;
        let origin = folder.path.clone();
        if optimize {
            let _turn = self.turn()?;
            folder = folder.moved(optimized::folder(&self.defaults.root, &origin, &contents.files)?);
            contents = folder.contents(task, &dtypes)?;
        }
        let Contents { files, external_data, weights, scan } = contents;
        let spec = Spec {
            id: wishes.id.as_str().into(),
            source,
            task,
            backends: backends.clone(),
            fallback,
            dtypes,
            replicas,
            least_replicas: wishes.replicas.max(1),
            threads,
            pooling: wishes.pooling.unwrap_or(Pooling::Mean),
            unnormalized: wishes.unnormalized,
            max_batch,
            graph_capture: wishes.graph_capture.unwrap_or_default(),
            capture_bytes: self.defaults.capture_bytes,
            optimize,
            probes: wishes.probes.clone(),
            browser: wishes.browser.clone(),
            measured: wishes.measured,
        };
        let pooling = match task.name {
            "feature-extraction" => pooled::nodes(&scan, spec.pooling, spec.unnormalized).unwrap_or_default(),
            _ => Bytes::new(),
        };
        let inputs = if task.is_tensor() { scan.inputs.clone() } else { Vec::new() };
        let placeholder = match fallback {
            Fallback::Simulation => Some(folder.placeholder(task, scan)?),
            Fallback::Exact | Fallback::Backend => None,
        };
        let (max_tokens, mask) = folder.tokens(task)?;
        let (sample_rate, shape) = (folder.sample_rate()?, folder.shape());
        Ok(Model {
            spec,
            wishes,
            folder: folder.path,
            origin,
            files,
            external_data,
            pooling,
            weights,
            shape,
            available: wanted::common(&graphs),
            variants: Mutex::default(),
            most_bytes: self.defaults.max_model_bytes,
            max_tokens,
            sample_rate,
            mask,
            inputs,
            placeholder,
            in_use,
            hashes: OnceCell::new(),
            makeable: OnceCell::new(),
            identity: OnceLock::new(),
        })
    }

    /// Whether graphs are optimised first. A limit on error holds for what was measured, which is graphs as they are.
    fn optimizes(&self, wishes: &Wishes) -> Result<bool, Error> {
        let is_limited = wishes.max_error != 0.0;
        if is_limited && wishes.optimize == Some(true) {
            let message = "graphs that are held within max_error run as they are: ask for one of the two";
            return Err(Error::invalid("spec.optimize", message));
        }
        Ok(!is_limited && wishes.optimize.unwrap_or(self.defaults.optimize))
    }
}

/// Why a model's folder cannot be taken hold of.
fn in_use_elsewhere(error: StoreError) -> Error {
    match error {
        StoreError::InUse { name } => {
            let what = format!("the folder of {name:?} is being replaced or removed");
            Error::Overloaded { what, retry_after: MAKING }
        }
        error => Error::Internal(error.to_string()),
    }
}

fn check_id(id: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(plain)
        && id.starts_with(|first: char| first.is_ascii_alphanumeric());
    if good {
        return Ok(());
    }
    Err(Error::invalid(
        "spec.id",
        format!("{:?} is not an id: 1 to {LONGEST_ID} of [A-Za-z0-9._-], starting with a letter or digit", shorten(id)),
    ))
}

/// The first of a list of backends that can be meant so.
fn check_backends(backends: &[Backend]) -> Result<Backend, Error> {
    let wrong = |message: String| Err(Error::invalid("spec.backends", message));
    for (index, backend) in backends.iter().enumerate() {
        if *backend == Backend::Simulation {
            return wrong("\"simulation\" is not a backend to ask for; see FALLBACK_SIMULATION".into());
        }
        if backends[..index].contains(backend) {
            return wrong(format!("names {} twice", backend.name()));
        }
    }
    backends.first().copied().ok_or_else(|| Error::invalid("spec.backends", "names none"))
}

fn count(field: &str, wish: u32, default: u32) -> Result<u32, Error> {
    match wish {
        0 => Ok(default),
        1..=MOST => Ok(wish),
        _ => Err(Error::invalid(field, format!("{wish} is too many; the most is {MOST}"))),
    }
}

fn max_batch(wish: u32, most: u32) -> Result<u32, Error> {
    match wish {
        0 => Ok(most),
        wish if wish <= most => Ok(wish),
        _ => Err(Error::invalid("spec.max_batch", format!("{wish} is above the service's limit, --max-batch {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::check_id;

    proptest! {
        #[test]
        fn an_id_is_a_plain_file_name(id in ".{0,200}") {
            if check_id(&id).is_ok() {
                prop_assert!(!id.is_empty() && id.len() <= 128);
                prop_assert!(!id.contains(['/', '\\', '\0']) && !id.starts_with('.'));
            }
        }
    }

    #[test]
    fn ids_that_lead_elsewhere_are_refused() {
        for id in ["", "..", ".", "a/b", "../a", "a\0b", "-x", &"a".repeat(10_000), "ü"] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        for id in ["all-MiniLM-L6-v2", "a", "0.1_x"] {
            assert!(check_id(id).is_ok(), "{id:?}");
        }
    }
}
