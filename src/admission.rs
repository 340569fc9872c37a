//! Admission: the one door for work. It checks a request against its model and the limits, makes its jobs, and waits
//! for their answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout_at,
};

use crate::{
    drain::Drain,
    error::Error,
    job::{Answer, Input, Job, Permit},
    metrics,
    models::{Model, Registry, Task},
    pool::{ModelStatus, Pool},
    scheduler::Scheduler,
};

/// What may be pending.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items of one request.
    pub max_request_items: usize,
    /// Items over all callers.
    pub max_pending_items: usize,
    /// Bytes of items over all callers.
    pub max_pending_bytes: usize,
    /// Bytes of one text.
    pub max_text_bytes: usize,
    /// Deadline of a call that has none.
    pub default_deadline: Duration,
}

/// Permits for bytes are counted in units of this many, so that they fit the semaphore's 32 bits.
const BYTES_UNIT: usize = 1024;

/// The door. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    limits: Limits,
    registry: Arc<Registry>,
    pool: Pool,
    scheduler: Scheduler,
    drain: Drain,
    items: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// Id of the model.
    pub model: String,
    /// What to run.
    pub items: Vec<Input>,
    /// After this nobody waits for the answer.
    pub deadline: Instant,
}

impl Admission {
    /// A door to the scheduler.
    pub fn new(limits: Limits, registry: Arc<Registry>, pool: Pool, scheduler: Scheduler, drain: Drain) -> Self {
        let items = Arc::new(Semaphore::new(limits.max_pending_items));
        let bytes = Arc::new(Semaphore::new(limits.max_pending_bytes / BYTES_UNIT));
        Self { limits, registry, pool, scheduler, drain, items, bytes }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs a request; returns one answer for each item, in their order, or the first error. Dropping the future
    /// cancels what has not run yet.
    pub async fn infer(&self, request: Request) -> Result<Vec<Answer>, Error> {
        let _working = self.drain.enter().ok_or(Error::ShuttingDown)?;
        let mut record = Record { model: None, begun: Instant::now(), outcome: "CANCELLED" };
        let result = self.run(request, &mut record).await;
        record.outcome = result.as_ref().err().map_or("OK", Error::reason);
        result
    }

    async fn run(&self, request: Request, record: &mut Record) -> Result<Vec<Answer>, Error> {
        let deadline = request.deadline;
        let model = self.registry.get(&request.model)?;
        record.model = Some(model.spec.id.clone());
        let replies = self.admit(&model, request).await?;
        collect(replies, deadline).await
    }

    async fn admit(
        &self,
        model: &Model,
        request: Request,
    ) -> Result<Vec<oneshot::Receiver<Result<Answer, Error>>>, Error> {
        self.check(model, &request.items)?;
        match self.pool.view().model(&model.spec.id) {
            Some(ModelStatus::Loading | ModelStatus::Ready(_)) => {}
            Some(ModelStatus::Failed(error)) => return Err(error.clone()),
            None => {
                return Err(Error::ModelNotLoaded { id: model.spec.id.to_string() });
            }
        }
        let admitted = Instant::now();
        if request.deadline <= admitted {
            return Err(Error::DeadlineExceeded);
        }
        let mut items = self.take(&self.items, request.items.len(), "items")?;
        let units: Vec<_> = request.items.iter().map(|input| input.bytes().div_ceil(BYTES_UNIT)).collect();
        let mut bytes = self.take(&self.bytes, units.iter().sum(), "KiB of items")?;
        let (mut jobs, mut replies) = (Vec::with_capacity(units.len()), Vec::with_capacity(units.len()));
        for (input, units) in request.items.into_iter().zip(units) {
            let (Some(item), Some(bytes)) = (items.split(1), bytes.split(units)) else {
                return Err(Error::Internal("a permit was counted wrongly".into()));
            };
            let (reply, receiver) = oneshot::channel();
            jobs.push(Job {
                model: model.spec.id.clone(),
                input: Arc::new(input),
                admitted,
                deadline: request.deadline,
                lost_workers: 0,
                reply,
                permit: Permit { item, bytes },
            });
            replies.push(receiver);
        }
        self.scheduler.submit(jobs).await?;
        Ok(replies)
    }

    fn check(&self, model: &Model, items: &[Input]) -> Result<(), Error> {
        if items.is_empty() {
            return Err(Error::invalid("items", "must have at least one item"));
        }
        let most = self.limits.max_request_items.min(self.limits.max_pending_items);
        if items.len() > most {
            let message =
                format!("has {} items; the most is {most}: send several requests, or use InferStream", items.len());
            return Err(Error::invalid("items", message));
        }
        let task = model.spec.task;
        let mut units = 0;
        for (index, item) in items.iter().enumerate() {
            units += item.bytes().div_ceil(BYTES_UNIT);
            match (task, item) {
                (Task::FeatureExtraction, Input::Text(text)) => {
                    let most = self.limits.max_text_bytes;
                    if text.len() > most {
                        let message = format!("has {} bytes; the most is {most}, see --max-text-bytes", text.len());
                        return Err(Error::invalid(format!("items[{index}].text"), message));
                    }
                }
                (Task::Tensor, Input::Tensors(tensors)) if !tensors.is_empty() => {}
                (Task::Tensor, Input::Tensors(_)) => {
                    return Err(Error::invalid(format!("items[{index}].tensors"), "must name at least one tensor"));
                }
                (Task::FeatureExtraction, Input::Tensors(_)) => return Err(wrong_kind(model, index, "text")),
                (Task::Tensor, Input::Text(_)) => return Err(wrong_kind(model, index, "tensors")),
            }
        }
        if units * BYTES_UNIT > self.limits.max_pending_bytes {
            let message = format!("hold {units} KiB, which is more than may ever be pending; send smaller requests");
            return Err(Error::invalid("items", message));
        }
        Ok(())
    }

    fn take(&self, semaphore: &Arc<Semaphore>, count: usize, what: &str) -> Result<OwnedSemaphorePermit, Error> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        semaphore
            .clone()
            .try_acquire_many_owned(count)
            .map_err(|_| Error::Overloaded { what: format!("all {what} that may be"), retry_after: RETRY_AFTER })
    }
}

/// When a refused caller should come back.
const RETRY_AFTER: Duration = Duration::from_millis(100);

fn wrong_kind(model: &Model, index: usize, kind: &str) -> Error {
    let (id, task) = (&model.spec.id, model.spec.task.name());
    Error::invalid(
        format!("items[{index}].input"),
        format!("the model {id:?} has the task {task:?}, which takes {kind}"),
    )
}

async fn collect(
    replies: Vec<oneshot::Receiver<Result<Answer, Error>>>,
    deadline: Instant,
) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::with_capacity(replies.len());
    let all = async {
        for reply in replies {
            // A job that is dropped unanswered was past its deadline, or its batch broke off.
            let answer = reply.await.unwrap_or_else(|_| {
                if deadline <= Instant::now() {
                    Err(Error::DeadlineExceeded)
                } else {
                    Err(Error::Internal("the batch broke off".into()))
                }
            })?;
            answers.push(answer);
        }
        Ok(())
    };
    timeout_at(deadline.into(), all).await.unwrap_or(Err(Error::DeadlineExceeded))?;
    Ok(answers)
}

/// Counts a request when it ends, and as cancelled when its caller leaves before.
struct Record {
    /// Empty for an unknown model: the caller's invention would be a label without bound.
    model: Option<Arc<str>>,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Record {
    fn drop(&mut self) {
        metrics::request(self.model.as_deref().unwrap_or_default(), self.outcome, self.begun.elapsed());
    }
}
