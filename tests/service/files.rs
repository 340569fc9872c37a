//! The files that browsers read, over real sockets: their addresses hold a hash, parts of them can be asked for, and nothing
//! is served under a hash that is not its own.

use std::{collections::BTreeMap, fs, path::Path};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use webinfer::{bridge, proto::v1};

use crate::common::{Service, fake::Fake, repository};

/// Headers that a browser sends.
type Asked<'a> = &'a [(&'a str, &'a str)];

/// What comes back.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

async fn ask(service: &Service, method: &str, path: &str, headers: Asked<'_>) -> Answer {
    let address = service.app.bridge_address;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Answer { status, headers: lines.filter_map(header).collect(), body: all[end + 4..].to_vec() }
}

/// The model's hash.
async fn sha256(service: &Service) -> String {
    service.load("tiny-bert").await.unwrap();
    let request = v1::ModelServiceGetRequest { id: "tiny-bert".into() };
    service.models().get(request).await.unwrap().into_inner().model.unwrap().sha256
}

/// A models folder with a copy of the model of the tests.
fn copied() -> TempDir {
    let models = tempfile::tempdir().unwrap();
    let (from, to) = (repository("tests/models/tiny-bert"), models.path().join("tiny-bert"));
    fs::create_dir_all(to.join("onnx")).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    models
}

fn read(path: &str) -> Vec<u8> {
    fs::read(repository("tests/models/tiny-bert").join(path)).unwrap()
}

#[tokio::test]
async fn a_model_file_has_its_hash_and_is_sent_once() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let sha256 = sha256(&service).await;
    let (path, whole) = (format!("/models/tiny-bert/{sha256}/tokenizer.json"), read("tokenizer.json"));
    let answer = ask(&service, "GET", &path, &[]).await;
    assert_eq!((answer.status, &answer.body), (200, &whole));
    let tag = Sha256::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(answer.header("etag"), format!("\"{tag}\""));
    assert_eq!((answer.header("accept-ranges"), answer.header("cache-control")), ("bytes", "no-store"));
    assert_eq!(answer.header("content-length"), whole.len().to_string());
    let head = ask(&service, "HEAD", &path, &[]).await;
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length")),
        (200, 0, answer.header("content-length"))
    );
    for method in ["GET", "HEAD"] {
        let known = ask(&service, method, &path, &[("If-None-Match", answer.header("etag"))]).await;
        assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, answer.header("etag")));
    }
    assert_eq!(ask(&service, "POST", &path, &[]).await.status, 405);
    service.stop().await;
}

#[tokio::test]
async fn parts_of_a_file_are_sent_whatever_the_header_says() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let sha256 = sha256(&service).await;
    let (path, whole) = (format!("/models/tiny-bert/{sha256}/config.json"), read("config.json"));
    let length = whole.len() as u64;
    let numbers = || prop_oneof![0..2 * length, any::<u64>()];
    let header = prop_oneof![
        (numbers(), numbers()).prop_map(|(first, last)| format!("bytes={first}-{last}")),
        numbers().prop_map(|first| format!("bytes={first}-")),
        numbers().prop_map(|last| format!("bytes=-{last}")),
        "bytes=[0-9, -]{0,40}",
        "[!-~]{1,40}",
    ];
    let (mut runner, mut seen) = (TestRunner::deterministic(), BTreeMap::<u16, u32>::new());
    for _ in 0..300 {
        let range = header.new_tree(&mut runner).unwrap().current();
        let answer = ask(&service, "GET", &path, &[("Range", &range)]).await;
        *seen.entry(answer.status).or_default() += 1;
        match (answer.status, answer.header("content-range")) {
            (200, "") => assert_eq!(answer.body, whole, "{range}"),
            (206, told) => {
                let part = told.strip_prefix("bytes ").unwrap().strip_suffix(&format!("/{length}")).unwrap();
                let (first, last) = part.split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                assert_eq!(answer.body, whole[first..=last], "{range}");
                assert_eq!(answer.header("content-length"), answer.body.len().to_string());
            }
            (416, told) => assert_eq!((told, answer.body.len()), (&*format!("bytes */{length}"), 0), "{range}"),
            other => panic!("{range}: {other:?}"),
        }
    }
    assert!(seen.len() == 3 && seen.values().all(|count| *count > 20), "{seen:?}");
    // A part of another version is not asked for.
    let other = ask(&service, "GET", &path, &[("Range", "bytes=0-3"), ("If-Range", "\"other\"")]).await;
    assert_eq!((other.status, other.body), (200, whole));
    service.stop().await;
}

#[tokio::test]
async fn nothing_is_served_under_a_hash_that_is_not_its_own() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let sha256 = sha256(&service).await;
    let good = format!("/models/tiny-bert/{sha256}/config.json");
    assert_eq!(ask(&service, "GET", &good, &[]).await.status, 200);
    for path in [
        format!("/models/tiny-bert/{}/config.json", "0".repeat(64)),
        format!("/models/tiny-bert/{}/config.json", sha256.to_uppercase()),
        format!("/models/tiny-bert/{}/config.json", &sha256[..63]),
        format!("/models/identity/{sha256}/config.json"),
        format!("/models/tiny-bert/{sha256}/reference.json"),
        format!("/models/tiny-bert/{sha256}/onnx/model_fp16.onnx"),
        "/models/tiny-bert/config.json".to_owned(),
        format!("/page/{}/page.html", "0".repeat(32)),
        "/page.html".to_owned(),
    ] {
        assert_eq!(ask(&service, "GET", &path, &[]).await.status, 404, "{path}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_file_that_has_changed_is_refused() {
    let models = copied();
    let service = Service::start(&[&format!("--models={}", models.path().display())], Fake::new().driver()).await;
    let before = sha256(&service).await;
    let file = models.path().join("tiny-bert/tokenizer_config.json");
    let path = |sha256: &str| format!("/models/tiny-bert/{sha256}/tokenizer_config.json");
    assert_eq!(ask(&service, "GET", &path(&before), &[]).await.status, 200);
    // As a program does that writes beside, and then exchanges the two.
    let replace = |file: &Path, text: &[u8]| {
        fs::write(file.with_extension("new"), text).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
    };
    let text = fs::read(&file).unwrap();
    replace(&file, &[&text[..], b" "].concat());
    assert_eq!(ask(&service, "GET", &path(&before), &[]).await.status, 404);
    service.unload("tiny-bert").await;
    let error = service.load("tiny-bert").await.unwrap_err();
    assert!(error.message().contains("tokenizer_config.json has changed on disk"), "{error}");
    // Registered anew, it is another model.
    service.models().unregister(v1::UnregisterRequest { id: "tiny-bert".into() }).await.unwrap();
    service.register(v1::ModelSpec { id: "tiny-bert".into(), ..Default::default() }).await.unwrap();
    let after = sha256(&service).await;
    assert_ne!(before, after);
    assert_eq!(ask(&service, "GET", &path(&after), &[]).await.status, 200);
    assert_eq!(ask(&service, "GET", &path(&before), &[]).await.status, 404);
    service.stop().await;
}

#[tokio::test]
async fn the_page_may_be_kept_for_ever() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let path = format!("/page/{}/page.js", bridge::page());
    let answer = ask(&service, "GET", &path, &[]).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"));
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    let known = ask(&service, "GET", &path, &[("If-None-Match", answer.header("etag"))]).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let part = ask(&service, "GET", &path, &[("Range", "bytes=1-4"), ("If-Range", answer.header("etag"))]).await;
    assert_eq!((part.status, &part.body[..]), (206, &answer.body[1..5]));
    service.stop().await;
}
