//! Print: what was measured, as people and programs read it.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use hdrhistogram::Histogram;
use humantime::format_duration;
use serde_json::{Value, json};

use super::{
    display::{millis, quantile},
    load::Load,
    tally::Tally,
};

/// Quantiles of latency, by their names.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
/// Of other times.
const FEW: [(&str, f64); 2] = [("p50", 0.5), ("p99", 0.99)];
/// As [`Tally::hops_us`] has them.
const HOPS: [&str; 5] = ["queue", "bridge", "preprocess", "inference", "postprocess"];

/// A run that has ended.
pub struct Report<'a> {
    /// What was asked for.
    pub load: &'a Load,
    /// What was measured.
    pub tally: &'a Tally,
    /// Whether it ended early.
    pub interrupted: bool,
}

impl Report<'_> {
    /// Per second of the window.
    fn rate(&self, count: u64) -> f64 {
        let seconds = self.tally.seconds();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    fn offered(&self) -> u64 {
        self.tally.sent + self.tally.unsent
    }

    /// Share of all measured requests that were OK before their deadline.
    fn in_time(&self) -> f64 {
        self.tally.in_time as f64 / self.offered().max(1) as f64
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let Self { load, tally, .. } = self;
        let mut table = new_table();
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        let ended = if self.interrupted { "; interrupted, and ended early" } else { "" };
        row("loop", load.pace());
        row("requests", load.kind());
        let warm_up = format_duration(load.warm_up);
        row("measured", format!("{:.1} s after {warm_up} of warm-up{ended}", tally.seconds()));
        if load.rate.is_some() {
            row("offered", format!("{:.1} requests/s", self.rate(self.offered())));
        }
        let (requests, items) = (self.rate(tally.achieved.requests), self.rate(tally.achieved.items));
        row("achieved", format!("{requests:.1} requests/s, {items:.1} items/s"));
        let (ok, failures) = (tally.ok.requests, tally.failures());
        row("sent", format!("{}: {ok} OK, {failures} failed, {} unanswered", tally.sent, tally.unanswered()));
        if load.rate.is_some() {
            row("unsent", format!("{}, due while {} were in flight", tally.unsent, load.max_in_flight));
            row("sent late", times(&tally.lateness, &FEW));
        }
        let (in_time, deadline) = (100.0 * self.in_time(), format_duration(load.deadline));
        row("in time", format!("{in_time:.2} % of those that were due had their answer within {deadline}"));
        if !tally.refusals.is_empty() {
            row("refused", format!("{}: {}", tally.refusals.len(), times(&tally.refusals, &FEW)));
        }
        if ok > 0 {
            row("latency", format!("{}, mean {}", times(&tally.latency, &QUANTILES), millis(tally.latency.mean())));
            row("batch", format!("mean of {:.2} items", tally.batch_size()));
            let hops: Vec<_> =
                HOPS.iter().zip(tally.hops_us()).map(|(hop, time)| format!("{hop} {}", millis(time))).collect();
            row("hops", format!("mean {}", hops.join(" + ")));
        }
        format!("{table}\n{}{}", self.errors(), self.runners())
    }

    fn errors(&self) -> String {
        let mut table = new_table();
        table.set_header(["errors", "code", "reason", "the first said"]);
        for ((code, reason), errors) in &self.tally.errors {
            table.add_row([number(errors.count), Cell::new(code), Cell::new(reason), Cell::new(&errors.message)]);
        }
        if table.is_empty() { String::new() } else { format!("{table}\n") }
    }

    fn runners(&self) -> String {
        let mut table = new_table();
        table.set_header(["items", "browser", "backend", "hardware", "dtype", "worker", "origin"]);
        for (runner, items) in &self.tally.runners {
            let names =
                [&runner.browser, runner.backend, runner.hardware, &runner.dtype, &runner.worker, runner.origin];
            table.add_row([number(*items)].into_iter().chain(names.map(Cell::new)));
        }
        if table.is_empty() { String::new() } else { format!("{table}\n") }
    }

    /// The report for programs.
    pub fn json(&self) -> String {
        let Self { load, tally, .. } = self;
        let errors = tally.errors.iter().map(|((code, reason), errors)| {
            json!({"code": code, "reason": reason, "count": errors.count, "first_message": errors.message})
        });
        let runners = tally.runners.iter().map(|(runner, items)| {
            json!({"items": items, "browser": runner.browser, "backend": runner.backend,
                   "hardware": runner.hardware, "dtype": runner.dtype, "worker_id": runner.worker,
                   "origin": runner.origin})
        });
        let hops: serde_json::Map<_, _> =
            HOPS.iter().zip(tally.hops_us()).map(|(hop, time)| ((*hop).to_owned(), json!(time))).collect();
        let document = json!({
            "settings": load.json(),
            "interrupted": self.interrupted,
            "measured_s": tally.seconds(),
            "sent": tally.sent,
            "unsent": tally.unsent,
            "ok": tally.ok.requests,
            "ok_items": tally.ok.items,
            "unanswered": tally.unanswered(),
            "errors": errors.collect::<Vec<_>>(),
            "offered_requests_per_s": load.rate.map(|_| self.rate(self.offered())),
            "achieved_requests_per_s": self.rate(tally.achieved.requests),
            "achieved_items_per_s": self.rate(tally.achieved.items),
            "in_time_share": self.in_time(),
            "latency_us": times_json(&tally.latency),
            "refusals_us": times_json(&tally.refusals),
            "sent_late_us": load.rate.map(|_| times_json(&tally.lateness)),
            "mean_batch_items": tally.batch_size(),
            "mean_hops_us": hops,
            "ran": runners.collect::<Vec<_>>(),
        });
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn number(number: u64) -> Cell {
    Cell::new(number).set_alignment(CellAlignment::Right)
}

fn times(times: &Histogram<u64>, quantiles: &[(&str, f64)]) -> String {
    let parts = quantiles.iter().map(|(name, value)| format!("{name} {}", quantile(times, *value)));
    parts.chain([format!("max {}", quantile(times, 1.0))]).collect::<Vec<_>>().join(", ")
}

/// `null` where there is none.
fn times_json(times: &Histogram<u64>) -> Value {
    if times.is_empty() {
        return Value::Null;
    }
    let quantiles = QUANTILES.iter().map(|(name, value)| ((*name).to_owned(), json!(times.value_at_quantile(*value))));
    let ends = [("max", json!(times.max())), ("mean", json!(times.mean())), ("count", json!(times.len()))];
    quantiles.chain(ends.map(|(name, value)| (name.to_owned(), value))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use clap::Parser;
    use serde_json::Value;

    use super::{Load, Report, Tally};
    use crate::{proto::v1, rpc::client::Failure};

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        load: Load,
    }

    #[test]
    fn both_forms_tell_what_was_measured() {
        let load = Alone::try_parse_from(["load", "--rate=2", "--deadline=1s"]).unwrap().load;
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut tally = Tally::new(begin..after(2000), load.deadline).unwrap();
        for _ in 0..3 {
            tally.sent(begin, after(1));
        }
        let execution = v1::Execution { worker_id: "worker-7".into(), batch_size: 1, ..Default::default() };
        let results = vec![v1::ItemResult { output: None, execution: 0 }];
        tally.ok(begin, after(10), &v1::InferResponse { results, executions: vec![execution] });
        let failure = Failure {
            code: "RESOURCE_EXHAUSTED",
            reason: "OVERLOADED".into(),
            message: "not now".into(),
            fields: vec![],
            retry_after: None,
        };
        tally.failed(begin, after(5), failure);
        tally.unsent(begin);
        let report = Report { load: &load, tally: &tally, interrupted: true };

        let table = report.table();
        for words in [
            "open, 2 requests/s, poisson",
            "interrupted",
            "3: 1 OK, 1 failed, 1 unanswered",
            "1, due while 10000 were in flight",
            "25.00 %",
            "p50 10.0 ms",
            "OVERLOADED   not now",
            "worker-7",
        ] {
            assert!(table.contains(words), "{words}:\n{table}");
        }
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["sent"], &json["unsent"], &json["ok"]), (&3.into(), &1.into(), &1.into()));
        assert_eq!((&json["offered_requests_per_s"], &json["achieved_items_per_s"]), (&2.0.into(), &0.5.into()));
        assert_eq!((&json["latency_us"]["count"], &json["refusals_us"]["count"]), (&1.into(), &1.into()));
        assert_eq!((&json["errors"][0]["reason"], &json["ran"][0]["items"]), (&"OVERLOADED".into(), &1.into()));
    }
}
