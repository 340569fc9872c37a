//! gRPC-Web, as pages speak it: over HTTP/1.1, from origins that are allowed or not.

use std::net::SocketAddr;

use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use webinfer::proto::v1;

use crate::common::{Service, fake::Fake, soon, text};

const ORIGIN: &str = "https://app.example";

/// What a browser gets of one request on a connection of its own: the head in lower case, and the body with its chunks.
async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut socket = soon(TcpStream::connect(address)).await.unwrap();
    let length = body.len();
    let head = format!("{head}host: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    // One that speaks HTTP/2 alone resets the connection.
    let _ = soon(socket.write_all(&[head.as_bytes(), body].concat())).await;
    let mut bytes = Vec::new();
    let _ = soon(socket.read_to_end(&mut bytes)).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(bytes.len());
    (String::from_utf8_lossy(&bytes[..end]).to_lowercase(), bytes.split_off(end))
}

/// Calls Infer from a page.
async fn infer(service: &Service, model: &str, origin: &str) -> (String, Vec<u8>) {
    let request = v1::InferRequest { model: model.into(), items: vec![text("four")], ..Default::default() };
    let message = request.encode_to_vec();
    let frame = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    let origin = if origin.is_empty() { String::new() } else { format!("origin: {origin}\r\n") };
    let head = format!(
        "POST /webinfer.v1.InferenceService/Infer HTTP/1.1\r\ncontent-type: application/grpc-web+proto\r\nx-grpc-web: \
         1\r\n{origin}"
    );
    exchange(service.app.address, &head, &frame).await
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_answered() {
    let service = Service::start(&["--cors-origin", ORIGIN], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    let (head, body) = infer(&service, "tiny-bert", ORIGIN).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains(&format!("access-control-allow-origin: {ORIGIN}")), "{head}");
    for readable in [
        "grpc-status-details-bin",
        "grpc-retry-pushback-ms",
        "webinfer-simulated",
        ",x-request-id,",
        "\nx-request-id: ",
    ] {
        assert!(head.contains(readable), "{head}");
    }
    assert!(contains(&body, "grpc-status:0"), "{:?}", String::from_utf8_lossy(&body));
    // The first number of the fake's vector is the text's length.
    assert!(body.windows(4).any(|window| window == 4.0_f32.to_le_bytes()), "{body:?}");

    // Who is no page names no origin; gRPC itself goes on beside it.
    let (head, _) = infer(&service, "tiny-bert", "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    service.embed("tiny-bert", &["four"]).await.unwrap();
}

#[tokio::test]
async fn errors_tell_pages_what_they_tell_others() {
    let service = Service::start(&["--cors-origin", "*"], Fake::new().driver()).await;
    let (head, _) = infer(&service, "nobody", ORIGIN).await;
    assert!(head.contains("grpc-status: 5"), "{head}");
    assert!(head.contains("grpc-status-details-bin: "), "{head}");
}

#[tokio::test]
async fn a_page_of_another_origin_gets_nothing_and_does_nothing() {
    let service = Service::start(&["--cors-origin", ORIGIN], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    for origin in ["https://evil.example", "null", "https://app.example:1"] {
        let (head, body) = infer(&service, "tiny-bert", origin).await;
        assert!(head.contains("grpc-status: 7"), "{head}");
        assert!(head.contains("--cors-origin"), "{head}");
        assert!(!head.contains("access-control-allow-origin"), "{head}");
        assert!(!contains(&body, "grpc-status:0"));
    }
}

#[tokio::test]
async fn browsers_are_told_beforehand_who_may_call() {
    let service = Service::start(&["--cors-origin", ORIGIN], Fake::new().driver()).await;
    let ask = async |origin: &str| {
        let head = format!(
            "OPTIONS /webinfer.v1.InferenceService/Infer HTTP/1.1\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\naccess-control-request-headers: grpc-timeout,x-grpc-web\r\n"
        );
        exchange(service.app.address, &head, b"").await.0
    };
    let head = ask(ORIGIN).await;
    assert!(head.contains(&format!("access-control-allow-origin: {ORIGIN}")), "{head}");
    assert!(head.contains("access-control-allow-headers: grpc-timeout,x-grpc-web"), "{head}");
    assert!(!ask("https://evil.example").await.contains("access-control-allow-origin"));
}

#[tokio::test]
async fn without_an_origin_there_is_no_http_1() {
    let service = Service::start(&[], Fake::new().driver()).await;
    let (head, _) = infer(&service, "nobody", "").await;
    assert!(!head.starts_with("http/1.1"), "{head}");
}

#[tokio::test]
async fn what_is_no_grpc_web_harms_nobody() {
    let service = Service::start(&["--cors-origin", "*"], Fake::new().driver()).await;
    service.load("tiny-bert").await.unwrap();
    for (kind, body) in [
        ("application/grpc-web", &b"\0\xff\xff\xff\xffx"[..]),
        ("application/grpc-web-text", b"!!!!"),
        ("application/grpc-web", b""),
        ("application/grpc", b"\0\0\0\0\0"),
        ("text/plain", b"hello"),
    ] {
        let head = format!("POST /webinfer.v1.InferenceService/Infer HTTP/1.1\r\ncontent-type: {kind}\r\n");
        let (head, body) = exchange(service.app.address, &head, body).await;
        assert!(!contains(&body, "grpc-status:0"), "{kind}: {head}");
    }
    service.embed("tiny-bert", &["four"]).await.unwrap();
}

#[tokio::test]
async fn a_page_that_still_sends_gets_its_answer() {
    let service = Service::start(&["--cors-origin", "*", "--max-message-bytes=1000000"], Fake::new().driver()).await;
    let head = "POST /webinfer.v1.InferenceService/Infer HTTP/1.1\r\ncontent-type: application/grpc-web\r\n";
    let length = 8_000_000_u32;
    let body = [&[0][..], &length.to_be_bytes(), &vec![0; length as usize]].concat();
    let (head, _) = exchange(service.app.address, head, &body).await;
    assert!(head.contains("grpc-status: 11"), "{head}");
}
