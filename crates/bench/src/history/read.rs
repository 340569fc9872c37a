//! Read: runs as they were kept. What another program wrote into the file may be anything, and is checked.

use rusqlite::{Error, OptionalExtension, params};
use serde::{Deserialize, de::DeserializeOwned};

use super::{History, Selector};
use crate::{
    BenchError,
    plan::Cell,
    record::{Round, Row, RowState, Run, RunId, RunState},
};

/// A run, as lists have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: RunId,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How far it came.
    pub state: RunState,
    /// Version of the service.
    pub service_version: String,
    /// Ids of its models.
    pub models: Vec<String>,
    /// Its cells.
    pub cells: u32,
    /// Of these, those of which all rounds are there.
    pub measured: u32,
}

/// A row of another run.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// The run, without its rows.
    pub run: Run,
    /// The row.
    pub row: Row,
}

/// What is looked at of a row for a list.
#[derive(Deserialize)]
struct State {
    state: RowState,
}

impl History {
    /// The latest runs, the latest first.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn list(&self, most: u32) -> Result<Vec<Listed>, BenchError> {
        let ids = "SELECT id FROM run ORDER BY started DESC, id DESC LIMIT ?1";
        let ids: Vec<String> = self.all(ids, params![most], |row| row.get(0))?;
        ids.iter().map(|id| self.listed(id)).collect()
    }

    fn listed(&self, id: &str) -> Result<Listed, BenchError> {
        let run = self.head(id)?;
        let bodies: Vec<String> = self.all("SELECT body FROM row WHERE run = ?1", params![id], |row| row.get(0))?;
        let states: Vec<State> = bodies.iter().map(|body| self.parse(body)).collect::<Result<_, _>>()?;
        let measured = states.iter().filter(|state| state.state == RowState::Measured).count();
        Ok(Listed {
            id: run.id,
            started_ms: run.started_ms,
            ended_ms: run.ended_ms,
            state: run.state,
            service_version: run.service_version,
            models: run.plan.models,
            cells: u32::try_from(states.len()).unwrap_or(u32::MAX),
            measured: u32::try_from(measured).unwrap_or(u32::MAX),
        })
    }

    /// A run with all that is known of it.
    ///
    /// # Errors
    /// [`BenchError::NoRun`] and [`BenchError::Ambiguous`]; what is wrong with the file.
    pub fn get(&self, selector: &Selector) -> Result<Run, BenchError> {
        // Others may write meanwhile, or remove it.
        let _look = self.connection.unchecked_transaction().map_err(|error| self.error(error))?;
        let id = self.find(selector)?;
        let mut run = self.head(id.as_str())?;
        let bodies = "SELECT body FROM row WHERE run = ?1 ORDER BY number";
        let bodies: Vec<String> = self.all(bodies, params![id.as_str()], |row| row.get(0))?;
        run.rows = bodies.iter().map(|body| self.parse(body)).collect::<Result<_, _>>()?;
        for (index, row) in run.rows.iter_mut().enumerate() {
            row.rounds = self.rounds(id.as_str(), super::number(index))?;
        }
        run.check().map_err(|error| self.damaged(&error))?;
        Ok(run)
    }

    /// The rows of a cell in runs that began before a time, the latest first.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn earlier(&self, cell: &Cell, before_ms: u64, most: u32) -> Result<Vec<Earlier>, BenchError> {
        let query = "SELECT run.id, row.number, row.body FROM row JOIN run ON run.id = row.run
                     WHERE row.cell = ?1 AND run.started < ?2 ORDER BY run.started DESC, run.id DESC LIMIT ?3";
        let rows: Vec<(String, i64, String)> =
            self.all(query, params![cell.key(), super::time(before_ms), most], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let earlier = |(id, index, body): (String, i64, String)| {
            let mut row: Row = self.parse(&body)?;
            row.rounds = self.rounds(&id, index)?;
            Ok(Earlier { run: self.head(&id)?, row })
        };
        rows.into_iter().map(earlier).collect()
    }

    /// The id of the run that is meant.
    ///
    /// # Errors
    /// [`BenchError::NoRun`] and [`BenchError::Ambiguous`]; what is wrong with the file.
    pub fn find(&self, selector: &Selector) -> Result<RunId, BenchError> {
        let ids: Vec<String> = match selector {
            Selector::Latest(back) => {
                let query = "SELECT id FROM run ORDER BY started DESC, id DESC LIMIT 1 OFFSET ?1";
                self.all(query, params![back], |row| row.get(0))?
            }
            Selector::Prefix(prefix) => {
                let query = "SELECT id FROM run WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id LIMIT 2";
                self.all(query, params![prefix], |row| row.get(0))?
            }
        };
        match ids.as_slice() {
            [] => Err(BenchError::NoRun { asked: selector.to_string() }),
            [id] => id.parse().map_err(|error: String| self.damaged(&error)),
            [first, second, ..] => {
                Err(BenchError::Ambiguous { asked: selector.to_string(), first: first.clone(), second: second.clone() })
            }
        }
    }

    /// A run without its rows.
    fn head(&self, id: &str) -> Result<Run, BenchError> {
        let query = "SELECT head, state, ended FROM run WHERE id = ?1";
        let found = self.connection.query_row(query, [id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<i64>>(2)?))
        });
        let found = found.optional().map_err(|error| self.error(error))?;
        let (head, state, ended) = found.ok_or_else(|| BenchError::NoRun { asked: id.into() })?;
        let mut run: Run = self.parse(&head)?;
        run.state = self.parse(&state)?;
        run.ended_ms = ended.map(u64::try_from).transpose().map_err(|error| self.damaged(&error))?;
        Ok(run)
    }

    pub(super) fn rounds(&self, id: &str, row: i64) -> Result<Vec<Round>, BenchError> {
        let query = "SELECT body FROM round WHERE run = ?1 AND row = ?2 ORDER BY number";
        let bodies: Vec<String> = self.all(query, params![id, row], |row| row.get(0))?;
        bodies.iter().map(|body| self.parse(body)).collect()
    }

    fn all<T>(
        &self,
        query: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, BenchError> {
        let mut query = self.connection.prepare(query).map_err(|error| self.error(error))?;
        let rows = query.query_map(parameters, read).map_err(|error| self.error(error))?;
        rows.collect::<Result<_, _>>().map_err(|error| self.error(error))
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, BenchError> {
        serde_json::from_str(text).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, what: &impl std::fmt::Display) -> BenchError {
        BenchError::Damaged { file: self.file.clone(), what: what.to_string() }
    }
}
