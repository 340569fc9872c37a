//! Listener: the bridge's own loopback port. It serves the page, the model files and the links, and answers nobody
//! whose Host, Origin or token is not exactly right.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Query, Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    files::{self, Bundle},
    link::{Events, Link, Silence},
};
use crate::models::Registry;

/// The script of workers on WebNN.
const WEBNN_WORKER: &str = "worker-webnn.js";

/// How the bridge listens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of this machine.
    pub address: IpAddr,
    /// The port that it takes if it is free; else the system chooses one.
    pub port: Option<u16>,
    /// Largest frame from a browser, in bytes.
    pub max_frame_bytes: usize,
    /// Folder whose files stand in for those of the page; for tests.
    pub page: Option<PathBuf>,
    /// After this long without a word a page is lost, and a worker that has nothing to do.
    pub silence: Duration,
}

/// The listening bridge. Cheap to clone; it ends with the token given to [`Bridge::bind`].
#[derive(Clone, Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    authority: String,
    origin: HeaderValue,
    policy: HeaderValue,
    webnn_policy: HeaderValue,
    settings: Settings,
    bundle: Bundle,
    /// Path of the bundle's files, ending in "/". It holds their hash: what a browser keeps of them is never old.
    page: String,
    registry: Arc<Registry>,
    /// Links that are expected, by token. A token is taken out by its first use, and dies with its waiter.
    expected: Mutex<HashMap<String, Arrival>>,
}

#[derive(Debug)]
struct Arrival {
    silence: Silence,
    waiter: oneshot::Sender<(Link, Events)>,
}

/// A link that is expected.
#[derive(Debug)]
pub struct Expected {
    /// Path and query by which the browser opens it. It works once.
    pub path: String,
    arrival: oneshot::Receiver<(Link, Events)>,
}

impl Expected {
    /// Ends when the link is there. `None` when the bridge has ended.
    pub async fn arrival(self) -> Option<(Link, Events)> {
        self.arrival.await.ok()
    }
}

impl Bridge {
    /// Binds the port and serves until `stop`.
    pub async fn bind(settings: Settings, registry: Arc<Registry>, stop: CancellationToken) -> std::io::Result<Self> {
        let wished = match settings.port {
            Some(port) => TcpListener::bind((settings.address, port)).await.ok(),
            None => None,
        };
        let listener = match wished {
            Some(listener) => listener,
            None => TcpListener::bind((settings.address, 0)).await?,
        };
        let address = listener.local_addr()?;
        let authority = address.to_string();
        let instead = settings.page.clone();
        let bundle = tokio::task::spawn_blocking(move || Bundle::new(instead.as_deref())).await?;
        let header = |text: String| HeaderValue::from_str(&text).map_err(std::io::Error::other);
        let shared = Arc::new(Shared {
            origin: header(format!("http://{authority}"))?,
            // The runtime needs it to compile WebAssembly.
            policy: header(policy(&authority, "'wasm-unsafe-eval'"))?,
            // Its WebNN besides makes the functions by which it calls the browser at run time (Emscripten's embind).
            webnn_policy: header(policy(&authority, "'wasm-unsafe-eval' 'unsafe-eval'"))?,
            page: format!("/page/{}/", bundle.version),
            bundle,
            address,
            authority,
            settings,
            registry,
            expected: Mutex::default(),
        });
        let router = Router::new()
            .route("/link", get(link))
            .route("/models/{id}/{sha256}/{*path}", get(model_file))
            .route("/page/{version}/{*path}", get(page_file))
            .layer(middleware::from_fn_with_state(shared.clone(), guard))
            .with_state(shared.clone());
        let listener = listener.tap_io(|socket| {
            // Small frames must not wait for acknowledgements.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
        });
        tokio::spawn(async move {
            let serve = axum::serve(listener, router);
            tokio::select! {
                result = serve => tracing::error!(?result, "the bridge ended"),
                () = stop.cancelled() => {}
            }
        });
        Ok(Self { shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Makes a one-time token for the page of a new browser; returns the page's address with it.
    pub fn expect_page(&self) -> (String, Expected) {
        let expected = self.expect(true);
        let Shared { authority, page, .. } = &*self.shared;
        (format!("http://{authority}{page}page.html#{}", expected.path), expected)
    }

    /// Makes a one-time token for a worker. Workers may be silent while they have a call: a run blocks them.
    pub fn expect_worker(&self) -> Expected {
        self.expect(false)
    }

    fn expect(&self, while_called: bool) -> Expected {
        let silence = Silence { limit: self.shared.settings.silence, while_called };
        let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let path = format!("/link?token={token}");
        let (waiter, arrival) = oneshot::channel();
        let mut expected = self.shared.expected();
        expected.retain(|_, arrival| !arrival.waiter.is_closed());
        expected.insert(token, Arrival { silence, waiter });
        Expected { path, arrival }
    }
}

/// A content security policy under which nothing runs and nothing is reached that does not come from here.
fn policy(authority: &str, eval: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' {eval}; worker-src 'self'; connect-src 'self' ws://{authority}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

impl Shared {
    fn expected(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arrival>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns away whoever reached this port under another name (DNS rebinding), and puts the security headers on answers.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if request.headers().get(header::HOST).is_none_or(|host| host.as_bytes() != shared.authority.as_bytes()) {
        return (StatusCode::FORBIDDEN, "wrong Host").into_response();
    }
    let on_webnn = request.uri().path().strip_prefix(&shared.page) == Some(WEBNN_WORKER);
    let policy = if on_webnn { &shared.webnn_policy } else { &shared.policy };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn link(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if headers.get(header::ORIGIN) != Some(&shared.origin) {
        return (StatusCode::FORBIDDEN, "wrong Origin").into_response();
    }
    let arrival = query.get("token").and_then(|token| shared.expected().remove(token));
    let Some(Arrival { silence, waiter }) = arrival.filter(|arrival| !arrival.waiter.is_closed()) else {
        return (StatusCode::FORBIDDEN, "wrong token").into_response();
    };
    let most = shared.settings.max_frame_bytes;
    upgrade.max_message_size(most).max_frame_size(most).on_upgrade(move |socket| async move {
        // The waiter is gone when the browser was given up meanwhile; the socket then closes here.
        let _ = waiter.send(Link::start(socket, silence, most));
    })
}

async fn model_file(
    State(shared): State<Arc<Shared>>,
    Path((id, sha256, path)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    files::model(&shared.registry, &[&id, &sha256, &path], &method, &headers).await
}

async fn page_file(
    State(shared): State<Arc<Shared>>,
    Path((version, path)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    shared.bundle.answer(&version, &path, &method, &headers)
}
