//! Admission: the one door for work. It checks a request against its model and the limits, makes its jobs, and waits
//! for their answers.

mod cache;
mod items;
mod parameters;
mod probes;
mod profile;
mod record;

use std::{
    hash::RandomState,
    num::NonZero,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout_at};

use crate::{
    activity::Activity,
    cost,
    drain::Drain,
    error::Error,
    execution::Execution,
    job::{Answer, Input, Job, Key, Reply},
    ledger::{self, Account, Client, Ledger, Priority, Refusal},
    media::Media,
    metrics,
    models::{Model, Parameter, Registry},
    partials::Partials,
    pool::{ModelStatus, Pool},
    proto::v1,
    quarantine::Quarantine,
    scheduler::{Explanation, Scheduler},
    size::Size,
    trace,
};
use cache::Answers;
use items::{Decoder, Inputs};
pub use profile::Profiled;
use record::Record;

/// What may come in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items of one request.
    pub max_request_items: usize,
    /// Bytes of one text.
    pub max_text_bytes: usize,
    /// What pictures and sound may be.
    pub media: Media,
    /// Deadline of a call that has none.
    pub default_deadline: Duration,
    /// Whether identical items that are in flight together share one run.
    pub coalesce: bool,
    /// Bytes of answers that are kept for identical items; 0 for none.
    pub cache_bytes: u64,
    /// What may be pending.
    pub pending: ledger::Limits,
}

/// Larger inputs are not looked at for being identical: reading them all would cost more than it saves.
const LARGEST_KEY: usize = 256 * 1024;

/// Bytes of the placeholders of one request: their shapes come from the caller.
const MOST_SIMULATED: usize = 16 * 1024 * 1024;

/// What the door leads to.
pub struct Parts {
    /// What is registered.
    pub registry: Arc<Registry>,
    /// The browsers.
    pub pool: Pool,
    /// What is pending. The scheduler notes in it how fast models run.
    pub ledger: Arc<Ledger>,
    /// Where jobs go.
    pub scheduler: Scheduler,
    /// What is refused for what it did.
    pub quarantine: Arc<Quarantine>,
    /// What the models do.
    pub activity: Arc<Activity>,
    /// Tells when to let nothing more in.
    pub drain: Drain,
}

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    limits: Limits,
    parts: Arc<Parts>,
    answers: Option<Answers>,
    decoder: Decoder,
    hasher: RandomState,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// Id of the model.
    pub model: String,
    /// What to run.
    pub items: Vec<v1::Item>,
    /// How.
    pub parameters: Option<v1::Parameters>,
    /// Where to tell what the items have come to, where somebody wants to know.
    pub partials: Option<Partials>,
    /// After this nobody waits for the answer.
    pub deadline: Instant,
    /// Whose it is.
    pub client: Client,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it is made to see what it takes: each item runs once, whatever is identical, late or to be checked.
    pub measured: bool,
    /// Which one it is, for those who look on.
    pub trace: Arc<trace::Request>,
}

/// An item that is to run.
struct Pending {
    input: Arc<Input>,
    key: Option<Key>,
    size: Size,
    /// Whether another run of it would come to the same.
    repeatable: bool,
}

/// Where an item's answer comes from.
enum Source {
    Kept(Answer),
    Job(oneshot::Receiver<Reply>, Option<Key>),
}

impl Admission {
    /// A door to the scheduler.
    pub fn new(limits: Limits, parts: Parts) -> Self {
        let answers = (limits.cache_bytes > 0).then(|| Answers::new(limits.cache_bytes));
        let decoder = Decoder::new(available_parallelism().map_or(1, NonZero::get));
        Self { limits, parts: Arc::new(parts), answers, decoder, hasher: RandomState::new() }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks what a model's registration has new replicas asked, as requests are checked.
    pub fn check_probes(&self, model: &Model) -> Result<(), Error> {
        probes::check(model, &self.limits)
    }

    /// Where the next usual batch of a model would go, and why; `None` where none of its replicas serves.
    pub async fn explain(&self, model: &Model) -> Result<Option<Explanation>, Error> {
        self.parts.scheduler.explain(model.spec.id.clone()).await
    }

    /// Runs a request; returns one answer for each item, in their order, or the first error. Dropping the future
    /// cancels what has not run yet.
    pub async fn infer(&self, request: Request) -> Result<Vec<Answer>, Error> {
        let _working = self.parts.drain.enter().ok_or(Error::ShuttingDown)?;
        let mut record = Record::new(&self.parts.activity, request.priority);
        let result = self.run(request, &mut record).await;
        record.end(result.as_ref().err());
        result
    }

    async fn run(&self, request: Request, record: &mut Record<'_>) -> Result<Vec<Answer>, Error> {
        let deadline = request.deadline;
        let model = self.parts.registry.get(&request.model)?;
        record.found(&model);
        let items = model.placeholder.is_some().then(|| request.items.clone());
        let trace = request.trace.clone();
        let answers = async {
            let begun = Instant::now();
            let admitted = self.admit(&model, request).await;
            trace.stage("admission", begun, admitted.as_ref().err());
            self.collect(admitted?, deadline).await
        };
        let answers = answers.await;
        let unserved = |error: &Error| {
            matches!(error, Error::LoadFailed { .. } | Error::NoBrowser { .. } | Error::CircuitOpen { .. })
        };
        match (&answers, items, self.parts.pool.view().model(&model.spec.id)) {
            (Err(error), Some(items), Some(ModelStatus::Simulated(reason))) if unserved(error) => {
                simulate(&model, &items, reason)
            }
            _ => answers,
        }
    }

    /// Checks the items and parameters of a request. Returns the parameters, where they say anything.
    fn check(
        &self,
        model: &Model,
        items: &[v1::Item],
        parameters: Option<v1::Parameters>,
    ) -> Result<Option<v1::Parameters>, Error> {
        let parameters = parameters.filter(|parameters| *parameters != v1::Parameters::default());
        items::check(model, items, &self.limits)?;
        parameters::check(model.spec.task, parameters.as_ref().unwrap_or(&v1::Parameters::default()))?;
        Ok(parameters)
    }

    async fn admit(&self, model: &Arc<Model>, request: Request) -> Result<Vec<Source>, Error> {
        let parameters = self.check(model, &request.items, request.parameters)?;
        let id = &model.spec.id;
        match self.parts.pool.view().model(id) {
            Some(ModelStatus::Loading | ModelStatus::Ready(_)) => {}
            Some(ModelStatus::Asleep) => {
                self.parts.pool.load(model.clone()).await?;
            }
            Some(ModelStatus::Failed(error) | ModelStatus::Simulated(error)) => return Err(error.clone()),
            None => return Err(Error::ModelNotLoaded { id: id.to_string() }),
        }
        let decoded = self.decoder.decode(model, request.items, parameters, &self.limits);
        let Inputs { inputs, turn: _turn } = within(request.deadline, decoded).await?;
        let admitted = Instant::now();
        let (measured, own) = (request.measured, request.measured || request.partials.is_some());
        let items = inputs
            .into_iter()
            .enumerate()
            .map(|(index, input)| self.look_up(model, input, own).map_err(|error| error.of_item(index)));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<_> = items.iter().filter_map(|item| item.as_ref().err().map(|pending| pending.size)).collect();
        let account = Account { model: id.clone(), client: request.client, priority: request.priority };
        let permits = self.parts.ledger.admit(account, &sizes, request.deadline).map_err(refuse)?;
        let (mut permits, mut jobs) = (permits.into_iter(), Vec::with_capacity(sizes.len()));
        let mut sources = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let trace = request.trace.item(index, admitted);
            let Pending { input, key, size, repeatable } = match item {
                Ok(answer) => {
                    trace.end(Ok(&answer.execution));
                    sources.push(Source::Kept(answer));
                    continue;
                }
                Err(pending) => pending,
            };
            let permit = permits.next().ok_or_else(|| Error::Internal("a permit was counted wrongly".into()))?;
            let (reply, receiver) = oneshot::channel();
            sources.push(Source::Job(receiver, key.clone().filter(|_| self.answers.is_some())));
            jobs.push(Job {
                model: id.clone(),
                input,
                size,
                teller: request.partials.as_ref().map(|partials| partials.of(index)),
                trace,
                key: key.filter(|_| self.limits.coalesce),
                admitted,
                deadline: request.deadline,
                lost_workers: 0,
                strikes: Vec::new(),
                repeatable: repeatable && !measured,
                doubted: false,
                alone: false,
                reply,
                permit,
            });
        }
        if !jobs.is_empty() {
            self.parts.scheduler.submit(jobs).await?;
        }
        Ok(sources)
    }

    /// The kept answer to an item, or what its job needs. An error where it is in quarantine. One that has a run of its `own`
    /// shares none, nor does one that may come out otherwise the next time.
    fn look_up(&self, model: &Model, input: Input, own: bool) -> Result<Result<Answer, Pending>, Error> {
        let task = model.spec.task;
        let repeatable = !task.draws(input.parameters.as_deref());
        let alike = !own && repeatable;
        let input = Arc::new(input);
        let size = self.measure(model, &input)?;
        let wanted = alike && (self.limits.coalesce || self.answers.is_some()) && size.bytes <= LARGEST_KEY;
        let identity = model.identity().filter(|_| wanted);
        let key = identity.map(|identity| Key::new(identity, input.clone(), &self.hasher));
        match key.as_ref().zip(self.answers.as_ref()).and_then(|(key, answers)| answers.get(key)) {
            Some((output, execution)) => Ok(Ok(Answer { output, execution, permit: None })),
            None => Ok(Err(Pending { input, key, size, repeatable })),
        }
    }

    /// What an input costs. An error where it is in quarantine.
    fn measure(&self, model: &Model, input: &Arc<Input>) -> Result<Size, Error> {
        match self.parts.quarantine.find(&model.spec.id, input) {
            Some(error) => Err(error),
            None => Ok(cost::size(input, model.max_tokens, model.spec.task.has(Parameter::Generation))),
        }
    }

    async fn collect(&self, sources: Vec<Source>, deadline: Instant) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::with_capacity(sources.len());
        let all = async {
            for (index, source) in sources.into_iter().enumerate() {
                let (reply, key) = match source {
                    Source::Kept(answer) => {
                        answers.push(answer);
                        continue;
                    }
                    Source::Job(reply, key) => (reply, key),
                };
                // A job that is dropped unanswered was past its deadline, or its batch broke off.
                let answer = reply.await.unwrap_or_else(|_| {
                    if deadline <= Instant::now() {
                        Err(Error::DeadlineExceeded)
                    } else {
                        Err(Error::Internal("the batch broke off".into()))
                    }
                });
                let answer = answer.map_err(|error| error.of_item(index))?;
                if let Some((key, kept)) = key.zip(self.answers.as_ref()) {
                    kept.keep(key, &answer.output, &answer.execution);
                }
                answers.push(answer);
            }
            Ok(())
        };
        within(deadline, all).await?;
        Ok(answers)
    }
}

/// What comes of it by the deadline.
async fn within<T>(deadline: Instant, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout_at(deadline.into(), work).await.unwrap_or(Err(Error::DeadlineExceeded))
}

/// Placeholders for the answers of a model that no browser can run, as its registration allows.
fn simulate(model: &Model, items: &[v1::Item], reason: &Error) -> Result<Vec<Answer>, Error> {
    let Some(placeholder) = &model.placeholder else { return Err(reason.clone()) };
    let spec = &model.spec;
    let execution = Execution::simulated(spec.id.clone(), spec.preferred(), &spec.dtypes.name(), reason.to_string());
    let execution = Arc::new(execution);
    let mut room = MOST_SIMULATED;
    let answer = |(index, item): (usize, &v1::Item)| {
        let wrong = |message| Error::invalid(format!("items[{index}]"), message);
        let input = item.input.as_ref().ok_or_else(|| wrong("is empty".into()))?;
        let output = placeholder.of(input, &mut room).map_err(wrong)?;
        Ok(Answer { output, execution: execution.clone(), permit: None })
    };
    let answers = items.iter().enumerate().map(answer).collect::<Result<Vec<_>, Error>>()?;
    metrics::simulated(&spec.id, answers.len());
    Ok(answers)
}

/// What the ledger says, in words for the caller.
fn refuse(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Never(what, asked, most) => {
            let message = format!("have {asked} {what}, and a request may have {most} at most: send several requests");
            Error::invalid("items", message)
        }
        Refusal::Later(what, retry_after) => Error::Overloaded { what, retry_after },
        Refusal::TooLate(needed) => Error::DeadlineTooShort { needed },
    }
}
