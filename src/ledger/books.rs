//! Books: the sums of what is pending, and the rules on them. Pure.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Account, Client, Limits, Pace, Priority, Refusal,
    rate::{RETRY_LEAST, RETRY_MOST, Rate},
};
use crate::size::Size;

/// Predictions are taken this much longer, since refusing late costs more than refusing early.
const CAUTION: f64 = 1.1;

/// One item's part of a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Items.
    pub items: usize,
    /// Bytes of inputs, or of answers that were not taken yet.
    pub bytes: usize,
    /// What they cost, by [`Size::cost`].
    pub work: u64,
}

impl Entry {
    fn add(&mut self, other: Self) {
        self.items += other.items;
        self.bytes += other.bytes;
        self.work += other.work;
    }

    fn subtract(&mut self, other: Self) {
        self.items -= other.items;
        self.bytes -= other.bytes;
        self.work -= other.work;
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Default)]
struct ModelBook {
    sum: Entry,
    /// By flow; those of nothing are removed.
    flows: HashMap<(Client, Priority), Entry>,
    pace: Pace,
}

/// What is pending of one thing, and who holds how much of it.
struct Room {
    what: &'static str,
    asked: usize,
    limit: usize,
    pending: usize,
    /// What the model and the client hold, and the share that each may hold.
    holders: [(usize, f64); 2],
}

impl Room {
    /// How much of it has to leave before what is asked fits.
    ///
    /// A share is a part of what is still free, after Choudhury and Hahne, "Dynamic Queue Length Thresholds for
    /// Shared-Memory Packet Switches" (1998): one that is alone gets its share of the limit, several that all want more
    /// get equal parts, and some room is always left for the next that comes.
    fn missing(&self) -> Result<usize, Refusal> {
        let free = self.limit.saturating_sub(self.pending);
        let mut missing = self.asked.saturating_sub(free);
        for (used, share) in self.holders {
            let most = (self.limit as f64 * share) as usize;
            if self.asked > most {
                return Err(Refusal::Never(self.what, self.asked, most));
            }
            if share < 1.0 {
                let may = (self.limit.saturating_sub(self.pending - used) as f64 * share) as usize;
                missing = missing.max((used + self.asked).saturating_sub(may));
            }
        }
        Ok(missing)
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (pending, limit, what) = (self.pending, self.limit, self.what);
        write!(formatter, "{pending} of at most {limit} {what} are pending")
    }
}

/// The sums, and the rules on them.
#[derive(Debug)]
pub struct Books {
    limits: Limits,
    sum: Entry,
    /// Those of models that do not run and have nothing pending are removed.
    models: HashMap<Arc<str>, ModelBook>,
    /// Those of nothing are removed.
    clients: HashMap<Client, Entry>,
    rate: Rate,
}

impl Books {
    /// Empty ones.
    pub fn new(limits: Limits) -> Self {
        Self { limits, sum: Entry::default(), models: HashMap::new(), clients: HashMap::new(), rate: Rate::default() }
    }

    /// What is pending in all.
    pub fn pending(&self) -> Entry {
        self.sum
    }

    fn model(&mut self, id: &Arc<str>) -> &mut ModelBook {
        self.models.entry(id.clone()).or_default()
    }

    /// Notes how fast a model runs.
    pub fn set_pace(&mut self, id: &Arc<str>, pace: Pace) {
        self.model(id).pace = pace;
        self.prune(id);
    }

    fn prune(&mut self, id: &Arc<str>) {
        if self.models.get(id).is_some_and(|model| model.sum.is_zero() && model.pace.replicas == 0) {
            self.models.remove(id);
        }
    }

    /// Adds an entry.
    pub fn enter(&mut self, account: &Account, entry: Entry) {
        self.sum.add(entry);
        self.clients.entry(account.client.clone()).or_default().add(entry);
        let model = self.model(&account.model);
        model.sum.add(entry);
        model.flows.entry((account.client.clone(), account.priority)).or_default().add(entry);
    }

    /// Takes an entry out that was added under the same account.
    pub fn leave(&mut self, account: &Account, entry: Entry, now: Instant) {
        self.sum.subtract(entry);
        self.rate.count(entry.items, now);
        let subtract = |sum: &mut Entry| {
            sum.subtract(entry);
            sum.is_zero()
        };
        if self.clients.get_mut(&account.client).is_some_and(subtract) {
            self.clients.remove(&account.client);
        }
        let model = self.model(&account.model);
        model.sum.subtract(entry);
        let flow = (account.client.clone(), account.priority);
        if model.flows.get_mut(&flow).is_some_and(subtract) {
            model.flows.remove(&flow);
        }
        self.prune(&account.model);
    }

    /// Whether a request may come in, that has so long to be answered.
    pub fn check(&self, account: &Account, sizes: &[Size], left: Duration, now: Instant) -> Result<(), Refusal> {
        let (items, bytes) = (sizes.len(), sizes.iter().map(|size| size.bytes).sum());
        let none = ModelBook::default();
        let model = self.models.get(&account.model).unwrap_or(&none);
        let client = self.clients.get(&account.client).copied().unwrap_or_default();
        let room = |what, asked, limit, amount: fn(&Entry) -> usize| Room {
            what,
            asked,
            limit,
            pending: amount(&self.sum),
            holders: [(amount(&model.sum), self.limits.model_share), (amount(&client), self.limits.client_share)],
        };
        let later = |room: &Room, items| Refusal::Later(room.to_string(), self.rate.time_for(items, now));
        let room_for_items = room("items", items, self.limits.items, |entry| entry.items);
        match room_for_items.missing()? {
            0 => {}
            missing => return Err(later(&room_for_items, missing)),
        }
        let room_for_bytes = room("bytes of items", bytes, self.limits.bytes, |entry| entry.bytes);
        match room_for_bytes.missing()? {
            0 => {}
            missing => {
                let items = missing.saturating_mul(self.sum.items) / self.sum.bytes.max(1);
                return Err(later(&room_for_bytes, items.max(1)));
            }
        }
        // Where nothing is pending, nothing stands in the way: a wrong prediction mends itself by that run.
        if model.pace.replicas == 0 || model.sum.items == 0 {
            return Ok(());
        }
        self.check_time(model, account, sizes, left)
    }

    fn check_time(&self, model: &ModelBook, account: &Account, sizes: &[Size], left: Duration) -> Result<(), Refusal> {
        let own = sizes.iter().map(|size| size.cost()).sum();
        let us = |work: u64| work as f64 * model.pace.unit_us / f64::from(model.pace.replicas);
        let batch_us = |size: &Size| model.pace.batch_us.get(usize::from(size.class())).copied().unwrap_or(0.0);
        let run_us = sizes.iter().map(batch_us).fold(us(own), f64::max);
        let ahead_us = us(model.work_ahead(account, own));
        let micros = |us: f64| Duration::from_micros((us * CAUTION) as u64);
        let (run, wait) = (micros(run_us), micros(ahead_us));
        if run > left {
            return Err(Refusal::TooLate(run));
        }
        let excess = (wait + run).saturating_sub(left).max(wait.saturating_sub(self.limits.wait));
        if excess.is_zero() {
            return Ok(());
        }
        let what =
            format!("{} items are pending for this model, about {} ms of work", model.sum.items, wait.as_millis());
        Err(Refusal::Later(what, excess.clamp(RETRY_LEAST, RETRY_MOST)))
    }
}

impl ModelBook {
    /// Work that fair queueing does before the last of a request with so much work of its own: its own flow's first, and of
    /// each other flow what its weight allows meanwhile.
    fn work_ahead(&self, account: &Account, own: u64) -> u64 {
        let flow = |client: &Client, priority| *client == account.client && priority == account.priority;
        let mine = self.flows.get(&(account.client.clone(), account.priority)).map_or(0, |entry| entry.work);
        let until = (mine + own) / account.priority.weight();
        let others = self.flows.iter().filter(|((client, priority), _)| !flow(client, *priority));
        mine + others.map(|((_, priority), entry)| entry.work.min(until * priority.weight())).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Account, Books, Client, Entry, Limits, Pace, Priority, Refusal};
    use crate::size::{CLASSES, Size};

    fn limits(client_share: f64) -> Limits {
        Limits { items: 1000, bytes: 100_000, wait: Duration::from_secs(10), model_share: 1.0, client_share }
    }

    fn account(model: u8, client: u8) -> Account {
        let (model, client) = (format!("m{model}").into(), Client::Named(format!("c{client}").into()));
        Account { model, client, priority: Priority::Normal }
    }

    const fn size(bytes: usize) -> Size {
        Size { length: 20, bytes }
    }

    /// Of an item of that size.
    const ENTRY: Entry = Entry { items: 1, bytes: 10, work: 23 };

    /// A model whose items take `millis` each on `replicas`.
    fn paced(books: &mut Books, model: u8, replicas: u32, millis: f64) {
        let unit_us = millis * 1000.0 / size(0).cost() as f64;
        let pace = Pace { replicas, unit_us, batch_us: vec![millis * 1000.0; CLASSES] };
        books.set_pace(&account(model, 0).model, pace);
    }

    /// Lets a request in if it may; returns whether.
    fn admit(books: &mut Books, account: &Account, items: usize, left: Duration) -> Result<(), Refusal> {
        books.check(account, &vec![size(10); items], left, Instant::now())?;
        for _ in 0..items {
            books.enter(account, ENTRY);
        }
        Ok(())
    }

    const LONG: Duration = Duration::from_secs(3600);

    proptest! {
        /// The limits hold, whatever comes and leaves; when all has left, nothing is left in the books.
        #[test]
        fn limits_hold_and_sums_come_back(
            steps in proptest::collection::vec((0u8..3, 0u8..4, 1usize..300, any::<bool>()), 1..60),
            share in 0.1f64..=1.0,
        ) {
            let mut books = Books::new(limits(share));
            let mut inside: Vec<(Account, usize)> = Vec::new();
            for (model, client, items, leaves) in steps {
                if leaves && !inside.is_empty() {
                    let (account, items) = inside.swap_remove(items % inside.len());
                    (0..items).for_each(|_| books.leave(&account, ENTRY, Instant::now()));
                } else {
                    match admit(&mut books, &account(model, client), items, LONG) {
                        Ok(()) => inside.push((account(model, client), items)),
                        Err(Refusal::Never(_, asked, most)) => prop_assert!(asked == items && most < items),
                        Err(Refusal::Later(_, after)) => prop_assert!(!after.is_zero() && after <= Duration::from_secs(30)),
                        Err(refusal) => prop_assert!(false, "{refusal:?}"),
                    }
                }
                prop_assert!(books.sum.items <= 1000 && books.sum.bytes <= 100_000);
            }
            for (account, items) in inside {
                (0..items).for_each(|_| books.leave(&account, ENTRY, Instant::now()));
            }
            prop_assert!(books.sum.is_zero() && books.clients.is_empty() && books.models.is_empty());
        }

        /// However many flood the service, one more client still finds room.
        #[test]
        fn a_newcomer_finds_room(floods in 1u8..20) {
            let mut books = Books::new(limits(0.5));
            for _ in 0..1000 / usize::from(floods) {
                for client in 0..floods {
                    let _ = admit(&mut books, &account(0, client), 1, LONG);
                }
            }
            prop_assert!(books.sum.items >= 450.min(1000 / usize::from(floods) * usize::from(floods) / 2));
            prop_assert_eq!(admit(&mut books, &account(0, 255), 5, LONG), Ok(()));
        }

        /// What is let in on a prediction is let in with time to spare; what is refused would be late, or is told how
        /// much sooner.
        #[test]
        fn a_deadline_that_cannot_be_met_is_refused(pending in 1usize..200, replicas in 1u32..5, millis in 1u64..1000) {
            let mut books = Books::new(limits(1.0));
            paced(&mut books, 0, replicas, 10.0);
            prop_assert_eq!(admit(&mut books, &account(0, 0), pending, LONG), Ok(()));
            let left = Duration::from_millis(millis);
            let finish = Duration::from_millis(10 * pending as u64 / u64::from(replicas) + 10);
            match admit(&mut books, &account(0, 0), 1, left) {
                Ok(()) => prop_assert!(finish <= left),
                Err(Refusal::TooLate(needs)) => prop_assert!(left < needs),
                Err(Refusal::Later(_, after)) => prop_assert!(left < finish.mul_f64(1.2) && after <= finish.mul_f64(1.2)),
                Err(refusal) => prop_assert!(false, "{refusal:?}"),
            }
        }
    }

    #[test]
    fn a_light_client_is_not_told_to_wait_for_a_flood() {
        let mut books = Books::new(limits(0.5));
        paced(&mut books, 0, 1, 10.0);
        admit(&mut books, &account(0, 0), 400, LONG).unwrap();
        let soon = Duration::from_millis(50);
        assert!(matches!(admit(&mut books, &account(0, 0), 1, soon), Err(Refusal::Later(..))));
        assert_eq!(admit(&mut books, &account(0, 1), 1, soon), Ok(()));
    }

    #[test]
    fn an_idle_model_is_tried_whatever_is_predicted() {
        let mut books = Books::new(limits(1.0));
        paced(&mut books, 0, 1, 10_000.0);
        assert_eq!(admit(&mut books, &account(0, 0), 1, Duration::from_millis(1)), Ok(()));
        let refusal = admit(&mut books, &account(0, 0), 1, Duration::from_millis(1));
        assert!(matches!(refusal, Err(Refusal::TooLate(needs)) if needs >= Duration::from_secs(10)), "{refusal:?}");
    }
}
