//! `webinfer serve`: the service, until it is told to end.

use tokio::signal;

use super::CommandError;
use crate::{
    app::{self, App},
    browser,
    config::Serve,
    pool::{LoadStatus, Phase},
};

/// The model that is loaded where nothing was said. Alone it may be missing.
const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

pub async fn run(serve: Serve) -> Result<(), CommandError> {
    // Without a browser nothing will ever be served: better said now than by each request.
    browser::check(&serve.browser, &serve.search_path).map_err(CommandError::Usage)?;
    let (kinds, browsers) = (serve.browser.len(), serve.browsers as usize);
    if kinds > browsers {
        tracing::warn!("--browser is given {kinds} times, and at most {browsers} serve: see --browsers");
    }
    let app = app::start(&serve, app::drivers(&serve)).await?;
    tracing::info!("gRPC on {}, HTTP on http://{}", app.address, app.http_address);
    let ended = async {
        load(&app, &serve).await?;
        std::future::pending().await
    };
    let result = tokio::select! {
        result = ended => result,
        () = told_to_end() => Ok(()),
    };
    tracing::info!("shutting down: admitted work is answered first; a second signal ends at once");
    tokio::select! {
        () = app.shut_down() => tracing::info!("ended"),
        () = told_to_end() => tracing::warn!("ended at once"),
    }
    result
}

async fn load(app: &App, serve: &Serve) -> Result<(), CommandError> {
    for id in serve.load.iter().filter(|id| *id != "none") {
        let model = match app.registry.get(id) {
            Ok(model) => model,
            Err(_) if serve.load == [DEFAULT_MODEL] => {
                let folder = serve.models.display();
                tracing::warn!("{folder} has no {id}: no model is loaded; register one over gRPC, or see --models");
                continue;
            }
            Err(error) => return Err(CommandError::Usage(format!("--load {id}: {error}"))),
        };
        if let Ok(status) = app.pool.load(model).await {
            tokio::spawn(report(id.clone(), status));
        }
    }
    Ok(())
}

/// Logs how the load of a model goes.
async fn report(id: String, mut status: tokio::sync::watch::Receiver<LoadStatus>) {
    let mut phase = None;
    loop {
        let now = status.borrow_and_update().clone();
        if let Some(error) = now.error {
            let instead = if now.phase == Phase::Simulated { "; its answers are placeholders" } else { "" };
            return tracing::error!("{error}{instead}");
        }
        if phase != Some(now.phase) {
            let (ready, replicas) = (now.ready, now.replicas);
            tracing::info!(model = id, phase = ?now.phase, "loading: {ready} of {replicas} replicas serve");
            phase = Some(now.phase);
        }
        if now.phase == Phase::Ready || status.changed().await.is_err() {
            return;
        }
    }
}

/// Ends when the process is asked to end.
async fn told_to_end() {
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = signal::ctrl_c() => {}
            }
            return;
        }
    }
    // Where no handler can be set, the signal ends the process by itself.
    let _ = signal::ctrl_c().await;
}
