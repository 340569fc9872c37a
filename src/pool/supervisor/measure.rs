//! Measure: what models cost where is noted, tried out where it is not known, and acted on.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Place, Supervisor, Worker};
use crate::{
    browser::Info,
    error::Error,
    execution::{Backend, Runtime},
    knowledge::{self, Circumstance, Cost, VerdictRow},
    models::Model,
    pool::{
        choice::{self, Choice},
        costs::{Learned, Shot},
        examine::Exam,
        explain::{Candidate, Figure},
        kept::Kept,
        roster::Duty,
        start::Start,
        tasks::{BrowserId, Happened, send},
        trial::{self, Tried, Verdict},
        view::WorkerState,
    },
};

impl Supervisor {
    /// How a replica is examined: its runs are timed where there is a choice, and they were not timed lately.
    pub(super) fn exam(&self, kept: &Kept, info: &Info, backend: Backend) -> Exam {
        let choice = kept.model.spec.allowed().len() > 1 || self.drivers.len() > 1;
        let known = !kept.costs.of(&info.name(), backend, SystemTime::now()).is_empty();
        if choice && !known { Exam::Measure } else { Exam::Check }
    }

    /// Asks for what was measured of a model before.
    pub(super) fn recall(&mut self, model: &Arc<Model>) {
        let (knowledge, tell, model) = (self.knowledge.clone(), self.tell.clone(), model.clone());
        self.tasks.spawn(async move {
            // Without its hash nothing was ever noted of it; its load tells why there is none.
            let Ok(sha256) = model.sha256().await else { return };
            let costs = knowledge.costs(&sha256).await;
            send(&tell, Happened::CostsKnown(model.spec.id.clone(), costs)).await;
        });
    }

    pub(super) fn costs_known(&mut self, model: &Arc<str>, costs: Vec<Cost>) {
        let Some(kept) = self.models.get_mut(model) else { return };
        let dtype = kept.model.spec.dtypes.name();
        for Cost { circumstance, class, items, micros_per_item: micros, runs, measured } in costs {
            if circumstance.dtype == dtype && circumstance.threads == threads(&kept.model, circumstance.backend) {
                let browser = format!("{} {}", circumstance.browser, circumstance.browser_version);
                kept.costs.note(&browser, circumstance.backend, Shot { class, items, micros, runs }, measured);
            }
        }
    }

    /// Takes in what a replica's runs cost.
    pub(super) fn note_cost(&mut self, info: &Info, runtime: &Runtime, shot: Shot, measured: SystemTime) {
        let Some(kept) = self.models.get_mut(&runtime.model) else { return };
        kept.costs.note(&info.name(), runtime.backend_used, shot, measured);
        self.knowledge.keep_cost(Cost {
            circumstance: circumstance(info, runtime),
            class: shot.class,
            items: shot.items,
            micros_per_item: shot.micros,
            runs: shot.runs,
            measured,
        });
    }

    /// Takes in that a replica answers as the reference does.
    pub(super) fn note_right(&self, info: &Info, runtime: &Runtime, took: Duration) {
        let Some(check) = &runtime.check else { return };
        self.knowledge.keep_verdict(VerdictRow {
            circumstance: circumstance(info, runtime),
            verdict: knowledge::Verdict::Right,
            agreement: Some((check.measure.to_owned(), check.value, check.least)),
            reason: String::new(),
            load_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            measured: SystemTime::now(),
        });
    }

    /// What is known of the costs of a model where it serves now.
    pub(super) fn costs(&self, model: &Arc<str>) -> Vec<Learned> {
        let Some(kept) = self.models.get(model) else { return Vec::new() };
        let (now, mut all) = (SystemTime::now(), Vec::new());
        for (info, runtime) in self.kinds_of(model) {
            all.extend(kept.costs.of(&info.name(), runtime.backend_used, now).into_iter().map(|known| Learned {
                model: model.clone(),
                browser: info.product.clone(),
                backend: runtime.backend_used,
                dtype: runtime.dtype.clone(),
                shot: known.shot,
                age: now.duration_since(known.at).unwrap_or_default(),
            }));
        }
        all
    }

    /// Takes in what was learned while a model served, where it still does so.
    pub(super) fn learn(&mut self, learned: Learned) {
        let Learned { model, browser, backend, dtype, shot, age } = learned;
        let is_meant = |(info, runtime): &(&Info, &Arc<Runtime>)| {
            info.product == browser && runtime.backend_used == backend && runtime.dtype == dtype
        };
        let kind = self.kinds_of(&model).find(is_meant).map(|(info, runtime)| (info.clone(), runtime.clone()));
        if let Some((info, runtime)) = kind {
            let measured = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
            self.note_cost(&info, &runtime, shot, measured);
        }
    }

    /// The browsers in which a model serves, and what its replicas there are; of several alike one.
    fn kinds_of(&self, model: &Arc<str>) -> impl Iterator<Item = (&Info, &Arc<Runtime>)> {
        let mut kinds: Vec<(&Info, &Arc<Runtime>)> = Vec::new();
        for worker in self.workers.values().filter(|worker| worker.model == *model && self.is_on_duty(worker)) {
            let browser = self.places.get(worker.browser.place).and_then(|place| place.browser.as_ref());
            let Some(((running, _), replica)) = browser.zip(worker.replica.as_ref()) else { continue };
            let (info, runtime) = (&running.info, &replica.runtime);
            if !kinds.iter().any(|(other, known)| other.name() == info.name() && known.is_like(runtime)) {
                kinds.push((info, runtime));
            }
        }
        kinds.into_iter()
    }

    /// Tries out a backend that a model may run on and that was not measured yet. One at a time, and not while anything is
    /// being loaded: it takes from what serves.
    pub(super) fn explore(&mut self) {
        if self.trying || self.workers.values().any(|worker| worker.replica.is_none()) {
            return;
        }
        let Some((start, browser)) = self.next_trial() else { return };
        let (name, backend) = (start.info.name(), start.backend);
        tracing::info!(model = %start.model.spec.id, browser = name, backend = backend.name(), "tried out");
        if let Some(kept) = self.models.get_mut(&start.model.spec.id) {
            kept.tried.insert((name, backend));
        }
        self.trying = true;
        let tell = self.tell.clone();
        self.tasks.spawn(async move {
            let tried = Box::new(trial::try_out(start, browser).await);
            send(&tell, Happened::TriedOut(tried)).await;
        });
    }

    fn next_trial(&mut self) -> Option<(Start, BrowserId)> {
        let now = SystemTime::now();
        let used: u64 =
            self.models.iter().map(|(id, kept)| kept.model.replica_bytes() * u64::from(self.ready_replicas(id))).sum();
        let unknown = |kept: &Kept, info: &Info, lacks, backend| {
            kept.obstacle(info, backend, lacks).is_none()
                && !kept.tried.contains(&(info.name(), backend))
                && kept.costs.of(&info.name(), backend, now).is_empty()
        };
        for (id, kept) in &self.models {
            let fits = used + kept.model.replica_bytes() <= self.settings.model_memory;
            if kept.model.spec.allowed().len() < 2 || self.ready_replicas(id) == 0 || !fits {
                continue;
            }
            for (index, place) in self.places.iter().enumerate().filter(|(_, place)| place.duty == Duty::Serving) {
                let Some((running, _)) = &place.browser else { continue };
                let mut backends = kept.model.spec.allowed().iter().copied();
                if let Some(backend) = backends.find(|&backend| unknown(kept, &running.info, &place.lacks, backend)) {
                    let model = kept.model.clone();
                    return self.trial(index, model, backend);
                }
            }
        }
        None
    }

    /// A worker that tries a model out on a backend of the browser at a place.
    fn trial(&mut self, index: usize, model: Arc<Model>, backend: Backend) -> Option<(Start, BrowserId)> {
        let place =
            self.places.get(index).filter(|place| place.browser.as_ref().is_some_and(|(_, page)| page.is_open()))?;
        let browser = BrowserId { place: index, epoch: place.slot.epoch() };
        Some((Start { exam: Exam::Measure, ..self.start(index, model, backend)? }, browser))
    }

    /// A way to try a model out in each kind of browser that is up.
    pub(super) fn trials(&mut self, model: &Arc<Model>) -> Vec<(Start, BrowserId)> {
        let mut trials: Vec<(Start, BrowserId)> = Vec::new();
        for index in 0..self.places.len() {
            let Some(trial) = self.trial(index, model.clone(), model.spec.preferred()) else { continue };
            if !trials.iter().any(|(other, _)| other.info.name() == trial.0.info.name()) {
                trials.push(trial);
            }
        }
        trials
    }

    /// Acts on what a trial of a model in its own precision found.
    pub(super) fn tried_out(&mut self, tried: Tried) {
        self.trying = false;
        let Tried { browser, info, model, backend, verdict, .. } = &tried;
        let kind = backend.name();
        if let Some(row) = tried.row() {
            self.knowledge.keep_verdict(row);
        }
        let Some(kept) = self.models.get_mut(model) else { return };
        match verdict {
            Verdict::Right(right) => {
                let measured = SystemTime::now();
                for shot in &right.costs {
                    kept.costs.note(&info.name(), *backend, *shot, measured);
                    self.knowledge.keep_cost(tried.cost(right, *shot, measured));
                }
            }
            Verdict::Lacking(reason) => {
                let here = self.places.get_mut(browser.place).filter(|place| place.slot.epoch() == browser.epoch);
                here.into_iter().for_each(|place| drop(place.lacks.insert(*backend, reason.clone())));
            }
            Verdict::Wrong(reason) => {
                tracing::error!(%model, browser = info.product, backend = kind, "quarantined: {reason}");
                kept.is_unfit(&info.product, *backend, reason.clone());
            }
            Verdict::Failed(reason) => kept.is_unfit(&info.product, *backend, reason.clone()),
            Verdict::Lost(reason) => tracing::warn!(%model, browser = info.product, backend = kind, "lost: {reason}"),
        }
    }

    /// Moves replicas to a backend that is better by now, one of each model at a time. The new one comes up first; then the
    /// model has one too many, and the old one leaves.
    pub(super) fn move_to_better(&mut self) {
        let ids: Vec<_> = self.models.keys().cloned().collect();
        for id in ids {
            if self.workers.values().any(|worker| worker.model == id && worker.replica.is_none()) {
                continue;
            }
            let misplaced = |worker: &&Worker| worker.model == id && self.is_misplaced(worker);
            let place = self.workers.values().find(misplaced).map(|worker| worker.browser.place);
            place.into_iter().for_each(|place| self.start_worker(&id, place));
        }
    }

    /// Whether a replica serves on a backend that has an obstacle by now, or is measured to be slower than the chosen one.
    pub(super) fn is_misplaced(&self, worker: &Worker) -> bool {
        let (Some(kept), Some(place)) = (self.models.get(&worker.model), self.places.get(worker.browser.place)) else {
            return false;
        };
        let Some((running, _)) = place.browser.as_ref().filter(|_| self.is_on_duty(worker)) else { return false };
        let (_, backend, _) = &worker.circuit;
        let Ok(choice) = self.choose(kept, worker.browser.place) else { return false };
        let name = running.info.name();
        let times = kept.costs.ratio((&name, *backend), (&name, choice.backend), SystemTime::now());
        worker.state == WorkerState::Ready
            && choice.backend != *backend
            && (kept.obstacle(&running.info, *backend, &place.lacks).is_some()
                || times.is_some_and(|times| times > choice::WORTH_IT))
    }
}

impl Supervisor {
    /// What is known of each backend that a model may run on, by browser.
    pub(super) fn explain(&self, id: &str) -> Result<Vec<Candidate>, Error> {
        let kept = self.models.get(id).ok_or_else(|| Error::ModelNotLoaded { id: id.to_owned() })?;
        let serving = self.places.iter().enumerate().filter(|(_, place)| place.duty == Duty::Serving);
        let mut candidates = Vec::new();
        for (index, place) in serving {
            let Some((running, _)) = &place.browser else { continue };
            let choice = self.choose(kept, index).ok();
            let candidate =
                |&backend: &Backend| self.candidate(kept, (index, place, &running.info), backend, choice.as_ref());
            let mut here: Vec<_> = kept.model.spec.allowed().iter().map(candidate).collect();
            here.sort_by_key(|candidate| !candidate.chosen);
            candidates.extend(here);
        }
        Ok(candidates)
    }

    fn candidate(
        &self,
        kept: &Kept,
        (index, place, info): (usize, &Place, &Info),
        backend: Backend,
        choice: Option<&Choice>,
    ) -> Candidate {
        let (now, name, id) = (SystemTime::now(), info.name(), &kept.model.spec.id);
        let chosen = choice.is_some_and(|choice| choice.backend == backend);
        let obstacle = || kept.obstacle(info, backend, &place.lacks);
        let slower = || {
            let better = choice.filter(|choice| choice.backend != backend)?.backend;
            let times = kept.costs.ratio((&name, backend), (&name, better), now);
            let measured = times.map(|times| format!("it takes {times:.1} times as long as {}", better.name()));
            Some(measured.unwrap_or_else(|| format!("{} comes before it, and it was not measured yet", better.name())))
        };
        let serves = |worker: &&Worker| {
            worker.browser.place == index
                && worker.model == *id
                && worker.replica.is_some()
                && worker.circuit.1 == backend
        };
        Candidate {
            browser_id: BrowserId { place: index, epoch: place.slot.epoch() }.to_string(),
            backend,
            chosen,
            reason: obstacle().or_else(slower).unwrap_or_default(),
            costs: kept.costs.of(&name, backend, now).into_iter().map(|cost| Figure::of(cost, now)).collect(),
            workers: self.workers.iter().filter(|(_, worker)| serves(worker)).map(|(id, _)| id.to_string()).collect(),
            browser: name,
        }
    }
}

/// WASM threads of a model's replicas on a backend.
fn threads(model: &Model, backend: Backend) -> u32 {
    if backend == Backend::Wasm { model.spec.threads } else { 0 }
}

fn circumstance(info: &Info, runtime: &Runtime) -> Circumstance {
    Circumstance {
        model_sha256: runtime.model_sha256.clone(),
        browser: info.product.clone(),
        browser_version: info.version.clone(),
        backend: runtime.backend_used,
        dtype: runtime.dtype.clone(),
        adapter: runtime.adapter.clone(),
        threads: runtime.threads,
    }
}
