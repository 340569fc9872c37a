//! Runs the cases of `clients/conformance` through the library's client: see the README there.
//!
//!     WEBINFER_ADDRESS=localhost:50051 cargo run --example conformance [CASES.JSON] [NAME]

use std::{
    collections::HashMap,
    env, fs,
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future, stream::FuturesUnordered};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions, prost::Message};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use webinfer::{
    proto::v1::{self, generate_response::Result as Step, item::Input, item_result::Output},
    rpc::{
        DESCRIPTORS,
        client::{Answer, Client, Failure},
    },
};

type Error = Box<dyn std::error::Error + Send + Sync>;

const NAME: &str = "rust";
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
const ATTEMPTS: u32 = 5;

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let mut arguments = env::args().skip(1);
    let cases = arguments.next().unwrap_or_else(|| "clients/conformance/cases.json".into());
    let name = arguments.next().unwrap_or_default();
    let cases = PathBuf::from(cases);
    let file: Value = serde_json::from_slice(&fs::read(&cases)?)?;
    let folder = cases.parent().unwrap_or(Path::new("."));
    let address = env::var("WEBINFER_ADDRESS").map_err(|_| "WEBINFER_ADDRESS must name the service")?;
    let runner = Runner {
        client: Client::connect(&address).await?.with_attempts(ATTEMPTS),
        messages: Messages { pool: DescriptorPool::decode(DESCRIPTORS)?, media: folder.join("../../tests/media") },
    };

    let mut models = Vec::new();
    for spec in array(&file["models"]) {
        let spec: v1::ModelSpec = runner.messages.read("ModelSpec", spec)?;
        models.push(spec.id.clone());
        let id = runner.client.register(spec).await?.spec.unwrap_or_default().id;
        let mut steps = pin!(runner.client.load(&id).await?);
        while let Some(step) = steps.next().await {
            step?;
        }
    }
    let mut good = true;
    for case in array(&file["cases"]).iter().filter(|case| text(&case["name"]).contains(&name)) {
        let why = runner.run(case).await.unwrap_or_else(|error| error.to_string());
        good &= why.is_empty();
        let mut line = json!({"name": case["name"], "ok": why.is_empty()});
        if !why.is_empty() {
            line["why"] = why.into();
        }
        println!("{line}");
    }
    for id in models {
        // A restarted service has forgotten it already.
        let _ = runner.client.unregister(&id).await;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Messages in protobuf's JSON form.
struct Messages {
    pool: DescriptorPool,
    media: PathBuf,
}

impl Messages {
    fn read<M: Message + Default>(&self, name: &str, value: &Value) -> Result<M, Error> {
        let kind = self.pool.get_message_by_name(&format!("webinfer.v1.{name}")).ok_or("no such message")?;
        Ok(DynamicMessage::deserialize(kind, self.resolved(value)?)?.transcode_to()?)
    }

    fn write(&self, response: &v1::InferResponse) -> Result<Value, Error> {
        let kind = self.pool.get_message_by_name("webinfer.v1.InferResponse").ok_or("no such message")?;
        let message = DynamicMessage::decode(kind, response.encode_to_vec().as_slice())?;
        let options = SerializeOptions::new();
        Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
    }

    /// With all that stands for something else replaced.
    fn resolved(&self, value: &Value) -> Result<Value, Error> {
        Ok(match value {
            Value::Object(parts) => Value::Object(
                parts
                    .iter()
                    .map(|(key, part)| Ok((key.clone(), self.resolved(part)?)))
                    .collect::<Result<_, Error>>()?,
            ),
            Value::Array(parts) => parts.iter().map(|part| self.resolved(part)).collect::<Result<_, Error>>()?,
            Value::String(text) => match text.split_once(':') {
                Some(("@file", name)) => self.bytes(fs::read(self.media.join(name))?)?,
                Some(("@zeros", count)) => self.bytes(vec![0; count.parse()?])?,
                Some(("@ramp", count)) => self.bytes((0..=255).cycle().take(count.parse()?).collect())?,
                Some(("@letters", count)) => "x".repeat(count.parse()?).into(),
                _ => text.replace("{client}", NAME).into(),
            },
            other => other.clone(),
        })
    }

    /// Bytes as protobuf's JSON form has them.
    fn bytes(&self, data: Vec<u8>) -> Result<Value, Error> {
        let kind = self.pool.get_message_by_name("webinfer.v1.Tensor").ok_or("no such message")?;
        let mut tensor = DynamicMessage::new(kind);
        tensor.transcode_from(&v1::Tensor { data: data.into(), ..Default::default() })?;
        let mut written = serde_json::to_value(&tensor)?;
        Ok(written.get_mut("data").map(Value::take).unwrap_or_else(|| "".into()))
    }
}

struct Runner {
    client: Client,
    messages: Messages,
}

impl Runner {
    /// What is wrong, or nothing.
    async fn run(&self, case: &Value) -> Result<String, Error> {
        if case["restart"] == true {
            let command = env::var("WEBINFER_RESTART").map_err(|_| "WEBINFER_RESTART is not set")?;
            if !Command::new("sh").args(["-c", &command]).stdout(Stdio::null()).status()?.success() {
                return Err("WEBINFER_RESTART has failed".into());
            }
        }
        match text(&case["call"]) {
            "infer" => self.infer(case).await,
            "generate" => self.generate(case).await,
            "stream" => self.stream(case).await,
            other => Err(format!("there is no call {other}").into()),
        }
    }

    async fn infer(&self, case: &Value) -> Result<String, Error> {
        let request: v1::InferRequest = self.messages.read("InferRequest", &case["request"])?;
        let call = || self.client.infer(request.clone(), timeout(case));
        if case["cancel_after"] == "send" {
            return self.check(&case["expect"], &request, dropped(call()), &[]);
        }
        let times = case["times"].as_u64().unwrap_or(1);
        for answer in future::join_all((0..times).map(|_| call())).await {
            let why = self.check(&case["expect"], &request, answer, &[])?;
            if !why.is_empty() {
                return Ok(why);
            }
        }
        Ok(String::new())
    }

    async fn generate(&self, case: &Value) -> Result<String, Error> {
        let request: v1::InferRequest = self.messages.read("InferRequest", &case["request"])?;
        let mut partials = Vec::new();
        let answer = async {
            let mut steps = pin!(self.client.generate(request.clone(), timeout(case)).await?);
            while let Some(step) = steps.next().await {
                match step? {
                    Step::Partial(partial) => partials.push(partial),
                    Step::Response(response) => return Ok(response),
                }
                if case["cancel_after"] == "first" {
                    break;
                }
            }
            // Leaving the stream of steps is what cancels it.
            Err(cancelled())
        };
        let answer = answer.await;
        self.check(&case["expect"], &request, answer, &partials)
    }

    async fn stream(&self, case: &Value) -> Result<String, Error> {
        let stream = self.client.open_stream().await?;
        let (told, mut partials) = mpsc::unbounded_channel();
        let mut requests = HashMap::new();
        let calls = FuturesUnordered::new();
        for one in array(&case["requests"]) {
            let id = text(&one["id"]);
            let request: v1::InferRequest = self.messages.read("InferRequest", &one["request"])?;
            requests.insert(id, request.clone());
            let (stream, told) = (stream.clone(), told.clone());
            calls.push(async move {
                let answer = if one["partials"] == true {
                    // Who no longer listens is not told.
                    let tell = Arc::new(move |partial| drop(told.send(partial)));
                    stream.generate(request, timeout(case), tell).await
                } else {
                    stream.infer(request, timeout(case)).await
                };
                (id, answer)
            });
        }
        drop(stream);
        let expect = &case["expect"];
        if case["cancel_after"] == "first" {
            let (first, _rest) = calls.into_future().await;
            let (id, _) = first.ok_or("there are no requests")?;
            // Leaving them is what cancels the others.
            return self.check(expect, &requests[id], Err(cancelled()), &[]);
        }
        let mut answers: HashMap<_, _> = calls.collect().await;
        let partials: Vec<_> = std::iter::from_fn(|| partials.try_recv().ok()).collect();
        for (id, wanted) in expect["answers"].as_object().ok_or("the case has no answers")? {
            let mut wanted = wanted.clone();
            for (key, value) in expect.as_object().into_iter().flatten().filter(|(key, _)| *key != "answers") {
                wanted[key] = value.clone();
            }
            let answer = answers.remove(id.as_str()).ok_or("a request has no answer")?;
            let why = self.check(&wanted, &requests[id.as_str()], answer, &partials)?;
            if !why.is_empty() {
                return Ok(format!("{id}: {why}"));
            }
        }
        Ok(String::new())
    }

    /// What is wrong with an answer, or nothing.
    fn check(
        &self,
        expect: &Value,
        request: &v1::InferRequest,
        answer: Answer,
        partials: &[v1::Partial],
    ) -> Result<String, Error> {
        let wanted = &expect["error"];
        let response = match answer {
            Ok(_) if wanted.is_object() => return Ok(format!("expected {}, got an answer", wanted["code"])),
            Ok(response) => response,
            Err(failure) if wanted.is_object() => return Ok(mismatch(wanted, &failure)),
            Err(failure) => return Ok(format!("expected an answer, got {failure}")),
        };
        let tolerance = expect["tolerance"].as_f64().unwrap_or(0.001);
        let part = Part { request, messages: &self.messages, tolerance };
        let why = part.check("response", &expect["response"], &self.messages.write(&response)?)?;
        Ok(if why.is_empty() { steps(&expect["partials"], partials, &response) } else { why })
    }
}

fn timeout(case: &Value) -> Duration {
    Duration::from_millis(case["timeout_ms"].as_u64().unwrap_or(DEFAULT_TIMEOUT_MS))
}

/// A call that its caller begins and leaves.
fn dropped(call: impl Future<Output = Answer>) -> Answer {
    Box::pin(call).now_or_never().unwrap_or_else(|| Err(cancelled()))
}

fn cancelled() -> Failure {
    Failure {
        code: "CANCELLED",
        reason: String::new(),
        message: "the caller left".into(),
        fields: vec![],
        retry_after: None,
    }
}

fn mismatch(wanted: &Value, failure: &Failure) -> String {
    let seen = json!({
        "code": failure.code,
        "reason": failure.reason,
        "fields": failure.fields,
        "retry": failure.retry_after.is_some(),
    });
    let wrong = wanted.as_object().into_iter().flatten().find(|(key, value)| seen[*key] != **value);
    wrong.map(|(key, value)| format!("{key} {} in place of {value}: {failure}", seen[key])).unwrap_or_default()
}

fn steps(wanted: &Value, partials: &[v1::Partial], response: &v1::InferResponse) -> String {
    if (partials.len() as u64) < wanted["at_least"].as_u64().unwrap_or(0) {
        return format!("expected at least {} partials, got {}", wanted["at_least"], partials.len());
    }
    let mut told = String::new();
    for partial in partials {
        if partial.restarted {
            told.clear();
        }
        told += &partial.text;
    }
    let made = match response.results.first().and_then(|result| result.output.as_ref()) {
        Some(Output::Generated(generated)) => generated.text.as_str(),
        _ => "",
    };
    if wanted["text"] == true && told.trim() != made.trim() {
        return format!("the partials have {told:?}, the answer {made:?}");
    }
    String::new()
}

/// What parts of an answer are compared with.
struct Part<'a> {
    request: &'a v1::InferRequest,
    messages: &'a Messages,
    tolerance: f64,
}

impl Part<'_> {
    fn check(&self, path: &str, wanted: &Value, actual: &Value) -> Result<String, Error> {
        match (wanted, actual) {
            (Value::Object(parts), Value::Object(_)) => {
                let parts = parts.iter().map(|(key, part)| (format!("{path}.{key}"), part, &actual[key]));
                self.all(parts)
            }
            (Value::Object(_), _) => Ok(format!("{path} is no object")),
            (Value::Array(parts), Value::Array(others)) if parts.len() == others.len() => {
                let pairs = parts.iter().zip(others).enumerate();
                self.all(pairs.map(|(at, (part, other))| (format!("{path}[{at}]"), part, other)))
            }
            (Value::Array(parts), _) => Ok(format!("{path} has not {} elements", parts.len())),
            (_, Value::Null) => Ok(format!("{path} is not there")),
            _ => self.leaf(path, wanted, actual),
        }
    }

    fn all<'a>(&self, parts: impl Iterator<Item = (String, &'a Value, &'a Value)>) -> Result<String, Error> {
        for (path, wanted, actual) in parts {
            let why = self.check(&path, wanted, actual)?;
            if !why.is_empty() {
                return Ok(why);
            }
        }
        Ok(String::new())
    }

    fn leaf(&self, path: &str, wanted: &Value, actual: &Value) -> Result<String, Error> {
        // 64-bit numbers are strings in protobuf's JSON form.
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let same = match (wanted.as_str(), wanted.as_f64().zip(actual.as_f64())) {
            (Some("@any"), _) => true,
            (Some("@request"), _) => {
                let Some(Input::Tensors(sent)) = self.request.items.first().and_then(|item| item.input.as_ref()) else {
                    return Err("the request has no tensors".into());
                };
                let sent = sent.tensors.values().next().ok_or("the request has no tensor")?;
                *actual == self.messages.bytes(sent.data.to_vec())?
            }
            (_, Some((wanted, actual))) => (wanted - actual).abs() <= self.tolerance * wanted.abs().max(1.0),
            _ => plain(wanted) == plain(actual),
        };
        let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
        Ok(if same { String::new() } else { format!("{path}: expected {}, got {}", short(wanted), short(actual)) })
    }
}
