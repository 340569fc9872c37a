//! Profile: a request that is admitted like any other, and then runs by itself, under the runtime's profiler.

use std::{sync::Arc, time::Duration};

use super::{Admission, Inputs, Request, refuse, within};
use crate::{error::Error, execution::Timings, job::Answer, ledger::Account, pool::Order, proto::v1};

/// Most runs of one profile.
const MOST_RUNS: u32 = 100;

/// A request's answers, and where the time went.
#[derive(Debug)]
pub struct Profiled {
    /// One for each item, of the last run.
    pub answers: Vec<Answer>,
    /// Times of each run.
    pub runs: Vec<Timings>,
    /// Time to start the worker and load its replica.
    pub load: Duration,
    /// What the runtime told.
    pub profile: v1::Profile,
}

impl Admission {
    /// Runs a request so often, once where that is 0, under the runtime's profiler. It counts as pending meanwhile. Dropping
    /// the future ends it.
    pub async fn profile(&self, request: Request, runs: u32) -> Result<Profiled, Error> {
        let _working = self.parts.drain.enter().ok_or(Error::ShuttingDown)?;
        if runs > MOST_RUNS {
            return Err(Error::invalid("runs", format!("is {runs}; the most is {MOST_RUNS}")));
        }
        let model = self.parts.registry.get(&request.model)?;
        let parameters = self.check(&model, &request.items, request.parameters)?;
        let decoded = self.decoder.decode(&model, request.items, parameters, &self.limits);
        let Inputs { inputs, turn } = within(request.deadline, decoded).await?;
        let inputs: Vec<_> = inputs.into_iter().map(Arc::new).collect();
        let sizes = inputs.iter().map(|input| self.measure(&model, input)).collect::<Result<Vec<_>, _>>()?;
        let id = model.spec.id.clone();
        let account = Account { model: id.clone(), client: request.client, priority: request.priority };
        let permits = self.parts.ledger.admit(account, &sizes, request.deadline).map_err(refuse)?;
        drop(turn);
        let order = Order { model: id, inputs, runs: runs.max(1) };
        let profiled = within(request.deadline, self.parts.pool.profile(order)).await?;
        let execution = Arc::new(profiled.execution);
        let answer = |(index, (output, permit)): (usize, (Result<_, Error>, _))| {
            let output = output.map_err(|error| error.of_item(index))?;
            Ok(Answer { output, execution: execution.clone(), permit: Some(permit) })
        };
        let answers = profiled.outputs.into_iter().zip(permits).enumerate().map(answer);
        let answers = answers.collect::<Result<_, Error>>()?;
        Ok(Profiled { answers, runs: profiled.runs, load: profiled.load, profile: profiled.profile })
    }
}
