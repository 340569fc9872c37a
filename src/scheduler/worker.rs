//! Worker: the task that holds the queues and what was learned. It wakes when jobs come, when a batch has ended, when the
//! pool changes, and when a batch has been held back for long enough.

mod flying;
mod hedging;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{Id, JoinSet},
    time::sleep_until,
};

use flying::{Ended, Flying, What};
use hedging::Hedge;

use super::{
    Explanation, Parts, Request, Settings,
    cross::{self, Cross},
    kinds::Server,
    lane::{Lane, Most, Step},
    race,
};
use crate::{
    activity::Activity,
    error::Error,
    execution::Runtime,
    job::{Job, Key},
    ledger::{Ledger, Pace},
    metrics,
    partials::Teller,
    pool::{ModelStatus, Patience, Pool, Replica, View, Waiting},
    quarantine::Quarantine,
};

/// A run that takes so many times longer than it should has a stuck worker; but not before the time below: machines
/// pause, too.
const OVERDUE: u32 = 20;
const OVERDUE_LEAST: Duration = Duration::from_secs(10);
/// Models beyond which nothing is taken over of one that has not run.
const MOST_SEEDED: usize = 1024;
/// How often dead jobs are swept out, whose turn has not come, and how often the pace is noted.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// Runs until all handles are gone.
pub async fn run(settings: Settings, parts: Parts, mut incoming: mpsc::Receiver<Request>) {
    let pool = parts.pool.clone();
    let mut view = pool.watch();
    let mut state = State::new(settings, parts);
    loop {
        let now = Instant::now();
        let wake = state.dispatch(now);
        let late = state.hedge(now);
        tokio::select! {
            request = incoming.recv() => match request {
                Some(request) => state.take(request),
                None => return,
            },
            Some(ended) = state.running.join_next_with_id() => state.end(ended),
            Some(_) = state.checking.join_next() => {}
            () = pool.room() => {}
            Ok(()) = view.changed() => state.check(&view.borrow_and_update()),
            () = sleep_until(wake.into()), if state.waits() => {}
            () = sleep_until(late.unwrap_or(wake).into()), if late.is_some() => {}
        }
        while let Ok(request) = incoming.try_recv() {
            state.take(request);
        }
        while let Some(ended) = state.running.try_join_next_with_id() {
            state.end(ended);
        }
    }
}

struct State {
    settings: Settings,
    pool: Pool,
    ledger: Arc<Ledger>,
    quarantine: Arc<Quarantine>,
    activity: Arc<Activity>,
    lanes: HashMap<Arc<str>, Lane<Job>>,
    running: JoinSet<Ended>,
    flying: HashMap<Id, Flying>,
    /// By the key of a job that has a run.
    twins: HashMap<Key, Twins>,
    swept: Instant,
    /// What is to be checked, and the checks that run.
    cross: Cross,
    checking: JoinSet<()>,
}

/// Jobs that share the run of the identical one that has it.
struct Twins {
    jobs: Vec<Job>,
    /// Tells the run how many wait for it beside its own jobs.
    others: watch::Sender<usize>,
    /// When the run has to be over at the latest, where its callers' deadlines bound it.
    end: Option<Instant>,
}

impl Twins {
    fn push(&mut self, job: Job) {
        self.jobs.push(job);
        self.others.send_modify(|others| *others += 1);
    }

    fn purge(&mut self, now: Instant) {
        let before = self.jobs.len();
        self.jobs.retain(|job| !job.is_dead(now));
        let gone = before - self.jobs.len();
        if gone > 0 {
            self.others.send_modify(|others| *others -= gone);
        }
    }
}

impl State {
    fn new(settings: Settings, Parts { pool, ledger, quarantine, activity }: Parts) -> Self {
        Self {
            cross: Cross::new(settings.cross_check),
            checking: JoinSet::new(),
            settings,
            pool,
            ledger,
            quarantine,
            activity,
            lanes: HashMap::new(),
            running: JoinSet::new(),
            flying: HashMap::new(),
            twins: HashMap::new(),
            swept: Instant::now(),
        }
    }

    /// Does what it is told, and answers what it is asked. Who asked may have left.
    fn take(&mut self, request: Request) {
        let now = Instant::now();
        match request {
            Request::Jobs(jobs) => self.push(jobs),
            Request::Seed(model, costs) if self.lanes.len() < MOST_SEEDED || self.lanes.contains_key(&model) => {
                let lane = self.lane(&model);
                costs.into_iter().for_each(|(kind, cost)| lane.seed(kind, cost, now));
            }
            Request::Seed(..) => {}
            Request::Costs(sender) => {
                let of = |(model, lane): (&Arc<str>, &Lane<Job>)| {
                    lane.costs(now).map(|(kind, cost)| (model.clone(), kind.clone(), cost)).collect::<Vec<_>>()
                };
                let _ = sender.send(self.lanes.iter().flat_map(of).collect());
            }
            Request::Explain(model, sender) => {
                let _ = sender.send(self.explain(&model, now));
            }
        }
    }

    fn explain(&mut self, model: &Arc<str>, now: Instant) -> Option<Explanation> {
        let replicas = self.pool.serving(model);
        let most = self.most(replicas.first()?);
        let servers: Vec<_> = replicas.iter().map(server).collect();
        Some(self.lane(model).explain(&servers, most, now))
    }

    fn push(&mut self, jobs: Vec<Job>) {
        for mut job in jobs {
            match job.key.as_ref().and_then(|key| self.twins.get_mut(key)) {
                Some(twins) if twins.end.is_none_or(|end| job.deadline <= end) => twins.push(job),
                // It would wait for longer than the run may take, and so has one of its own.
                Some(_) => {
                    job.key = None;
                    self.lane(&job.model.clone()).queue.push(job);
                }
                None => self.lane(&job.model.clone()).queue.push(job),
            }
        }
    }

    fn lane(&mut self, model: &Arc<str>) -> &mut Lane<Job> {
        self.lanes.entry(model.clone()).or_default()
    }

    fn waits(&self) -> bool {
        let joined = || self.twins.values().any(|twins| !twins.jobs.is_empty());
        self.cross.waits() || joined() || self.lanes.values().any(|lane| lane.queue.len() > 0)
    }

    /// Hands out what can go. Returns when to look again.
    fn dispatch(&mut self, now: Instant) -> Instant {
        let sweep = now.saturating_duration_since(self.swept) >= SWEEP_EVERY;
        if sweep {
            self.swept = now;
            self.twins.values_mut().for_each(|twins| twins.purge(now));
        }
        let mut wake = now + SWEEP_EVERY;
        for model in self.lanes.keys().cloned().collect::<Vec<_>>() {
            wake = wake.min(self.dispatch_model(&model, now).unwrap_or(wake));
            if sweep {
                self.sweep(&model, now);
            }
        }
        self.check_answers(now);
        if sweep {
            self.show_queues(now);
        }
        wake
    }

    /// Has answers checked by replicas that have nothing to do.
    fn check_answers(&mut self, now: Instant) {
        while let Some((sample, lease)) = self.cross.next(&self.pool, now) {
            self.checking.spawn(cross::check(sample, lease, self.settings.run_deadline, self.pool.clone()));
        }
    }

    /// Tells how much waits where that has changed.
    fn show_queues(&mut self, now: Instant) {
        for (model, lane) in &mut self.lanes {
            let waiting = lane.queue.len();
            if std::mem::replace(&mut lane.shown, waiting) != waiting {
                metrics::queue_items(model, waiting);
                self.activity.queued(model, waiting, now);
            }
        }
    }

    fn dispatch_model(&mut self, model: &Arc<str>, now: Instant) -> Option<Instant> {
        let replicas = self.pool.serving(model);
        let servers: Vec<_> = replicas.iter().map(server).collect();
        let most = self.most(replicas.first()?);
        loop {
            let lane = self.lanes.get_mut(model)?;
            let (index, batch, ticket) = match lane.next(&servers, most, now) {
                Step::Hand(index, batch, ticket) => (index, batch, ticket),
                Step::Hold(until) => return Some(until),
                Step::Wait => return None,
            };
            // Identical jobs leave the queue together: one of them runs.
            let keys: Vec<_> = batch.iter().map(|job| job.key.clone()).collect();
            let twins: Vec<_> = keys.iter().flatten().map(|key| (key.clone(), lane.queue.take_same(key))).collect();
            let expected = lane.hand(servers[index], ticket, now);
            lane.budget.earn(self.settings.hedge);
            let replica = replicas[index].clone();
            let lease = self.pool.lease(&replica);
            let all = batch.iter().chain(twins.iter().flat_map(|(_, twins)| twins));
            let last = all.map(|job| job.deadline).max().unwrap_or(now);
            let patience = self.patience(&replica, last, expected, now);
            let end = replica.open_ended.then(|| now + patience.run);
            let (others, sharing) = watch::channel(0);
            for (key, same) in twins {
                let mut twins = Twins { jobs: Vec::new(), others: others.clone(), end };
                same.into_iter().for_each(|job| twins.push(job));
                self.twins.insert(key, twins);
            }
            batch.iter().filter_map(|job| job.teller.as_ref()).for_each(Teller::begin);
            let (sender, second) = oneshot::channel();
            let hedge = (self.settings.hedge > 0.0).then(|| Hedge::new(&replica, &batch, sender)).flatten();
            let task = self.running.spawn(race::run(batch, sharing, (lease, patience), second).map(Ended::Batch));
            let what = What::First(keys, hedge);
            self.flying.insert(task.id(), Flying { model: model.clone(), replica, ticket, begun: now, what });
        }
    }

    /// How long a run may take that should take so long.
    /// `last` is when the last of those who wait for it no longer does.
    fn patience(&self, replica: &Replica, last: Instant, expected: Option<Duration>, now: Instant) -> Patience {
        let Settings { run_deadline, cancel_grace, .. } = self.settings;
        let run = if replica.open_ended {
            // Its callers say for how long they wait. The run goes on for a while after, until it stops.
            last.saturating_duration_since(now) + 2 * cancel_grace
        } else {
            // It waits for those before it.
            let longest = run_deadline.saturating_mul(replica.in_flight());
            expected.map_or(longest, |expected| longest.min(overdue(expected)))
        };
        // One that holds its thread hears of it only once those before are done, which are not at fault.
        let ahead = run_deadline.saturating_mul(replica.in_flight().saturating_sub(1));
        Patience { run, abandoned: cancel_grace.saturating_add(ahead) }
    }

    /// Drops the dead jobs of a model whose turn has not come, and notes its pace.
    fn sweep(&mut self, model: &Arc<str>, now: Instant) {
        let replicas = self.pool.serving(model);
        let Some(lane) = self.lanes.get_mut(model) else { return };
        drop(lane.queue.purge(now));
        let longest = lane
            .queue
            .iter()
            .map(|job| job.admitted)
            .min()
            .map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest));
        self.pool.set_waiting(model, Waiting { items: lane.queue.len(), longest });
        lane.forget(|id| replicas.iter().any(|replica| *replica.runtime.worker_id == *id));
        if let Some(first) = replicas.first() {
            let servers: Vec<_> = replicas.iter().map(server).collect();
            let most = self.most(first);
            if let Some(lane) = self.lanes.get(model) {
                self.ledger.set_pace(model, lane.pace(&servers, most));
            }
        }
    }

    fn most(&self, replica: &Replica) -> Most {
        Most {
            items: replica.max_batch,
            fixed: replica.fixed_batch,
            tokens: replica.pads.then_some(self.settings.max_batch_tokens),
            bytes: self.settings.max_batch_bytes,
            delay: self.settings.max_batch_delay,
        }
    }

    /// Answers the jobs of models that will not serve.
    fn check(&mut self, view: &View) {
        for (model, lane) in &mut self.lanes {
            let error = match view.model(model) {
                Some(ModelStatus::Loading | ModelStatus::Asleep | ModelStatus::Ready(_)) => continue,
                Some(ModelStatus::Failed(error) | ModelStatus::Simulated(error)) => error.clone(),
                None => Error::ModelNotLoaded { id: model.to_string() },
            };
            self.ledger.set_pace(model, Pace::default());
            for job in lane.queue.drain() {
                job.answer(Err(error.clone()));
            }
            // Its lane may be gone before the next look.
            if std::mem::take(&mut lane.shown) > 0 {
                metrics::queue_items(model, 0);
                self.activity.queued(model, 0, Instant::now());
            }
        }
        self.lanes.retain(|model, lane| view.model(model).is_some() || !lane.is_empty());
    }
}

/// When a run that should take so long shows that its worker is stuck.
fn overdue(expected: Duration) -> Duration {
    expected.saturating_mul(OVERDUE).max(OVERDUE_LEAST)
}

fn server(replica: &Arc<Replica>) -> Server<'_> {
    let Runtime { worker_id, browser, backend_used, dtype, .. } = &*replica.runtime;
    Server { id: worker_id, browser, backend: *backend_used, dtype }
}
