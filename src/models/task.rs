//! Task: what a model is run for. The page has a file for each; this table says what the service has to know of it.

use crate::proto::v1::{self, item::Input, question::Source};

/// What a model is run for: the name of a transformers.js pipeline, or `tensor`.
#[derive(Debug, PartialEq, Eq)]
pub struct Task {
    /// The name on the wire.
    pub name: &'static str,
    /// What kind of input it is about, one of [`FAMILIES`].
    pub family: &'static str,
    /// The kinds of input that it takes.
    pub takes: &'static [Kind],
    /// What of [`v1::Parameters`] it has.
    pub parameters: &'static [Parameter],
    /// What it reads of a model's folder.
    pub files: Files,
}

/// What a task reads of a model's folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    /// Files beside the graphs that it cannot do without.
    pub needs: &'static [&'static str],
    /// Names of the graphs that it runs, without dtype: the first set that the folder has. One that ends in `?` is run where
    /// it is there.
    pub graphs: &'static [&'static [&'static str]],
}

/// All families.
pub const FAMILIES: [&str; 5] = ["text", "vision", "audio", "multimodal", "tensor"];

/// A kind of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Tensors by name.
    Tensors,
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// A question about a text.
    TextQuestion,
    /// A question about a picture.
    DocumentQuestion,
    /// A query with documents.
    Query,
    /// A conversation.
    Chat,
}

/// A part of [`v1::Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `top_k`
    TopK,
    /// `threshold`
    Threshold,
    /// `candidate_labels`, which such a task cannot do without
    CandidateLabels,
    /// `hypothesis_template`
    HypothesisTemplate,
    /// `multi_label`
    MultiLabel,
    /// `aggregation`
    Aggregation,
    /// `generation`
    Generation,
    /// `transcription`
    Transcription,
    /// `translation`
    Translation,
    /// `voice`
    Voice,
}

use Kind::{Audio, Chat, DocumentQuestion, Image, Query, Tensors, Text, TextQuestion};
use Parameter::{
    Aggregation, CandidateLabels, Generation, HypothesisTemplate, MultiLabel, Threshold, TopK, Transcription,
    Translation, Voice,
};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const PROCESSOR: &str = "preprocessor_config.json";
/// What a model of text needs.
const WORDS: &[&str] = &[CONFIG, TOKENIZER, TOKENIZER_CONFIG];
/// What a model of pictures or sound needs.
const MEDIA: &[&str] = &[CONFIG, PROCESSOR];
/// What a model needs that has both.
const BOTH: &[&str] = &[CONFIG, TOKENIZER, TOKENIZER_CONFIG, PROCESSOR];

/// Sets of graphs, as transformers.js names them.
type Graphs = &'static [&'static [&'static str]];
const ONE: Graphs = &[&["model"]];
const PAIR: Graphs = &[&["encoder_model", "decoder_model_merged"]];
const CAUSAL: Graphs = &[&["model"], &["embed_tokens", "decoder_model_merged"]];
const SPEECH: Graphs = &[&["encoder_model", "decoder_model_merged"], &["model"]];
const VOICE: Graphs = &[
    &["model"],
    &["text_encoder", "latent_denoiser", "voice_decoder"],
    &["text_encoder", "decoder_model_merged", "encodec_decode"],
];
const VISION: Graphs = &[&["vision_model"], &["model"]];
const PICTURES_AND_TEXT: Graphs = &[
    &["embed_tokens", "decoder_model_merged", "vision_encoder", "encoder_model?"],
    &["prepare_inputs_embeds", "model", "vision_encoder"],
];

/// All tasks; a test holds it to be the page's list.
#[rustfmt::skip]
pub static TASKS: [Task; 28] = [
    task("feature-extraction", "text", &[Text], &[], files(WORDS, ONE)),
    task("text-classification", "text", &[Text], &[TopK], files(WORDS, ONE)),
    task("token-classification", "text", &[Text], &[Aggregation], files(WORDS, ONE)),
    task("question-answering", "text", &[TextQuestion], &[TopK], files(WORDS, ONE)),
    task("fill-mask", "text", &[Text], &[TopK], files(WORDS, ONE)),
    task("zero-shot-classification", "text", &[Text], &[CandidateLabels, HypothesisTemplate, MultiLabel], files(WORDS, ONE)),
    task("reranking", "text", &[Query], &[TopK], files(WORDS, ONE)),
    task("text-generation", "text", &[Text, Chat], &[Generation], files(WORDS, CAUSAL)),
    task("text2text-generation", "text", &[Text], &[Generation], files(WORDS, PAIR)),
    task("summarization", "text", &[Text], &[Generation], files(WORDS, PAIR)),
    task("translation", "text", &[Text], &[Generation, Translation], files(WORDS, PAIR)),
    task("image-classification", "vision", &[Image], &[TopK], files(MEDIA, ONE)),
    task("image-feature-extraction", "vision", &[Image], &[], files(MEDIA, VISION)),
    task("image-segmentation", "vision", &[Image], &[Threshold], files(MEDIA, ONE)),
    task("background-removal", "vision", &[Image], &[], files(MEDIA, ONE)),
    task("object-detection", "vision", &[Image], &[Threshold], files(MEDIA, ONE)),
    task("depth-estimation", "vision", &[Image], &[], files(MEDIA, ONE)),
    task("image-to-image", "vision", &[Image], &[], files(MEDIA, ONE)),
    task("image-to-text", "multimodal", &[Image], &[Generation], files(BOTH, PAIR)),
    task("document-question-answering", "multimodal", &[DocumentQuestion], &[Generation], files(BOTH, PAIR)),
    task("image-text-to-text", "multimodal", &[Chat], &[Generation], files(BOTH, PICTURES_AND_TEXT)),
    task("zero-shot-image-classification", "multimodal", &[Image], &[CandidateLabels, HypothesisTemplate], files(BOTH, ONE)),
    task("zero-shot-object-detection", "multimodal", &[Image], &[CandidateLabels, Threshold, TopK], files(BOTH, ONE)),
    task("audio-classification", "audio", &[Audio], &[TopK], files(MEDIA, ONE)),
    task("zero-shot-audio-classification", "multimodal", &[Audio], &[CandidateLabels, HypothesisTemplate], files(BOTH, ONE)),
    task("automatic-speech-recognition", "audio", &[Audio], &[Generation, Transcription], files(BOTH, SPEECH)),
    task("text-to-audio", "audio", &[Text], &[Voice], files(WORDS, VOICE)),
    task("tensor", "tensor", &[Tensors], &[], files(&[], ONE)),
];

const fn task(
    name: &'static str,
    family: &'static str,
    takes: &'static [Kind],
    parameters: &'static [Parameter],
    files: Files,
) -> Task {
    Task { name, family, takes, parameters, files }
}

const fn files(needs: &'static [&'static str], graphs: Graphs) -> Files {
    Files { needs, graphs }
}

impl Task {
    /// The task of that name.
    pub fn parse(name: &str) -> Option<&'static Self> {
        TASKS.iter().find(|task| task.name == name)
    }

    /// Whether it has that parameter.
    pub fn has(&self, parameter: Parameter) -> bool {
        self.parameters.contains(&parameter)
    }

    /// Whether it runs a graph without a processor.
    pub fn is_tensor(&self) -> bool {
        self.takes == [Tensors]
    }

    /// Whether it makes one vector of a text.
    pub fn embeds_text(&self) -> bool {
        self.name == "feature-extraction"
    }

    /// Whether it makes one vector of an item.
    pub fn embeds(&self) -> bool {
        self.embeds_text() || self.name == "image-feature-extraction"
    }

    /// Whether it makes text, token by token.
    pub fn writes(&self) -> bool {
        self.has(Generation)
    }

    /// Whether it finds where things are in a picture, in boxes.
    pub fn finds_boxes(&self) -> bool {
        self.name.ends_with("object-detection")
    }

    /// Whether it reads text with a tokenizer.
    pub fn has_tokenizer(&self) -> bool {
        self.files.needs.contains(&TOKENIZER)
    }

    /// Whether two runs with these parameters may give two outputs: some is drawn, and nothing says from where.
    pub fn draws(&self, parameters: Option<&v1::Parameters>) -> bool {
        let generation = parameters.and_then(|parameters| parameters.generation.as_ref());
        let settled = generation.is_some_and(|it| it.do_sample == Some(false) || it.seed.is_some());
        self.has(Voice) || (self.has(Generation) && !settled)
    }

    /// What it takes, in words.
    pub fn inputs(&self) -> String {
        self.takes.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ")
    }
}

impl Kind {
    /// The kind of an input; `None` of a question that has no source.
    pub fn of(input: &Input) -> Option<Self> {
        match input {
            Input::Text(_) => Some(Text),
            Input::Tensors(_) => Some(Tensors),
            Input::Image(_) => Some(Image),
            Input::Audio(_) => Some(Audio),
            Input::Query(_) => Some(Query),
            Input::Chat(_) => Some(Chat),
            Input::Question(question) => match question.source.as_ref()? {
                Source::Context(_) => Some(TextQuestion),
                Source::Document(_) => Some(DocumentQuestion),
            },
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Text => "a text",
            Tensors => "tensors",
            Image => "an image",
            Audio => "audio",
            TextQuestion => "a question with a context",
            DocumentQuestion => "a question with a document",
            Query => "a query with documents",
            Chat => "a chat",
        }
    }
}

impl Parameter {
    /// Those that are set, with their names.
    pub fn given(parameters: &v1::Parameters) -> impl Iterator<Item = (Self, &'static str)> {
        let v1::Parameters {
            top_k,
            threshold,
            candidate_labels,
            hypothesis_template,
            multi_label,
            aggregation,
            generation,
            transcription,
            translation,
            voice,
        } = parameters;
        let all = [
            (top_k.is_some(), TopK, "top_k"),
            (threshold.is_some(), Threshold, "threshold"),
            (!candidate_labels.is_empty(), CandidateLabels, "candidate_labels"),
            (!hypothesis_template.is_empty(), HypothesisTemplate, "hypothesis_template"),
            (*multi_label, MultiLabel, "multi_label"),
            (*aggregation != 0, Aggregation, "aggregation"),
            (generation.is_some(), Generation, "generation"),
            (transcription.is_some(), Transcription, "transcription"),
            (translation.is_some(), Translation, "translation"),
            (voice.is_some(), Voice, "voice"),
        ];
        all.into_iter().filter(|(given, ..)| *given).map(|(_, parameter, name)| (parameter, name))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::{FAMILIES, TASKS, Task};

    #[test]
    fn the_page_has_the_same_tasks() {
        let index = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/src/tasks/index.ts");
        let index = fs::read_to_string(index).unwrap();
        let (_, list) = index.split_once("TASKS").unwrap();
        let list = &list[list.find('{').unwrap()..];
        let names = list.lines().filter_map(|line| line.trim().split_once(": open"));
        let page: BTreeSet<_> = names.map(|(name, _)| name.trim_matches('"')).collect();
        assert_eq!(page, TASKS.iter().map(|task| task.name).collect());
    }

    #[test]
    fn names_are_read_back() {
        for task in &TASKS {
            assert_eq!(Task::parse(task.name), Some(task));
            assert!(FAMILIES.contains(&task.family) && !task.takes.is_empty() && !task.files.graphs.is_empty());
        }
        assert_eq!(Task::parse("telepathy"), None);
    }
}
