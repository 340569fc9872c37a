//! Words: numbers and times in few letters.

use std::time::Duration;

/// A time of microseconds; a dash where there is none.
pub fn time(us: u64) -> String {
    match us as f64 {
        us if us < 1.0 => "-".into(),
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 999.5e3 => format!("{} ms", digits(us / 1e3)),
        us => format!("{} s", digits(us / 1e6)),
    }
}

/// A count or a rate.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 999.5e6 => format!("{}G", digits(value / 1e9)),
        value if value >= 999.5e3 => format!("{}M", digits(value / 1e6)),
        value if value >= 999.5 => format!("{}k", digits(value / 1e3)),
        value => digits(value),
    }
}

/// At most three digits.
fn digits(value: f64) -> String {
    let places = if value >= 99.95 || value == 0.0 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.places$}")
}

/// How long ago something was.
pub fn age(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Memory.
pub fn mebibytes(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("{} MiB", bytes >> 20) }
}

/// The state of a model.
pub fn model_state(state: i32) -> &'static str {
    use crate::proto::v1::ModelState;
    match ModelState::try_from(state).unwrap_or_default() {
        ModelState::Unspecified => "unknown",
        ModelState::Registered => "registered",
        ModelState::Loading => "loading",
        ModelState::Ready => "ready",
        ModelState::Failed => "failed",
        ModelState::Asleep => "asleep",
        ModelState::Simulated => "simulated",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{age, number, time};

    #[test]
    fn three_digits_are_enough() {
        for (us, words) in [
            (0, "-"),
            (7, "7 µs"),
            (1500, "1.50 ms"),
            (51_240, "51.2 ms"),
            (351_240, "351 ms"),
            (999_600, "1.00 s"),
            (61_000_000, "61.0 s"),
        ] {
            assert_eq!(time(us), words);
        }
        for (value, words) in [(0.0, "0"), (0.1, "0.10"), (80.25, "80.2"), (999.6, "1.00k"), (2.5e6, "2.50M")] {
            assert_eq!(number(value), words);
        }
        assert_eq!(age(Duration::from_secs(3 * 3600)), "3 h");
    }
}
