//! Progress: has a model loaded, and shows how far that is.

use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};

use super::CommandError;
use crate::{proto::v1, rpc::client::Client};

/// Has a model loaded; ends when one replica can answer, or when it is known that none will and placeholders do.
pub async fn load(client: &Client, model: &str) -> Result<(), CommandError> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix} [{bar:30}] {bytes}/{total_bytes} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_prefix(format!("loading {model}"));
    let mut steps = client.load(model).await?;
    let mut last = v1::LoadResponse::default();
    while let Some(step) = steps.next().await {
        let step = step.inspect_err(|_| bar.abandon())?;
        bar.set_length(step.total_bytes);
        bar.set_position(step.loaded_bytes);
        bar.set_message(match step.phase() {
            v1::LoadPhase::Files => step.file.clone(),
            v1::LoadPhase::Compile => "creating the session".into(),
            v1::LoadPhase::WarmUp => "first run".into(),
            v1::LoadPhase::Ready => "ready".into(),
            v1::LoadPhase::Simulated => "placeholders only".into(),
            v1::LoadPhase::Prepare | v1::LoadPhase::Unspecified => "waiting for a browser".into(),
        });
        last = step;
        if last.ready_replicas > 0 {
            // One replica can answer; the others come meanwhile.
            break;
        }
    }
    bar.finish_and_clear();
    eprintln!("{}", ended(model, &last));
    Ok(())
}

/// How a load ended, by its last step.
fn ended(model: &str, last: &v1::LoadResponse) -> String {
    match last.phase() {
        _ if last.ready_replicas > 0 => format!("{model} is loaded ({} ms)", last.elapsed_ms),
        v1::LoadPhase::Simulated => format!("{model} cannot be run here: its answers are placeholders"),
        // The service ended the load early; what is asked next waits, or says why.
        _ => format!("no replica of {model} is ready yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::ended;
    use crate::proto::v1::{LoadPhase, LoadResponse};

    #[test]
    fn only_what_a_replica_serves_is_loaded() {
        let ended = |phase: LoadPhase, ready_replicas| {
            ended("m", &LoadResponse { phase: phase.into(), ready_replicas, elapsed_ms: 7, ..Default::default() })
        };
        assert_eq!(ended(LoadPhase::Ready, 1), "m is loaded (7 ms)");
        assert_eq!(ended(LoadPhase::Files, 1), "m is loaded (7 ms)");
        assert_eq!(ended(LoadPhase::Simulated, 0), "m cannot be run here: its answers are placeholders");
        assert_eq!(ended(LoadPhase::Prepare, 0), "no replica of m is ready yet");
    }
}
