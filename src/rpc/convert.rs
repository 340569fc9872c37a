//! Convert: between the messages of the public API and the crate's types.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    activity::{Did, Failed, Second},
    admission::Profiled,
    browser::{Info, KINDS, Kind, Line},
    error::{Error, shorten},
    execution::{Execution, Origin, Timings, judge_adapter},
    job::Answer,
    ledger::{Permit, Priority},
    models::{Model, Wishes},
    pool::{
        BreakerState, BreakerView, BrowserState, BrowserView, Duty, LoadStatus, ModelStatus, Phase, Probe, View,
        WorkerState, WorkerView,
    },
    proto::v1,
    wire::{
        backend_from_wire, backend_to_wire, capture_from_wire, check_to_wire, fallback_from_wire, hardware_to_wire,
        pooling_from_wire, spec_to_wire,
    },
};

/// The wishes of a registration.
pub fn wishes(spec: Option<v1::ModelSpec>) -> Result<Wishes, Error> {
    let spec = spec.ok_or_else(|| Error::invalid("spec", "must be given"))?;
    let backends = spec.backends.iter().enumerate().map(|(index, &number)| {
        let backend = v1::Backend::try_from(number).ok().and_then(backend_from_wire);
        backend.ok_or_else(|| Error::invalid(format!("spec.backends[{index}]"), format!("{number} is not a backend")))
    });
    let fallback = v1::Fallback::try_from(spec.fallback)
        .map_err(|_| Error::invalid("spec.fallback", format!("{} is not a fall-back policy", spec.fallback)))?;
    let pooling = v1::Pooling::try_from(spec.pooling)
        .map_err(|_| Error::invalid("spec.pooling", format!("{} is not a pooling", spec.pooling)))?;
    if !spec.browser.is_empty() && Kind::named(&spec.browser).is_none() {
        let (name, kinds) = (shorten(&spec.browser), KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", "));
        return Err(Error::invalid("spec.browser", format!("{name:?} is not a kind of browser; these are: {kinds}")));
    }
    let capture = v1::GraphCapture::try_from(spec.graph_capture)
        .map_err(|_| Error::invalid("spec.graph_capture", format!("{} is not a capture", spec.graph_capture)))?;
    Ok(Wishes {
        id: spec.id,
        source: spec.source,
        task: spec.task,
        backends: backends.collect::<Result<_, _>>()?,
        fallback: fallback_from_wire(fallback),
        dtype: spec.dtype,
        bits: spec.bits,
        max_error: spec.max_error,
        dtypes: spec.dtypes.into_iter().collect(),
        replicas: spec.replicas,
        threads: spec.threads,
        pooling: pooling_from_wire(pooling),
        unnormalized: spec.unnormalized,
        max_batch: spec.max_batch,
        graph_capture: capture_from_wire(capture),
        optimize: spec.optimize,
        probes: spec.probes,
        browser: spec.browser,
        measured: false,
    })
}

/// A model with its state.
pub fn model(model: &Model, status: Option<&ModelStatus>) -> v1::Model {
    let (state, error, ready_replicas) = match status {
        None => (v1::ModelState::Registered, String::new(), 0),
        Some(ModelStatus::Loading) => (v1::ModelState::Loading, String::new(), 0),
        Some(ModelStatus::Asleep) => (v1::ModelState::Asleep, String::new(), 0),
        Some(ModelStatus::Ready(replicas)) => (v1::ModelState::Ready, String::new(), *replicas),
        Some(ModelStatus::Failed(error)) => (v1::ModelState::Failed, error.to_string(), 0),
        Some(ModelStatus::Simulated(error)) => (v1::ModelState::Simulated, error.to_string(), 0),
    };
    v1::Model {
        spec: Some(spec_to_wire(&model.spec)),
        state: state.into(),
        error,
        ready_replicas,
        available_dtypes: model.available.iter().map(|dtype| dtype.name().to_owned()).collect(),
        bytes: model.bytes(),
        sha256: model.known_sha256().unwrap_or_default().to_owned(),
        precisions: Vec::new(),
        makeable: Vec::new(),
    }
}

/// A step of a load.
pub fn progress(status: &LoadStatus) -> v1::LoadResponse {
    let phase = match status.phase {
        Phase::Prepare => v1::LoadPhase::Prepare,
        Phase::Files => v1::LoadPhase::Files,
        Phase::Compile => v1::LoadPhase::Compile,
        Phase::WarmUp => v1::LoadPhase::WarmUp,
        Phase::Ready => v1::LoadPhase::Ready,
        Phase::Simulated => v1::LoadPhase::Simulated,
    };
    v1::LoadResponse {
        phase: phase.into(),
        file: if status.phase == Phase::Files { status.file.clone() } else { String::new() },
        loaded_bytes: status.loaded_bytes,
        total_bytes: status.total_bytes,
        ready_replicas: status.ready,
        replicas: status.replicas,
        elapsed_ms: millis(status.begun.elapsed()),
    }
}

/// The answer to a request: each execution once, and which one ran each item; and what counts for it.
pub fn response(answers: Vec<Answer>) -> (v1::InferResponse, Vec<Permit>) {
    let mut executions: Vec<v1::Execution> = Vec::new();
    let mut indices: HashMap<*const Execution, u32> = HashMap::new();
    let results = answers
        .iter()
        .map(|answer| {
            *indices.entry(Arc::as_ptr(&answer.execution)).or_insert_with(|| {
                executions.push(execution(&answer.execution));
                u32::try_from(executions.len() - 1).unwrap_or(u32::MAX)
            })
        })
        .collect::<Vec<_>>();
    let mut permits = Vec::new();
    let result = |(answer, execution): (Answer, u32)| {
        permits.extend(answer.permit);
        v1::ItemResult { output: Some(answer.output), execution }
    };
    let results = answers.into_iter().zip(results).map(result).collect();
    (v1::InferResponse { results, executions }, permits)
}

/// The answer to a request for a profile.
pub fn profile(profiled: Profiled) -> v1::ProfileResponse {
    v1::ProfileResponse {
        runs: profiled.runs.iter().map(timings).collect(),
        load_us: u64::try_from(profiled.load.as_micros()).unwrap_or(u64::MAX),
        profile: Some(profiled.profile),
        response: Some(response(profiled.answers).0),
    }
}

fn timings(timings: &Timings) -> v1::Timings {
    let Timings { queue_us, bridge_us, preprocess_us, inference_us, postprocess_us } = *timings;
    v1::Timings { queue_us, bridge_us, preprocess_us, inference_us, postprocess_us }
}

fn execution(execution: &Execution) -> v1::Execution {
    let (runtime, timings) = (&execution.runtime, &execution.timings);
    v1::Execution {
        browser: runtime.browser.clone(),
        browser_version: runtime.browser_version.clone(),
        backend_requested: backend_to_wire(runtime.backend_requested).into(),
        backend_used: backend_to_wire(runtime.backend_used).into(),
        fallback_reason: runtime.fallback_reason.clone(),
        adapter: runtime.adapter.clone(),
        hardware: hardware_to_wire(runtime.hardware).into(),
        dtype: runtime.dtype.clone(),
        threads: runtime.threads,
        transformers_version: runtime.transformers_version.clone(),
        onnxruntime_version: runtime.onnxruntime_version.clone(),
        model_sha256: runtime.model_sha256.clone(),
        worker_id: runtime.worker_id.clone(),
        batch_size: execution.batch_size,
        retries: execution.retries,
        timings: Some(self::timings(timings)),
        origin: match execution.origin {
            Origin::Run => v1::Origin::Run,
            Origin::Coalesced => v1::Origin::Coalesced,
            Origin::Cache => v1::Origin::Cache,
            Origin::Simulated => v1::Origin::Simulated,
        }
        .into(),
        node_placements: execution
            .node_placements()
            .iter()
            .map(|(provider, nodes)| v1::NodePlacement { provider: provider.clone(), nodes: *nodes })
            .collect(),
        simulated: execution.is_simulated(),
        check: runtime.check.as_ref().map(check_to_wire),
        hedged: execution.hedged,
        replayed_shape: execution.shape.dimensions.clone(),
    }
}

/// What the models did in a second.
pub fn second(second: &Second) -> v1::Second {
    let model = |(model, did): (&Arc<str>, &Did)| {
        let [p50_us, p95_us, p99_us] = did.quantiles_us;
        v1::ModelActivity {
            model: model.to_string(),
            answered: did.answered,
            failed: did.failed,
            p50_us,
            p95_us,
            p99_us,
            items: did.items,
            batches: did.batches,
            tokens: did.tokens,
            timings: Some(timings(&did.timings)),
            queue_items: did.queued,
        }
    };
    v1::Second { end_ms: millis(second.end), models: second.models.iter().map(model).collect() }
}

/// A request that failed.
pub fn failed_request(failed: &Failed) -> v1::FailedRequest {
    v1::FailedRequest {
        time_ms: millis(failed.at),
        model: failed.model.to_string(),
        reason: failed.reason.to_owned(),
        message: failed.message.clone(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The priority of a request.
pub fn priority(request: &v1::InferRequest) -> Result<Priority, Error> {
    match v1::Priority::try_from(request.priority) {
        Ok(v1::Priority::Low) => Ok(Priority::Low),
        Ok(v1::Priority::Unspecified | v1::Priority::Normal) => Ok(Priority::Normal),
        Ok(v1::Priority::High) => Ok(Priority::High),
        Err(_) => Err(Error::invalid("priority", format!("{} is not a priority", request.priority))),
    }
}

/// The pool.
pub fn pool(view: &View) -> v1::PoolStatus {
    let (least, most) = view.bounds;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::PoolStatus {
        browsers: view.browsers.iter().cloned().map(browser).collect(),
        breakers: view.breakers.iter().map(breaker).collect(),
        wanted_browsers: number(view.wanted),
        min_browsers: number(least),
        max_browsers: number(most),
    }
}

fn breaker(view: &BreakerView) -> v1::Breaker {
    let state = match view.state {
        BreakerState::Closed => v1::BreakerState::Closed,
        BreakerState::Open => v1::BreakerState::Open,
        BreakerState::HalfOpen => v1::BreakerState::HalfOpen,
    };
    v1::Breaker {
        browser: view.browser.clone(),
        backend: backend_to_wire(view.backend).into(),
        model: view.model.to_string(),
        state: state.into(),
        retry_after_ms: millis(view.again),
    }
}

fn browser(view: BrowserView) -> v1::Browser {
    let state = match view.state {
        BrowserState::Starting => v1::BrowserState::Starting,
        BrowserState::Ready => v1::BrowserState::Ready,
        BrowserState::BackingOff => v1::BrowserState::BackingOff,
    };
    let duty = match view.duty {
        Duty::Serving => v1::BrowserDuty::Serving,
        Duty::Spare => v1::BrowserDuty::Spare,
        Duty::Leaving => v1::BrowserDuty::Leaving,
        Duty::Off => v1::BrowserDuty::Unspecified,
    };
    v1::Browser {
        id: view.id,
        duty: duty.into(),
        product: view.info.product,
        version: view.info.version,
        state: state.into(),
        reason: view.reason.to_string(),
        pid: view.info.pid,
        memory_bytes: view.memory.bytes,
        memory_kind: view.memory.kind.to_owned(),
        restarts: view.restarts,
        workers: view.workers.into_iter().map(worker).collect(),
        // Only for those who ask: it is long, and not a state.
        log: Vec::new(),
    }
}

/// A line of a browser's log.
pub fn log_line(line: Line) -> v1::LogLine {
    let age = line.at.elapsed().unwrap_or_default();
    v1::LogLine { source: line.source.to_string(), text: line.text, age_ms: millis(age) }
}

fn worker(view: WorkerView) -> v1::Worker {
    let state = match view.state {
        WorkerState::Starting => v1::WorkerState::Starting,
        WorkerState::Loading => v1::WorkerState::Loading,
        WorkerState::Ready => v1::WorkerState::Ready,
        WorkerState::Leaving => v1::WorkerState::Leaving,
    };
    let replica = view.replica.as_ref();
    let runtime = replica.map(|replica| &replica.runtime);
    v1::Worker {
        id: view.id.to_string(),
        state: state.into(),
        model: view.model.to_string(),
        backend: runtime.map_or(v1::Backend::Unspecified, |runtime| backend_to_wire(runtime.backend_used)).into(),
        dtype: runtime.map(|runtime| runtime.dtype.clone()).unwrap_or_default(),
        threads: runtime.map_or(0, |runtime| runtime.threads),
        batches_in_flight: replica.map_or(0, |replica| replica.in_flight()),
        batches_run: replica.map_or(0, |replica| replica.batches_run()),
        hardware: runtime.map_or(v1::Hardware::Unspecified, |runtime| hardware_to_wire(runtime.hardware)).into(),
        adapter: runtime.map(|runtime| runtime.adapter.clone()).unwrap_or_default(),
    }
}

/// What a browser can do: the page's words, completed with what the service knows.
pub fn capabilities(probe: Probe) -> v1::BrowserCapabilities {
    let Probe { browser, info, sandboxed, page } = probe;
    let Info { product, version, gpu_devices, .. } = info;
    let mut capabilities = page;
    if let Some(webgpu) = capabilities.webgpu.as_mut().filter(|webgpu| webgpu.available) {
        let fallback = webgpu.hardware() == v1::Hardware::SoftwareAdapter;
        webgpu.hardware = hardware_to_wire(judge_adapter(&webgpu.adapter, fallback, &gpu_devices)).into();
    }
    v1::BrowserCapabilities { browser_id: browser, product, version, gpu_devices, sandboxed, ..capabilities }
}
