//! Ledger: what is pending, by model, client and priority; how long it will take; and whether more may come in. Policy is
//! in `books`, which is pure; the ledger puts a lock around them, and each permit takes its entry out again.

mod books;
mod rate;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{metrics, size::Size};
use books::{Books, Entry};

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// It gave a name.
    Named(Arc<str>),
    /// It did not: its connection.
    Peer(Option<SocketAddr>),
}

/// How urgent a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// It can wait.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Somebody waits for it.
    High,
}

impl Priority {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Its share beside the other priorities.
    pub fn weight(self) -> u64 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }
}

/// How much may be pending.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items over all.
    pub items: usize,
    /// Bytes over all.
    pub bytes: usize,
    /// Longest that a request is expected to wait.
    pub wait: Duration,
    /// Part of the items and bytes that one model may hold when it is alone, above 0 and at most 1.
    pub model_share: f64,
    /// The same of one client.
    pub client_share: f64,
}

/// Under whose names an entry is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// Id of the model.
    pub model: Arc<str>,
    /// The client.
    pub client: Client,
    /// The priority.
    pub priority: Priority,
}

/// How fast a model runs, as it was learned.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Replicas that serve.
    pub replicas: u32,
    /// Microseconds for each unit of [`Size::cost`] in the batches of late; 0 where nothing is known.
    pub unit_us: f64,
    /// Microseconds of a batch of the size that pays, by length class; 0 where nothing is known.
    pub batch_us: Vec<f64>,
}

/// Why a request may not come in.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// It is larger than what may ever be pending: what, how much it has, and the most.
    Never(&'static str, usize, usize),
    /// Too much is pending: what, and when there should be room.
    Later(String, Duration),
    /// It would take so long that its deadline passes, even if nothing else waited.
    TooLate(Duration),
}

/// The ledger. Shared by the door, which enters, and the permits, which take out.
#[derive(Debug)]
pub struct Ledger {
    books: Mutex<Books>,
    gauges: metrics::Pending,
}

impl Ledger {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        let gauges = metrics::Pending::new(limits.items, limits.bytes);
        Self { books: Mutex::new(Books::new(limits)), gauges }
    }

    /// Enters the items of a request, or refuses them all.
    pub fn admit(
        self: &Arc<Self>,
        account: Account,
        sizes: &[Size],
        deadline: Instant,
    ) -> Result<Vec<Permit>, Refusal> {
        let now = Instant::now();
        let mut books = self.books();
        books.check(&account, sizes, deadline.saturating_duration_since(now), now)?;
        let account = Arc::new(account);
        let permit = |size: &Size| {
            let entry = Entry { items: 1, bytes: size.bytes, work: size.cost() };
            books.enter(&account, entry);
            Permit { ledger: self.clone(), account: account.clone(), entry }
        };
        let permits = sizes.iter().map(permit).collect();
        self.show(&books);
        Ok(permits)
    }

    /// Notes how fast a model runs.
    pub fn set_pace(&self, model: &Arc<str>, pace: Pace) {
        self.books().set_pace(model, pace);
    }

    fn show(&self, books: &Books) {
        let Entry { items, bytes, .. } = books.pending();
        self.gauges.set(items, bytes);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The load that a job stands for, from its admission until the work on it ends, whoever still waits for it.
#[derive(Debug)]
pub struct Permit {
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    entry: Entry,
}

impl Permit {
    /// Under whose names it is.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Ends the load of the work; what is left are the bytes of an answer that its caller has not taken yet.
    pub fn into_answer(mut self, bytes: usize) -> Self {
        let left = Entry { items: 0, bytes, work: 0 };
        let mut books = self.ledger.books();
        books.leave(&self.account, self.entry, Instant::now());
        books.enter(&self.account, left);
        self.ledger.show(&books);
        drop(books);
        self.entry = left;
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut books = self.ledger.books();
        books.leave(&self.account, self.entry, Instant::now());
        self.ledger.show(&books);
    }
}
