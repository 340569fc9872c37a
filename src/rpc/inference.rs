//! InferenceService. A stream is many unary requests: both go through [`Inference::answer`].

use std::{collections::HashSet, time::Instant};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert, deadline,
    generated::inference_service_server::InferenceService,
    status::{to_message, to_status},
};
use crate::{
    admission::{self, Admission},
    drain::Drain,
    error::Error,
    proto::v1::{self, infer_stream_response::Result as StreamResult},
};

/// Requests in flight on one stream; further ones wait in HTTP/2's flow control.
const MOST_IN_FLIGHT: usize = 256;
/// Answers that wait for a slow reader.
const ANSWERS: usize = 16;
/// Longest id of a request on a stream.
const LONGEST_REQUEST_ID: usize = 128;

/// The service.
#[derive(Clone)]
pub struct Inference {
    /// The door.
    pub admission: Admission,
    /// Tells when to take no more.
    pub drain: Drain,
}

impl Inference {
    async fn answer(&self, request: v1::InferRequest, deadline: Instant) -> Result<v1::InferResponse, Error> {
        let items = convert::inputs(request.items)?;
        let request = admission::Request { model: request.model, items, deadline };
        Ok(convert::response(self.admission.infer(request).await?))
    }

    async fn answer_on_stream(&self, request: v1::InferStreamRequest, deadline: Instant) -> v1::InferStreamResponse {
        let result = match request.request {
            Some(inner) => self.answer(inner, deadline).await,
            None => Err(Error::invalid("request", "must be given")),
        };
        respond(request.request_id, result)
    }

    /// Answers a stream until its sender has closed and all is answered, its reader has gone, or its deadline passes.
    async fn pump(
        self,
        mut requests: Streaming<v1::InferStreamRequest>,
        answers: mpsc::Sender<Result<v1::InferStreamResponse, Status>>,
        deadline: Option<Instant>,
    ) {
        let default = self.admission.limits().default_deadline;
        let mut in_flight = FuturesUnordered::new();
        let mut ids = HashSet::new();
        let mut open = true;
        while open || !in_flight.is_empty() {
            let answer = tokio::select! {
                request = requests.next(), if open && in_flight.len() < MOST_IN_FLIGHT => match request {
                    Some(Ok(request)) => match check_id(&request.request_id, &ids) {
                        Ok(()) => {
                            ids.insert(request.request_id.clone());
                            let deadline = deadline.unwrap_or_else(|| Instant::now() + default);
                            in_flight.push(self.answer_on_stream(request, deadline));
                            continue;
                        }
                        Err(error) => respond(request.request_id, Err(error)),
                    },
                    Some(Err(status)) => {
                        // The sender broke off or sent what does not decode: nothing more can be read.
                        let _ = answers.send(Err(status)).await;
                        return;
                    }
                    None => {
                        open = false;
                        continue;
                    }
                },
                Some(answer) = in_flight.next() => {
                    ids.remove(&answer.request_id);
                    answer
                }
                () = self.drain.begun(), if open => {
                    open = false;
                    continue;
                }
                () = answers.closed() => return,
                () = expired(deadline) => {
                    let _ = answers.send(Err(to_status(&Error::DeadlineExceeded))).await;
                    return;
                }
            };
            if answers.send(Ok(answer)).await.is_err() {
                return;
            }
        }
    }
}

fn respond(request_id: String, result: Result<v1::InferResponse, Error>) -> v1::InferStreamResponse {
    let result = match result {
        Ok(response) => StreamResult::Response(response),
        Err(error) => StreamResult::Error(to_message(&error)),
    };
    v1::InferStreamResponse { request_id, result: Some(result) }
}

fn check_id(id: &str, in_flight: &HashSet<String>) -> Result<(), Error> {
    if id.is_empty() || id.len() > LONGEST_REQUEST_ID {
        return Err(Error::invalid("request_id", format!("must have 1 to {LONGEST_REQUEST_ID} bytes")));
    }
    if in_flight.contains(id) {
        return Err(Error::invalid("request_id", "is in flight on this stream already"));
    }
    Ok(())
}

async fn expired(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[tonic::async_trait]
impl InferenceService for Inference {
    async fn infer(&self, request: Request<v1::InferRequest>) -> Result<Response<v1::InferResponse>, Status> {
        let deadline = deadline::of(request.metadata(), self.admission.limits().default_deadline);
        let answer = self.answer(request.into_inner(), deadline).await;
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    type InferStreamStream = ReceiverStream<Result<v1::InferStreamResponse, Status>>;

    async fn infer_stream(
        &self,
        request: Request<Streaming<v1::InferStreamRequest>>,
    ) -> Result<Response<Self::InferStreamStream>, Status> {
        let deadline = deadline::stated(request.metadata());
        let (answers, receiver) = mpsc::channel(ANSWERS);
        tokio::spawn(self.clone().pump(request.into_inner(), answers, deadline));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
