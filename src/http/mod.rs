//! HTTP for operators: metrics, liveness and readiness; and the service's own CPU profile, where that is offered.

#[cfg(all(target_os = "linux", feature = "pprof"))]
mod profile;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{MethodRouter, get},
};
use metrics_exporter_prometheus::PrometheusHandle;
use metrics_process::Collector;
use tokio::net::TcpListener;

use crate::{
    drain::Drain,
    metrics,
    pool::{BrowserState, ModelStatus, Pool},
};

/// How often histograms are condensed.
const UPKEEP: Duration = Duration::from_secs(5);

struct Shared {
    metrics: PrometheusHandle,
    process: Collector,
    pool: Pool,
    drain: Drain,
}

/// Serves until `drain` is done; the listener ends with the returned future. `debug` is whether profiles are offered.
pub async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    pool: Pool,
    drain: Drain,
    debug: bool,
) -> std::io::Result<()> {
    let process = Collector::default();
    process.describe();
    let shared = Arc::new(Shared { metrics: metrics.clone(), process, pool, drain });
    let upkeep = async {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            metrics.run_upkeep();
        }
    };
    let router = Router::new()
        .route("/metrics", get(render))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .with_state(shared)
        .route("/debug/pprof/profile", profiles(debug));
    tokio::select! {
        result = axum::serve(listener, router) => result,
        () = upkeep => Ok(()),
    }
}

/// The service's own CPU profile, or why there is none.
fn profiles(debug: bool) -> MethodRouter {
    if !debug {
        return get(|| async { (StatusCode::NOT_FOUND, "profiles are off; start the service with --debug\n") });
    }
    #[cfg(all(target_os = "linux", feature = "pprof"))]
    return profile::route();
    #[cfg(not(all(target_os = "linux", feature = "pprof")))]
    return get(|| async {
        (StatusCode::NOT_IMPLEMENTED, "profiles need Linux, and a build with the feature pprof\n")
    });
}

async fn render(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    shared.process.collect();
    metrics::measure();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics.render())
}

/// Ready when every model that is kept loaded serves, and at least one browser is there.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    if shared.drain.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the service is shutting down\n".into());
    }
    let view = shared.pool.view();
    let mut waiting: Vec<_> = view
        .models
        .iter()
        .filter_map(|(id, status)| match status {
            ModelStatus::Ready(_) | ModelStatus::Asleep => None,
            ModelStatus::Loading => Some(format!("{id} is being loaded")),
            ModelStatus::Failed(error) | ModelStatus::Simulated(error) => Some(error.to_string()),
        })
        .collect();
    if !view.browsers.iter().any(|browser| browser.state == BrowserState::Ready) {
        waiting.extend(view.browsers.iter().map(|browser| format!("{}: {}", browser.id, browser.reason)));
    }
    if waiting.is_empty() {
        (StatusCode::OK, "ready\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, waiting.join("\n") + "\n")
    }
}
