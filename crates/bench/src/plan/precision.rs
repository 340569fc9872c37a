//! Precision: how a plan says which of a model's graphs is to run.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Which of a model's graphs is to run. Written as `auto`, as a dtype (`q8`), or as a width (`4bit`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Precision {
    /// The service's choice.
    Auto,
    /// The dtype of transformers.js.
    Dtype(String),
    /// Whatever graph has weights of so many bits.
    Bits(u32),
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Dtype(name) => formatter.write_str(name),
            Self::Bits(bits) => write!(formatter, "{bits}bit"),
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.strip_suffix("bit").map(str::parse::<u32>) {
            Some(Ok(bits)) if text == format!("{bits}bit") => Ok(Self::Bits(bits)),
            Some(_) => Err(format!("{text:?} is not a precision: a width is written as 4bit")),
            None if text.is_empty() => Err("a precision has a name".into()),
            None => Ok(Self::Dtype(text.into())),
        }
    }
}

impl TryFrom<String> for Precision {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Precision> for String {
    fn from(precision: Precision) -> Self {
        precision.to_string()
    }
}
