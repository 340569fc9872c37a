//! Browsers: they get their duties, are started, lost and replaced.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{Place, Supervisor, Worker};
use crate::{
    bridge::Link,
    browser::{Log, Memory, Running},
    error::Error,
    loss::{Cause, Loss},
    metrics,
    pool::{
        kept::Kept,
        roster::{self, Duty, Post, Target},
        slot::{Slot, State},
        tasks::{self, BrowserId, WorkerEnd},
        wear::Life,
    },
};

/// Starts in a row that fail, in all places, before callers are told that there is no browser.
pub(super) const HOPELESS: u32 = 3;

impl Supervisor {
    /// Gives each place its duty.
    pub(super) fn keep_roster(&mut self) {
        let target = Target { serving: self.scale.wanted(), spares: self.settings.spares };
        // For each kind a place more for the successor of one that is recycled, and one for it while it ends its work.
        let most = self.scale.bounds().most + target.spares + 2 * self.drivers.len();
        while self.places.len() < most {
            self.places.push(Place {
                slot: Slot::new(Instant::now()),
                duty: Duty::Off,
                browser: None,
                memory: Memory::default(),
                log: Log::default(),
                runs: 0,
                worn: None,
                lost: None,
                lacks: BTreeMap::new(),
                suspects: Vec::new(),
            });
        }
        loop {
            let posts: Vec<_> = (0..self.places.len()).map(|index| self.post(index)).collect();
            let Some((index, duty)) = roster::next(&posts, target) else { return };
            self.give_duty(index, duty);
        }
    }

    fn post(&self, index: usize) -> Post {
        let Place { duty, browser, worn, .. } = &self.places[index];
        let up = browser.as_ref().is_some_and(|(_, page)| page.is_open());
        let holds = |worker: &Worker| worker.replica.as_ref().is_some_and(|replica| replica.in_flight() > 0);
        let mut here = self.workers.values().filter(|worker| worker.browser.place == index);
        let warm = *duty == Duty::Spare && up && self.is_warm(index);
        let kind = index % self.drivers.len().max(1);
        Post { kind, duty: *duty, up, warm, worn: worn.is_some(), idle: !here.any(holds) }
    }

    fn give_duty(&mut self, index: usize, duty: Duty) {
        let place = &mut self.places[index];
        let id = BrowserId { place: index, epoch: place.slot.epoch() };
        let before = std::mem::replace(&mut place.duty, duty);
        match (before, duty) {
            (_, Duty::Off) => self.end_browser(index),
            (Duty::Spare, Duty::Serving) => tracing::info!(browser = %id, "takes over"),
            (Duty::Serving, Duty::Leaving) => tracing::info!(browser = %id, worn = place.worn, "ends its work"),
            _ => {}
        }
        let here =
            self.workers.values().filter(|worker| worker.browser.place == index && !worker.leaving && !worker.checks);
        for replica in here.filter_map(|worker| worker.replica.as_ref()) {
            match duty {
                Duty::Serving => self.replicas.add(replica.clone()),
                _ => self.replicas.remove(replica),
            }
        }
    }

    /// Ends the browser of a place at once.
    fn end_browser(&mut self, index: usize) {
        let (here, others) =
            std::mem::take(&mut self.workers).into_iter().partition(|(_, worker)| worker.browser.place == index);
        self.workers = others;
        let here: BTreeMap<Arc<str>, Worker> = here;
        for worker in here.into_values() {
            match worker.replica {
                Some(replica) => self.replicas.remove(&replica),
                None => self.breakers.entry(worker.circuit).or_default().end(),
            }
        }
        let place = &mut self.places[index];
        let id = BrowserId { place: index, epoch: place.slot.epoch() };
        if let Some(kind) = place.worn.take() {
            metrics::browser_recycled(kind);
        }
        place.memory = Memory::default();
        if let Some((running, page)) = place.browser.take() {
            let loss = tasks::ended("it is not needed any more");
            page.close(loss.clone());
            self.tasks.spawn(tasks::bury(id, running, loss, self.tell.clone()));
        }
        // What is only being started finds that it is not expected any more.
        place.slot.end(Instant::now());
    }

    pub(super) fn start_browsers(&mut self) {
        let now = Instant::now();
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.duty != Duty::Off && place.due().is_some_and(|due| due <= now) {
                let id = BrowserId { place: index, epoch: place.slot.start(now) };
                tracing::info!(browser = %id, "starting");
                metrics::browser_started();
                let Some(driver) = self.drivers.get(index % self.drivers.len().max(1)).cloned() else { continue };
                let (bridge, tell) = (self.ground.bridge.clone(), self.tell.clone());
                self.tasks.spawn(tasks::keep_browser(id, driver, bridge, self.settings.dial_back_deadline, tell));
            }
        }
    }

    pub(super) fn browser_up(&mut self, id: BrowserId, running: Running, page: Link) {
        let Some(place) = self.places.get_mut(id.place) else { return };
        if place.slot.epoch() != id.epoch || *place.slot.state() != State::Starting {
            // It was given up while it started; dropping it ends it.
            return;
        }
        let info = &running.info;
        tracing::info!(browser = %id, product = info.product, version = info.version, pid = info.pid, "ready");
        let now = Instant::now();
        metrics::browser_up(&info.product, place.slot.ready(now));
        place.runs = 0;
        place.lacks.clear();
        place.log = running.log.clone();
        place.browser = Some((running, page));
        self.models.values_mut().for_each(Kept::hope);
    }

    pub(super) async fn browser_failed(&mut self, id: BrowserId, loss: Loss) {
        tracing::error!(browser = %id, cause = loss.cause.name(), "{loss}");
        metrics::browser_ended(loss.cause);
        let reason = loss.detail.clone();
        self.lose_browser(id, loss).await;
        let on: Vec<_> = self.places.iter().filter(|place| place.duty != Duty::Off).collect();
        let is_hopeless = |place: &&Place| place.slot.due().is_some() && place.slot.failures() >= HOPELESS;
        if !on.is_empty() && on.iter().all(is_hopeless) {
            self.models.values().for_each(|kept| kept.no_browser(&reason));
        }
    }

    /// The place's browser is lost; its workers with it.
    pub(super) async fn lose_browser(&mut self, id: BrowserId, loss: Loss) {
        let Some(place) = self.places.get_mut(id.place).filter(|place| place.slot.epoch() == id.epoch) else { return };
        if place.slot.due().is_some() {
            return;
        }
        let runs = place.runs + runs_of(self.workers.values(), id.place);
        // One that somebody killed says nothing of the next.
        let of_use = runs > 0 || loss.cause.is_from_outside();
        let now = Instant::now();
        place.slot.lose(now, loss.clone(), of_use);
        (place.memory, place.worn) = (Memory::default(), None);
        if place.browser.is_some() {
            (place.lost, place.suspects) = (Some((id, now)), Vec::new());
        }
        if let Some((running, page)) = place.browser.take() {
            page.close(loss.clone());
            self.tasks.spawn(tasks::bury(id, running, loss.clone(), self.tell.clone()));
        }
        let of_browser = self.workers.iter().filter(|(_, worker)| worker.browser == id);
        let ids: Vec<_> = of_browser.map(|(id, _)| id.clone()).collect();
        for worker in ids {
            self.lose_worker(&worker, WorkerEnd::Lost(loss.clone())).await;
        }
    }

    /// Nothing is left of a browser; its cause is known as well as it ever will be.
    pub(super) fn browser_gone(&mut self, id: BrowserId, loss: &Loss) {
        if let Some(place) = self.places.get_mut(id.place).filter(|place| place.has_lost(id)) {
            if loss.cause.is_from_outside() && place.slot.epoch() == id.epoch {
                place.slot.pardon();
            }
            for circuit in std::mem::take(&mut place.suspects) {
                self.load_failed(&circuit, loss);
            }
        }
        if loss.cause == Cause::Ended {
            tracing::info!(browser = %id, "ended: {loss}");
        } else {
            let words =
                self.places.get(id.place).filter(|place| place.has_lost(id)).map(|place| place.log.last_words());
            tracing::warn!(browser = %id, cause = loss.cause.name(), words, "lost: {loss}");
            metrics::browser_ended(loss.cause);
        }
    }

    /// Finds out which browsers are worn.
    pub(super) fn note_wear(&mut self) {
        for index in 0..self.places.len() {
            let runs = runs_of(self.workers.values(), index);
            let place = &mut self.places[index];
            let State::Ready(since) = place.slot.state() else { continue };
            let life = Life { memory: place.memory.bytes, age: since.elapsed(), runs: place.runs + runs };
            if place.duty == Duty::Serving && place.worn.is_none() {
                place.worn = self.settings.wear.worn(life);
            }
        }
    }

    fn find_serving(&mut self, id: &str) -> Result<&mut Place, Error> {
        let mut places = self.places.iter_mut().enumerate();
        let found = places.find(|(index, place)| {
            let own = BrowserId { place: *index, epoch: place.slot.epoch() };
            own.to_string() == id && matches!(place.duty, Duty::Serving | Duty::Leaving) && place.browser.is_some()
        });
        found.map(|(_, place)| place).ok_or_else(|| Error::BrowserNotFound { id: id.to_owned() })
    }

    /// Has a browser replaced as soon as its successor is warm.
    pub(super) fn recycle(&mut self, id: &str) -> Result<(), Error> {
        self.find_serving(id)?.worn.get_or_insert("asked");
        Ok(())
    }

    /// Has a browser end once it has run what it holds, without a successor.
    pub(super) fn drain(&mut self, id: &str) -> Result<(), Error> {
        let last = self.scale.bounds().most == 1;
        let place = self.find_serving(id)?;
        if last {
            let message = "is the only one that may serve; recycle it, or raise the most with Scale first";
            return Err(Error::invalid("browser", message));
        }
        if place.duty == Duty::Serving {
            place.worn = Some("asked");
            self.scale.shrink();
        }
        Ok(())
    }

    /// Why the last browser of a place is gone, or what its state is called.
    pub(super) fn reason(place: &Place) -> Arc<str> {
        match (place.slot.state(), place.worn) {
            (State::Starting, _) => "it is being started".into(),
            (State::Ready(_), Some(worn)) => format!("it is to be replaced: {worn}").into(),
            (State::Ready(_), None) => "".into(),
            (State::BackingOff { loss, .. }, _) => loss.detail.clone(),
        }
    }

    /// The same in a word; empty where nothing is wrong.
    pub(super) fn short_reason(place: &Place) -> &'static str {
        match place.slot.state() {
            State::Starting => "",
            State::Ready(_) => place.worn.unwrap_or_default(),
            State::BackingOff { loss, .. } => loss.cause.name(),
        }
    }
}

/// Batches that the workers of a place have run.
fn runs_of<'a>(workers: impl Iterator<Item = &'a Worker>, place: usize) -> u64 {
    let here = workers.filter(|worker| worker.browser.place == place);
    here.filter_map(|worker| worker.replica.as_ref()).map(|replica| replica.batches_run()).sum()
}
