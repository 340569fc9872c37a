//! Profiles: one at a time, in a worker that is none of those that are kept.

use std::time::Duration;

use super::{Answer, Supervisor, answer};
use crate::{
    bridge::Inquiry,
    error::Error,
    execution::Runtime,
    pool::{
        profile::{Order, Profiling, Reply, profile},
        start::Start,
    },
};

/// When to come back where another profile is being made.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Starts a profile, whose task answers; or says why there is none.
    pub(super) fn profile(&mut self, order: Order, reply: Reply) -> Answer {
        match self.profiling(order) {
            Ok(profiling) => {
                self.tasks.spawn(profile(profiling, reply));
                Box::new(|| {})
            }
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// What a profile needs: it runs as the replica of the model does that has the least to do, and in its browser.
    fn profiling(&mut self, order: Order) -> Result<Profiling, Error> {
        let not_loaded = || Error::ModelNotLoaded { id: order.model.to_string() };
        let turn = self.profiles.clone().try_acquire_owned().map_err(|_| Error::Overloaded {
            what: "a profile is being made, and there is one at a time".into(),
            retry_after: RETRY_AFTER,
        })?;
        let serving = self.workers.values().filter(|worker| worker.model == order.model && self.is_on_duty(worker));
        let serving = serving.filter_map(|worker| Some((worker.browser.place, worker.replica.as_ref()?)));
        let (place, replica) = serving.min_by_key(|(_, replica)| replica.in_flight()).ok_or_else(not_loaded)?;
        let Runtime { backend_used: backend, fallback_reason, node_placements, .. } = (*replica.runtime).clone();
        let model = self.models.get(&order.model).map(|kept| kept.model.clone()).ok_or_else(not_loaded)?;
        let browser = self.places.get(place).and_then(|place| place.browser.as_ref());
        let fate = browser.map(|(running, _)| running.fate.clone()).ok_or_else(not_loaded)?;
        let start = self.start(place, model, backend).ok_or_else(not_loaded)?;
        let start = Start { inquiry: Inquiry { profile: true, placements: false }, ..start };
        let max_trace_bytes = self.settings.max_trace_bytes;
        Ok(Profiling { start, fate, fallback_reason, node_placements, order, max_trace_bytes, turn })
    }
}
