//! Collector: where traces go, as the settings say it.

use std::{convert::Infallible, fmt, str::FromStr};

use http::{HeaderName, HeaderValue, Uri};

/// Where traces go, and which.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The collector; without one there are no traces.
    pub endpoint: Option<Endpoint>,
    /// What it is to be told with each request.
    pub headers: Vec<Header>,
    /// Part of the requests that are traced where the caller does not say.
    pub share: f64,
}

/// Address of a collector that takes OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Where it takes traces.
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.trim_end_matches('/'))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri = text.parse::<Uri>().ok().filter(|uri| {
            uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none()
        });
        match uri.and_then(|uri| uri.into_parts().authority) {
            Some(authority) if !authority.as_str().contains('@') => Ok(Self(text.to_owned())),
            _ => {
                Err("must be the http:// address of a collector, like http://localhost:4318; one that is only reached \
                      with TLS needs a collector of your own before it"
                    .into())
            }
        }
    }
}

/// A header for the collector, as `NAME=VALUE`. It is a secret: it is shown nowhere, and reading it never fails, since
/// the error would repeat it.
#[derive(Clone, PartialEq, Eq)]
pub struct Header(String);

impl Header {
    /// Name and value, where it has both.
    pub fn parts(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = self.0.split_once('=')?;
        Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Header(…)")
    }
}

impl FromStr for Header {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Header};

    #[test]
    fn an_endpoint_is_an_address() {
        for good in ["http://localhost:4318", "http://localhost:4318/", "http://[::1]:4318/otlp"] {
            let endpoint: Endpoint = good.parse().unwrap();
            assert_eq!(endpoint.traces(), format!("{}/v1/traces", good.trim_end_matches('/')));
        }
        for bad in ["", "localhost:4318", "https://localhost", "http://", "http://u:p@a", "http://a?b"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_is_not_shown() {
        let header: Header = "authorization=Bearer a=b".parse().unwrap();
        assert_eq!(header.parts().unwrap().1, "Bearer a=b");
        assert!(!format!("{header:?}").contains("Bearer"));
        for bad in ["", "name", "a b=c", "=c", "name=a\nb"] {
            assert_eq!(bad.parse::<Header>().unwrap().parts(), None, "{bad:?}");
        }
    }
}
