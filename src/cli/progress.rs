//! Progress: has a model loaded, and shows how far that is.

use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};

use super::CommandError;
use crate::{proto::v1, rpc::client::Client};

/// Has a model loaded; ends when one replica can answer.
pub async fn load(client: &Client, model: &str) -> Result<(), CommandError> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix} [{bar:30}] {bytes}/{total_bytes} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_prefix(format!("loading {model}"));
    let mut steps = client.load(model).await?;
    let mut elapsed = 0;
    while let Some(step) = steps.next().await {
        let step = step.inspect_err(|_| bar.abandon())?;
        elapsed = step.elapsed_ms;
        bar.set_length(step.total_bytes);
        bar.set_position(step.loaded_bytes);
        bar.set_message(match step.phase() {
            v1::LoadPhase::Files => step.file,
            v1::LoadPhase::Compile => "creating the session".into(),
            v1::LoadPhase::WarmUp => "first run".into(),
            v1::LoadPhase::Ready => "ready".into(),
            v1::LoadPhase::Simulated => "placeholders only".into(),
            v1::LoadPhase::Prepare | v1::LoadPhase::Unspecified => "waiting for a browser".into(),
        });
        if step.ready_replicas > 0 {
            // One replica can answer; the others come meanwhile.
            break;
        }
    }
    bar.finish_and_clear();
    eprintln!("{model} is loaded ({elapsed} ms)");
    Ok(())
}
