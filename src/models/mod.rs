//! Models: what clients registered, and the files behind it.

mod architecture;
mod formats;
mod look;
mod memory;
mod needs;
mod onnx;
mod placeholder;
mod precision;
mod probe;
mod registry;
mod smaller;
mod store;
mod task;
mod tokenizer;
mod wanted;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use tokio::sync::OnceCell;
use webinfer_store::InUse;

pub use look::{Look, broken_graphs, look};
use memory::Shape;
pub use memory::{Activations, Weights};
pub use needs::{Needs, Precisions, needs};
pub use placeholder::Placeholder;
pub use precision::{Dtype, Dtypes};
pub use probe::probes;
pub use registry::{Defaults, Registry};
pub use smaller::recipe;
use store::Contents;
pub use task::{FAMILIES, Kind, Parameter, Task};
pub use wanted::{Candidate, within};

use crate::{error::Error, execution::Backend, proto::v1};
use onnx::Value;

/// How the vectors of a text's tokens become the vector of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over the tokens that are not padding.
    #[default]
    Mean,
    /// The vector of the first token.
    Cls,
}

/// What happens where a backend is not to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The load fails: only the first backend will do.
    Exact,
    /// The next one is used; at the end of the list the load fails.
    #[default]
    Backend,
    /// The next one is used; at the end of the list answers are placeholders.
    Simulation,
}

/// What a client says of a model. `None` and empty stand for the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// Id by which requests name it.
    pub id: String,
    /// Folder below the models folder.
    pub source: String,
    /// Name of a task.
    pub task: String,
    /// Backends to run on, the best first; empty for the default.
    pub backends: Vec<Backend>,
    /// What happens where one is not to be had.
    pub fallback: Option<Fallback>,
    /// Name of a dtype.
    pub dtype: String,
    /// Bits of the weights; 0 where nothing is said.
    pub bits: u32,
    /// Names of the dtypes of graphs that have their own, by the graph.
    pub dtypes: BTreeMap<String, String>,
    /// How far answers may be from the reference; 0 where nothing is said.
    pub max_error: f64,
    /// Replicas to load; 0 for the default.
    pub replicas: u32,
    /// WASM threads of each; 0 for the default.
    pub threads: u32,
    /// How token vectors become one.
    pub pooling: Option<Pooling>,
    /// Whether the vector keeps its length.
    pub unnormalized: bool,
    /// Most items of one call; 0 for the default.
    pub max_batch: u32,
    /// What a replica is asked before it serves; none for the service's own.
    pub probes: Vec<v1::Probe>,
}

/// A registration with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Id by which requests name it.
    pub id: Arc<str>,
    /// Folder below the models folder.
    pub source: String,
    /// What it is run for.
    pub task: &'static Task,
    /// Backends to run on, the best first; at least one.
    pub backends: Vec<Backend>,
    /// What happens where one is not to be had.
    pub fallback: Fallback,
    /// Precision.
    pub dtypes: Dtypes,
    /// Most replicas to load.
    pub replicas: u32,
    /// Replicas that it has whatever other models need: as many where the registration says how many, else 1.
    pub least_replicas: u32,
    /// WASM threads of each.
    pub threads: u32,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Whether the vector keeps its length.
    pub unnormalized: bool,
    /// Most items of one call.
    pub max_batch: u32,
    /// What a replica is asked before it serves; none where the registration gives none. See [`probes`].
    pub probes: Vec<v1::Probe>,
}

impl Spec {
    /// The backend that it should run on.
    pub fn preferred(&self) -> Backend {
        self.backends.first().copied().unwrap_or(Backend::Wasm)
    }

    /// The backends that it may run on, the best first.
    pub fn allowed(&self) -> &[Backend] {
        match self.fallback {
            Fallback::Exact => &self.backends[..1],
            Fallback::Backend | Fallback::Simulation => &self.backends,
        }
    }
}

/// A file that a worker may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path below the model's folder, with `/`.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// A registered model.
#[derive(Debug)]
pub struct Model {
    /// The registration.
    pub spec: Spec,
    /// What was asked, to tell the same registration from another.
    wishes: Wishes,
    /// The folder, with all links resolved.
    folder: PathBuf,
    /// The files that a worker reads, in the order of their paths. Nothing else of the folder is ever served.
    pub files: Vec<File>,
    /// Those of them in which the graphs keep weights.
    pub external_data: Vec<String>,
    /// Bytes of its weights.
    pub weights: Weights,
    /// Sizes inside a model that runs on tokens, as far as its folder tells them.
    shape: Option<Shape>,
    /// Precisions in which the folder has all graphs.
    pub available: Vec<Dtype>,
    /// The same in other precisions, as far as they were asked for.
    variants: Mutex<Vec<Arc<Model>>>,
    /// Most bytes of a model.
    most_bytes: u64,
    /// Tokens to which a text is cut; the greatest number where the folder does not say.
    pub max_tokens: u32,
    /// Samples a second of the sound that it takes.
    pub sample_rate: u32,
    /// What stands for the word that a model of masks is to find; where the folder says.
    mask: Option<String>,
    /// What goes into the graph of a model of tensors.
    inputs: Vec<Value>,
    /// What a placeholder looks like; there where the registration allows them.
    pub placeholder: Option<Placeholder>,
    /// Keeps the folder from being removed, where it was pulled.
    in_use: Option<Arc<InUse>>,
    /// See [`Model::sha256`].
    sha256: OnceCell<String>,
    /// See [`Model::identity`].
    identity: OnceLock<Arc<str>>,
}

impl Model {
    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes of memory that one replica takes, about.
    pub fn replica_bytes(&self) -> u64 {
        self.weights.loaded()
    }

    /// What its largest batches take besides, of so many tokens; `None` where nothing tells that.
    pub fn largest_batch(&self, most_tokens: u64) -> Option<Activations> {
        let shape = self.shape.filter(|_| self.spec.task.has_tokenizer())?;
        let positions = shape.positions.min(u64::from(self.max_tokens));
        Some(Shape { positions, ..shape }.activations(u64::from(self.spec.max_batch), most_tokens))
    }

    /// Where a file of the model lies, if it is one that a worker may read.
    pub fn locate(&self, path: &str) -> Option<PathBuf> {
        let own = self.files.iter().find(|file| file.path == path).map(|file| self.folder.join(&file.path));
        own.or_else(|| self.variants().iter().find_map(|variant| variant.locate(path)))
    }

    /// The same model in a precision that its folder has, for measurements.
    pub async fn in_dtype(self: &Arc<Self>, dtype: Dtype) -> Result<Arc<Self>, Error> {
        let dtypes = self.spec.dtypes.all_in(dtype);
        let known = self.variants().iter().find(|variant| variant.spec.dtypes == dtypes).cloned();
        if let Some(known) = known.or_else(|| (self.spec.dtypes == dtypes).then(|| self.clone())) {
            return Ok(known);
        }
        let (model, wanted) = (self.clone(), dtypes.clone());
        let contents = move || store::contents(&model.folder, model.spec.task, &wanted);
        let contents = tokio::task::spawn_blocking(contents).await;
        let Contents { files, external_data, weights, .. } =
            contents.map_err(|error| Error::Internal(error.to_string()))??;
        let variant = Arc::new(Self {
            spec: Spec { dtypes, ..self.spec.clone() },
            wishes: self.wishes.clone(),
            folder: self.folder.clone(),
            files,
            external_data,
            weights,
            available: self.available.clone(),
            variants: Mutex::default(),
            mask: self.mask.clone(),
            inputs: self.inputs.clone(),
            placeholder: None,
            in_use: self.in_use.clone(),
            sha256: OnceCell::new(),
            identity: OnceLock::new(),
            ..*self.as_ref()
        });
        variant.check_bytes()?;
        // Another caller may have been faster.
        let mut variants = self.variants();
        if let Some(known) = variants.iter().find(|known| known.spec.dtypes == variant.spec.dtypes) {
            return Ok(known.clone());
        }
        variants.push(variant.clone());
        Ok(variant)
    }

    /// Notes that a replica is loaded at that time: what was not used for longest gives way to what is pulled.
    pub fn touch(&self, now: SystemTime) {
        if let Some(in_use) = &self.in_use {
            in_use.touch(now);
        }
    }

    fn variants(&self) -> MutexGuard<'_, Vec<Arc<Self>>> {
        self.variants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_bytes(&self) -> Result<(), Error> {
        let (bytes, most) = (self.bytes(), self.most_bytes);
        if bytes <= most {
            return Ok(());
        }
        let message = format!(
            "the model has {bytes} bytes and a worker takes {most}; choose a smaller dtype, or see --max-model-bytes"
        );
        Err(Error::invalid("spec.source", message))
    }

    /// SHA-256 over the lines `<sha256>  <path>` of its files; computed at the first call.
    pub async fn sha256(&self) -> Result<String, Error> {
        self.sha256.get_or_try_init(|| store::hash(self.folder.clone(), self.files.clone())).await.cloned()
    }

    /// Tells this model, files and settings, from every other one; once the hash is computed.
    pub fn identity(&self) -> Option<Arc<str>> {
        let sha256 = self.sha256.get()?;
        let identity = self.identity.get_or_init(|| {
            let Spec { id, task, backends, dtypes, pooling, unnormalized, .. } = &self.spec;
            let (task, dtypes) = (task.name, dtypes.name());
            format!("{id} {sha256} {task} {backends:?} {dtypes} {pooling:?} {unnormalized}").into()
        });
        Some(identity.clone())
    }

    /// The hash, once computed.
    pub fn known_sha256(&self) -> Option<&str> {
        self.sha256.get().map(String::as_str)
    }
}
