//! `webinfer models list`: the models, what they are for, and where they are from.

use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use indicatif::HumanBytes;
use serde_json::{Value, json};
use webinfer_store::{Held, Store, Unfinished};

use crate::{
    cli::CommandError,
    config::Hub,
    models::{Dtype, Look, look},
};

/// Prints them.
pub fn run(hub: &Hub, json: bool) -> Result<(), CommandError> {
    let store = Store::new(&hub.models);
    let models: Vec<_> = store.list()?.into_iter().map(|held| (look(&hub.models, &held.name), held)).collect();
    let (unfinished, total) = (store.unfinished(), models.iter().map(|(_, held)| held.bytes).sum::<u64>());
    if json {
        let document = json!({
            "models": models.iter().map(|(look, held)| document(look, held)).collect::<Vec<_>>(),
            "unfinished": unfinished.iter().map(part).collect::<Vec<_>>(),
            "total_bytes": total,
        });
        println!("{}", serde_json::to_string_pretty(&document).unwrap_or_default());
        return Ok(());
    }
    println!("{}", table(&models));
    let pulled = models.iter().filter(|(_, held)| held.manifest.is_some()).map(|(_, held)| held.bytes).sum::<u64>();
    println!("{} in all, {} of it pulled{}", HumanBytes(total), HumanBytes(pulled), quota(hub.models_quota));
    for Unfinished { name, bytes, planned, active } in &unfinished {
        let (bytes, planned) = (HumanBytes(*bytes), HumanBytes(*planned));
        let next = if *active { "is being downloaded" } else { "is not whole; `webinfer models pull` goes on with it" };
        println!("{name} {next}: {bytes} of {planned}");
    }
    Ok(())
}

fn quota(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!(", which may take {} (--models-quota)", HumanBytes(bytes)) }
}

fn table(models: &[(Look, Held)]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["model", "task", "dtypes", "could be made", "size", "pulled from", "last used"]);
    let sizes = |dtypes: &[(Dtype, u64)]| {
        let sizes = dtypes.iter().map(|(dtype, bytes)| format!("{} {}", dtype.name(), HumanBytes(*bytes)));
        sizes.collect::<Vec<_>>().join("\n")
    };
    for (look, held) in models {
        let from = held.manifest.as_ref().map_or_else(String::new, |manifest| {
            let commit = manifest.commit.as_ref();
            format!("{}@{}", manifest.repo, &commit[..commit.len().min(12)])
        });
        let used = held.last_used.map_or_else(String::new, |time| humantime::format_rfc3339_seconds(time).to_string());
        let fault = held.fault.as_ref().or(look.fault.as_ref()).map(|fault| format!("unusable: {fault}"));
        table.add_row([
            held.name.clone(),
            fault.or_else(|| look.task.map(str::to_owned)).unwrap_or_default(),
            sizes(&look.dtypes),
            sizes(&look.makeable),
            HumanBytes(held.bytes).to_string(),
            from,
            if held.in_use { format!("{used}\nin use now") } else { used },
        ]);
    }
    table
}

fn document(look: &Look, held: &Held) -> Value {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let dtype = |(dtype, bytes): &(Dtype, u64)| json!({"dtype": dtype.name(), "bytes": bytes});
    json!({
        "name": held.name, "folder": held.folder, "bytes": held.bytes, "task": look.task,
        "dtypes": look.dtypes.iter().map(dtype).collect::<Vec<_>>(),
        "makeable": look.makeable.iter().map(dtype).collect::<Vec<_>>(),
        "pulled": held.manifest.as_ref().map(|manifest| json!({
            "endpoint": manifest.endpoint, "repo": manifest.repo, "revision": manifest.revision,
            "commit": manifest.commit, "files": manifest.files.len(),
        })),
        "last_used": held.last_used.map(seconds), "in_use": held.in_use,
        "fault": held.fault.as_ref().or(look.fault.as_ref()),
    })
}

fn part(part: &Unfinished) -> Value {
    json!({"name": part.name, "bytes": part.bytes, "planned_bytes": part.planned, "active": part.active})
}
