//! The bridge's port: nobody gets in who was not asked to, and nothing gets out but what browsers need.

use std::{sync::Arc, sync::Mutex};

use futures_util::{FutureExt, future::BoxFuture};
use webinfer::browser::{Driver, Running, StartError};

use crate::common::{
    Service,
    fake::{Fake, dial},
    http,
};

/// Shows the address that a browser is to open, and then starts a fake one.
struct Spy {
    driver: Arc<dyn Driver>,
    url: Mutex<Option<String>>,
}

impl Driver for Spy {
    fn start(&self, url: String) -> BoxFuture<'_, Result<Running, StartError>> {
        self.url.lock().unwrap().replace(url.clone());
        self.driver.start(url).boxed()
    }
}

fn get(service: &Service, path: &str, headers: &str) -> String {
    let host = service.app.bridge_address;
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")
}

/// Where a file of the page is.
fn page(file: &str) -> String {
    format!("/page/{}/{file}", webinfer::bridge::page())
}

#[tokio::test]
async fn files_come_with_security_headers_and_only_to_the_right_host() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let address = service.app.bridge_address;
    let page = http(address, &get(&service, &page("page.html"), "")).await.to_lowercase();
    assert!(page.starts_with("http/1.1 200"), "{page}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self' 'wasm-unsafe-eval'",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-embedder-policy: require-corp",
        "x-content-type-options: nosniff",
        "content-type: text/html",
    ] {
        assert!(page.contains(header), "{header}\n{page}");
    }
    for (path, kind) in [("page.js", "javascript"), ("ort/ort-wasm-simd-threaded.wasm", "application/wasm")] {
        let answer = http(address, &get(&service, &self::page(path), "")).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.contains(kind), "{path}");
    }
    for host in ["localhost", "evil.example", &format!("localhost:{}", address.port())] {
        let path = self::page("page.html");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert!(http(address, &request).await.starts_with("HTTP/1.1 403"), "{host}");
    }
    service.stop().await;
}

#[tokio::test]
async fn only_files_of_registered_models_are_served() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let address = service.app.bridge_address;
    service.load("tiny-bert").await.unwrap();
    let sha256 = service.app.registry.get("tiny-bert").unwrap().known_sha256().unwrap().to_owned();
    let config = http(address, &get(&service, &format!("/models/tiny-bert/{sha256}/config.json"), "")).await;
    assert!(config.starts_with("HTTP/1.1 200") && config.contains("\"model_type\""), "{config}");
    for path in [
        "/models/tiny-bert/HASH/reference.json",
        "/models/tiny-bert/HASH/../../../../Cargo.toml",
        "/models/tiny-bert/HASH/%2e%2e/identity/onnx/model.onnx",
        "/models/tiny-bert/HASH/..%2f..%2f..%2fCargo.toml",
        "/models/tiny-bert/HASH//etc/passwd",
        "/models/../Cargo.toml",
        "/models/no-such/HASH/config.json",
        "/page/../Cargo.toml",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/",
    ] {
        let path = &path.replace("HASH", &sha256);
        let answer = http(address, &get(&service, path, "")).await;
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_link_needs_the_right_origin_and_a_fresh_token() {
    let spy = Arc::new(Spy { driver: Fake::new().driver(), url: Mutex::default() });
    let service = Service::start(&[], spy.clone()).await;
    service.load("tiny-bert").await.unwrap();
    let origin = format!("http://{}", service.app.bridge_address);
    // The page's token was used by the page itself.
    let used = spy.url.lock().unwrap().clone().unwrap();
    let (_, used) = used.split_once('#').unwrap();
    let wrong = format!("/link?token={}", "0".repeat(64));
    for path in [used, &wrong, "/link", "/link?token=", "/link?token=%00"] {
        assert!(dial(&origin, path).await.is_err(), "{path}");
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for header in ["Origin: http://evil.example\r\n", "Origin: null\r\n", ""] {
        let request = format!("GET {used} HTTP/1.1\r\nHost: {}\r\n{upgrade}{header}\r\n", service.app.bridge_address);
        let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let answer = http(service.app.bridge_address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{header}: {answer}");
    }
    // Whoever was turned away has cost nobody anything.
    service.embed("tiny-bert", &["still there"]).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn garbage_on_the_ports_ends_nothing() {
    let service = Service::start(&[], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    for address in [service.app.bridge_address, service.app.http_address, service.app.address] {
        for garbage in
            ["\r\n\r\n", "GET\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxx"]
        {
            use tokio::io::AsyncWriteExt;
            let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
            socket.write_all(garbage.as_bytes()).await.unwrap();
        }
    }
    service.embed("tiny-bert", &["still there"]).await.unwrap();
    service.stop().await;
}
