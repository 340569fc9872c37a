//! Log: the last words of a browser: what its processes write, and what its page and workers tell of themselves.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// Lines that are kept of one browser.
const LINES: usize = 100;
/// Bytes that are kept of one line.
const LINE_BYTES: usize = 500;
/// Lines that an error repeats.
const LAST_WORDS: usize = 6;

/// What the secret of a link's address comes after, in the address and where it is quoted in another one.
const BEFORE_SECRET: [&str; 3] = ["token=", "token%3D", "token%3d"];

/// A line without the secret of a link's address. A browser may repeat the address anywhere.
pub fn redact(line: &str) -> Cow<'_, str> {
    let mut left = Cow::Borrowed(line);
    for before in BEFORE_SECRET.into_iter().filter(|before| line.contains(before)) {
        let mut parts = left.split(before);
        let first = parts.next().unwrap_or_default().to_owned();
        let clean =
            |part: &str| format!("{before}…{}", part.trim_start_matches(|letter: char| letter.is_ascii_hexdigit()));
        left = Cow::Owned(parts.fold(first, |line, part| line + &*clean(part)));
    }
    left
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was written.
    pub at: SystemTime,
    /// Who wrote it: `browser` for its processes and its driver, `page`, or the id of a worker.
    pub source: Arc<str>,
    /// What was written.
    pub text: String,
}

/// The last lines of one browser. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<VecDeque<Line>>>);

impl Log {
    /// Adds a line; the oldest goes if there are too many.
    pub fn add(&self, source: impl Into<Arc<str>>, text: &str) {
        let text = &*redact(text.trim_end());
        if text.is_empty() {
            return;
        }
        let text = text[..text.floor_char_boundary(LINE_BYTES)].to_owned();
        let mut lines = self.lock();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(Line { at: SystemTime::now(), source: source.into(), text });
    }

    /// The lines, the oldest first.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().iter().cloned().collect()
    }

    /// The last few, in one line; empty where there are none.
    pub fn last_words(&self) -> String {
        join(self.lock().iter())
    }

    /// The last few from one source.
    pub fn last_words_of(&self, source: &str) -> String {
        join(self.lock().iter().filter(|line| &*line.source == source))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join<'a>(lines: impl DoubleEndedIterator<Item = &'a Line>) -> String {
    let mut last: Vec<_> = lines.rev().take(LAST_WORDS).map(|line| line.text.as_str()).collect();
    last.reverse();
    last.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, LINES, Log, redact};

    #[test]
    fn no_secret_is_repeated() {
        let secret = "0123456789abcdef".repeat(4);
        let line =
            format!("a page.html#/link?token={secret} failed, page.html%23/link%3Ftoken%3D{secret}&x token={secret}");
        let clean = redact(&line);
        assert_eq!(clean, "a page.html#/link?token=… failed, page.html%23/link%3Ftoken%3D…&x token=…");
        assert_eq!(redact("7 tokens"), "7 tokens");
        let log = Log::default();
        log.add("page", &line);
        assert!(!log.last_words().contains(&secret));
    }

    #[test]
    fn it_is_bounded() {
        let log = Log::default();
        for number in 0..LINES + 10 {
            log.add("page", &format!("{number} {}", "ö".repeat(LINE_BYTES)));
        }
        log.add("page", " \n");
        let lines = log.lines();
        assert_eq!(lines.len(), LINES);
        assert!(lines.iter().all(|line| line.text.len() <= LINE_BYTES));
        assert!(lines[0].text.starts_with("10 "));
        log.add("worker-1", "its own");
        assert_eq!((log.last_words_of("worker-1").as_str(), log.last_words_of("worker-2").as_str()), ("its own", ""));
        assert!(log.last_words().ends_with(" | its own"));
    }
}
