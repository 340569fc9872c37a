//! A browser that is not one: it dials back and speaks the bridge's frames as the page does, and misbehaves on request.
//!
//! Its model: the embedding of a text is its length in bytes and its first byte; tensors come back as they went in. An item
//! whose steps are wanted is told in two halves, before any fault of its run. A text that begins with [`STORY`] goes on. A
//! worker that is loaded for a profile tells of one operator, which ran as often as it had batches.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::soon;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use prost::Message as _;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    time::interval,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::sync::CancellationToken;
use webinfer::{
    browser::{Driver, Info, Log, Running, StartError},
    loss::{Cause, Loss},
    proto::{
        bridge::{
            self, BrowserFrame, FailureKind, ServiceFrame, browser_frame::Body as Said, service_frame::Body as Asked,
        },
        v1::{self, item::Input, item_result::Output},
    },
};

/// More runs than ever wait at a gate.
const MOST_WAITING: usize = 1 << 16;
/// A text that begins so fails, alone.
pub const BAD: &str = "bad";
/// A text that begins so makes its whole batch fail.
pub const SPOILER: &str = "spoiler";
/// A text that begins so ends its worker.
pub const POISON: &str = "poison";

/// A text that begins so is answered with one that is made.
pub const STORY: &str = "once upon a time";

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How the next load or run goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The worker's link breaks.
    Break,
    /// The worker fails the call.
    Fail(FailureKind, &'static str, bool),
    /// The worker sends bytes that are no frame.
    Garbage,
    /// The worker answers a call that was not made.
    WrongCall,
    /// The worker sends a text frame.
    Text,
    /// The worker announces a frame of 1 GiB.
    Huge,
    /// The worker answers with too few results.
    TooFew,
    /// The whole browser ends.
    EndBrowser,
    /// The worker never answers.
    Hang,
}

/// What a test sees and steers.
pub struct Fake {
    /// How the next loads go wrong.
    pub load_faults: Mutex<VecDeque<Fault>>,
    /// How the next runs go wrong.
    pub run_faults: Mutex<VecDeque<Fault>>,
    /// Runs need a permit each, where it is gated.
    gate: Semaphore,
    gated: AtomicBool,
    /// Time that each run takes.
    takes: Mutex<Duration>,
    /// The texts of each batch that has reached a worker.
    batches: watch::Sender<Vec<Vec<String>>>,
    /// Runs that were cancelled before they began.
    cancelled: watch::Sender<u32>,
    /// Runs that were told to stop, whether they had begun or not.
    left: watch::Sender<u32>,
    /// Workers that pages were told to end.
    ended: watch::Sender<Vec<String>>,
    /// Probes that replicas still answer wrongly.
    pub wrong_answers: AtomicU32,
    /// Backend on which everything is answered wrongly from now on.
    pub wrong_on: Mutex<Option<v1::Backend>>,
    /// Time that an item takes on each backend, beside what each run takes.
    pub speeds: Mutex<Vec<(v1::Backend, Duration)>>,
    /// What it calls itself.
    product: &'static str,
    /// The backends that its workers have.
    pub backends: Mutex<Vec<v1::Backend>>,
    /// What its adapter takes, by the names of WebGPU's limits.
    pub adapter_limits: Mutex<BTreeMap<String, u64>>,
    /// What becomes known of a browser that ends.
    pub fate: Mutex<Loss>,
    /// Whether the page dials back at all.
    dials_back: bool,
    /// Whether the page sends heartbeats.
    heartbeats: bool,
    starts: AtomicU32,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            load_faults: Mutex::default(),
            run_faults: Mutex::default(),
            gate: Semaphore::new(0),
            gated: AtomicBool::new(false),
            takes: Mutex::default(),
            batches: watch::channel(Vec::new()).0,
            cancelled: watch::channel(0).0,
            left: watch::channel(0).0,
            ended: watch::channel(Vec::new()).0,
            wrong_answers: AtomicU32::new(0),
            wrong_on: Mutex::new(None),
            speeds: Mutex::default(),
            product: "Fake",
            backends: Mutex::new(vec![v1::Backend::Wasm, v1::Backend::Webgpu]),
            adapter_limits: Mutex::default(),
            fate: Mutex::new(Loss::new(Cause::Exited, "the fake ended")),
            dials_back: true,
            heartbeats: true,
            starts: AtomicU32::new(0),
        }
    }
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One of that name, whose workers have those backends.
    pub fn having(product: &'static str, backends: &[v1::Backend]) -> Arc<Self> {
        Arc::new(Self { product, backends: Mutex::new(backends.to_vec()), ..Self::default() })
    }

    /// One whose runs wait for [`Fake::release`].
    pub fn gated() -> Arc<Self> {
        Arc::new(Self { gated: AtomicBool::new(true), ..Self::default() })
    }

    /// One whose runs take so long.
    pub fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self { takes: Mutex::new(takes), ..Self::default() })
    }

    /// One whose page never comes.
    pub fn mute() -> Arc<Self> {
        Arc::new(Self { dials_back: false, ..Self::default() })
    }

    /// One whose page says nothing after its first word.
    pub fn silent() -> Arc<Self> {
        Arc::new(Self { heartbeats: false, ..Self::default() })
    }

    pub fn driver(self: &Arc<Self>) -> Arc<dyn Driver> {
        Arc::new(FakeDriver(self.clone()))
    }

    pub fn fault_load(&self, fault: Fault) {
        self.load_faults.lock().unwrap().push_back(fault);
    }

    pub fn fault_run(&self, fault: Fault) {
        self.run_faults.lock().unwrap().push_back(fault);
    }

    /// From now on its runs take so long each.
    pub fn take(&self, takes: Duration) {
        *self.takes.lock().unwrap() = takes;
    }

    /// From now on its runs wait until the gate opens, or for [`Fake::release`].
    pub fn close_gate(&self) {
        self.gated.store(true, Ordering::SeqCst);
        self.gate.forget_permits(MOST_WAITING);
    }

    /// From now on its runs wait for nothing, nor do those that waited.
    pub fn open_gate(&self) {
        self.gated.store(false, Ordering::SeqCst);
        self.gate.add_permits(MOST_WAITING);
    }

    /// Lets so many gated runs go on.
    pub fn release(&self, runs: usize) {
        self.gate.add_permits(runs);
    }

    /// Waits until so many batches have reached workers, and returns all.
    pub async fn batches(&self, count: usize) -> Vec<Vec<String>> {
        let mut batches = self.batches.subscribe();
        soon(batches.wait_for(|batches| batches.len() >= count)).await.unwrap().clone()
    }

    /// Waits until so many runs were cancelled before they began.
    pub async fn cancelled(&self, count: u32) {
        soon(self.cancelled.subscribe().wait_for(|cancelled| *cancelled >= count)).await.unwrap();
    }

    /// Waits until a page was told to end a worker.
    pub async fn ended(&self, worker: &str) {
        soon(self.ended.subscribe().wait_for(|ended| ended.iter().any(|id| id == worker))).await.unwrap();
    }

    fn takes_on(&self, backend: i32) -> Duration {
        let speeds = self.speeds.lock().unwrap();
        let known = speeds.iter().find(|(known, _)| i32::from(*known) == backend);
        known.map_or(Duration::ZERO, |(_, takes)| *takes)
    }

    fn is_wrong_on(&self, backend: i32) -> bool {
        self.wrong_on.lock().unwrap().is_some_and(|wrong| i32::from(wrong) == backend)
    }

    /// Waits until a text has reached a worker.
    pub async fn got(&self, word: &str) {
        let has = |batches: &Vec<Vec<String>>| batches.iter().flatten().any(|text| text == word);
        soon(self.batches.subscribe().wait_for(has)).await.unwrap();
    }

    /// How many runs were told to stop.
    pub fn told_to_leave(&self) -> u32 {
        *self.left.borrow()
    }

    /// Waits until so many runs were told to stop.
    pub async fn left(&self, count: u32) {
        soon(self.left.subscribe().wait_for(|left| *left >= count)).await.unwrap();
    }

    /// How many browsers were started.
    pub fn starts(&self) -> u32 {
        self.starts.load(Ordering::SeqCst)
    }
}

struct FakeDriver(Arc<Fake>);

impl Driver for FakeDriver {
    fn start(&self, url: String) -> BoxFuture<'_, Result<Running, StartError>> {
        async move {
            self.0.starts.fetch_add(1, Ordering::SeqCst);
            let end = CancellationToken::new();
            let (ended, receiver) = watch::channel(None);
            let (fake, token) = (self.0.clone(), end.clone());
            tokio::spawn(async move {
                if fake.dials_back {
                    token.run_until_cancelled(page(fake.clone(), &url, token.clone())).await;
                }
                token.cancelled().await;
                ended.send_replace(Some(fake.fate.lock().unwrap().clone()));
            });
            let info = Info {
                product: self.0.product.into(),
                version: "1.2.3".into(),
                arguments: vec!["--fake".into()],
                gpu_devices: vec!["Fake GPU (0x1234:0x5678)".into()],
                ..Info::default()
            };
            Ok(Running::new(info, receiver, Log::default(), end))
        }
        .boxed()
    }
}

/// Opens a link as a browser does: with the page's own Origin.
pub async fn dial(origin: &str, path: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
    let mut request = format!("{}{path}", origin.replace("http:", "ws:")).into_client_request()?;
    request.headers_mut().insert("origin", origin.parse().unwrap());
    // As browsers do: a small frame waits for nothing.
    Ok(connect_async_with_config(request, None, true).await?.0)
}

async fn say(socket: &mut Socket, call: u64, body: Said) {
    let frame = BrowserFrame { call, body: Some(body) };
    // The service may have closed the link meanwhile.
    let _ = socket.send(Message::Binary(frame.encode_to_vec().into())).await;
}

/// Does what a browser does that opens the page's address.
pub async fn page(fake: Arc<Fake>, url: &str, end: CancellationToken) {
    let (page, link) = url.split_once('#').unwrap();
    assert!(page.ends_with("/page.html"), "{page}");
    let origin = url[..url.find("/page/").unwrap()].to_owned();
    let mut socket = dial(&origin, link).await.unwrap();
    say(&mut socket, 0, Said::PageHello(bridge::PageHello { user_agent: "Fake/1".into() })).await;
    // It repeats its address, as browsers do.
    say(&mut socket, 0, Said::Log(bridge::Log { text: format!("the page's own words about {link}") })).await;
    let mut beat = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = beat.tick() => if fake.heartbeats {
                say(&mut socket, 0, Said::Heartbeat(bridge::Heartbeat { js_heap_bytes: 1 << 20 })).await;
            },
            frame = socket.next() => {
                let Some(Ok(Message::Binary(bytes))) = frame else { return };
                let frame = ServiceFrame::decode(bytes).unwrap();
                match frame.body.unwrap() {
                    Asked::StartWorker(start) => {
                        tokio::spawn(end.clone().run_until_cancelled_owned(
                            worker(fake.clone(), origin.clone(), start, end.clone()),
                        ));
                    }
                    Asked::EndWorker(end) => fake.ended.send_modify(|ended| ended.push(end.worker_id)),
                    Asked::Probe(_) => {
                        let webgpu = v1::WebGpuCapabilities {
                            available: true,
                            adapter: "google swiftshader".into(),
                            hardware: v1::Hardware::SoftwareAdapter.into(),
                            limits: fake.adapter_limits.lock().unwrap().clone(),
                            ..Default::default()
                        };
                        let capabilities =
                            v1::BrowserCapabilities { webgpu: Some(webgpu), wasm_simd: true, ..Default::default() };
                        let probed = bridge::Probed { capabilities: Some(capabilities) };
                        say(&mut socket, frame.call, Said::Probed(probed)).await;
                    }
                    _ => {}
                }
            }
        }
    }
}

async fn worker(fake: Arc<Fake>, origin: String, start: bridge::StartWorker, end: CancellationToken) {
    let Ok(mut socket) = dial(&origin, &start.link).await else { return };
    let mut waiting: VecDeque<(u64, bridge::Run)> = VecDeque::new();
    // Kept from turn to turn: one that was dropped half-way would take its permit along.
    let mut passed = Box::pin(pass(&fake));
    // What its replica runs on, once it is loaded.
    let mut backend = 0;
    let mut beat = interval(Duration::from_millis(100));
    let (mut profiled, mut batches) = (false, 0);
    loop {
        let run = waiting.front().is_some();
        tokio::select! {
            biased;
            _ = beat.tick() => say(&mut socket, 0, Said::Heartbeat(bridge::Heartbeat { js_heap_bytes: 1 << 20 })).await,
            frame = socket.next() => {
                let Some(Ok(Message::Binary(bytes))) = frame else { return };
                let frame = ServiceFrame::decode(bytes).unwrap();
                match frame.body.unwrap() {
                    Asked::Load(load) => {
                        let fault = fake.load_faults.lock().unwrap().pop_front();
                        if let Some(fault) = fault {
                            if !go_wrong(&mut socket, frame.call, fault, &end).await {
                                return;
                            }
                            continue;
                        }
                        let progress = bridge::LoadProgress {
                            phase: v1::LoadPhase::Files.into(),
                            file: "onnx/model.onnx".into(),
                            loaded_bytes: 10,
                        };
                        say(&mut socket, frame.call, Said::LoadProgress(progress.clone())).await;
                        profiled = load.profile;
                        let spec = load.spec.unwrap();
                        assert_eq!(spec.backends.len(), 1, "{spec:?}");
                        backend = spec.backends[0];
                        if !fake.backends.lock().unwrap().iter().any(|known| i32::from(*known) == backend) {
                            say(&mut socket, 0, Said::Log(bridge::Log { text: "nothing there".into() })).await;
                            say(&mut socket, frame.call, failed(FailureKind::NoBackend, "no adapter", true)).await;
                            continue;
                        }
                        let loaded = bridge::Loaded {
                            backend,
                            adapter: String::new(),
                            fallback_adapter: false,
                            threads: spec.threads,
                            transformers_version: "4".into(),
                            onnxruntime_version: "1".into(),
                            node_placements: vec![v1::NodePlacement { provider: "FakeProvider".into(), nodes: 7 }],
                            batching: batching(&spec.task).into(),
                        };
                        say(&mut socket, frame.call, Said::Loaded(loaded)).await;
                        // A step that is read late must not undo the end.
                        say(&mut socket, frame.call, Said::LoadProgress(progress)).await;
                    }
                    Asked::Run(batch) if batch.probe => {
                        let less = |left: u32| left.checked_sub(1);
                        let wrong = fake.wrong_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
                        let took = fake.takes_on(backend) * batch.items.len() as u32;
                        tokio::time::sleep(took).await;
                        let mut ran = ran(batch.items);
                        ran.inference_us = took.as_micros() as u64;
                        if wrong || fake.is_wrong_on(backend) {
                            spoil(&mut ran);
                        }
                        say(&mut socket, frame.call, Said::Ran(ran)).await;
                    }
                    Asked::Run(batch) => {
                        batches += 1;
                        let texts = batch.items.iter().map(text_of).collect();
                        fake.batches.send_modify(|batches| batches.push(texts));
                        waiting.push_back((frame.call, batch));
                    }
                    Asked::EndProfile(_) if profiled => {
                        let operator = v1::OperatorTime { name: "Fake".into(), count: batches, ..Default::default() };
                        let profile = v1::Profile { operators: vec![operator], ..Default::default() };
                        say(&mut socket, frame.call, Said::Profiled(bridge::Profiled { profile: Some(profile) })).await;
                    }
                    Asked::Cancel(cancel) => {
                        let place = waiting.iter().position(|(call, _)| *call == cancel.call);
                        fake.left.send_modify(|count| *count += u32::from(place.is_some()));
                        // The first is taken for begun.
                        if let Some(place) = place.filter(|place| *place > 0) {
                            waiting.remove(place);
                            fake.cancelled.send_modify(|count| *count += 1);
                            say(&mut socket, cancel.call, failed(FailureKind::Cancelled, "cancelled", false)).await;
                        }
                    }
                    _ => {}
                }
            }
            () = &mut passed, if run => {
                passed.set(pass(&fake));
                let Some((call, batch)) = waiting.pop_front() else { continue };
                for (index, item) in batch.items.iter().enumerate().filter(|(_, item)| item.steps) {
                    let whole = text_of(item);
                    let (left, right) = whole.split_at(whole.len() / 2);
                    for text in [left, right] {
                        let partial = v1::Partial { item: index as u32, text: text.into(), ..Default::default() };
                        say(&mut socket, call, Said::Step(bridge::Step { partial: Some(partial) })).await;
                    }
                }
                let fault = fake.run_faults.lock().unwrap().pop_front();
                match fault {
                    Some(fault) => if !go_wrong(&mut socket, call, fault, &end).await {
                        return;
                    },
                    None if batch.items.iter().any(|item| text_of(item).starts_with(POISON)) => return,
                    None if batch.items.iter().any(|item| text_of(item).starts_with(SPOILER)) => {
                        say(&mut socket, call, failed(FailureKind::Runtime, "spoiled", false)).await;
                    }
                    None => {
                        let took = fake.takes_on(backend) * batch.items.len() as u32;
                        tokio::time::sleep(took).await;
                        let mut ran = ran(batch.items);
                        if fake.is_wrong_on(backend) {
                            spoil(&mut ran);
                        }
                        say(&mut socket, call, Said::Ran(ran)).await;
                    }
                }
            }
        }
    }
}

async fn pass(fake: &Fake) {
    if fake.gated.load(Ordering::SeqCst) {
        fake.gate.acquire().await.unwrap().forget();
    }
    let takes = *fake.takes.lock().unwrap();
    tokio::time::sleep(takes).await;
}

fn run_item(item: v1::Item) -> bridge::RunItem {
    bridge::RunItem { item: Some(item), ..Default::default() }
}

fn batching(task: &str) -> bridge::Batching {
    match task {
        "feature-extraction" => bridge::Batching::Padded,
        "text-generation" => bridge::Batching::Alone,
        _ => bridge::Batching::InTurn,
    }
}

fn text_of(item: &bridge::RunItem) -> String {
    match &item.item.as_ref().unwrap().input {
        Some(Input::Text(text)) => text.clone(),
        _ => "tensors".into(),
    }
}

fn failed(kind: FailureKind, message: &str, fatal: bool) -> Said {
    Said::Failed(bridge::Failed { kind: kind.into(), message: message.into(), fatal })
}

fn ran(items: Vec<bridge::RunItem>) -> bridge::Ran {
    let refused = |why: &str| {
        let failed = bridge::Failed { kind: FailureKind::BadInput.into(), message: why.into(), fatal: false };
        bridge::Outcome { outcome: Some(bridge::outcome::Outcome::Failed(failed)) }
    };
    let result = |item: bridge::RunItem| {
        let output = match item.item.unwrap().input.unwrap() {
            Input::Text(text) if text.starts_with(STORY) => {
                let usage = v1::Usage { prompt_tokens: 4, generated_tokens: 3, first_token_us: 1 };
                let finish_reason = v1::FinishReason::Stop.into();
                Output::Generated(v1::Generated { text: text + ", there was", finish_reason, usage: Some(usage) })
            }
            Input::Text(text) => {
                let first = text.bytes().next().unwrap_or(0);
                Output::Embedding(v1::Embedding { values: vec![text.len() as f32, f32::from(first)] })
            }
            Input::Tensors(tensors) => Output::Tensors(tensors),
            Input::Audio(sound) => match sound.source.unwrap() {
                v1::audio::Source::Samples(samples) => Output::Audio(samples),
                v1::audio::Source::Encoded(_) => panic!("the sound was not decoded"),
            },
            _ => return refused("the fake takes no such input"),
        };
        let result = v1::ItemResult { output: Some(output), execution: 0 };
        bridge::Outcome { outcome: Some(bridge::outcome::Outcome::Result(result)) }
    };
    let outcome = |item: bridge::RunItem| {
        if !text_of(&item).starts_with(BAD) {
            return result(item);
        }
        refused("so bad")
    };
    let outcomes = items.into_iter().map(outcome).collect();
    bridge::Ran {
        outcomes,
        preprocess_us: 1,
        inference_us: 2,
        postprocess_us: 3,
        tokens: 8,
        padding_tokens: 1,
        replayed_shape: Vec::new(),
        node_placements: Vec::new(),
    }
}

/// Answers that are not those of the model.
fn spoil(ran: &mut bridge::Ran) {
    for outcome in &mut ran.outcomes {
        let Some(bridge::outcome::Outcome::Result(result)) = &mut outcome.outcome else { continue };
        match result.output.as_mut().unwrap() {
            Output::Embedding(embedding) => embedding.values.iter_mut().for_each(|value| *value = 1.0 - *value),
            Output::Tensors(tensors) => tensors.tensors.clear(),
            _ => {}
        }
    }
}

/// Does what the fault says; returns whether the worker goes on.
async fn go_wrong(socket: &mut Socket, call: u64, fault: Fault, end: &CancellationToken) -> bool {
    match fault {
        Fault::Break => return false,
        Fault::Fail(kind, message, fatal) => say(socket, call, failed(kind, message, fatal)).await,
        Fault::Garbage => {
            let _ = socket.send(Message::Binary(vec![0xff; 100].into())).await;
        }
        Fault::WrongCall => say(socket, call + 1000, Said::Ran(bridge::Ran::default())).await,
        Fault::Text => {
            let _ = socket.send(Message::Text("hello".into())).await;
        }
        Fault::Huge => announce_huge_frame(socket).await,
        Fault::TooFew => say(socket, call, Said::Ran(bridge::Ran::default())).await,
        Fault::EndBrowser => {
            end.cancel();
            return false;
        }
        Fault::Hang => {}
    }
    true
}

/// The head of a masked binary frame of 1 GiB, and nothing after it.
async fn announce_huge_frame(socket: &mut Socket) {
    use tokio::io::AsyncWriteExt;
    let mut head = vec![0x82, 0xff];
    head.extend_from_slice(&(1_u64 << 30).to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    if let MaybeTlsStream::Plain(stream) = socket.get_mut() {
        let _ = stream.write_all(&head).await;
        let _ = stream.flush().await;
    }
}
