//! `webinfer explain`: where a model's requests go, and why.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use serde_json::json;

use super::{CommandError, report};
use crate::{proto::v1, rpc::client::Client};

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Of the backends that the registration allows, the first is used that can be had and answers rightly, \
    or a later one that was measured to be faster by a fifth. A registration with FALLBACK_EXACT uses its first alone."
)]
pub struct Explain {
    /// Id of a loaded model
    model: String,
    /// Address of the service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    address: String,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub async fn run(explain: Explain) -> Result<(), CommandError> {
    let client = Client::connect(&explain.address).await?;
    let v1::ExplainResponse { candidates, routes } = client.explain(&explain.model).await?;
    if explain.json {
        let cost = |cost: &v1::Cost| {
            json!({
                "length": cost.length, "items": cost.items, "item_us": cost.item_us, "runs": cost.runs,
                "age_s": cost.age_s,
            })
        };
        let candidate = |candidate: &v1::Candidate| {
            json!({
                "browser_id": candidate.browser_id, "browser": candidate.browser,
                "backend": report::backend(candidate.backend()), "chosen": candidate.chosen,
                "reason": candidate.reason, "workers": candidate.workers,
                "costs": candidate.costs.iter().map(cost).collect::<Vec<_>>(),
            })
        };
        let route = |route: &v1::Route| {
            json!({
                "worker": route.worker, "browser": route.browser, "backend": report::backend(route.backend()),
                "dtype": route.dtype, "batch_items": route.batch_items, "predicted_us": route.predicted_us,
                "through_us": route.through_us, "slowness": route.slowness, "in_hand": route.in_hand,
                "runs": route.runs, "chosen_because": route.chosen_because,
            })
        };
        let document = json!({
            "model": explain.model, "candidates": candidates.iter().map(candidate).collect::<Vec<_>>(),
            "routes": routes.iter().map(route).collect::<Vec<_>>(),
        });
        println!("{}", serde_json::to_string_pretty(&document).unwrap_or_default());
    } else {
        println!("{}\n\nThe next batch:\n{}", table(&candidates), route_table(&routes));
    }
    Ok(())
}

fn table(candidates: &[v1::Candidate]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["browser", "backend", "", "workers", "ms an item", "why not"]);
    for candidate in candidates {
        let cost = |cost: &v1::Cost| {
            let (millis, items) = (cost.item_us / 1000.0, cost.items);
            format!("{millis:.2} in batches of {items}, up to {} long", cost.length)
        };
        table.add_row([
            format!("{} {}", candidate.browser_id, candidate.browser),
            report::backend(candidate.backend()).to_owned(),
            if candidate.chosen { "chosen" } else { "" }.to_owned(),
            candidate.workers.join("\n"),
            candidate.costs.iter().map(cost).collect::<Vec<_>>().join("\n"),
            candidate.reason.clone(),
        ]);
    }
    table
}

fn route_table(routes: &[v1::Route]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["worker", "on", "items", "should take", "through in", "runs", "goes there, because"]);
    let millis = |micros: u64| format!("{:.2} ms", micros as f64 / 1000.0);
    for route in routes {
        table.add_row([
            route.worker.clone(),
            format!("{} {} {}", route.browser, report::backend(route.backend()), route.dtype),
            route.batch_items.to_string(),
            if route.predicted_us > 0 { millis(route.predicted_us) } else { "not known".to_owned() },
            millis(route.through_us),
            route.runs.to_string(),
            route.chosen_because.clone(),
        ]);
    }
    table
}
