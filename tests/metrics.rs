//! Metrics: the catalogue, what the service tells, and the documentation are one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs;

#[test]
fn the_documentation_tells_all_metrics() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/grafana/README.md")).unwrap();
    let (_, table) = text.split_once("<!-- metrics -->\n").unwrap();
    let (table, _) = table.split_once("<!-- /metrics -->").unwrap();
    let expected = webinfer::metrics::table();
    assert!(table.trim() == expected.trim(), "grafana/README.md's table of metrics must be:\n{expected}");
}
