//! Record: counts a request when it ends, and as cancelled when its caller leaves before.

use std::{sync::Arc, time::Instant};

use crate::{activity::Activity, error::Error, ledger::Priority, metrics, models::Model};

const OK: &str = "OK";
const CANCELLED: &str = "CANCELLED";

/// What is known of a request while it goes on.
pub struct Record<'a> {
    activity: &'a Activity,
    /// Empty until a model of that name is found: the caller's invention would be a label without bound.
    model: Arc<str>,
    task: &'static str,
    priority: Priority,
    begun: Instant,
    outcome: &'static str,
}

impl<'a> Record<'a> {
    /// It begins now.
    pub fn new(activity: &'a Activity, priority: Priority) -> Self {
        Self { activity, model: "".into(), task: "", priority, begun: Instant::now(), outcome: CANCELLED }
    }

    /// It is for a model that there is.
    pub fn found(&mut self, model: &Model) {
        (self.model, self.task) = (model.spec.id.clone(), model.spec.task.name);
    }

    /// Its caller is answered, with an error or without.
    pub fn end(mut self, error: Option<&Error>) {
        let now = Instant::now();
        match error {
            Some(error) => self.activity.failed(&self.model, error, now),
            None => self.activity.answered(&self.model, now - self.begun, now),
        }
        self.outcome = error.map_or(OK, Error::reason);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        metrics::request(metrics::Request {
            model: &self.model,
            task: self.task,
            priority: self.priority.name(),
            outcome: self.outcome,
            took: self.begun.elapsed(),
        });
    }
}
