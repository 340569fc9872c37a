//! Prime: a browser that is started only for the code that it makes of the runtime, and of the GPU's kernels, which is kept for
//! those that follow. It loads a model and runs the service's own probes, and no client's input reaches it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{
    examine::Exam,
    start::{Ground, Start},
    tasks::WorkerEnd,
};
use crate::{
    bridge::Inquiry,
    browser::{Caches, Driver},
    execution::Backend,
    loss::{Cause, Loss},
    models::Model,
};

/// How often it is looked what the browser has in its caches.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The code is all there when so many looks find no more of it.
const SETTLED: u32 = 4;
/// Time in which it has to be there once the model is loaded.
const DEADLINE: Duration = Duration::from_secs(60);

/// What such a browser is for.
pub struct Prime {
    /// What starts it.
    pub driver: Arc<dyn Driver>,
    /// Where it dials back.
    pub ground: Ground,
    /// What it loads.
    pub model: Arc<Model>,
    /// On what: each has its own build of the runtime.
    pub backend: Backend,
    /// What its caches have then.
    pub mark: String,
}

/// Starts it, keeps what it makes, and ends it. The error tells why nothing is kept.
pub async fn prime(prime: Prime) -> Result<(), String> {
    let Prime { driver, ground, model, backend, mark } = prime;
    let (url, expected) = ground.bridge.expect_page();
    let running = driver.start(url).await.map_err(|error| error.to_string())?;
    let Some(caches) = running.info.caches.clone() else { return Err("its caches cannot be kept".into()) };
    let Ok(Some((page, mut events))) = timeout(ground.dial_back, expected.arrival()).await else {
        return Err("its page did not dial back".into());
    };
    let start = Start {
        id: "primer".into(),
        page,
        info: running.info.clone(),
        log: running.log.clone(),
        model,
        backend,
        inquiry: Inquiry::default(),
        // The more it runs, the more of the code is made.
        exam: Exam::Measure,
        ground,
    };
    let made = start.once(async |_| settled(&caches).await);
    let heard = async { while events.recv().await.is_some() {} };
    let made = tokio::select! {
        made = made => made.map_err(|end| end.to_string()),
        () = heard => Err("its page was lost".into()),
    };
    let kept = match made {
        Ok(()) => {
            let keep = tokio::task::spawn_blocking(move || caches.keep(&mark)).await;
            keep.map_err(|error| error.to_string()).and_then(|kept| kept.map_err(|error| error.to_string()))
        }
        Err(reason) => Err(reason),
    };
    running.end().await;
    kept
}

/// Returns when the browser has put all code and kernels that it made into its caches.
async fn settled(caches: &Caches) -> Result<(), WorkerEnd> {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (begun, mut before, mut same) = (Instant::now(), (0, 0), 0);
    while begun.elapsed() < DEADLINE {
        look.tick().await;
        let there = caches.clone();
        let made = tokio::task::spawn_blocking(move || (there.code(), there.kernels())).await.unwrap_or_default();
        same = if made == before && made.0 > 0 { same + 1 } else { 0 };
        before = made;
        if same == SETTLED {
            return Ok(());
        }
    }
    Err(WorkerEnd::Lost(Loss::new(Cause::Failed, format!("it put no code into its caches within {DEADLINE:?}"))))
}
