//! What the tests share: a service in this process, and calls to it.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

pub mod cases;
#[cfg(feature = "otlp")]
pub mod collector;
pub mod fake;
#[cfg(target_os = "linux")]
pub mod harm;
pub mod line;
#[cfg(target_os = "linux")]
pub mod program;
pub mod prometheus;
pub mod promql;
pub mod reference;
#[cfg(feature = "otlp")]
pub mod traffic;

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use tonic::{Status, transport::Channel};
use tonic_types::{ErrorDetails, StatusExt};
use webinfer::{
    app::{self, App},
    browser::Driver,
    config::{self, Mode, Serve},
    pool::View,
    proto::v1::{self, item::Input, item_result::Output},
    rpc::generated::{
        capability_service_client::CapabilityServiceClient, debug_service_client::DebugServiceClient,
        inference_service_client::InferenceServiceClient, model_service_client::ModelServiceClient,
        pool_service_client::PoolServiceClient,
    },
};

/// A client of InferenceService.
pub type Inference = InferenceServiceClient<Channel>;

/// Settings as the command line gives them, on ports that the system chooses, over the tests' models.
pub fn settings(arguments: &[&str]) -> Serve {
    let fixed =
        ["webinfer", "serve", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--load=none", "--state=none"];
    let mut all: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    if !arguments.iter().any(|argument| argument.starts_with("--models")) {
        all.push(format!("--models={}", repository("tests/models").display()).into());
    }
    all.extend(arguments.iter().map(OsString::from));
    let path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    match config::parse(all, Vec::new(), env!("CARGO_BIN_EXE_webinfer").into(), path).unwrap() {
        Mode::Serve(serve) => serve,
        _ => unreachable!("the arguments say serve"),
    }
}

/// A path below the repository's root.
pub fn repository(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), path].iter().collect()
}

/// No wait of a test is longer.
const LONGEST: Duration = Duration::from_secs(120);

/// What comes of something that is about to happen. A test that waits in vain fails.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(LONGEST, what).await;
    result.unwrap_or_else(|_| panic!("it did not happen within {LONGEST:?}"))
}

/// A running service, and a connection to it.
pub struct Service {
    pub app: App,
    pub channel: Channel,
}

impl Service {
    pub async fn start(arguments: &[&str], driver: Arc<dyn Driver>) -> Self {
        Self::start_all(arguments, vec![driver]).await
    }

    /// One whose places in the pool have the drivers in turn.
    pub async fn start_all(arguments: &[&str], drivers: Vec<Arc<dyn Driver>>) -> Self {
        let app = app::start(&settings(arguments), drivers).await.unwrap();
        let channel = Channel::from_shared(format!("http://{}", app.address)).unwrap().connect_lazy();
        Self { app, channel }
    }

    /// One that runs on a real browser.
    pub async fn real(arguments: &[&str]) -> Self {
        Self::start_all(arguments, app::drivers(&settings(arguments))).await
    }

    pub fn models(&self) -> ModelServiceClient<Channel> {
        ModelServiceClient::new(self.channel.clone())
    }

    pub fn inference(&self) -> InferenceServiceClient<Channel> {
        InferenceServiceClient::new(self.channel.clone())
    }

    pub fn capabilities(&self) -> CapabilityServiceClient<Channel> {
        CapabilityServiceClient::new(self.channel.clone())
    }

    pub async fn pool(&self) -> Vec<v1::Browser> {
        self.pool_with(false).await
    }

    /// The browsers, with what they wrote last.
    pub async fn pool_with_log(&self) -> Vec<v1::Browser> {
        self.pool_with(true).await
    }

    async fn pool_with(&self, with_log: bool) -> Vec<v1::Browser> {
        let mut client = PoolServiceClient::new(self.channel.clone());
        client.get(v1::PoolServiceGetRequest { with_log }).await.unwrap().into_inner().pool.unwrap().browsers
    }

    pub async fn register(&self, spec: v1::ModelSpec) -> Result<v1::Model, Status> {
        let response = self.models().register(v1::RegisterRequest { spec: Some(spec) }).await?;
        Ok(response.into_inner().model.unwrap())
    }

    /// Loads a model; returns all steps.
    pub async fn load(&self, id: &str) -> Result<Vec<v1::LoadResponse>, Status> {
        let mut models = self.models();
        let steps = async { models.load(v1::LoadRequest { id: id.into() }).await?.into_inner().try_collect().await };
        soon(steps).await
    }

    /// Ends a model's replicas.
    pub async fn unload(&self, id: &str) {
        soon(self.models().unload(v1::UnloadRequest { id: id.into() })).await.unwrap();
    }

    pub async fn infer(&self, model: &str, items: Vec<v1::Item>) -> Result<v1::InferResponse, Status> {
        let request = v1::InferRequest { model: model.into(), items, ..Default::default() };
        Ok(soon(self.inference().infer(request)).await?.into_inner())
    }

    pub async fn embed(&self, model: &str, texts: &[&str]) -> Result<v1::InferResponse, Status> {
        self.infer(model, texts.iter().map(|text| self::text(text)).collect()).await
    }

    /// Runs texts so often under the profiler.
    pub async fn profile(&self, model: &str, texts: &[&str], runs: u32) -> Result<v1::ProfileResponse, Status> {
        let items = texts.iter().map(|text| self::text(text)).collect();
        self.profile_of(v1::InferRequest { model: model.into(), items, ..Default::default() }, runs).await
    }

    /// Runs a request so often under the profiler.
    pub async fn profile_of(&self, request: v1::InferRequest, runs: u32) -> Result<v1::ProfileResponse, Status> {
        let mut client = DebugServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let request = v1::ProfileRequest { request: Some(request), runs };
        Ok(soon(client.profile(request)).await?.into_inner())
    }

    /// Waits until the pool is as it is said to be.
    pub async fn until(&self, holds: impl FnMut(&Arc<View>) -> bool) {
        soon(self.app.pool.watch().wait_for(holds)).await.unwrap();
    }

    pub async fn get_http(&self, path: &str) -> String {
        http(self.app.http_address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    pub async fn stop(self) {
        drop(self.channel);
        self.app.shut_down().await;
    }
}

/// Sends bytes and returns all that comes back until the peer closes.
pub async fn http(address: std::net::SocketAddr, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn text(text: &str) -> v1::Item {
    v1::Item { input: Some(Input::Text(text.into())) }
}

pub fn tensors(tensors: &[(&str, v1::Tensor)]) -> v1::Item {
    let tensors = tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    v1::Item { input: Some(Input::Tensors(v1::TensorMap { tensors })) }
}

pub fn floats(shape: &[i64], values: &[f32]) -> v1::Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    v1::Tensor { data_type: v1::DataType::Float32.into(), shape: shape.to_vec(), data: data.into() }
}

pub fn longs(shape: &[i64], values: &[i64]) -> v1::Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    v1::Tensor { data_type: v1::DataType::Int64.into(), shape: shape.to_vec(), data: data.into() }
}

pub fn float_values(tensor: &v1::Tensor) -> Vec<f32> {
    tensor.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

pub fn embedding(result: &v1::ItemResult) -> &[f32] {
    match &result.output {
        Some(Output::Embedding(embedding)) => &embedding.values,
        other => panic!("not an embedding: {other:?}"),
    }
}

pub fn output_tensor<'a>(result: &'a v1::ItemResult, name: &str) -> &'a v1::Tensor {
    match &result.output {
        Some(Output::Tensors(map)) => &map.tensors[name],
        other => panic!("not tensors: {other:?}"),
    }
}

pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    let dot = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
    };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// The details of an error, and its stable reason.
pub fn details(status: &Status) -> (ErrorDetails, String) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "webinfer");
    let reason = info.reason.clone();
    (details, reason)
}

/// The field that a BadRequest blames.
pub fn blamed(status: &Status) -> String {
    let (details, _) = details(status);
    details.bad_request().unwrap_or_else(|| panic!("no BadRequest: {status:?}")).field_violations[0].field.clone()
}
