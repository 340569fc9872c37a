//! Worker: the task that keeps one worker: it brings it up, tells of its replica, and watches it to its end.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    choice::Choice,
    lease::Replica,
    start::{Start, Up},
    tasks::{FATE_DEADLINE, Happened, WorkerEnd, send, true_cause},
};
use crate::{
    bridge::Loaded,
    browser::Info,
    execution::{Backend, Hardware, Runtime, judge_adapter, judge_webnn},
    loss::Fate,
};

/// A worker that is to serve.
pub struct NewWorker {
    /// How it comes up.
    pub start: Start,
    /// What becomes of the browser.
    pub fate: Fate,
    /// The backend that it is to run on, and what was passed over for it.
    pub choice: Choice,
    /// Where the runtime puts the graph's nodes, once an earlier worker of such a browser has found out.
    pub placements: Option<Vec<(String, u32)>>,
}

/// Starts a worker, has it load its replica, and watches it to its end.
pub async fn keep(worker: NewWorker, tell: mpsc::Sender<Happened>) {
    let (id, fate) = (worker.start.id.clone(), worker.fate.clone());
    let end = match raise_and_watch(worker, &tell).await {
        WorkerEnd::Lost(loss) => WorkerEnd::Lost(true_cause(loss, fate, FATE_DEADLINE).await),
        end => end,
    };
    send(&tell, Happened::WorkerEnded(id, end)).await;
}

async fn raise_and_watch(worker: NewWorker, tell: &mpsc::Sender<Happened>) -> WorkerEnd {
    let start = &worker.start;
    let Up { link, mut events, loaded, model_sha256, findings, took } = match start.run(Some(tell)).await {
        Ok(up) => up,
        Err(end) => return end,
    };
    let batching = loaded.batching;
    let runtime = Runtime {
        check: findings.check,
        fallback_reason: worker.choice.passed_over.clone(),
        node_placements: worker.placements.clone().unwrap_or_else(|| loaded.node_placements.clone()),
        ..runtime(start, loaded, model_sha256)
    };
    let replica = Replica::new(&start.model.spec, batching, link.clone(), runtime, worker.fate.clone());
    send(tell, Happened::WorkerUp(start.id.clone(), Arc::new(replica), findings.costs, took)).await;
    let end = tokio::select! {
        end = start.forward(&link, &mut events, Some(tell)) => end,
        loss = start.page.closed() => WorkerEnd::Lost(loss),
    };
    if let WorkerEnd::Lost(loss) = &end {
        link.close(loss.clone());
    }
    end
}

/// What a worker is, without what led to it and where it puts the nodes.
pub fn runtime(start: &Start, loaded: Loaded, model_sha256: String) -> Runtime {
    let spec = &start.model.spec;
    Runtime {
        model: spec.id.clone(),
        browser: start.info.product.clone(),
        browser_version: start.info.version.clone(),
        backend_requested: spec.preferred(),
        backend_used: loaded.backend,
        hardware: hardware(&loaded, &start.info),
        adapter: loaded.adapter,
        dtype: spec.dtypes.name(),
        threads: loaded.threads,
        transformers_version: loaded.transformers_version,
        onnxruntime_version: loaded.onnxruntime_version,
        model_sha256,
        worker_id: start.id.to_string(),
        ..Runtime::default()
    }
}

/// What a replica computes on, as far as is known.
pub fn hardware(loaded: &Loaded, info: &Info) -> Hardware {
    match loaded.backend {
        Backend::Wasm => Hardware::Cpu,
        Backend::WebGpu => judge_adapter(&loaded.adapter, loaded.fallback_adapter, &info.gpu_devices),
        backend => judge_webnn(backend, &info.gpu_devices),
    }
}
