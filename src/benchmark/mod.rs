//! Benchmark: measures the cells of a plan in workers of its own, through the door for all work, and keeps what was found.
//!
//! What is measured when, when it counts and what it means is said by `webinfer_bench`; here it is done. One run at a time,
//! as a task of its own, which ends with its caller.

mod asked;
mod kept;
mod machine;
mod parted;
mod power;
mod round;
mod runner;
mod subject;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use webinfer_bench::{
    Cell, Known, Listed, Plan, Row, RowState, Rule, Run, RunId, RunState, Selector,
    record::Difference,
    stats::{Compared, compare_runs},
};

pub use asked::Given;
use kept::{Kept, told};
use runner::Runner;

use crate::{
    admission::Admission,
    browser::KINDS,
    drain::Drain,
    error::Error,
    execution::Backend,
    models::{Dtype, Registry},
    pool::Pool,
    trace::Tracer,
};

/// How it is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// File of what was found; without one it is forgotten at the end.
    pub history: Option<PathBuf>,
    /// Memory for replicas, in bytes.
    pub model_memory: u64,
    /// Time in which a replica has to be loaded.
    pub load_deadline: Duration,
    /// Most bytes of a request.
    pub max_message_bytes: usize,
}

/// What it works with.
pub struct Parts {
    /// The door.
    pub admission: Admission,
    /// What is registered.
    pub registry: Arc<Registry>,
    /// The browsers.
    pub pool: Pool,
    /// Makes the requests' traces.
    pub tracer: Tracer,
    /// Tells when to end.
    pub drain: Drain,
}

/// What somebody wants measured.
#[derive(Debug)]
pub struct Order {
    /// What.
    pub what: What,
    /// What the models are asked.
    pub given: Given,
    /// Whether a cell fails that has software in a GPU's place.
    pub require_hardware: bool,
}

/// A new run, or one to go on with.
#[derive(Debug)]
pub enum What {
    /// A new one of this plan.
    Plan(Box<Plan>),
    /// The one that is named so.
    Resume(String),
}

/// How far a run is.
#[derive(Clone, Debug)]
pub struct Step {
    /// Id of the run.
    pub id: RunId,
    /// What is being done.
    pub phase: Phase,
    /// For which cell.
    pub cell: Option<Cell>,
    /// Rows that are done, and all.
    pub rows: (usize, usize),
    /// Rounds that are over or will not come, and all.
    pub rounds: (usize, usize),
    /// Time that it should still take; `None` where nothing is known.
    pub remaining: Option<Duration>,
    /// A row that is done just now.
    pub row: Option<Box<Row>>,
    /// Cores of the machine, on which its marks depend.
    pub cores: u32,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A model is being loaded.
    Load,
    /// Requests become steady.
    WarmUp,
    /// A round.
    Round,
    /// All is done.
    Done,
}

/// The commit of which this program was built; empty where that is not known. What was not committed is not in it.
const COMMIT: &str = env!("BUILT_OF_COMMIT");
/// Steps that wait for a caller who does not read. Further ones are dropped: what was found is kept anyway.
const STEPS: usize = 256;
/// Time that a run which has told its end may take to give up its turn.
const ENDING: Duration = Duration::from_secs(1);
/// When to come back where another run goes on.
const BUSY: Duration = Duration::from_secs(10);
/// Runs of a list.
const MOST_LISTED: u32 = 1000;

/// A handle. Cheap to clone.
#[derive(Clone)]
pub struct Benchmarks {
    settings: Arc<Settings>,
    parts: Arc<Parts>,
    kept: Kept,
    turn: Arc<Semaphore>,
}

impl Benchmarks {
    /// Over these parts.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        let kept = Kept::new(settings.history.clone());
        Self { settings: Arc::new(settings), parts: Arc::new(parts), kept, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Begins a run. It ends early where the receiver is dropped.
    pub async fn run(&self, order: Order) -> Result<(RunId, mpsc::Receiver<Result<Step, Error>>), Error> {
        let working = self.parts.drain.enter().ok_or(Error::ShuttingDown)?;
        let Ok(Ok(turn)) = timeout(ENDING, self.turn.clone().acquire_owned()).await else {
            let what = "a benchmark is running, and there is one at a time".into();
            return Err(Error::Overloaded { what, retry_after: BUSY });
        };
        let Some(claim) = self.kept.claim().await? else {
            let what = "another process measures into the same history, and there is one at a time".into();
            return Err(Error::Overloaded { what, retry_after: BUSY });
        };
        let Order { what, given, require_hardware } = order;
        let run = match what {
            What::Plan(plan) => self.begin(*plan).await?,
            What::Resume(id) => self.resume(&id, &given).await?,
        };
        let id = run.id.clone();
        let (sender, receiver) = mpsc::channel(STEPS);
        let (settings, parts, kept) = (self.settings.clone(), self.parts.clone(), self.kept.clone());
        let runner = Runner::new((settings, parts), kept, run, (given, require_hardware), sender);
        tokio::spawn(async move {
            runner.run().await;
            drop((claim, turn, working));
        });
        Ok((id, receiver))
    }

    /// The runs that are kept, the latest first.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        self.kept.with(|history| history.list(MOST_LISTED)).await
    }

    /// The run that is named so.
    pub async fn get(&self, id: &str) -> Result<Run, Error> {
        let selector: Selector = id.parse().map_err(|message: String| Error::invalid("id", message))?;
        self.kept.with(move |history| history.get(&selector)).await
    }

    /// How a run stands to an earlier one.
    pub async fn compare(&self, base: &str, other: &str) -> Result<Compared, Error> {
        let (base, other) = (self.get(base).await?, self.get(other).await?);
        Ok(compare_runs(&base, &other, &Rule::default()))
    }

    async fn begin(&self, plan: Plan) -> Result<Run, Error> {
        let models = self.parts.registry.list().iter().map(|model| model.spec.id.to_string()).collect();
        let known = Known {
            models,
            browsers: KINDS.iter().map(|kind| kind.name.to_owned()).collect(),
            backends: Backend::ALL.iter().map(|backend| backend.name().to_owned()).collect(),
            dtypes: Dtype::ALL.iter().map(|dtype| (dtype.name().to_owned(), dtype.bits())).collect(),
        };
        plan.check(&known).map_err(told)?;
        let (now, machine) = (unix_ms(SystemTime::now()), here().await?);
        let mut run = Run::new(RunId::new(now, rand::random()), now, plan, machine);
        run.service_version = env!("CARGO_PKG_VERSION").to_owned();
        run.commit = COMMIT.to_owned();
        let own = run.clone();
        self.kept.with(move |history| history.begin(&own)).await?;
        Ok(run)
    }

    /// A run to go on with, where all is as it was.
    async fn resume(&self, id: &str, given: &Given) -> Result<Run, Error> {
        let run = self.get(id).await?;
        if run.state == RunState::Complete {
            return Err(Error::invalid("resume", format!("all of {} was measured already", run.id)));
        }
        let asked = run.rows.iter().filter_map(|row| Some(&row.conditions.as_ref()?.asked));
        if let Some(asked) = asked.into_iter().find(|asked| !given.is_like(asked)) {
            let message = format!("{} was asked {}: give the same inputs and parameters again", run.id, asked.what);
            return Err(Error::invalid("items", message));
        }
        let is_gone = |row: &&Row| row.state == RowState::Pending && self.parts.registry.get(&row.cell.model).is_err();
        if let Some(row) = run.rows.iter().find(is_gone) {
            let message =
                format!("{} is not here, of which {} has rows: give the same models again", row.cell.model, run.id);
            return Err(Error::invalid("resume", message));
        }
        let own = run.clone();
        run.resumable_on(&here().await?, env!("CARGO_PKG_VERSION"), COMMIT)
            .map_err(|differences| Error::invalid("resume", format!("{} {}", own.id, in_words(&differences))))?;
        self.kept.with(move |history| history.set_state(&own.id, RunState::Running, None)).await?;
        Ok(run)
    }
}

/// Why rounds of then and now cannot be put together.
fn in_words(differences: &[Difference]) -> String {
    let word = |Difference { what, was, is }: &Difference| format!("{what} was {was:?} and is {is:?}");
    let words = differences.iter().map(word).collect::<Vec<_>>().join("; ");
    format!("cannot go on as it began: {words}")
}

async fn here() -> Result<webinfer_bench::Machine, Error> {
    let machine = tokio::task::spawn_blocking(machine::machine).await;
    machine.map_err(|error| Error::Internal(error.to_string()))
}

/// Milliseconds since 1970.
fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
