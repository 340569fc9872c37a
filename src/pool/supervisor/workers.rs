//! Workers: they are started where a replica is missing, come to serve, and are lost.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{Place, Supervisor, Worker, browsers::HOPELESS};
use crate::{
    bridge::{Inquiry, Link, Progress},
    browser::Info,
    execution::Backend,
    metrics,
    models::Model,
    pool::{
        breaker,
        choice::{self, Choice},
        costs::Shot,
        examine::Exam,
        kept::Kept,
        lease::Replica,
        placement::{self, Demand, Fit, Room},
        roster::Duty,
        slot::State,
        start::Start,
        tasks::BrowserId,
        view::WorkerState,
        worker::{self, NewWorker},
    },
};

impl Supervisor {
    pub(super) fn start_workers(&mut self) {
        // A page may be gone before its browser is known to be lost.
        let is_linked = |place: &Place| place.browser.as_ref().is_some_and(|(_, page)| page.is_open());
        let places = |duty| self.places.iter().enumerate().filter(move |(_, place)| place.duty == duty);
        let room = |(index, place): (usize, &Place)| {
            let up = is_linked(place);
            let soon = *place.slot.state() == State::Starting;
            (up || soon).then(|| Room { place: index, up, workers: self.workers_at(index).count() })
        };
        let mut rooms: Vec<_> = places(Duty::Serving).filter_map(room).collect();
        let ids: Vec<_> = self.models.keys().cloned().collect();
        let demands: Vec<_> = self.models.iter().map(|(id, kept)| self.demand(id, kept, &rooms)).collect();
        let mut starts: Vec<_> = ids.iter().cloned().zip(placement::place(&mut rooms, &demands)).collect();
        for (spare, _) in places(Duty::Spare).filter(|(_, place)| is_linked(place)) {
            starts.extend(ids.iter().map(|id| (id.clone(), vec![spare; self.spare_lacks(id, spare)])));
        }
        for (model, demand) in ids.iter().zip(&demands) {
            if demand.wanted > 0 && demand.ready + demand.coming == 0 {
                self.give_up_if_hopeless(model);
            }
        }
        for (model, places) in starts {
            for place in places {
                self.start_worker(&model, place);
            }
        }
    }

    /// Gives up a model that all browsers are known not to have a backend for, from loads of others.
    fn give_up_if_hopeless(&mut self, model: &Arc<str>) {
        let reasons = self.models.get(model).and_then(|kept| self.is_hopeless(kept));
        // Without a reason there is no browser at all, which is told where browsers fail.
        if let (Some(reasons), Some(kept)) = (reasons.filter(|reasons| !reasons.is_empty()), self.models.get_mut(model))
        {
            kept.give_up(reasons, true);
        }
    }

    fn workers_at(&self, place: usize) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(move |worker| worker.browser.place == place)
    }

    /// Replicas of a model that a browser which takes over should have.
    fn share_of_spare(&self, kept: &Kept) -> usize {
        let serving = self.scale.wanted().max(1);
        kept.wanted().div_ceil(serving)
    }

    /// The backend for a replica in the browser of a place, as far as is known.
    pub(super) fn choose(&self, kept: &Kept, place: usize) -> Result<Choice, String> {
        let place = &self.places[place];
        let unknown = Info::default();
        let info = place.browser.as_ref().map_or(&unknown, |(running, _)| &running.info);
        kept.choose(info, &place.lacks)
    }

    /// Why no browser can load a model, where none that is up or starting can.
    pub(super) fn is_hopeless(&self, kept: &Kept) -> Option<String> {
        let mut reasons = Vec::new();
        for (index, place) in self.places.iter().enumerate().filter(|(_, place)| place.duty == Duty::Serving) {
            match place.slot.state() {
                State::Starting => return None,
                State::Ready(_) => match self.choose(kept, index) {
                    Ok(_) => return None,
                    Err(reason) if reasons.contains(&reason) => {}
                    Err(reason) => reasons.push(reason),
                },
                State::BackingOff { .. } if place.slot.failures() < HOPELESS => return None,
                State::BackingOff { .. } => {}
            }
        }
        Some(reasons.join("; "))
    }

    /// Replicas of a model that a spare lacks. The model's first replica comes alone, in a browser that serves.
    fn spare_lacks(&self, model: &Arc<str>, spare: usize) -> usize {
        let Some(kept) = self.models.get(model) else { return 0 };
        let proven = self.workers.values().any(|worker| worker.model == *model && worker.replica.is_some())
            && self.choose(kept, spare).is_ok();
        let here = self.workers_at(spare).filter(|worker| worker.model == *model).count();
        if proven { self.share_of_spare(kept).saturating_sub(here) } else { 0 }
    }

    /// Whether a spare could take over: it has its replicas of all models that have one anywhere.
    pub(super) fn is_warm(&self, spare: usize) -> bool {
        let all_here = |(id, kept): (&Arc<str>, &Kept)| {
            let loaded = |worker: &&Worker| worker.model == *id && worker.replica.is_some();
            let here = self.workers_at(spare).filter(loaded).count();
            here >= self.share_of_spare(kept)
                || (self.choose(kept, spare).is_err() && !self.stands_alone(kept))
                || !self.workers.values().any(|worker| loaded(&worker))
        };
        self.models.iter().all(all_here)
    }

    /// Whether none but browsers that are lost or worn can run a model: a spare that cannot must not take over from them.
    fn stands_alone(&self, kept: &Kept) -> bool {
        let serving = || self.places.iter().enumerate().filter(|(_, place)| place.duty == Duty::Serving);
        let stays =
            |place: &Place| place.worn.is_none() && place.browser.as_ref().is_some_and(|(_, page)| page.is_open());
        let can = |index: usize| self.choose(kept, index).is_ok();
        serving().any(|(index, _)| can(index)) && !serving().any(|(index, place)| stays(place) && can(index))
    }

    /// Whether a worker belongs to those that serve, or will.
    pub(super) fn is_on_duty(&self, worker: &Worker) -> bool {
        !worker.leaving
            && !worker.checks
            && self.places.get(worker.browser.place).is_some_and(|place| place.duty == Duty::Serving)
    }

    fn demand(&self, id: &str, kept: &Kept, rooms: &[Room]) -> Demand {
        let ready = self.ready_replicas(id) as usize;
        let all = self.workers.values().filter(|worker| &*worker.model == id && self.is_on_duty(worker)).count();
        let fit = |room: &Room| {
            let choice = self.choose(kept, room.place).ok()?;
            let running = self.places[room.place].browser.as_ref().map(|(running, _)| running);
            if running.is_some_and(|running| self.is_blocked(&running.info.product, choice.backend, id)) {
                return None;
            }
            let kind = running.and_then(|running| running.info.kind);
            let guessed = choice::is_guessed(&self.settings.guesses, kept.model.spec.task, choice.backend, kind);
            Some(Fit { rank: choice.rank, strange: !guessed })
        };
        Demand { wanted: kept.wanted(), ready, coming: all - ready, fits: rooms.iter().map(fit).collect() }
    }

    /// Whether loads of a model on a backend of a kind of browser are stopped for a while.
    pub(super) fn is_blocked(&self, browser: &str, backend: Backend, model: &str) -> bool {
        let circuit = (browser.to_owned(), backend, Arc::from(model));
        self.breakers.get(&circuit).is_some_and(|breaker| breaker.state(Instant::now()) == breaker::State::Open)
    }

    pub(super) fn ready_replicas(&self, model: &str) -> u32 {
        let serves = |worker: &&Worker| &*worker.model == model && worker.replica.is_some() && self.is_on_duty(worker);
        let ready = self.workers.values().filter(serves);
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }

    /// Bytes that those workers of a model have read that still load.
    fn reading(&self, model: &str) -> u64 {
        let loading = self.workers.values().filter(|worker| &*worker.model == model && worker.replica.is_none());
        loading.filter(|worker| self.is_on_duty(worker)).map(|worker| worker.loaded_bytes).sum()
    }

    /// Starts a worker that is to serve, on the backend that is chosen there.
    pub(super) fn start_worker(&mut self, model: &Arc<str>, index: usize) {
        let choice = self.models.get(model).map(|kept| self.choose(kept, index));
        if let Some(Ok(choice)) = choice {
            self.start_worker_on(model, index, choice, false);
        }
    }

    /// The same on a given backend; one that `checks` does not serve.
    pub(super) fn start_worker_on(&mut self, model: &Arc<str>, index: usize, choice: Choice, checks: bool) {
        let (Some(kept), Some(place)) = (self.models.get(model), self.places.get(index)) else { return };
        let Some((running, _)) = &place.browser else { return };
        let circuit = (running.info.product.clone(), choice.backend, model.clone());
        let (exam, fate) = (self.exam(kept, &running.info, choice.backend), running.fate.clone());
        let placements = kept.placements(&running.info, choice.backend);
        let (kept, browser) = (kept.model.clone(), BrowserId { place: index, epoch: place.slot.epoch() });
        if !self.breakers.entry(circuit.clone()).or_default().begin(Instant::now()) {
            return;
        }
        let inquiry = Inquiry { placements: placements.is_none(), profile: false };
        let Some(start) = self.start(index, kept, choice.backend) else { return };
        let start = Start { exam, inquiry, ..start };
        let id = start.id.clone();
        let new = NewWorker { start, fate, choice, placements };
        self.tasks.spawn(worker::keep(new, self.tell.clone()));
        let (model, state) = (model.clone(), WorkerState::Starting);
        let worker = Worker { browser, model, circuit, state, loaded_bytes: 0, replica: None, leaving: false, checks };
        self.workers.insert(id, worker);
    }

    /// A worker of a model on a backend of the browser at a place, which is not examined and serves nobody, unless it is told
    /// otherwise.
    pub(super) fn start(&mut self, index: usize, model: Arc<Model>, backend: Backend) -> Option<Start> {
        let (running, page) = self.places.get(index)?.browser.as_ref()?;
        self.last_worker += 1;
        Some(Start {
            id: format!("worker-{}", self.last_worker).into(),
            page: page.clone(),
            info: running.info.clone(),
            log: running.log.clone(),
            model,
            backend,
            inquiry: Inquiry::default(),
            exam: Exam::None,
            ground: self.ground.clone(),
        })
    }

    pub(super) fn worker_up(&mut self, id: &Arc<str>, replica: Arc<Replica>, costs: Vec<Shot>, took: Duration) {
        // It may have been unloaded meanwhile; its page has ended it then.
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.state = WorkerState::Ready;
        worker.replica = Some(replica.clone());
        let (model, circuit, browser) = (worker.model.clone(), worker.circuit.clone(), worker.browser);
        let runtime = replica.runtime.clone();
        tracing::info!(
            worker = %id, %model, backend = runtime.backend_used.name(), dtype = runtime.dtype,
            hardware = runtime.hardware.name(), threads = runtime.threads, ?took,
            check = runtime.check.as_ref().map(tracing::field::display), "ready"
        );
        metrics::loaded(&runtime, took);
        self.breakers.entry(circuit).or_default().succeed(Instant::now());
        let on_duty = self.workers.get(id).is_some_and(|worker| self.is_on_duty(worker));
        if on_duty {
            self.replicas.add(replica);
        } else if self.workers.get(id).is_some_and(|worker| worker.checks) {
            self.replicas.add_checker(replica);
        }
        let (ready, reading) = (self.ready_replicas(&model), self.reading(&model));
        if let Some(kept) = self.models.get_mut(&model) {
            kept.gained(ready, reading);
        }
        let info = self.places.get(browser.place).and_then(|place| place.browser.as_ref());
        if let Some(info) = info.map(|(running, _)| running.info.clone()) {
            if let Some(kept) = self.models.get_mut(&model) {
                kept.note_placements(&info, &runtime);
            }
            costs.into_iter().for_each(|shot| self.note_cost(&info, &runtime, shot, SystemTime::now()));
            self.note_right(&info, &runtime, took);
        }
    }

    pub(super) fn progress(&mut self, id: &Arc<str>, progress: Progress) {
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

    /// Takes a worker out and has its page end it: nothing else gives its memory back.
    pub(super) async fn end_worker(&mut self, id: &Arc<str>) -> Option<Worker> {
        let worker = self.workers.remove(id)?;
        if let Some(replica) = &worker.replica {
            self.replicas.remove(replica);
            if let Some(place) = self.places.get_mut(worker.browser.place) {
                place.runs += replica.batches_run();
            }
        } else if let Some(breaker) = self.breakers.get_mut(&worker.circuit) {
            breaker.end();
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
}
