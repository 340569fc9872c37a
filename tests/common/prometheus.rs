//! A real Prometheus that watches a service, and is ended with the test.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::sleep,
};

use super::{http, repository, soon};

/// Between two looks at what is awaited.
const MOMENT: Duration = Duration::from_millis(100);

pub struct Prometheus {
    address: SocketAddr,
    /// Killed when it is dropped, also where a test panics.
    _child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one with the repository's own configuration, save that it looks at `target`, each second.
    pub async fn start(target: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let config = fs::read_to_string(repository("grafana/prometheus.yaml")).unwrap();
        let config = config.replace("webinfer:8080", &target.to_string()).replace(" 15s", " 1s").replace(" 5s", " 1s");
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, config).unwrap();
        fs::copy(repository("grafana/alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus is needed, which scripts/setup installs: {error}"));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("Prometheus ended"));
                if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                    return address.parse().unwrap();
                }
            }
        };
        let address = soon(address).await;
        // It must not stop for want of a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let prometheus = Self { address, _child: child, _folder: folder };
        prometheus.watches().await;
        prometheus
    }

    /// Waits until it has looked at the service twice more: the second look began after now.
    pub async fn watches(&self) {
        let looks = async || match &self.query("count_over_time(up{job=\"webinfer\"}[1h])").await[..] {
            [one] => one["value"][1].as_str().unwrap().parse::<u32>().unwrap(),
            _ => 0,
        };
        soon(async {
            let before = looks().await;
            while looks().await < before + 2 {
                sleep(MOMENT).await;
            }
        })
        .await;
    }

    /// The series that a query gives now.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let encoded: String = expression.bytes().map(encode).collect();
        let data = self.get(&format!("query?query={encoded}")).await;
        data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}")).clone()
    }

    /// The rules, once all of them were evaluated.
    pub async fn rules(&self) -> Vec<Value> {
        soon(async {
            loop {
                let data = self.get("rules").await;
                let groups = data["groups"].as_array().unwrap();
                let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
                if !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown") {
                    return rules.into_iter().cloned().collect();
                }
                sleep(MOMENT).await;
            }
        })
        .await
    }

    async fn get(&self, path: &str) -> Value {
        // It starts to answer a moment after it listens.
        soon(async {
            loop {
                let answer = http(self.address, &format!("GET /api/v1/{path} HTTP/1.0\r\n\r\n")).await;
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                if head.contains(" 503 ") {
                    sleep(MOMENT).await;
                    continue;
                }
                let answer: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {answer}"));
                assert_eq!(answer["status"], "success", "{path}: {answer}");
                return answer["data"].clone();
            }
        })
        .await
    }
}
