//! Tokenizer: how many words a tokenizer.json has, without keeping any of them. Pure.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// What is read of tokenizer.json. Words that were added to the model's own may have no vectors; they are not looked at.
#[derive(Deserialize)]
pub struct Tokenizer {
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    vocab: Option<Vocabulary>,
}

/// One more than the greatest number of a word. It is a map from words to numbers, or a list.
struct Vocabulary(u64);

impl Tokenizer {
    /// One more than the greatest number of a word; `None` where that cannot be told.
    pub fn words(&self) -> Option<u64> {
        self.model.as_ref()?.vocab.as_ref().map(|vocabulary| vocabulary.0)
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = Vocabulary;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a vocabulary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
        let mut end = 0;
        while let Some((_, number)) = map.next_entry::<IgnoredAny, u64>()? {
            end = end.max(number.saturating_add(1));
        }
        Ok(Vocabulary(end))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Vocabulary, A::Error> {
        let mut count = 0;
        while words.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Vocabulary(count))
    }
}

#[cfg(test)]
mod tests {
    use super::Tokenizer;

    #[test]
    fn words_are_counted_in_both_forms() {
        let words = |text: &str| serde_json::from_str::<Tokenizer>(text).unwrap().words();
        assert_eq!(words(r#"{"model": {"vocab": {"a": 0, "b": 7}}}"#), Some(8));
        assert_eq!(words(r#"{"model": {"vocab": [["a", -1.5], ["b", -2]]}, "added_tokens": [{"id": 9}]}"#), Some(2));
        assert_eq!(words(r#"{"model": {"type": "none"}}"#), None);
    }
}
