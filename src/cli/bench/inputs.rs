//! Inputs: what the requests carry. Each generated item is another one, so that neither a cache nor the sharing of runs
//! makes a service look faster than it is. Pure.

use std::str::FromStr;

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use crate::proto::v1::{self, item::Input};

/// Words of generated texts, one token each in most vocabularies.
const WORDS: [&str; 64] = [
    "air", "animal", "answer", "bank", "bird", "black", "boat", "book", "bridge", "brother", "car", "child", "church",
    "city", "cloud", "cold", "color", "country", "day", "door", "earth", "evening", "eye", "family", "farm", "field",
    "fire", "fish", "floor", "flower", "forest", "friend", "garden", "glass", "gold", "grass", "green", "hand",
    "heart", "hill", "horse", "house", "island", "king", "lake", "letter", "light", "market", "moon", "morning",
    "mountain", "music", "night", "ocean", "paper", "rain", "river", "road", "school", "ship", "snow", "stone",
    "summer", "winter",
];
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;
/// Most elements of a tensor.
const MOST_ELEMENTS: u64 = 1 << 26;
/// Random whole numbers are below this one, which fits each type and most vocabularies.
const BELOW: u8 = 100;

/// Where items come from.
#[derive(Debug)]
pub enum Inputs {
    /// These texts in turn, at least one.
    Given(Vec<String>),
    /// A number, and so many words after it.
    Words(usize),
    /// Tensors of these names and shapes.
    Tensors(Vec<Shape>),
}

impl Inputs {
    /// The item of a number. The seed makes the items of one run differ from those of another.
    pub fn item(&self, seed: u64, number: u64) -> v1::Item {
        let mut random = SmallRng::seed_from_u64(seed.wrapping_add(number));
        let input = match self {
            Self::Given(texts) => Input::Text(texts[(number % texts.len() as u64) as usize].clone()),
            Self::Words(count) => {
                let mut text = number.to_string();
                for _ in 0..*count {
                    text.push(' ');
                    text.push_str(WORDS.choose(&mut random).unwrap_or(&""));
                }
                Input::Text(text)
            }
            Self::Tensors(shapes) => {
                let tensors = shapes.iter().map(|shape| (shape.name.clone(), shape.tensor(&mut random)));
                Input::Tensors(v1::TensorMap { tensors: tensors.collect() })
            }
        };
        v1::Item { input: Some(input) }
    }
}

/// Name, type and dimensions of a tensor, written like `x=f32:1x16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Name of the graph's input.
    pub name: String,
    data_type: v1::DataType,
    dimensions: Vec<u32>,
}

impl Shape {
    fn tensor(&self, random: &mut SmallRng) -> v1::Tensor {
        let elements: u64 = self.dimensions.iter().map(|&dimension| u64::from(dimension)).product();
        let mut data = Vec::new();
        for _ in 0..elements {
            match self.data_type {
                v1::DataType::Float32 => data.extend(random.random::<f32>().to_le_bytes()),
                // The fraction's ten bits under the exponent of 0.5.
                v1::DataType::Float16 => data.extend((0x3800 | random.random_range(0..1_u16 << 10)).to_le_bytes()),
                v1::DataType::Int64 => data.extend(i64::from(random.random_range(0..BELOW)).to_le_bytes()),
                v1::DataType::Int32 => data.extend(i32::from(random.random_range(0..BELOW)).to_le_bytes()),
                v1::DataType::Int8 | v1::DataType::Uint8 => data.push(random.random_range(0..BELOW)),
                v1::DataType::Bool | v1::DataType::Unspecified => data.push(random.random_range(0..2)),
            }
        }
        let shape = self.dimensions.iter().map(|&dimension| i64::from(dimension)).collect();
        v1::Tensor { data_type: self.data_type.into(), shape, data: data.into() }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(':')?)));
        let Some((name, (data_type, dimensions))) = parts.filter(|(name, _)| !name.is_empty()) else {
            return Err("write it as NAME=TYPE:DIMENSIONS, like x=f32:1x16".into());
        };
        let data_type = match data_type {
            "f32" => v1::DataType::Float32,
            "f16" => v1::DataType::Float16,
            "i64" => v1::DataType::Int64,
            "i32" => v1::DataType::Int32,
            "i8" => v1::DataType::Int8,
            "u8" => v1::DataType::Uint8,
            "bool" => v1::DataType::Bool,
            other => return Err(format!("{other:?} is not a type; there are f32, f16, i64, i32, i8, u8, bool")),
        };
        let dimensions: Result<Vec<u32>, _> = dimensions.split('x').map(str::parse).collect();
        let dimensions = dimensions.map_err(|_| "dimensions are whole numbers with an x between, like 1x16")?;
        let elements = dimensions.iter().try_fold(1_u64, |product, &next| product.checked_mul(next.into()));
        if dimensions.len() > MOST_DIMENSIONS || elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
            return Err(format!("at most {MOST_DIMENSIONS} dimensions and {MOST_ELEMENTS} elements"));
        }
        Ok(Self { name: name.to_owned(), data_type, dimensions })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::{Inputs, Shape};
    use crate::{proto::v1::item::Input, tensors};

    fn text(inputs: &Inputs, seed: u64, number: u64) -> String {
        match inputs.item(seed, number).input {
            Some(Input::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn given_texts_come_in_turn() {
        let inputs = Inputs::Given(vec!["a".into(), "b".into()]);
        assert_eq!([0, 1, 2].map(|number| text(&inputs, 5, number)), ["a", "b", "a"]);
    }

    #[test]
    fn shapes_are_read_and_mistakes_explained() {
        for good in ["x=f32:1x16", "ids=i64:1", "y=u8:0"] {
            assert!(good.parse::<Shape>().is_ok(), "{good}");
        }
        for (wrong, word) in [
            ("x", "NAME=TYPE"),
            ("=f32:1", "NAME=TYPE"),
            ("x=f64:1", "bool"),
            ("x=f32:", "whole numbers"),
            ("x=f32:1x-1", "whole numbers"),
            ("x=f32:4294967295x4294967295x4294967295", "at most"),
            ("x=f32:1x1x1x1x1x1x1x1x1", "at most"),
        ] {
            let error = wrong.parse::<Shape>().unwrap_err();
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }

    proptest! {
        #[test]
        fn generated_texts_are_distinct_and_have_their_length(words in 0usize..40, seed: u64) {
            let inputs = Inputs::Words(words);
            let texts: HashSet<_> = (0..200).map(|number| text(&inputs, seed, number)).collect();
            prop_assert_eq!(texts.len(), 200);
            prop_assert!(texts.iter().all(|text| text.split(' ').count() == words + 1));
        }

        #[test]
        fn generated_tensors_are_whole_and_distinct(
            data_type in prop::sample::select(vec!["f32", "f16", "i64", "i32", "i8", "u8", "bool"]),
            dimensions in prop::collection::vec(1u32..6, 1..5),
            seed: u64,
        ) {
            let sides = dimensions.iter().map(u32::to_string).collect::<Vec<_>>().join("x");
            let inputs = Inputs::Tensors(vec![format!("x={data_type}:{sides}x64").parse().unwrap()]);
            let mut seen = HashSet::new();
            for number in 0..20 {
                let Some(Input::Tensors(map)) = inputs.item(seed, number).input else { panic!("no tensors") };
                tensors::check_all("", &map).unwrap();
                prop_assert!(seen.insert(map.tensors["x"].data.clone()));
            }
        }
    }
}
