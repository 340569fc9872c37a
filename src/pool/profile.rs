//! Profile: a request that runs under the runtime's profiler, in a worker of its own. That is no replica: nothing else is
//! handed to it, and it ends with the call.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    lease::{Replica, explain},
    tasks::{FATE_DEADLINE, Happened, WorkerEnd, ended, loss_of, true_cause},
    worker::{NewWorker, Raised, runtime},
};
use crate::{
    bridge::{Bridge, CallError, FailureKind, Link, Profile, Ran, RunItem},
    error::Error,
    execution::{Execution, Origin, Timings},
    job::{Input, Output},
    loss::Loss,
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
    pub worker: NewWorker,
    /// What it is of.
    pub order: Order,
    /// Most bytes of the trace.
    pub max_trace_bytes: u64,
    /// Held until the worker has ended: there is one profile at a time.
    pub turn: OwnedSemaphorePermit,
}

/// Makes a profile. Its worker ends with it, or as soon as nobody waits for the answer.
pub async fn profile(profiling: Profiling, bridge: Bridge, mut reply: Reply, tell: mpsc::Sender<Happened>) {
    let Profiling { worker, order, max_trace_bytes, turn } = profiling;
    let result = tokio::select! {
        result = make(&worker, &order, max_trace_bytes, (&bridge, &tell)) => Some(result),
        () = reply.closed() => None,
    };
    // A page that is gone has taken its workers along.
    let _ = worker.page.end_worker(worker.id.to_string()).await;
    drop(turn);
    let Some(result) = result else { return };
    let answer = match result {
        Ok(profiled) => Ok(profiled),
        Err(Failure::Told(error)) => Err(error),
        Err(Failure::Lost(loss)) => {
            let loss = true_cause(loss, worker.fate.clone(), FATE_DEADLINE).await;
            Err(Error::WorkerLost { attempts: 1, reason: loss.to_string() })
        }
    };
    // A caller that left has dropped its receiver.
    let _ = reply.send(answer);
}

/// Why there is no profile.
enum Failure {
    /// The worker is lost.
    Lost(Loss),
    /// The caller is told this.
    Told(Error),
}

async fn make(
    worker: &NewWorker,
    order: &Order,
    max_trace_bytes: u64,
    (bridge, tell): (&Bridge, &mpsc::Sender<Happened>),
) -> Result<Profiled, Failure> {
    let begun = Instant::now();
    let of_end = |end| match end {
        WorkerEnd::Lost(loss) | WorkerEnd::NoPage(loss) => Failure::Lost(loss),
        WorkerEnd::LoadFailed(_, message) => Failure::Told(Error::LoadFailed { id: order.model.to_string(), message }),
    };
    let Raised { link, mut events, loaded, model_sha256 } = worker.raise(bridge, tell).await.map_err(of_end)?;
    let load = begun.elapsed();
    let most = Replica::most(&worker.model.spec, loaded.batching);
    let work = async {
        let (last, runs) = run(&link, order, most).await?;
        let profile = link.end_profile(max_trace_bytes).await?;
        Ok((last, runs, profile))
    };
    let worked = tokio::select! {
        worked = work => worked.map_err(|error| judge(&order.model, error)),
        end = worker.watch(&link, &mut events, tell) => Err(of_end(end)),
    };
    link.close(ended("the profile is done"));
    let (last, runs, profile) = worked?;
    let outputs = last.outcomes.into_iter().map(|outcome| outcome.map_err(|error| explain(&order.model, &error)));
    let execution = Execution {
        runtime: Arc::new(runtime(worker, loaded, model_sha256)),
        batch_size: u32::try_from(order.inputs.len().min(most)).unwrap_or(u32::MAX),
        retries: 0,
        timings: runs.last().copied().unwrap_or_default(),
        origin: Origin::Run,
        hedged: false,
    };
    Ok(Profiled { outputs: outputs.collect(), execution, runs, load, profile })
}

/// Runs all inputs so often as is ordered. Returns what came of the last time, and the times of each.
async fn run(link: &Link, order: &Order, most: usize) -> Result<(Ran, Vec<Timings>), CallError> {
    let items: Vec<RunItem> = order.inputs.iter().cloned().map(RunItem::from).collect();
    let (mut last, mut runs) = (Ran::default(), Vec::new());
    for _ in 0..order.runs {
        last = Ran::default();
        for batch in items.chunks(most) {
            let (_, answer) = link.run(batch).await?;
            last.add(answer.await?);
        }
        runs.push(last.timings());
    }
    Ok((last, runs))
}

/// A worker that breaks the protocol or calls its own failure fatal is lost, save where the input exhausted it.
fn judge(model: &str, error: CallError) -> Failure {
    match error {
        CallError::Failed { fatal: false, .. } | CallError::Failed { kind: FailureKind::OutOfMemory, .. } => {
            Failure::Told(explain(model, &error))
        }
        error => Failure::Lost(loss_of(error)),
    }
}
