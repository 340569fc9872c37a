//! DebugService.

use tonic::{Request, Response, Status};

use super::{convert, generated::debug_service_server::DebugService, inference::Call, status::to_status};
use crate::{
    admission::{Admission, Profiled},
    error::Error,
    proto::v1,
};

/// The service.
pub struct Debug {
    /// The door; not there where the service is not offered.
    pub admission: Option<Admission>,
}

impl Debug {
    async fn answer(&self, request: Request<v1::ProfileRequest>) -> Result<Profiled, Error> {
        let off = Error::NotEnabled { what: "DebugService", setting: "--debug" };
        let admission = self.admission.as_ref().ok_or(off)?;
        let call = Call::new(&request)?;
        let v1::ProfileRequest { request, runs } = request.into_inner();
        let request = request.ok_or_else(|| Error::invalid("request", "must be given"))?;
        admission.profile(call.request(request, None, admission.limits())?, runs).await
    }
}

#[tonic::async_trait]
impl DebugService for Debug {
    async fn profile(&self, request: Request<v1::ProfileRequest>) -> Result<Response<v1::ProfileResponse>, Status> {
        let profiled = self.answer(request).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(convert::profile(profiled)))
    }
}
