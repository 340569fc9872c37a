//! History: the runs that were made, in SQLite. What was measured is kept the moment it is known: a run that is cut off has
//! all rounds that ended before.

mod read;
mod schema;
mod selector;

use std::{fs, path::Path};

use rusqlite::{
    Connection, Error, Transaction, TransactionBehavior,
    ffi::{SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE},
    params,
};
use serde::Serialize;

pub use read::{Earlier, Listed};
pub use selector::Selector;

use crate::{
    BenchError,
    record::{Round, Row, Run, RunId, RunState},
};

/// The runs that were made. Its calls block, for seconds where another process writes.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    file: String,
}

impl History {
    /// Opens a file, and makes it and its folder if there is none.
    ///
    /// # Errors
    /// [`BenchError::Newer`], [`BenchError::Foreign`] and [`BenchError::Damaged`] where it is not a history that this program
    /// can use: nothing in it is changed then.
    pub fn open(path: &Path) -> Result<Self, BenchError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(BenchError::io(folder))?;
        }
        Ok(Self { connection: schema::open(path)?, file: path.display().to_string() })
    }

    /// One that is forgotten.
    ///
    /// # Errors
    /// [`BenchError::Sqlite`] where there is no memory for it.
    pub fn in_memory() -> Result<Self, BenchError> {
        let file = "the history in memory".to_owned();
        let mut connection = Connection::open_in_memory().map_err(|error| schema::of(&file, error))?;
        schema::prepare(&mut connection, &file)?;
        Ok(Self { connection, file })
    }

    /// Keeps a run that begins, with all of its rows.
    ///
    /// # Errors
    /// [`BenchError::Exists`] where there is one of its id; what is wrong with it, or with the file.
    pub fn begin(&mut self, run: &Run) -> Result<(), BenchError> {
        self.add(std::slice::from_ref(run))
    }

    /// Keeps whole runs: all of them, or none.
    ///
    /// # Errors
    /// Those of [`History::begin`].
    pub fn add(&mut self, runs: &[Run]) -> Result<(), BenchError> {
        runs.iter().try_for_each(Run::check)?;
        let file = &self.file;
        let transaction = write(&mut self.connection).map_err(|error| schema::of(file, error))?;
        for run in runs {
            add(&transaction, run, file)?;
        }
        transaction.commit().map_err(|error| schema::of(file, error))
    }

    /// Keeps what is known of a row, its rounds apart: those that were kept stay, and no other is added.
    ///
    /// # Errors
    /// What is wrong with the row, or with the file; [`BenchError::NoRun`] where there is no such row.
    pub fn keep_row(&mut self, run: &RunId, index: usize, row: &Row) -> Result<(), BenchError> {
        self.update(run, index, row)
    }

    fn update(&self, run: &RunId, index: usize, row: &Row) -> Result<(), BenchError> {
        let bare = Row { rounds: Vec::new(), ..row.clone() };
        bare.check_parts()?;
        let update = "UPDATE row SET body = ?3 WHERE run = ?1 AND number = ?2 AND cell = ?4";
        let (body, key) = (self.json(&bare)?, row.cell.key());
        let changed = self.connection.execute(update, params![run.as_str(), number(index), body, key]);
        match changed.map_err(|error| self.error(error))? {
            1 => Ok(()),
            _ => Err(BenchError::NoRun { asked: format!("{run}, row {index}") }),
        }
    }

    /// Keeps a round that ended, and what is known of its row since: both, or neither.
    ///
    /// # Errors
    /// What is wrong with the round, or with the file; [`BenchError::Exists`] where that round is there already, and
    /// [`BenchError::NoRun`] where there is no such row.
    pub fn keep_round(&mut self, run: &RunId, index: usize, round: &Round, row: &Row) -> Result<(), BenchError> {
        round.check(u32::MAX)?;
        let body = self.json(round)?;
        let both = self.connection.unchecked_transaction().map_err(|error| self.error(error))?;
        let insert = "INSERT INTO round VALUES (?1, ?2, ?3, ?4)";
        both.execute(insert, params![run.as_str(), number(index), round.index, body]).map_err(|error| {
            if is_there_already(&error) {
                BenchError::Exists { id: format!("{run}, row {index}, round {}", round.index) }
            } else if is_of_nothing(&error) {
                BenchError::NoRun { asked: format!("{run}, row {index}") }
            } else {
                self.error(error)
            }
        })?;
        self.update(run, index, row)?;
        both.commit().map_err(|error| self.error(error))
    }

    /// Keeps how a run ended, or that it goes on.
    ///
    /// # Errors
    /// [`BenchError::NoRun`] where there is none; what is wrong with the file.
    pub fn set_state(&mut self, run: &RunId, state: RunState, ended_ms: Option<u64>) -> Result<(), BenchError> {
        let update = "UPDATE run SET state = ?2, ended = ?3 WHERE id = ?1";
        let changed = self.connection.execute(update, params![run.as_str(), self.json(&state)?, ended_ms.map(time)]);
        match changed.map_err(|error| self.error(error))? {
            1 => Ok(()),
            _ => Err(BenchError::NoRun { asked: run.to_string() }),
        }
    }

    /// Removes a run, and tells which.
    ///
    /// # Errors
    /// [`BenchError::NoRun`] and [`BenchError::Ambiguous`]; what is wrong with the file.
    pub fn delete(&mut self, selector: &Selector) -> Result<RunId, BenchError> {
        let id = self.find(selector)?;
        self.connection.execute("DELETE FROM run WHERE id = ?1", [id.as_str()]).map_err(|error| self.error(error))?;
        Ok(id)
    }

    fn error(&self, error: Error) -> BenchError {
        schema::of(&self.file, error)
    }

    fn json<T: Serialize>(&self, value: &T) -> Result<String, BenchError> {
        json(value, &self.file)
    }
}

/// Begins to write. Who comes second waits now and not in the middle.
fn write(connection: &mut Connection) -> Result<Transaction<'_>, Error> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn add(transaction: &Transaction, run: &Run, file: &str) -> Result<(), BenchError> {
    let of = |error| match error {
        error if is_there_already(&error) => BenchError::Exists { id: run.id.to_string() },
        error => schema::of(file, error),
    };
    let head = json(&Run { rows: Vec::new(), ..run.clone() }, file)?;
    let row = params![run.id.as_str(), time(run.started_ms), run.ended_ms.map(time), json(&run.state, file)?, head];
    transaction.execute("INSERT INTO run VALUES (?1, ?2, ?3, ?4, ?5)", row).map_err(of)?;
    let mut rows = transaction.prepare("INSERT INTO row VALUES (?1, ?2, ?3, ?4)").map_err(of)?;
    let mut rounds = transaction.prepare("INSERT INTO round VALUES (?1, ?2, ?3, ?4)").map_err(of)?;
    for (index, row) in run.rows.iter().enumerate() {
        let body = json(&Row { rounds: Vec::new(), ..row.clone() }, file)?;
        rows.execute(params![run.id.as_str(), number(index), row.cell.key(), body]).map_err(of)?;
        for round in &row.rounds {
            rounds.execute(params![run.id.as_str(), number(index), round.index, json(round, file)?]).map_err(of)?;
        }
    }
    Ok(())
}

fn json<T: Serialize>(value: &T, file: &str) -> Result<String, BenchError> {
    serde_json::to_string(value).map_err(|error| BenchError::Sqlite { file: file.into(), what: error.to_string() })
}

/// A time that is within what a record may have.
fn time(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// The number of a row, as SQLite has it.
fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn is_there_already(error: &Error) -> bool {
    matches!(code(error), Some(SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_UNIQUE))
}

fn is_of_nothing(error: &Error) -> bool {
    code(error) == Some(SQLITE_CONSTRAINT_FOREIGNKEY)
}

fn code(error: &Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

#[cfg(test)]
mod tests;
