//! Probe: what a replica is asked before it serves, so that its answers can be held against those of others. The same each
//! time, and small: a model has a few seconds for all of them together.

mod draw;

use std::collections::BTreeMap;

use super::{
    Kind, Model, Parameter, Task,
    onnx::{Dimension, Value},
};
use crate::{
    proto::v1::{
        Chat, ChatMessage, DataType, Item, Parameters, Part, Probe, Query, Question, Tensor, TensorMap, item::Input,
        part, question::Source,
    },
    tensors::element_size,
};

/// Texts of several lengths and scripts.
const TEXTS: [&str; 3] = [
    "The same model gives the same answer wherever it runs.",
    "Anna Schmidt moved from Berlin to São Paulo in 1998, where she worked for the United Nations.",
    "猫は窓辺で眠る。Кошка спит. القطة نائمة.",
];
const CONTEXT: &str =
    "The library was built in 1902 by Maria Lind. It has forty thousand books and a garden with old trees.";
const QUESTIONS: [&str; 2] = ["Who built the library?", "How many books does it have?"];
const LABELS: [&str; 4] = ["a cat", "music", "a red circle", "travel"];
/// Text that is made. What begins alike and goes on otherwise is no error in few bits, so a few tokens tell as much.
const NEW_TOKENS: u32 = 12;
/// Labels, words and answers: many tell more than the best few.
const TOP_K: u32 = 20;
/// Boxes that are hardly likely are there, too: pictures that code draws show little that models know.
const THRESHOLD: f32 = 0.1;
/// Bytes of a probe of tensors; a graph that takes more is not asked.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// What replicas of a model are asked: the probes of its registration, or those made for its task. None where none can be
/// made, or where the model's answers are another each time.
pub fn probes(model: &Model) -> Vec<Probe> {
    let given = &model.spec.probes;
    let mut probes = if given.is_empty() { made(model) } else { given.clone() };
    if model.spec.task.writes() {
        for probe in &mut probes {
            let generation = probe.parameters.get_or_insert_default().generation.get_or_insert_default();
            generation.do_sample.get_or_insert(false);
            if given.is_empty() {
                generation.max_new_tokens = Some(NEW_TOKENS);
            }
        }
    }
    probes
}

fn made(model: &Model) -> Vec<Probe> {
    let task = model.spec.task;
    let inputs = match task.takes.first() {
        // Voices are made of noise, and sound otherwise each time.
        _ if task.has(Parameter::Voice) => Vec::new(),
        Some(Kind::Text) if task.name == "fill-mask" => masked(model.mask.as_deref()),
        Some(Kind::Text) => TEXTS.map(|text| Input::Text(text.into())).into(),
        Some(Kind::Image) => [0, 1].map(|number| Input::Image(draw::picture(number))).into(),
        Some(Kind::Audio) => [0, 1].map(|number| Input::Audio(draw::sound(number, model.sample_rate))).into(),
        Some(Kind::TextQuestion) => QUESTIONS.map(|text| question(text, Source::Context(CONTEXT.into()))).into(),
        Some(Kind::DocumentQuestion) => vec![question("What is it?", Source::Document(draw::picture(0)))],
        Some(Kind::Query) => QUESTIONS.map(query).into(),
        Some(Kind::Chat) => vec![chat()],
        Some(Kind::Tensors) => [0, 1].iter().filter_map(|&number| tensors(&model.inputs, number)).collect(),
        None => Vec::new(),
    };
    let parameters = parameters(task);
    let probe = |input| Probe { item: Some(Item { input: Some(input) }), parameters: parameters.clone() };
    inputs.into_iter().map(probe).collect()
}

fn parameters(task: &Task) -> Option<Parameters> {
    let mut parameters = Parameters::default();
    if task.has(Parameter::TopK) {
        parameters.top_k = Some(TOP_K);
    }
    if task.has(Parameter::CandidateLabels) {
        parameters.candidate_labels = LABELS.map(str::to_owned).into();
    }
    if task.finds_boxes() {
        parameters.threshold = Some(THRESHOLD);
    }
    (parameters != Parameters::default()).then_some(parameters)
}

fn masked(mask: Option<&str>) -> Vec<Input> {
    let texts =
        mask.map(|mask| [format!("The library has a {mask} with old trees."), format!("Two and two is {mask}.")]);
    texts.into_iter().flatten().map(Input::Text).collect()
}

fn question(text: &str, source: Source) -> Input {
    Input::Question(Question { text: text.into(), source: Some(source) })
}

fn query(text: &str) -> Input {
    Input::Query(Query { text: text.into(), documents: [CONTEXT, TEXTS[0], TEXTS[1]].map(str::to_owned).into() })
}

fn chat() -> Input {
    let parts = [part::Part::Image(draw::picture(0)), part::Part::Text("What is it?".into())];
    let parts = parts.map(|part| Part { part: Some(part) }).into();
    Input::Chat(Chat { messages: vec![ChatMessage { role: "user".into(), parts }] })
}

/// What a graph takes, with 1 for each dimension that it leaves open; `None` where that cannot be made.
fn tensors(inputs: &[Value], number: usize) -> Option<Input> {
    let mut room = MOST_BYTES;
    let tensor = |input: &Value| {
        let data_type = input.data_type?;
        let size = |dimension: &Dimension| match dimension {
            Dimension::Fixed(size) => *size,
            Dimension::Named(_) | Dimension::Unknown => 1,
        };
        let shape: Vec<_> = input.dimensions.iter().map(size).collect();
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size as usize))?;
        room = room.checked_sub(count.checked_mul(element_size(data_type))?)?;
        let data: Vec<_> = (0..count).flat_map(|at| element(data_type, at + number)).collect();
        let shape = shape.into_iter().map(i64::from).collect();
        Some((input.name.clone(), Tensor { data_type: data_type.into(), shape, data: data.into() }))
    };
    let tensors: BTreeMap<_, _> = inputs.iter().map(tensor).collect::<Option<_>>()?;
    (!tensors.is_empty()).then_some(Input::Tensors(TensorMap { tensors }))
}

/// An element of a tensor: of floats eighths from -1 to 1, which all floats hold; of whole numbers 1, which is an index, a
/// length or a mask that most graphs can make something of.
fn element(data_type: DataType, at: usize) -> Vec<u8> {
    let eighths = (at * 7 + at / 17) % 17;
    let float = eighths as f32 / 8.0 - 1.0;
    match data_type {
        DataType::Float32 => float.to_le_bytes().into(),
        DataType::Float16 => half(float).to_le_bytes().into(),
        DataType::Int64 => 1i64.to_le_bytes().into(),
        DataType::Int32 => 1i32.to_le_bytes().into(),
        DataType::Uint8 | DataType::Int8 => vec![eighths as u8],
        DataType::Bool => vec![1],
        DataType::Unspecified => Vec::new(),
    }
}

/// A float that 16 bits hold, and that is not too small for them.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, exponent, fraction) = (bits >> 16 & 0x8000, bits >> 23 & 0xff, bits >> 13 & 0x3ff);
    (sign | exponent.saturating_sub(112) << 10 | fraction) as u16
}

#[cfg(test)]
mod tests {
    use super::{DataType, Dimension, Input, Value, element, tensors};

    fn value(name: &str, data_type: Option<DataType>, dimensions: Vec<Dimension>) -> Value {
        Value { name: name.into(), data_type, dimensions }
    }

    #[test]
    fn tensors_fit_the_graph_or_are_not_there() {
        let pixels = vec![Dimension::Named("batch".into()), Dimension::Fixed(3), Dimension::Unknown];
        let graph = [value("x", Some(DataType::Float16), pixels), value("n", Some(DataType::Int64), vec![])];
        let (first, second) = (tensors(&graph, 0).unwrap(), tensors(&graph, 1).unwrap());
        assert_ne!(first, second);
        let Input::Tensors(map) = first else { panic!("it is of tensors") };
        assert_eq!(map.tensors["x"].shape, [1, 3, 1]);
        assert_eq!(map.tensors["n"].data, 1i64.to_le_bytes().to_vec());
        map.tensors.values().for_each(|tensor| crate::tensors::check("x", tensor).unwrap());

        let huge = vec![Dimension::Fixed(u32::MAX); 3];
        for wrong in [value("x", None, vec![]), value("x", Some(DataType::Float32), huge)] {
            assert_eq!(tensors(&[wrong], 0), None);
        }
        assert_eq!(tensors(&[], 0), None);
    }

    #[test]
    fn halves_are_what_floats_are() {
        let floats = (0..17).map(|at| element(DataType::Float32, at));
        let floats = floats.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        for (at, float) in floats.enumerate() {
            let bits = u16::from_le_bytes(element(DataType::Float16, at).try_into().unwrap());
            let power = 2f32.powi(i32::from(bits >> 10 & 0x1f) - 25) * (1024.0 + f32::from(bits & 0x3ff));
            let size = if bits & 0x7fff == 0 { 0.0 } else { power };
            assert_eq!(if bits >> 15 == 1 { -size } else { size }, float);
        }
    }
}
