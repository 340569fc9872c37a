//! Store: the database, in a file or in memory, and how much of what age it has.

use std::{
    cell::Cell,
    path::Path,
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, Error, OptionalExtension, backup::Backup, params};

use super::{
    Cost, VerdictRow,
    rows::{self, CIRCUMSTANCE, millis},
    schema::{self, OpenError},
};

/// Rows that are kept, and bytes of references: the latest.
const MOST_REFERENCES: u32 = 256;
const MOST_REFERENCE_BYTES: u32 = 64 * 1024 * 1024;
const MOST_COSTS: u32 = 20_000;
const MOST_VERDICTS: u32 = 4096;
/// What was measured longer ago is another machine's, as likely as not.
const OLDEST: Duration = Duration::from_secs(180 * 24 * 3600);
/// How far clocks may be apart. What is from later times would never age.
const AHEAD: Duration = Duration::from_secs(24 * 3600);
/// Rows that are written between two looks at how many there are.
const BETWEEN: u32 = 256;

/// A database.
pub struct Store {
    connection: Connection,
    in_memory: bool,
    /// Rows that were written since the last look.
    written: Cell<u32>,
}

impl Store {
    /// One in memory.
    pub fn in_memory() -> Result<Self, Error> {
        let mut connection = Connection::open_in_memory()?;
        match schema::prepare(&mut connection) {
            Ok(()) => Ok(Self { connection, in_memory: true, written: Cell::default() }),
            Err(OpenError::Sqlite(error)) => Err(error),
            Err(_) => Err(Error::InvalidQuery),
        }
    }

    /// One in memory, with all that another has.
    pub fn in_memory_as(other: &Self) -> Result<Self, Error> {
        let mut connection = Connection::open_in_memory()?;
        Backup::new(&other.connection, &mut connection)?.run_to_completion(1024, Duration::ZERO, None)?;
        Ok(Self { connection, in_memory: true, written: Cell::default() })
    }

    /// One in a file.
    pub fn in_file(path: &Path) -> Result<Self, OpenError> {
        let mut connection = Connection::open(path)?;
        schema::prepare(&mut connection)?;
        let store = Self { connection, in_memory: false, written: Cell::default() };
        store.age(SystemTime::now())?;
        Ok(store)
    }

    /// Whether it is in memory.
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// The answers under a key.
    pub fn reference(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut query = self.connection.prepare("SELECT answers FROM reference WHERE key = ?1")?;
        query.query_row([key], |row| row.get(0)).optional()
    }

    /// Keeps answers under a key.
    pub fn keep_reference(&self, key: &str, answers: &[u8], now: SystemTime) -> Result<(), Error> {
        let mut insert = self.connection.prepare("INSERT OR REPLACE INTO reference VALUES (?1, ?2, ?3)")?;
        insert.execute(params![key, answers, millis(now)])?;
        self.wrote()
    }

    /// Forgets those whose keys begin so.
    pub fn forget_references(&self, prefix: &str) -> Result<(), Error> {
        let forget = "DELETE FROM reference WHERE substr(key, 1, length(?1)) = ?1";
        self.connection.execute(forget, [prefix]).map(drop)
    }

    /// The costs of a model. Rows that are not what they should be are left out.
    pub fn costs(&self, model: &str) -> Result<Vec<Cost>, Error> {
        let columns = format!("SELECT {CIRCUMSTANCE}, class, items, micros, runs, measured FROM cost WHERE model = ?1");
        let mut query = self.connection.prepare(&columns)?;
        let costs = query.query_map([model], rows::cost)?;
        costs.filter_map(Result::transpose).collect()
    }

    /// Keeps a cost.
    pub fn keep_cost(&self, cost: &Cost) -> Result<(), Error> {
        let insert = "INSERT OR REPLACE INTO cost VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let it = &cost.circumstance;
        self.connection.prepare(insert)?.execute(params![
            it.model_sha256,
            it.browser,
            it.browser_version,
            it.backend.name(),
            it.dtype,
            it.adapter,
            it.threads,
            cost.class,
            cost.items,
            cost.micros_per_item,
            cost.runs,
            millis(cost.measured)
        ])?;
        self.wrote()
    }

    /// The verdicts on a model.
    pub fn verdicts(&self, model: &str) -> Result<Vec<VerdictRow>, Error> {
        let columns = format!(
            "SELECT {CIRCUMSTANCE}, verdict, measure, value, least, reason, load_ms, measured FROM verdict WHERE model = ?1"
        );
        let mut query = self.connection.prepare(&columns)?;
        let verdicts = query.query_map([model], rows::verdict)?;
        verdicts.filter_map(Result::transpose).collect()
    }

    /// Keeps a verdict.
    pub fn keep_verdict(&self, row: &VerdictRow) -> Result<(), Error> {
        let insert =
            "INSERT OR REPLACE INTO verdict VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        let (it, agreement) = (&row.circumstance, row.agreement.as_ref());
        self.connection.prepare(insert)?.execute(params![
            it.model_sha256,
            it.browser,
            it.browser_version,
            it.backend.name(),
            it.dtype,
            it.adapter,
            it.threads,
            rows::name_of(row.verdict),
            agreement.map(|(measure, ..)| measure),
            agreement.map(|(_, value, _)| value),
            agreement.map(|(.., least)| least),
            row.reason,
            i64::try_from(row.load_ms).unwrap_or(i64::MAX),
            millis(row.measured)
        ])?;
        self.wrote()
    }

    fn wrote(&self) -> Result<(), Error> {
        self.written.set(self.written.get() + 1);
        if self.written.get() < BETWEEN { Ok(()) } else { self.age(SystemTime::now()) }
    }

    /// Removes what is too old or too much.
    pub fn age(&self, now: SystemTime) -> Result<(), Error> {
        self.written.set(0);
        let (oldest, latest) = (millis(now) - span(OLDEST), millis(now) + span(AHEAD));
        for (table, most) in [("reference", MOST_REFERENCES), ("cost", MOST_COSTS), ("verdict", MOST_VERDICTS)] {
            let old = format!("DELETE FROM {table} WHERE measured NOT BETWEEN ?1 AND ?2");
            self.connection.execute(&old, [oldest, latest])?;
            let many = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY measured DESC LIMIT -1 OFFSET ?1)"
            );
            self.connection.execute(&many, [most])?;
        }
        let large = "DELETE FROM reference WHERE key IN (SELECT key FROM (
                         SELECT key, sum(length(answers)) OVER (ORDER BY measured DESC, key) AS bytes FROM reference
                     ) WHERE bytes > ?1)";
        self.connection.execute(large, [MOST_REFERENCE_BYTES]).map(drop)
    }
}

fn span(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
