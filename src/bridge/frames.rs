//! Frames: the typed calls on a link, and the way between the crate's words and the messages of `bridge.proto`.

use std::{future::Future, sync::Arc, time::Instant};

use super::link::{Event, Link};
pub use crate::proto::bridge::{Batching, FailureKind};
use crate::{
    execution::{Backend, Shape, Timings},
    job::{Input, Output},
    loss::Loss,
    models::Model,
    partials::Teller,
    proto::{
        bridge::{self, browser_frame, service_frame},
        v1,
    },
    tensors,
    wire::{backend_from_wire, backend_to_wire, spec_to_wire},
};

/// Most dimensions of a tensor, and most execution providers, that a worker tells of a run.
const MOST_TOLD: usize = 8;

/// Why a call to a worker gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The link died.
    #[error("{0}")]
    Lost(#[from] Loss),
    /// The worker says that it failed.
    #[error("{message}")]
    Failed {
        /// Why.
        kind: FailureKind,
        /// What the runtime said.
        message: String,
        /// Whether the worker has to be ended.
        fatal: bool,
    },
    /// The answer is not of the kind that was asked for: the peer breaks the protocol.
    #[error("the browser gave an answer of the wrong kind")]
    Confused,
}

/// What a worker says of its replica.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Backend that runs.
    pub backend: Backend,
    /// WebGPU adapter.
    pub adapter: String,
    /// Whether the adapter calls itself a fall-back.
    pub fallback_adapter: bool,
    /// WASM threads.
    pub threads: u32,
    /// Version of transformers.js.
    pub transformers_version: String,
    /// Version of ONNX Runtime Web.
    pub onnxruntime_version: String,
    /// Nodes of the graph by execution provider; empty where that was not found out.
    pub node_placements: Vec<(String, u32)>,
    /// How its task makes batches.
    pub batching: Batching,
}

/// A step of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A file is read: its name, and bytes read over all files.
    Files(String, u64),
    /// The session is created.
    Compile,
    /// The first run.
    WarmUp,
}

/// What a load is to find out besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inquiry {
    /// Where the runtime puts the graph's nodes.
    pub placements: bool,
    /// Where the time of what runs later goes.
    pub profile: bool,
}

/// Where the time of a worker's runs went, as it goes to the caller of Profile.
pub type Profile = v1::Profile;

/// What a page says of its browser, as it goes to the caller of Detect.
pub type Probed = v1::BrowserCapabilities;

/// One item of a batch.
#[derive(Clone, Debug)]
pub struct RunItem {
    /// What runs.
    pub input: Arc<Input>,
    /// Where to tell what it has come to, where somebody wants to know.
    pub teller: Option<Teller>,
}

impl From<Arc<Input>> for RunItem {
    fn from(input: Arc<Input>) -> Self {
        Self { input, teller: None }
    }
}

/// One batch that has run.
#[derive(Debug, Default)]
pub struct Ran {
    /// What came of each input.
    pub outcomes: Vec<Result<Output, CallError>>,
    /// Tokens that ran, padding counted; 0 where the task has none.
    pub tokens: u64,
    /// Those among them that are padding.
    pub padding: u64,
    /// The shape for which it was recorded or made, where it was.
    pub shape: Arc<Shape>,
    /// Microseconds before the first run of the session.
    pub preprocess_us: u64,
    /// Microseconds from there to the end of its last run.
    pub inference_us: u64,
    /// Microseconds after that.
    pub postprocess_us: u64,
    /// Microseconds of the round trip, all told.
    pub round_trip_us: u64,
}

impl Ran {
    /// Adds a batch that ran after it.
    pub fn add(&mut self, other: Self) {
        self.outcomes.extend(other.outcomes);
        self.shape = other.shape;
        // A page may say anything.
        for (sum, more) in [
            (&mut self.tokens, other.tokens),
            (&mut self.padding, other.padding),
            (&mut self.preprocess_us, other.preprocess_us),
            (&mut self.inference_us, other.inference_us),
            (&mut self.postprocess_us, other.postprocess_us),
            (&mut self.round_trip_us, other.round_trip_us),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// Times by hop, without the queue's.
    pub fn timings(&self) -> Timings {
        let Self { preprocess_us, inference_us, postprocess_us, .. } = *self;
        let in_worker = preprocess_us.saturating_add(inference_us).saturating_add(postprocess_us);
        let bridge_us = self.round_trip_us.saturating_sub(in_worker);
        Timings { queue_us: 0, bridge_us, preprocess_us, inference_us, postprocess_us }
    }
}

impl Link {
    /// Asks a page to start a worker.
    pub async fn start_worker(&self, worker_id: String, link: String, backend: Backend) -> Result<(), Loss> {
        let backend = backend_to_wire(backend).into();
        self.send(service_frame::Body::StartWorker(bridge::StartWorker { worker_id, link, backend })).await
    }

    /// Asks a page to end a worker.
    pub async fn end_worker(&self, worker_id: String) -> Result<(), Loss> {
        self.send(service_frame::Body::EndWorker(bridge::EndWorker { worker_id })).await
    }

    /// Asks a page what its browser can do.
    pub async fn probe(&self) -> Result<Probed, CallError> {
        let (_, answer) = self.call(service_frame::Body::Probe(bridge::Probe {})).await?;
        match answer.await? {
            browser_frame::Body::Probed(probed) => Ok(probed.capabilities.unwrap_or_default()),
            other => Err(failure(other)),
        }
    }

    /// Asks a worker to load its replica, whose files have this hash.
    pub async fn load(
        &self,
        model: &Model,
        sha256: &str,
        backend: Backend,
        inquiry: Inquiry,
    ) -> Result<Loaded, CallError> {
        let spec = &model.spec;
        let load = bridge::Load {
            base: format!("/models/{}/{sha256}/", spec.id),
            spec: Some(v1::ModelSpec {
                backends: vec![backend_to_wire(backend).into()],
                probes: Vec::new(),
                ..spec_to_wire(spec)
            }),
            external_data: model.external_data.clone(),
            find_placements: inquiry.placements,
            profile: inquiry.profile,
            capture_bytes: spec.capture_bytes,
            pooling: model.pooling.clone(),
            max_frame_bytes: self.max_frame_bytes(),
        };
        let (_, answer) = self.call(service_frame::Body::Load(load)).await?;
        match answer.await? {
            browser_frame::Body::Loaded(loaded) => Ok(Loaded {
                backend: backend_from_wire(loaded.backend()).ok_or(CallError::Confused)?,
                batching: known_batching(loaded.batching())?,
                adapter: loaded.adapter,
                fallback_adapter: loaded.fallback_adapter,
                threads: loaded.threads,
                transformers_version: loaded.transformers_version,
                onnxruntime_version: loaded.onnxruntime_version,
                node_placements: placements(loaded.node_placements).collect(),
            }),
            other => Err(failure(other)),
        }
    }

    /// Hands a batch to a worker; a `probe` where the service asks for itself. Returns the call's number, for
    /// [`Link::cancel`], and the way to the answer.
    pub async fn run(
        &self,
        batch: &[RunItem],
        probe: bool,
    ) -> Result<(u64, impl Future<Output = Result<Ran, CallError>> + use<>), Loss> {
        let items: Vec<_> = batch.iter().map(item_to).collect();
        let tellers: Vec<_> = batch.iter().map(|item| item.teller.clone()).collect();
        let count = items.len();
        let begun = Instant::now();
        let (number, answer) =
            self.call_telling(service_frame::Body::Run(bridge::Run { items, probe }), tellers).await?;
        let ran = async move {
            match answer.await? {
                browser_frame::Body::Ran(ran) if ran.outcomes.len() == count => {
                    let bridge::Ran { outcomes, preprocess_us, inference_us, postprocess_us, .. } = ran;
                    let (tokens, padding) = (ran.tokens, ran.padding_tokens.min(ran.tokens));
                    let outcomes = outcomes.into_iter().map(outcome_from).collect::<Option<_>>();
                    let outcomes = outcomes.ok_or(CallError::Confused)?;
                    let round_trip_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                    let shape = Arc::new(Shape {
                        dimensions: ran.replayed_shape.into_iter().take(MOST_TOLD).collect(),
                        node_placements: placements(ran.node_placements).take(MOST_TOLD).collect(),
                    });
                    Ok(Ran {
                        outcomes,
                        tokens,
                        padding,
                        shape,
                        preprocess_us,
                        inference_us,
                        postprocess_us,
                        round_trip_us,
                    })
                }
                other => Err(failure(other)),
            }
        };
        Ok((number, ran))
    }

    /// Asks a worker that was loaded for it where the time of its runs went.
    pub async fn end_profile(&self, max_trace_bytes: u64) -> Result<Profile, CallError> {
        let (_, answer) = self.call(service_frame::Body::EndProfile(bridge::EndProfile { max_trace_bytes })).await?;
        match answer.await? {
            browser_frame::Body::Profiled(bridge::Profiled { profile: Some(profile) }) => Ok(profile),
            other => Err(failure(other)),
        }
    }

    /// Asks a worker to leave a batch: at once if it has not begun, else at its next run of the session.
    pub async fn cancel(&self, call: u64) -> Result<(), Loss> {
        self.send(service_frame::Body::Cancel(bridge::Cancel { call })).await
    }
}

impl Progress {
    /// The step that a frame tells of. `None` for a step that only the service knows.
    pub fn from_frame(frame: bridge::LoadProgress) -> Option<Self> {
        match frame.phase() {
            v1::LoadPhase::Files => Some(Self::Files(frame.file, frame.loaded_bytes)),
            v1::LoadPhase::Compile => Some(Self::Compile),
            v1::LoadPhase::WarmUp => Some(Self::WarmUp),
            v1::LoadPhase::Unspecified | v1::LoadPhase::Prepare | v1::LoadPhase::Ready | v1::LoadPhase::Simulated => {
                None
            }
        }
    }
}

fn failure(body: Event) -> CallError {
    match body {
        Event::Failed(failed) => failed.into(),
        _ => CallError::Confused,
    }
}

impl From<bridge::Failed> for CallError {
    fn from(failed: bridge::Failed) -> Self {
        Self::Failed { kind: failed.kind(), fatal: failed.fatal, message: failed.message }
    }
}

fn outcome_from(outcome: bridge::Outcome) -> Option<Result<Output, CallError>> {
    match outcome.outcome? {
        bridge::outcome::Outcome::Result(result) => output_from(result).map(Ok),
        bridge::outcome::Outcome::Failed(failed) => Some(Err(failed.into())),
    }
}

fn item_to(RunItem { input, teller }: &RunItem) -> bridge::RunItem {
    bridge::RunItem {
        item: Some(v1::Item { input: Some(input.item.clone()) }),
        parameters: input.parameters.as_deref().cloned(),
        steps: teller.is_some(),
    }
}

/// An output that agrees with itself.
fn output_from(result: v1::ItemResult) -> Option<Output> {
    let output = result.output?;
    let agrees = match &output {
        Output::Tensors(map) => tensors::check_all("", map).is_ok(),
        Output::Depth(depth) => tensors::check("", depth).is_ok(),
        _ => true,
    };
    agrees.then_some(output)
}

fn placements(nodes: Vec<v1::NodePlacement>) -> impl Iterator<Item = (String, u32)> {
    nodes.into_iter().map(|node| (node.provider, node.nodes))
}

fn known_batching(batching: Batching) -> Result<Batching, CallError> {
    if batching == Batching::Unspecified { Err(CallError::Confused) } else { Ok(batching) }
}
