//! Profile: a request that runs under the runtime's profiler, in a worker of its own. That is no replica: nothing else is
//! handed to it, and it ends with the call.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    lease::{Replica, explain},
    start::Start,
    tasks::{FATE_DEADLINE, WorkerEnd, loss_of, true_cause},
    worker,
};
use crate::{
    bridge::{CallError, FailureKind, Link, Profile, Ran, RunItem},
    error::Error,
    execution::{Execution, Origin, Runtime, Timings},
    job::{Input, Output},
    loss::Fate,
};

/// What is to be profiled.
#[derive(Debug)]
pub struct Order {
    /// Id of the model.
    pub model: Arc<str>,
    /// The inputs of the request.
    pub inputs: Vec<Arc<Input>>,
    /// How often they run.
    pub runs: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Profiled {
    /// What came of each input in the last run.
    pub outputs: Vec<Result<Output, Error>>,
    /// What ran it. Nothing was queued.
    pub execution: Execution,
    /// Times of each run.
    pub runs: Vec<Timings>,
    /// Time to start the worker and load its replica.
    pub load: Duration,
    /// What the runtime told.
    pub profile: Profile,
}

/// Where the answer goes. Nobody waits any more where the receiver was dropped.
pub type Reply = oneshot::Sender<Result<Profiled, Error>>;

/// What a profile needs.
pub struct Profiling {
    /// The worker that it runs in.
    pub start: Start,
    /// What becomes of its browser.
    pub fate: Fate,
    /// Why it runs on that backend and not on the one that was asked for.
    pub fallback_reason: String,
    /// Where the runtime puts the graph's nodes, as the replica beside it found out.
    pub node_placements: Vec<(String, u32)>,
    /// What it is of.
    pub order: Order,
    /// Most bytes of the trace.
    pub max_trace_bytes: u64,
    /// Held until the worker has ended: there is one profile at a time.
    pub turn: OwnedSemaphorePermit,
}

/// Makes a profile. Its worker ends with it, or as soon as nobody waits for the answer.
pub async fn profile(profiling: Profiling, mut reply: Reply) {
    let made = tokio::select! {
        made = make(&profiling) => Some(made),
        () = reply.closed() => None,
    };
    let Profiling { start, fate, order, turn, .. } = profiling;
    if made.is_none() {
        // A page that is gone has taken its workers along.
        let _ = start.page.end_worker(start.id.to_string()).await;
    }
    drop(turn);
    let answer = match made {
        None => return,
        Some(Ok(made)) => made,
        Some(Err(WorkerEnd::Lost(loss) | WorkerEnd::NoPage(loss))) => {
            let loss = true_cause(loss, fate, FATE_DEADLINE).await;
            Err(Error::WorkerLost { attempts: 1, reason: loss.to_string() })
        }
        Some(Err(WorkerEnd::LoadFailed(_, message) | WorkerEnd::Wrong(message))) => {
            Err(Error::LoadFailed { id: order.model.to_string(), message })
        }
    };
    // A caller that left has dropped its receiver.
    let _ = reply.send(answer);
}

/// What came of it: a profile, or an error of the run itself.
async fn make(profiling: &Profiling) -> Result<Result<Profiled, Error>, WorkerEnd> {
    let Profiling { start, fallback_reason, node_placements, order, max_trace_bytes, .. } = profiling;
    start
        .once(async |up| {
            let most = Replica::most(&start.model.spec, up.loaded.batching);
            let worked = async {
                let (last, runs) = run(&up.link, order, most).await?;
                let profile = up.link.end_profile(*max_trace_bytes).await?;
                Ok((last, runs, profile))
            };
            let (last, runs, profile) = match worked.await {
                Ok(worked) => worked,
                Err(error) => return judge(&order.model, error).map(Err),
            };
            let shape = last.shape.clone();
            let outputs =
                last.outcomes.into_iter().map(|outcome| outcome.map_err(|error| explain(&order.model, &error)));
            let runtime = Runtime {
                fallback_reason: fallback_reason.clone(),
                node_placements: node_placements.clone(),
                ..worker::runtime(start, up.loaded.clone(), up.model_sha256.clone())
            };
            let execution = Execution {
                runtime: Arc::new(runtime),
                batch_size: u32::try_from(order.inputs.len().min(most)).unwrap_or(u32::MAX),
                retries: 0,
                timings: runs.last().copied().unwrap_or_default(),
                origin: Origin::Run,
                hedged: false,
                shape,
            };
            Ok(Ok(Profiled { outputs: outputs.collect(), execution, runs, load: up.took, profile }))
        })
        .await
}

/// Runs all inputs so often as is ordered. Returns what came of the last time, and the times of each.
async fn run(link: &Link, order: &Order, most: usize) -> Result<(Ran, Vec<Timings>), CallError> {
    let items: Vec<RunItem> = order.inputs.iter().cloned().map(RunItem::from).collect();
    let (mut last, mut runs) = (Ran::default(), Vec::new());
    for _ in 0..order.runs {
        last = Ran::default();
        for batch in items.chunks(most) {
            let (_, answer) = link.run(batch, false).await?;
            last.add(answer.await?);
        }
        runs.push(last.timings());
    }
    Ok((last, runs))
}

/// A worker that breaks the protocol or calls its own failure fatal is lost, save where the input exhausted it.
fn judge(model: &str, error: CallError) -> Result<Error, WorkerEnd> {
    match error {
        CallError::Failed { fatal: false, .. } | CallError::Failed { kind: FailureKind::OutOfMemory, .. } => {
            Ok(explain(model, &error))
        }
        error => Err(WorkerEnd::Lost(loss_of(error))),
    }
}
