//! Cost: what an input costs, as far as that shows before anything has run it. Pure.

use crate::{
    job::Input,
    proto::v1::{Audio, audio, item, part::Part, question::Source},
    size::Size,
};

/// Tokens that stand for a picture: vision models cut theirs into about so many patches.
const IMAGE: u32 = 256;
/// Samples of sound that stand for a token: speech models make about 50 a second of 16,000.
const SAMPLES_A_TOKEN: usize = 320;
/// Tokens that are made where nothing is said.
const NEW_TOKENS: u32 = 256;

/// What an input costs a model that cuts a text to so many tokens; `generates` where it makes text.
pub fn size(input: &Input, most_tokens: u32, generates: bool) -> Size {
    let bytes = input.bytes();
    let parameters = input.parameters.as_deref();
    let length = match &input.item {
        item::Input::Text(text) => tokens(text, most_tokens),
        item::Input::Tensors(_) => Size::of_tensors(bytes).length,
        item::Input::Image(_) => IMAGE,
        item::Input::Audio(audio) => sound(audio),
        item::Input::Question(question) => {
            let source = match &question.source {
                Some(Source::Context(context)) => tokens(context, most_tokens),
                Some(Source::Document(_)) => IMAGE,
                None => 0,
            };
            tokens(&question.text, most_tokens).saturating_add(source)
        }
        item::Input::Query(query) => {
            let of = |document: &String| tokens(document, most_tokens).saturating_add(tokens(&query.text, most_tokens));
            query.documents.iter().map(of).fold(0, u32::saturating_add)
        }
        item::Input::Chat(chat) => {
            let parts = chat.messages.iter().flat_map(|message| &message.parts);
            let of = |part: &Part| match part {
                Part::Text(text) => tokens(text, u32::MAX),
                Part::Image(_) => IMAGE,
            };
            parts.filter_map(|part| part.part.as_ref()).map(of).fold(0, u32::saturating_add)
        }
    };
    // Each label is a run of the text with it.
    let labels = parameters.map_or(1, |parameters| parameters.candidate_labels.len().max(1));
    let runs = if matches!(input.item, item::Input::Text(_)) { u32::try_from(labels).unwrap_or(u32::MAX) } else { 1 };
    let generation = parameters.and_then(|parameters| parameters.generation.as_ref());
    let wanted = generation.and_then(|generation| generation.max_new_tokens).unwrap_or(NEW_TOKENS);
    let made = if generates { wanted } else { 0 };
    Size { length: length.saturating_mul(runs).saturating_add(made).max(1), bytes }
}

fn tokens(text: &str, most: u32) -> u32 {
    Size::of_text(text.len(), most).length
}

fn sound(audio: &Audio) -> u32 {
    let samples = match &audio.source {
        Some(audio::Source::Samples(samples)) => samples.data.len() / size_of::<f32>(),
        Some(audio::Source::Encoded(_)) | None => 0,
    };
    u32::try_from(samples / SAMPLES_A_TOKEN).unwrap_or(u32::MAX)
}
