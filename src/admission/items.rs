//! Items: whether what came in is of the kind that the model's task takes, and within the limits; and the decoding of sound.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::{
    error::{Error, shorten},
    job::Input,
    media::{self, Media},
    models::{Kind, Model},
    proto::v1::{self, audio, image, item::Input as Item, part::Part, question::Source},
    tensors,
};

/// Documents of one query, messages of a conversation, and parts of a message.
const MOST_PARTS: usize = 1024;
/// Longest name of who says something.
const LONGEST_ROLE: usize = 64;

/// Checks the items of a request.
pub fn check(model: &Model, items: &[v1::Item], limits: &Limits) -> Result<(), Error> {
    let most = limits.max_request_items;
    if items.is_empty() {
        return Err(Error::invalid("items", "must have at least one item"));
    }
    if items.len() > most {
        let message =
            format!("has {} items; the most is {most}: send several requests, or use InferStream", items.len());
        return Err(Error::invalid("items", message));
    }
    items.iter().enumerate().try_for_each(|(index, item)| check_item(model, item, &format!("items[{index}]"), limits))
}

/// Checks one item. The error names the field below `path`, that of the item.
pub fn check_item(model: &Model, item: &v1::Item, path: &str, limits: &Limits) -> Result<(), Error> {
    let task = model.spec.task;
    let kind = item.input.as_ref().and_then(Kind::of);
    let (Some(kind), Some(item)) = (kind, &item.input) else {
        return Err(Error::invalid(format!("{path}.input"), format!("must be {}", task.inputs())));
    };
    if !task.takes.contains(&kind) {
        let (id, inputs) = (&model.spec.id, task.inputs());
        let message =
            format!("is {}; the model {id:?} has the task {:?}, which takes {inputs}", kind.name(), task.name);
        return Err(Error::invalid(format!("{path}.input"), message));
    }
    match item {
        Item::Text(text) => check_text(format!("{path}.text"), text, limits),
        Item::Tensors(map) if map.tensors.is_empty() => {
            Err(Error::invalid(format!("{path}.tensors"), "must name at least one tensor"))
        }
        Item::Tensors(map) => tensors::check_all(&format!("{path}.tensors"), map),
        Item::Image(picture) => check_image(&format!("{path}.image"), picture, limits),
        Item::Audio(sound) => check_audio(&format!("{path}.audio"), sound),
        Item::Question(question) => {
            check_text(format!("{path}.question.text"), &question.text, limits)?;
            match &question.source {
                Some(Source::Context(context)) => check_text(format!("{path}.question.context"), context, limits),
                Some(Source::Document(picture)) => check_image(&format!("{path}.question.document"), picture, limits),
                None => Ok(()),
            }
        }
        Item::Query(query) => {
            check_text(format!("{path}.query.text"), &query.text, limits)?;
            check_count(format!("{path}.query.documents"), query.documents.len())?;
            let documents = query.documents.iter().enumerate();
            let field = |index| format!("{path}.query.documents[{index}]");
            documents.into_iter().try_for_each(|(index, text)| check_text(field(index), text, limits))
        }
        Item::Chat(chat) => check_chat(&format!("{path}.chat"), chat, limits),
    }
}

fn check_chat(path: &str, chat: &v1::Chat, limits: &Limits) -> Result<(), Error> {
    check_count(format!("{path}.messages"), chat.messages.len())?;
    for (index, message) in chat.messages.iter().enumerate() {
        let path = format!("{path}.messages[{index}]");
        if !(1..=LONGEST_ROLE).contains(&message.role.len()) {
            return Err(Error::invalid(format!("{path}.role"), format!("must have 1 to {LONGEST_ROLE} bytes")));
        }
        check_count(format!("{path}.parts"), message.parts.len())?;
        for (index, part) in message.parts.iter().enumerate() {
            let path = format!("{path}.parts[{index}]");
            match &part.part {
                Some(Part::Text(text)) => check_text(format!("{path}.text"), text, limits)?,
                Some(Part::Image(picture)) => check_image(&format!("{path}.image"), picture, limits)?,
                None => return Err(Error::invalid(path, "must be a text or an image")),
            }
        }
    }
    Ok(())
}

fn check_count(field: String, count: usize) -> Result<(), Error> {
    if (1..=MOST_PARTS).contains(&count) {
        return Ok(());
    }
    Err(Error::invalid(field, format!("are {count}; there may be 1 to {MOST_PARTS}")))
}

fn check_text(field: String, text: &str, limits: &Limits) -> Result<(), Error> {
    let most = limits.max_text_bytes;
    if text.len() <= most {
        return Ok(());
    }
    Err(Error::invalid(field, format!("has {} bytes; the most is {most}, see --max-text-bytes", text.len())))
}

fn check_image(path: &str, picture: &v1::Image, limits: &Limits) -> Result<(), Error> {
    let (field, checked) = match &picture.source {
        None => (path.to_owned(), Err("must be encoded, or pixels".into())),
        Some(image::Source::Encoded(encoded)) => {
            let checked = media::check_image(encoded, limits.media);
            (format!("{path}.encoded"), checked.map_err(|error| error.to_string()))
        }
        Some(image::Source::Pixels(v1::Pixels { width, height, channels, data })) => {
            let checked = media::check_pixels(*width, *height, *channels, data.len(), limits.media);
            (format!("{path}.pixels"), checked.map_err(|error| error.to_string()))
        }
    };
    checked.map_err(|message| Error::invalid(field, message))
}

fn check_audio(path: &str, sound: &v1::Audio) -> Result<(), Error> {
    match &sound.source {
        Some(_) => Ok(()),
        None => Err(Error::invalid(path, "must be encoded, or samples")),
    }
}

/// Decodes the sound of requests, some at a time.
#[derive(Clone, Debug)]
pub struct Decoder {
    turns: Arc<Semaphore>,
}

/// The inputs of a request. Decoded sound counts as pending only once it is admitted; until then it is bounded by how many
/// requests have their turn.
pub struct Inputs {
    /// In the order of the items.
    pub inputs: Vec<Input>,
    /// To be kept until the inputs count as pending.
    pub turn: Option<OwnedSemaphorePermit>,
}

impl Decoder {
    /// One that works on so many requests at a time.
    pub fn new(requests: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(requests)) }
    }

    /// Makes inputs of checked items.
    pub async fn decode(
        &self,
        model: &Model,
        items: Vec<v1::Item>,
        parameters: Option<v1::Parameters>,
        limits: &Limits,
    ) -> Result<Inputs, Error> {
        let parameters = parameters.map(Arc::new);
        let input = |item| Input { item, parameters: parameters.clone() };
        let items: Vec<_> = items.into_iter().filter_map(|item| item.input).collect();
        if !items.iter().any(|item| matches!(item, Item::Audio(_))) {
            return Ok(Inputs { inputs: items.into_iter().map(input).collect(), turn: None });
        }
        let closed = |_| Error::ShuttingDown;
        let turn = self.turns.clone().acquire_owned().await.map_err(closed)?;
        let (rate, media) = (model.sample_rate, limits.media);
        // A caller who leaves does not stop it; so it keeps its turn itself.
        let work = tokio::task::spawn_blocking(move || (decode_all(items, rate, media), turn));
        let (items, turn) = work.await.map_err(|error| Error::Internal(format!("the decoder broke off: {error}")))?;
        let items = items?;
        Ok(Inputs { inputs: items.into_iter().map(input).collect(), turn: Some(turn) })
    }
}

/// All sound of a request together may last as long as one may.
fn decode_all(items: Vec<Item>, rate: u32, mut media: Media) -> Result<Vec<Item>, Error> {
    let mut decoded = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let Item::Audio(sound) = item else {
            decoded.push(item);
            continue;
        };
        let samples = decode(sound, rate, media);
        let wrong =
            |error: media::AudioError| Error::invalid(format!("items[{index}].audio"), shorten(&error.to_string()));
        let samples = samples.map_err(wrong)?;
        media.sound = media.sound.saturating_sub(media::duration(samples.len(), rate));
        let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let samples = v1::Samples { rate, data: Bytes::from(data) };
        decoded.push(Item::Audio(v1::Audio { source: Some(audio::Source::Samples(samples)) }));
    }
    Ok(decoded)
}

fn decode(sound: v1::Audio, rate: u32, media: Media) -> Result<Vec<f32>, media::AudioError> {
    match sound.source {
        Some(audio::Source::Samples(samples)) => {
            media::resample(media::samples(&samples.data)?, samples.rate, rate, media)
        }
        Some(audio::Source::Encoded(encoded)) => media::decode_audio(encoded, rate, media),
        None => Ok(Vec::new()),
    }
}
