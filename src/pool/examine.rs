//! Examine: before a replica serves it answers its model's probes. What it says has to agree with the reference; and where
//! there is a choice, what its runs cost is measured.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::{
    costs::Shot,
    reference::{Answers, Unmade},
    start::Start,
    tasks::{WorkerEnd, loss_of},
};
use crate::{
    agreement::{self, Agreement, Precision},
    bridge::{Batching, CallError, FailureKind, Link, Loaded, Ran, RunItem},
    cost,
    execution::{Backend, Check},
    job::{Input, Output},
    loss::{Cause, Loss},
    metrics,
    models::{Dtype, Model, Parameter, probes},
    proto::v1::Probe,
};

/// How a replica is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exam {
    /// Not at all: it does not serve.
    None,
    /// Its answers are checked.
    Check,
    /// Its answers are checked, and its runs timed.
    Measure,
}

/// What was found out of a replica.
#[derive(Debug, Default)]
pub struct Findings {
    /// How its answers agree with the reference; `None` where there is nothing to ask its model.
    pub check: Option<Check>,
    /// What its runs cost; empty where that was not measured.
    pub costs: Vec<Shot>,
}

/// Items of the larger batches that are timed: where batches pay, most of it shows by then.
const BATCH: usize = 8;
/// Timed runs of one shape, and the time after which no further one is begun.
const RUNS: usize = 3;
const TIME: Duration = Duration::from_millis(1500);

/// Examines a replica that has just been loaded. One that answers wrongly does not come to serve.
pub async fn examine(start: &Start, link: &Link, loaded: &Loaded) -> Result<Findings, WorkerEnd> {
    let inputs = inputs(&start.model);
    let (Some(first), false) = (inputs.first(), start.exam == Exam::None) else { return Ok(Findings::default()) };
    let answers = match timed(start, "probes", ask(link, &inputs)).await? {
        Ok(answers) => answers,
        Err(reason) => return excuse(start, &inputs, reason).await,
    };
    let check = timed(start, "reference", check(start, &inputs, answers)).await?;
    let costs = match start.exam {
        Exam::Measure => timed(start, "calibration", calibrate(start, link, loaded, first)).await?,
        Exam::None | Exam::Check => Vec::new(),
    };
    Ok(Findings { check: Some(check), costs })
}

/// Notes how long a step of the examination takes.
async fn timed<T>(start: &Start, step: &'static str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = work.await;
    metrics::examined(&start.model.spec.id, step, begun.elapsed());
    done
}

/// What a replica of a model is asked.
fn inputs(model: &Model) -> Vec<Arc<Input>> {
    let input = |probe: Probe| {
        let item = probe.item?.input?;
        Some(Arc::new(Input { item, parameters: probe.parameters.map(Arc::new) }))
    };
    probes(model).into_iter().filter_map(input).collect()
}

/// Has a replica that serves answer its model's probes once more.
pub async fn again(start: &Start, link: &Link) -> Result<(), WorkerEnd> {
    let inputs = inputs(&start.model);
    match ask(link, &inputs).await? {
        Ok(answers) => check(start, &inputs, answers).await.map(drop),
        Err(_) => Ok(()),
    }
}

/// A replica could not be asked a probe. That is its own fault where the reference could; where not even that can, such as
/// for a translation between languages that only its callers know, there is nothing to ask the model.
async fn excuse(start: &Start, inputs: &[Arc<Input>], reason: String) -> Result<Findings, WorkerEnd> {
    if !start.model.spec.probes.is_empty() || trusted(start, inputs, None).await.is_ok() {
        return Err(WorkerEnd::LoadFailed(FailureKind::Runtime, reason));
    }
    tracing::info!(model = %start.model.spec.id, "its answers are not checked: {reason}");
    Ok(Findings::default())
}

/// The answers of a worker to all probes, each asked alone; or why it could not be asked one.
async fn ask(link: &Link, inputs: &[Arc<Input>]) -> Result<Result<Vec<Output>, String>, WorkerEnd> {
    let mut answers = Vec::with_capacity(inputs.len());
    for (number, input) in inputs.iter().enumerate() {
        let mut ran = match run(link, std::slice::from_ref(input)).await {
            Err(WorkerEnd::LoadFailed(_, message)) => return Ok(Err(format!("probe {number} failed: {message}"))),
            ran => ran?,
        };
        match ran.outcomes.pop() {
            Some(Ok(output)) => answers.push(output),
            Some(Err(CallError::Failed { kind: FailureKind::BadOutput, message, .. })) => {
                return Err(WorkerEnd::Wrong(format!("its answer to probe {number} is none: {message}")));
            }
            Some(Err(error)) => return Ok(Err(format!("probe {number} failed: {error}"))),
            None => return Err(WorkerEnd::Lost(Loss::new(Cause::Confused, "the worker gave no output"))),
        }
    }
    Ok(Ok(answers))
}

async fn run(link: &Link, inputs: &[Arc<Input>]) -> Result<Ran, WorkerEnd> {
    let items: Vec<RunItem> = inputs.iter().cloned().map(RunItem::from).collect();
    let (_, answer) = link.run(&items, true).await.map_err(WorkerEnd::Lost)?;
    answer.await.map_err(|error| match error {
        CallError::Failed { kind: FailureKind::BadOutput, message, .. } => WorkerEnd::Wrong(message),
        CallError::Failed { kind: kind @ (FailureKind::Runtime | FailureKind::BadInput), message, .. } => {
            WorkerEnd::LoadFailed(kind, message)
        }
        error => WorkerEnd::Lost(loss_of(error)),
    })
}

/// Compares answers with the reference: what the model answers on WebAssembly in fp32, or in its own precision where the
/// folder has no fp32. Where that cannot be had, the first replica's answers are the measure.
async fn check(start: &Start, inputs: &[Arc<Input>], answers: Vec<Output>) -> Result<Check, WorkerEnd> {
    let (model, references) = (&start.model, &start.ground.references);
    let (reference, against) = match trusted(start, inputs, Some(&answers)).await {
        Ok((reference, dtype)) => (reference, format!("wasm in {dtype}")),
        Err(reason) => {
            tracing::warn!(model = %model.spec.id, "there is no reference on wasm: {reason}");
            let key = key(model, model.known_sha256().unwrap_or_default(), inputs);
            (references.first(&key, &answers), "the first replica".to_owned())
        }
    };
    let precision = Precision::of_bits(model.spec.dtypes.bits());
    let pairs = reference.iter().zip(&answers);
    let all = pairs.map(|(reference, answer)| agreement::compare(reference, answer, precision));
    let none = Agreement { measure: "number of answers", value: 0.0, least: 1.0 };
    let agreement = agreement::worst(all).unwrap_or(none);
    let Agreement { measure, value, least } = agreement;
    let check = Check { measure, value, least, against: against.into() };
    if agreement.holds() { Ok(check) } else { Err(WorkerEnd::Wrong(format!("its answers have a {check}"))) }
}

/// The answers of the reference, and its precision. Where the replica is such a one itself, and the first, they are its own.
async fn trusted(
    start: &Start,
    inputs: &[Arc<Input>],
    answers: Option<&[Output]>,
) -> Result<(Answers, String), String> {
    let model = &start.model;
    let variant = if model.available.contains(&Dtype::Fp32) {
        model.in_dtype(Dtype::Fp32).await.map_err(|error| error.to_string())?
    } else {
        model.in_dtypes(model.spec.dtypes.clone()).await.map_err(|error| error.to_string())?
    };
    let sha256 = variant.sha256().await.map_err(|error| error.to_string())?;
    let own = start.backend == Backend::Wasm && Arc::ptr_eq(&variant, model);
    let make = async {
        match answers {
            Some(answers) if own => Ok(answers.to_vec()),
            None if own => Err(Unmade { reason: "it cannot be asked".into(), lasting: false }),
            _ => Box::pin(ask_another(start, variant.clone(), inputs)).await,
        }
    };
    let reference = start.ground.references.trusted(&key(&variant, &sha256, inputs), make).await?;
    Ok((reference, variant.spec.dtypes.name()))
}

/// Tells references with different answers apart. It begins with the hash, by which they are forgotten.
fn key(model: &Model, sha256: &str, inputs: &[Arc<Input>]) -> String {
    let spec = &model.spec;
    let (task, inputs) = (spec.task.name, digest(inputs));
    format!("{sha256} {task} {:?} {} {inputs}", spec.pooling, spec.unnormalized)
}

fn digest(inputs: &[Arc<Input>]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        let bytes = input.encoded();
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answers of a worker on WebAssembly in the same page, which is there for that alone.
async fn ask_another(start: &Start, variant: Arc<Model>, inputs: &[Arc<Input>]) -> Result<Vec<Output>, Unmade> {
    let id = format!("{}-reference", start.id).into();
    let other = Start { id, model: variant, backend: Backend::Wasm, exam: Exam::None, ..start.clone() };
    match other.once(async |up| ask(&up.link, inputs).await).await {
        Ok(answers) => answers.map_err(|reason| Unmade { reason, lasting: true }),
        Err(end) => {
            // Memory may be there at another time.
            let lasting = match end {
                WorkerEnd::LoadFailed(kind, _) => kind != FailureKind::OutOfMemory,
                WorkerEnd::Wrong(_) => true,
                WorkerEnd::Lost(_) | WorkerEnd::NoPage(_) => false,
            };
            Err(Unmade { reason: end.to_string(), lasting })
        }
    }
}

/// Times runs of one item, and of several where the task runs them together, each warm and alone on the link.
async fn calibrate(start: &Start, link: &Link, loaded: &Loaded, input: &Arc<Input>) -> Result<Vec<Shot>, WorkerEnd> {
    let spec = &start.model.spec;
    let together = matches!(loaded.batching, Batching::Padded | Batching::Stacked);
    let most = if together { BATCH.min(spec.max_batch as usize) } else { 1 };
    let class = cost::size(input, start.model.max_tokens, spec.task.has(Parameter::Generation)).class();
    let (begun, mut shots) = (Instant::now(), Vec::new());
    for items in if most > 1 { vec![1, most] } else { vec![1] } {
        let batch = vec![input.clone(); items];
        // The first run of a shape is not like the others.
        run(link, &batch).await?;
        let mut times = Vec::new();
        while times.len() < RUNS && (times.is_empty() || begun.elapsed() < TIME) {
            let ran = run(link, &batch).await?;
            times.push(ran.round_trip_us);
        }
        times.sort_unstable();
        let micros = times[times.len() / 2] as f64 / items as f64;
        shots.push(Shot { class, items: items as u32, micros, runs: times.len() as u32 });
        if begun.elapsed() >= TIME {
            break;
        }
    }
    Ok(shots)
}
