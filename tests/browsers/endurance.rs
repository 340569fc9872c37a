//! Endurance: what has to hold a hundred times, a thousand times, or for an hour. `make chaos` and `make soak` run these;
//! the variables that they read shorten them.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::signal::Signal;
use tokio::{task::JoinSet, time::sleep};
use tonic::transport::Channel;
use webinfer::{
    pool::{Duty, View},
    proto::v1,
    rpc::generated::{inference_service_client::InferenceServiceClient, model_service_client::ModelServiceClient},
};

use crate::common::{
    Service, details, embedding,
    harm::Harm,
    program::{self, Program},
    soon, text,
};

const MODEL: &str = "tiny-bert";

/// A number from a variable, to shorten a test.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

fn request(word: &str) -> v1::InferRequest {
    v1::InferRequest { model: MODEL.into(), items: vec![text(word)], ..Default::default() }
}

/// Times of something that was done again and again.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        Self(Histogram::new(3).unwrap())
    }

    fn add(&mut self, since: Instant) {
        self.0.record(u64::try_from(since.elapsed().as_millis()).unwrap()).unwrap();
    }

    fn tell(&self, what: &str, goal: u64) {
        let (count, p50, most) = (self.0.len(), self.0.value_at_quantile(0.5), self.0.max());
        let met = if most <= goal { "met" } else { "short" };
        println!("{what}: {count} times, p50 {p50} ms, most {most} ms, goal ≤ {goal} ms, {met}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make chaos"]
async fn the_gpu_process_crashes_again_and_again() {
    let service = Service::real(&["--replicas=1", "--spares=1", "--backend=webgpu"]).await;
    let spec = v1::ModelSpec { id: "on-gpu".into(), source: MODEL.into(), dtype: "fp32".into(), ..Default::default() };
    service.register(spec).await.unwrap();
    service.load("on-gpu").await.unwrap();
    let mut times = Times::new();
    // A text of a length that the spare has run: in software, shaders take seconds to compile.
    for _ in 0..setting("TIMES", 50) {
        service.until(|view| has_warm_spare(view)).await;
        let before =
            service.embed("on-gpu", &["The same model gives the same answer wherever it runs."]).await.unwrap();
        let view = service.app.pool.view();
        let pid = view.browsers.iter().find(|browser| browser.duty == Duty::Serving).unwrap().info.pid;
        let struck = Instant::now();
        assert!(Harm::CrashGpu.inflict(pid).await);
        service.until(|view| view.browsers.iter().all(|browser| browser.info.pid != pid)).await;
        let after = service.embed("on-gpu", &["The same model gives the same answer wherever it runs."]).await.unwrap();
        assert_ne!(after.executions[0].worker_id, before.executions[0].worker_id);
        assert_eq!(after.executions[0].backend_used(), v1::Backend::Webgpu);
        times.add(struck);
    }
    times.tell("from the crash of the GPU process to the next answer", 3000);
    service.stop().await;
}

fn has_warm_spare(view: &View) -> bool {
    let mut spares = view.browsers.iter().filter(|browser| browser.duty == Duty::Spare);
    spares.any(|spare| spare.workers.iter().any(|worker| worker.replica.is_some()))
}

/// Asks until the service ends; returns answers and the errors of requests that it had let in.
async fn ask_to_the_end(channel: Channel, number: usize) -> (u64, Vec<String>) {
    let mut client = InferenceServiceClient::new(channel);
    let mut answers = 0;
    for round in 0.. {
        match soon(client.infer(request(&format!("{number} {round}")))).await {
            Ok(response) => {
                assert_eq!(embedding(&response.into_inner().results[0]).len(), 32);
                answers += 1;
            }
            // What comes after the signal is refused, or finds nobody.
            Err(status) if !status.details().is_empty() && details(&status).1 == "SHUTTING_DOWN" => break,
            Err(status) if is_not_taken(&status) => break,
            Err(status) => return (answers, vec![status.to_string()]),
        }
    }
    (answers, Vec::new())
}

/// Whether a call was never sent: the connection was closed in order before it.
fn is_not_taken(status: &tonic::Status) -> bool {
    let text = format!("{status:?}");
    ["ConnectError", "tcp connect error", "GoAway", "connection closed", "operation was canceled", "NO_ERROR"]
        .iter()
        .any(|words| text.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make chaos"]
async fn a_service_that_is_told_to_end_answers_what_it_has_let_in() {
    let folder = program::folder();
    let (mut answers, mut times) = (0, Times::new());
    for round in 0..setting("TIMES", 100) {
        let mut service = Program::start(folder.path(), &["--load=tiny-bert", "--replicas=1"]).await;
        let mut callers = JoinSet::new();
        for number in 0..8 {
            callers.spawn(ask_to_the_end(service.connect().await, number));
        }
        sleep(Duration::from_millis(200 + round * 7 % 100)).await;
        let told = Instant::now();
        service.send(Signal::SIGTERM);
        while let Some(caller) = callers.join_next().await {
            let (answered, errors) = caller.unwrap();
            assert!(errors.is_empty(), "round {round}: {errors:?}");
            answers += answered;
        }
        assert!(soon(service.child.wait()).await.unwrap().success());
        times.add(told);
        program::nothing_left(folder.path()).await;
    }
    println!("answers: {answers}");
    times.tell("from SIGTERM to the end", 5000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make chaos"]
async fn nothing_is_left_of_a_service_that_is_killed() {
    let folder = program::folder();
    let mut times = Times::new();
    for _ in 0..setting("TIMES", 100) {
        let mut service = Program::start(folder.path(), &["--load=tiny-bert", "--replicas=1"]).await;
        let caller = tokio::spawn(ask_to_the_end(service.connect().await, 0));
        sleep(Duration::from_millis(50)).await;
        let killed = Instant::now();
        service.send(Signal::SIGKILL);
        soon(service.child.wait()).await.unwrap();
        program::nothing_left(folder.path()).await;
        times.add(killed);
        caller.abort();
    }
    times.tell("from SIGKILL of the service to nothing left", 2000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes twenty minutes: make cycles"]
async fn a_thousand_starts_and_stops_leave_nothing() {
    let own = procfs::process::Process::myself().unwrap();
    let profiles = || {
        let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("webinfer-")).count()
    };
    let children = || {
        let all = procfs::process::all_processes().unwrap().flatten();
        all.filter(|process| process.stat().is_ok_and(|stat| stat.ppid == own.pid)).count()
    };
    let mut first = None;
    let times = setting("TIMES", 1000);
    for round in 0..times {
        let service = Service::real(&["--replicas=1"]).await;
        service.until(|view| view.browsers.iter().all(|browser| browser.info.pid != 0)).await;
        service.stop().await;
        let now = (own.fd_count().unwrap(), children(), profiles());
        // What a process opens once stays open.
        if round == 2.min(times - 1) {
            first = Some(now);
        }
        if round % 100 == 99 {
            println!("after {}: {} descriptors, {} children, {} folders", round + 1, now.0, now.1, now.2);
        }
        if let Some(first) = first {
            assert!(now.0 <= first.0 + 5 && now.1 <= first.1 && now.2 <= first.2, "round {round}: {first:?}, {now:?}");
        }
    }
    println!("{times} starts and stops");
}

/// Growth for each hour, by the least squares of samples taken at even times over so many hours.
fn slope(samples: &[f64], hours: f64) -> f64 {
    let count = samples.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let each = samples.iter().enumerate().map(|(index, value)| (index as f64 - middle, value - mean));
    let (up, down) = each.fold((0.0, 0.0), |(up, down), (x, y)| (up + x * y, down + x * x));
    up / down * count / hours
}

/// Loads and unloads under load; memory and descriptors of the service stay flat. `LEAK=1` keeps each connection open,
/// which has to be found.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes an hour: make soak"]
async fn an_hour_of_loads_and_unloads_is_flat() {
    let time = Duration::from_secs(60 * setting("MINUTES", 60));
    let leak = setting("LEAK", 0) > 0;
    let folder = program::folder();
    let mut service = Program::start(folder.path(), &["--load=tiny-bert", "--replicas=2", "--spares=1"]).await;
    let (begun, mut leaked) = (Instant::now(), Vec::new());
    let (mut memory, mut files, mut answers) = (Vec::new(), Vec::new(), 0_u64);
    while begun.elapsed() < time {
        let round = Instant::now();
        let channel = service.connect().await;
        let (mut models, mut client) =
            (ModelServiceClient::new(channel.clone()), InferenceServiceClient::new(channel.clone()));
        let mut steps = models.load(v1::LoadRequest { id: "identity".into() }).await.unwrap().into_inner();
        while soon(steps.message()).await.unwrap().is_some() {}
        while round.elapsed() < Duration::from_secs(5) {
            soon(client.infer(request(&format!("word {answers}")))).await.unwrap();
            answers += 1;
        }
        models.unload(v1::UnloadRequest { id: "identity".into() }).await.unwrap();
        let (bytes, open) = service.size();
        // The first tenth is for warming up.
        if begun.elapsed() > time / 10 {
            memory.push(bytes as f64 / f64::from(1 << 20));
            files.push(open as f64);
        }
        if leak {
            leaked.push(channel);
        }
    }
    let hours = time.as_secs_f64() * 0.9 / 3600.0;
    let (grown, opened) = (slope(&memory, hours), slope(&files, hours));
    let met = if grown <= 1.0 { "met" } else { "short" };
    println!("answers: {answers}; loads and unloads: {}", memory.len());
    println!("memory: {:.1} MiB at the end, {grown:+.2} MiB/h, goal ≤ 1 MiB/h, {met}", memory.last().unwrap());
    println!("descriptors: {} at the end, {opened:+.1} /h", files.last().unwrap());
    // A short run sees the allocator's steps as slopes; a leak is far above these.
    let allowed = 1.0_f64.max(4.0 / hours);
    assert!(grown <= allowed && opened <= 5.0_f64.max(10.0 / hours), "it leaks: {memory:?}, {files:?}");
    service.send(Signal::SIGTERM);
    assert!(soon(service.child.wait()).await.unwrap().success());
    drop(leaked);
}
