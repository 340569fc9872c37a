//! R11: five times more than the service can do, for a minute: what is answered in time, how fast the rest is refused, and
//! whether memory stays flat. The load comes from `webinfer bench load`.

mod common;

use common::{
    Result,
    process::resident_mib,
    report::{Goal, Report},
    repository,
    service::Service,
};
use serde_json::{Value, json};
use tokio::process::Command;

const MODEL: &str = "all-MiniLM-L6-v2";
const TIMES: f64 = 5.0;

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new(
        "R11",
        json!({"model": MODEL, "dtype": "q8", "service": "default settings", "times_capacity": TIMES, "seconds": 60,
               "deadline": "1s", "arrivals": "poisson, timed from when they are due",
               "texts": "16 words each, all different", "rounds": "one of a minute between two peaks"}),
    );
    let service = Service::start(&repository("models"), &["--load=none"]).await?;
    service.load(MODEL).await?;
    let peak = async || load(&service, &["--callers=32", "--duration=15s", "--warm-up=10s", "--connections=4"]).await;
    let rate = |outcome: &Value| outcome["achieved_requests_per_s"].as_f64().ok_or("no rate");
    let before = peak().await?;
    let memory_before = resident_mib(service.pid())?;
    let offered = format!("--rate={}", rate(&before)? * TIMES);
    let over =
        load(&service, &[&offered, "--duration=60s", "--warm-up=5s", "--deadline=1s", "--connections=4"]).await?;
    let memory_after = resident_mib(service.pid())?;
    let after = peak().await?;
    let peak_rate = f64::midpoint(rate(&before)?, rate(&after)?);
    let in_time =
        over["in_time_share"].as_f64().ok_or("no share")? * over["offered_requests_per_s"].as_f64().unwrap_or(0.0);
    let refused = |quantile: &str| over["refusals_us"][quantile].as_f64().map_or(0.0, |us| us / 1000.0);
    let late = |quantile: &str| over["sent_late_us"][quantile].as_f64().map_or(0.0, |us| us / 1000.0);
    let raw = json!({"peak_before": before, "overload": over, "peak_after": after,
                     "rss_anon_file_mib": [memory_before, memory_after]});
    report.figure("answered in time / peak", &[in_time / peak_rate], Goal::AtLeast(0.95), raw);
    report.figure("refusals, ms, p50", &[refused("p50")], Goal::AtMost(5.0), json!({"sent_late_p50_ms": late("p50")}));
    report.figure("refusals, ms, p99", &[refused("p99")], Goal::AtMost(5.0), json!({"sent_late_p99_ms": late("p99")}));
    let growth = memory_after[0] / memory_before[0];
    report.figure("memory after / before", &[growth], Goal::AtMost(1.2), json!(null));
    service.stop().await?;
    report.write()
}

async fn load(service: &Service, arguments: &[&str]) -> Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_webinfer"))
        .args(["bench", "load", "--format=json", "--address", &service.address, "--model", MODEL])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
