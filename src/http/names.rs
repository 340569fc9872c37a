//! Names: those by which the live page may be opened.
//!
//! A stranger's page can point the name that it came from at this service ("DNS rebinding"), and then it is of one origin
//! with it for its browser. It cannot do so with an address, nor with a name that is not its own.

use std::net::IpAddr;

use axum::http::{HeaderValue, uri::Authority};

/// Stands for every name.
const ANY: &str = "*";

/// The names.
#[derive(Clone, Debug)]
pub struct Names(Vec<String>);

impl Names {
    /// Addresses, `localhost`, and the hosts of these authorities; every name where one of them is `*`.
    pub fn new<'a>(authorities: impl Iterator<Item = &'a str>) -> Self {
        Self(authorities.map(|authority| host(authority).unwrap_or(authority).to_owned()).collect())
    }

    /// Whether a request to that Host is let in.
    pub fn have(&self, given: Option<&HeaderValue>) -> bool {
        let authority = given.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let Some(name) = authority.as_ref().and_then(|authority| host(authority.as_str())) else { return false };
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        literal.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|known| known.eq_ignore_ascii_case(name) || known == ANY)
    }
}

/// The host of `host:port`, where there is no user before it.
fn host(authority: &str) -> Option<&str> {
    let end = match authority.rfind(']') {
        Some(end) => end + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let host = &authority[..end];
    (!host.is_empty() && !authority.contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::Names;

    fn have(names: &[&str], host: &str) -> bool {
        Names::new(names.iter().copied()).have(Some(&HeaderValue::from_str(host).unwrap()))
    }

    #[test]
    fn addresses_and_known_names_are_let_in() {
        for host in ["127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "192.168.1.7:80", "localhost", "LocalHost:8080"] {
            assert!(have(&[], host), "{host}");
        }
        for host in ["infer.example", "infer.example:8080", "INFER.example:1"] {
            assert!(have(&["infer.example:8443"], host), "{host}");
            assert!(have(&["*"], host), "{host}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil@127.0.0.1",
            "[evil.example]",
            "2130706433",
            ":8080",
            "",
            "a b",
        ] {
            assert!(!have(&["infer.example"], host), "{host}");
        }
        assert!(!Names::new(["infer.example"].into_iter()).have(None));
    }
}
