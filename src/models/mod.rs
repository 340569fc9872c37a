//! Models: what clients registered, and the files behind it.

mod architecture;
mod formats;
mod hash;
mod look;
mod memory;
mod needs;
mod onnx;
pub mod optimized;
mod placeholder;
mod pooled;
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
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::OnceCell;
use webinfer_store::InUse;

pub use hash::Hashed;
use hash::Hashes;
pub use look::{Look, broken_graphs, look, weight_files};
use memory::Shape;
pub use memory::{Activations, Weights};
pub use needs::{Needs, Precisions, needs};
pub use placeholder::Placeholder;
pub use precision::{Dtype, Dtypes};
pub use probe::probes;
pub use registry::{Defaults, Registry};
pub use smaller::recipe;
use store::{Contents, Folder};
pub use task::{FAMILIES, Kind, Parameter, Task};
pub use wanted::{Candidate, within};

use crate::{error::Error, execution::Backend, proto::v1};
use onnx::Value;

/// When to ask again, where graphs are being made.
const MAKING: Duration = Duration::from_secs(5);

/// How the vectors of a text's tokens become the vector of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over the tokens that are not padding.
    #[default]
    Mean,
    /// The vector of the first token.
    Cls,
}

/// Whether a replica on WebGPU records what it has the GPU do, to replay it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GraphCapture {
    /// On hardware.
    #[default]
    Auto,
    /// On each adapter.
    On,
    /// Never.
    Off,
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
    /// Whether what the GPU does is recorded.
    pub graph_capture: Option<GraphCapture>,
    /// Whether its graphs are optimised first; the default where nothing is said.
    pub optimize: Option<bool>,
    /// What a replica is asked before it serves; none for the service's own.
    pub probes: Vec<v1::Probe>,
    /// Name of the kind of browser to run in; empty for any.
    pub browser: String,
    /// Whether it is there to be measured: batches have as many items as they may, whether that pays or not, and no replica is
    /// loaded to check its answers. Nobody can ask for it from outside.
    pub measured: bool,
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
    /// Whether what the GPU does is recorded.
    pub graph_capture: GraphCapture,
    /// Memory that such recordings of a replica, or its sessions for shapes, may take; 0 where there are to be none.
    pub capture_bytes: u64,
    /// Whether its graphs are optimised first.
    pub optimize: bool,
    /// What a replica is asked before it serves; none where the registration gives none. See [`probes`].
    pub probes: Vec<v1::Probe>,
    /// Name of the kind of browser to run in; empty for any.
    pub browser: String,
    /// Whether it is there to be measured.
    pub measured: bool,
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
    /// The folder that runs, with all links resolved.
    folder: PathBuf,
    /// The folder of its source: the same, where graphs run as they are there.
    origin: PathBuf,
    /// The files that a worker reads, in the order of their paths. Nothing else of the folder is ever served.
    pub files: Vec<File>,
    /// Those of them in which the graphs keep weights.
    pub external_data: Vec<String>,
    /// What makes one vector of a text's token vectors, to be appended to the graph; empty where there is none.
    pub pooling: Bytes,
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
    /// Of its files; computed once.
    hashes: OnceCell<Hashes>,
    /// See [`Model::makeable`].
    makeable: OnceCell<Vec<(Dtype, u64)>>,
    /// See [`Model::identity`].
    identity: OnceLock<Arc<str>>,
}

impl Model {
    /// What was asked at its registration.
    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes of memory that one replica takes, about.
    pub fn replica_bytes(&self) -> u64 {
        self.weights.loaded().saturating_add(self.shapes_bytes())
    }

    /// Bytes that its sessions for shapes take besides, at most, on WebNN.
    fn shapes_bytes(&self) -> u64 {
        let makes = self.spec.preferred().is_webnn() && self.spec.graph_capture != GraphCapture::Off;
        if makes { self.weights.in_shapes().min(self.spec.capture_bytes) } else { 0 }
    }

    /// What its largest batches take besides, of so many tokens; `None` where nothing tells that.
    pub fn largest_batch(&self, most_tokens: u64) -> Option<Activations> {
        let shape = self.shape.filter(|_| self.spec.task.has_tokenizer())?;
        let positions = shape.positions.min(u64::from(self.max_tokens));
        Some(Shape { positions, ..shape }.activations(u64::from(self.spec.max_batch), most_tokens))
    }

    /// A file of the model that a worker may read, in the precision whose files have that hash together.
    pub fn locate(&self, sha256: &str, path: &str) -> Option<Hashed> {
        let own = self.hashes.get().filter(|hashes| hashes.all == sha256).and_then(|hashes| hashes.file(path).cloned());
        own.or_else(|| self.variants().iter().find_map(|variant| variant.locate(sha256, path)))
    }

    /// The same model in a precision that its source has, for measurements.
    pub async fn in_dtype(self: &Arc<Self>, dtype: Dtype) -> Result<Arc<Self>, Error> {
        self.in_dtypes(self.spec.dtypes.all_in(dtype)).await
    }

    /// The same model with its source's graphs in such precisions. It is itself, where that is what it runs.
    pub async fn in_dtypes(self: &Arc<Self>, dtypes: Dtypes) -> Result<Arc<Self>, Error> {
        let known = self.variants().iter().find(|variant| variant.spec.dtypes == dtypes).cloned();
        let is_own = self.spec.dtypes == dtypes && self.folder == self.origin;
        if let Some(known) = known.or_else(|| is_own.then(|| self.clone())) {
            return Ok(known);
        }
        let (model, wanted) = (self.clone(), dtypes.clone());
        let contents = move || Folder::again(&model.origin).contents(model.spec.task, &wanted);
        let contents = tokio::task::spawn_blocking(contents).await;
        let Contents { files, external_data, weights, .. } =
            contents.map_err(|error| Error::Internal(error.to_string()))??;
        let variant = Arc::new(Self {
            spec: Spec { dtypes, optimize: false, ..self.spec.clone() },
            wishes: self.wishes.clone(),
            // What answers are compared with is not what was made of it.
            folder: self.origin.clone(),
            origin: self.origin.clone(),
            files,
            external_data,
            pooling: self.pooling.clone(),
            weights,
            available: self.available.clone(),
            variants: Mutex::default(),
            mask: self.mask.clone(),
            inputs: self.inputs.clone(),
            placeholder: None,
            in_use: self.in_use.clone(),
            hashes: OnceCell::new(),
            makeable: OnceCell::new(),
            identity: OnceLock::new(),
            ..*self.as_ref()
        });
        check_bytes(&variant.files, variant.most_bytes)?;
        // Another caller may have been faster.
        let mut variants = self.variants();
        if let Some(known) = variants.iter().find(|known| known.spec.dtypes == variant.spec.dtypes) {
            return Ok(known.clone());
        }
        variants.push(variant.clone());
        Ok(variant)
    }

    /// The precisions that its folder lacks and could be given, the fewest bits first, with the bytes that a worker would load;
    /// found out at the first call.
    pub async fn makeable(self: &Arc<Self>) -> Vec<(Dtype, u64)> {
        let model = self.clone();
        let found = move || smaller::makeable(&Folder::again(&model.origin), model.spec.task);
        let find = || async { tokio::task::spawn_blocking(found).await.ok().and_then(Result::ok).unwrap_or_default() };
        let small =
            self.files.iter().filter(|file| !file.path.starts_with("onnx/")).map(|file| file.bytes).sum::<u64>();
        self.makeable.get_or_init(find).await.iter().map(|&(dtype, bytes)| (dtype, bytes + small)).collect()
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

    /// SHA-256 over the lines `<sha256>  <path>` of its files; computed at the first call.
    pub async fn sha256(&self) -> Result<String, Error> {
        let hashes = self.hashes.get_or_try_init(|| Hashes::of(self.folder.clone(), self.files.clone()));
        Ok(hashes.await?.all.clone())
    }

    /// A file that has changed on disk since the hash was computed.
    pub async fn changed(&self) -> Option<String> {
        let hashes = self.hashes.get()?.clone();
        tokio::task::spawn_blocking(move || hashes.changed().map(str::to_owned)).await.ok()?
    }

    /// Tells this model, files and settings, from every other one; once the hash is computed.
    pub fn identity(&self) -> Option<Arc<str>> {
        let sha256 = self.known_sha256()?;
        let identity = self.identity.get_or_init(|| {
            let Spec { id, task, backends, dtypes, pooling, unnormalized, .. } = &self.spec;
            let (task, dtypes) = (task.name, dtypes.name());
            format!("{id} {sha256} {task} {backends:?} {dtypes} {pooling:?} {unnormalized}").into()
        });
        Some(identity.clone())
    }

    /// The hash, once computed.
    pub fn known_sha256(&self) -> Option<&str> {
        self.hashes.get().map(|hashes| hashes.all.as_str())
    }
}

/// Refuses files that are more than a worker takes.
fn check_bytes(files: &[File], most: u64) -> Result<(), Error> {
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    if bytes <= most {
        return Ok(());
    }
    let message = format!(
        "the model has {bytes} bytes and a worker takes {most}; choose a smaller dtype, or see --max-model-bytes"
    );
    Err(Error::invalid("spec.source", message))
}
