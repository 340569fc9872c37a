//! Subject: the model of one cell, registered under an id of its own for as long as the cell is measured, on exactly the
//! backend, precision, threads, workers and batch that the cell says, and loaded.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};
use webinfer_bench::{
    Cell, Conditions, Hardware, Precision,
    record::{Agreement, Memory, Reading},
};

use super::{
    Parts, Settings,
    asked::{Given, Questions},
    round::{Callers, Ended},
};
use crate::{
    browser::{Engine, tree_memory},
    error::Error,
    execution::{self, Backend, Execution, Runtime},
    models::{Dtypes, Fallback, GraphCapture, Model, Wishes},
    pool::{BrowserView, LoadStatus, Phase, Replica},
};

/// Beginning of the ids. What follows is a number that is used again, so that few ids are ever seen.
const PREFIX: &str = "webinfer-benchmark.";
/// A load may take this many times what one replica may: the first one comes alone, and browsers may have to start.
const LOADS: u32 = 3;

/// A cell's model.
pub struct Subject {
    /// Index of the cell in the plan.
    pub index: usize,
    /// The model.
    pub model: Arc<Model>,
    /// Who sends the requests.
    pub callers: Callers,
    /// Ids of the workers, once it is loaded, in order.
    workers: Vec<String>,
}

/// What a load came to.
pub struct Loaded {
    /// Time until all workers were ready.
    pub load: Duration,
    /// Time of the first request after that.
    pub first: Duration,
    /// What really runs.
    pub conditions: Conditions,
    /// How its answers agree with the reference.
    pub agreement: Option<Agreement>,
}

impl Subject {
    /// Registers the model of a cell, as the number `slot` of those that are there at once.
    pub async fn register(
        (settings, parts): (&Settings, &Arc<Parts>),
        (index, cell): (usize, &Cell),
        slot: usize,
        given: &Given,
    ) -> Result<Self, Ended> {
        let failed = |reason: String| Ended::Failed(reason);
        let base = parts.registry.get(&cell.model)?;
        let wishes = wishes(&base, cell, slot).map_err(failed)?;
        if parts.registry.get(&wishes.id).is_ok() {
            return Err(failed(format!("a model of the id {} is there, which benchmarks take", wishes.id)));
        }
        let own = parts.clone();
        // A precision may have to be made, which goes on where the run is left meanwhile.
        let (waits, is_waited_for) = oneshot::channel::<()>();
        let register = move || {
            let model = own.registry.register(wishes, None, |model| own.admission.check_probes(model))?;
            if waits.is_closed() {
                let _ = own.registry.remove(&model.spec.id);
            }
            Ok::<_, Error>(model)
        };
        let registered = tokio::task::spawn_blocking(register).await;
        drop(is_waited_for);
        let model = registered.map_err(|error| failed(error.to_string()))??;
        let questions = Questions::new(given, &model).and_then(|questions| {
            questions.check(cell.batch, settings.max_message_bytes)?;
            Ok(questions)
        });
        let questions = questions.inspect_err(|_| drop(parts.registry.remove(&model.spec.id))).map_err(failed)?;
        let callers = Callers {
            admission: parts.admission.clone(),
            tracer: parts.tracer.clone(),
            model: model.spec.id.clone(),
            questions: Arc::new(questions),
            batch: cell.batch,
            concurrency: cell.concurrency,
        };
        Ok(Self { index, model, callers, workers: Vec::new() })
    }

    /// Bytes of memory that its workers take together, about.
    pub fn bytes(&self) -> u64 {
        self.model.replica_bytes().saturating_mul(u64::from(self.model.spec.replicas))
    }

    /// Loads it, and has it answer once.
    pub async fn load(&mut self, parts: &Parts, settings: &Settings) -> Result<Loaded, Ended> {
        let begun = Instant::now();
        let longest = settings.load_deadline.saturating_mul(LOADS);
        let loaded = timeout(longest, ready(parts, &self.model)).await;
        let late = |_| Ended::Failed(format!("it was not loaded within {longest:?}; see --load-deadline"));
        loaded.map_err(late)?.map_err(|error| match Ended::from(error) {
            Ended::Lost(reason) => Ended::Failed(reason),
            ended => ended,
        })?;
        let load = begun.elapsed();
        self.workers = self.serving(parts);
        self.check_alike(parts)?;
        let (first, execution) = self.callers.first().await?;
        let conditions = self.conditions(parts, &execution);
        let agreement = execution.runtime.check.as_ref().map(|check| Agreement {
            measure: check.measure.to_owned(),
            value: check.value,
            least: check.least,
            against: check.against.to_string(),
        });
        Ok(Loaded { load, first, conditions, agreement })
    }

    /// An error where its workers are not of one kind: the record has one, and stands for all of them.
    fn check_alike(&self, parts: &Parts) -> Result<(), Ended> {
        let kind = |replica: &Arc<Replica>| {
            let Runtime { browser, browser_version, backend_used, adapter, hardware, dtype, .. } = &*replica.runtime;
            (browser.clone(), browser_version.clone(), *backend_used, adapter.clone(), *hardware, dtype.clone())
        };
        let kinds: Vec<_> = parts.pool.serving(&self.model.spec.id).iter().map(kind).collect();
        match kinds.iter().find(|kind| **kind != kinds[0]) {
            None => Ok(()),
            Some(other) => Err(Ended::Failed(format!(
                "its workers are of several kinds, such as {} {} and {} {}: name one browser",
                kinds[0].0, kinds[0].1, other.0, other.1
            ))),
        }
    }

    /// An error where one of its workers is gone.
    pub fn check(&self, parts: &Parts) -> Result<(), Ended> {
        let serving = self.serving(parts);
        match self.workers.iter().find(|id| !serving.contains(id)) {
            Some(gone) => Err(Ended::Lost(format!("{gone} was lost between two rounds"))),
            None => Ok(()),
        }
    }

    /// Memory of the process trees of the browsers that it is in.
    pub async fn memory(&self, parts: &Parts) -> Reading<Memory> {
        let pids: Vec<_> = self.browsers(parts).into_iter().map(|browser| browser.info.pid).collect();
        if pids.is_empty() || pids.contains(&0) {
            return Reading::Missing("its browser is not a process of this machine's service".into());
        }
        let read = move || pids.into_iter().map(tree_memory).collect::<Vec<_>>();
        let trees = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        match trees.first() {
            Some(first) if trees.iter().all(|tree| tree.bytes > 0) => Reading::Read(Memory {
                bytes: trees.iter().map(|tree| tree.bytes).sum(),
                kind: first.kind.to_uppercase(),
            }),
            _ => Reading::Missing("the system does not tell the memory of processes".into()),
        }
    }

    /// Unloads it, and forgets it.
    pub async fn end(&self, parts: &Parts) {
        end(parts, &self.model.spec.id).await;
    }

    fn serving(&self, parts: &Parts) -> Vec<String> {
        let replicas = parts.pool.serving(&self.model.spec.id);
        replicas.iter().map(|replica| replica.runtime.worker_id.clone()).collect()
    }

    fn browsers(&self, parts: &Parts) -> Vec<BrowserView> {
        let has = |browser: &&BrowserView| browser.workers.iter().any(|worker| worker.model == self.model.spec.id);
        parts.pool.view().browsers.iter().filter(has).cloned().collect()
    }

    fn conditions(&self, parts: &Parts, execution: &Execution) -> Conditions {
        let (runtime, browsers) = (&execution.runtime, self.browsers(parts));
        let spec = &self.model.spec;
        let records = spec.graph_capture != GraphCapture::Off && runtime.backend_used != Backend::Wasm;
        let kind = browsers.first().and_then(|browser| browser.info.kind);
        let gpus = browsers.first().map(|browser| browser.info.gpu_devices.join("; ")).unwrap_or_default();
        let on_gpu = !matches!(runtime.backend_used, Backend::Wasm | Backend::WebNnCpu);
        Conditions {
            browser: runtime.browser.clone(),
            browser_version: runtime.browser_version.clone(),
            driver: kind.map(|kind| driver(kind.engine)).unwrap_or_default().to_owned(),
            browser_arguments: browsers.first().map(|browser| browser.info.arguments.clone()).unwrap_or_default(),
            backend: runtime.backend_used.name().to_owned(),
            adapter: runtime.adapter.clone(),
            hardware: hardware(runtime.hardware),
            gpu_driver: if on_gpu { gpus } else { String::new() },
            threads: runtime.threads,
            workers: u32::try_from(self.workers.len()).unwrap_or(u32::MAX),
            dtype: runtime.dtype.clone(),
            bits: Dtypes::bits_of(&runtime.dtype),
            model_sha256: runtime.model_sha256.clone(),
            transformers_version: runtime.transformers_version.clone(),
            onnxruntime_version: runtime.onnxruntime_version.clone(),
            capture_bytes: if records { spec.capture_bytes } else { 0 },
            asked: self.callers.questions.asked.clone(),
            load_before: None,
            load_after: None,
        }
    }
}

/// The id of the model that is number `slot` of those that are there at once.
pub fn id(slot: usize) -> String {
    format!("{PREFIX}{slot}")
}

/// Unloads and forgets a model, where it is there.
pub async fn end(parts: &Parts, id: &str) {
    // Forgotten first, so that nobody loads it again in between.
    let _ = parts.registry.remove(id);
    let _ = parts.pool.unload(id.into()).await;
}

/// What a registration for a cell of a model says.
fn wishes(base: &Model, cell: &Cell, slot: usize) -> Result<Wishes, String> {
    let backend: Backend = cell.backend.parse()?;
    let like = base.wishes();
    // Where the registration's own precision follows from a measurement, it is what that came to.
    let own = if like.max_error > 0.0 {
        let graphs = base.spec.dtypes.graphs().map(|(graph, dtype)| (graph.to_owned(), dtype.name().to_owned()));
        (String::new(), 0, graphs.collect())
    } else {
        (like.dtype.clone(), like.bits, like.dtypes.clone())
    };
    let (dtype, bits, dtypes) = match &cell.precision {
        Precision::Auto => own,
        Precision::Dtype(name) => (name.clone(), 0, Default::default()),
        Precision::Bits(bits) => (String::new(), *bits, Default::default()),
    };
    Ok(Wishes {
        id: id(slot),
        source: base.spec.source.clone(),
        task: base.spec.task.name.to_owned(),
        backends: vec![backend],
        fallback: Some(Fallback::Exact),
        dtype,
        bits,
        dtypes,
        max_error: 0.0,
        replicas: cell.workers,
        threads: cell.threads,
        max_batch: cell.batch,
        measured: true,
        browser: cell.browser.clone(),
        ..like.clone()
    })
}

/// Loads a model until all its replicas serve.
async fn ready(parts: &Parts, model: &Arc<Model>) -> Result<(), Error> {
    let mut status = parts.pool.load(model.clone()).await?;
    let over = |status: &LoadStatus| status.error.is_some() || status.phase == Phase::Ready;
    let end = status.wait_for(over).await.map_err(|_| Error::ShuttingDown)?;
    end.error.clone().map_or(Ok(()), Err)
}

fn hardware(hardware: execution::Hardware) -> Hardware {
    match hardware {
        execution::Hardware::Unknown => Hardware::Unknown,
        execution::Hardware::Cpu => Hardware::Cpu,
        execution::Hardware::SoftwareAdapter => Hardware::Software,
        execution::Hardware::Gpu => Hardware::Gpu,
    }
}

fn driver(engine: Engine) -> &'static str {
    match engine {
        Engine::Chromium => "chromium",
        Engine::Firefox => "firefox",
        Engine::WebDriver => "webdriver",
    }
}
