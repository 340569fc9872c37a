//! Call: what the metadata of a call says of all its requests, and the id that its caller gets back.

use std::{sync::Arc, time::Instant};

use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::{convert, deadline};
use crate::{
    admission,
    error::{Error, shorten},
    ledger::Client,
    partials::Partials,
    proto::v1,
    trace::{self, Said},
};

/// The metadata by which a client names itself, where it has several connections or shares one.
const CLIENT: &str = "webinfer-client";
/// Longest name of a client.
const LONGEST_CLIENT: usize = 128;
/// The metadata by which a client names its request, and the service tells that name, or the one that it made.
pub const REQUEST_ID: &str = "x-request-id";

/// What holds for all requests of a call.
#[derive(Debug)]
pub struct Call {
    /// Whose it is; an error where it names itself wrongly.
    pub client: Result<Client, Error>,
    /// What the call states; its requests have the default where it states none.
    pub deadline: Option<Instant>,
    /// Which one it is, for those who look on.
    pub trace: trace::Call,
}

impl Call {
    /// A call, as its metadata says.
    pub fn new<T>(request: &Request<T>, trace: trace::Call) -> Self {
        let client = named(request.metadata()).map(|name| match name {
            Some(name) => Client::Named(name.into()),
            None => Client::Peer(request.remote_addr()),
        });
        Self { client, deadline: deadline::stated(request), trace }
    }

    /// A request of the call, for the door.
    pub fn request(
        &self,
        request: v1::InferRequest,
        partials: Option<Partials>,
        trace: Arc<trace::Request>,
        limits: &admission::Limits,
    ) -> Result<admission::Request, Error> {
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + limits.default_deadline);
        let priority = convert::priority(&request)?;
        let client = self.client.clone()?;
        let v1::InferRequest { model, items, parameters, .. } = request;
        Ok(admission::Request {
            model,
            items,
            parameters,
            partials,
            deadline,
            client,
            priority,
            measured: false,
            trace,
        })
    }
}

/// What its caller says of the call.
pub fn said(metadata: &MetadataMap) -> Said<'_> {
    let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
    Said { request_id: text(REQUEST_ID), traceparent: text("traceparent"), tracestate: text("tracestate") }
}

/// Tells the caller the request's id, whatever comes of it.
pub fn identify<T>(mut result: Result<Response<T>, Status>, id: &str) -> Result<Response<T>, Status> {
    let metadata = match &mut result {
        Ok(response) => response.metadata_mut(),
        Err(status) => status.metadata_mut(),
    };
    if let Ok(id) = id.parse() {
        metadata.insert(REQUEST_ID, id);
    }
    result
}

fn named(metadata: &MetadataMap) -> Result<Option<&str>, Error> {
    let Some(name) = metadata.get(CLIENT) else { return Ok(None) };
    match name.to_str() {
        Ok(name) if (1..=LONGEST_CLIENT).contains(&name.len()) => Ok(Some(name)),
        Ok(name) => {
            let message = format!("{:?} must have 1 to {LONGEST_CLIENT} bytes", shorten(name));
            Err(Error::invalid(CLIENT, message))
        }
        Err(_) => Err(Error::invalid(CLIENT, "must be printable ASCII")),
    }
}
