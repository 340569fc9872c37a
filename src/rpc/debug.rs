//! DebugService.

use tonic::{Request, Response, Status};

use super::{
    call::{Call, identify, said},
    convert,
    generated::debug_service_server::DebugService,
    status::to_status,
};
use crate::{
    admission::{Admission, Profiled},
    error::Error,
    proto::v1,
    trace::Tracer,
};

/// The service.
pub struct Debug {
    /// The door; not there where the service is not offered.
    pub admission: Option<Admission>,
    /// Makes the requests' traces.
    pub tracer: Tracer,
}

/// Name of the method, for its span.
const PROFILE: &str = "webinfer.v1.DebugService/Profile";

impl Debug {
    async fn answer(&self, request: v1::ProfileRequest, call: &Call) -> Result<Profiled, Error> {
        let off = Error::NotEnabled { what: "DebugService", setting: "--debug" };
        let admission = self.admission.as_ref().ok_or(off)?;
        let v1::ProfileRequest { request, runs } = request;
        let request = request.ok_or_else(|| Error::invalid("request", "must be given"))?;
        let mut open = call.trace.request();
        open.about(&request.model, request.items.len());
        let request = call.request(request, None, open.request.clone(), admission.limits())?;
        let result = admission.profile(request, runs).await;
        let execution = |profiled: &Profiled| profiled.answers.first().map(|answer| answer.execution.clone());
        match &result {
            Ok(profiled) => open.end(Ok(execution(profiled).as_deref())),
            Err(error) => open.end(Err(error)),
        }
        result
    }
}

#[tonic::async_trait]
impl DebugService for Debug {
    async fn profile(&self, request: Request<v1::ProfileRequest>) -> Result<Response<v1::ProfileResponse>, Status> {
        let call = Call::new(&request, self.tracer.call(PROFILE, said(request.metadata())));
        let profiled = self.answer(request.into_inner(), &call).await.map_err(|error| to_status(&error));
        identify(profiled.map(|profiled| Response::new(convert::profile(profiled))), call.trace.id())
    }
}
