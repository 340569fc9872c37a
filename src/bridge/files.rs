//! Files: the page bundle that the binary carries, and the files of registered models.

use std::{borrow::Cow, path::Path};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use rust_embed::Embed;
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;

use crate::models::Registry;

/// Bytes read from disk at a time.
const CHUNK: usize = 256 * 1024;

#[derive(Embed)]
#[folder = "harness/dist"]
struct Bundle;

/// Tells this page bundle from every other one.
pub fn page() -> String {
    let mut hash = Sha256::new();
    for name in Bundle::iter() {
        hash.update(name.as_bytes());
        Bundle::get(&name).into_iter().for_each(|file| hash.update(file.metadata.sha256_hash()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of the page bundle, compressed as the binary carries it: every browser takes that. What is in the folder
/// `instead` comes from there.
pub async fn bundle(path: &str, instead: Option<&Path>) -> Response {
    let path = path.trim_start_matches('/');
    let name = format!("{path}.gz");
    let other = match instead.filter(|_| !name.contains("..")) {
        Some(folder) => tokio::fs::read(folder.join(&name)).await.ok(),
        None => None,
    };
    let body = match (other, Bundle::get(&name).map(|file| file.data)) {
        (Some(bytes), _) => Bytes::from(bytes),
        (None, Some(Cow::Borrowed(bytes))) => Bytes::from_static(bytes),
        (None, Some(Cow::Owned(bytes))) => Bytes::from(bytes),
        (None, None) => return StatusCode::NOT_FOUND.into_response(),
    };
    // Kept for the life of the browser: each further worker finds the runtime compiled.
    let headers = [
        (header::CONTENT_TYPE, mime_guess::from_path(path).first_or_octet_stream().to_string()),
        (header::CONTENT_ENCODING, "gzip".to_owned()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
    ];
    (headers, body).into_response()
}

/// A file of a model: only of a registered one, and only one that its workers read.
pub async fn model(registry: &Registry, id: &str, path: &str) -> Response {
    let Some(location) = registry.get(id).ok().and_then(|model| model.locate(path)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let opened = async {
        let file = tokio::fs::File::open(&location).await?;
        let length = file.metadata().await?.len();
        std::io::Result::Ok((file, length))
    };
    match opened.await {
        Ok((file, length)) => {
            let kind = if path.ends_with(".json") { "application/json" } else { "application/octet-stream" };
            // Not kept: a model is read once by each worker, and is large.
            let headers = [
                (header::CONTENT_TYPE, kind.to_owned()),
                (header::CONTENT_LENGTH, length.to_string()),
                (header::CACHE_CONTROL, "no-store".to_owned()),
            ];
            (headers, Body::from_stream(ReaderStream::with_capacity(file, CHUNK))).into_response()
        }
        Err(error) => {
            tracing::warn!(file = %location.display(), %error, "a model file cannot be read");
            StatusCode::NOT_FOUND.into_response()
        }
    }
}
