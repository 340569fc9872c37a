//! Once: how a service is now, as text.

use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use futures_util::StreamExt;

use super::{
    findings::{self, Tone},
    models,
    rates::HOPS,
    state::{Known, Sort},
    words,
};
use crate::{
    cli::{CommandError, pool},
    proto::v1,
    rpc::client::Client,
};

/// Failed requests that are told.
const FAILED: usize = 5;

/// Asks for all there is, and tells it.
pub async fn text(client: &Client) -> Result<String, CommandError> {
    let mut known = Known { pool: Some(client.pool(false).await?), models: client.models().await?, ..Known::default() };
    let message = client.watch_activity().await?.next().await;
    let message = message.ok_or_else(|| CommandError::Usage("the service has ended".into()))??;
    known.take(message, true);
    Ok(tell(known))
}

fn tell(known: Known) -> String {
    let mut parts = vec![findings(&known), numbers(&known)];
    parts.extend(known.pool.as_ref().map(pool::show));
    parts.push(models(&known));
    parts.extend(failures(&known));
    parts.join("\n\n")
}

fn findings(known: &Known) -> String {
    let found = findings::all(known);
    if found.is_empty() {
        return "nothing is broken, and nothing waits for long".into();
    }
    let line = |(tone, text)| match tone {
        Tone::Bad => format!("broken: {text}"),
        Tone::Warn => format!("attention: {text}"),
        Tone::Note => format!("note: {text}"),
    };
    found.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn numbers(known: &Known) -> String {
    let did = known.recent(None);
    let rate = |many| words::number(did.per_second(many));
    let [p50, p95, p99] = did.quantiles_us.map(words::time);
    let mut text = format!(
        "last {} seconds: {} requests/s, {} failed/s, {} items/s, {} batches/s, {} tokens/s\n\
         latency, slowest second: p50 {p50}, p95 {p95}, p99 {p99}; {} items wait",
        did.seconds,
        rate(did.answered),
        rate(did.failed),
        rate(did.items),
        rate(did.batches),
        rate(did.tokens),
        did.queued,
    );
    if let Some(hops) = did.hops() {
        let hops = hops.into_iter().zip(HOPS).map(|((us, _), name)| format!("{name} {}", words::time(us)));
        text += &format!("\ntime of a batch: {}", hops.collect::<Vec<_>>().join(" + "));
    }
    text
}

fn models(known: &Known) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(models::HEADER);
    for (model, did) in known.models(Sort::Requests) {
        table.add_row(models::cells(known, model, &did));
    }
    table.to_string()
}

fn failures(known: &Known) -> Option<String> {
    let line = |failed: &v1::FailedRequest| {
        let model = if failed.model.is_empty() { "-" } else { &failed.model };
        format!("failed: {model}: {}: {}", failed.reason, failed.message)
    };
    let lines: Vec<_> = known.failed.iter().rev().take(FAILED).map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
