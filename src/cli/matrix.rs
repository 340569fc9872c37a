//! `webinfer doctor --matrix`: how a model fares in each browser, on each backend, in each precision.

use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{CommandError, doctor, report};
use crate::{browser::Wanted, config::Serve, proto::v1, rpc::client::Client};

/// A row, or why a browser has none.
type Row = Result<v1::MatrixRow, (String, String)>;

/// Tries a model out, one browser after the other, and prints what came of it.
pub async fn run(serve: &Serve, found: &[Wanted], model: &str, json: bool) -> Result<(), CommandError> {
    let mut rows: Vec<Row> = Vec::new();
    for wanted in found {
        let tried = doctor::with_service(serve, wanted, async |client| try_all(client, model, wanted).await).await;
        match tried {
            Ok(tried) => rows.extend(tried.into_iter().map(Ok)),
            // A model that there is not is so in all browsers.
            Err(error @ CommandError::Call(_)) => return Err(error),
            Err(error) => rows.push(Err((wanted.to_string(), error.to_string()))),
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&document(model, &rows)).unwrap_or_default());
    } else {
        println!("{}", table(&rows));
    }
    if rows.iter().flatten().any(|row| row.verdict() == v1::Verdict::Right) {
        Ok(())
    } else {
        Err(CommandError::Usage(format!("{model} answers rightly nowhere here")))
    }
}

async fn try_all(client: Client, model: &str, wanted: &Wanted) -> Result<Vec<v1::MatrixRow>, CommandError> {
    let mut steps = client.matrix(model).await?;
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(wanted.to_string());
    let mut rows = Vec::new();
    while let Some(step) = steps.next().await {
        let v1::MatrixResponse { row, done, total } = step?;
        bar.set_length(total.into());
        bar.set_position(done.into());
        bar.set_message(format!("{}:", eta(&bar)));
        rows.extend(row);
    }
    bar.finish_and_clear();
    Ok(rows)
}

fn eta(bar: &ProgressBar) -> String {
    format!("{} left", humantime::format_duration(std::time::Duration::from_secs(bar.eta().as_secs())))
}

/// Time of an item in the smallest batch and in the largest, in milliseconds.
fn times(row: &v1::MatrixRow) -> Option<(f64, f64)> {
    let first = row.costs.iter().min_by_key(|cost| cost.items)?;
    let last = row.costs.iter().max_by_key(|cost| cost.items)?;
    Some((first.item_us / 1000.0, last.item_us / 1000.0))
}

/// How many times as long as the fastest row that is right.
fn slower(row: &v1::MatrixRow, rows: &[Row]) -> Option<f64> {
    let right = rows.iter().flatten().filter(|row| row.verdict() == v1::Verdict::Right);
    let best = right.filter_map(times).map(|(_, last)| last).min_by(f64::total_cmp)?;
    times(row).map(|(_, last)| last / best)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "browser",
        "backend",
        "precision",
        "verdict",
        "agreement",
        "ms alone",
        "ms in a batch",
        "times",
        "load",
        "remark",
    ]);
    let figure =
        |value: Option<f64>, digits: usize| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err((browser, reason)) => {
                table.add_row([browser.as_str(), "", "", "no browser", "", "", "", "", "", reason.as_str()]);
                continue;
            }
        };
        let agreement = row.check.as_ref().map(|check| format!("{:.5} {}", check.value, check.measure));
        let hardware = if row.adapter.is_empty() {
            String::new()
        } else {
            format!("{}: {}", report::hardware(row.hardware()), row.adapter)
        };
        table.add_row([
            row.browser.clone(),
            report::backend(row.backend()).to_owned(),
            row.dtype.clone(),
            verdict(row.verdict()).to_owned(),
            agreement.unwrap_or_default(),
            figure(times(row).map(|(alone, _)| alone), 1),
            figure(times(row).map(|(_, batch)| batch), 1),
            figure(slower(row, rows), 1),
            if row.load_ms > 0 { format!("{:.1} s", row.load_ms as f64 / 1000.0) } else { String::new() },
            if row.reason.is_empty() { hardware } else { row.reason.clone() },
        ]);
    }
    table
}

fn document(model: &str, rows: &[Row]) -> Value {
    let row = |row: &Row| match row {
        Err((browser, reason)) => json!({"browser": browser, "verdict": "no_browser", "reason": reason}),
        Ok(row) => {
            let check = row.check.as_ref().map(|check| {
                json!({
                    "measure": check.measure, "value": check.value, "least": check.least, "against": check.against,
                })
            });
            let cost = |cost: &v1::Cost| json!({"length": cost.length, "items": cost.items, "item_us": cost.item_us, "runs": cost.runs});
            json!({
                "browser": row.browser, "backend": report::backend(row.backend()), "dtype": row.dtype,
                "verdict": verdict(row.verdict()), "reason": row.reason, "check": check,
                "costs": row.costs.iter().map(cost).collect::<Vec<_>>(), "times_as_slow": slower(row, rows),
                "load_ms": row.load_ms, "adapter": row.adapter, "hardware": report::hardware(row.hardware()),
                "threads": row.threads,
            })
        }
    };
    json!({"model": model, "version": env!("CARGO_PKG_VERSION"), "rows": rows.iter().map(row).collect::<Vec<_>>()})
}

fn verdict(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Unspecified | v1::Verdict::Unknown => "unknown",
        v1::Verdict::Right => "right",
        v1::Verdict::Wrong => "wrong",
        v1::Verdict::Failed => "failed",
        v1::Verdict::Lacking => "lacking",
        v1::Verdict::Lost => "lost",
    }
}
