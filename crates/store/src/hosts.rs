//! Hosts: who is asked, and to whom that one may send on. Pure.

use std::{fmt, str::FromStr};

use url::Url;

#[cfg(feature = "hub")]
use crate::{FilePath, Source, hub::Listing};

/// The address of the Hub or of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut url: Url = text.parse().map_err(|error| format!("{error}; write it like https://huggingface.co"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("must begin with https:// or http://".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user or a password; see --hub-token-file".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must end with its path".into());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl Endpoint {
    /// Whether what is sent there is read by nobody on the way: over TLS, or within this machine.
    pub fn is_private(&self) -> bool {
        let local = match self.0.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        self.0.scheme() == "https" || local
    }
}

#[cfg(feature = "hub")]
impl Endpoint {
    /// Where it tells what a repository has.
    pub(crate) fn listing(&self, source: &Source) -> Url {
        let mut url = self.below(["api", "models"].into_iter().chain(source.repo.as_ref().split('/')));
        // One part, whatever slashes a revision has.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.push("revision").push(source.revision.as_ref());
        }
        url.set_query(Some("blobs=true"));
        url
    }

    /// Where it has a file.
    pub(crate) fn file(&self, listing: &Listing, path: &FilePath) -> Url {
        let Listing { source, commit, .. } = listing;
        let repo = source.repo.as_ref().split('/');
        self.below(repo.chain(["resolve", commit.as_ref()]).chain(path.as_ref().split('/')))
    }

    fn below<'a>(&self, parts: impl Iterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// Whether an address is its own, so that it may see the token.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }

    /// Whether it may send on to there: to itself and to these hosts, and from TLS to TLS alone.
    pub(crate) fn may_send_to(&self, url: &Url, hosts: &[Host]) -> bool {
        let scheme = url.scheme() == "https" || (url.scheme() == "http" && self.0.scheme() == "http");
        scheme && (self.is_own(url) || hosts.iter().any(|host| host.fits(url)))
    }
}

/// A host, `*.` and what a host ends in, either with a port where it is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    below: bool,
    port: Option<u16>,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it like cdn.example.org, *.example.org, or with a port".to_owned();
        let (rest, below) = text.strip_prefix("*.").map_or((text, false), |rest| (rest, true));
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if name.is_empty() || !name.bytes().all(plain) || name.starts_with('.') || (below && !name.contains('.')) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_ascii_lowercase(), below, port })
    }
}

#[cfg(feature = "hub")]
impl Host {
    fn fits(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let name = if self.below {
            host.strip_suffix(&self.name).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
        } else {
            host == self.name
        };
        name && self.port == url.port()
    }
}

/// An address's host, for words.
#[cfg(feature = "hub")]
pub(crate) fn name(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}

#[cfg(feature = "hub")]
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::{Endpoint, Host, Listing};

    fn hosts() -> Vec<Host> {
        ["huggingface.co", "*.hf.co", "127.0.0.2:81"].map(|host| host.parse().unwrap()).to_vec()
    }

    #[test]
    fn it_sends_on_to_its_own_hosts_alone() {
        let endpoint: Endpoint = "https://mirror.example/hub/".parse().unwrap();
        let may = |to: &str| endpoint.may_send_to(&Url::parse(to).unwrap(), &hosts());
        for good in ["https://mirror.example/x", "https://cas-bridge.xethub.hf.co/x?y", "https://huggingface.co"] {
            assert!(may(good), "{good}");
        }
        for wrong in [
            "http://mirror.example/x",
            "https://mirror.example:444/x",
            "https://hf.co/x",
            "https://evilhf.co/x",
            "https://.hf.co/x",
            "https://hf.co.evil.example/x",
            "https://huggingface.co:8443/x",
            "https://huggingface.co@evil.example/x",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
            "https://a.huggingface.co/",
        ] {
            assert!(!may(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_for_the_same_scheme_host_and_port() {
        let endpoint: Endpoint = "http://127.0.0.1:80/".parse().unwrap();
        assert!(endpoint.is_own(&Url::parse("http://127.0.0.1/x").unwrap()));
        for other in ["http://127.0.0.1:81/", "https://127.0.0.1:80/", "http://127.0.0.2/", "http://localhost/"] {
            assert!(!endpoint.is_own(&Url::parse(other).unwrap()), "{other}");
        }
    }

    #[test]
    fn a_token_does_not_travel_in_clear_text() {
        let private = |endpoint: &str| endpoint.parse::<Endpoint>().unwrap().is_private();
        assert!(["https://h", "http://127.0.0.9:1", "http://localhost", "http://[::1]"].into_iter().all(private));
        assert!(!["http://h", "http://127.0.0.1.example", "http://10.0.0.1"].into_iter().any(private));
    }

    #[test]
    fn addresses_are_those_of_the_hub() {
        let endpoint: Endpoint = "https://mirror.example/hub/".parse().unwrap();
        let source: crate::Source = "a/b@refs/pr/1".parse().unwrap();
        let listing = endpoint.listing(&source);
        assert_eq!(listing.as_str(), "https://mirror.example/hub/api/models/a/b/revision/refs%2Fpr%2F1?blobs=true");
        let listing = Listing { source, commit: "c0".parse().unwrap(), files: Vec::new() };
        let file = endpoint.file(&listing, &"onnx/model.onnx".parse().unwrap());
        assert_eq!(file.as_str(), "https://mirror.example/hub/a/b/resolve/c0/onnx/model.onnx");
        assert_eq!(endpoint.to_string(), "https://mirror.example/hub");
    }

    #[test]
    fn an_endpoint_has_no_secrets_and_a_host_no_tricks() {
        for wrong in
            ["", "huggingface.co", "ftp://x", "https://u:p@x", "https://u@x", "https://x?y", "https://", "file:///x"]
        {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
        for wrong in ["", "*", "*.", "*.co", "a*b.c", "a/b", "a:b", ".a.b", "https://a.b"] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_trap(text in "\\PC{0,60}") {
            let _ = (text.parse::<Endpoint>(), text.parse::<Host>());
        }
    }
}
