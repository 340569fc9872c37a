//! Words: how much of a text is in another one.

/// Words that are looked at, of each text: to compare them takes time by the square.
const MOST: usize = 512;
/// From here on scripts are found that put no space between words; a character is a word there.
const NO_SPACES: char = '\u{e00}';

/// The part of the words, of the longer text, that need no change to make one of the other.
pub fn share(left: &str, right: &str) -> f64 {
    let (left, right) = (words(left), words(right));
    let longer = left.len().max(right.len());
    if longer == 0 {
        return 1.0;
    }
    1.0 - strsim::generic_levenshtein(&left, &right) as f64 / longer as f64
}

fn words(text: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        if words.len() == MOST {
            break;
        }
        let is_part = |letter: char| letter.is_alphanumeric() && letter < NO_SPACES;
        let end = if is_part(first) { rest.find(|letter| !is_part(letter)) } else { Some(first.len_utf8()) };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word);
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{MOST, share, words};

    #[test]
    fn words_are_found_in_all_scripts() {
        assert_eq!(words("  The cat, größer: 12!\n"), ["The", "cat", ",", "größer", ":", "12", "!"]);
        assert_eq!(words("你好。 hello"), ["你", "好", "。", "hello"]);
        assert_eq!(words(&"word ".repeat(100_000)).len(), MOST);
        assert!(words(" \t").is_empty());
    }

    #[test]
    fn words_that_agree_are_counted() {
        assert_eq!(share("", " "), 1.0);
        assert_eq!(share("", "a"), 0.0);
        assert_eq!(share("the cat sleeps here", "the cat sleeps"), 0.75);
        assert_eq!(share("a dog runs", "the cat sleeps"), 0.0);
    }
}
