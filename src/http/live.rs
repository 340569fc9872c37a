//! Live: the page that shows what the service does, which the binary carries, and the calls that it makes.

use std::{borrow::Cow, convert::Infallible, fmt::Write};

use axum::{
    Router,
    extract::{ConnectInfo, Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use rust_embed::{Embed, EmbeddedFile};
use tower::Service;

use super::{Names, Peer};

#[derive(Embed)]
#[folder = "live/dist"]
struct Bundle;

/// Under it nothing runs and nothing is reached that does not come from here. Pictures and sound that were chosen or made
/// are blobs of the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; \
                      media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and its calls.
pub struct Live<S> {
    /// Answers the calls.
    pub calls: S,
    /// The names by which it may be opened.
    pub names: Names,
}

impl<S> Live<S>
where
    S: Service<Request, Response: IntoResponse, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    /// Where what is.
    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(async |headers: HeaderMap| file("index.html", &headers)))
            .route("/{file}", get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)))
            .route_service("/{service}/{method}", self.calls)
            .layer(middleware::from_fn_with_state(self.names, guard))
    }
}

/// Turns away whoever reached this port under another name, and puts the security headers on answers.
async fn guard(
    State(names): State<Names>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if !names.have(request.headers().get(header::HOST)) {
        let message =
            "the live page is not served under this name; open it by address, or name it with --cors-origin\n";
        return (StatusCode::FORBIDDEN, message).into_response();
    }
    // Calls know by it who calls.
    request.extensions_mut().insert(peer);
    let mut response = next.run(request).await;
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A file of the page, compressed as the binary carries it: every browser takes that.
fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(EmbeddedFile { data, metadata }) = Bundle::get(&format!("{name}.gz")) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = metadata.sha256_hash().iter().fold(String::from("\""), |mut tag, byte| {
        // A string takes whatever is written.
        let _ = write!(tag, "{byte:02x}");
        tag
    }) + "\"";
    let kept = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    // It is asked for each time, and sent where it has changed.
    let known = [(header::CACHE_CONTROL, "no-cache".to_owned()), (header::ETAG, tag.clone())];
    if kept.is_some_and(|tags| tags.split(',').any(|kept| kept.trim().trim_start_matches("W/") == tag)) {
        return (StatusCode::NOT_MODIFIED, known).into_response();
    }
    let body = match data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let content = [
        (header::CONTENT_TYPE, mime_guess::from_path(name).first_or_octet_stream().to_string()),
        (header::CONTENT_ENCODING, "gzip".to_owned()),
    ];
    (known, content, body).into_response()
}
