//! Rows: the way between rows and what they tell. Another program may have written them: one that tells nothing is left out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Error, Row, types::FromSql};

use super::{Circumstance, Cost, Verdict, VerdictRow};
use crate::execution::Backend;

/// The columns of a circumstance, which come first.
pub const CIRCUMSTANCE: &str = "model, browser, browser_version, backend, dtype, adapter, threads";

/// The cost in a row of [`CIRCUMSTANCE`] and its own columns.
pub fn cost(row: &Row) -> Result<Option<Cost>, Error> {
    let cost = || {
        Some(Cost {
            circumstance: circumstance(row)?,
            class: get(row, 7)?,
            items: get(row, 8)?,
            micros_per_item: get(row, 9).filter(|micros: &f64| micros.is_finite())?,
            runs: get(row, 10)?,
            measured: time(get(row, 11)?)?,
        })
    };
    Ok(cost())
}

/// The verdict in a row of [`CIRCUMSTANCE`] and its own columns.
pub fn verdict(row: &Row) -> Result<Option<VerdictRow>, Error> {
    let verdict = || {
        let name: String = get(row, 7)?;
        // A value that is no number is kept as none.
        let number = |index| get(row, index).unwrap_or(f64::NAN);
        let measure = get::<Option<String>>(row, 8)?;
        Some(VerdictRow {
            circumstance: circumstance(row)?,
            verdict: VERDICTS.into_iter().find(|verdict| name_of(*verdict) == name)?,
            agreement: measure.map(|measure| (measure, number(9), number(10))),
            reason: get(row, 11)?,
            load_ms: get(row, 12).and_then(|millis: i64| u64::try_from(millis).ok())?,
            measured: time(get(row, 13)?)?,
        })
    };
    Ok(verdict())
}

fn circumstance(row: &Row) -> Option<Circumstance> {
    Some(Circumstance {
        model_sha256: get(row, 0)?,
        browser: get(row, 1)?,
        browser_version: get(row, 2)?,
        backend: get::<String>(row, 3).and_then(|name| name.parse::<Backend>().ok())?,
        dtype: get(row, 4)?,
        adapter: get(row, 5)?,
        threads: get(row, 6)?,
    })
}

fn get<T: FromSql>(row: &Row, index: usize) -> Option<T> {
    row.get(index).ok()
}

const VERDICTS: [Verdict; 3] = [Verdict::Right, Verdict::Wrong, Verdict::Failed];

/// A verdict as it is kept.
pub fn name_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Right => "right",
        Verdict::Wrong => "wrong",
        Verdict::Failed => "failed",
    }
}

/// A time as it is kept, in milliseconds since 1970; what is outside is at its ends.
pub fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(millis).ok()?))
}
