//! The bare page: the product's own runner in a browser, told what to do over one WebSocket, without the bridge.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{
        Request, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use webinfer::{
    browser::{Driver, Running, Settings, Starter, Wanted},
    proto::{bridge, v1},
};

use super::{Machine, Result, repository};

/// Longest wait for an answer of the page.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with the bare page, and the socket of its worker.
pub struct Bare {
    socket: WebSocket,
    shared: Arc<Shared>,
    /// Ends when the driver knows all of the browser, which the page need not wait for.
    starting: JoinHandle<Result<Running>>,
}

struct Shared {
    models: PathBuf,
    /// The items to run, as one frame's batch.
    items: Mutex<Bytes>,
    sockets: mpsc::Sender<WebSocket>,
}

impl Bare {
    /// Starts a browser on the bare page, over the models of a folder, for WASM.
    pub async fn start(models: PathBuf) -> Result<Self> {
        Self::start_in(Wanted::Any, "wasm", models).await
    }

    /// Starts a browser of a kind on the bare page, for a backend.
    pub async fn start_in(wanted: Wanted, backend: &str, models: PathBuf) -> Result<Self> {
        let (sockets, mut arrivals) = mpsc::channel(1);
        let shared = Arc::new(Shared { models, items: Mutex::default(), sockets });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/bare", get(bare))
            .fallback(get(file))
            .layer(middleware::from_fn(isolate))
            .with_state(shared.clone());
        tokio::spawn(async move {
            let listener = listener.tap_io(|socket| {
                let _ = socket.set_nodelay(true);
            });
            axum::serve(listener, router).await
        });
        let Machine { gpu, no_sandbox, .. } = Machine::here()?;
        let settings = Settings {
            gpu,
            show: false,
            arguments: Vec::new(),
            user: "nobody".into(),
            no_sandbox,
            guard: env!("CARGO_BIN_EXE_webinfer").into(),
            start_deadline: PATIENCE,
            search_path: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
            display: false,
            secrets: &[],
            warm: None,
        };
        let driver = Starter { wanted, settings };
        let url = format!("http://{address}/bare.html#{}", backend.split('-').next().unwrap_or_default());
        let starting = tokio::spawn(async move { Ok(driver.start(url).await?) });
        let socket = timeout(PATIENCE, arrivals.recv()).await?.ok_or("the server ended")?;
        Ok(Self { socket, shared, starting })
    }

    /// Tells the worker something and waits for what comes of it.
    pub async fn tell(&mut self, command: Value) -> Result<Value> {
        self.socket.send(Message::Text(command.to_string().into())).await?;
        let Some(Message::Text(text)) = timeout(PATIENCE, self.socket.recv()).await?.transpose()? else {
            return Err("the bare worker is gone".into());
        };
        let answer: Value = serde_json::from_str(&text)?;
        match answer.get("error") {
            Some(error) => Err(format!("the bare worker says: {error}").into()),
            None => Ok(answer),
        }
    }

    /// Has it load a model of the folder on one WASM thread.
    pub async fn load(&mut self, model: &str, task: &str, dtype: &str) -> Result<()> {
        self.load_on("wasm", model, task, dtype).await
    }

    /// Has it load a model of the folder on a backend.
    pub async fn load_on(&mut self, backend: &str, model: &str, task: &str, dtype: &str) -> Result<()> {
        let backend = format!("BACKEND_{}", backend.to_uppercase().replace('-', "_"));
        let spec = json!({"id": model, "task": task, "backends": [backend], "dtype": dtype, "threads": 1,
                          "replicas": 1, "pooling": "POOLING_MEAN"});
        let graphs = std::fs::read_dir(self.shared.models.join(model).join("onnx"))?;
        let names = graphs.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let weights: Vec<_> = names.filter(|name| name.ends_with("_data")).map(|name| format!("onnx/{name}")).collect();
        let load = json!({"base": format!("/models/{model}/"), "spec": spec, "externalData": weights});
        self.tell(json!({"cmd": "load", "load": load})).await?;
        Ok(())
    }

    /// The vectors of items, in batches.
    pub async fn embed(&mut self, items: &[v1::Item], batch: usize) -> Result<Vec<Vec<f32>>> {
        self.give(items, None);
        let answer = self.tell(json!({"cmd": "embed", "batch": batch})).await?;
        Ok(serde_json::from_value(answer["embeddings"].clone())?)
    }

    /// Items a second over a bare loop of so many milliseconds.
    pub async fn throughput(&mut self, items: &[v1::Item], batch: usize, millis: u64) -> Result<f64> {
        self.throughput_with(items, None, batch, millis).await
    }

    /// The same, run in a way of their task.
    pub async fn throughput_with(
        &mut self,
        items: &[v1::Item],
        parameters: Option<&v1::Parameters>,
        batch: usize,
        millis: u64,
    ) -> Result<f64> {
        self.give(items, parameters);
        let answer = self.tell(json!({"cmd": "loop", "batch": batch, "millis": millis})).await?;
        let number = |key: &str| answer[key].as_f64().ok_or("the loop gave no figures");
        Ok(number("items")? / (number("millis")? / 1000.0))
    }

    /// Leaves items where the worker finds them.
    fn give(&self, items: &[v1::Item], parameters: Option<&v1::Parameters>) {
        let item = |item: &v1::Item| {
            let (item, parameters) = (Some(item.clone()), parameters.cloned());
            bridge::RunItem { item, parameters, steps: false }
        };
        let run = bridge::Run { items: items.iter().map(item).collect(), probe: false };
        *self.shared.items.lock().unwrap_or_else(PoisonError::into_inner) = run.encode_to_vec().into();
    }

    /// Sends bytes and waits for them to come back.
    pub async fn echo(&mut self, bytes: Bytes) -> Result<()> {
        self.socket.send(Message::Binary(bytes.clone())).await?;
        match timeout(PATIENCE, self.socket.recv()).await?.transpose()? {
            Some(Message::Binary(back)) if back == bytes => Ok(()),
            _ => Err("the echo is not what was sent".into()),
        }
    }

    /// Echoes a second, one in flight, over so long.
    pub async fn echoes(&mut self, bytes: &Bytes, time: Duration) -> Result<f64> {
        let (begun, mut echoes) = (Instant::now(), 0);
        while begun.elapsed() < time {
            self.echo(bytes.clone()).await?;
            echoes += 1;
        }
        Ok(f64::from(echoes) / begun.elapsed().as_secs_f64())
    }

    /// Ends the browser; returns its product and version.
    pub async fn stop(self) -> Result<String> {
        let running = self.starting.await??;
        let browser = format!("{} {}", running.info.product, running.info.version);
        running.end().await;
        Ok(browser)
    }
}

async fn bare(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        let _ = shared.sockets.send(socket).await;
    })
}

async fn file(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    if path == "items" {
        return shared.items.lock().unwrap_or_else(PoisonError::into_inner).clone().into_response();
    }
    let full = match path.strip_prefix("models/") {
        Some(rest) => shared.models.join(rest),
        None => repository("harness/dist-bench").join(&path),
    };
    let kind = match full.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html",
        Some("js" | "mjs") => "text/javascript",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    };
    match tokio::fs::read(&full).await {
        Ok(bytes) => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The headers without which there are no WASM threads, as the bridge sends them.
async fn isolate(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-embedder-policy", HeaderValue::from_static("require-corp"));
    response
}
