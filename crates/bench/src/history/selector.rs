//! Selector: how somebody names a run.

use std::str::FromStr;

/// Names a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// So many before the latest one: `latest` is 0, `latest~1` the one before.
    Latest(u32),
    /// The one whose id begins so.
    Prefix(String),
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest(0));
        }
        if let Some(back) = text.strip_prefix("latest~") {
            let back = back.parse().map_err(|_| format!("{text:?} is no run: after latest~ comes a number"))?;
            return Ok(Self::Latest(back));
        }
        let is_of_id = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(is_of_id) {
            return Err(format!("{text:?} is no run: give the beginning of its id, latest, or latest~1"));
        }
        Ok(Self::Prefix(text.into()))
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest(0) => formatter.write_str("latest"),
            Self::Latest(back) => write!(formatter, "latest~{back}"),
            Self::Prefix(prefix) => formatter.write_str(prefix),
        }
    }
}
