//! Files: the page bundle that the binary carries, and the files of registered models. Each has an address that holds its
//! hash, or that of the whole to which it belongs, and an entity tag; parts of it can be asked for.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, SeekFrom},
    path::Path,
    sync::LazyLock,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use headers::{AcceptRanges, ContentLength, ContentRange, ContentType, ETag, HeaderMapExt};
use rust_embed::Embed;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::portion::Portion;
use crate::models::Registry;

/// Bytes read from disk at a time.
const CHUNK: usize = 256 * 1024;
/// For the page: each further worker, and each browser that gets the caches of one before, finds the runtime compiled.
const KEPT: &str = "public, max-age=31536000, immutable";
/// For models, which a worker reads once: a browser's cache was not measured to be faster than this port, and takes the disk once
/// more. See benches/README.md.
const NOT_KEPT: &str = "no-store";

#[derive(Embed)]
#[folder = "harness/dist"]
struct Embedded;

/// The files of the page, compressed as the binary carries them: every browser takes that.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Tells these files from all others.
    pub version: String,
    files: HashMap<String, (Bytes, ETag)>,
}

/// What is said of a file beside its bytes.
struct Entity<'a> {
    path: &'a str,
    etag: &'a ETag,
    length: u64,
    compressed: bool,
    cache: &'static str,
}

/// What the binary carries.
static CARRIED: LazyLock<Bundle> = LazyLock::new(|| Bundle::with(|_| None));

/// Tells the page bundle that the binary carries from every other one.
pub fn page() -> String {
    CARRIED.version.clone()
}

impl Bundle {
    /// What the binary carries; what is in the folder `instead` comes from there. Blocks on the file system.
    pub fn new(instead: Option<&Path>) -> Self {
        match instead {
            None => CARRIED.clone(),
            Some(folder) => Self::with(|name| std::fs::read(folder.join(name)).ok()),
        }
    }

    fn with(instead: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let (mut version, mut files) = (Sha256::new(), HashMap::new());
        for name in Embedded::iter() {
            let (Some(path), Some(own)) = (name.strip_suffix(".gz"), Embedded::get(&name)) else { continue };
            let (bytes, sha256) = match (instead(&name), own.data) {
                (Some(other), _) => {
                    let sha256 = hex(&Sha256::digest(&other));
                    (Bytes::from(other), sha256)
                }
                // The hash was taken when the binary was built.
                (None, Cow::Borrowed(bytes)) => (Bytes::from_static(bytes), hex(&own.metadata.sha256_hash())),
                (None, Cow::Owned(bytes)) => (Bytes::from(bytes), hex(&own.metadata.sha256_hash())),
            };
            version.update(format!("{sha256}  {path}\n"));
            if let Some(etag) = etag(&sha256) {
                files.insert(path.to_owned(), (bytes, etag));
            }
        }
        Self { version: hex(&version.finalize())[..32].to_owned(), files }
    }

    /// A file of the version that is there.
    pub fn answer(&self, version: &str, path: &str, method: &Method, headers: &HeaderMap) -> Response {
        let Some((bytes, etag)) = self.files.get(path).filter(|_| version == self.version) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let entity = Entity { path, etag, length: bytes.len() as u64, compressed: true, cache: KEPT };
        let portion = Portion::of(method, headers, etag, entity.length);
        let range = portion.range(entity.length);
        // Within what is in memory, whose length is a usize.
        entity.answer(portion, Body::from(bytes.slice(range.start as usize..range.end as usize)))
    }
}

/// A file of a model, by the model's id, the hash of its files together, and the path: only of a registered one, only what its
/// workers read, and only while it is what was hashed.
pub async fn model(registry: &Registry, address: &[&str; 3], method: &Method, headers: &HeaderMap) -> Response {
    let &[id, sha256, path] = address;
    let located = registry.get(id).ok().and_then(|model| model.locate(sha256, path));
    let Some((file, etag)) = located.and_then(|file| etag(&file.sha256).map(|etag| (file, etag))) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let opened = async {
        let mut open = tokio::fs::File::open(&file.location).await?;
        let metadata = open.metadata().await?;
        if !file.is(&metadata) {
            return Err(io::Error::other("it has changed since it was hashed"));
        }
        let length = metadata.len();
        let portion = Portion::of(method, headers, &etag, length);
        let range = portion.range(length);
        open.seek(SeekFrom::Start(range.start)).await?;
        Ok((length, portion, open.take(range.end - range.start)))
    };
    match opened.await {
        Ok((length, portion, part)) => {
            let entity = Entity { path, etag: &etag, length, compressed: false, cache: NOT_KEPT };
            entity.answer(portion, Body::from_stream(ReaderStream::with_capacity(part, CHUNK)))
        }
        Err(error) => {
            tracing::warn!(file = %file.location.display(), %error, "a model file cannot be served");
            StatusCode::NOT_FOUND.into_response()
        }
    }
}

impl Entity<'_> {
    fn answer(self, portion: Portion, body: Body) -> Response {
        let Self { path, etag, length, compressed, cache } = self;
        let mut headers = HeaderMap::new();
        headers.typed_insert(etag.clone());
        headers.typed_insert(AcceptRanges::bytes());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        let range = portion.range(length);
        let status = match portion {
            Portion::Unchanged => return (StatusCode::NOT_MODIFIED, headers).into_response(),
            Portion::Unsatisfiable => {
                headers.typed_insert(ContentRange::unsatisfied_bytes(length));
                return (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response();
            }
            Portion::Whole => StatusCode::OK,
            Portion::Part(ref part) => {
                let told = ContentRange::bytes(part.clone(), length);
                told.into_iter().for_each(|told| headers.typed_insert(told));
                StatusCode::PARTIAL_CONTENT
            }
        };
        headers.typed_insert(ContentType::from(mime_guess::from_path(path).first_or_octet_stream()));
        headers.typed_insert(ContentLength(range.end - range.start));
        if compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        (status, headers, body).into_response()
    }
}

/// The strong entity tag of what has that hash.
fn etag(sha256: &str) -> Option<ETag> {
    format!("\"{sha256}\"").parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
