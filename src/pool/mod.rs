//! Pool: the browsers and their workers. The supervisor keeps them; the scheduler leases replicas; everyone else reads
//! snapshots.

mod breaker;
mod choice;
mod costs;
mod examine;
mod explain;
mod kept;
mod lease;
mod limits;
mod placement;
mod prime;
mod profile;
mod reference;
mod roster;
mod scaling;
mod share;
mod slot;
mod start;
mod supervisor;
mod tasks;
mod trial;
mod view;
mod wear;
mod worker;

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use breaker::State as BreakerState;
pub use choice::Guess;
pub use costs::{Learned, Shot};
pub use explain::{Candidate, Figure};
pub use lease::{Lease, Patience, Replica, RunError, Waiting, explain};
pub use profile::{Order, Profiled};
pub use roster::Duty;
pub use scaling::Bounds;
pub use tasks::Probe;
pub use trial::{Right, Tried, Verdict};
pub use view::{BreakerView, BrowserState, BrowserView, LoadStatus, ModelStatus, Phase, View, WorkerState, WorkerView};
pub use wear::Limits as Wear;

use crate::{
    bridge::Bridge,
    browser::Driver,
    error::Error,
    execution::Backend,
    knowledge::{Cost, Knowledge, VerdictRow},
    loss::{Cause, Loss},
    models::{Dtype, Model},
};
use lease::Replicas;
use start::Start;
use supervisor::{Command, Supervisor};

/// How the pool is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Browsers that serve.
    pub scale: Bounds,
    /// Browsers beside them that are up and loaded, to take over from one that is lost.
    pub spares: usize,
    /// When a browser is replaced before it fails.
    pub wear: Wear,
    /// Which kind of browser is guessed to be the fastest for what, the first that fits.
    pub guesses: Vec<Guess>,
    /// Workers that the cores can keep busy.
    pub workers: usize,
    /// Whether replicas are kept that check what others answer.
    pub checkers: bool,
    /// Memory for replicas, in bytes.
    pub model_memory: u64,
    /// Most tokens that run in one call.
    pub max_batch_tokens: u64,
    /// Whether what browsers compile is made for those that follow.
    pub primes: bool,
    /// Time in which a started browser's page, and a started worker, has to dial back.
    pub dial_back_deadline: Duration,
    /// Time in which a replica has to be loaded.
    pub load_deadline: Duration,
    /// Time in which a page has to answer a probe.
    pub probe_deadline: Duration,
    /// Most bytes of the trace of a profile.
    pub max_trace_bytes: u64,
}

/// What it works with.
pub struct Parts {
    /// One for each kind of browser; the places have them in turn.
    pub drivers: Vec<Arc<dyn Driver>>,
    /// Where pages and workers dial back.
    pub bridge: Bridge,
    /// What was measured before.
    pub knowledge: Knowledge,
}

/// Commands that wait for the supervisor.
const COMMANDS: usize = 64;

/// When to come back where another matrix is being made.
const BUSY: Duration = Duration::from_secs(10);

/// A handle to the pool. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    commands: mpsc::Sender<Command>,
    replicas: Arc<Replicas>,
    view: watch::Receiver<Arc<View>>,
    knowledge: Knowledge,
    /// A matrix takes from what serves: one at a time.
    matrices: Arc<Semaphore>,
}

impl Pool {
    /// Starts the supervisor, which starts the browsers.
    pub fn start(settings: Settings, parts: Parts) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let replicas = Arc::new(Replicas::default());
        let knowledge = parts.knowledge.clone();
        let (supervisor, view) = Supervisor::new(settings, parts, replicas.clone());
        tokio::spawn(supervisor.run(receiver));
        Self { commands, replicas, view, knowledge, matrices: Arc::new(Semaphore::new(1)) }
    }

    /// Has a model loaded, and kept loaded until [`Pool::unload`]. Returns a way to follow the load.
    pub async fn load(&self, model: Arc<Model>) -> Result<watch::Receiver<LoadStatus>, Error> {
        self.ask(|reply| Command::Load { model, reply }).await
    }

    /// Ends the replicas of a model; returns how many there were.
    pub async fn unload(&self, id: Arc<str>) -> Result<u32, Error> {
        self.ask(|reply| Command::Unload { id, reply }).await
    }

    /// Asks every linked page what its browser can do. Pages that do not answer in time are left out.
    pub async fn probe(&self) -> Result<Vec<Probe>, Error> {
        let probes = self.ask(|reply| Command::Probe { reply }).await?;
        Ok(futures_util::future::join_all(probes).await.into_iter().flatten().collect())
    }

    /// Runs inputs under the runtime's profiler, beside a replica of their model. Dropping the future ends that.
    pub async fn profile(&self, order: Order) -> Result<Profiled, Error> {
        self.ask(|reply| Command::Profile { order, reply }).await?
    }

    /// What is known of each backend that a model may run on, by browser.
    pub async fn explain(&self, id: String) -> Result<Vec<Candidate>, Error> {
        self.ask(|reply| Command::Explain { id, reply }).await?
    }

    /// What was measured of a model's files, now and before: how replicas did, and what their runs cost.
    pub async fn measured(&self, model_sha256: &str) -> (Vec<VerdictRow>, Vec<Cost>) {
        (self.knowledge.verdicts(model_sha256).await, self.knowledge.costs(model_sha256).await)
    }

    /// What is known of the costs of a model where it serves now.
    pub async fn costs(&self, model: Arc<str>) -> Result<Vec<Learned>, Error> {
        self.ask(|reply| Command::Costs { model, reply }).await
    }

    /// Takes in what was learned while models served.
    pub async fn learned(&self, costs: Vec<Learned>) -> Result<(), Error> {
        self.ask(|reply| Command::Learned { costs, reply }).await
    }

    /// Tries a model out in each kind of browser that is up, one after the other, on these backends in these precisions. Who
    /// drops the receiver ends that. Returns the number of trials, too.
    pub async fn matrix(
        &self,
        model: Arc<Model>,
        backends: Vec<Backend>,
        dtypes: Vec<Dtype>,
    ) -> Result<(usize, mpsc::Receiver<Tried>), Error> {
        let Ok(turn) = self.matrices.clone().try_acquire_owned() else {
            let what = "a matrix is being made, and there is one at a time".into();
            return Err(Error::Overloaded { what, retry_after: BUSY });
        };
        let starts = self.ask(|reply| Command::Trials { model: model.clone(), reply }).await?;
        let mut variants = Vec::new();
        for dtype in dtypes {
            variants.push(model.in_dtype(dtype).await?);
        }
        let mut trials = Vec::new();
        for (start, browser) in starts {
            for (backend, model) in
                backends.iter().flat_map(|backend| variants.iter().map(move |model| (*backend, model)))
            {
                let id = format!("{}-{}", start.id, trials.len()).into();
                trials.push((Start { id, backend, model: model.clone(), ..start.clone() }, browser));
            }
        }
        let total = trials.len();
        let (sender, receiver) = mpsc::channel(1);
        let knowledge = self.knowledge.clone();
        tokio::spawn(async move {
            let _turn = turn;
            for (start, browser) in trials {
                let tried = tokio::select! {
                    tried = trial::try_out(start, browser) => tried,
                    () = sender.closed() => return,
                };
                tried.row().into_iter().for_each(|row| knowledge.keep_verdict(row));
                if sender.send(tried).await.is_err() {
                    return;
                }
            }
        });
        Ok((total, receiver))
    }

    /// Ends all browsers and returns when they are gone.
    pub async fn shut_down(&self) {
        // A supervisor that is gone has ended them already.
        let _ = self.ask(|reply| Command::ShutDown { reply }).await;
    }

    /// The pool as it was at the last change.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// A way to see each change.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// The replicas of a model that serve.
    pub fn serving(&self, model: &str) -> Vec<Arc<Replica>> {
        self.replicas.of(model)
    }

    /// The replicas that check what others of a model answer, and do not serve.
    pub fn checkers(&self, model: &str) -> Vec<Arc<Replica>> {
        self.replicas.checkers(model)
    }

    /// A replica answers wrongly. All that are like it end at once, and none is started there until the model is loaded anew.
    pub async fn convict(&self, replica: &Replica, reason: String) -> Result<(), Error> {
        self.replicas.condemn(&replica.runtime, &Loss::new(Cause::WrongAnswers, reason.clone()));
        let runtime = replica.runtime.clone();
        self.ask(|reply| Command::Convict { runtime, reason, reply }).await
    }

    /// One of these replicas answers wrongly, and it is not known which. They answer their model's probes again.
    pub async fn suspect(&self, replicas: Vec<Arc<Replica>>, reason: String) -> Result<(), Error> {
        self.ask(|reply| Command::Suspect { replicas, reason, reply }).await
    }

    /// Leases a replica. How many leases one has is the scheduler's to bound.
    pub fn lease(&self, replica: &Arc<Replica>) -> Lease {
        Replicas::lease(&self.replicas, replica)
    }

    /// Notes what waits for a model, by which replicas are shared out and browsers are started.
    pub fn set_waiting(&self, model: &Arc<str>, waiting: Waiting) {
        self.replicas.set_waiting(model, waiting);
    }

    /// Returns once a replica has come into service since the last call.
    pub async fn room(&self) {
        self.replicas.changed().await;
    }

    /// Has at least and at most so many browsers serve from now on.
    pub async fn scale(&self, least: usize, most: usize) -> Result<(), Error> {
        self.ask(|reply| Command::Scale { least, most, reply }).await
    }

    /// Has a browser replaced by a fresh one, as soon as that is loaded.
    pub async fn recycle(&self, id: String) -> Result<(), Error> {
        self.ask(|reply| Command::Recycle { id, reply }).await?
    }

    /// Has a browser end once it has run what it holds, and the pool have one less.
    pub async fn drain(&self, id: String) -> Result<(), Error> {
        self.ask(|reply| Command::Drain { id, reply }).await?
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::ShuttingDown)?;
        answer.await.map_err(|_| Error::ShuttingDown)
    }
}
