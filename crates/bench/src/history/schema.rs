//! Schema: what a file has in it, whether it is ours, and whether it is whole.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::BenchError;

/// Tells our files from those of others: "wben".
const APPLICATION: i64 = 0x7762_656e;
/// The latest version of the tables.
const VERSION: i64 = 1;
/// Time that another process may take to write.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE run (
    id TEXT PRIMARY KEY, started INTEGER NOT NULL, ended INTEGER, state TEXT NOT NULL, head TEXT NOT NULL
) STRICT;
CREATE TABLE row (
    run TEXT NOT NULL REFERENCES run ON DELETE CASCADE, number INTEGER NOT NULL, cell TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (run, number)
) STRICT;
CREATE INDEX row_of_cell ON row (cell);
CREATE TABLE round (
    run TEXT NOT NULL, row INTEGER NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (run, row, number), FOREIGN KEY (run, row) REFERENCES row ON DELETE CASCADE
) STRICT;
";

/// Opens the file of a history, and makes it if there is none.
pub fn open(path: &Path) -> Result<Connection, BenchError> {
    let file = path.display().to_string();
    if path.exists() {
        // What is not ours is not even opened for writing.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        inspect(&connection.map_err(|error| of(&file, error))?, &file)?;
    }
    let mut connection = Connection::open(path).map_err(|error| of(&file, error))?;
    prepare(&mut connection, &file)?;
    Ok(connection)
}

/// Whether it is ours, of a version that is known, and whole.
fn inspect(connection: &Connection, file: &str) -> Result<(), BenchError> {
    let read = || -> Result<_, Error> {
        connection.busy_timeout(BUSY)?;
        // One look, so that it is not half made by another process.
        let look = connection.unchecked_transaction()?;
        Ok((whose(&look)?, number(&look, "user_version")?))
    };
    match read().map_err(|error| of(file, error))? {
        (Whose::Ours, found) if found > VERSION => {
            return Err(BenchError::Newer { file: file.into(), found, known: VERSION });
        }
        (Whose::Ours | Whose::Nobodys, _) => {}
        (Whose::Others, _) => return Err(BenchError::Foreign { file: file.into() }),
    }
    let whole = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match whole.map_err(|error| of(file, error))? {
        whole if whole == "ok" => Ok(()),
        what => Err(BenchError::Damaged { file: file.into(), what }),
    }
}

/// Makes a database ready, with tables if it is empty.
pub fn prepare(connection: &mut Connection, file: &str) -> Result<(), BenchError> {
    let mut make = || -> Result<Whose, Error> {
        connection.busy_timeout(BUSY)?;
        // So that who reads does not wait for who writes. Another process that has just opened it has seen to that.
        match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
            Err(error) if !is_busy(&error) => return Err(error),
            _ => {}
        }
        // A round that was kept survives a power cut, too. There are few of them in a second.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let whose = whose(&transaction)?;
        if let Whose::Nobodys = whose {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        Ok(whose)
    };
    match make().map_err(|error| of(file, error))? {
        Whose::Others => Err(BenchError::Foreign { file: file.into() }),
        Whose::Ours | Whose::Nobodys => Ok(()),
    }
}

/// Who made a database.
enum Whose {
    /// This program.
    Ours,
    /// Nobody: it is empty.
    Nobodys,
    /// Another program.
    Others,
}

fn whose(connection: &Connection) -> Result<Whose, Error> {
    if number(connection, "application_id")? == APPLICATION {
        return Ok(Whose::Ours);
    }
    let other = connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(())).optional()?;
    Ok(if other.is_some() { Whose::Others } else { Whose::Nobodys })
}

fn number(connection: &Connection, pragma: &str) -> Result<i64, Error> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What an error of SQLite means for a file.
pub fn of(file: &str, error: Error) -> BenchError {
    let (file, what) = (file.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => BenchError::Damaged { file, what },
        Some(ErrorCode::DiskFull) => BenchError::Full { file, what },
        _ if is_busy(&error) => BenchError::Busy { file },
        _ => BenchError::Sqlite { file, what },
    }
}
