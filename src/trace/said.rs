//! Said: what the caller of a call says in its metadata: the request's id, and the trace that it belongs to.

use std::fmt;

/// Longest id of a request.
const LONGEST_ID: usize = 128;
/// Longest list of what tracing systems have to say to one another (W3C Trace Context, "tracestate").
const LONGEST_STATE: usize = 512;

/// The metadata, as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// The request's id.
    pub request_id: Option<&'a str>,
    /// The caller's span.
    pub traceparent: Option<&'a str>,
    /// What goes with it.
    pub tracestate: Option<&'a str>,
}

/// Id of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The caller's span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// Its id.
    pub span: u64,
    /// Whether the caller keeps it.
    pub sampled: bool,
    /// What goes with it; empty where nothing does, or nobody keeps it.
    pub state: String,
}

impl Said<'_> {
    /// The caller's span, where it names one.
    pub fn parent(&self) -> Option<Parent> {
        let (trace, span, sampled) = read(self.traceparent?)?;
        let state = self.tracestate.filter(|state| sampled && state.len() <= LONGEST_STATE).unwrap_or_default();
        Some(Parent { trace: TraceId(trace), span, sampled, state: state.to_owned() })
    }
}

/// An id that may stand in a log line and in metadata, if `text` is one.
pub fn request_id(text: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    ((1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(fits)).then_some(text)
}

/// A new id.
pub fn new_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Trace, span, and whether it is sampled (W3C Trace Context, "traceparent"). Later versions may have more at the end.
fn read(text: &str) -> Option<(u128, u64, bool)> {
    const LENGTH: usize = 55;
    let (known, more) = text.split_at_checked(LENGTH)?;
    let parts: Vec<_> = known.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return None };
    let lengths = [version, trace, span, flags].map(str::len) == [2, 32, 16, 2];
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let right_end = more.is_empty() || version != "00" && more.starts_with('-');
    if !lengths || ![version, trace, span, flags].into_iter().all(hex) || version == "ff" || !right_end {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((trace, span, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Parent, Said, TraceId, new_id, read, request_id};

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_callers_span_is_read() {
        let said = Said { traceparent: Some(GOOD), tracestate: Some("a=1"), ..Said::default() };
        let trace = TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        let parent = Parent { trace, span: 0x00f0_67aa_0ba9_02b7, sampled: true, state: "a=1".into() };
        assert_eq!(said.parent(), Some(parent));
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(read(&GOOD.replace("-01", "-00")).map(|(.., sampled)| sampled), Some(false));
        assert!(read(&format!("{}-more", GOOD.replace("00-", "01-"))).is_some());
    }

    #[test]
    fn what_is_no_span_is_none() {
        for bad in [
            String::new(),
            GOOD.to_uppercase(),
            GOOD.replace("00-4", "ff-4"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace('-', "_"),
            format!("{GOOD}-more"),
            GOOD.replace("-01", "-1"),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn an_id_is_short_and_plain() {
        assert_eq!(request_id("Root=1-67891233/abc:7"), Some("Root=1-67891233/abc:7"));
        assert!(request_id(&new_id()).is_some());
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(129)] {
            assert_eq!(request_id(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read(text in "[0-9a-f-]{50,60}|.{0,60}") {
            if let Some((trace, span, _)) = read(&text) {
                prop_assert!(trace != 0 && span != 0);
            }
        }
    }
}
