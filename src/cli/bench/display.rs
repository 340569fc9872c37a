//! Display: how a run goes, on the terminal, while it goes.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

use super::{
    drive::Driver,
    tally::{Count, Tally},
};

/// Shows the tally each second, for as long as it is polled. Without a terminal it shows nothing.
pub async fn show(driver: &Driver) -> Infallible {
    let bar = ProgressBar::no_length()
        .with_style(ProgressStyle::with_template("{prefix}\n{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
    if bar.is_hidden() {
        std::future::pending::<()>().await;
    }
    // Goes from the terminal when the run ends, which drops this future.
    let bar = Shown(bar);
    let (begun, mut before) = (Instant::now(), Count::default());
    let mut second = interval(Duration::from_secs(1));
    second.tick().await;
    loop {
        second.tick().await;
        let (pace, times) = {
            let tally = driver.tally();
            let lines = lines(&tally, before, begun.elapsed());
            before = tally.ever;
            lines
        };
        bar.0.set_prefix(pace);
        bar.0.set_message(times);
    }
}

struct Shown(ProgressBar);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Two lines, neither wider than a small terminal.
fn lines(tally: &Tally, before: Count, elapsed: Duration) -> (String, String) {
    let now = Instant::now();
    let phase = match tally.window() {
        window if now < window.start => "warming up",
        window if now < window.end => "measuring",
        _ => "last answers",
    };
    let (requests, items) = (tally.ever.requests - before.requests, tally.ever.items - before.items);
    let pace = format!(
        "{} s, {phase}: {requests} requests/s, {items} items/s, {} in flight",
        elapsed.as_secs(),
        tally.in_flight
    );
    let (p50, p99) = (quantile(&tally.latency, 0.5), quantile(&tally.latency, 0.99));
    (pace, format!("p50 {p50}, p99 {p99}, {} failed, {} unsent", tally.failures(), tally.unsent))
}

/// A quantile in words; a dash where nothing was measured.
pub fn quantile(times: &Histogram<u64>, quantile: f64) -> String {
    if times.is_empty() { "-".into() } else { millis(times.value_at_quantile(quantile) as f64) }
}

/// A time in milliseconds, with three digits.
pub fn millis(micros: f64) -> String {
    let millis = micros / 1000.0;
    let digits = if millis < 10.0 { 2 } else { usize::from(millis < 100.0) };
    format!("{millis:.digits$} ms")
}
