//! Benchmarks: a run from plan to record over real sockets, what becomes of it where something breaks, and the commands.

use std::{path::Path, process::Stdio};

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::process::Command;
use tonic::{Code, Status, Streaming, transport::Channel};
use webinfer::{
    proto::v1::{self, Backend, BenchmarkPhase, BenchmarkRowState as State},
    rpc::generated::benchmark_service_client::BenchmarkServiceClient,
};
use webinfer_bench::{RowState, Run, RunState};

use crate::common::{
    self, Service, blamed, details,
    fake::{Fake, Fault},
    soon, text,
};

const MODEL: &str = "tiny-bert";
const PROGRAM: &str = env!("CARGO_BIN_EXE_webinfer");

/// A service on fake browsers, and the file of its history.
struct Bench {
    service: Service,
    folder: TempDir,
}

impl Bench {
    async fn start(arguments: &[&str], fakes: &[&std::sync::Arc<Fake>]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments, fakes).await
    }

    async fn start_in(folder: TempDir, arguments: &[&str], fakes: &[&std::sync::Arc<Fake>]) -> Self {
        let history = format!("--history={}", folder.path().join("runs.db").display());
        let drivers = fakes.iter().map(|fake| fake.driver()).collect();
        let service = Service::start_all(&[arguments, &[&history]].concat(), drivers).await;
        Self { service, folder }
    }

    fn client(&self) -> BenchmarkServiceClient<Channel> {
        BenchmarkServiceClient::new(self.service.channel.clone())
    }

    async fn begin(&self, request: v1::RunRequest) -> Result<Streaming<v1::RunResponse>, Status> {
        Ok(soon(self.client().run(request)).await?.into_inner())
    }

    /// Measures to the end; returns all steps.
    async fn run(&self, request: v1::RunRequest) -> Vec<v1::RunResponse> {
        let steps = self.begin(request).await.unwrap();
        soon(steps.map(Result::unwrap).collect()).await
    }

    async fn get(&self, id: &str) -> (v1::BenchmarkRun, Run) {
        let request = v1::BenchmarkServiceGetRequest { id: id.into(), with_record: true };
        let got = soon(self.client().get(request)).await.unwrap().into_inner();
        (got.run.unwrap(), serde_json::from_slice(&got.record).unwrap())
    }

    /// Begins a run of 40 rounds and leaves it after two; returns its id and what is kept of it.
    async fn interrupted(&self) -> (String, Run) {
        let mut steps = self.begin(request(v1::BenchmarkPlan { rounds: 40, ..plan() })).await.unwrap();
        let id = soon(async {
            loop {
                let step = steps.next().await.unwrap().unwrap();
                if step.done_rounds >= 2 {
                    return step.id;
                }
            }
        })
        .await;
        drop(steps);
        let before = self.ended(&id).await;
        (id, before)
    }

    /// Waits until a run has ended, however; returns it.
    async fn ended(&self, id: &str) -> Run {
        soon(async {
            loop {
                let (_, run) = self.get(id).await;
                if run.state != RunState::Running {
                    return run;
                }
            }
        })
        .await
    }

    /// What a command about the history prints, and whether it was content.
    async fn command(&self, arguments: &[&str]) -> (String, bool) {
        let history = self.folder.path().join("runs.db");
        let output = Command::new(PROGRAM).arg("bench").args(arguments).arg("--history").arg(history).output();
        let output = soon(output).await.unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (text, output.status.success())
    }
}

/// A plan of one cell that takes little time.
fn plan() -> v1::BenchmarkPlan {
    v1::BenchmarkPlan {
        models: vec![MODEL.into()],
        rounds: 3,
        round_ms: 20,
        warm_up_least: 3,
        warm_up_most: 20,
        ..Default::default()
    }
}

fn request(plan: v1::BenchmarkPlan) -> v1::RunRequest {
    v1::RunRequest { plan: Some(plan), ..Default::default() }
}

fn states(run: &v1::BenchmarkRun) -> Vec<State> {
    run.rows.iter().map(v1::BenchmarkRow::state).collect()
}

#[tokio::test]
async fn a_run_measures_each_cell_in_its_browser_and_keeps_what_was_found() {
    let fakes = [Fake::having("Firefox", &[Backend::Wasm]), Fake::having("Edge", &[Backend::Wasm, Backend::Webgpu])];
    let arguments = ["--browsers=2", "--answer-cache-bytes=100000", "--hedge=1"];
    let bench = Bench::start(&arguments, &[&fakes[0], &fakes[1]]).await;
    let plan = v1::BenchmarkPlan {
        browsers: vec!["firefox".into(), "edge".into()],
        backends: vec![Backend::Wasm.into(), Backend::Webgpu.into()],
        batch: vec![4],
        concurrency: vec![2],
        ..plan()
    };
    let steps = bench.run(request(plan)).await;
    let last = steps.last().unwrap();
    assert_eq!((last.phase(), last.done_rows, last.done_rounds), (BenchmarkPhase::Done, 4, 12));
    assert_eq!((last.rows, last.rounds), (4, 12));
    assert_eq!(steps.iter().filter(|step| step.row.is_some()).count(), 4);
    let (run, record) = bench.get(&last.id).await;
    assert_eq!(run.state(), v1::BenchmarkState::Complete);
    // Firefox has no WebGPU here.
    assert_eq!(states(&run), [State::Measured, State::Failed, State::Measured, State::Measured]);
    assert!(run.rows[1].reason.contains("no adapter"), "{}", run.rows[1].reason);
    let products = run.rows.iter().map(|row| row.conditions.as_ref().map(|it| it.browser.as_str()));
    assert_eq!(products.collect::<Vec<_>>(), [Some("Firefox"), None, Some("Edge"), Some("Edge")]);
    for (row, record) in run.rows.iter().zip(&record.rows).filter(|(row, _)| row.state() == State::Measured) {
        let conditions = row.conditions.as_ref().unwrap();
        assert_eq!((conditions.dtype.is_empty(), conditions.workers), (false, 1));
        assert!(row.load_us > 0 && row.first_result_us > 0 && row.warm_up_requests >= 3, "{row:?}");
        assert_eq!(row.check.as_ref().unwrap().value, 1.0);
        // Each request ran, in a batch of its own: neither kept answers nor runs of others stood in for it.
        assert_eq!(row.summary.as_ref().unwrap().batch_items, 4.0);
        for round in &record.rounds {
            assert_eq!((round.hops.batches, round.items), (round.latencies.count(), 4 * round.latencies.count()));
        }
    }
    let models = bench.service.models().list(v1::ModelServiceListRequest {}).await.unwrap().into_inner().models;
    assert!(models.iter().all(|model| !model.spec.as_ref().unwrap().id.starts_with("webinfer-")), "{models:?}");
    assert!(bench.service.app.pool.view().models.is_empty());
    let metrics = bench.service.get_http("/metrics").await;
    let told = "webinfer_benchmark_items_per_second{model=\"tiny-bert\",browser=\"Edge\",backend=\"webgpu\"";
    assert!(metrics.contains(told), "{metrics}");
    bench.service.stop().await;
}

#[tokio::test]
async fn a_row_whose_browser_ends_is_lost_and_the_others_are_measured() {
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    let plan = v1::BenchmarkPlan { batch: vec![1, 2], rounds: 60, at_once: 1, ..plan() };
    let mut steps = bench.begin(request(plan)).await.unwrap();
    let mut first = None;
    let run = soon(async {
        let mut id = String::new();
        while let Some(step) = steps.next().await {
            let step = step.unwrap();
            if step.done_rounds == 2 && first.is_none() {
                first = step.cell.map(|cell| cell.batch);
                fake.fault_run(Fault::EndBrowser);
            }
            id = step.id;
        }
        bench.get(&id).await.0
    })
    .await;
    assert_eq!(run.state(), v1::BenchmarkState::Complete);
    for row in &run.rows {
        let lost = Some(row.cell.as_ref().unwrap().batch) == first;
        assert_eq!(row.state(), if lost { State::Lost } else { State::Measured }, "{row:?}");
        assert_eq!(row.reason.is_empty(), !lost, "{row:?}");
        // What was measured before is kept.
        assert!(row.summary.as_ref().unwrap().rounds >= 2, "{row:?}");
    }
    bench.service.stop().await;
}

#[tokio::test]
async fn a_run_whose_caller_leaves_goes_on_where_it_was() {
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    let (id, before) = bench.interrupted().await;
    assert_eq!((before.state, &before.rows[0].state), (RunState::Interrupted, &RowState::Pending));
    let kept = before.rows[0].rounds.len();
    assert!((2..40).contains(&kept), "{kept} rounds");
    assert!(bench.service.app.pool.view().models.is_empty());

    // It is asked otherwise: rounds of both cannot be put together.
    let otherwise = v1::RunRequest { resume: id.clone(), items: vec![text("x")], ..Default::default() };
    assert_eq!(blamed(&bench.begin(otherwise).await.unwrap_err()), "items");
    assert_eq!(bench.ended(&id).await, before);
    bench.service.stop().await;
}

#[tokio::test]
async fn rounds_that_are_kept_are_not_measured_again() {
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    let (id, before) = bench.interrupted().await;
    bench.run(v1::RunRequest { resume: "latest".into(), ..Default::default() }).await;
    let after = bench.ended(&id).await;
    assert_eq!(after.state, RunState::Complete);
    let (before, after) = (&before.rows[0].rounds, &after.rows[0].rounds);
    assert!(after.iter().map(|round| round.index).eq(0..40));
    assert_eq!(before[..], after[..before.len()]);
    let error = bench.begin(v1::RunRequest { resume: id, ..Default::default() }).await.unwrap_err();
    assert_eq!(blamed(&error), "resume");
    bench.service.stop().await;
}

#[tokio::test]
async fn a_run_goes_on_only_where_all_is_as_it_was() {
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    let (id, before) = bench.interrupted().await;
    let resume = v1::RunRequest { resume: id.clone(), ..Default::default() };
    bench.service.models().unregister(v1::UnregisterRequest { id: MODEL.into() }).await.unwrap();
    let error = bench.begin(resume.clone()).await.unwrap_err();
    assert_eq!(blamed(&error), "resume");
    assert!(error.message().contains(MODEL), "{error}");
    bench.service.stop().await;

    // Another browser: what was measured stays, and can go on where the first is there again.
    let edge = Fake::having("Edge", &[Backend::Wasm]);
    let other = Bench::start_in(bench.folder, &[], &[&edge]).await;
    let steps: Vec<_> = soon(other.begin(resume.clone()).await.unwrap().collect()).await;
    let error = steps.last().unwrap().as_ref().unwrap_err();
    assert_eq!(blamed(error), "resume");
    assert!(error.message().contains("browser was \"Fake\" and is \"Edge\""), "{error}");
    assert_eq!(other.ended(&id).await.rows, before.rows);
    other.service.stop().await;

    let last = Bench::start_in(other.folder, &[], &[&fake]).await;
    last.run(resume).await;
    assert_eq!(last.ended(&id).await.state, RunState::Complete);
    last.service.stop().await;
}

#[tokio::test]
async fn two_services_do_not_measure_into_one_history_at_once() {
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    let history = format!("--history={}", bench.folder.path().join("runs.db").display());
    let other = Service::start_all(&[&history], vec![fake.driver()]).await;
    let mut steps = bench.begin(request(v1::BenchmarkPlan { rounds: 1000, ..plan() })).await.unwrap();
    soon(steps.next()).await.unwrap().unwrap();
    let error = BenchmarkServiceClient::new(other.channel.clone()).run(request(plan())).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().contains("another process"), "{error}");
    drop(steps);
    other.stop().await;
    bench.service.stop().await;
}

#[tokio::test]
async fn there_is_one_run_at_a_time_and_it_ends_with_the_service() {
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    let mut steps = bench.begin(request(v1::BenchmarkPlan { rounds: 1000, ..plan() })).await.unwrap();
    soon(steps.next()).await.unwrap().unwrap();
    let error = bench.begin(request(plan())).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(details(&error).0.retry_info().is_some());
    let rest = tokio::spawn(async move {
        let rest: Vec<_> = steps.collect().await;
        rest.last().unwrap().as_ref().map(|_| ()).map_err(Status::code)
    });
    soon(bench.service.stop()).await;
    assert_eq!(soon(rest).await.unwrap(), Err(Code::Unavailable));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_what_cannot_be_measured_is_told() {
    let fake = Fake::having("Fake", &[Backend::Wasm, Backend::WebnnGpu]);
    let bench = Bench::start(&["--max-batch-tokens=64"], &[&fake]).await;
    let wrong = [
        ("models", v1::BenchmarkPlan { models: vec![], ..plan() }),
        ("models[0]", v1::BenchmarkPlan { models: vec!["no-such".into()], ..plan() }),
        ("models[0]", v1::BenchmarkPlan { models: vec!["\u{0}".repeat(1 << 20)], ..plan() }),
        ("browsers[0]", v1::BenchmarkPlan { browsers: vec!["netscape".into()], ..plan() }),
        ("plan.backends[0]", v1::BenchmarkPlan { backends: vec![i32::MAX], ..plan() }),
        ("plan.precisions[0]", v1::BenchmarkPlan { precisions: vec!["-4bit".into()], ..plan() }),
        ("precisions[0]", v1::BenchmarkPlan { precisions: vec!["float".into()], ..plan() }),
        ("batch[0]", v1::BenchmarkPlan { batch: vec![u32::MAX], ..plan() }),
        ("batch", v1::BenchmarkPlan { batch: vec![1; 100_000], ..plan() }),
        ("concurrency[0]", v1::BenchmarkPlan { concurrency: vec![0], ..plan() }),
        ("workers[1]", v1::BenchmarkPlan { workers: vec![1, 1], ..plan() }),
        ("rounds", v1::BenchmarkPlan { rounds: u32::MAX, ..plan() }),
        ("round_time", v1::BenchmarkPlan { round_ms: u64::MAX, ..plan() }),
        ("warmup.time", v1::BenchmarkPlan { warm_up_ms: 1, ..plan() }),
        ("plan", v1::BenchmarkPlan { batch: (1..=200).collect(), concurrency: (1..=200).collect(), ..plan() }),
    ];
    for (field, plan) in wrong {
        let error = bench.begin(request(plan)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(blamed(&error).contains(field), "{field}: {error}");
    }
    let many = v1::RunRequest { items: vec![text("x"); 1025], ..request(plan()) };
    assert_eq!(blamed(&bench.begin(many).await.unwrap_err()), "items");
    let both = v1::RunRequest { resume: "latest".into(), ..request(plan()) };
    assert_eq!(blamed(&bench.begin(both).await.unwrap_err()), "plan");
    let none = v1::RunRequest { resume: "latest".into(), ..Default::default() };
    let error = bench.begin(none).await.unwrap_err();
    assert_eq!((error.code(), details(&error).1.as_str()), (Code::NotFound, "RUN_NOT_FOUND"));
    let no_id = v1::BenchmarkServiceGetRequest { id: "../x".into(), with_record: false };
    assert_eq!(blamed(&bench.client().get(no_id).await.unwrap_err()), "id");

    // More than a batch may have, pictures to a model of texts, and nothing that proves a GPU.
    let large = v1::BenchmarkPlan { batch: vec![4096], ..plan() };
    let picture = v1::Image { source: Some(v1::image::Source::Encoded(b"x".as_slice().into())) };
    let picture = v1::Item { input: Some(v1::item::Input::Image(picture)) };
    let on_gpu = v1::BenchmarkPlan { backends: vec![Backend::WebnnGpu.into()], ..plan() };
    for (request, word) in [
        (request(large), "--max-batch"),
        (request(v1::BenchmarkPlan { batch: vec![64], ..plan() }), "--max-batch-tokens"),
        (v1::RunRequest { items: vec![picture], ..request(plan()) }, "feature-extraction"),
        (v1::RunRequest { require_hardware: true, ..request(on_gpu.clone()) }, "hardware is required"),
    ] {
        let steps = bench.run(request).await;
        let row = steps.iter().rev().find_map(|step| step.row.clone()).unwrap();
        assert_eq!(row.state(), State::Failed);
        assert!(row.reason.contains(word), "{word}: {}", row.reason);
    }
    let steps = bench.run(request(on_gpu)).await;
    let row = steps.iter().rev().find_map(|step| step.row.clone()).unwrap();
    assert_eq!((row.state(), row.conditions.unwrap().hardware()), (State::Measured, v1::Hardware::Unspecified));
    bench.service.stop().await;
}

#[tokio::test]
async fn runs_are_listed_compared_and_written() {
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    for _ in 0..2 {
        bench.run(request(v1::BenchmarkPlan { rounds: 5, ..plan() })).await;
    }
    let runs = bench.client().list(v1::BenchmarkServiceListRequest {}).await.unwrap().into_inner().runs;
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| (run.row_count, run.measured_rows) == (1, 1)), "{runs:?}");
    let (later, earlier) = (&runs[0].id, &runs[1].id);
    let compare = v1::CompareRequest { base: earlier.clone(), other: later.clone() };
    let compared = bench.client().compare(compare).await.unwrap().into_inner().rows;
    assert_eq!(compared.len(), 1);
    assert_ne!(compared[0].verdict(), v1::BenchmarkVerdict::Unspecified);
    assert!(compared[0].change.is_some(), "{compared:?}");

    let (text, good) = bench.command(&["list"]).await;
    assert!(good && text.contains(later) && text.contains(earlier), "{text}");
    let (text, good) = bench.command(&["show", later]).await;
    assert!(good && text.contains("tiny-bert") && text.contains("Fake 1.2.3"), "{text}");
    let (text, good) = bench.command(&["show", "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(good && shown["id"] == **later && shown["rows"][0]["summary"]["rounds"] == 5, "{text}");
    // Which is faster is left to chance.
    let (text, _) = bench.command(&["compare", earlier, later, "--json"]).await;
    assert!(text.contains("\"comparisons\""), "{text}");

    let file = |name: &str| bench.folder.path().join(name).to_str().unwrap().to_owned();
    for (name, word) in [("x.html", "<!DOCTYPE html>"), ("x.csv", "tiny-bert"), ("x.json", later)] {
        let (text, good) = bench.command(&["report", "--output", &file(name)]).await;
        assert!(good, "{text}");
        assert!(std::fs::read_to_string(file(name)).unwrap().contains(word), "{name}");
    }
    assert!(!bench.command(&["report", "--output", &file("x.txt")]).await.1);
    assert!(bench.command(&["export", "--output", &file("runs.json")]).await.1);
    let (text, good) = bench.command(&["import", &file("runs.json")]).await;
    assert!(good && text.contains("there already"), "{text}");
    assert!(bench.command(&["rm", "latest", "latest~1"]).await.1);
    let (text, good) = bench.command(&["import", &file("runs.json")]).await;
    assert!(good && text.matches("added").count() == 2, "{text}");
    let (text, good) = bench.command(&["show", "00"]).await;
    assert!(!good && text.contains("bench list"), "{text}");
    bench.service.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_interrupted_command_says_how_to_go_on() {
    use nix::{
        sys::signal::{self, Signal},
        unistd::Pid,
    };
    let fake = Fake::new();
    let bench = Bench::start(&[], &[&fake]).await;
    let address = bench.service.app.address.to_string();
    let command = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["bench", "run", "--address", &address]).args(more).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let child = command(&["--model", MODEL, "--rounds", "1000", "--round-time", "20ms"]).spawn().unwrap();
    soon(async {
        let has_rounds = |run: &Run| run.rows[0].rounds.len() >= 2;
        loop {
            let request = v1::BenchmarkServiceGetRequest { id: "latest".into(), with_record: true };
            let got = bench.client().get(request).await.map(tonic::Response::into_inner);
            if got.is_ok_and(|got| has_rounds(&serde_json::from_slice(&got.record).unwrap())) {
                return;
            }
        }
    })
    .await;
    signal::kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGINT).unwrap();
    let output = soon(child.wait_with_output()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{told}");
    let id = told.split("--resume ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let run = bench.ended(&id).await;
    assert!(run.state == RunState::Interrupted && run.rows[0].rounds.len() >= 2, "{run:?}");

    // A short one, of a model of another family, and with what it prints.
    let wrong = soon(command(&["--model", MODEL, "--model-type", "vision"]).output()).await.unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--model-type vision"), "{wrong:?}");
    let plan = bench.folder.path().join("plan.toml");
    write(&plan, "models = ['tiny-bert']\nrounds = 3\nround_time = '20ms'\n[warmup]\nleast = 3\nmost = 20\n");
    let plan = plan.to_str().unwrap();
    let good = soon(command(&["--plan", plan, "--batch", "2", "--bits", "8", "--input", "a", "--json"]).output());
    let good = good.await.unwrap();
    assert!(good.status.success(), "{good:?}");
    let record: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(record["rows"][0]["cell"]["batch"], 2);
    assert_eq!(record["rows"][0]["cell"]["precision"], "8bit");
    assert_eq!(record["rows"][0]["conditions"]["asked"]["count"], 1);
    bench.service.stop().await;
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
}

/// The real thing: the same model on WebAssembly in two browsers, which a run of its own starts.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn chromium_and_firefox_are_measured_side_by_side() {
    let folder = common::program::folder();
    let history = folder.path().join("runs.db");
    let models = common::repository("tests/models");
    let output = Command::new(PROGRAM)
        .args(["bench", "run", "--model", MODEL, "--browser", "chromium,firefox", "--rounds", "3"])
        .args(["--round-time", "200ms", "--json", "--history"])
        .arg(&history)
        .args(["--", "--state=none", "--models"])
        .arg(models)
        .env("TMPDIR", folder.path())
        .kill_on_drop(true)
        .output();
    let output = soon(output).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let browsers: Vec<_> = record["rows"].as_array().unwrap().iter().map(|row| &row["conditions"]["browser"]).collect();
    assert_eq!(browsers, ["Chrome", "Firefox"]);
    for row in record["rows"].as_array().unwrap() {
        assert_eq!((&row["state"], &row["conditions"]["hardware"]), (&"measured".into(), &"cpu".into()), "{row}");
        assert!(row["memory"]["read"]["bytes"].as_u64().unwrap() > 50 << 20, "{row}");
        assert!(row["agreement"]["value"].as_f64().unwrap() > 0.9, "{row}");
        assert_eq!(row["summary"]["rounds"], 3);
    }
}
