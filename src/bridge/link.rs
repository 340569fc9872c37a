//! Link: one WebSocket from a page or worker. Calls are numbered and answered in any order; when the link dies, all
//! that wait on it fail at once.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use prost::Message as _;
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::pending::Pending;
use crate::{
    loss::{Cause, Loss},
    metrics::Frames,
    partials::Teller,
    proto::bridge::{BrowserFrame, ServiceFrame, Step, browser_frame, service_frame},
};

/// Unasked frames that wait for their reader. A peer that fills it breaks the protocol.
const EVENTS: usize = 1024;
/// Longest time that the peer may leave the socket full.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time for the goodbye to a peer that may be gone.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// What comes unasked, and the progress of loads.
pub type Event = browser_frame::Body;
/// The unasked frames of one link, in order. It ends when the link dies.
pub type Events = mpsc::Receiver<Event>;

/// How long a peer may say nothing, heartbeats counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// After this long it is lost.
    pub limit: Duration,
    /// Whether it has to speak while it works on a call, too. A worker that computes cannot; how long that may take is for
    /// its caller to say.
    pub while_called: bool,
}

/// Who waits for the answer to a call.
#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<browser_frame::Body>,
    /// Where to tell what the items of the call have come to.
    tellers: Vec<Option<Teller>>,
}

/// One side of a link. Clones share it; dropping all of them closes the socket.
#[derive(Clone, Debug)]
pub struct Link {
    shared: Arc<Shared>,
    _open: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    /// Who sends holds it: a task between would only cost another wake. A write that is given up leaves its rest in the
    /// sink, for the next one to flush; so no frame is ever cut.
    sink: AsyncMutex<SplitSink<WebSocket, Message>>,
    pending: Mutex<Pending<Waiter>>,
    loss: Mutex<Option<Loss>>,
    dead: CancellationToken,
    frames: Frames,
    /// As its last heartbeat said.
    js_heap_bytes: AtomicU64,
    /// Of what the other side sends.
    max_frame_bytes: usize,
}

impl Link {
    /// Takes over a socket, whose other side may send frames of so many bytes.
    pub(super) fn start(socket: WebSocket, silence: Silence, max_frame_bytes: usize) -> (Self, Events) {
        let (sink, stream) = socket.split();
        let (events, incoming) = mpsc::channel(EVENTS);
        let dead = CancellationToken::new();
        let open = Arc::new(dead.clone().drop_guard());
        let shared = Arc::new(Shared {
            sink: AsyncMutex::new(sink),
            pending: Mutex::default(),
            loss: Mutex::default(),
            dead,
            frames: Frames::default(),
            js_heap_bytes: AtomicU64::new(0),
            max_frame_bytes,
        });
        tokio::spawn(read(stream, events, shared.clone(), silence));
        (Self { shared, _open: open }, incoming)
    }

    /// Sends a call. The number is known at once; the answer comes from the returned future. Dropping that future
    /// does not cancel the call.
    pub async fn call(
        &self,
        body: service_frame::Body,
    ) -> Result<(u64, impl Future<Output = Result<browser_frame::Body, Loss>> + use<>), Loss> {
        self.call_telling(body, Vec::new()).await
    }

    /// The same; the steps of its items are told meanwhile.
    pub async fn call_telling(
        &self,
        body: service_frame::Body,
        tellers: Vec<Option<Teller>>,
    ) -> Result<(u64, impl Future<Output = Result<browser_frame::Body, Loss>> + use<>), Loss> {
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter { answer: sender, tellers };
        let number = self.shared.pending().insert(waiter).map_err(|_| self.shared.lost())?;
        self.push(ServiceFrame { call: number, body: Some(body) }).await?;
        let shared = self.shared.clone();
        Ok((number, async move { answer.await.map_err(|_| shared.lost()) }))
    }

    /// Sends a frame that has no answer.
    pub async fn send(&self, body: service_frame::Body) -> Result<(), Loss> {
        self.push(ServiceFrame { call: 0, body: Some(body) }).await
    }

    /// Closes the link for a reason; all calls on it fail with that.
    pub fn close(&self, loss: Loss) {
        self.shared.die(loss);
    }

    /// Bytes of a frame that the other side may send.
    pub(super) fn max_frame_bytes(&self) -> u64 {
        self.shared.max_frame_bytes as u64
    }

    /// Whether it has not died yet.
    pub fn is_open(&self) -> bool {
        !self.shared.dead.is_cancelled()
    }

    /// Bytes of JavaScript heaps, as the page at the other end said last; 0 where it cannot tell.
    pub fn js_heap_bytes(&self) -> u64 {
        self.shared.js_heap_bytes.load(Ordering::Relaxed)
    }

    /// Ends when the link has died, with the reason.
    pub async fn closed(&self) -> Loss {
        self.shared.dead.cancelled().await;
        self.shared.lost()
    }

    async fn push(&self, frame: ServiceFrame) -> Result<(), Loss> {
        let bytes = Bytes::from(frame.encode_to_vec());
        self.shared.frames.to_browser.increment(bytes.len() as u64);
        let write = async { self.shared.sink.lock().await.send(Message::Binary(bytes)).await };
        let written = tokio::select! {
            written = timeout(WRITE_DEADLINE, write) => written,
            () = self.shared.dead.cancelled() => return Err(self.shared.lost()),
        };
        match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                self.shared.die(Loss::new(Cause::Closed, format!("the socket broke while writing: {error}")));
            }
            Err(_) => self.shared.die(Loss::new(Cause::Silent, "the browser stopped reading")),
        }
        Err(self.shared.lost())
    }
}

impl Shared {
    fn pending(&self) -> std::sync::MutexGuard<'_, Pending<Waiter>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason stays.
    fn die(&self, loss: Loss) {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(loss);
        self.dead.cancel();
        drop(self.pending().die());
    }

    fn lost(&self) -> Loss {
        let loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        loss.clone().unwrap_or_else(|| Loss::new(Cause::Closed, "the link was closed"))
    }
}

async fn read(mut stream: SplitStream<WebSocket>, events: mpsc::Sender<Event>, shared: Arc<Shared>, silence: Silence) {
    let Silence { limit, while_called } = silence;
    let pump = async {
        loop {
            let Ok(next) = timeout(limit, stream.next()).await else {
                if while_called || shared.pending().is_empty() {
                    return Loss::new(Cause::Silent, format!("nothing was heard for {limit:?}"));
                }
                continue;
            };
            match next {
                Some(Ok(Message::Binary(bytes))) => {
                    shared.frames.from_browser.increment(bytes.len() as u64);
                    if let Err(detail) = take(bytes, &events, &shared) {
                        return Loss::new(Cause::Confused, detail);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_))) => return Loss::new(Cause::Confused, "the browser sent a text frame"),
                Some(Ok(Message::Close(_))) | None => return Loss::new(Cause::Closed, "the browser closed the link"),
                Some(Err(error)) => return Loss::new(Cause::Closed, format!("the socket broke: {error}")),
            }
        }
    };
    tokio::select! {
        loss = pump => shared.die(loss),
        () = shared.dead.cancelled() => shared.die(Loss::new(Cause::Ended, "the service closed the link")),
    }
    // A peer that is gone cannot be told goodbye.
    let close = async { shared.sink.lock().await.close().await };
    let _ = timeout(CLOSE_DEADLINE, close).await;
}

fn take(bytes: Bytes, events: &mpsc::Sender<Event>, shared: &Shared) -> Result<(), &'static str> {
    let frame = BrowserFrame::decode(bytes).map_err(|_| "the browser sent a frame that does not decode")?;
    let body = frame.body.ok_or("the browser sent an empty frame")?;
    if let Event::Heartbeat(beat) = body {
        shared.js_heap_bytes.store(beat.js_heap_bytes, Ordering::Relaxed);
        return Ok(());
    }
    if frame.call == 0 || matches!(body, Event::LoadProgress(_)) {
        return events.try_send(body).map_err(|_| "the browser sent more than is read");
    }
    const UNASKED: &str = "the browser answered a call that was not made";
    let mut pending = shared.pending();
    if let Event::Step(step) = body {
        let waiter = pending.peek(frame.call).ok_or(UNASKED)?;
        return tell(&waiter.tellers, step).ok_or("the browser told of what was not asked for");
    }
    let waiter = pending.answer(frame.call).ok_or(UNASKED)?;
    drop(pending);
    // A caller that no longer waits has dropped its receiver.
    let _ = waiter.answer.send(body);
    Ok(())
}

fn tell(tellers: &[Option<Teller>], step: Step) -> Option<()> {
    let partial = step.partial?;
    let teller = tellers.get(partial.item as usize)?.as_ref()?;
    teller.step(partial).then_some(())
}
