//! A stream of requests that a test sends and reads step by step.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};
use webinfer::proto::v1::{self, infer_stream_response::Result as StreamResult};

use super::{Service, embedding, soon, text};

/// What came of a request: the length that the fake's embedding tells, and the origin; or the code of the error.
pub type Outcome = Result<(f32, v1::Origin), Code>;

pub struct Line {
    sender: mpsc::Sender<v1::InferStreamRequest>,
    answers: Streaming<v1::InferStreamResponse>,
    outcomes: BTreeMap<String, Outcome>,
    barriers: u32,
}

impl Line {
    /// Opens a stream under a client's name.
    pub async fn open(service: &Service, client: &'static str) -> Self {
        Self::open_saying(service, &[("webinfer-client", client)]).await
    }

    /// Opens a stream with metadata.
    pub async fn open_saying(service: &Service, metadata: &[(&'static str, &str)]) -> Self {
        let (sender, requests) = mpsc::channel(1024);
        let mut request = Request::new(ReceiverStream::new(requests));
        for (name, value) in metadata {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let answers = service.inference().infer_stream(request).await.unwrap().into_inner();
        Self { sender, answers, outcomes: BTreeMap::new(), barriers: 0 }
    }

    /// Asks tiny-bert for a text; the text is the request's id, too.
    pub async fn ask(&self, word: &str) {
        self.ask_as(word, word, v1::Priority::Unspecified).await;
    }

    pub async fn ask_as(&self, id: &str, word: &str, priority: v1::Priority) {
        let request = v1::InferRequest {
            model: "tiny-bert".into(),
            items: vec![text(word)],
            priority: priority.into(),
            ..Default::default()
        };
        self.send(id, request).await;
    }

    async fn send(&self, id: &str, request: v1::InferRequest) {
        let request = v1::InferStreamRequest { request_id: id.into(), request: Some(request), partials: false };
        self.sender.send(request).await.unwrap();
    }

    /// Returns once all that was asked before is with the scheduler. A stream's requests are taken in their order, so the
    /// error of one that is refused at once comes after that.
    pub async fn barrier(&mut self) {
        self.barriers += 1;
        let id = format!("barrier {}", self.barriers);
        self.send(&id, v1::InferRequest { model: "no-such".into(), ..Default::default() }).await;
        assert_eq!(self.outcome(&id).await, Err(Code::NotFound));
    }

    /// What came of a request; waits for it.
    pub async fn outcome(&mut self, id: &str) -> Outcome {
        loop {
            if let Some(outcome) = self.outcomes.get(id) {
                return *outcome;
            }
            let answer = soon(self.answers.message()).await.unwrap().unwrap();
            let outcome = match answer.result.unwrap() {
                StreamResult::Response(response) => {
                    Ok((embedding(&response.results[0])[0], response.executions[0].origin()))
                }
                StreamResult::Error(error) => Err(Code::from(error.code)),
                StreamResult::Partial(partial) => panic!("not asked for: {partial:?}"),
            };
            self.outcomes.insert(answer.request_id, outcome);
        }
    }
}
