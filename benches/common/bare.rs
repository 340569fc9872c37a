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

/// How a worker of the bare page loads a model.
pub struct How<'a> {
    pub backend: &'a str,
    pub threads: u32,
    /// What `harness/bench/lever.ts` changes of its sessions.
    pub lever: Value,
}

/// A browser with the bare page, and the sockets of its workers.
pub struct Bare {
    sockets: Vec<WebSocket>,
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
        Self::open(wanted, backend.split('-').next().unwrap_or_default(), 1, models).await
    }

    /// Starts a browser of a kind on the bare page, with so many workers of a bundle.
    pub async fn open(wanted: Wanted, bundle: &str, workers: usize, models: PathBuf) -> Result<Self> {
        let (arriving, mut arrivals) = mpsc::channel(workers);
        let shared = Arc::new(Shared { models, items: Mutex::default(), sockets: arriving });
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
        let url = format!("http://{address}/bare.html#bundle={bundle}&workers={workers}");
        let starting = tokio::spawn(async move { Ok(driver.start(url).await?) });
        let mut sockets = Vec::new();
        while sockets.len() < workers {
            sockets.push(timeout(PATIENCE, arrivals.recv()).await?.ok_or("the server ended")?);
        }
        Ok(Self { sockets, shared, starting })
    }

    /// Tells each worker the same, and waits for what comes of it at all of them.
    async fn tell(&mut self, command: Value) -> Result<Vec<Value>> {
        let command = command.to_string();
        futures_util::future::try_join_all(self.sockets.iter_mut().map(|socket| tell(socket, &command))).await
    }

    /// Has it load a model of the folder on one WASM thread.
    pub async fn load(&mut self, model: &str, task: &str, dtype: &str) -> Result<()> {
        self.load_on("wasm", model, task, dtype).await
    }

    /// Has it load a model of the folder on a backend.
    pub async fn load_on(&mut self, backend: &str, model: &str, task: &str, dtype: &str) -> Result<()> {
        self.load_with(&How { backend, threads: 1, lever: json!({}) }, model, task, dtype).await?;
        Ok(())
    }

    /// The same, in another way; returns what the first worker tells of it.
    pub async fn load_with(&mut self, how: &How<'_>, model: &str, task: &str, dtype: &str) -> Result<Value> {
        let backend = format!("BACKEND_{}", how.backend.to_uppercase().replace('-', "_"));
        let files = std::fs::read_dir(self.shared.models.join(model).join("onnx"))?;
        let names: Vec<_> = files.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        // The page is told of each graph, as the service tells it: the library has a default of its own for the others.
        let suffix = match dtype {
            "fp32" => ".onnx".to_owned(),
            "q8" => "_quantized.onnx".to_owned(),
            other => format!("_{other}.onnx"),
        };
        let dtypes: Value = names.iter().filter_map(|name| Some((name.strip_suffix(&suffix)?, dtype))).collect();
        let weights: Vec<_> = names.iter().filter(|it| it.ends_with("_data")).map(|it| format!("onnx/{it}")).collect();
        let spec = json!({"id": model, "task": task, "backends": [backend], "dtypes": dtypes, "threads": how.threads,
                          "replicas": 1, "pooling": "POOLING_MEAN"});
        let load = json!({"base": format!("/models/{model}/"), "spec": spec, "externalData": weights});
        let loaded = self.tell(json!({"cmd": "load", "load": load, "lever": how.lever})).await?;
        Ok(loaded[0]["loaded"].clone())
    }

    /// The vectors of items, in batches.
    pub async fn embed(&mut self, items: &[v1::Item], batch: usize) -> Result<Vec<Vec<f32>>> {
        self.give(items, None);
        let answers = self.tell(json!({"cmd": "embed", "batch": batch})).await?;
        Ok(serde_json::from_value(answers[0]["embeddings"].clone())?)
    }

    /// Items a second over a bare loop of so many milliseconds, of all workers together.
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
        let mut all = 0.0;
        for answer in self.tell(json!({"cmd": "loop", "batch": batch, "millis": millis})).await? {
            let number = |key: &str| answer[key].as_f64().ok_or("the loop gave no figures");
            all += number("items")? / (number("millis")? / 1000.0);
        }
        Ok(all)
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

    /// Sends bytes to the first worker and waits for them to come back.
    pub async fn echo(&mut self, bytes: Bytes) -> Result<()> {
        let socket = self.sockets.first_mut().ok_or("there is no worker")?;
        socket.send(Message::Binary(bytes.clone())).await?;
        match timeout(PATIENCE, socket.recv()).await?.transpose()? {
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

async fn tell(socket: &mut WebSocket, command: &str) -> Result<Value> {
    socket.send(Message::Text(command.into())).await?;
    let Some(Message::Text(text)) = timeout(PATIENCE, socket.recv()).await?.transpose()? else {
        return Err("the bare worker is gone".into());
    };
    let answer: Value = serde_json::from_str(&text)?;
    match answer.get("error") {
        Some(error) => Err(format!("the bare worker says: {error}").into()),
        None => Ok(answer),
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
