//! Drive: sends the requests, in a closed or an open loop.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};

use super::{inputs::Inputs, tally::Tally};
use crate::{
    proto::v1,
    rpc::client::{Answer, Client, RequestStream},
};

/// A caller's wait after nobody took its call. What fails at once would otherwise be tried in a tight loop.
const PAUSE: Duration = Duration::from_millis(100);

/// A way for requests.
#[derive(Debug)]
pub enum Lane {
    /// A call for each request.
    Unary(Client),
    /// One stream for all.
    Stream(RequestStream),
}

impl Lane {
    async fn infer(&self, request: v1::InferRequest, deadline: Duration) -> Answer {
        match self {
            Self::Unary(client) => client.infer(request, deadline).await,
            Self::Stream(stream) => stream.infer(request, deadline).await,
        }
    }
}

/// What makes requests, sends them and keeps the tally.
#[derive(Debug)]
pub struct Driver {
    /// Ways that are taken in turn, at least one.
    pub lanes: Vec<Lane>,
    /// A request without its items.
    pub request: v1::InferRequest,
    /// Where items come from.
    pub inputs: Inputs,
    /// Makes the items of this run differ from those of others.
    pub seed: u64,
    /// Items of a request.
    pub items: u32,
    /// Time for each request, from when it is due.
    pub deadline: Duration,
    /// Requests that were made.
    pub made: AtomicU64,
    /// What was measured.
    pub tally: Mutex<Tally>,
}

impl Driver {
    /// What was measured so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closed loop: each caller sends its next request once it has its answer. Ends when all are answered; what is in
    /// flight when this future is dropped is cancelled.
    pub async fn closed(self: Arc<Self>, callers: u32, end: Instant) {
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let driver = self.clone();
            tasks.spawn(async move {
                while Instant::now() < end {
                    let (number, request) = driver.next();
                    if !driver.send(Instant::now(), number, request).await {
                        sleep(PAUSE).await;
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Open loop: sends each request when it is due, whatever became of those before it. Ends as `closed` does.
    pub async fn open(self: Arc<Self>, due: impl Iterator<Item = Instant>, most_in_flight: usize) {
        let mut tasks = JoinSet::new();
        for due in due {
            // The timer has a resolution of a millisecond; all that became due meanwhile is sent at once.
            sleep_until(due.into()).await;
            while tasks.try_join_next().is_some() {}
            if tasks.len() >= most_in_flight {
                self.tally().unsent(due);
                continue;
            }
            let driver = self.clone();
            tasks.spawn(async move {
                let (number, request) = driver.next();
                driver.send(due, number, request).await
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// The next request, and its number.
    fn next(&self) -> (u64, v1::InferRequest) {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (items, mut request) = (u64::from(self.items), self.request.clone());
        request.items = (number * items..(number + 1) * items).map(|item| self.inputs.item(self.seed, item)).collect();
        (number, request)
    }

    /// Sends a request and counts what comes of it. False where nobody took it.
    async fn send(&self, due: Instant, number: u64, request: v1::InferRequest) -> bool {
        let lane = &self.lanes[number as usize % self.lanes.len()];
        let now = Instant::now();
        self.tally().sent(due, now);
        let answer = lane.infer(request, (due + self.deadline).saturating_duration_since(now)).await;
        let now = Instant::now();
        match answer {
            Ok(response) => self.tally().ok(due, now, &response),
            Err(failure) => {
                let taken = !failure.is_unavailable();
                self.tally().failed(due, now, failure);
                return taken;
            }
        }
        true
    }
}
