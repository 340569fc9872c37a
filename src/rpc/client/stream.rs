//! Stream: many requests on one call of InferStream.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use super::{Answer, Failure, attempts};
use crate::{
    proto::v1::{self, infer_stream_response::Result as StreamResult},
    rpc::status,
};

/// Requests that wait to be written.
const BUFFER: usize = 16;

/// One call of InferStream. Each answer finds its request by the id.
#[derive(Clone, Debug)]
pub struct RequestStream {
    calls: mpsc::Sender<Call>,
    attempts: u32,
}

/// Told what a request's items have come to, one step after another. It must not wait.
pub type OnPartial = Arc<dyn Fn(v1::Partial) + Send + Sync>;

/// A request that waits for its answer.
struct Call {
    request: v1::InferRequest,
    on_partial: Option<OnPartial>,
    answer: oneshot::Sender<Answer>,
}

impl RequestStream {
    /// One over a call that was opened.
    pub(super) fn new(
        requests: mpsc::Sender<v1::InferStreamRequest>,
        answers: Streaming<v1::InferStreamResponse>,
        attempts: u32,
    ) -> Self {
        let (calls, receiver) = mpsc::channel(BUFFER);
        tokio::spawn(pump(receiver, requests, answers));
        Self { calls, attempts }
    }

    /// Runs a request. The deadline holds on this side alone: the service knows one for the whole stream, and here none.
    pub async fn infer(&self, request: v1::InferRequest, deadline: Duration) -> Answer {
        attempts(self.attempts, request, deadline, |request, _| self.call(request, None)).await
    }

    /// Runs a request, and tells what its items come to.
    pub async fn generate(&self, request: v1::InferRequest, deadline: Duration, on_partial: OnPartial) -> Answer {
        attempts(self.attempts, request, deadline, |request, _| self.call(request, Some(on_partial.clone()))).await
    }

    async fn call(&self, request: v1::InferRequest, on_partial: Option<OnPartial>) -> Answer {
        let (sender, answer) = oneshot::channel();
        // Where the stream has ended, the sender goes with the call, and its receiver tells.
        let _ = self.calls.send(Call { request, on_partial, answer: sender }).await;
        answer.await.unwrap_or_else(|_| Err(Status::unavailable("the stream has ended").into()))
    }
}

/// Numbers the requests of a stream, writes them, and gives each answer to its caller, until either side ends.
async fn pump(
    mut calls: mpsc::Receiver<Call>,
    requests: mpsc::Sender<v1::InferStreamRequest>,
    mut answers: Streaming<v1::InferStreamResponse>,
) {
    let mut waiting: HashMap<String, (oneshot::Sender<Answer>, Option<OnPartial>)> = HashMap::new();
    let mut last = 0_u64;
    let failure = loop {
        tokio::select! {
            call = next(&mut calls, &requests) => {
                let Some((room, Call { request, on_partial, answer })) = call else { return };
                last += 1;
                let partials = on_partial.is_some();
                waiting.insert(last.to_string(), (answer, on_partial));
                room.send(v1::InferStreamRequest { request_id: last.to_string(), request: Some(request), partials });
            }
            answer = answers.next() => match answer {
                Some(Ok(v1::InferStreamResponse { request_id, result: Some(StreamResult::Partial(partial)) })) => {
                    if let Some((_, Some(on_partial))) = waiting.get(&request_id) {
                        on_partial(partial);
                    }
                }
                Some(Ok(answer)) => {
                    // A caller that no longer waits has dropped its receiver.
                    let _ = waiting.remove(&answer.request_id).map(|(caller, _)| caller.send(outcome(answer.result)));
                }
                Some(Err(status)) => break Failure::from(status),
                None => return,
            },
        }
    };
    for (caller, _) in waiting.into_values() {
        let _ = caller.send(Err(failure.clone()));
    }
}

/// A call, once there is room to write it. `None` when all callers or the stream are gone.
async fn next<'a>(
    calls: &mut mpsc::Receiver<Call>,
    requests: &'a mpsc::Sender<v1::InferStreamRequest>,
) -> Option<(mpsc::Permit<'a, v1::InferStreamRequest>, Call)> {
    let room = requests.reserve().await.ok()?;
    Some((room, calls.recv().await?))
}

fn outcome(result: Option<StreamResult>) -> Answer {
    match result {
        Some(StreamResult::Response(response)) => Ok(response),
        Some(StreamResult::Error(error)) => Err(status::from_message(&error).into()),
        Some(StreamResult::Partial(_)) | None => Err(Status::unknown("the answer is empty").into()),
    }
}
