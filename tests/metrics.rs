//! Metrics: the catalogue, what the service tells, and the documentation are one.

#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use common::{Service, details, repository, traffic::Traffic};
use webinfer::{
    metrics::{ALL, Kind, table},
    proto::v1,
};

#[test]
fn the_documentation_tells_all_metrics() {
    let text = fs::read_to_string(repository("grafana/README.md")).unwrap();
    let (_, documented) = text.split_once("<!-- metrics -->\n").unwrap();
    let (documented, _) = documented.split_once("<!-- /metrics -->").unwrap();
    let expected = table();
    assert!(documented.trim() == expected.trim(), "grafana/README.md's table of metrics must be:\n{expected}");
}

/// One value of those that are rendered.
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    value: f64,
}

fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    let sample = |line| {
        let (series, value) = str::rsplit_once(line, ' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "\"}"));
        let labels = labels.strip_suffix("\"}").unwrap().split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split_once("=\"").unwrap()).collect();
        Sample { name, labels, value: value.parse().unwrap() }
    };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample)
}

/// What the service renders, without the head of HTTP.
async fn rendered(service: &Service) -> String {
    let answer = service.get_http("/metrics").await;
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The recorder is one for the process, and models are counted in it: so this is one test.
#[tokio::test]
async fn what_is_rendered_is_the_catalogue_and_has_a_bound() {
    let mut traffic = Traffic::start().await;
    traffic.round().await;
    is_the_catalogue(&rendered(&traffic.service).await);
    has_a_bound(&traffic.service).await;
    traffic.service.stop().await;
}

/// All of the catalogue is there, with its kinds and labels, and nothing else is.
fn is_the_catalogue(text: &str) {
    let kinds: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected: Vec<_> = ALL.iter().map(|metric| format!("{} {}", metric.name, metric.kind.name())).collect();
    assert_eq!(kinds, expected.iter().map(String::as_str).collect());
    for Sample { name, labels, .. } in samples(text) {
        let is_of = |metric: &&webinfer::metrics::Metric| match name.strip_prefix(metric.name) {
            Some("") => metric.kind != Kind::Histogram,
            Some("_bucket" | "_sum" | "_count") => metric.kind == Kind::Histogram,
            _ => false,
        };
        let metric = ALL.iter().find(is_of).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        let mut expected: BTreeSet<_> = metric.labels.iter().copied().collect();
        expected.extend(name.ends_with("_bucket").then_some("le"));
        assert_eq!(labels.into_keys().collect::<BTreeSet<_>>(), expected, "{name}");
    }
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Counter && metric.name.starts_with("webinfer_")) {
        let counted = samples(text).filter(|sample| sample.name == metric.name).map(|sample| sample.value).sum::<f64>();
        // Whole seconds, which may not have passed.
        assert!(counted > 0.0 || metric.name.ends_with("_seconds_total"), "nothing was counted in {}", metric.name);
    }
}

/// Thousands of models, one after the other, are told as a thousand and the others.
async fn has_a_bound(service: &Service) {
    let (mut models, mut sizes) = (service.models(), Vec::new());
    for number in 0..2100 {
        let id = format!("passes-{number}");
        let spec = v1::ModelSpec { id: id.clone(), source: "tiny-bert".into(), ..Default::default() };
        service.register(spec).await.unwrap();
        assert_eq!(details(&service.embed(&id, &["x"]).await.unwrap_err()).1, "MODEL_NOT_LOADED");
        models.unregister(v1::UnregisterRequest { id }).await.unwrap();
        if number % 1050 == 1049 {
            let text = rendered(service).await;
            let names: BTreeSet<_> = samples(&text).filter_map(|sample| sample.labels.get("model").copied()).collect();
            assert!(names.contains(":others"));
            sizes.push((names.len(), text.lines().count()));
        }
    }
    assert!(sizes[0].0 <= 1025 && sizes[0] == sizes[1], "{sizes:?}");
}
