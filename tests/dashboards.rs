//! Dashboards and alerts: they ask for what there is, all of it, and have an answer from a service under load.

#![cfg(all(target_os = "linux", feature = "otlp"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::{collections::BTreeSet, fs, process::Command};

use common::{prometheus::Prometheus, promql::Names, repository, traffic::Traffic};
use serde_json::Value;
use webinfer::metrics::{ALL, Kind};

/// Metrics that no dashboard shows, and why.
const UNSHOWN: [(&str, &str); 1] =
    [("process_virtual_memory_max_bytes", "where it has no limit, as nearly everywhere, it flattens the chart")];
/// Labels that Prometheus itself adds.
const ADDED: [&str; 2] = ["instance", "job"];
/// The variables of the dashboards, and what they are here: all there is.
const VARIABLES: [(&str, &str); 8] = [
    ("$__rate_interval", "1h"),
    ("$__range", "1h"),
    ("$instance", ".*"),
    ("$model", ".*"),
    ("$browser", ".*"),
    ("$backend", ".*"),
    ("$hardware", ".*"),
    ("$dtype", ".*"),
];

/// A panel, with what it is called in messages.
struct Panel {
    name: String,
    value: Value,
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn boards() -> Vec<Value> {
    let files = fs::read_dir(repository("grafana/dashboards")).unwrap();
    let all: Vec<_> = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert_eq!(all.len(), 4);
    all.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn panels() -> Vec<Panel> {
    let of = |board: Value| {
        let shown: Vec<_> = list(&board, "panels").iter().filter(|panel| panel["type"] != "row").cloned().collect();
        shown.into_iter().map(move |value| Panel { name: format!("{}, {}", board["title"], value["title"]), value })
    };
    boards().into_iter().flat_map(of).collect()
}

fn queries(panel: &Panel) -> Vec<&str> {
    list(&panel.value, "targets").iter().map(|target| target["expr"].as_str().unwrap()).collect()
}

/// The metric of the catalogue that a name in a query stands for.
fn metric_of(name: &str) -> Option<&'static webinfer::metrics::Metric> {
    ALL.iter().find(|metric| match name.strip_prefix(metric.name) {
        Some("") => metric.kind != Kind::Histogram,
        Some("_bucket" | "_sum" | "_count") => metric.kind == Kind::Histogram,
        _ => false,
    })
}

/// Fails where a query names a metric or a label that there is not; returns the labels that its answer may have.
fn check_names(query: &str, of: &str) -> BTreeSet<String> {
    let names = Names::of(query);
    assert!(!names.metrics.is_empty(), "{of} names no metric: {query}");
    let mut known: BTreeSet<&str> = ADDED.into();
    for (name, chosen_by) in &names.metrics {
        // What Prometheus itself tells of its targets.
        let own = (*name == "up").then_some(&[][..]);
        let labels = own.or(metric_of(name).map(|metric| metric.labels));
        let mut labels: BTreeSet<&str> =
            labels.unwrap_or_else(|| panic!("{of}: there is no {name}")).iter().copied().collect();
        labels.extend(ADDED);
        labels.extend(name.ends_with("_bucket").then_some("le"));
        assert!(chosen_by.is_subset(&labels), "{of}: {name} has not all of {chosen_by:?}");
        known.extend(labels);
    }
    assert!(names.groups.is_subset(&known), "{of}: not all of {:?} are there in {query}", names.groups);
    let left = if names.groups.is_empty() { known } else { names.groups };
    left.into_iter().map(str::to_owned).collect()
}

/// The labels that a text between `{{` and `}}` refers to.
fn named<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let of = |part: &'a str| part.split("}}").next().unwrap().trim().strip_prefix(prefix);
    text.split("{{").skip(1).filter_map(of).collect()
}

#[test]
fn dashboards_name_what_there_is_and_show_all_of_it() {
    let mut shown = BTreeSet::new();
    for panel in panels() {
        for target in list(&panel.value, "targets") {
            let query = target["expr"].as_str().unwrap();
            let labels = check_names(query, &panel.name);
            let legend = target["legendFormat"].as_str().unwrap();
            if panel.value["type"] != "table" {
                let told = named(legend, "");
                assert!(told.iter().all(|label| labels.contains(*label)), "{}: {legend} of {query}", panel.name);
            }
            shown.extend(Names::of(query).metrics.into_keys().filter_map(metric_of).map(|metric| metric.name));
        }
    }
    let unshown: BTreeSet<_> = UNSHOWN.iter().map(|(name, _)| *name).collect();
    let expected: BTreeSet<_> = ALL.iter().map(|metric| metric.name).filter(|name| !unshown.contains(name)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn panels_say_how_to_read_them_and_fill_their_rows() {
    for Panel { name, value } in panels() {
        assert!(value["description"].as_str().unwrap().ends_with('.'), "{name} has no description");
        assert!(value["fieldConfig"]["defaults"]["unit"].is_string(), "{name} has no unit");
        assert_eq!(value["datasource"]["uid"], "${datasource}", "{name}");
    }
    for board in boards() {
        for variable in list(&board["templating"], "list").iter().filter(|variable| variable["type"] == "query") {
            let query = variable["query"]["query"].as_str().unwrap().strip_prefix("label_values(").unwrap();
            let (metric, label) = query.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
            assert!(check_names(metric, "a variable").contains(label), "{query}");
            assert_eq!(variable["name"], label);
        }
        let known: Vec<_> = list(&board["templating"], "list").iter().map(|variable| &variable["name"]).collect();
        let text = board["panels"].to_string();
        for (name, _) in VARIABLES.iter().filter(|(name, _)| !name.starts_with("$__") && text.contains(name)) {
            assert!(known.iter().any(|known| *known == &name[1..]), "{} has no variable {name}", board["title"]);
        }
    }
}

/// Runs promtool in grafana's folder.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(repository("grafana")).output();
    let output = output.unwrap_or_else(|error| panic!("promtool is needed, which scripts/setup installs: {error}"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
}

#[test]
fn alerts_fire_when_they_should_and_not_when_they_should_not() {
    promtool(&["check", "rules", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts.test.yaml"]);
    promtool(&["check", "config", "prometheus.yaml"]);
    let cases = read("grafana/alerts.test.yaml");
    for alert in read("grafana/alerts.yaml").lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let of = |expected: &str| cases.contains(&format!("alertname: {alert}\n        exp_alerts:{expected}\n"));
        assert!(of("") && of(" []"), "{alert} needs a case in which it fires, and one in which it does not");
    }
}

#[test]
fn what_is_provisioned_is_there() {
    let compose = read("grafana/compose.yaml");
    let mounts: Vec<_> = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split_once(':')).collect();
    assert_eq!(mounts.len(), 4);
    for (here, _) in &mounts {
        assert!(repository("grafana").join(here).exists(), "{here}");
    }
    let mounted_at = |here: &str| mounts.iter().find(|(mount, _)| *mount == here).unwrap().1.trim_end_matches(":ro");
    let provider = read("grafana/provisioning/dashboards/webinfer.yaml");
    assert!(provider.contains(&format!("path: {}\n", mounted_at("dashboards"))));
    assert!(compose.contains(&format!("{}/overview.json", mounted_at("dashboards"))));
    // Prometheus looks for the rules beside its configuration.
    let folder = |path: &'static str| mounted_at(path).rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(folder("prometheus.yaml"), folder("alerts.yaml"));
    let source = read("grafana/provisioning/datasources/prometheus.yaml");
    for board in boards() {
        let uid = list(&board["templating"], "list")[0]["current"]["value"].as_str().unwrap().to_owned();
        assert!(source.contains(&format!("uid: {uid}\n")), "{uid}");
    }
    for line in compose.lines().filter_map(|line| line.trim().strip_prefix("dockerfile: ")) {
        let (text, ignored) = (read(line), read(&format!("{line}.dockerignore")));
        let comes = |source: &&str| ignored.lines().any(|line| line.strip_prefix('!') == Some(*source));
        for sources in text.lines().filter_map(|line| line.strip_prefix("COPY ")) {
            let mut all: Vec<_> = sources.split(' ').collect();
            all.pop();
            if all[0].starts_with("--from=") {
                continue;
            }
            all.retain(|source| !source.starts_with("--"));
            assert!(all.iter().all(|source| repository(source).exists()), "{sources}");
            assert!(all.iter().all(comes), "{sources}: the build does not see all of it");
        }
    }
}

#[tokio::test]
async fn all_queries_have_answers_from_a_service_under_load() {
    let mut traffic = Traffic::start().await;
    // What began with the first round has grown with the second.
    traffic.round().await;
    let prometheus = Prometheus::start(traffic.service.app.http_address).await;
    traffic.round().await;
    prometheus.watches().await;
    let mut empty = Vec::new();
    for panel in panels() {
        for query in queries(&panel) {
            let replace = |query: String, (name, value): &(&str, &str)| query.replace(name, value);
            let query = VARIABLES.iter().fold(query.to_owned(), replace);
            let answer = prometheus.query(&query).await;
            if !answer.iter().any(|series| series["value"][1] != "NaN") {
                empty.push(format!("{}: {query}", panel.name));
            }
        }
    }
    assert!(empty.is_empty(), "nothing came of these:\n{}", empty.join("\n"));
    let runbook = read("grafana/README.md");
    for rule in prometheus.rules().await {
        let name = rule["name"].as_str().unwrap();
        assert_eq!(rule["health"], "ok", "{rule}");
        let labels = check_names(rule["query"].as_str().unwrap(), name);
        let told = named(rule["annotations"].as_object().unwrap()["summary"].as_str().unwrap(), "$labels.");
        assert!(told.iter().all(|label| labels.contains(*label)), "{rule}");
        assert!(["critical", "warning"].map(Value::from).contains(&rule["labels"]["severity"]), "{rule}");
        assert!(runbook.contains(&format!("\n### {name}\n")), "{name} has no paragraph in grafana/README.md");
        assert_eq!(rule["annotations"]["runbook_url"], format!("grafana/README.md#{}", name.to_lowercase()));
    }
    traffic.service.stop().await;
}
