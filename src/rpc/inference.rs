//! InferenceService. A stream is many unary requests, and steps come before an answer: all go through
//! [`Inference::answer`].

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use futures_channel::mpsc;
use futures_util::{
    SinkExt, Stream, StreamExt, future,
    stream::{self, BoxStream, FuturesUnordered},
};
use prost::Message;
use tokio::{
    sync::oneshot,
    time::{sleep_until, timeout},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    call::{Call, identify, said},
    convert,
    generated::inference_service_server::InferenceService,
    held::Held,
    status::{to_message, to_status},
    trailer::Simulated,
};
use crate::{
    admission::Admission,
    drain::Drain,
    error::Error,
    ledger::Permit,
    partials::Partials,
    proto::v1::{self, generate_response::Result as GenerateResult, infer_stream_response::Result as StreamResult},
    trace::{Open, Tracer},
};

/// Requests in flight on one stream; further ones wait in HTTP/2's flow control.
const MOST_IN_FLIGHT: usize = 256;
/// Answers that wait for a slow reader, beside those whose bytes still count as pending.
const ANSWERS: usize = 1;
/// Longest id of a request on a stream.
const LONGEST_REQUEST_ID: usize = 128;
/// What a message has around an answer: an id, and the lengths.
const ENVELOPE: usize = 256;
/// Its methods, as gRPC names them.
const INFER: &str = "webinfer.v1.InferenceService/Infer";
const GENERATE: &str = "webinfer.v1.InferenceService/Generate";
const INFER_STREAM: &str = "webinfer.v1.InferenceService/InferStream";

/// The service.
#[derive(Clone)]
pub struct Inference {
    /// The door.
    pub admission: Admission,
    /// Tells when to take no more.
    pub drain: Drain,
    /// Makes the requests' traces.
    pub tracer: Tracer,
    /// Largest message, in bytes.
    pub max_message_bytes: usize,
    /// A stream whose answers are not read for this long is ended.
    pub stall_deadline: Duration,
}

/// An answer, and what counts for it.
type Answered = (v1::InferResponse, Vec<Permit>);

/// What a stream is ended with where it is not read, once its reader comes to it.
type Stalled = Arc<OnceLock<Status>>;

/// A request of a call, as it came.
struct Asked {
    request: Option<v1::InferRequest>,
    open: Open,
}

impl Inference {
    async fn answer(
        &self,
        Asked { request, mut open }: Asked,
        call: &Call,
        partials: Option<Partials>,
    ) -> Result<Answered, Error> {
        let trace = open.request.clone();
        let result = async {
            let request = request.ok_or_else(|| Error::invalid("request", "must be given"))?;
            open.about(&request.model, request.items.len());
            let request = call.request(request, partials, trace.clone(), self.admission.limits())?;
            self.admission.infer(request).await
        };
        let result = result.await.and_then(|answers| {
            let begun = Instant::now();
            let execution = answers.first().map(|answer| answer.execution.clone());
            let answered = convert::response(answers);
            trace.stage("answer", begun, None);
            self.check_length(&answered.0)?;
            Ok((execution, answered))
        });
        open.end(result.as_ref().map(|(execution, _)| execution.as_deref()));
        result.map(|(_, answered)| answered)
    }

    /// An answer that is no message would end the whole call, and a stream's other requests with it.
    fn check_length(&self, response: &v1::InferResponse) -> Result<(), Error> {
        let (bytes, most) = (response.encoded_len(), self.max_message_bytes);
        if bytes.saturating_add(ENVELOPE) <= most {
            return Ok(());
        }
        let advice = "send fewer items in a request, or raise --max-message-bytes";
        Err(Error::invalid("items", format!("their answers have {bytes} bytes, and a message has {most}: {advice}")))
    }

    /// Answers a request; `message` makes of what its items have come to before what goes to the reader.
    async fn answer_in_steps<M>(
        &self,
        asked: Asked,
        call: &Call,
        mut messages: mpsc::Sender<Result<M, Status>>,
        message: impl Fn(v1::Partial) -> M,
    ) -> Result<Answered, Error> {
        let items = asked.request.as_ref().map_or(0, |request| request.items.len());
        let partials = Partials::new(items.min(self.admission.limits().max_request_items));
        let trace = asked.open.request.clone();
        let answer = self.answer(asked, call, Some(partials.clone()));
        tokio::pin!(answer);
        let (mut told, mut reads, mut done) = (false, true, None);
        while done.is_none() {
            let partial = tokio::select! {
                biased;
                partial = partials.next(), if reads => Some(partial),
                result = &mut answer => {
                    done = Some(result);
                    None
                }
            };
            // What is left comes before the answer.
            for partial in partial.into_iter().chain(std::iter::from_fn(|| partials.take())) {
                if !std::mem::replace(&mut told, true) {
                    trace.event("first partial");
                }
                // A reader that is gone, or does not read, is found out by who sends the answer.
                let sent = timeout(self.stall_deadline, messages.send(Ok(message(partial)))).await;
                reads = matches!(sent, Ok(Ok(())));
                if !reads {
                    break;
                }
            }
        }
        done.unwrap_or_else(|| Err(Error::Internal("the answer got lost".into())))
    }

    async fn answer_on_stream(
        &self,
        request: v1::InferStreamRequest,
        call: &Call,
        answers: mpsc::Sender<Result<v1::InferStreamResponse, Status>>,
    ) -> (v1::InferStreamResponse, Vec<Permit>) {
        let v1::InferStreamRequest { request_id, request, partials } = request;
        let asked = Asked { request, open: call.trace.request_of_stream(&request_id) };
        let result = if partials {
            let message = |partial| v1::InferStreamResponse {
                request_id: request_id.clone(),
                result: Some(StreamResult::Partial(partial)),
            };
            self.answer_in_steps(asked, call, answers, message).await
        } else {
            self.answer(asked, call, None).await
        };
        respond(request_id, result)
    }

    /// Answers a call of Generate until the end, or until its reader is gone or reads nothing.
    async fn generate_to_end(
        self,
        request: Option<v1::InferRequest>,
        mut answers: mpsc::Sender<Result<v1::GenerateResponse, Status>>,
        reader_gone: oneshot::Receiver<()>,
        (call, held, stalled): (Call, Held, Stalled),
    ) {
        let response = |result| v1::GenerateResponse { result: Some(result) };
        let work = async {
            let message = |partial| response(GenerateResult::Partial(partial));
            let asked = Asked { request, open: call.trace.request() };
            let answer = self.answer_in_steps(asked, &call, answers.clone(), message).await;
            let answer = answer.map(|(answer, permits)| {
                held.hold(permits);
                response(GenerateResult::Response(answer))
            });
            let sent = answers.send(answer.map_err(|error| to_status(&error)));
            if timeout(self.stall_deadline, sent).await.is_err() {
                self.give_up(&call, &stalled);
            }
        };
        tokio::select! {
            () = work => {}
            _ = reader_gone => {}
        }
    }

    /// Notes that a stream is not read.
    fn give_up(&self, call: &Call, stalled: &Stalled) {
        let _ = stalled.set(to_status(&Error::NotRead { after: self.stall_deadline }));
        let (request, trace) = (call.trace.id(), call.trace.trace());
        tracing::info!(request, trace, "a stream was ended: its answers were not read");
    }

    /// Answers a stream until its sender has closed and all is answered, its reader has gone or reads nothing, or its
    /// deadline passes. While an answer waits for its reader nothing more is read: the sender waits in turn. What is in
    /// flight goes on, since others may wait for what it holds.
    async fn pump(
        self,
        mut requests: Streaming<v1::InferStreamRequest>,
        mut answers: mpsc::Sender<Result<v1::InferStreamResponse, Status>>,
        mut reader_gone: oneshot::Receiver<()>,
        (call, stalled): (Call, Stalled),
    ) {
        // The drain waits for its end, and so for that of its trace.
        let _working = self.drain.enter();
        let mut in_flight = FuturesUnordered::new();
        // Those that are done; fewer than can be in flight.
        let mut ready = VecDeque::new();
        let mut waits_since = None;
        let mut ids = HashSet::new();
        let mut open = true;
        while open || !in_flight.is_empty() || !ready.is_empty() {
            waits_since = (!ready.is_empty()).then(|| waits_since.unwrap_or_else(Instant::now));
            tokio::select! {
                request = requests.next(), if open && ready.is_empty() && in_flight.len() < MOST_IN_FLIGHT => match request {
                    Some(Ok(request)) => match check_id(&request.request_id, &ids) {
                        Ok(()) => {
                            ids.insert(request.request_id.clone());
                            in_flight.push(self.answer_on_stream(request, &call, answers.clone()));
                        }
                        Err(error) => ready.push_back(respond(request.request_id, Err(error))),
                    },
                    Some(Err(status)) => {
                        // The sender broke off or sent what does not decode: nothing more can be read.
                        let _ = answers.try_send(Err(status));
                        return;
                    }
                    None => open = false,
                },
                Some(answer) = in_flight.next() => {
                    ids.remove(&answer.0.request_id);
                    ready.push_back(answer);
                }
                room = future::poll_fn(|context| answers.poll_ready(context)), if !ready.is_empty() => {
                    let sent = room.and_then(|()| match ready.pop_front() {
                        Some((answer, _permits)) => answers.start_send(Ok(answer)),
                        None => Ok(()),
                    });
                    if sent.is_err() {
                        return;
                    }
                    waits_since = None;
                }
                () = expired(waits_since.map(|since| since + self.stall_deadline)) => {
                    return self.give_up(&call, &stalled);
                }
                () = self.drain.begun(), if open => open = false,
                _ = &mut reader_gone => return,
                () = expired(call.deadline) => {
                    let _ = answers.try_send(Err(to_status(&Error::DeadlineExceeded)));
                    return;
                }
            }
        }
    }
}

/// The answer of a request on a stream, and what counts for it until it is on its way.
fn respond(request_id: String, result: Result<Answered, Error>) -> (v1::InferStreamResponse, Vec<Permit>) {
    let (result, permits) = match result {
        Ok((response, permits)) => (StreamResult::Response(response), permits),
        Err(error) => (StreamResult::Error(to_message(&error)), Vec::new()),
    };
    (v1::InferStreamResponse { request_id, result: Some(result) }, permits)
}

/// The end of a stream: nothing, or why it came too early.
fn end<T>(stalled: Stalled) -> impl Stream<Item = Result<T, Status>> {
    stream::once(async move { stalled.get().cloned().map(Err) }).filter_map(future::ready)
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
        let call = Call::new(&request, self.tracer.call(INFER, said(request.metadata())));
        let asked = Asked { request: Some(request.into_inner()), open: call.trace.request() };
        let answer = self.answer(asked, &call, None).await;
        let response = answer.map_err(|error| to_status(&error)).map(|(answer, permits)| {
            let simulated = Simulated::default();
            let is_simulated = simulated.see(&answer);
            let mut response = Response::new(answer);
            let held = Held::default();
            held.hold(permits);
            response.extensions_mut().insert(held);
            if is_simulated {
                response.extensions_mut().insert(simulated);
            }
            response
        });
        identify(response, call.trace.id())
    }

    type GenerateStream = BoxStream<'static, Result<v1::GenerateResponse, Status>>;

    async fn generate(&self, request: Request<v1::GenerateRequest>) -> Result<Response<Self::GenerateStream>, Status> {
        let call = Call::new(&request, self.tracer.call(GENERATE, said(request.metadata())));
        let id = call.trace.id().to_owned();
        let (answers, mut receiver) = mpsc::channel(ANSWERS);
        let (reader, reader_gone) = oneshot::channel::<()>();
        let (held, stalled) = (Held::default(), Stalled::default());
        let about = (call, held.clone(), stalled.clone());
        tokio::spawn(self.clone().generate_to_end(request.into_inner().request, answers, reader_gone, about));
        let simulated = Simulated::default();
        let seen = simulated.clone();
        // The response begins with its first message: clients try a call again only before it has begun.
        let first = match receiver.next().await.transpose() {
            Ok(first) => first,
            Err(status) => return identify(Err(status), &id),
        };
        let receiver = stream::iter(first.map(Ok)).chain(receiver).chain(end(stalled));
        let receiver = receiver.map(move |answer: Result<v1::GenerateResponse, Status>| {
            let _held = &reader;
            if let Ok(v1::GenerateResponse { result: Some(GenerateResult::Response(response)) }) = &answer {
                seen.see(response);
            }
            answer
        });
        let mut response = Response::new(receiver.boxed());
        response.extensions_mut().insert(simulated);
        response.extensions_mut().insert(held);
        identify(Ok(response), &id)
    }

    type InferStreamStream = BoxStream<'static, Result<v1::InferStreamResponse, Status>>;

    async fn infer_stream(
        &self,
        request: Request<Streaming<v1::InferStreamRequest>>,
    ) -> Result<Response<Self::InferStreamStream>, Status> {
        let call = Call::new(&request, self.tracer.stream(INFER_STREAM, said(request.metadata())));
        let id = call.trace.id().to_owned();
        if let Err(error) = &call.client {
            return identify(Err(to_status(error)), &id);
        }
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let (reader, reader_gone) = oneshot::channel::<()>();
        let stalled = Stalled::default();
        tokio::spawn(self.clone().pump(request.into_inner(), answers, reader_gone, (call, stalled.clone())));
        let simulated = Simulated::default();
        let seen = simulated.clone();
        let receiver = receiver.chain(end(stalled)).map(move |answer: Result<v1::InferStreamResponse, Status>| {
            let _held = &reader;
            if let Ok(v1::InferStreamResponse { result: Some(StreamResult::Response(response)), .. }) = &answer {
                seen.see(response);
            }
            answer
        });
        let mut response = Response::new(receiver.boxed());
        response.extensions_mut().insert(simulated);
        identify(Ok(response), &id)
    }
}
