//! Supervisor: the task that owns the browsers, the workers and the models to be kept loaded. It reacts to commands and
//! to what its tasks tell, then starts whatever is missing.

mod balance;
mod browsers;
mod checks;
mod command;
mod losses;
mod measure;
mod primes;
mod profiles;
mod snapshot;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

pub use command::Command;

use super::{
    Parts, Settings,
    breaker::Breaker,
    kept::Kept,
    lease::{Replica, Replicas},
    reference::References,
    roster::Duty,
    scaling::Scale,
    slot::Slot,
    start::Ground,
    tasks::{self, BrowserId, Happened, Probe, WorkerEnd},
    view::{LoadStatus, View, WorkerState},
};
use crate::{
    bridge::Link,
    browser::{Driver, Log, Memory, Running},
    execution::Backend,
    knowledge::Knowledge,
    metrics::Groups,
    models::Model,
};

/// Events that wait for the supervisor.
const EVENTS: usize = 256;
/// Time from the loss of a browser to the start of the next, where a spare has taken over.
const SPARE_DELAY: Duration = Duration::from_millis(500);
/// How often memory is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// The task's state.
pub struct Supervisor {
    settings: Settings,
    /// One for each kind of browser; the places have them in turn.
    drivers: Vec<Arc<dyn Driver>>,
    ground: Ground,
    knowledge: Knowledge,
    replicas: Arc<Replicas>,
    view: watch::Sender<Arc<View>>,
    gauges: Groups,
    tell: mpsc::Sender<Happened>,
    happened: mpsc::Receiver<Happened>,
    /// The tasks that start and watch browsers and workers; they end with the supervisor.
    tasks: JoinSet<()>,
    scale: Scale,
    places: Vec<Place>,
    models: BTreeMap<Arc<str>, Kept>,
    workers: BTreeMap<Arc<str>, Worker>,
    breakers: BTreeMap<Circuit, Breaker>,
    last_worker: u64,
    /// The turn of the one profile that there may be.
    profiles: Arc<Semaphore>,
    /// Whether a backend is being tried out: one at a time, since it takes from what serves.
    trying: bool,
    /// Whether a browser is up for what it compiles alone.
    priming: bool,
    /// What such browsers were started for, or was kept already.
    primed: BTreeSet<String>,
}

/// Tells whoever gave a command what came of it.
type Answer = Box<dyn FnOnce() + Send>;

/// What a breaker is about: a kind of browser, a backend, and a model.
type Circuit = (String, Backend, Arc<str>);

/// One place in the pool.
struct Place {
    slot: Slot,
    duty: Duty,
    /// There while the slot is ready.
    browser: Option<(Running, Link)>,
    memory: Memory,
    /// The last that was heard of its browser, or of the one before while that only starts.
    log: Log,
    /// Batches of workers of this browser that are gone.
    runs: u64,
    /// Why its browser is to be replaced.
    worn: Option<&'static str>,
    /// The browser of this place that was lost last, and when.
    lost: Option<(BrowserId, Instant)>,
    /// Backends that its browser turned out not to have, and why.
    lacks: BTreeMap<Backend, String>,
    /// Loads that were lost with it. Its fate tells whether that is held against their models.
    suspects: Vec<Circuit>,
}

impl Place {
    /// When its next browser is to be started. The start of a spare would take the cores from what runs again because a
    /// browser was lost.
    fn due(&self) -> Option<Instant> {
        let due = self.slot.due()?;
        match self.lost {
            Some((_, lost)) if self.duty == Duty::Spare => Some(due.max(lost + SPARE_DELAY)),
            _ => Some(due),
        }
    }

    /// Whether that browser is the one of this place that was lost last.
    fn has_lost(&self, id: BrowserId) -> bool {
        self.lost.is_some_and(|(lost, _)| lost == id)
    }
}

/// One worker.
struct Worker {
    browser: BrowserId,
    model: Arc<str>,
    circuit: Circuit,
    state: WorkerState,
    /// Bytes of files that it has read.
    loaded_bytes: u64,
    /// There once it is loaded.
    replica: Option<Arc<Replica>>,
    /// Whether it ends once it has run what it holds.
    leaving: bool,
    /// Whether it only checks what others answer.
    checks: bool,
}

impl Supervisor {
    /// A supervisor that has started nothing yet, and the view of it.
    pub fn new(settings: Settings, parts: Parts, replicas: Arc<Replicas>) -> (Self, watch::Receiver<Arc<View>>) {
        let (view, receiver) = watch::channel(Arc::default());
        let (tell, happened) = mpsc::channel(EVENTS);
        let Parts { drivers, bridge, knowledge } = parts;
        let references = Arc::new(References::new(knowledge.clone()));
        let ground = Ground {
            bridge,
            references,
            dial_back: settings.dial_back_deadline,
            load: settings.load_deadline,
            max_batch_tokens: settings.max_batch_tokens,
        };
        let mut supervisor = Self {
            scale: Scale::new(settings.scale),
            settings,
            drivers,
            ground,
            knowledge,
            replicas,
            view,
            gauges: Groups::default(),
            tell,
            happened,
            tasks: JoinSet::new(),
            places: Vec::new(),
            models: BTreeMap::new(),
            workers: BTreeMap::new(),
            breakers: BTreeMap::new(),
            last_worker: 0,
            profiles: Arc::new(Semaphore::new(1)),
            trying: false,
            priming: false,
            primed: BTreeSet::new(),
        };
        supervisor.keep_roster();
        supervisor.publish();
        (supervisor, receiver)
    }

    /// Runs until it is told to shut down, or until nobody can tell it anything.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut measure = interval(MEASURE_EVERY);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.settle().await;
            let wake = self.due();
            let wake = async {
                match wake {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { return self.end_browsers().await };
                    let last = matches!(command, Command::ShutDown { .. });
                    let answer = self.obey(command).await;
                    if last {
                        return answer();
                    }
                    // Whoever is answered finds what it asked for in the view.
                    self.settle().await;
                    answer();
                }
                Some(what) = self.happened.recv() => self.take(what).await,
                // Their ends are told as events; here they are only swept up.
                Some(_) = self.tasks.join_next() => {}
                () = wake => {}
                _ = second.tick() => self.look().await,
                _ = measure.tick() => self.measure().await,
            }
        }
    }

    /// When something is to be started.
    fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let on = self.places.iter().filter(|place| place.duty != Duty::Off);
        let browsers = on.filter_map(Place::due);
        let loads = self.breakers.values().filter_map(|breaker| breaker.again(now));
        browsers.chain(loads).min()
    }

    /// Starts and ends what should be, and shows it.
    async fn settle(&mut self) {
        self.keep_roster();
        self.start_browsers();
        self.balance().await;
        self.models.iter().for_each(|(id, kept)| kept.serves(self.ready_replicas(id)));
        self.start_workers();
        self.publish();
    }

    /// Does what is asked. What is returned answers the caller.
    async fn obey(&mut self, command: Command) -> Answer {
        match command {
            Command::Load { model, reply } => answer(reply, self.keep(model)),
            Command::Unload { id, reply } => answer(reply, self.let_go(&id).await),
            Command::Probe { reply } => answer(reply, self.probes()),
            Command::Profile { order, reply } => self.profile(order, reply),
            Command::Explain { id, reply } => answer(reply, self.explain(&id)),
            Command::Costs { model, reply } => answer(reply, self.costs(&model)),
            Command::Learned { costs, reply } => {
                costs.into_iter().for_each(|learned| self.learn(learned));
                answer(reply, ())
            }
            Command::Trials { model, reply } => answer(reply, self.trials(&model)),
            Command::Convict { runtime, reason, reply } => {
                self.convict(&runtime, &reason).await;
                answer(reply, ())
            }
            Command::Suspect { replicas, reason, reply } => {
                replicas.iter().for_each(|replica| self.suspect(replica, &reason));
                answer(reply, ())
            }
            Command::Scale { least, most, reply } => {
                self.scale.set(least, most);
                answer(reply, ())
            }
            Command::Recycle { id, reply } => answer(reply, self.recycle(&id)),
            Command::Drain { id, reply } => answer(reply, self.drain(&id)),
            Command::ShutDown { reply } => {
                self.end_browsers().await;
                answer(reply, ())
            }
        }
    }

    fn keep(&mut self, model: Arc<Model>) -> watch::Receiver<LoadStatus> {
        let (id, now) = (model.spec.id.clone(), Instant::now());
        // Whoever asks for a load wants it tried now.
        self.breakers.iter_mut().filter(|((_, _, model), _)| *model == id).for_each(|(_, breaker)| breaker.ask(now));
        self.scale.wake(now);
        if self.models.get(&id).is_some_and(Kept::has_failed) {
            self.places.iter_mut().for_each(|place| place.lacks.clear());
        }
        if !self.models.contains_key(&id) {
            self.recall(&model);
        }
        self.models.entry(id).or_insert_with(|| Kept::new(model)).follow()
    }

    async fn let_go(&mut self, id: &str) -> u32 {
        if let Some(kept) = self.models.remove(id) {
            kept.model.known_sha256().into_iter().for_each(|sha256| self.ground.references.forget(sha256));
            kept.let_go();
        }
        self.breakers.retain(|(_, _, model), _| **model != *id);
        let of_model = self.workers.iter().filter(|(_, worker)| &*worker.model == id);
        let ids: Vec<_> = of_model.map(|(id, _)| id.clone()).collect();
        let mut ended = 0;
        for id in ids {
            ended += u32::from(self.end_worker(&id).await.is_some_and(|worker| worker.replica.is_some()));
        }
        ended
    }

    async fn take(&mut self, what: Happened) {
        match what {
            Happened::BrowserUp(id, running, page) => self.browser_up(id, running, page),
            Happened::BrowserFailed(id, loss) => self.browser_failed(id, loss).await,
            Happened::BrowserLost(id, loss) => self.lose_browser(id, loss).await,
            Happened::BrowserGone(id, loss) => self.browser_gone(id, &loss),
            Happened::WorkerBroke(id, loss) => self.lose_worker(&id, WorkerEnd::Lost(loss)).await,
            Happened::WorkerLinked(id) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.state = WorkerState::Loading;
                }
            }
            Happened::WorkerProgress(id, progress) => self.progress(&id, progress),
            Happened::WorkerUp(id, replica, costs, took) => self.worker_up(&id, replica, costs, took),
            Happened::WorkerEnded(id, end) => self.lose_worker(&id, end).await,
            Happened::CostsKnown(model, costs) => self.costs_known(&model, costs),
            Happened::TriedOut(tried) => self.tried_out(*tried),
            Happened::Primed(mark, made) => self.primed(&mark, made),
            Happened::Convicted(runtime, reason) => self.convict(&runtime, &reason).await,
        }
    }

    fn probes(&self) -> Vec<BoxFuture<'static, Option<Probe>>> {
        let probe = |(index, place): (usize, &Place)| {
            let (running, page) = place.browser.as_ref()?;
            let id = BrowserId { place: index, epoch: place.slot.epoch() };
            let probe = tasks::probe(id, running.info.clone(), page.clone(), self.settings.probe_deadline);
            Some(probe.boxed())
        };
        self.places.iter().enumerate().filter_map(probe).collect()
    }

    async fn end_browsers(&mut self) {
        // What is only being started ends with its task.
        self.tasks.shutdown().await;
        let running = self.places.iter_mut().filter_map(|place| place.browser.take());
        let end = running.map(|(running, page)| async move {
            page.close(tasks::ended("the service ends"));
            running.end().await;
        });
        futures_util::future::join_all(end).await;
    }
}

/// A caller that has left does not stop what it asked for, so nobody may take the reply.
fn answer<T: Send + 'static>(reply: oneshot::Sender<T>, value: T) -> Answer {
    Box::new(move || drop(reply.send(value)))
}
