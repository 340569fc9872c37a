//! Round: callers that each send their next request once the last is answered, until they are to stop.
//!
//! They are inside the service, before its door: what a network and a client take is not measured here.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use webinfer_bench::{
    Round,
    record::{Hops, Recorder, WarmedUp},
    steady::Warmup,
};

use super::{asked::Questions, unix_ms};
use crate::{
    admission::{Admission, Request},
    error::Error,
    execution::{Execution, Timings},
    job::Answer,
    ledger::{Client, Priority},
    trace::{Said, Tracer},
};

/// Time for one request. A model that takes longer is not worth a round.
const PATIENCE: Duration = Duration::from_secs(300);
/// A caller's wait after a refusal, so that it is not tried in a tight loop.
const PAUSE: Duration = Duration::from_millis(20);
/// Failed requests of a round after which it is given up.
const MOST_FAILED: u64 = 100;
/// Name of the way by which the requests come, for their spans.
const METHOD: &str = "webinfer.v1.BenchmarkService/Run";
/// Under which name they count.
const CLIENT: &str = "webinfer-benchmark";

/// Why a cell cannot be measured any further.
#[derive(Clone, Debug)]
pub enum Ended {
    /// It cannot be measured.
    Failed(String),
    /// Its worker or browser was lost.
    Lost(String),
    /// The run ends: the service does, or what was found cannot be kept.
    Over(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match error {
            Error::ShuttingDown => Self::Over(error),
            Error::WorkerLost { .. } | Error::NoBrowser { .. } | Error::CircuitOpen { .. } => {
                Self::Lost(error.to_string())
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Sends the requests of one cell.
#[derive(Clone)]
pub struct Callers {
    /// The door.
    pub admission: Admission,
    /// Makes the requests' traces.
    pub tracer: Tracer,
    /// Id of the model.
    pub model: Arc<str>,
    /// What it is asked.
    pub questions: Arc<Questions>,
    /// Items of a request.
    pub batch: u32,
    /// How many callers.
    pub concurrency: u32,
}

/// What the callers of one loop share.
struct Loop {
    sent: AtomicU64,
    stop: CancellationToken,
    tally: Mutex<Tally>,
}

/// What came of the requests.
#[derive(Default)]
struct Tally {
    recorder: Recorder,
    items: u64,
    failed: u64,
    hops: Hops,
    /// When the last answer came.
    last: Option<Instant>,
    warm_up: Option<(Warmup, Instant)>,
    warmed_up: Option<WarmedUp>,
    ended: Option<Ended>,
}

impl Callers {
    /// One request, and the record of what ran it.
    pub async fn first(&self) -> Result<(Duration, Arc<Execution>), Ended> {
        let begun = Instant::now();
        let answers = self.send(0).await?;
        let took = begun.elapsed();
        let Some(Answer { execution, .. }) = answers.into_iter().next() else {
            return Err(Ended::Failed("a request has no answer".into()));
        };
        if execution.batch_size < self.batch {
            return Err(Ended::Failed(format!(
                "a request of {} items ran as batches of {}: raise --max-batch-tokens or --max-batch-bytes of the service, or \
                 measure smaller ones",
                self.batch, execution.batch_size
            )));
        }
        Ok((took, execution))
    }

    /// Sends requests until their times are steady.
    pub async fn warm_up(&self, warm_up: Warmup) -> Result<WarmedUp, Ended> {
        let tally = Tally { warm_up: Some((warm_up, Instant::now())), ..Tally::default() };
        let tally = self.run(tally, None).await?;
        tally.warmed_up.ok_or_else(|| Ended::Failed("the warm-up broke off".into()))
    }

    /// Each caller sends one request.
    pub async fn once(&self) -> Result<(), Ended> {
        self.run(Tally::default(), Some(Instant::now())).await.map(drop)
    }

    /// Sends requests for so long; each caller at least one.
    pub async fn round(&self, index: u32, time: Duration) -> Result<Round, Ended> {
        let (began, started_ms) = (Instant::now(), unix_ms(SystemTime::now()));
        let tally = self.run(Tally::default(), Some(began + time)).await?;
        let seconds = tally.last.map_or(0.0, |last| last.saturating_duration_since(began).as_secs_f64());
        let Tally { recorder, items, failed, hops, .. } = tally;
        if items == 0 {
            return Err(Ended::Failed(format!("not one request of a round was answered; {failed} failed")));
        }
        Ok(Round { index, started_ms, seconds, items, failed, latencies: recorder.latencies(), hops })
    }

    /// Ends once all callers have their last answer.
    async fn run(&self, tally: Tally, end: Option<Instant>) -> Result<Tally, Ended> {
        let shared =
            Arc::new(Loop { sent: AtomicU64::new(0), stop: CancellationToken::new(), tally: Mutex::new(tally) });
        let mut tasks = JoinSet::new();
        for _ in 0..self.concurrency {
            let (callers, shared) = (self.clone(), shared.clone());
            tasks.spawn(async move { callers.call(&shared, end).await });
        }
        while tasks.join_next().await.is_some() {}
        let tally = mem::take(&mut *shared.tally());
        match tally.ended {
            Some(ended) => Err(ended),
            None => Ok(tally),
        }
    }

    async fn call(&self, shared: &Loop, end: Option<Instant>) {
        loop {
            let number = shared.sent.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            let result = self.send(number).await;
            let now = Instant::now();
            let refused = shared.tally().note(result, begun, now);
            match refused {
                Err(()) => shared.stop.cancel(),
                Ok(true) => sleep(PAUSE).await,
                Ok(false) => {}
            }
            if shared.stop.is_cancelled() || end.is_some_and(|end| end <= now) {
                return;
            }
        }
    }

    async fn send(&self, number: u64) -> Result<Vec<Answer>, Error> {
        let items = self.questions.request(number, self.batch);
        let mut open = self.tracer.call(METHOD, Said::default()).request();
        open.about(&self.model, items.len());
        let request = Request {
            model: self.model.to_string(),
            items,
            parameters: self.questions.parameters.clone(),
            partials: None,
            deadline: Instant::now() + PATIENCE,
            client: Client::Named(CLIENT.into()),
            priority: Priority::Normal,
            measured: true,
            trace: open.request.clone(),
        };
        let result = self.admission.infer(request).await;
        open.end(result.as_ref().map(|answers| answers.first().map(|answer| &*answer.execution)));
        result
    }
}

impl Loop {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// Takes in what came of a request. Returns whether it was refused for now; an error where there is to be no further
    /// one.
    fn note(&mut self, result: Result<Vec<Answer>, Error>, begun: Instant, now: Instant) -> Result<bool, ()> {
        let answers = match result {
            Ok(answers) => answers,
            Err(error) => return self.fail(error),
        };
        if let Some(answer) = answers.iter().find(|answer| answer.execution.retries > 0) {
            let retries = answer.execution.retries;
            return self.end(Ended::Lost(format!("{retries} of its workers were lost while they ran a request")));
        }
        let took = now.saturating_duration_since(begun);
        self.recorder.record(took);
        self.items += answers.len() as u64;
        self.last = self.last.max(Some(now));
        let mut known: Option<&Arc<Execution>> = None;
        for Answer { execution, .. } in &answers {
            if known.is_none_or(|known| !Arc::ptr_eq(known, execution)) {
                self.hops = self.hops + hops(&execution.timings);
                known = Some(execution);
            }
        }
        if let Some((warm_up, since)) = &mut self.warm_up
            && self.warmed_up.is_none()
        {
            self.warmed_up = warm_up.push(took, now.saturating_duration_since(*since));
        }
        if self.warmed_up.is_some() { Err(()) } else { Ok(false) }
    }

    /// A request that fails after others were answered is counted; one before, or one too many, says that all will.
    fn fail(&mut self, error: Error) -> Result<bool, ()> {
        self.failed += 1;
        let refused = matches!(error, Error::Overloaded { .. } | Error::DeadlineTooShort { .. });
        let ended = Ended::from(error);
        if matches!(ended, Ended::Failed(_)) && self.failed <= MOST_FAILED && (refused || self.items > 0) {
            return Ok(refused);
        }
        self.end(ended)
    }

    fn end(&mut self, ended: Ended) -> Result<bool, ()> {
        self.ended.get_or_insert(ended);
        Err(())
    }
}

fn hops(timings: &Timings) -> Hops {
    let Timings { queue_us, bridge_us, preprocess_us, inference_us, postprocess_us } = *timings;
    Hops { batches: 1, queue_us, bridge_us, preprocess_us, inference_us, postprocess_us }
}
