//! Web: gRPC-Web, for pages of the origins that are allowed.
//!
//! A page may send requests to every address that its machine reaches, and where the name of its own origin is pointed at
//! this service ("DNS rebinding") its browser lets it read the answers. So a request of an origin that is not allowed is
//! refused, while CORS alone would only withhold the answer.

use std::{str::FromStr, time::Duration};

use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{HOST, ORIGIN},
};
use tonic::Status;
use tower::filter::Predicate;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{call, status, trailer};

/// What pages may read of the head of an answer, beside its content.
const EXPOSED: [HeaderName; 6] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static(status::PUSHBACK),
    HeaderName::from_static(call::REQUEST_ID),
    trailer::SIMULATED,
];
/// How long a browser may remember what pages may send.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// Stands for every origin.
const ANY: &str = "*";

/// Origin of pages that may call, or `*` for all: scheme, host and port, as browsers write it (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.parse::<Uri>().ok().map(Uri::into_parts);
        let (scheme, authority) = parts.and_then(|parts| Some((parts.scheme?, parts.authority?))).unzip();
        let written = scheme.zip(authority).map(|(scheme, authority)| format!("{scheme}://{authority}"));
        let is_plain = written.is_some_and(|written| written == text) && !text.contains('@');
        match HeaderValue::from_str(text) {
            // Browsers write it so.
            Ok(value) if text == ANY || is_plain && text == text.to_lowercase() => Ok(Self(value)),
            _ => Err("must be a scheme, a host and, where it is not the usual one, a port, all in lower case, like \
                      https://app.example:8443; or * for all"
                .into()),
        }
    }
}

impl Origin {
    /// The host and port; `*` where it stands for all.
    pub fn authority(&self) -> &str {
        let text = self.0.to_str().unwrap_or_default();
        text.split_once("://").map_or(text, |(_, authority)| authority)
    }
}

/// Whose pages may call.
#[derive(Clone, Debug)]
pub struct Allowed {
    origins: Vec<HeaderValue>,
    /// Whether those may that come from the listener itself.
    own: bool,
}

impl Allowed {
    /// Pages of these origins.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self { origins: origins.into_iter().map(|Origin(value)| value).collect(), own: false }
    }

    /// Pages of these origins, and those of the address that is called. Whoever lets these in must know that address: it is
    /// what the caller says.
    pub fn with_own(origins: Vec<Origin>) -> Self {
        Self { own: true, ..Self::new(origins) }
    }

    /// Whether there are origins.
    pub fn any(&self) -> bool {
        !self.origins.is_empty()
    }

    fn has(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|allowed| allowed == origin || allowed == ANY)
    }

    fn is_own(&self, origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
        let authority = origin.as_bytes().strip_prefix(b"http://");
        self.own && authority.is_some() && authority == host.map(HeaderValue::as_bytes)
    }

    /// Tells browsers what those pages may send and read.
    pub fn cors(&self) -> CorsLayer {
        let allowed = self.clone();
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| allowed.has(origin)))
            .allow_methods([Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(MAX_AGE)
    }
}

/// Refuses what other pages send.
impl<B> Predicate<Request<B>> for Allowed {
    type Request = Request<B>;

    fn check(&mut self, request: Request<B>) -> Result<Request<B>, tower::BoxError> {
        let host = request.headers().get(HOST);
        match request.headers().get(ORIGIN).filter(|origin| !self.has(origin) && !self.is_own(origin, host)) {
            None => Ok(request),
            Some(origin) => Err(Status::permission_denied(format!(
                "pages of the origin {:?} may not call this service; its --cors-origin names those that may",
                crate::error::shorten(&String::from_utf8_lossy(origin.as_bytes()))
            ))
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{
        Request,
        header::{HOST, ORIGIN},
    };
    use tower::filter::Predicate;

    use super::{Allowed, Origin};

    fn allowed(origins: &[&str]) -> Allowed {
        Allowed::new(origins.iter().map(|origin| origin.parse().unwrap()).collect())
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for good in ["http://localhost:3000", "https://app.example", "http://[::1]:8080", "http://127.0.0.1:1", "*"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "null",
            "app.example",
            "https://",
            "https://a/",
            "https://a/b",
            "https://A.b",
            "https://u@a",
            "https://a\n",
            "*.a",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_pages_that_are_allowed_come_in() {
        let comes_in = |allowed: &Allowed, origin: &str| {
            allowed.clone().check(Request::builder().header(ORIGIN, origin).body(()).unwrap()).is_ok()
        };
        let one = allowed(&["https://app.example"]);
        assert!(comes_in(&one, "https://app.example"));
        for other in ["https://app.example:8443", "http://app.example", "https://app.example.evil", "null", "*", ""] {
            assert!(!comes_in(&one, other), "{other}");
        }
        assert!(comes_in(&allowed(&["*"]), "null"));
        assert!(!comes_in(&allowed(&[]), "https://app.example"));
        let own = |origin: &str, host: &str| {
            let request = Request::builder().header(ORIGIN, origin).header(HOST, host).body(()).unwrap();
            Allowed::with_own(Vec::new()).check(request).is_ok()
        };
        assert!(own("http://127.0.0.1:8080", "127.0.0.1:8080"));
        for (origin, host) in [
            ("https://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
            ("http://evil.example", "127.0.0.1:8080"),
            ("null", "127.0.0.1:8080"),
            ("", ""),
        ] {
            assert!(!own(origin, host), "{origin} at {host}");
        }
        // Who is no page says nothing of an origin.
        assert!(allowed(&[]).check(Request::new(())).is_ok());
    }
}
