//! Deadline: when a caller stops waiting.

use std::time::{Duration, Instant};

use tonic::Request;

/// The service answers this much before the caller's own timer: tonic's would turn the same moment into CANCELLED.
const MARGIN: Duration = Duration::from_millis(2);

/// When the head of a call was there. Its caller's timer has run since, and its message comes later.
#[derive(Clone, Copy)]
struct Arrived(Instant);

/// Notes that a call is there.
pub fn note<B>(mut request: http::Request<B>) -> http::Request<B> {
    request.extensions_mut().insert(Arrived(Instant::now()));
    request
}

/// The deadline that a call states in its grpc-timeout. A time beyond what the clock can hold is as good as none.
pub fn stated<T>(request: &Request<T>) -> Option<Instant> {
    let timeout = request.metadata().get("grpc-timeout")?.to_str().ok().and_then(parse)?;
    let begun = request.extensions().get().map_or_else(Instant::now, |&Arrived(at)| at);
    begun.checked_add(timeout.saturating_sub(MARGIN))
}

/// A number of at most eight digits, and a unit (the gRPC specification, "PROTOCOL-HTTP2").
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::parse;

    #[test]
    fn units() {
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(parse("150m"), Some(Duration::from_millis(150)));
        for bad in ["", "S", "1", "-1S", "+1S", "123456789S", "1 S", "1D", "é"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read(text in ".{0,12}") {
            let _ = parse(&text);
        }
    }
}
