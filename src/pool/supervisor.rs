//! Supervisor: the task that owns the browsers, the workers and the models to be kept loaded. It reacts to commands and
//! to what its tasks tell, then starts whatever is missing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Settings,
    lease::{Replica, Replicas},
    placement::{self, Demand, Room},
    slot::{Slot, State},
    tasks::{self, BrowserId, Happened, NewWorker, Probe, WorkerEnd},
    view::{BrowserState, BrowserView, LoadStatus, ModelStatus, Phase, View, WorkerState, WorkerView},
};
use crate::{
    bridge::{Bridge, FailureKind, Link, Progress},
    browser::{self, Driver, Info, Memory, Running},
    error::Error,
    metrics,
    models::Model,
};

/// What others ask of the supervisor.
pub enum Command {
    /// Keep a model loaded.
    Load {
        model: Arc<Model>,
        reply: oneshot::Sender<watch::Receiver<LoadStatus>>,
    },
    /// Let go of a model.
    Unload { id: Arc<str>, reply: oneshot::Sender<u32> },
    /// Ask all pages what they can do.
    Probe {
        reply: oneshot::Sender<Vec<BoxFuture<'static, Option<Probe>>>>,
    },
    /// End all browsers.
    ShutDown { reply: oneshot::Sender<()> },
}

/// Events that wait for the supervisor.
const EVENTS: usize = 256;
/// How often memory is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Workers of a model that may be lost while loading before the load is given up.
const LOAD_ATTEMPTS: u32 = 3;

/// The task's state.
pub struct Supervisor {
    settings: Settings,
    driver: Arc<dyn Driver>,
    bridge: Bridge,
    replicas: Arc<Replicas>,
    view: watch::Sender<Arc<View>>,
    tell: mpsc::Sender<Happened>,
    happened: mpsc::Receiver<Happened>,
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

/// A model that is kept loaded.
struct Kept {
    model: Arc<Model>,
    status: watch::Sender<LoadStatus>,
    /// Workers lost while loading, in a row.
    lost: u32,
    /// Why it runs on WASM instead, if so.
    fallback: Option<String>,
    /// Why no replica is started any more.
    given_up: bool,
}

/// One worker.
struct Worker {
    browser: BrowserId,
    model: Arc<str>,
    state: WorkerState,
    replica: Option<Arc<Replica>>,
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
        let place = || Place {
            slot: Slot::new(now),
            browser: None,
            memory: Memory::default(),
        };
        let places = std::iter::repeat_with(place).take(settings.browsers).collect();
        let (models, workers) = (BTreeMap::new(), BTreeMap::new());
        let supervisor = Self {
            settings,
            driver,
            bridge,
            replicas,
            view,
            tell,
            happened,
            places,
            models,
            workers,
            last_worker: 0,
        };
        (supervisor, receiver)
    }

    /// Runs until it is told to shut down, or until nobody can tell it anything.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut measure = interval(MEASURE_EVERY);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_browsers();
            self.start_workers().await;
            self.publish();
            let due = self.places.iter().filter_map(|place| place.slot.due()).min();
            let wake = due.map_or(futures_util::future::pending().left_future(), |due| {
                sleep_until(due.into()).right_future()
            });
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Load { model, reply }) => {
                        // A caller that left does not stop the load.
                        let _ = reply.send(self.keep(model));
                    }
                    Some(Command::Unload { id, reply }) => {
                        let ended = self.let_go(&id).await;
                        let _ = reply.send(ended);
                    }
                    Some(Command::Probe { reply }) => {
                        let _ = reply.send(self.probes());
                    }
                    Some(Command::ShutDown { reply }) => {
                        self.end_browsers().await;
                        let _ = reply.send(());
                        return;
                    }
                    None => return self.end_browsers().await,
                },
                Some(what) = self.happened.recv() => self.take(what).await,
                () = wake => {}
                _ = measure.tick() => self.measure().await,
            }
        }
    }

    fn keep(&mut self, model: Arc<Model>) -> watch::Receiver<LoadStatus> {
        let id = model.spec.id.clone();
        let ready = self.ready_replicas(&id);
        let kept = self.models.entry(id).or_insert_with(|| {
            let status = LoadStatus {
                phase: Phase::Prepare,
                file: String::new(),
                loaded_bytes: 0,
                total_bytes: model.bytes(),
                ready: 0,
                replicas: model.spec.replicas,
                begun: Instant::now(),
                error: None,
            };
            Kept {
                model,
                status: watch::channel(status).0,
                lost: 0,
                fallback: None,
                given_up: false,
            }
        });
        let serves = kept.status.borrow().phase == Phase::Ready;
        if !serves && ready == 0 && kept.status.borrow().error.is_some() {
            kept.given_up = false;
            kept.lost = 0;
            kept.status.send_modify(|status| {
                status.error = None;
                status.phase = Phase::Prepare;
                status.loaded_bytes = 0;
                status.begun = Instant::now();
            });
        }
        kept.status.subscribe()
    }

    async fn let_go(&mut self, id: &str) -> u32 {
        if let Some(kept) = self.models.remove(id) {
            kept.status
                .send_modify(|status| status.error = Some(Error::ModelNotLoaded { id: id.to_owned() }));
        }
        let ids: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| &*worker.model == id)
            .map(|(id, _)| id.clone())
            .collect();
        let mut ended = 0;
        for id in ids {
            ended += u32::from(
                self.end_worker(&id)
                    .await
                    .is_some_and(|worker| worker.replica.is_some()),
            );
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
        let place = self
            .places
            .get(id.place)
            .filter(|place| place.slot.epoch() == id.epoch)?;
        place.browser.as_ref().map(|(_, page)| page)
    }

    fn start_browsers(&mut self) {
        let now = Instant::now();
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.slot.due().is_some_and(|due| due <= now) {
                let id = BrowserId {
                    place: index,
                    epoch: place.slot.start(),
                };
                tracing::info!(browser = %id, "starting");
                let (driver, bridge, tell) = (self.driver.clone(), self.bridge.clone(), self.tell.clone());
                tokio::spawn(tasks::keep_browser(
                    id,
                    driver,
                    bridge,
                    self.settings.dial_back_deadline,
                    tell,
                ));
            }
        }
    }

    async fn start_workers(&mut self) {
        let workers_at = |place| {
            self.workers
                .values()
                .filter(|worker| worker.browser.place == place)
                .count()
        };
        let mut rooms: Vec<_> = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.browser.is_some())
            .map(|(place, _)| Room {
                place,
                workers: workers_at(place),
            })
            .collect();
        let wanting: Vec<_> = self
            .models
            .iter()
            .filter(|(_, kept)| !kept.given_up)
            .map(|(id, _)| id.clone())
            .collect();
        let demands: Vec<_> = wanting.iter().map(|id| self.demand(id)).collect();
        for (model, places) in wanting.iter().zip(placement::place(&mut rooms, &demands)) {
            for place in places {
                self.start_worker(model, place);
            }
        }
    }

    fn demand(&self, model: &Arc<str>) -> Demand {
        let wanted = self
            .models
            .get(model)
            .map_or(0, |kept| kept.model.spec.replicas as usize);
        let ready = self.ready_replicas(model) as usize;
        let all = self.workers.values().filter(|worker| worker.model == *model).count();
        Demand {
            wanted,
            ready,
            coming: all - ready,
        }
    }

    fn ready_replicas(&self, model: &str) -> u32 {
        let ready = |worker: &&Worker| &*worker.model == model && worker.replica.is_some();
        u32::try_from(self.workers.values().filter(ready).count()).unwrap_or(u32::MAX)
    }

    fn start_worker(&mut self, model: &Arc<str>, place: usize) {
        let Some(kept) = self.models.get(model) else { return };
        let Some((running, page)) = self.places.get(place).and_then(|place| place.browser.as_ref()) else {
            return;
        };
        self.last_worker += 1;
        let id: Arc<str> = format!("worker-{}", self.last_worker).into();
        let browser = BrowserId {
            place,
            epoch: self.places[place].slot.epoch(),
        };
        let new = NewWorker {
            id: id.clone(),
            page: page.clone(),
            info: running.info.clone(),
            model: kept.model.clone(),
            fallback: kept.fallback.clone(),
            dial_back: self.settings.dial_back_deadline,
            load: self.settings.load_deadline,
        };
        tokio::spawn(tasks::keep_worker(new, self.bridge.clone(), self.tell.clone()));
        self.workers.insert(
            id,
            Worker {
                browser,
                model: model.clone(),
                state: WorkerState::Starting,
                replica: None,
            },
        );
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
                    self.report_no_browser(&reason);
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
        let ready = self.ready_replicas(&model);
        if let Some(kept) = self.models.get_mut(&model) {
            kept.lost = 0;
            kept.status.send_modify(|status| {
                status.ready = ready;
                status.error = None;
                status.loaded_bytes = if ready >= status.replicas {
                    status.total_bytes
                } else {
                    0
                };
                status.phase = if ready >= status.replicas {
                    Phase::Ready
                } else {
                    Phase::Prepare
                };
            });
        }
    }

    fn progress(&mut self, id: &Arc<str>, progress: Progress) {
        let Some(kept) = self
            .workers
            .get(id)
            .and_then(|worker| self.models.get_mut(&worker.model))
        else {
            return;
        };
        kept.status.send_modify(|status| {
            status.phase = match progress {
                Progress::Files(file, bytes) => {
                    status.file = file;
                    status.loaded_bytes = bytes.min(status.total_bytes);
                    Phase::Files
                }
                Progress::Compile => Phase::Compile,
                Progress::WarmUp => Phase::WarmUp,
            };
        });
    }

    async fn lose_browser(&mut self, id: BrowserId, reason: Arc<str>) {
        let Some(place) = self
            .places
            .get_mut(id.place)
            .filter(|place| place.slot.epoch() == id.epoch)
        else {
            return;
        };
        place.slot.lose(Instant::now(), reason.clone());
        place.memory = Memory::default();
        // Dropping it ends the process tree, whatever is left of it.
        place.browser = None;
        let ids: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.browser == id)
            .map(|(id, _)| id.clone())
            .collect();
        for worker in ids {
            self.lose_worker(&worker, WorkerEnd::Lost(reason.clone())).await;
        }
    }

    async fn lose_worker(&mut self, id: &Arc<str>, end: WorkerEnd) {
        let Some(worker) = self.end_worker(id).await else {
            return;
        };
        let model = worker.model.clone();
        let ready = self.ready_replicas(&model);
        metrics::worker_ended();
        let Some(kept) = self.models.get_mut(&model) else {
            return;
        };
        let was_loading = worker.replica.is_none();
        let failure = match end {
            WorkerEnd::Lost(reason) => {
                tracing::warn!(worker = %id, %model, "lost: {reason}");
                kept.lost += u32::from(was_loading);
                (kept.lost >= LOAD_ATTEMPTS)
                    .then(|| format!("{} workers were lost while loading it: {reason}", kept.lost))
            }
            WorkerEnd::LoadFailed(FailureKind::NoBackend, reason)
                if kept.model.spec.allow_fallback && kept.fallback.is_none() =>
            {
                tracing::warn!(worker = %id, %model, "falling back to wasm: {reason}");
                kept.fallback = Some(reason);
                None
            }
            WorkerEnd::LoadFailed(_, message) => Some(message),
        };
        if let Some(message) = failure {
            tracing::error!(worker = %id, %model, "could not be loaded: {message}");
            kept.given_up = true;
            let id = model.to_string();
            kept.status
                .send_modify(|status| status.error = Some(Error::LoadFailed { id, message }));
        }
        kept.status.send_modify(|status| {
            status.ready = ready;
            if status.phase == Phase::Ready {
                status.phase = Phase::Prepare;
            }
        });
    }

    /// Tells those who wait for a load that no browser is there. The models stay wanted: a browser that comes up later
    /// loads them.
    fn report_no_browser(&self, reason: &Arc<str>) {
        for kept in self.models.values() {
            let error = Error::NoBrowser {
                reason: reason.to_string(),
            };
            kept.status.send_modify(|status| status.error = Some(error));
        }
    }

    fn probes(&self) -> Vec<BoxFuture<'static, Option<Probe>>> {
        let deadline = self.settings.probe_deadline;
        let probe = |(index, place): (usize, &Place)| {
            let (running, page) = place.browser.as_ref()?;
            let browser = BrowserId {
                place: index,
                epoch: place.slot.epoch(),
            }
            .to_string();
            let (info, page) = (running.info.clone(), page.clone());
            let pid = info.pid;
            let probe = async move {
                let page = timeout(deadline, page.probe()).await.ok()?.ok()?;
                let sandboxed = tokio::task::spawn_blocking(move || browser::is_sandboxed(pid))
                    .await
                    .unwrap_or(false);
                Some(Probe {
                    browser,
                    info,
                    sandboxed,
                    page,
                })
            };
            Some(probe.boxed())
        };
        self.places.iter().enumerate().filter_map(probe).collect()
    }

    async fn measure(&mut self) {
        for (index, place) in self.places.iter_mut().enumerate() {
            let pid = place.browser.as_ref().map_or(0, |(running, _)| running.info.pid);
            if pid != 0 {
                let measured = tokio::task::spawn_blocking(move || browser::tree_memory(pid)).await;
                place.memory = measured.unwrap_or_default();
            }
            metrics::browser_memory(index, place.memory.bytes);
        }
    }

    fn publish(&self) {
        let view = View {
            browsers: self.view_browsers(),
            models: self.view_models(),
        };
        for (name, state) in [
            ("starting", BrowserState::Starting),
            ("ready", BrowserState::Ready),
            ("backing_off", BrowserState::BackingOff),
        ] {
            metrics::browsers(
                name,
                view.browsers.iter().filter(|browser| browser.state == state).count(),
            );
        }
        for (name, state) in [
            ("starting", WorkerState::Starting),
            ("loading", WorkerState::Loading),
            ("ready", WorkerState::Ready),
        ] {
            metrics::workers(
                name,
                self.workers.values().filter(|worker| worker.state == state).count(),
            );
        }
        self.view.send_replace(Arc::new(view));
    }

    fn view_browsers(&self) -> Vec<BrowserView> {
        let browser = |(index, place): (usize, &Place)| {
            let id = BrowserId {
                place: index,
                epoch: place.slot.epoch(),
            };
            let (state, reason) = match place.slot.state() {
                State::Starting => (BrowserState::Starting, "it is being started".into()),
                State::Ready(_) => (BrowserState::Ready, "".into()),
                State::BackingOff { reason, .. } => (BrowserState::BackingOff, reason.clone()),
            };
            let workers = self
                .workers
                .iter()
                .filter(|(_, worker)| worker.browser == id)
                .map(|(id, worker)| WorkerView {
                    id: id.clone(),
                    model: worker.model.clone(),
                    state: worker.state,
                    replica: worker.replica.clone(),
                });
            BrowserView {
                id: id.to_string(),
                info: place
                    .browser
                    .as_ref()
                    .map_or_else(Info::default, |(running, _)| running.info.clone()),
                state,
                reason,
                memory: place.memory,
                restarts: place.slot.epoch().saturating_sub(1),
                workers: workers.collect(),
            }
        };
        self.places.iter().enumerate().map(browser).collect()
    }

    fn view_models(&self) -> BTreeMap<Arc<str>, ModelStatus> {
        let status = |(id, kept): (&Arc<str>, &Kept)| {
            let status = match (self.ready_replicas(id), kept.status.borrow().error.clone()) {
                (0, None) => ModelStatus::Loading,
                (0, Some(error)) => ModelStatus::Failed(error),
                (ready, _) => ModelStatus::Ready(ready),
            };
            (id.clone(), status)
        };
        self.models.iter().map(status).collect()
    }

    async fn end_browsers(&mut self) {
        let running = self.places.iter_mut().filter_map(|place| place.browser.take());
        let end = running.map(|(running, page)| async move {
            page.close("the service ends");
            running.end().await;
        });
        futures_util::future::join_all(end).await;
    }
}
