//! R13: the clients of other languages beside the Rust one: round trips of a null model with a small tensor and with one
//! of 64 MiB, and Python's stream of short sentences.
//!
//! Each client is a process of its own that stays up, so that its runtime is warm; they call one after the other.

mod common;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use common::{
    Result,
    load::tensor,
    report::{Goal, Report, median},
    repository,
    service::Service,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use webinfer::{
    proto::v1::{self, item::Input},
    rpc::client::Client,
};

const CLIENTS: [&str; 4] = ["python", "js", "java", "cpp"];
const ROUNDS: usize = 6;
const CALLS: usize = 500;
const FLOATS: usize = 16;
const LARGE_CALLS: usize = 3;
const LARGE_FLOATS: usize = 64 << 18;
const SENTENCES: usize = 10_000;
const STREAM_ROUNDS: usize = 5;
/// As the Python client has it.
const IN_FLIGHT: usize = 64;
/// For a build, and for what a client is asked for.
const PATIENCE: Duration = Duration::from_secs(600);
/// Large tensors pass, with their frames.
const LIMITS: [&str; 2] = ["--max-message-bytes=68157440", "--max-pending-bytes=1073741824"];

#[tokio::main]
async fn main() -> Result<()> {
    let service = Service::start(&repository("tests/models"), &[&ONE, &LIMITS[..]].concat()).await?;
    service.load("identity").await?;
    let mut report = Report::new(
        "R13",
        json!({"model": "identity, one ONNX node", "backend": "wasm", "threads": 1, "floats": FLOATS, "rounds": ROUNDS,
               "calls_a_round": CALLS, "concurrency": 1, "order": "A B C D E, then E D C B A"}),
    );
    let mut others = Vec::new();
    for name in CLIENTS {
        others.push(Other::start(name, &service.address).await?);
    }
    for (what, count, floats) in [("16 floats", CALLS, FLOATS), ("64 MiB", LARGE_CALLS, LARGE_FLOATS)] {
        let mut times = vec![Vec::new(); CLIENTS.len() + 1];
        for round in 0..=ROUNDS {
            let mut order: Vec<usize> = (0..=CLIENTS.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let taken = match at.checked_sub(1) {
                    None => calls(&service.client, count, floats).await?,
                    Some(other) => others[other].ask(&format!("calls {count} {floats}")).await?,
                };
                // The first round warms up.
                if round > 0 {
                    times[at].push(middle(taken));
                }
            }
        }
        let (rust, others) = times.split_first().ok_or("no client was measured")?;
        report.told(&format!("rust, {what}, p50"), rust, "us", json!(rust));
        for (name, own) in CLIENTS.iter().zip(others) {
            let ratios: Vec<f64> = own.iter().zip(rust).map(|(own, rust)| own / rust).collect();
            report.figure(&format!("{name} / rust, {what}, p50"), &ratios, Goal::AtMost(3.0), json!({"p50_us": own}));
        }
    }
    drop(others);
    service.stop().await?;
    sentences(&mut report).await?;
    report.write()
}

/// Arguments for one worker of one thread.
const ONE: [&str; 3] = common::service::ONE_WORKER;

/// The Python client's stream beside the Rust client's.
async fn sentences(report: &mut Report) -> Result<()> {
    let service = Service::start(&repository("models"), &["--load=none"]).await?;
    service.load("all-MiniLM-L6-v2").await?;
    let mut python = Other::start("python", &service.address).await?;
    let (mut ratios, mut raw) = (Vec::new(), Vec::new());
    for round in 0..STREAM_ROUNDS {
        let mut theirs = None;
        if round % 2 == 0 {
            theirs = Some(middle(python.ask(&format!("stream {SENTENCES}")).await?) / 1e6);
        }
        let ours = embed(&service.client).await?;
        let theirs = match theirs {
            Some(theirs) => theirs,
            None => middle(python.ask(&format!("stream {SENTENCES}")).await?) / 1e6,
        };
        ratios.push(ours / theirs);
        raw.push(json!({"rust_s": ours, "python_s": theirs}));
    }
    let what = "python / rust, throughput of 10,000 sentences by stream";
    report.figure(what, &ratios, Goal::AtLeast(0.9), json!(raw));
    drop(python);
    service.stop().await
}

/// Times of round trips, in microseconds.
async fn calls(client: &Client, count: usize, floats: usize) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let request =
            v1::InferRequest { model: "identity".into(), items: vec![tensor(1, floats)], ..Default::default() };
        client.infer(request, PATIENCE).await.map_err(|failure| failure.message)?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// Embeds sentences over one stream, and returns the seconds that it took.
async fn embed(client: &Client) -> Result<f64> {
    let open = client.open_stream().await?;
    let begun = Instant::now();
    let answers = stream::iter(0..SENTENCES).map(|number| {
        let item = v1::Item { input: Some(Input::Text(format!("Sentence {number} is short."))) };
        let request = v1::InferRequest { model: "all-MiniLM-L6-v2".into(), items: vec![item], ..Default::default() };
        open.infer(request, PATIENCE)
    });
    let mut answers = answers.buffered(IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        answer.map_err(|failure| failure.message)?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    median(&times)
}

/// A client of another language, which does what it is asked for.
struct Other {
    name: &'static str,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Other {
    async fn start(name: &'static str, address: &str) -> Result<Self> {
        let mut child = Command::new(repository(&format!("clients/{name}/bench")))
            .env("WEBINFER_ADDRESS", address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        Ok(Self { name, stdin, lines, _child: child })
    }

    /// The times that it answers with, in microseconds.
    async fn ask(&mut self, what: &str) -> Result<Vec<f64>> {
        self.stdin.write_all(format!("{what}\n").as_bytes()).await?;
        let line = timeout(PATIENCE, self.lines.next_line()).await??;
        let line = line.ok_or_else(|| format!("the {} client has ended", self.name))?;
        let times: Value = serde_json::from_str(&line)?;
        Ok(serde_json::from_value(times)?)
    }
}
