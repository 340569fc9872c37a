//! Supervisor: the task that owns the browsers, the workers and the models to be kept loaded. It reacts to commands and
//! to what its tasks tell, then starts whatever is missing.

mod balance;
mod snapshot;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{
    Settings,
    kept::{Kept, Verdict},
    lease::{Replica, Replicas},
    placement::{self, Demand, Room},
    slot::Slot,
    tasks::{self, BrowserId, Happened, NewWorker, Probe, WorkerEnd},
    view::{LoadStatus, View, WorkerState},
};
use crate::{
    bridge::{Bridge, Link, Progress},
    browser::{Driver, Memory, Running},
    metrics,
    models::Model,
};

/// What others ask of the supervisor.
pub enum Command {
    /// Keep a model loaded.
    Load {
        /// The model.
        model: Arc<Model>,
        /// Gets a way to follow the load.
        reply: oneshot::Sender<watch::Receiver<LoadStatus>>,
    },
    /// Let go of a model.
    Unload {
        /// Its id.
        id: Arc<str>,
        /// Gets the number of replicas that were ended.
        reply: oneshot::Sender<u32>,
    },
    /// Ask all pages what they can do.
    Probe {
        /// Gets a future for each browser.
        reply: oneshot::Sender<Vec<BoxFuture<'static, Option<Probe>>>>,
    },
    /// End all browsers.
    ShutDown {
        /// Told when they are gone.
        reply: oneshot::Sender<()>,
    },
}

/// Events that wait for the supervisor.
const EVENTS: usize = 256;
/// How often memory is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// The task's state.
pub struct Supervisor {
    settings: Settings,
    driver: Arc<dyn Driver>,
    bridge: Bridge,
    replicas: Arc<Replicas>,
    view: watch::Sender<Arc<View>>,
    tell: mpsc::Sender<Happened>,
    happened: mpsc::Receiver<Happened>,
    /// The tasks that start and watch browsers and workers; they end with the supervisor.
    tasks: JoinSet<()>,
    places: Vec<Place>,
    models: BTreeMap<Arc<str>, Kept>,
    workers: BTreeMap<Arc<str>, Worker>,
    last_worker: u64,
}

/// One place in the pool.
struct Place {
    slot: Slot,
    /// There while the slot is ready.
    browser: Option<(Running, Link)>,
    memory: Memory,
}

/// One worker.
struct Worker {
    browser: BrowserId,
    model: Arc<str>,
    state: WorkerState,
    /// Bytes of files that it has read.
    loaded_bytes: u64,
    /// There once it serves.
    replica: Option<Arc<Replica>>,
    /// Whether it ends once it has run what it holds.
    leaving: bool,
}

impl Supervisor {
    /// A supervisor that has started nothing yet, and the view of it.
    pub fn new(
        settings: Settings,
        driver: Arc<dyn Driver>,
        bridge: Bridge,
        replicas: Arc<Replicas>,
    ) -> (Self, watch::Receiver<Arc<View>>) {
        let (view, receiver) = watch::channel(Arc::default());
        let (tell, happened) = mpsc::channel(EVENTS);
        let now = Instant::now();
        let place = || Place { slot: Slot::new(now), browser: None, memory: Memory::default() };
        let supervisor = Self {
            places: std::iter::repeat_with(place).take(settings.browsers).collect(),
            settings,
            driver,
            bridge,
            replicas,
            view,
            tell,
            happened,
            tasks: JoinSet::new(),
            models: BTreeMap::new(),
            workers: BTreeMap::new(),
            last_worker: 0,
        };
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
            self.start_browsers();
            self.balance().await;
            self.start_workers();
            self.publish();
            let due = self.places.iter().filter_map(|place| place.slot.due()).min();
            let wake = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::ShutDown { reply }) => {
                        self.end_browsers().await;
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.obey(command).await,
                    None => return self.end_browsers().await,
                },
                Some(what) = self.happened.recv() => self.take(what).await,
                // Their ends are told as events; here they are only swept up.
                Some(_) = self.tasks.join_next() => {}
                () = wake => {}
                _ = second.tick() => self.note_demand(),
                _ = measure.tick() => self.measure().await,
            }
        }
    }

    /// A caller that has left does not stop what it asked for, so nobody may take the reply.
    async fn obey(&mut self, command: Command) {
        match command {
            Command::Load { model, reply } => {
                let _ = reply.send(self.keep(model));
            }
            Command::Unload { id, reply } => {
                let _ = reply.send(self.let_go(&id).await);
            }
            Command::Probe { reply } => {
                let _ = reply.send(self.probes());
            }
            Command::ShutDown { .. } => {}
        }
    }

    fn keep(&mut self, model: Arc<Model>) -> watch::Receiver<LoadStatus> {
        self.models.entry(model.spec.id.clone()).or_insert_with(|| Kept::new(model)).follow()
    }

    async fn let_go(&mut self, id: &str) -> u32 {
        if let Some(kept) = self.models.remove(id) {
            kept.let_go();
        }
        let of_model = self.workers.iter().filter(|(_, worker)| &*worker.model == id);
        let ids: Vec<_> = of_model.map(|(id, _)| id.clone()).collect();
        let mut ended = 0;
        for id in ids {
            ended += u32::from(self.end_worker(&id).await.is_some_and(|worker| worker.replica.is_some()));
        }
        ended
    }

    /// Takes a worker out and has its page end it: nothing else gives its memory back.
    async fn end_worker(&mut self, id: &Arc<str>) -> Option<Worker> {
        let worker = self.workers.remove(id)?;
        if let Some(replica) = &worker.replica {
            self.replicas.remove(replica);
        }
        if let Some(page) = self.page(worker.browser) {
            // A page that is gone has taken its workers along.
            let _ = page.end_worker(id.to_string()).await;
        }
        Some(worker)
    }

    fn page(&self, id: BrowserId) -> Option<&Link> {
        let place = self.places.get(id.place).filter(|place| place.slot.epoch() == id.epoch)?;
        place.browser.as_ref().map(|(_, page)| page)
    }

    fn start_browsers(&mut self) {
        let now = Instant::now();
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.slot.due().is_some_and(|due| due <= now) {
                let id = BrowserId { place: index, epoch: place.slot.start() };
                tracing::info!(browser = %id, "starting");
                let (driver, bridge, tell) = (self.driver.clone(), self.bridge.clone(), self.tell.clone());
                self.tasks.spawn(tasks::keep_browser(id, driver, bridge, self.settings.dial_back_deadline, tell));
            }
        }
    }

    fn start_workers(&mut self) {
        let workers_at = |place| self.workers.values().filter(|worker| worker.browser.place == place).count();
        let room = |(place, _)| Room { place, workers: workers_at(place) };
        // A page may be gone before its browser is known to be lost.
        let is_linked = |place: &Place| place.browser.as_ref().is_some_and(|(_, page)| page.is_open());
        let linked = self.places.iter().enumerate().filter(|(_, place)| is_linked(place));
        let mut rooms: Vec<_> = linked.map(room).collect();
        let ids: Vec<_> = self.models.keys().cloned().collect();
        let demands: Vec<_> = self.models.iter().map(|(id, kept)| self.demand(id, kept)).collect();
        for (model, places) in ids.iter().zip(placement::place(&mut rooms, &demands)) {
            for place in places {
                self.start_worker(model, place);
            }
        }
    }

    fn demand(&self, id: &str, kept: &Kept) -> Demand {
        let ready = self.ready_replicas(id) as usize;
        let all = self.workers.values().filter(|worker| &*worker.model == id && !worker.leaving).count();
        kept.demand(ready, all - ready)
    }

    fn ready_replicas(&self, model: &str) -> u32 {
        let serves = |worker: &&Worker| &*worker.model == model && worker.replica.is_some() && !worker.leaving;
        let ready = self.workers.values().filter(serves);
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }

    /// Bytes that those workers of a model have read that still load.
    fn reading(&self, model: &str) -> u64 {
        let loading = self.workers.values().filter(|worker| &*worker.model == model && worker.replica.is_none());
        loading.map(|worker| worker.loaded_bytes).sum()
    }

    fn start_worker(&mut self, model: &Arc<str>, index: usize) {
        let (Some(kept), Some(place)) = (self.models.get(model), self.places.get(index)) else { return };
        let Some((running, page)) = &place.browser else { return };
        self.last_worker += 1;
        let id: Arc<str> = format!("worker-{}", self.last_worker).into();
        let browser = BrowserId { place: index, epoch: place.slot.epoch() };
        let new = NewWorker {
            id: id.clone(),
            page: page.clone(),
            info: running.info.clone(),
            model: kept.model.clone(),
            fallback: kept.fallback.clone(),
            dial_back: self.settings.dial_back_deadline,
            load: self.settings.load_deadline,
        };
        self.tasks.spawn(tasks::keep_worker(new, self.bridge.clone(), self.tell.clone()));
        let (model, state) = (model.clone(), WorkerState::Starting);
        self.workers.insert(id, Worker { browser, model, state, loaded_bytes: 0, replica: None, leaving: false });
    }

    async fn take(&mut self, what: Happened) {
        match what {
            Happened::BrowserUp(id, running, page) => {
                tracing::info!(browser = %id, product = running.info.product, version = running.info.version, "ready");
                if let Some(place) = self.places.get_mut(id.place) {
                    place.slot.ready(Instant::now());
                    place.browser = Some((running, page));
                }
            }
            Happened::BrowserFailed(id, reason) => {
                tracing::error!(browser = %id, "{reason}");
                self.lose_browser(id, reason.clone()).await;
                if self.places.iter().all(|place| place.slot.due().is_some()) {
                    self.models.values().for_each(|kept| kept.no_browser(&reason));
                }
            }
            Happened::BrowserLost(id, reason) => {
                tracing::warn!(browser = %id, "lost: {reason}");
                metrics::browser_ended();
                self.lose_browser(id, reason).await;
            }
            Happened::WorkerBroke(id, reason) => self.lose_worker(&id, WorkerEnd::Lost(reason)).await,
            Happened::WorkerLinked(id) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.state = WorkerState::Loading;
                }
            }
            Happened::WorkerProgress(id, progress) => self.progress(&id, progress),
            Happened::WorkerUp(id, replica, took) => self.worker_up(&id, replica, took),
            Happened::WorkerEnded(id, end) => self.lose_worker(&id, end).await,
        }
    }

    fn worker_up(&mut self, id: &Arc<str>, replica: Arc<Replica>, took: Duration) {
        // It may have been unloaded meanwhile; its page has ended it then.
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.state = WorkerState::Ready;
        worker.replica = Some(replica.clone());
        let model = worker.model.clone();
        let runtime = &replica.runtime;
        tracing::info!(
            worker = %id, %model, backend = runtime.backend_used.name(), dtype = runtime.dtype,
            hardware = runtime.hardware.name(), threads = runtime.threads, ?took, "ready"
        );
        metrics::model_loaded(&model, took);
        self.replicas.add(replica);
        let (ready, reading) = (self.ready_replicas(&model), self.reading(&model));
        if let Some(kept) = self.models.get_mut(&model) {
            kept.gained(ready, reading);
        }
    }

    fn progress(&mut self, id: &Arc<str>, progress: Progress) {
        // The last step of a load may be told after its end: the two come by different ways.
        let Some(worker) = self.workers.get_mut(id).filter(|worker| worker.replica.is_none()) else { return };
        if let Progress::Files(_, bytes) = progress {
            worker.loaded_bytes = bytes;
        }
        let model = worker.model.clone();
        if let Some(kept) = self.models.get(&model) {
            kept.progressed(progress, self.reading(&model));
        }
    }

    async fn lose_browser(&mut self, id: BrowserId, reason: Arc<str>) {
        let Some(place) = self.places.get_mut(id.place).filter(|place| place.slot.epoch() == id.epoch) else { return };
        place.slot.lose(Instant::now(), reason.clone());
        place.memory = Memory::default();
        // Dropping it ends the process tree, whatever is left of it.
        place.browser = None;
        let of_browser = self.workers.iter().filter(|(_, worker)| worker.browser == id);
        let ids: Vec<_> = of_browser.map(|(id, _)| id.clone()).collect();
        for worker in ids {
            self.lose_worker(&worker, WorkerEnd::Lost(reason.clone())).await;
        }
    }

    async fn lose_worker(&mut self, id: &Arc<str>, end: WorkerEnd) {
        let Some(worker) = self.end_worker(id).await else { return };
        metrics::worker_ended();
        let model = worker.model.clone();
        let ready = self.ready_replicas(&model);
        let Some(kept) = self.models.get_mut(&model) else { return };
        match kept.lost(end, worker.replica.is_none(), ready) {
            Verdict::Again(reason) => tracing::warn!(worker = %id, %model, "lost: {reason}"),
            Verdict::FallBack(reason) => tracing::warn!(worker = %id, %model, "falling back to wasm: {reason}"),
            Verdict::GiveUp(message) => tracing::error!(worker = %id, %model, "could not be loaded: {message}"),
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
            page.close("the service ends");
            running.end().await;
        });
        futures_util::future::join_all(end).await;
    }
}
