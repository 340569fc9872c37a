//! Answers step by step: what the items of a request have come to before the answer is there.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use webinfer::proto::v1::{
    self, generate_response::Result as Step, infer_stream_response::Result as StreamResult, item::Input,
};

use crate::common::{
    self, Service, details, embedding,
    fake::{Fake, Fault},
    soon, text,
};

fn request(model: &str, texts: &[&str]) -> v1::InferRequest {
    v1::InferRequest { model: model.into(), items: texts.iter().map(|it| text(it)).collect(), ..Default::default() }
}

async fn generate(service: &Service, request: v1::InferRequest) -> Streaming<v1::GenerateResponse> {
    soon(service.inference().generate(v1::GenerateRequest { request: Some(request) })).await.unwrap().into_inner()
}

/// All that is told up to the answer: of each item what the last run told, and how often one began anew.
async fn to_the_end(
    mut steps: Streaming<v1::GenerateResponse>,
    items: usize,
) -> (Vec<String>, usize, v1::InferResponse) {
    let (mut told, mut restarts) = (vec![String::new(); items], 0);
    while let Some(step) = soon(steps.message()).await.unwrap() {
        match step.result.unwrap() {
            Step::Partial(partial) => {
                let told = &mut told[partial.item as usize];
                if partial.restarted {
                    restarts += 1;
                    told.clear();
                }
                *told += &partial.text;
            }
            Step::Response(response) => {
                assert!(soon(steps.message()).await.unwrap().is_none(), "something came after the answer");
                return (told, restarts, response);
            }
        }
    }
    panic!("no answer came");
}

#[tokio::test]
async fn steps_come_before_the_answer_and_make_up_its_text() {
    let service = Service::start(&[], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let texts = ["one text", "another one", ""];
    let steps = generate(&service, request("tiny-bert", &texts)).await;
    let (told, restarts, response) = to_the_end(steps, texts.len()).await;
    assert_eq!((told, restarts), (texts.map(str::to_owned).to_vec(), 0));
    assert_eq!(response.results.iter().map(|result| embedding(result)[0]).collect::<Vec<_>>(), [8.0, 11.0, 0.0]);
    service.stop().await;
}

#[tokio::test]
async fn a_lost_worker_s_steps_are_void() {
    let fake = Fake::new();
    let service = Service::start(&[], fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    fake.fault_run(Fault::Break);
    let steps = generate(&service, request("tiny-bert", &["a story"])).await;
    let (told, restarts, response) = to_the_end(steps, 1).await;
    assert_eq!((told, restarts), (vec!["a story".to_owned()], 1));
    assert_eq!(response.executions[0].retries, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_stream_tells_of_the_requests_that_want_it() {
    let service = Service::start(&[], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let (sender, requests) = mpsc::channel(8);
    let mut answers = service.inference().infer_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    for (request_id, partials) in [("quiet", false), ("told", true)] {
        let request = Some(request("tiny-bert", &["twice"]));
        let request = v1::InferStreamRequest { request_id: request_id.into(), request, partials };
        sender.send(request).await.unwrap();
    }
    drop(sender);
    let (mut told, mut answered) = (String::new(), Vec::new());
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        match answer.result.unwrap() {
            StreamResult::Partial(partial) => {
                assert_eq!(answer.request_id, "told");
                assert!(!answered.contains(&answer.request_id), "a step came after the answer");
                told += &partial.text;
            }
            StreamResult::Response(_) => answered.push(answer.request_id),
            StreamResult::Error(error) => panic!("{error:?}"),
        }
    }
    answered.sort();
    assert_eq!((told.as_str(), answered), ("twice", vec!["quiet".to_owned(), "told".to_owned()]));
    service.stop().await;
}

#[tokio::test]
async fn errors_are_those_of_infer() {
    let service = Service::start(&[], Fake::new().driver()).await;
    for (request, code, reason) in [
        (Some(request("no-such", &["x"])), Code::NotFound, "MODEL_NOT_FOUND"),
        (Some(request("tiny-bert", &[])), Code::InvalidArgument, "INVALID_FIELD"),
        (Some(request("tiny-bert", &["x"])), Code::FailedPrecondition, "MODEL_NOT_LOADED"),
        (None, Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        // The response has not begun, so that a client may try again.
        let error = soon(service.inference().generate(v1::GenerateRequest { request })).await.unwrap_err();
        assert_eq!((error.code(), details(&error).1.as_str()), (code, reason));
    }
    service.stop().await;
}

#[tokio::test]
async fn who_leaves_cancels() {
    let fake = Fake::gated();
    let service = Service::start(&["--replicas=1", "--max-batch=1"], fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    let call = |text| {
        let (mut client, request) = (service.inference(), Some(request("tiny-bert", &[text])));
        tokio::spawn(async move { client.generate(v1::GenerateRequest { request }).await.unwrap().into_inner() })
    };
    let running = call("runs");
    fake.batches(1).await;
    let waiting = call("waits");
    fake.batches(2).await;
    waiting.abort();
    fake.cancelled(1).await;
    fake.release(1);
    assert_eq!(to_the_end(soon(running).await.unwrap(), 1).await.0, ["runs"]);
    service.stop().await;
}

#[tokio::test]
async fn what_is_drawn_shares_no_run_and_what_is_not_does() {
    let fake = Fake::gated();
    let service = Service::start(&["--replicas=1"], fake.driver()).await;
    let spec = v1::ModelSpec { id: "writer".into(), source: "tiny-llama".into(), ..Default::default() };
    assert_eq!(service.register(spec).await.unwrap().spec.unwrap().task, "text-generation");
    service.load("writer").await.unwrap();
    let ask = |do_sample| {
        let generation = Some(v1::Generation { do_sample, ..Default::default() });
        let parameters = Some(v1::Parameters { generation, ..Default::default() });
        let request = v1::InferRequest { parameters, ..request("writer", &["same", "same"]) };
        let mut client = service.inference();
        async move { soon(client.infer(request)).await.unwrap().into_inner() }
    };
    for (do_sample, runs) in [(None, 2), (Some(true), 2), (Some(false), 1)] {
        let before = fake.batches(0).await.len();
        fake.release(runs);
        ask(do_sample).await;
        assert_eq!(fake.batches(0).await.len() - before, runs, "{do_sample:?}");
    }
    service.stop().await;
}

#[tokio::test]
async fn parameters_and_inputs_that_the_task_does_not_have_are_refused() {
    let service = Service::start(&[], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let parameters = Some(v1::Parameters { top_k: Some(3), ..Default::default() });
    let wrong = v1::InferRequest { parameters, ..request("tiny-bert", &["x"]) };
    let error = soon(service.inference().infer(wrong)).await.unwrap_err();
    assert_eq!((error.code(), common::blamed(&error).as_str()), (Code::InvalidArgument, "parameters.top_k"));
    let other = v1::Item { input: Some(Input::Query(v1::Query { text: "x".into(), documents: Vec::new() })) };
    let error = service.infer("tiny-bert", vec![other]).await.unwrap_err();
    assert!(error.message().contains("is a query") && error.message().contains("takes a text"), "{error}");
    service.stop().await;
}
