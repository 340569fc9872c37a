//! Portion: what of a file a request asks for, by its method and headers (RFC 9110, sections 13 and 14).

use std::ops::Range;

use axum::http::{HeaderMap, Method, header};
use headers::{ETag, HeaderMapExt, IfNoneMatch, IfRange};
use http_range_header::parse_range_header;

/// What is sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Portion {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Nothing: the browser has it.
    Unchanged,
    /// Nothing: it has no such bytes.
    Unsatisfiable,
}

impl Portion {
    /// What is asked of a file of so many bytes. A range that cannot be read is as none, and of several ranges the whole file
    /// is sent, as a server may.
    pub fn of(method: &Method, headers: &HeaderMap, etag: &ETag, length: u64) -> Self {
        if headers.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(etag)) {
            return Self::Unchanged;
        }
        let mut ranges = headers.get_all(header::RANGE).iter();
        let (Some(range), None, true) = (ranges.next(), ranges.next(), method == Method::GET) else {
            return Self::Whole;
        };
        // A header that cannot be read names no version of the file that could be this one.
        let other = match headers.typed_try_get::<IfRange>() {
            Ok(condition) => condition.is_some_and(|condition| condition.is_modified(Some(etag), None)),
            Err(_) => true,
        };
        let Some(ranges) = range.to_str().ok().and_then(|range| parse_range_header(range).ok()).filter(|_| !other)
        else {
            return Self::Whole;
        };
        match (ranges.len(), ranges.validate(length).as_deref()) {
            (1, Ok([range])) => Self::Part(*range.start()..range.end() + 1),
            (1, Err(_)) => Self::Unsatisfiable,
            _ => Self::Whole,
        }
    }

    /// The bytes that are sent.
    pub fn range(&self, length: u64) -> Range<u64> {
        match self {
            Self::Whole => 0..length,
            Self::Part(range) => range.clone(),
            Self::Unchanged | Self::Unsatisfiable => 0..0,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, header};
    use headers::ETag;
    use proptest::prelude::*;

    use super::Portion;

    fn etag() -> ETag {
        "\"one\"".parse().unwrap()
    }

    fn of(headers: &[(header::HeaderName, &str)], length: u64) -> Portion {
        let value = |(name, value): &(header::HeaderName, &str)| (name.clone(), HeaderValue::from_str(value).unwrap());
        let headers: HeaderMap = headers.iter().map(value).collect();
        Portion::of(&Method::GET, &headers, &etag(), length)
    }

    fn range(range: &str, length: u64) -> Portion {
        of(&[(header::RANGE, range)], length)
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_past_the_end(
            text in prop_oneof!["bytes=[0-9, -]{0,50}", "[ -~]{0,60}"], length in prop_oneof![0..20_u64, any::<u64>()],
        ) {
            if let Portion::Part(part) = range(&text, length) {
                prop_assert!(part.start < part.end && part.end <= length, "{part:?}");
            }
        }

        #[test]
        fn what_is_asked_for_is_sent_as_far_as_it_is_there(first: u64, last: u64, length: u64) {
            let (first, last) = (first.min(last), first.max(last));
            let expected = |from: u64, to: u64| match from < length {
                true => Portion::Part(from..to.saturating_add(1).min(length)),
                false => Portion::Unsatisfiable,
            };
            prop_assume!(length > 0);
            prop_assert_eq!(range(&format!("bytes={first}-{last}"), length), expected(first, last));
            prop_assert_eq!(range(&format!("bytes={first}-"), length), expected(first, u64::MAX));
            let tail = Portion::Part(length.saturating_sub(last)..length);
            prop_assert_eq!(range(&format!("bytes=-{last}"), length), if last == 0 { Portion::Unsatisfiable } else { tail });
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_as_none() {
        for text in
            ["", "bytes", "bytes=", "bytes=a-b", "bytes=5-3", "bytes=--1", "items=0-1", "bytes=0-1,3-4", "bytes=+1-2"]
        {
            assert_eq!(range(text, 10), Portion::Whole, "{text:?}");
        }
        assert_eq!(of(&[(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=2-3")], 10), Portion::Whole);
        assert_eq!(range("bytes=0-0", 0), Portion::Unsatisfiable);
    }

    #[test]
    fn a_range_is_of_the_version_that_it_is_meant_of() {
        let asked = (header::RANGE, "bytes=2-3");
        for (condition, holds) in [
            ("\"one\"", true),
            ("\"other\"", false),
            ("W/\"one\"", false),
            ("Mon, 30 Nov 2026 12:00:00 GMT", false),
            ("x", false),
        ] {
            let expected = if holds { Portion::Part(2..4) } else { Portion::Whole };
            assert_eq!(of(&[asked.clone(), (header::IF_RANGE, condition)], 10), expected, "{condition}");
        }
        let headers = [(header::RANGE, HeaderValue::from_static("bytes=2-3"))].into_iter().collect();
        assert_eq!(Portion::of(&Method::HEAD, &headers, &etag(), 10), Portion::Whole);
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        for (known, same) in
            [("\"one\"", true), ("W/\"one\"", true), ("\"x\", \"one\"", true), ("*", true), ("\"x\"", false)]
        {
            let expected = if same { Portion::Unchanged } else { Portion::Part(0..1) };
            let asked = [(header::IF_NONE_MATCH, known), (header::RANGE, "bytes=0-0")];
            assert_eq!(of(&asked, 10), expected, "{known}");
        }
    }
}
