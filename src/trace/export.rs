//! Export: spans that have ended go to the collector in batches. What it does not take in time is dropped and counted;
//! nobody waits for it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{error::shorten, metrics};

/// Spans that wait for the collector.
const MOST_WAITING: usize = 8192;
/// Spans that are sent together.
const MOST_TOGETHER: usize = 512;
/// Time that a span waits for others.
const DELAY: Duration = Duration::from_millis(500);
/// Time that the collector has for an answer.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The way to the collector.
#[derive(Debug)]
pub struct Queue {
    spans: mpsc::Sender<SpanData>,
}

/// The other end of the way.
#[derive(Debug)]
pub struct Sending {
    closed: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Starts to send what comes into the queue.
pub fn start(exporter: impl SpanExporter + 'static) -> (Queue, Sending) {
    let (spans, receiver) = mpsc::channel(MOST_WAITING);
    let closed = CancellationToken::new();
    let task = tokio::spawn(send(exporter, receiver, closed.clone()));
    (Queue { spans }, Sending { closed, task: Mutex::new(Some(task)) })
}

impl Sending {
    /// Takes nothing more, and sends what waits, as far as that can be done within that time.
    pub async fn end(&self, within: Duration) {
        self.closed.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if timeout(within, &mut task).await.is_err() {
            tracing::warn!("the collector did not take the last spans within {within:?}: they are dropped");
            task.abort();
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            metrics::spans("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {}
}

/// Runs until the queue is closed and empty.
async fn send(exporter: impl SpanExporter, mut spans: mpsc::Receiver<SpanData>, closed: CancellationToken) {
    let (mut batch, mut works) = (Vec::new(), true);
    loop {
        let more = tokio::select! {
            more = gather(&mut spans, &mut batch) => more,
            () = closed.cancelled(), if !spans.is_closed() => true,
        };
        if closed.is_cancelled() {
            spans.close();
        }
        if batch.is_empty() {
            if more {
                continue;
            }
            return;
        }
        let count = batch.len() as u64;
        let error = match timeout(ANSWER_DEADLINE, exporter.export(std::mem::take(&mut batch))).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it did not answer within {ANSWER_DEADLINE:?}")),
        };
        metrics::spans(if error.is_none() { "sent" } else { "failed" }, count);
        // Once for each change: the metric tells the rest.
        match &error {
            Some(error) if works => {
                tracing::warn!("the collector does not take spans, which are dropped: {}", shorten(error));
            }
            None if !works => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        works = error.is_none();
    }
}

/// Waits for a span, and for a while for others. Returns false when none will come any more. Nothing is lost where it is
/// dropped half-way.
async fn gather(spans: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) -> bool {
    let first = spans.recv_many(batch, MOST_TOGETHER).await;
    let others =
        async { while batch.len() < MOST_TOGETHER && spans.recv_many(batch, MOST_TOGETHER - batch.len()).await > 0 {} };
    let _ = timeout(DELAY, others).await;
    first > 0
}
