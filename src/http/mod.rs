//! HTTP for operators: metrics, liveness and readiness.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
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

/// Serves until `drain` is done; the listener ends with the returned future.
pub async fn serve(listener: TcpListener, metrics: PrometheusHandle, pool: Pool, drain: Drain) -> std::io::Result<()> {
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
        .with_state(shared);
    tokio::select! {
        result = axum::serve(listener, router) => result,
        () = upkeep => Ok(()),
    }
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
