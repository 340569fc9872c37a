//! Explain: why a model's next batch would go where it would go. Pure.

use std::time::{Duration, Instant};

use super::{
    kinds::{Kind, Server},
    lane::{Lane, Most},
    queue::Waiting,
};

/// Where the next usual batch of a model would go.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Length class of the last batch, which is taken for the next one's.
    pub class: u8,
    /// Items that count for who is through first: as many as pay at the worker where the most do.
    pub items: usize,
    /// The workers that serve.
    pub workers: Vec<Standing>,
    /// Which of them is the best, and why; `None` where none serves.
    pub best: Option<(usize, Why)>,
}

/// How a worker stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its id.
    pub worker_id: String,
    /// Its kind.
    pub kind: Kind,
    /// Items of a batch that pay there.
    pub pays: usize,
    /// Time that it should take for them; `None` where nothing is known.
    pub predicted: Option<Duration>,
    /// Time until it would be through with all items, with what it has in hand before.
    pub through: Duration,
    /// Its time, relative to that of other workers of its kind.
    pub slowness: f64,
    /// Batches that it has in hand.
    pub in_hand: usize,
    /// Batches that it has ended.
    pub runs: u64,
    /// Time since it ended the last of them; `None` where it has not ended one.
    pub measured: Option<Duration>,
}

/// Why a worker is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the only one.
    Alone,
    /// Nothing is known of its kind, so that it is tried.
    Unknown,
    /// It takes the least time.
    Fastest,
    /// Those that take less time have more in hand.
    Free,
    /// Several are equal; it has run the least.
    Turn,
}

impl<J: Waiting> Lane<J> {
    /// Where the next usual batch would go.
    pub fn explain(&mut self, servers: &[Server<'_>], most: Most, now: Instant) -> Explanation {
        self.meet(servers, now);
        let class = self.class.unwrap_or(0);
        let usual = servers.iter().map(|server| self.pays(server, class, most)).max().unwrap_or(1);
        let (candidates, next) = self.candidates(servers, (class, usual), most);
        let workers = candidates.iter().zip(servers).map(|(candidate, server)| {
            let (pays, hand) = (self.pays(server, class, most), candidate.hand);
            let standing = hand.standing();
            Standing {
                worker_id: server.id.to_owned(),
                kind: hand.kind.clone(),
                pays,
                predicted: self.takes(server, (class, pays)),
                through: candidate.through(next.items, now),
                slowness: standing.slowness,
                in_hand: standing.in_hand,
                runs: standing.runs,
                measured: standing.measured.map(|at| now.saturating_duration_since(at)),
            }
        });
        let workers: Vec<_> = workers.collect();
        let best = best(&workers);
        Explanation { class, items: next.items, workers, best }
    }
}

fn best(workers: &[Standing]) -> Option<(usize, Why)> {
    let order = |worker: &Standing| (worker.through, worker.in_hand, worker.runs);
    let (index, best) = workers.iter().enumerate().min_by_key(|(_, worker)| order(worker))?;
    let others = || workers.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, worker)| worker);
    let rate = |worker: &Standing| worker.predicted.map(|time| time.as_secs_f64() / worker.pays as f64);
    let why = if workers.len() == 1 {
        Why::Alone
    } else if best.predicted.is_none() {
        Why::Unknown
    } else if others().any(|other| rate(other).zip(rate(best)).is_some_and(|(other, best)| other < best)) {
        Why::Free
    } else if others().any(|other| other.through == best.through) {
        Why::Turn
    } else {
        Why::Fastest
    };
    Some((index, why))
}
