//! A stand-in for the Hub on loopback, which does as it should until it is told to misbehave.

#![allow(dead_code, reason = "each test that includes it uses some of it")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// The commit that the stand-in's repository has.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Files of at least so many bytes are large.
pub const LARGE: usize = 1000;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// With its query.
    pub path: String,
    /// By name in small letters.
    pub headers: BTreeMap<String, String>,
    /// How many came for the same path before.
    pub nth: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where it wants a file from.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// A part of what is sent.
#[derive(Clone)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// Nothing more, until the other side has had enough.
    Hang,
    /// One byte after the other, slowly, until the other side has had enough.
    Drip,
    /// Until somebody adds a permit.
    Wait(Arc<Semaphore>),
}

pub type Misbehaviour = Box<dyn Fn(&Seen) -> Option<Vec<Piece>> + Send + Sync>;

/// What it has.
#[derive(Clone, Debug, Default)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    /// A small model.
    pub fn model() -> Self {
        let bytes =
            |length: usize, seed: usize| (0..length).map(|at| (at * 31 + at / 251 + seed) as u8).collect::<Vec<_>>();
        let files = [
            ("config.json", br#"{"architectures": ["BertModel"]}"#.to_vec()),
            ("tokenizer.json", b"{}".to_vec()),
            ("tokenizer_config.json", b"{}".to_vec()),
            ("README.md", b"# A model".to_vec()),
            ("onnx/model.onnx", bytes(200_000, 1)),
            ("onnx/model_quantized.onnx", bytes(100_000, 2)),
        ];
        Self(files.map(|(path, bytes)| (path.to_owned(), bytes)).into())
    }

    /// What the Hub tells of them.
    pub fn listing(&self, commit: &str) -> String {
        let mut text = format!(r#"{{"sha": "{commit}", "siblings": ["#);
        for (index, (path, bytes)) in self.0.iter().enumerate() {
            let (comma, length) = (if index > 0 { ", " } else { "" }, bytes.len());
            let path = serde_json::to_string(path).unwrap();
            let _ = write!(text, r#"{comma}{{"rfilename": {path}, "size": {length}, "blobId": "{}""#, git(bytes));
            if length >= LARGE {
                let _ =
                    write!(text, r#", "lfs": {{"sha256": "{}", "size": {length}, "pointerSize": 130}}"#, sha256(bytes));
            }
            text.push('}');
        }
        text + "]}"
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn git(bytes: &[u8]) -> String {
    hex(&Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An answer with a length.
pub fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    [head(status, &[headers, &[("content-length", &length)]].concat()), body.to_vec()].concat()
}

/// How an answer begins.
pub fn head(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

/// A chunked body's one chunk, and its end.
pub fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

/// A file as the Hub sends it, by range where that is asked for.
pub fn file(seen: &Seen, bytes: &[u8], etag: &str) -> Vec<u8> {
    let etag = format!("\"{etag}\"");
    let same = seen.header("if-range").is_none_or(|was| was == etag);
    match seen.from().filter(|_| same) {
        Some(from) if from >= bytes.len() => answer("416 Range Not Satisfiable", &[], b""),
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            answer("206 Partial Content", &[("etag", &etag), ("content-range", &range)], &bytes[from..])
        }
        None => answer("200 OK", &[("etag", &etag)], bytes),
    }
}

/// A running stand-in; ends with it.
pub struct Standin {
    pub address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    files: Mutex<Files>,
    misbehaviour: Misbehaviour,
    seen: Mutex<Vec<Seen>>,
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Standin {
    /// One that misbehaves where the function says how.
    pub async fn start(files: Files, misbehave: impl Fn(&Seen) -> Option<Vec<Piece>> + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", files, misbehave).await
    }

    pub async fn at(
        address: &str,
        files: Files,
        misbehave: impl Fn(&Seen) -> Option<Vec<Piece>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            Arc::new(State { files: Mutex::new(files), misbehaviour: Box::new(misbehave), seen: Mutex::default() });
        let serving = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self { address, state, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Those for files.
    pub fn files_seen(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path.contains("/resolve/")).collect()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> Option<()> {
    let seen = read(&mut stream, &state).await?;
    let pieces = (state.misbehaviour)(&seen).unwrap_or_else(|| vec![Piece::Bytes(honest(&seen, &state))]);
    let _ = send(&mut stream, pieces).await;
    let _ = stream.shutdown().await;
    Some(())
}

async fn send(stream: &mut TcpStream, pieces: Vec<Piece>) -> std::io::Result<()> {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => stream.write_all(&bytes).await?,
            Piece::Hang => {
                stream.read_to_end(&mut Vec::new()).await?;
            }
            Piece::Drip => loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
            Piece::Wait(gate) => gate.acquire().await.unwrap().forget(),
        }
    }
    Ok(())
}

async fn read(stream: &mut TcpStream, state: &State) -> Option<Seen> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers = lines.filter_map(header).collect();
    let mut all = state.seen.lock().unwrap();
    let nth = all.iter().filter(|seen| seen.path == path).count();
    let seen = Seen { path, headers, nth };
    all.push(seen.clone());
    Some(seen)
}

/// What the Hub would say.
fn honest(seen: &Seen, state: &State) -> Vec<u8> {
    let files = state.files.lock().unwrap();
    if seen.path.starts_with("/api/models/o/m/revision/") {
        return answer("200 OK", &[("content-type", "application/json")], files.listing(COMMIT).as_bytes());
    }
    let path = seen.path.strip_prefix(&format!("/o/m/resolve/{COMMIT}/")).or_else(|| seen.path.strip_prefix("/cdn/"));
    match path.and_then(|path| files.0.get(path)) {
        Some(bytes) => file(seen, bytes, &git(bytes)),
        None => answer("404 Not Found", &[], b"{}"),
    }
}
