//! CapabilityService.

use tonic::{Request, Response, Status};

use super::{convert, generated::capability_service_server::CapabilityService, status::to_status};
use crate::{pool::Pool, proto::v1};

/// The service.
pub struct Capabilities {
    /// The browsers.
    pub pool: Pool,
    /// The limits to report.
    pub limits: v1::Limits,
}

#[tonic::async_trait]
impl CapabilityService for Capabilities {
    async fn detect(&self, _request: Request<v1::DetectRequest>) -> Result<Response<v1::DetectResponse>, Status> {
        let probes = self.pool.probe().await.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::DetectResponse {
            browsers: probes.into_iter().map(convert::capabilities).collect(),
            limits: Some(self.limits),
            service_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}
