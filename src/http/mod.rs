//! HTTP for operators: the live page with the calls that it makes, metrics, liveness and readiness; and the service's own
//! CPU profile, where that is offered.

mod live;
mod names;
#[cfg(all(target_os = "linux", feature = "pprof"))]
mod profile;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State, connect_info::Connected},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{MethodRouter, get},
    serve::{IncomingStream, Listener},
};
use metrics_exporter_prometheus::PrometheusHandle;
use metrics_process::Collector;
use tower::Service;

pub use live::Live;
pub use names::Names;

use crate::{
    connections::{Connection, Connections},
    drain::Drain,
    metrics,
    pool::{BrowserState, ModelStatus, Pool},
};

/// How often histograms are condensed.
const UPKEEP: Duration = Duration::from_secs(5);

/// What is told.
pub struct Parts {
    /// What was recorded.
    pub metrics: PrometheusHandle,
    /// The browsers.
    pub pool: Pool,
    /// Tells when to end.
    pub drain: Drain,
    /// Whether profiles are offered.
    pub debug: bool,
}

struct Shared {
    metrics: PrometheusHandle,
    process: Collector,
    pool: Pool,
    drain: Drain,
}

/// Serves until the drain is done and what was asked is answered; `live` where the page is wanted.
pub async fn serve<S>(connections: Connections, parts: Parts, live: Option<Live<S>>) -> std::io::Result<()>
where
    S: Service<Request, Response: IntoResponse, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    let Parts { metrics, pool, drain, debug } = parts;
    let process = Collector::default();
    process.describe();
    let shared = Arc::new(Shared { metrics: metrics.clone(), process, pool, drain: drain.clone() });
    let upkeep = async {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            metrics.run_upkeep();
        }
    };
    let mut router = Router::new()
        .route("/metrics", get(render))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .with_state(shared)
        .route("/debug/pprof/profile", profiles(debug));
    if let Some(live) = live {
        router = router.merge(live.router());
    }
    let router = router.into_make_service_with_connect_info::<Peer>();
    let serve = axum::serve(connections, router).with_graceful_shutdown(async move {
        drain.begun().await;
        drain.done().await;
    });
    tokio::select! {
        result = serve => result,
        () = upkeep => Ok(()),
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let connection = self.accept().await;
        let peer = connection.peer();
        (connection, peer)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address())
    }
}

/// Who has connected.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        Self(*stream.remote_addr())
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
    // It takes milliseconds of computing, which calls would wait for.
    let rendered = tokio::task::spawn_blocking(move || {
        shared.process.collect();
        metrics::measure();
        shared.metrics.render()
    });
    match rendered.await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
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
