//! Ids of runs: when they began, and what tells those of one second apart.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// The id of a run, such as `20261130-142501-3fa94c`. Ids sort by when their runs began.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Its bytes.
    const LENGTH: usize = 22;

    /// The id of a run that began at a time (milliseconds since 1970, before the year 10000), with what was drawn for it.
    pub fn new(started_ms: u64, drawn: u32) -> Self {
        const LATEST: u64 = 253_402_300_799;
        let began = UNIX_EPOCH + Duration::from_secs((started_ms / 1000).min(LATEST));
        let text = humantime::format_rfc3339_seconds(began).to_string();
        let time: String = text.chars().filter(char::is_ascii_digit).collect();
        let (day, clock) = time.split_at(8);
        Self(format!("{day}-{clock}-{:06x}", drawn & 0xff_ffff))
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.len() == Self::LENGTH
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 15 => byte == b'-',
                0..15 => byte.is_ascii_digit(),
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            });
        if fits { Ok(Self(text.into())) } else { Err(format!("{text:?} is not the id of a run")) }
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
