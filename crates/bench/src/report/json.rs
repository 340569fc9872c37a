//! JSON: a run, with what its rounds come to.

use serde_json::{Value, json};

use crate::{BenchError, Run, steady};

/// A run as it is recorded, with the [`Summary`](crate::Summary) and the marks of each row.
///
/// # Errors
/// [`BenchError::Record`] where a number in it has no form in JSON.
pub fn json(run: &Run) -> Result<Value, BenchError> {
    let value = |value: serde_json::Result<Value>| {
        value.map_err(|error| BenchError::Record { at: run.id.to_string(), what: error.to_string() })
    };
    let mut all = value(serde_json::to_value(run))?;
    for (row, in_json) in run.rows.iter().zip(all["rows"].as_array_mut().into_iter().flatten()) {
        in_json["summary"] = value(serde_json::to_value(row.summary()))?;
        in_json["marks"] = value(serde_json::to_value(steady::marks(row, run.machine.cores)))?;
        in_json["is_hardware"] = json!(row.is_hardware());
    }
    Ok(all)
}
