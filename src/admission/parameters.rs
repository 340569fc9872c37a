//! Parameters: whether how a task is to be done is something that it has, and within its range. Pure.

use std::collections::HashSet;

use crate::{
    error::{Error, shorten},
    models::{Parameter, Task},
    proto::v1,
    tensors,
};

/// Most labels, answers, words or boxes of an item.
const MOST_RESULTS: u32 = 1000;
/// Most labels to choose from, and the longest of them.
const MOST_LABELS: usize = 256;
const LONGEST_LABEL: usize = 256;
/// Longest sentence about an item.
const LONGEST_TEMPLATE: usize = 1024;
/// Most tokens that are made.
const MOST_NEW_TOKENS: u32 = 65_536;
/// Most texts at which a generation ends, and the longest of them.
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 256;
/// Greatest temperature, penalty and speed.
const MOST_FACTOR: f32 = 100.0;
/// Longest run of tokens that is looked for.
const LONGEST_NGRAM: u32 = 1000;
/// Most steps of a denoiser.
const MOST_STEPS: u32 = 100;
/// Longest name of a language.
const LONGEST_LANGUAGE: usize = 64;

/// Checks the parameters of a request for a task.
pub fn check(task: &Task, parameters: &v1::Parameters) -> Result<(), Error> {
    if let Some((_, name)) = Parameter::given(parameters).find(|(parameter, _)| !task.has(*parameter)) {
        return wrong(name, format!("is nothing that the task {:?} has", task.name));
    }
    let v1::Parameters { top_k, threshold, .. } = *parameters;
    within("top_k", top_k, 1, MOST_RESULTS)?;
    if threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
        return wrong("threshold", "must be from 0 to 1");
    }
    labels(task, &parameters.candidate_labels)?;
    let template = &parameters.hypothesis_template;
    if !template.is_empty() && (!template.contains("{}") || template.len() > LONGEST_TEMPLATE) {
        let message = format!("must have \"{{}}\" where the label goes, and {LONGEST_TEMPLATE} bytes at most");
        return wrong("hypothesis_template", message);
    }
    known::<v1::Aggregation>("aggregation", parameters.aggregation)?;
    if let Some(it) = &parameters.generation {
        generation(task, it)?;
    }
    if let Some(v1::Transcription { language, timestamps, .. }) = &parameters.transcription {
        short("transcription.language", language)?;
        known::<v1::Timestamps>("transcription.timestamps", *timestamps)?;
    }
    if let Some(v1::Translation { source_language, target_language }) = &parameters.translation {
        short("translation.source_language", source_language)?;
        short("translation.target_language", target_language)?;
    }
    parameters.voice.as_ref().map_or(Ok(()), voice)
}

fn labels(task: &Task, labels: &[String]) -> Result<(), Error> {
    let field = "candidate_labels";
    if !task.has(Parameter::CandidateLabels) {
        return Ok(());
    }
    if !(1..=MOST_LABELS).contains(&labels.len()) {
        return wrong(field, format!("has {} labels; {:?} needs 1 to {MOST_LABELS}", labels.len(), task.name));
    }
    let mut seen = HashSet::new();
    for (index, label) in labels.iter().enumerate() {
        if !(1..=LONGEST_LABEL).contains(&label.len()) {
            return wrong(&format!("{field}[{index}]"), format!("must have 1 to {LONGEST_LABEL} bytes"));
        }
        if !seen.insert(label) {
            return wrong(&format!("{field}[{index}]"), format!("{:?} is there twice", shorten(label)));
        }
    }
    Ok(())
}

fn generation(task: &Task, generation: &v1::Generation) -> Result<(), Error> {
    let v1::Generation { max_new_tokens, temperature, top_k, top_p, repetition_penalty, .. } = *generation;
    within("generation.max_new_tokens", max_new_tokens, 1, MOST_NEW_TOKENS)?;
    factor("generation.temperature", temperature, MOST_FACTOR)?;
    within("generation.top_k", top_k, 1, u32::MAX)?;
    factor("generation.top_p", top_p, 1.0)?;
    factor("generation.repetition_penalty", repetition_penalty, MOST_FACTOR)?;
    within("generation.no_repeat_ngram_size", generation.no_repeat_ngram_size, 0, LONGEST_NGRAM)?;
    if generation.stop.len() > MOST_STOPS {
        return wrong("generation.stop", format!("has {} texts; the most is {MOST_STOPS}", generation.stop.len()));
    }
    if let Some(index) = generation.stop.iter().position(|stop| !(1..=LONGEST_STOP).contains(&stop.len())) {
        return wrong(&format!("generation.stop[{index}]"), format!("must have 1 to {LONGEST_STOP} bytes"));
    }
    if !generation.stop.is_empty() && task.has(Parameter::Transcription) {
        return wrong("generation.stop", "is not for speech");
    }
    if generation.return_full_text && task.name != "text-generation" {
        return wrong("generation.return_full_text", "is for \"text-generation\" alone");
    }
    Ok(())
}

fn voice(voice: &v1::Voice) -> Result<(), Error> {
    if let Some(speaker) = &voice.speaker {
        tensors::check("parameters.voice.speaker", speaker)?;
        if speaker.data_type() != v1::DataType::Float32 || speaker.data.is_empty() {
            return wrong("voice.speaker", "must be made of 32-bit floats");
        }
    }
    factor("voice.speed", voice.speed, MOST_FACTOR)?;
    within("voice.steps", voice.steps, 1, MOST_STEPS)
}

fn within(field: &str, value: Option<u32>, least: u32, most: u32) -> Result<(), Error> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            wrong(field, format!("{value} is not from {least} to {most}"))
        }
        _ => Ok(()),
    }
}

/// A number above 0.
fn factor(field: &str, value: Option<f32>, most: f32) -> Result<(), Error> {
    match value {
        Some(value) if !(value > 0.0 && value <= most) => wrong(field, format!("{value} is not above 0, up to {most}")),
        _ => Ok(()),
    }
}

fn known<E: TryFrom<i32>>(field: &str, number: i32) -> Result<(), Error> {
    E::try_from(number).map(drop).or_else(|_| wrong(field, format!("{number} is not one that is known")))
}

fn short(field: &str, language: &str) -> Result<(), Error> {
    if language.len() <= LONGEST_LANGUAGE {
        return Ok(());
    }
    wrong(field, format!("{:?} is not a language", shorten(language)))
}

fn wrong<T>(field: &str, message: impl Into<String>) -> Result<T, Error> {
    Err(Error::invalid(format!("parameters.{field}"), message))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::{
        error::Error,
        models::Task,
        proto::v1::{Generation, Parameters, Transcription},
    };

    fn refused(task: &str, parameters: Parameters) -> Option<String> {
        match check(Task::parse(task).unwrap(), &parameters) {
            Err(Error::Invalid { field, .. }) => Some(field),
            other => {
                other.unwrap();
                None
            }
        }
    }

    #[test]
    fn what_a_task_has_not_or_what_is_out_of_range_is_refused_by_name() {
        let labels = |labels: &[&str]| labels.iter().map(|&label| label.to_owned()).collect();
        let generation = |generation| Parameters { generation: Some(generation), ..Parameters::default() };
        let cases = [
            ("text-classification", Parameters { top_k: Some(3), ..Parameters::default() }, None),
            ("text-classification", Parameters { top_k: Some(0), ..Parameters::default() }, Some("top_k")),
            ("feature-extraction", Parameters { top_k: Some(3), ..Parameters::default() }, Some("top_k")),
            ("object-detection", Parameters { threshold: Some(f32::NAN), ..Parameters::default() }, Some("threshold")),
            ("zero-shot-classification", Parameters::default(), Some("candidate_labels")),
            (
                "zero-shot-classification",
                Parameters { candidate_labels: labels(&["a", "b", "a"]), ..Parameters::default() },
                Some("candidate_labels[2]"),
            ),
            (
                "zero-shot-classification",
                Parameters {
                    candidate_labels: labels(&["a"]),
                    hypothesis_template: "no place".into(),
                    ..Parameters::default()
                },
                Some("hypothesis_template"),
            ),
            ("token-classification", Parameters { aggregation: 9, ..Parameters::default() }, Some("aggregation")),
            (
                "text-generation",
                generation(Generation { temperature: Some(0.0), ..Generation::default() }),
                Some("generation.temperature"),
            ),
            (
                "text-generation",
                generation(Generation { stop: vec![String::new()], ..Generation::default() }),
                Some("generation.stop[0]"),
            ),
            (
                "summarization",
                generation(Generation { return_full_text: true, ..Generation::default() }),
                Some("generation.return_full_text"),
            ),
            (
                "text-generation",
                Parameters { transcription: Some(Transcription::default()), ..Parameters::default() },
                Some("transcription"),
            ),
        ];
        for (task, parameters, field) in cases {
            let field = field.map(|field| format!("parameters.{field}"));
            assert_eq!(refused(task, parameters.clone()), field, "{task} {parameters:?}");
        }
    }
}
