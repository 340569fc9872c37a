//! Client: the calls that the command line makes to a running service.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use super::generated::{
    capability_service_client::CapabilityServiceClient, inference_service_client::InferenceServiceClient,
    model_service_client::ModelServiceClient,
};
use crate::proto::v1;

/// Why a call failed, in words for people.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No service is there.
    #[error("no webinfer service answers at {address}: {reason}; start one with `webinfer serve`, or use --local")]
    Connect {
        /// Where it should be.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The service says no.
    #[error("{message}")]
    Call {
        /// What it says.
        message: String,
    },
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        Self::Call { message: format!("{} ({:?})", status.message(), status.code()) }
    }
}

/// A connection to a service.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

/// Largest answer that is taken.
const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

impl Client {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let failed = |error: tonic::transport::Error| {
            let mut reason: &dyn std::error::Error = &error;
            while let Some(source) = reason.source() {
                reason = source;
            }
            ClientError::Connect { address: address.to_owned(), reason: reason.to_string() }
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(failed)?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true);
        Ok(Self { channel: endpoint.connect().await.map_err(failed)? })
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

    /// Ends the replicas of a model.
    pub async fn unload(&self, id: &str) -> Result<u32, ClientError> {
        let request = v1::UnloadRequest { id: id.to_owned() };
        let response = ModelServiceClient::new(self.channel.clone()).unload(request).await?;
        Ok(response.into_inner().ended_replicas)
    }

    /// Runs a request.
    pub async fn infer(&self, request: v1::InferRequest, deadline: Duration) -> Result<v1::InferResponse, ClientError> {
        let mut request = Request::new(request);
        request.set_timeout(deadline);
        let mut client = InferenceServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.infer(request).await?.into_inner())
    }

    /// Asks what the browsers can do.
    pub async fn detect(&self) -> Result<v1::DetectResponse, ClientError> {
        let mut client = CapabilityServiceClient::new(self.channel.clone());
        Ok(client.detect(v1::DetectRequest {}).await?.into_inner())
    }
}
