//! PLANTED: the instrument held against itself, on a fake browser whose runs take a time that is set: how often two runs of the
//! same are told apart, how often a slowdown that was planted is found, and what the instrument does with each answer.

#![allow(clippy::unwrap_used, reason = "a bench may")]

#[path = "common/mod.rs"]
mod bench;
#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    hint::black_box,
    sync::Mutex,
    time::{Duration, Instant},
};

use bench::{
    Result,
    report::{Goal, Report},
};
use common::{Service, fake::Fake};
use futures_util::TryStreamExt;
use serde_json::json;
use tonic::transport::Channel;
use webinfer::{proto::v1, rpc::generated::benchmark_service_client::BenchmarkServiceClient};
use webinfer_bench::{
    Recorder, Rule, Run,
    record::Hops,
    stats::{Verdict, compare_runs},
};

const MODEL: &str = "tiny-bert";
const PAIRS: usize = 20;
const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_millis(300);
/// Timers have whole milliseconds, so that a twentieth of it has to be one.
const TAKES: Duration = Duration::from_millis(20);
const PLANTED: Duration = Duration::from_millis(21);
/// Answers of which it is measured what is done with them.
const ANSWERS: u32 = 1_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new(
        "PLANTED",
        json!({"browser": "a fake one, whose runs wait", "pairs": PAIRS, "rounds": ROUNDS,
               "millis_a_round": ROUND.as_millis(), "rule": Rule::default(),
               "millis_a_run": TAKES.as_millis(), "planted_millis_a_run": PLANTED.as_millis()}),
    );
    let folder = tempfile::tempdir()?;
    let history = format!("--history={}", folder.path().join("runs.db").display());
    let fake = Fake::taking(TAKES);
    let service = Service::start(&["--replicas=1", &history], fake.driver()).await;
    let client = BenchmarkServiceClient::new(service.channel.clone());
    let (mut same, mut slower) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let base = measure(&client).await?;
        same.push(compare(&base, &measure(&client).await?)?);
        fake.take(PLANTED);
        slower.push(compare(&base, &measure(&client).await?)?);
        fake.take(TAKES);
        eprintln!("{} of {PAIRS} pairs", pair + 1);
    }
    service.stop().await;
    let of = |found: &[(Verdict, f64)], is: fn(&Verdict) -> bool| {
        found.iter().filter(|(verdict, _)| is(verdict)).count() as f64 / PAIRS as f64
    };
    let apart = of(&same, |verdict| matches!(verdict, Verdict::Faster | Verdict::Slower));
    report.figure("two runs of the same that are told apart, part", &[apart], Goal::AtMost(0.05), json!(same));
    let found = of(&slower, |verdict| *verdict == Verdict::Slower);
    report.figure("a planted 5 % that is found, part", &[found], Goal::AtLeast(0.95), json!(slower));
    own_cost(&mut report);
    report.write()
}

/// Measures one cell to the end, and returns what is kept of it.
async fn measure(client: &BenchmarkServiceClient<Channel>) -> Result<Run> {
    let plan = v1::BenchmarkPlan {
        models: vec![MODEL.into()],
        rounds: ROUNDS,
        round_ms: u64::try_from(ROUND.as_millis())?,
        warm_up_least: 5,
        warm_up_most: 50,
        ..Default::default()
    };
    let request = v1::RunRequest { plan: Some(plan), ..Default::default() };
    let steps: Vec<_> = client.clone().run(request).await?.into_inner().try_collect().await?;
    let id = steps.last().ok_or("a run without a step")?.id.clone();
    let request = v1::BenchmarkServiceGetRequest { id, with_record: true };
    Ok(serde_json::from_slice(&client.clone().get(request).await?.into_inner().record)?)
}

/// What is said of a run beside another one, and by how much its throughput differs.
fn compare(base: &Run, new: &Run) -> Result<(Verdict, f64)> {
    let compared = compare_runs(base, new, &Rule::default());
    let comparison = compared.comparisons.into_iter().next().ok_or("no row was compared")?;
    let change = comparison.change.ok_or_else(|| format!("not compared: {:?}", comparison.verdict))?;
    Ok((comparison.verdict, change.value))
}

/// Time that is spent on an answer beside asking for it: with it, the next request of a caller is that much later. It is told
/// as a part of the shortest request that there is, a null model's of a tenth of a millisecond.
fn own_cost(report: &mut Report) {
    const NULL: Duration = Duration::from_micros(100);
    let parts: Vec<_> = (0..ROUNDS).map(|_| per_answer() / NULL.as_secs_f64()).collect();
    report.figure("own work for an answer / a request of 0.1 ms", &parts, Goal::AtMost(0.01), json!({}));
}

/// Seconds.
fn per_answer() -> f64 {
    let tally = Mutex::new((Recorder::default(), Hops::default()));
    let hops = Hops { batches: 1, queue_us: 3, bridge_us: 5, preprocess_us: 7, inference_us: 11, postprocess_us: 13 };
    let begun = Instant::now();
    for number in 0..ANSWERS {
        let asked = Instant::now();
        let mut tally = tally.lock().unwrap();
        tally.0.record(asked.elapsed() + Duration::from_micros(u64::from(number % 1000)));
        tally.1 = black_box(tally.1 + hops);
    }
    begun.elapsed().as_secs_f64() / f64::from(ANSWERS)
}
