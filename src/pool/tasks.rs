//! Tasks: what takes time, away from the supervisor, such as starting a browser and watching it; and what they tell it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use crate::{
    bridge::{Bridge, CallError, Event, FailureKind, Link, Probed, Progress},
    browser::{self, Driver, Info, Running, redact},
    execution::Runtime,
    knowledge::Cost,
    loss::{Cause, Fate, Loss},
};

use super::{costs::Shot, lease::Replica, trial::Tried};

/// Time in which a browser whose link broke is found to have ended, if it has.
pub const FATE_DEADLINE: Duration = Duration::from_millis(300);

/// What a page said of its browser, and what the service knows of it.
#[derive(Debug)]
pub struct Probe {
    /// Id of the browser.
    pub browser: String,
    /// What the driver knows.
    pub info: Info,
    /// Whether its sandbox is on.
    pub sandboxed: bool,
    /// What the page said.
    pub page: Probed,
}

/// Which browser an event is about: its place and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowserId {
    /// Its place in the pool.
    pub place: usize,
    /// Its number at that place.
    pub epoch: u32,
}

impl std::fmt::Display for BrowserId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "browser-{}-{}", self.place, self.epoch)
    }
}

/// Why a worker is no more, or never was.
#[derive(Clone, Debug)]
pub enum WorkerEnd {
    /// It was lost; another may do better.
    Lost(Loss),
    /// Its page was gone before it could be asked to start it.
    NoPage(Loss),
    /// The load failed in a way that another worker would repeat.
    LoadFailed(FailureKind, String),
    /// It does not answer as the reference does, which another worker of that browser and backend would repeat.
    Wrong(String),
}

impl std::fmt::Display for WorkerEnd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(loss) | Self::NoPage(loss) => loss.fmt(formatter),
            Self::LoadFailed(_, message) | Self::Wrong(message) => formatter.write_str(message),
        }
    }
}

/// What the tasks tell the supervisor.
#[derive(Debug)]
pub enum Happened {
    /// A browser is up and its page linked.
    BrowserUp(BrowserId, Running, Link),
    /// A browser could not start.
    BrowserFailed(BrowserId, Loss),
    /// A browser is lost; some of it may be left.
    BrowserLost(BrowserId, Loss),
    /// Nothing is left of a browser that was lost.
    BrowserGone(BrowserId, Loss),
    /// The page says that a worker broke down.
    WorkerBroke(Arc<str>, Loss),
    /// A worker has dialled back.
    WorkerLinked(Arc<str>),
    /// A worker's load goes on.
    WorkerProgress(Arc<str>, Progress),
    /// A worker's replica serves; what its runs cost, as far as that was measured, and how long it took to come up.
    WorkerUp(Arc<str>, Arc<Replica>, Vec<Shot>, Duration),
    /// A worker is gone.
    WorkerEnded(Arc<str>, WorkerEnd),
    /// What was measured of a model before.
    CostsKnown(Arc<str>, Vec<Cost>),
    /// A replica does not answer its model's probes any more as the reference does.
    Convicted(Arc<Runtime>, String),
    /// A backend was tried out.
    TriedOut(Box<Tried>),
    /// A browser that was started for what it compiles has ended, and what came of it.
    Primed(String, Result<(), String>),
}

/// Starts a browser and watches it to its end.
pub async fn keep_browser(
    id: BrowserId,
    driver: Arc<dyn Driver>,
    bridge: Bridge,
    dial_back: Duration,
    tell: mpsc::Sender<Happened>,
) {
    let failed = |reason: String| Happened::BrowserFailed(id, Loss::new(Cause::NoStart, reason));
    let (url, expected) = bridge.expect_page();
    let running = match driver.start(url).await {
        Ok(running) => running,
        Err(error) => return send(&tell, failed(error.to_string())).await,
    };
    let (ended, page, log) = (running.ended(), expected.arrival(), running.log.clone());
    tokio::pin!(ended);
    let (link, mut events) = tokio::select! {
        arrival = timeout(dial_back, page) => match arrival {
            Ok(Some(arrival)) => arrival,
            Ok(None) => return send(&tell, failed("the bridge has ended".into())).await,
            Err(_) => {
                running.end().await;
                let words = log.last_words();
                let reason = format!(
                    "the browser started, but its page did not dial back within {dial_back:?}; it said: {words}"
                );
                return send(&tell, failed(reason)).await;
            }
        },
        loss = &mut ended => {
            // It is the pool's, not the browser's, if somebody killed it meanwhile.
            let words = running.log.last_words();
            let loss = Loss::new(loss.cause, format!("while its page was awaited: {loss}; it said: {words}"));
            return send(&tell, Happened::BrowserFailed(id, loss)).await;
        }
    };
    send(&tell, Happened::BrowserUp(id, running, link.clone())).await;
    let watch_page = async {
        while let Some(event) = events.recv().await {
            match event {
                Event::WorkerEnded(end) => {
                    let loss = Loss::new(Cause::Failed, end.reason);
                    send(&tell, Happened::WorkerBroke(end.worker_id.into(), loss)).await;
                }
                Event::Failed(failed) => tracing::warn!(browser = %id, "{}", redact(&failed.message)),
                Event::Log(line) => {
                    tracing::debug!(browser = %id, "{}", redact(&line.text));
                    log.add("page", &line.text);
                }
                _ => {}
            }
        }
        link.closed().await
    };
    let loss = tokio::select! {
        loss = &mut ended => loss,
        loss = watch_page => loss,
    };
    link.close(loss.clone());
    send(&tell, Happened::BrowserLost(id, loss)).await;
}

/// Why a worker was lost, as far as can be known by the deadline: a link breaks before its browser is found to have ended.
pub async fn true_cause(loss: Loss, mut fate: Fate, deadline: Duration) -> Loss {
    if loss.cause != Cause::Closed {
        return loss;
    }
    match timeout(deadline, fate.wait_for(Option::is_some)).await {
        Ok(Ok(known)) => known.clone().unwrap_or(loss),
        _ => loss,
    }
}

/// Ends what is left of a browser that was lost. A link breaks before the browser's own end is told: that is waited for a
/// little, since it knows the cause better.
pub async fn bury(id: BrowserId, running: Running, loss: Loss, tell: mpsc::Sender<Happened>) {
    let known = timeout(FATE_DEADLINE, running.ended()).await;
    let end = running.end().await;
    let loss = match known {
        Ok(known) => known,
        Err(_) if loss.cause == Cause::Closed => Loss::new(Cause::Closed, format!("{loss}; then {end}")),
        Err(_) => loss,
    };
    send(&tell, Happened::BrowserGone(id, loss)).await;
}

/// The end of something that the service does not need any more.
pub fn ended(detail: &str) -> Loss {
    Loss::new(Cause::Ended, detail)
}

/// Asks a page what its browser can do. `None` if it does not answer in time.
pub async fn probe(id: BrowserId, info: Info, page: Link, deadline: Duration) -> Option<Probe> {
    let page = timeout(deadline, page.probe()).await.ok()?.ok()?;
    let pid = info.pid;
    let sandboxed = tokio::task::spawn_blocking(move || browser::is_sandboxed(pid)).await.unwrap_or(false);
    Some(Probe { browser: id.to_string(), info, sandboxed, page })
}

/// What an error means for the worker that made it.
pub fn loss_of(error: CallError) -> Loss {
    match error {
        CallError::Lost(loss) => loss,
        CallError::Confused => Loss::new(Cause::Confused, error.to_string()),
        CallError::Failed { kind, message, .. } => {
            let cause = match kind {
                FailureKind::DeviceLost => Cause::GpuLost,
                FailureKind::OutOfMemory => Cause::OutOfMemory,
                FailureKind::BadOutput => Cause::WrongAnswers,
                _ => Cause::Failed,
            };
            Loss::new(cause, message)
        }
    }
}

/// Tells the supervisor.
pub async fn send(tell: &mpsc::Sender<Happened>, what: Happened) {
    // A supervisor that is gone has ended everything already.
    let _ = tell.send(what).await;
}
