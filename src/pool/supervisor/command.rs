//! Command: what others ask of the supervisor.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use crate::{
    error::Error,
    execution::Runtime,
    models::Model,
    pool::{
        costs::Learned,
        explain::Candidate,
        lease::Replica,
        profile,
        start::Start,
        tasks::{BrowserId, Probe},
        view::LoadStatus,
    },
};

/// What others ask of the supervisor.
pub enum Command {
    /// Keep a model loaded.
    Load {
        /// The model.
        model: Arc<Model>,
        /// Gets a way to follow the load.
        reply: oneshot::Sender<watch::Receiver<LoadStatus>>,
    },
    /// Let go of a model.
    Unload {
        /// Its id.
        id: Arc<str>,
        /// Gets the number of replicas that were ended.
        reply: oneshot::Sender<u32>,
    },
    /// Ask all pages what they can do.
    Probe {
        /// Gets a future for each browser.
        reply: oneshot::Sender<Vec<BoxFuture<'static, Option<Probe>>>>,
    },
    /// Run inputs under the runtime's profiler.
    Profile {
        /// What is to be profiled.
        order: profile::Order,
        /// Gets what came of it. The worker ends when nobody waits for it.
        reply: profile::Reply,
    },
    /// Tell what is known of a model's backends.
    Explain {
        /// Its id.
        id: String,
        /// Gets it.
        reply: oneshot::Sender<Result<Vec<Candidate>, Error>>,
    },
    /// Tell what a model costs where it serves.
    Costs {
        /// Its id.
        model: Arc<str>,
        /// Gets it.
        reply: oneshot::Sender<Vec<Learned>>,
    },
    /// Take in what was learned while models served.
    Learned {
        /// What.
        costs: Vec<Learned>,
        /// Told when that is done.
        reply: oneshot::Sender<()>,
    },
    /// Give a way to try a model out in each kind of browser.
    Trials {
        /// The model.
        model: Arc<Model>,
        /// Gets them.
        reply: oneshot::Sender<Vec<(Start, BrowserId)>>,
    },
    /// Have a model run nowhere any more that is like what answered wrongly.
    Convict {
        /// What answered.
        runtime: Arc<Runtime>,
        /// How that is known.
        reason: String,
        /// Told when that holds.
        reply: oneshot::Sender<()>,
    },
    /// Have replicas answer their model's probes again, one of which answered wrongly.
    Suspect {
        /// Which.
        replicas: Vec<Arc<Replica>>,
        /// How that is known.
        reason: String,
        /// Told when they are asked.
        reply: oneshot::Sender<()>,
    },
    /// Have at least and at most so many browsers serve.
    Scale {
        /// Fewest.
        least: usize,
        /// Most.
        most: usize,
        /// Told when that holds from now on.
        reply: oneshot::Sender<()>,
    },
    /// Replace a browser by a fresh one.
    Recycle {
        /// Its id.
        id: String,
        /// Told whether it will be.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// End a browser once it has run what it holds, and have one less.
    Drain {
        /// Its id.
        id: String,
        /// Told whether it will be.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// End all browsers.
    ShutDown {
        /// Told when they are gone.
        reply: oneshot::Sender<()>,
    },
}
