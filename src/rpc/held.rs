//! Held: answers count for their bytes until their caller has taken them, or has left.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use http_body_util::{BodyStream, StreamBody};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, http::Response},
};

use crate::ledger::Permit;

/// A part of a body.
type Frame = http_body::Frame<Bytes>;

/// Bytes of a portion. HTTP/2 takes one where there is room for a part of it, and a body whole where it comes whole.
const PORTION: usize = 64 * 1024;

/// What counts for the answers of a call. It travels with the response, as an extension, and goes with its body.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<Mutex<Vec<Permit>>>);

impl Held {
    /// Holds more.
    pub fn hold(&self, permits: Vec<Permit>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(permits);
    }
}

/// Holds what a response has until its last portion is taken.
pub fn keep(mut response: Response<Body>) -> Response<Body> {
    let Some(held) = response.extensions_mut().remove::<Held>() else { return response };
    response.map(|body| {
        let portions = move |frame| {
            let _held = &held;
            stream::iter(portions(frame))
        };
        Body::new(StreamBody::new(BodyStream::new(body).flat_map(portions)))
    })
}

fn portions(frame: Result<Frame, Status>) -> Vec<Result<Frame, Status>> {
    let mut bytes = match frame.map(Frame::into_data) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(other)) => return vec![Ok(other)],
        Err(status) => return vec![Err(status)],
    };
    let mut portions = Vec::new();
    while bytes.len() > PORTION {
        portions.push(Ok(Frame::data(bytes.split_to(PORTION))));
    }
    portions.push(Ok(Frame::data(bytes)));
    portions
}
