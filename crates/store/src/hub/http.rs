//! HTTP: one question, the hosts that it is sent on to, and an answer that comes in time and has a limit.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::{Settings, Token, Waits, Why};
use crate::{Endpoint, Host, hosts};

/// How often an answer may be somewhere else.
pub(super) const MOST_REDIRECTS: usize = 8;
/// Bytes that have to come within each `stall`.
const LEAST_BYTES: u64 = 16 * 1024;

/// Who asks.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    endpoint: Endpoint,
    hosts: Vec<Host>,
    token: Option<Token>,
    waits: Waits,
}

/// Where in a file an answer is to begin, and what the file was then.
#[derive(Clone, Debug)]
pub(super) struct From {
    pub at: u64,
    pub etag: Option<String>,
}

/// An answer whose body is still to come.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Who gave it.
    pub host: String,
    body: Incoming,
    stall: Duration,
    /// Until when enough has to have come.
    until: Instant,
    /// What came of that.
    came: u64,
}

impl Http {
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // Without a certificate every TLS connection fails, and says why.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let Settings { endpoint, hosts, token, waits, .. } = settings.clone();
        Ok(Self { client, endpoint, hosts, token, waits })
    }

    /// Asks for all of something, or for what comes after a place in it.
    pub async fn get(&self, url: &Url, from: Option<&From>) -> Result<Answer, Why> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let host = hosts::name(&url);
            let asked = timeout(self.waits.answer, self.client.request(self.request(&url, from)?)).await;
            let slow = || Why::Slow { host: host.clone(), time: self.waits.answer };
            let response = asked.map_err(|_| slow())?.map_err(|error| {
                let (host, why) = (host.clone(), chain(&error));
                if error.is_connect() { Why::Unreachable { host, error: why } } else { Why::Cut { host, error: why } }
            })?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return self.answer(host, response);
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            let to = to
                .and_then(|to| url.join(to).ok())
                .ok_or_else(|| Why::Nonsense { host: host.clone(), error: "it sends on to nowhere".into() })?;
            if !self.endpoint.may_send_to(&to, &self.hosts) {
                return Err(Why::Elsewhere { host: hosts::name(&to) });
            }
            url = to;
        }
        Err(Why::Loop { host: hosts::name(&url) })
    }

    fn request(&self, url: &Url, from: Option<&From>) -> Result<Request<Empty<Bytes>>, Why> {
        let mut request = Request::get(url.as_str())
            .header(header::USER_AGENT, concat!("webinfer/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT_ENCODING, "identity");
        // Only the endpoint itself sees the token, wherever it sends on to.
        if let Some(Token(token)) = self.token.as_ref().filter(|_| self.endpoint.is_own(url)) {
            request = request.header(header::AUTHORIZATION, token);
        }
        if let Some(From { at, etag }) = from {
            request = request.header(header::RANGE, format!("bytes={at}-"));
            if let Some(etag) = etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
                request = request.header(header::IF_RANGE, etag);
            }
        }
        let nonsense = |error: hyper::http::Error| Why::Nonsense { host: hosts::name(url), error: error.to_string() };
        request.body(Empty::new()).map_err(nonsense)
    }

    fn answer(&self, host: String, response: Response<Incoming>) -> Result<Answer, Why> {
        let (parts, body) = response.into_parts();
        let after = || {
            let seconds = parts.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
            Some(Duration::from_secs(seconds))
        };
        match parts.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                host,
                body,
                stall: self.waits.stall,
                until: Instant::now() + self.waits.stall,
                came: 0,
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Why::Denied { host, code: parts.status.as_u16() }),
            StatusCode::NOT_FOUND => Err(Why::NotFound { host }),
            StatusCode::TOO_MANY_REQUESTS => Err(Why::TooMany { host, after: after() }),
            status => Err(Why::Status { host, code: status.as_u16(), after: after() }),
        }
    }
}

impl Answer {
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What tells this state of a file from another; a weak one tells less.
    pub fn etag(&self) -> Option<&str> {
        self.header(header::ETAG).filter(|etag| etag.starts_with('"') && etag.len() <= 256)
    }

    /// Bytes that are to come, where it says.
    pub fn length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.parse().ok()
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Why> {
        loop {
            let frame = timeout_at(self.until, self.body.frame()).await;
            let frame = frame.map_err(|_| Why::Slow { host: self.host.clone(), time: self.stall })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Why::Cut { host: self.host.clone(), error: chain(&error) })?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.came += bytes.len() as u64;
            if self.came >= LEAST_BYTES {
                (self.until, self.came) = (Instant::now() + self.stall, 0);
            }
            return Ok(Some(bytes));
        }
    }

    /// All of it.
    pub async fn all(mut self, limit: u64) -> Result<Vec<u8>, Why> {
        let mut all = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            all.extend_from_slice(&bytes);
            if all.len() as u64 > limit {
                return Err(Why::TooLong { host: self.host, limit });
            }
        }
        Ok(all)
    }
}

/// What an error says with all that it has of others.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        inner = error.source();
    }
    words
}
