//! Client: the calls that the command line makes to a running service.

mod stream;

use std::{error::Error, iter::successors, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, TimeoutExpired,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

pub use super::runs::plan_to_wire;
use super::{
    generated::{
        benchmark_service_client::BenchmarkServiceClient, capability_service_client::CapabilityServiceClient,
        debug_service_client::DebugServiceClient, inference_service_client::InferenceServiceClient,
        model_service_client::ModelServiceClient, pool_service_client::PoolServiceClient,
    },
    status,
};
pub use stream::{OnPartial, RequestStream};

use crate::proto::v1::{self, generate_response::Result as GenerateResult};

/// Why a call failed, in words for people.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No service is there.
    #[error(
        "no webinfer service answers at {address}: {reason}; start one with `webinfer serve`, or see `webinfer infer \
         --local`"
    )]
    Connect {
        /// Where it should be.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The service says no.
    #[error(transparent)]
    Call(#[from] Failure),
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Call(status.into())
    }
}

/// The error that a call was answered with.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// Name of the gRPC code, e.g. `NOT_FOUND`.
    pub code: &'static str,
    /// ErrorInfo's reason; empty where the error is not the service's own.
    pub reason: String,
    /// What happened, in words.
    pub message: String,
    /// Names of the request's fields that are at fault.
    pub fields: Vec<String>,
    /// Time after which another attempt may work, where the service tells.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Whether the service refused because it has too much to do.
    pub fn is_refusal(&self) -> bool {
        self.code == status::RESOURCE_EXHAUSTED
    }

    /// Whether nobody was there to take the call.
    pub fn is_unavailable(&self) -> bool {
        self.code == status::UNAVAILABLE
    }

    /// How long to wait before another attempt, after `attempt` of them; `None` where none would help.
    fn delay(&self, attempt: u32) -> Option<Duration> {
        let lost = self.is_unavailable() && self.reason.is_empty();
        self.retry_after.or_else(|| lost.then(|| BACKOFF * 2_u32.saturating_pow(attempt - 1)))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // The channel keeps the deadline too, and calls that a cancellation.
        let mut causes = successors(status.source(), |&error| error.source());
        if causes.any(|error| error.is::<TimeoutExpired>()) {
            return deadline_exceeded();
        }
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        Self {
            code: status::name(status.code()),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            fields: violations.iter().map(|violation| violation.field.clone()).collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

fn deadline_exceeded() -> Failure {
    Status::deadline_exceeded("no answer came before the deadline").into()
}

/// What comes of a request.
pub type Answer = Result<v1::InferResponse, Failure>;

/// A connection to a service.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    attempts: u32,
}

/// Largest answer that is taken.
const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;
/// First delay before another attempt, where the service names none.
const BACKOFF: Duration = Duration::from_millis(200);
/// Longer deadlines are as good as none, and the clock's arithmetic holds.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Client {
    /// Connects to `host:port`, also with `http://` before it.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let failed = |error: tonic::transport::Error| {
            let mut reason: &dyn Error = &error;
            while let Some(source) = reason.source() {
                reason = source;
            }
            ClientError::Connect { address: address.to_owned(), reason: reason.to_string() }
        };
        let place = address.strip_prefix("http://").unwrap_or(address);
        let endpoint = Endpoint::from_shared(format!("http://{place}")).map_err(failed)?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true);
        Ok(Self { channel: endpoint.connect().await.map_err(failed)?, attempts: 1 })
    }

    /// Has requests tried so often that the service refuses for now, within their deadlines. Once, unless this says more.
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// Has a model loaded; yields its progress up to the end.
    pub async fn load(
        &self,
        id: &str,
    ) -> Result<impl Stream<Item = Result<v1::LoadResponse, ClientError>> + use<>, ClientError> {
        let request = v1::LoadRequest { id: id.to_owned() };
        let steps = ModelServiceClient::new(self.channel.clone()).load(request).await?.into_inner();
        Ok(steps.map(|step| step.map_err(ClientError::from)))
    }

    /// Registers a model.
    pub async fn register(&self, spec: v1::ModelSpec) -> Result<v1::Model, ClientError> {
        let request = v1::RegisterRequest { spec: Some(spec) };
        let response = ModelServiceClient::new(self.channel.clone()).register(request).await?.into_inner();
        Ok(response.model.unwrap_or_default())
    }

    /// Asks for a model.
    pub async fn model(&self, id: &str) -> Result<v1::Model, ClientError> {
        let request = v1::ModelServiceGetRequest { id: id.to_owned() };
        let response = ModelServiceClient::new(self.channel.clone()).get(request).await?.into_inner();
        Ok(response.model.unwrap_or_default())
    }

    /// Asks for all models.
    pub async fn models(&self) -> Result<Vec<v1::Model>, ClientError> {
        let response = ModelServiceClient::new(self.channel.clone()).list(v1::ModelServiceListRequest {}).await?;
        Ok(response.into_inner().models)
    }

    /// Ends the replicas of a model.
    pub async fn unload(&self, id: &str) -> Result<u32, ClientError> {
        let request = v1::UnloadRequest { id: id.to_owned() };
        let response = ModelServiceClient::new(self.channel.clone()).unload(request).await?;
        Ok(response.into_inner().ended_replicas)
    }

    /// Runs a request.
    pub async fn infer(&self, request: v1::InferRequest, deadline: Duration) -> Answer {
        let attempt = |request: v1::InferRequest, left| async move {
            let mut request = Request::new(request);
            request.set_timeout(left);
            Ok(self.inference().infer(request).await?.into_inner())
        };
        attempts(self.attempts, request, deadline, attempt).await
    }

    /// Runs a request; yields what its items have come to, and the answer at the end.
    pub async fn generate(
        &self,
        request: v1::InferRequest,
        deadline: Duration,
    ) -> Result<impl Stream<Item = Result<GenerateResult, Failure>> + use<>, Failure> {
        let mut request = Request::new(v1::GenerateRequest { request: Some(request) });
        request.set_timeout(deadline);
        let steps = self.inference().generate(request).await?.into_inner();
        let result = |step: Result<v1::GenerateResponse, Status>| {
            step?.result.ok_or_else(|| Status::unknown("a message is empty").into())
        };
        Ok(steps.map(result))
    }

    /// Takes a model away.
    pub async fn unregister(&self, id: &str) -> Result<(), ClientError> {
        let request = v1::UnregisterRequest { id: id.to_owned() };
        ModelServiceClient::new(self.channel.clone()).unregister(request).await?;
        Ok(())
    }

    /// Opens a stream that runs requests.
    pub async fn open_stream(&self) -> Result<RequestStream, ClientError> {
        let (sender, requests) = mpsc::channel(1);
        let answers = self.inference().infer_stream(ReceiverStream::new(requests)).await?.into_inner();
        Ok(RequestStream::new(sender, answers, self.attempts))
    }

    /// Asks where a model's requests go.
    pub async fn explain(&self, model: &str) -> Result<v1::ExplainResponse, ClientError> {
        let request = v1::ExplainRequest { model: model.to_owned() };
        Ok(self.pool_service().explain(request).await?.into_inner())
    }

    /// Has a model tried out; yields what came of it bit by bit.
    pub async fn matrix(
        &self,
        model: &str,
    ) -> Result<impl Stream<Item = Result<v1::MatrixResponse, ClientError>> + use<>, ClientError> {
        let request = v1::MatrixRequest { model: model.to_owned(), ..v1::MatrixRequest::default() };
        let steps = self.pool_service().matrix(request).await?.into_inner();
        Ok(steps.map(|step| step.map_err(ClientError::from)))
    }

    /// Asks what the browsers can do.
    pub async fn detect(&self) -> Result<v1::DetectResponse, ClientError> {
        let mut client = CapabilityServiceClient::new(self.channel.clone());
        Ok(client.detect(v1::DetectRequest {}).await?.into_inner())
    }

    /// Runs a request under the runtime's profiler.
    pub async fn profile(
        &self,
        request: v1::ProfileRequest,
        deadline: Duration,
    ) -> Result<v1::ProfileResponse, ClientError> {
        let mut request = Request::new(request);
        request.set_timeout(deadline);
        let mut client = DebugServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.profile(request).await?.into_inner())
    }

    /// Asks for the pool, and for what its browsers wrote last.
    pub async fn pool(&self, with_log: bool) -> Result<v1::PoolStatus, ClientError> {
        let response = self.pool_service().get(v1::PoolServiceGetRequest { with_log }).await?;
        Ok(response.into_inner().pool.unwrap_or_default())
    }

    /// Follows the pool.
    pub async fn watch_pool(
        &self,
    ) -> Result<impl Stream<Item = Result<v1::PoolStatus, ClientError>> + use<>, ClientError> {
        let changes = self.pool_service().watch(v1::WatchRequest {}).await?.into_inner();
        Ok(changes.map(|change| Ok(change?.pool.unwrap_or_default())))
    }

    /// Follows what the models do; the first message tells of the last minutes.
    pub async fn watch_activity(
        &self,
    ) -> Result<impl Stream<Item = Result<v1::WatchActivityResponse, ClientError>> + use<>, ClientError> {
        let seconds = self.pool_service().watch_activity(v1::WatchActivityRequest {}).await?.into_inner();
        Ok(seconds.map(|message| message.map_err(ClientError::from)))
    }

    /// Sets how many browsers serve.
    pub async fn scale(&self, min_browsers: u32, max_browsers: u32) -> Result<(), ClientError> {
        self.pool_service().scale(v1::ScaleRequest { min_browsers, max_browsers }).await?;
        Ok(())
    }

    /// Has a browser replaced.
    pub async fn recycle(&self, browser: String) -> Result<(), ClientError> {
        self.pool_service().recycle(v1::RecycleRequest { browser }).await?;
        Ok(())
    }

    /// Has a browser end.
    pub async fn drain(&self, browser: String) -> Result<(), ClientError> {
        self.pool_service().drain(v1::DrainRequest { browser }).await?;
        Ok(())
    }

    /// Begins a benchmark, or goes on with one; yields how far it is.
    pub async fn benchmark(
        &self,
        request: v1::RunRequest,
    ) -> Result<impl Stream<Item = Result<v1::RunResponse, ClientError>> + use<>, ClientError> {
        let steps = self.benchmark_service().run(request).await?.into_inner();
        Ok(steps.map(|step| step.map_err(ClientError::from)))
    }

    /// Asks for all that is kept of a benchmark, as JSON.
    pub async fn benchmark_record(&self, id: &str) -> Result<Bytes, ClientError> {
        let request = v1::BenchmarkServiceGetRequest { id: id.to_owned(), with_record: true };
        Ok(self.benchmark_service().get(request).await?.into_inner().record)
    }

    fn benchmark_service(&self) -> BenchmarkServiceClient<Channel> {
        BenchmarkServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn pool_service(&self) -> PoolServiceClient<Channel> {
        PoolServiceClient::new(self.channel.clone())
    }

    fn inference(&self) -> InferenceServiceClient<Channel> {
        InferenceServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// What a request comes to, tried again while the service says when to come back, until its deadline.
async fn attempts<F>(
    most: u32,
    request: v1::InferRequest,
    deadline: Duration,
    attempt: impl Fn(v1::InferRequest, Duration) -> F,
) -> Answer
where
    F: Future<Output = Answer>,
{
    let end = Instant::now() + deadline.min(LONGEST);
    let all = async {
        for number in 1..most {
            let failure = match attempt(request.clone(), end - Instant::now()).await {
                Err(failure) => failure,
                answer => return answer,
            };
            let Some(delay) = failure.delay(number).filter(|&delay| Instant::now() + delay < end) else {
                return Err(failure);
            };
            sleep(delay).await;
        }
        attempt(request, end - Instant::now()).await
    };
    timeout_at(end, all).await.unwrap_or_else(|_| Err(deadline_exceeded()))
}
