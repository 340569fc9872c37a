//! Profile: the CPU time of the service's own threads, by samples, for pprof. The browsers' is not in it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Query,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use pprof::{ProfilerGuardBuilder, protos::Message};
use serde::Deserialize;
use tokio::{sync::Semaphore, task::spawn_blocking, time::sleep};

/// Samples of each second of CPU time. Not a round number, so that it keeps step with nothing.
const FREQUENCY: i32 = 99;
/// Longest profile, in seconds.
const LONGEST: u64 = 60;
/// Libraries in which no stack is walked: a signal there may come while they hold the locks that this takes.
const BLOCKED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default = "usual")]
    seconds: u64,
}

fn usual() -> u64 {
    5
}

/// The way to profiles, one at a time.
pub fn route() -> MethodRouter {
    let turns = Arc::new(Semaphore::new(1));
    get(move |Query(wanted): Query<Wanted>| async move {
        let Ok(_turn) = turns.try_acquire() else {
            return refuse(StatusCode::TOO_MANY_REQUESTS, "a profile is being made, and there is one at a time");
        };
        if !(1..=LONGEST).contains(&wanted.seconds) {
            return refuse(StatusCode::BAD_REQUEST, format!("seconds must be 1 to {LONGEST}"));
        }
        let internal = |error: String| refuse(StatusCode::INTERNAL_SERVER_ERROR, error);
        profile(wanted).await.unwrap_or_else(internal)
    })
}

fn refuse(code: StatusCode, why: impl std::fmt::Display) -> Response {
    (code, format!("{why}\n")).into_response()
}

/// Samples for so long; a caller who leaves ends it.
async fn profile(Wanted { seconds }: Wanted) -> Result<Response, String> {
    let words = |error: pprof::Error| error.to_string();
    let guard = ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&BLOCKED).build().map_err(words)?;
    sleep(Duration::from_secs(seconds)).await;
    // Addresses are looked up by their names, which takes a while.
    let written = spawn_blocking(move || pprof::Result::Ok(guard.report().build()?.pprof()?.encode_to_vec())).await;
    let bytes = written.map_err(|error| error.to_string())?.map_err(words)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
