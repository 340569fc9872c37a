//! Schema: what a file has in it, whether it is ours, and whether it is whole.

use std::{io, time::Duration};

use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

/// Tells our files from those of others, and from one another.
const APPLICATION: i64 = 0x7765_6269;
const VERSION: i64 = 1;
/// Time that another service may take to write.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE reference (key TEXT PRIMARY KEY, answers BLOB NOT NULL, measured INTEGER NOT NULL);
CREATE TABLE cost (
    model TEXT, browser TEXT, browser_version TEXT, backend TEXT, dtype TEXT, adapter TEXT, threads INTEGER,
    class INTEGER, items INTEGER, micros REAL NOT NULL, runs INTEGER NOT NULL, measured INTEGER NOT NULL,
    PRIMARY KEY (model, browser, browser_version, backend, dtype, adapter, threads, class, items)
);
CREATE TABLE verdict (
    model TEXT, browser TEXT, browser_version TEXT, backend TEXT, dtype TEXT, adapter TEXT, threads INTEGER,
    verdict TEXT NOT NULL, measure TEXT, value REAL, least REAL, reason TEXT NOT NULL, load_ms INTEGER NOT NULL,
    measured INTEGER NOT NULL,
    PRIMARY KEY (model, browser, browser_version, backend, dtype, adapter, threads)
);
";

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder cannot be made.
    #[error("its folder cannot be made: {0}")]
    Folder(io::Error),
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] Error),
    /// It is not whole.
    #[error("it is not whole: {0}")]
    Damaged(String),
    /// It is a database of something else.
    #[error("it is a database of another program")]
    Foreign,
    /// A later version of this program wrote it.
    #[error("it has version {0}, and this program knows {VERSION}: a later one wrote it")]
    Newer(i64),
}

impl OpenError {
    /// Whether there is nothing in it that anybody could use.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            // A table or a column that is not there is an error of no code of its own.
            Self::Sqlite(Error::SqliteFailure(error, _)) => {
                matches!(error.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
            }
            _ => false,
        }
    }
}

/// Whether another service is in the way.
pub fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether pages of it are not what they should be.
pub fn is_corrupt(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// Makes a database ready: with tables, if it is empty.
pub fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    connection.busy_timeout(BUSY)?;
    let number = |transaction: &Transaction, pragma| transaction.pragma_query_value(None, pragma, |row| row.get(0));
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let known = (number(&transaction, "application_id")?, number(&transaction, "user_version")?);
    transaction.finish()?;
    match known {
        (APPLICATION, version) if version > VERSION => return Err(OpenError::Newer(version)),
        (APPLICATION | 0, _) => {}
        _ => return Err(OpenError::Foreign),
    }
    // The quick check leaves out whether the indexes are those of their tables; what is looked up by a wrong one is not found.
    let whole: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if whole != "ok" {
        return Err(OpenError::Damaged(whole));
    }
    // So that services do not wait for each other's reads. Another one that has just opened it has seen to that.
    match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
        Err(error) if !is_busy(&error) => return Err(error.into()),
        _ => {}
    }
    // A power cut may cost the last rows, and no more.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    make(connection)
}

fn make(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application: i64 = transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application == APPLICATION {
        return Ok(());
    }
    let other = transaction.query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |_| Ok(())).optional()?;
    if other.is_some() {
        return Err(OpenError::Foreign);
    }
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}
