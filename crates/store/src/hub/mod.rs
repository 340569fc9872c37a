//! Hub: asks the Hugging Face Hub, or a mirror of it, which files a repository has, and fetches them.
//!
//! Every wait has a deadline, every answer a limit, and every try a last one. A file counts when its hash is what the Hub says
//! of it, so that whoever sends the bytes need not be believed.

mod fetch;
mod http;
mod listing;
mod tries;

use std::{fmt, path::Path, time::Duration};

use hyper::header::HeaderValue;

pub use self::listing::Listing;
use self::{http::Http, tries::Tries};
use crate::{Endpoint, FilePath, Host, Pinned};

/// Most bytes of the Hub's answer about a repository, which has a few hundred for each file.
const MOST_LISTING: u64 = 16 << 20;
/// Most bytes of a file that is read and not kept.
const MOST_READ: u64 = 4 << 20;

/// Where models come from, and how long they may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Hub, or a mirror.
    pub endpoint: Endpoint,
    /// Hosts beside it to which it may send on.
    pub hosts: Vec<Host>,
    /// What the Hub knows its user by.
    pub token: Option<Token>,
    /// Files that come at the same time.
    pub at_once: usize,
    /// Deadlines.
    pub waits: Waits,
}

/// Deadlines.
#[derive(Clone, Debug)]
pub struct Waits {
    /// Until an answer begins.
    pub answer: Duration,
    /// In which some bytes of it have to come, each time.
    pub stall: Duration,
    /// Before a second try; each further one waits twice as long.
    pub pause: Duration,
    /// Longest wait before another try; who is told to wait longer gives up.
    pub longest_pause: Duration,
    /// Tries without getting further.
    pub tries: u32,
    /// For all of it.
    pub whole: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            tries: 6,
            whole: Duration::from_secs(6 * 3600),
        }
    }
}

/// A secret, which is never written anywhere.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// Takes what a file has; the error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() || text.len() > 4096 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is one line of visible characters");
        }
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| "a token is one line")?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

/// What happens while files come.
#[derive(Debug)]
pub enum Event<'a> {
    /// A model gives way to this one.
    GivesWay {
        /// Which.
        name: &'a str,
        /// What it had.
        bytes: u64,
    },
    /// So much is to come.
    Begins {
        /// Files.
        files: usize,
        /// Bytes.
        bytes: u64,
    },
    /// Bytes came, or were there of a try before.
    Came(u64),
    /// Bytes have to come again.
    Lost(u64),
    /// Something failed and is tried again.
    Again {
        /// What it is about.
        what: &'a str,
        /// What went wrong.
        why: &'a Why,
        /// Until then.
        pause: Duration,
    },
    /// A file is whole.
    Done(&'a FilePath),
    /// What was not pulled is gone with the folder that was replaced: it was made of another commit, or it is a link.
    LeftOut(&'a Path),
}

/// Who is told.
pub type Tell<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// The Hub did not give what it should.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}{}", tried(*.tries))]
pub struct HubError {
    /// What it is about.
    pub what: String,
    /// What went wrong last.
    pub why: Why,
    /// How often it was tried.
    pub tries: u32,
}

fn tried(tries: u32) -> String {
    if tries > 1 { format!(" (tried {tries} times)") } else { String::new() }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nobody answers.
    #[error("{host} cannot be reached: {error}; check the network, or name a mirror with --hub-endpoint")]
    Unreachable {
        /// Who.
        host: String,
        /// What the system says.
        error: String,
    },
    /// An answer ended early.
    #[error("the connection to {host} broke: {error}")]
    Cut {
        /// With whom.
        host: String,
        /// What the system says.
        error: String,
    },
    /// An answer did not begin, or came too slowly.
    #[error("{host} did not send enough for {} s", .time.as_secs_f64())]
    Slow {
        /// Who.
        host: String,
        /// The deadline.
        time: Duration,
    },
    /// All together took too long.
    #[error("not done within {} s; the next pull goes on where this one ended. See --hub-deadline", .0.as_secs_f64())]
    Deadline(Duration),
    /// Who asks may not have it.
    #[error(
        "{host} refuses it ({code}): it needs a token that may read it, see --hub-token-file; or its owner has to grant access"
    )]
    Denied {
        /// Who.
        host: String,
        /// The status.
        code: u16,
    },
    /// There is none.
    #[error("{host} has no such thing (404): check the name and the revision; what is private needs --hub-token-file")]
    NotFound {
        /// Who.
        host: String,
    },
    /// Too many requests.
    #[error("{host} has had too many requests (429){}", .after.map(|time| format!("; come back in {} s", time.as_secs())).unwrap_or_default())]
    TooMany {
        /// Who.
        host: String,
        /// When to come back.
        after: Option<Duration>,
    },
    /// Another status.
    #[error("{host} answers with the status {code}")]
    Status {
        /// Who.
        host: String,
        /// The status.
        code: u16,
        /// When to come back.
        after: Option<Duration>,
    },
    /// It sends on to somebody else.
    #[error("it is sent on to {host}, which is not allowed; see --hub-host")]
    Elsewhere {
        /// To whom.
        host: String,
    },
    /// It sends on and on.
    #[error("{host} sends it on more than {} times", http::MOST_REDIRECTS)]
    Loop {
        /// Who did last.
        host: String,
    },
    /// An answer has more bytes than it may have.
    #[error("{host} sends more than {limit} bytes")]
    TooLong {
        /// Who.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// An answer is not what it should be.
    #[error("{host} answers what cannot be understood: {error}")]
    Nonsense {
        /// Who.
        host: String,
        /// What is wrong with it.
        error: String,
    },
    /// A file has another length than the Hub says.
    #[error("{host} sends {is} bytes, and the Hub says that there are {must}")]
    Length {
        /// Who.
        host: String,
        /// What came.
        is: u64,
        /// What should.
        must: u64,
    },
    /// A file changed between two parts of it.
    #[error("{host} has changed the file meanwhile; it begins anew")]
    Changed {
        /// Who.
        host: String,
    },
    /// A file has other bytes than the Hub says.
    #[error("what came has not the hash that the Hub says; it was thrown away")]
    Hash,
}

/// The Hub, or a mirror.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    http: Http,
}

impl Hub {
    /// Asks nobody yet.
    pub fn new(settings: Settings) -> Result<Self, HubError> {
        let http = Http::new(&settings).map_err(|error| HubError {
            what: settings.endpoint.to_string(),
            why: Why::Unreachable { host: "this machine's TLS".into(), error },
            tries: 1,
        })?;
        Ok(Self { settings, http })
    }

    /// How long a pull may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.settings.waits.whole
    }

    /// Who is asked.
    pub fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// What a file of a listing has, which is small.
    pub async fn read(&self, listing: &Listing, file: &Pinned, tell: Tell<'_>) -> Result<Vec<u8>, HubError> {
        let url = self.settings.endpoint.file(listing, &file.path);
        let bytes = self.text(&url, file.path.as_ref(), MOST_READ, tell).await?;
        let mut hasher = crate::hash::Hasher::new(&file.hash, file.bytes);
        hasher.update(&bytes);
        let what = || file.path.to_string();
        if hasher.finish() == file.hash { Ok(bytes) } else { Err(HubError { what: what(), why: Why::Hash, tries: 1 }) }
    }

    /// A whole answer, which has a limit.
    async fn text(&self, url: &url::Url, what: &str, limit: u64, tell: Tell<'_>) -> Result<Vec<u8>, HubError> {
        let mut tries = Tries::new(&self.settings.waits);
        loop {
            let got = async { self.http.get(url, None).await?.all(limit).await };
            let why = match got.await {
                Ok(bytes) => return Ok(bytes),
                Err(why) => why,
            };
            let pause = tries.failed(&why, 0).ok_or_else(|| tries.error(what, why.clone()))?;
            tell(Event::Again { what, why: &why, pause });
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_not_written_anywhere() {
        let token = Token::parse(" hf_secret\n").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        for wrong in ["", "two lines\nhf_secret", "hf secret", "hf_sécret"] {
            assert!(!Token::parse(wrong).unwrap_err().contains("secret"));
        }
    }
}
