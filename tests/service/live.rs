//! The live page and the calls that it makes, on the HTTP port: what is served, who is refused, and how it ends.

use std::net::SocketAddr;

use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use webinfer::proto::v1;

use crate::common::{Service, fake::Fake, soon, text};

const OTHER: &str = "https://app.example";

/// What a browser gets of one request on a connection of its own: the head in lower case, and the body with its chunks.
async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut socket = send(address, &format!("{head}connection: close\r\n"), body).await;
    let mut bytes = Vec::new();
    soon(socket.read_to_end(&mut bytes)).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&bytes[..end]).to_lowercase(), bytes.split_off(end + 4))
}

async fn send(address: SocketAddr, head: &str, body: &[u8]) -> TcpStream {
    let mut socket = soon(TcpStream::connect(address)).await.unwrap();
    let head = format!("{head}content-length: {}\r\n\r\n", body.len());
    soon(socket.write_all(&[head.as_bytes(), body].concat())).await.unwrap();
    socket
}

async fn get(service: &Service, path: &str, more: &str) -> (String, Vec<u8>) {
    let address = service.app.http_address;
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{more}"), b"").await
}

fn frame(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

fn call(method: &str, host: &str, origin: &str) -> String {
    let origin = if origin.is_empty() { String::new() } else { format!("origin: {origin}\r\n") };
    format!(
        "POST /webinfer.v1.{method} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/grpc-web+proto\r\nx-grpc-web: \
         1\r\n{origin}"
    )
}

/// Calls Infer as a page of that origin that says it came to that host.
async fn infer(service: &Service, host: &str, origin: &str) -> (String, Vec<u8>) {
    let request = v1::InferRequest { model: "tiny-bert".into(), items: vec![text("four")], ..Default::default() };
    exchange(service.app.http_address, &call("InferenceService/Infer", host, origin), &frame(&request)).await
}

/// What comes first of an answer, in lower case.
async fn begin(socket: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let length = socket.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..length]).to_lowercase()
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn the_page_is_there_and_runs_nothing_but_itself() {
    let service = Service::start(&[], Fake::new().driver()).await;
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/app.css", "text/css")] {
        let (head, body) = get(&service, path, "").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains(&format!("content-type: {kind}")), "{head}");
        assert!(head.contains("content-encoding: gzip") && body.starts_with(&[0x1f, 0x8b]), "{head}");
        for policy in ["default-src 'none'", "script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"] {
            assert!(head.contains(policy), "{head}");
        }
        assert!(!head.contains("unsafe"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");

        // Who has it gets it once.
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
        let (head, body) = get(&service, path, &format!("if-none-match: \"other\", W/{tag}\r\n")).await;
        assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");
        let (head, _) = get(&service, path, "if-none-match: \"other\"\r\n").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
    }
    let (head, _) = get(&service, "/nothing.js", "").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
}

#[tokio::test]
async fn the_page_is_answered() {
    let service = Service::start(&[], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let host = service.app.http_address.to_string();
    for (host, origin) in [
        (host.as_str(), format!("http://{host}")),
        ("localhost:1", "http://localhost:1".into()),
        ("[::1]", "http://[::1]".into()),
        // Who is no page names no origin.
        (host.as_str(), String::new()),
    ] {
        let (head, body) = infer(&service, host, &origin).await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(contains(&body, "grpc-status:0"), "{host} {origin}: {head}");
        // The first number of the fake's vector is the text's length.
        assert!(body.windows(4).any(|window| window == 4.0_f32.to_le_bytes()), "{body:?}");
    }
}

#[tokio::test]
async fn pages_of_others_are_refused() {
    let service = Service::start(&["--cors-origin", OTHER], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let host = service.app.http_address.to_string();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://app.example:1"] {
        let (head, body) = infer(&service, &host, origin).await;
        assert!(head.contains("grpc-status: 7") && head.contains("--cors-origin"), "{origin}: {head}");
        assert!(!contains(&body, "grpc-status:0"));
    }
    let (head, body) = infer(&service, &host, OTHER).await;
    assert!(contains(&body, "grpc-status:0"), "{head}");
    assert!(head.contains(&format!("access-control-allow-origin: {OTHER}")), "{head}");
}

#[tokio::test]
async fn names_that_others_may_point_here_are_refused() {
    let service = Service::start(&["--cors-origin", OTHER], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    for host in ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example"] {
        // Of one origin with the page, for a browser that was told so.
        let (head, body) = infer(&service, host, &format!("http://{host}")).await;
        assert!(head.starts_with("http/1.1 403"), "{head}");
        assert!(contains(&body, "--cors-origin"), "{:?}", String::from_utf8_lossy(&body));
        let address = service.app.http_address;
        let (head, _) = exchange(address, &format!("GET / HTTP/1.1\r\nhost: {host}\r\n"), b"").await;
        assert!(head.starts_with("http/1.1 403"), "{head}");
    }
    let (head, body) = infer(&service, "app.example", "http://app.example").await;
    assert!(contains(&body, "grpc-status:0"), "{head}");
    // Programs that watch come by whatever name.
    assert!(service.get_http("/metrics").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let service = Service::start(&["--no-live-page"], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let (head, _) = get(&service, "/", "").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    let host = service.app.http_address.to_string();
    let (head, _) = infer(&service, &host, &format!("http://{host}")).await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    assert!(service.get_http("/live").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn limits_are_those_of_the_grpc_port() {
    let service = Service::start(&["--max-message-bytes=1000000"], Fake::new().driver()).await;
    let host = service.app.http_address.to_string();
    let message = v1::InferRequest { model: "x".repeat(8_000_000), ..Default::default() };
    let (head, _) =
        exchange(service.app.http_address, &call("InferenceService/Infer", &host, ""), &frame(&message)).await;
    assert!(head.contains("grpc-status: 11"), "{head}");
}

#[tokio::test]
async fn messages_that_are_not_all_there_have_a_bound_together_and_harm_no_other() {
    let limits = ["--max-pending-bytes=1000000", "--max-message-bytes=500000", "--max-text-bytes=1000"];
    let service = Service::start(&limits, Fake::new().driver()).await;
    let address = service.app.http_address;
    let message = frame(&v1::InferRequest { model: "x".repeat(450_000), ..Default::default() });
    let (part, rest) = message.split_at(400_000);
    let call = call("InferenceService/Infer", &address.to_string(), "");
    let head = format!("{call}content-length: {}\r\n\r\n", message.len());
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = soon(TcpStream::connect(address)).await.unwrap();
        soon(socket.write_all(&[head.as_bytes(), part].concat())).await.unwrap();
        sockets.push(socket);
    }
    // There is room for two of them: one is refused before its message is there.
    let [one, two, three] = &mut sockets[..] else { unreachable!() };
    let refused = soon(async {
        tokio::select! {
            answer = begin(one) => (0, answer),
            answer = begin(two) => (1, answer),
            answer = begin(three) => (2, answer),
        }
    });
    let (index, answer) = refused.await;
    assert!(answer.contains("grpc-status: 8"), "{answer}");
    sockets.remove(index);
    for mut socket in sockets {
        soon(socket.write_all(rest)).await.unwrap();
        let answer = soon(begin(&mut socket)).await;
        assert!(answer.contains("grpc-status: 5") || answer.contains("grpc-status: 3"), "{answer}");
    }
    service.stop().await;
}

#[tokio::test]
async fn each_connection_is_a_client_of_its_own() {
    let fake = Fake::gated();
    let arguments = ["--replicas=1", "--threads=1", "--max-batch=1", "--max-pending-items=100"];
    let service = Service::start(&arguments, fake.driver()).await;
    service.load("tiny-bert").await.unwrap();
    let address = service.app.http_address;
    let call = call("InferenceService/Infer", &address.to_string(), "");
    let request = |items| v1::InferRequest { model: "tiny-bert".into(), items, ..Default::default() };
    // As much as one client may hold.
    let many = request((0..50).map(|number| text(&format!("{number}"))).collect());
    let _busy = send(address, &call, &frame(&many)).await;
    fake.batches(1).await;
    let _other = send(address, &call, &frame(&request(vec![text("other")]))).await;
    // The other one's turn comes long before the first one is through.
    for number in 1..40 {
        if fake.batches(number).await.contains(&vec!["other".to_owned()]) {
            return;
        }
        fake.release(1);
    }
    panic!("it was refused");
}

#[tokio::test]
async fn open_pages_do_not_hold_the_end_up() {
    let service = Service::start(&["--drain-deadline=60s"], Fake::new().driver()).await;
    let address = service.app.http_address;
    let mut pages = Vec::new();
    for method in ["PoolService/Watch", "PoolService/WatchActivity"] {
        let head = call(method, &address.to_string(), &format!("http://{address}"));
        let mut page = send(address, &head, &frame(&v1::WatchRequest {})).await;
        let mut first = [0; 15];
        soon(page.read_exact(&mut first)).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        pages.push(page);
    }
    // One that browsers open beforehand, and one that has been used.
    let spare = TcpStream::connect(address).await.unwrap();
    let mut used = send(address, &format!("GET /live HTTP/1.1\r\nhost: {address}\r\n"), b"").await;
    soon(used.read_exact(&mut [0; 15])).await.unwrap();

    let begun = tokio::time::Instant::now();
    soon(service.stop()).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "it waited for its deadline");
    for mut page in pages {
        let mut rest = Vec::new();
        soon(page.read_to_end(&mut rest)).await.unwrap();
        assert!(contains(&rest, "grpc-status:0"), "the stream was broken off: {:?}", String::from_utf8_lossy(&rest));
    }
    drop(spare);
}
