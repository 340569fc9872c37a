//! Trailer: tells a caller at the end of its call that placeholders were among its answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http_body_util::BodyExt;
use tonic::{
    body::Body,
    codegen::http::{HeaderName, HeaderValue, Response},
};

use crate::proto::v1;

/// The trailer.
pub const SIMULATED: HeaderName = HeaderName::from_static("webinfer-simulated");

/// Whether a call has had a placeholder for an answer. It travels with the response, as an extension.
#[derive(Clone, Debug, Default)]
pub struct Simulated(Arc<AtomicBool>);

impl Simulated {
    /// Looks at an answer of the call. Returns whether it is a placeholder.
    pub fn see(&self, response: &v1::InferResponse) -> bool {
        let simulated = response.executions.iter().any(|execution| execution.simulated);
        self.0.fetch_or(simulated, Ordering::Relaxed);
        simulated
    }
}

/// Adds the trailer to a response whose call has had a placeholder.
pub fn add(response: Response<Body>) -> Response<Body> {
    let Some(simulated) = response.extensions().get::<Simulated>().cloned() else { return response };
    response.map(|body| {
        Body::new(body.map_frame(move |mut frame| {
            if let Some(trailers) = frame.trailers_mut()
                && simulated.0.load(Ordering::Relaxed)
            {
                trailers.insert(SIMULATED, HeaderValue::from_static("true"));
            }
            frame
        }))
    })
}
