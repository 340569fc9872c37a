//! Runner: the task that measures a run, block by block, and keeps each round as it ends.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc;
use webinfer_bench::{
    BenchError, Conditions, Hardware, History, Reading, RowState, Run, RunState, Schedule, Turn, steady::Warmup,
};

use super::{
    Parts, Phase, Settings, Step,
    asked::Given,
    in_words,
    kept::Kept,
    machine,
    parted::parted,
    power::{self, Meters, POWERCAP},
    round::Ended,
    subject::{self, Subject},
    unix_ms,
};
use crate::{
    error::{Error, shorten},
    metrics,
    pool::ModelStatus,
};

/// Backends that compute on the CPU by design: no energy of a GPU is theirs, and nothing has to be proved of them.
const ON_CPU: [&str; 2] = ["wasm", "webnn-cpu"];

/// What a caller is told.
type Steps = mpsc::Sender<Result<Step, Error>>;

/// A run that goes on.
pub struct Runner {
    settings: Arc<Settings>,
    parts: Arc<Parts>,
    kept: Kept,
    run: Run,
    given: Given,
    require_hardware: bool,
    steps: Steps,
    meters: Meters,
    /// Under what rows were measured before this: by model.
    before: Vec<(String, Conditions)>,
    /// Load average before it.
    load: Option<f64>,
    /// When it began, and how many rounds were over then.
    begun: (Instant, usize),
}

impl Runner {
    /// One that has done nothing yet; `asked` is what the models are, and whether hardware has to be proved.
    pub fn new(
        (settings, parts): (Arc<Settings>, Arc<Parts>),
        kept: Kept,
        run: Run,
        (given, require_hardware): (Given, bool),
        steps: Steps,
    ) -> Self {
        let on_gpu = |backend: &String| !ON_CPU.contains(&backend.as_str());
        let meters = Meters::find(Path::new(POWERCAP), run.plan.backends.iter().any(on_gpu));
        let known = run.rows.iter().filter_map(|row| Some((row.cell.model.clone(), row.conditions.clone()?)));
        let (before, load, begun) = (known.collect(), machine::load_average(), (Instant::now(), 0));
        let mut runner =
            Self { settings, parts, kept, run, given, require_hardware, steps, meters, before, load, begun };
        runner.begun.1 = runner.rounds().0;
        runner
    }

    /// Measures all that is missing, or as much as its caller waits for. What it has loaded is gone then.
    pub async fn run(mut self) {
        let (steps, drain) = (self.steps.clone(), self.parts.drain.clone());
        let result = tokio::select! {
            result = self.measure() => result,
            () = steps.closed() => Ok(()),
            () = drain.begun() => Err(Error::ShuttingDown),
        };
        for slot in 0..self.run.plan.at_once as usize {
            subject::end(&self.parts, &subject::id(slot)).await;
        }
        let complete = self.run.rows.iter().all(|row| row.state != RowState::Pending);
        let state = if complete { RunState::Complete } else { RunState::Interrupted };
        let (id, now) = (self.run.id.clone(), unix_ms(SystemTime::now()));
        let kept = self.kept.with(move |history| history.set_state(&id, state, Some(now))).await;
        match result.and(kept) {
            Ok(()) => self.tell(Phase::Done, None, false),
            Err(error) => {
                tracing::warn!(run = %self.run.id, %error, "a benchmark ended early");
                // A caller who does not read learns of it by `Get`.
                let _ = steps.try_send(Err(error));
            }
        }
    }

    async fn measure(&mut self) -> Result<(), Error> {
        let missing: BTreeMap<usize, Vec<u32>> = self.run.remaining().into_iter().collect();
        let pending: Vec<_> = missing.keys().copied().collect();
        let plan = &self.run.plan;
        for block in Schedule::new(&pending, plan.rounds, plan.at_once, plan.seed).blocks {
            let is_missing = |turn: &Turn| missing.get(&turn.cell).is_some_and(|rounds| rounds.contains(&turn.round));
            let turns: Vec<_> = block.turns.into_iter().filter(is_missing).collect();
            self.block(&block.cells, &turns).await?;
        }
        Ok(())
    }

    /// Measures cells that should be loaded together, as far as memory allows.
    async fn block(&mut self, cells: &[usize], turns: &[Turn]) -> Result<(), Error> {
        let mut subjects = Vec::new();
        for (slot, &index) in cells.iter().enumerate() {
            let cell = self.run.rows[index].cell.clone();
            match Subject::register((&self.settings, &self.parts), (index, &cell), slot, &self.given).await {
                Ok(subject) => subjects.push(subject),
                Err(ended) => self.give_up(index, ended).await?,
            }
        }
        let bytes: Vec<_> = subjects.iter().map(Subject::bytes).collect();
        for part in parted(&bytes, self.room()) {
            self.together(&mut subjects[part], turns).await?;
        }
        Ok(())
    }

    /// Measures cells that are loaded together, in turn.
    async fn together(&mut self, subjects: &mut [Subject], turns: &[Turn]) -> Result<(), Error> {
        for subject in &mut *subjects {
            if let Err(ended) = self.prepare(subject).await {
                self.drop_out(subject, ended).await?;
            }
        }
        for turn in turns {
            let Some(subject) = subjects.iter().find(|subject| subject.index == turn.cell) else { continue };
            if self.run.rows[turn.cell].state != RowState::Pending {
                continue;
            }
            if let Err(ended) = self.round(subject, turn.round).await {
                self.drop_out(subject, ended).await?;
            }
        }
        for subject in &*subjects {
            subject.end(&self.parts).await;
        }
        Ok(())
    }

    /// Loads a cell, and has it become steady.
    async fn prepare(&mut self, subject: &mut Subject) -> Result<(), Ended> {
        let index = subject.index;
        self.tell(Phase::Load, Some(index), false);
        let loaded = subject.load(&self.parts, &self.settings).await?;
        self.check_like_before(index, &loaded.conditions)?;
        let row = &mut self.run.rows[index];
        row.conditions.get_or_insert(Conditions { load_before: self.load, ..loaded.conditions });
        row.agreement = loaded.agreement;
        (row.load_us, row.first_result_us) = (Some(micros(loaded.load)), Some(micros(loaded.first)));
        let proved = row.conditions.as_ref().is_some_and(is_proved);
        self.keep(index).await?;
        if self.require_hardware && !proved {
            let hardware = self.run.rows[index].hardware().name();
            return Err(Ended::Failed(format!("hardware is required, and what ran it is: {hardware}")));
        }
        self.tell(Phase::WarmUp, Some(index), false);
        let warm_up = Warmup::new(&self.run.plan.warmup);
        self.run.rows[index].warmed_up = Some(subject.callers.warm_up(warm_up).await?);
        self.keep(index).await
    }

    /// The run ends, and can go on another time, where it began under other conditions than it would go on under.
    fn check_like_before(&self, index: usize, is: &Conditions) -> Result<(), Ended> {
        let row = &self.run.rows[index];
        let differences = match &row.conditions {
            Some(was) => was.differences(is),
            None => {
                let of_model = |(model, was): &(String, Conditions)| {
                    let mut differences = was.differences_of_place(is);
                    if *model == row.cell.model {
                        differences.extend(was.asked.difference(&is.asked));
                    }
                    differences
                };
                self.before.iter().map(of_model).find(|differences| !differences.is_empty()).unwrap_or_default()
            }
        };
        if differences.is_empty() {
            return Ok(());
        }
        Err(Ended::Over(Error::invalid("resume", format!("{} {}", self.run.id, in_words(&differences)))))
    }

    /// Measures a round, and keeps it. With the last one the row is done.
    async fn round(&mut self, subject: &Subject, round: u32) -> Result<(), Ended> {
        let index = subject.index;
        subject.check(&self.parts)?;
        self.tell(Phase::Round, Some(index), false);
        // Others ran meanwhile: the first requests do not count.
        subject.callers.once().await?;
        let before = self.meters.read(self.is_on_gpu(index));
        let round = subject.callers.round(round, self.run.plan.round_time).await?;
        let joules = self.joules(index, before);
        let memory = subject.memory(&self.parts).await;
        let all = self.run.plan.rounds as usize;
        let row = &mut self.run.rows[index];
        row.energy = match (&row.energy, row.rounds.is_empty(), joules) {
            (_, true, Ok(joules)) => Reading::Read(joules),
            (Reading::Read(sum), _, Ok(joules)) => Reading::Read(sum + joules),
            (Reading::Missing(reason), false, _) => Reading::Missing(reason.clone()),
            (_, _, Err(reason)) => Reading::Missing(reason),
        };
        if row.memory.value().map(|memory| memory.bytes) <= memory.value().map(|memory| memory.bytes) {
            row.memory = memory;
        }
        row.rounds.push(round.clone());
        row.rounds.sort_by_key(|round| round.index);
        if row.rounds.len() == all {
            row.state = RowState::Measured;
            if let Some(conditions) = &mut row.conditions {
                conditions.load_after = machine::load_average();
            }
        }
        let (id, row) = (self.run.id.clone(), row.clone());
        self.history(move |history| history.keep_round(&id, index, &round, &row)).await?;
        if self.run.rows[index].state == RowState::Measured {
            self.tell_done(index);
        }
        Ok(())
    }

    /// Joules since a reading, of the GPUs too where one was to compute.
    fn joules(&self, index: usize, before: Result<power::Reading, String>) -> Result<f64, String> {
        let after = self.meters.read(self.is_on_gpu(index))?;
        self.meters.between(&before?, &after)
    }

    fn is_on_gpu(&self, index: usize) -> bool {
        !ON_CPU.contains(&self.run.rows[index].cell.backend.as_str())
    }

    /// A cell is not measured any further, and its model is unloaded.
    async fn drop_out(&mut self, subject: &Subject, ended: Ended) -> Result<(), Error> {
        subject.end(&self.parts).await;
        self.give_up(subject.index, ended).await
    }

    async fn give_up(&mut self, index: usize, ended: Ended) -> Result<(), Error> {
        let row = &mut self.run.rows[index];
        row.state = match ended {
            // A page's own words may be long.
            Ended::Failed(reason) => RowState::Failed { reason: shorten(&reason) },
            Ended::Lost(reason) => RowState::Lost { reason: shorten(&reason) },
            Ended::Over(error) => return Err(error),
        };
        let (id, row) = (self.run.id.clone(), row.clone());
        self.kept.with(move |history| history.keep_row(&id, index, &row)).await?;
        self.tell_done(index);
        Ok(())
    }

    /// Tells that a row is done, which is kept.
    fn tell_done(&self, index: usize) {
        metrics::benchmarked(&self.run.rows[index]);
        self.tell(Phase::Round, Some(index), true);
    }

    async fn keep(&self, index: usize) -> Result<(), Ended> {
        let (id, row) = (self.run.id.clone(), self.run.rows[index].clone());
        self.history(move |history| history.keep_row(&id, index, &row)).await
    }

    async fn history(
        &self,
        work: impl FnOnce(&mut History) -> Result<(), BenchError> + Send + 'static,
    ) -> Result<(), Ended> {
        self.kept.with(work).await.map_err(Ended::Over)
    }

    /// Memory that is left beside the models of others.
    fn room(&self) -> u64 {
        let view = self.parts.pool.view();
        let loaded = view.models.iter().filter_map(|(id, status)| match status {
            ModelStatus::Ready(replicas) => Some((self.parts.registry.get(id).ok()?, *replicas)),
            _ => None,
        });
        let bytes = loaded.map(|(model, replicas)| model.replica_bytes().saturating_mul(u64::from(replicas)));
        self.settings.model_memory.saturating_sub(bytes.fold(0, u64::saturating_add))
    }

    /// Rounds that are over or will not come, and all.
    fn rounds(&self) -> (usize, usize) {
        let each = self.run.plan.rounds as usize;
        let over = self.run.rows.iter().map(|row| if row.state == RowState::Pending { row.rounds.len() } else { each });
        (over.sum(), self.run.rows.len() * each)
    }

    fn tell(&self, phase: Phase, index: Option<usize>, done: bool) {
        let rows = &self.run.rows;
        let (over, all) = self.rounds();
        let (begun, before) = self.begun;
        let measured = over.saturating_sub(before);
        let remaining = (measured > 0).then(|| begun.elapsed().mul_f64((all - over) as f64 / measured as f64));
        let step = Step {
            id: self.run.id.clone(),
            phase,
            cell: index.map(|index| rows[index].cell.clone()),
            rows: (rows.iter().filter(|row| row.state != RowState::Pending).count(), rows.len()),
            rounds: (over, all),
            remaining,
            row: index.filter(|_| done).map(|index| Box::new(rows[index].clone())),
            cores: self.run.machine.cores,
        };
        // Who does not read misses steps, and nothing else.
        let _ = self.steps.try_send(Ok(step));
    }
}

/// Whether what was to compute did: a CPU by design, or what is known to be a GPU.
fn is_proved(conditions: &Conditions) -> bool {
    ON_CPU.contains(&conditions.backend.as_str()) || conditions.hardware == Hardware::Gpu
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
