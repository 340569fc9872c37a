//! Architecture: what tasks a model can be for, by what its config.json says that it is. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::{Task, memory::Shape};

/// A config.json. What is not of the type that it should be counts as not there: the runtime may make something of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Config(Value);

/// What else of a folder tells of its model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    /// It has a tokenizer.
    pub tokenizer: bool,
    /// It has a processor of pictures.
    pub pictures: bool,
    /// It has a graph that makes vectors of pictures.
    pub vision_encoder: bool,
    /// Its one graph gives a vector for each token, and no logits.
    pub vectors: bool,
}

/// Ends of an architecture's name, and what such a model is for, the usual thing first. The first line that fits counts.
const BY_NAME: &[(&[&str], &[&str])] = &[
    (&["ForTokenClassification"], &["token-classification"]),
    (&["ForQuestionAnswering"], &["question-answering"]),
    (&["ForMaskedLM", "XLMWithLMHeadModel"], &["fill-mask"]),
    (&["ForCausalLM", "LMHeadModel"], &["text-generation"]),
    (&["ForCTC"], &["automatic-speech-recognition"]),
    (&["ForAudioClassification"], &["audio-classification"]),
    (&["ForImageClassification", "ForImageClassificationWithTeacher"], &["image-classification"]),
    (
        &["OwlViTForObjectDetection", "Owlv2ForObjectDetection", "GroundingDinoForObjectDetection"],
        &["zero-shot-object-detection"],
    ),
    (&["ForObjectDetection"], &["object-detection"]),
    (
        &["ForSegmentation", "ForSemanticSegmentation", "ForInstanceSegmentation", "ForUniversalSegmentation"],
        &["image-segmentation", "background-removal"],
    ),
    (&["ForDepthEstimation"], &["depth-estimation"]),
    (&["ForImageSuperResolution"], &["image-to-image"]),
    (&["VitsModel", "MusicgenForConditionalGeneration", "SupertonicForConditionalGeneration"], &["text-to-audio"]),
    (&["MarianMTModel"], &["translation", "text2text-generation", "summarization"]),
    (&["CLIPModel", "SiglipModel", "Siglip2Model"], &["zero-shot-image-classification", "image-feature-extraction"]),
    (&["ClapModel"], &["zero-shot-audio-classification"]),
    (&["MODNet", "BiRefNet", "BriaRMBG"], &["background-removal"]),
];

/// The same by the type of models that make text of something, whose names are alike.
const BY_TYPE: &[(&[&str], &[&str])] = &[
    (&["whisper", "lite-whisper", "moonshine", "cohere_asr", "speecht5"], &["automatic-speech-recognition"]),
    (&["m2m_100", "mbart"], &["translation", "text2text-generation", "summarization"]),
    (
        &["t5", "mt5", "longt5", "bart", "blenderbot", "blenderbot-small"],
        &["text2text-generation", "summarization", "translation"],
    ),
];

/// Types whose classifiers listen.
const LISTENERS: [&str; 7] =
    ["wav2vec2", "wav2vec2-bert", "hubert", "wavlm", "unispeech", "unispeech-sat", "audio-spectrogram-transformer"];

impl Config {
    /// The class of the model, such as `BertForMaskedLM`.
    pub fn architecture(&self) -> Option<&str> {
        self.0["architectures"][0].as_str()
    }

    /// Words that the model knows.
    pub fn vocabulary(&self) -> Option<u64> {
        let places = [&self.0, &self.0["text_config"], &self.0["decoder"]];
        places.iter().find_map(|config| config["vocab_size"].as_u64())
    }

    /// Components of a token's vector.
    pub fn width(&self) -> Option<usize> {
        let width = ["hidden_size", "d_model", "dim", "n_embd"].iter().find_map(|name| self.0[*name].as_u64())?;
        usize::try_from(width).ok()
    }

    /// Sizes inside the model; `None` where it does not run on tokens, or they are not told.
    pub fn shape(&self) -> Option<Shape> {
        let first = |names: &[&str]| names.iter().find_map(|name| self.0[*name].as_u64());
        let width = first(&["hidden_size", "d_model", "dim", "n_embd"])?;
        let inner = first(&["intermediate_size", "encoder_ffn_dim", "hidden_dim", "n_inner", "d_ff"]);
        Some(Shape {
            width,
            inner: inner.unwrap_or(width.saturating_mul(4)),
            heads: first(&["num_attention_heads", "encoder_attention_heads", "n_heads", "n_head", "num_heads"])?,
            positions: first(&["max_position_embeddings", "n_positions", "max_source_positions"])?,
        })
    }

    /// What the model can be for, the usual thing first; nothing where that is not known.
    pub fn tasks(&self, signs: Signs) -> Vec<&'static Task> {
        let names = self.names(signs);
        names.iter().filter_map(|name| Task::parse(name)).collect()
    }

    fn names(&self, signs: Signs) -> &'static [&'static str] {
        let Some(architecture) = self.architecture() else { return &[] };
        let kind = self.0["model_type"].as_str().unwrap_or_default();
        if architecture.ends_with("ForSequenceClassification") {
            return self.classifier(kind);
        }
        if architecture.ends_with("ForConditionalGeneration") || architecture == "VisionEncoderDecoderModel" {
            return self.writer(architecture, kind, signs);
        }
        let by_name = BY_NAME.iter().find(|(ends, _)| ends.iter().any(|end| architecture.ends_with(end)));
        match by_name {
            // What was exported without its head makes vectors, whatever it was trained for.
            Some((_, ["fill-mask"])) if signs.vectors => &["feature-extraction"],
            Some((_, ["text-generation"])) if signs.vision_encoder => &["image-text-to-text", "text-generation"],
            Some((_, tasks)) => tasks,
            None if !architecture.ends_with("Model") => &[],
            None if signs.tokenizer => &["feature-extraction"],
            None if signs.pictures => &["image-feature-extraction"],
            None => &[],
        }
    }

    fn classifier(&self, kind: &str) -> &'static [&'static str] {
        if LISTENERS.contains(&kind) {
            return &["audio-classification"];
        }
        let labels = self.0["id2label"].as_object();
        let entails = |label: &Value| label.as_str().is_some_and(|label| label.to_lowercase().starts_with("entail"));
        if labels.map(|labels| labels.len() as u64).or_else(|| self.0["num_labels"].as_u64()) == Some(1) {
            &["reranking", "text-classification"]
        } else if labels.is_some_and(|labels| labels.values().any(entails)) {
            &["zero-shot-classification", "text-classification"]
        } else {
            &["text-classification"]
        }
    }

    fn writer(&self, architecture: &str, kind: &str, signs: Signs) -> &'static [&'static str] {
        if let Some((_, tasks)) = BY_TYPE.iter().find(|(types, _)| types.contains(&kind)) {
            return tasks;
        }
        if let Some((_, tasks)) = BY_NAME.iter().find(|(ends, _)| ends.contains(&architecture)) {
            return tasks;
        }
        if architecture == "VisionEncoderDecoderModel" {
            return match self.0["encoder"]["model_type"].as_str() {
                Some("donut-swin") => &["document-question-answering", "image-to-text"],
                _ => &["image-to-text", "document-question-answering"],
            };
        }
        if signs.vision_encoder { &["image-text-to-text"] } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::{BY_NAME, BY_TYPE, Config, Signs};
    use crate::models::Task;

    fn tasks(config: &str, signs: Signs) -> Vec<&'static str> {
        let config: Config = serde_json::from_str(config).unwrap();
        config.tasks(signs).iter().map(|task| task.name).collect()
    }

    #[test]
    fn a_config_tells_the_task() {
        let text = Signs { tokenizer: true, ..Signs::default() };
        let cases = [
            (r#"{"architectures": ["BertModel"]}"#, text, "feature-extraction"),
            (r#"{"architectures": ["MPNetForMaskedLM"]}"#, text, "fill-mask"),
            (r#"{"architectures": ["MPNetForMaskedLM"]}"#, Signs { vectors: true, ..text }, "feature-extraction"),
            (
                r#"{"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}"#,
                text,
                "reranking",
            ),
            (
                r#"{"architectures": ["BartForSequenceClassification"], "id2label": {"0": "no", "1": "ENTAILMENT"}}"#,
                text,
                "zero-shot-classification",
            ),
            (
                r#"{"architectures": ["HubertForSequenceClassification"], "model_type": "hubert"}"#,
                text,
                "audio-classification",
            ),
            (
                r#"{"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}"#,
                text,
                "automatic-speech-recognition",
            ),
            (r#"{"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}"#, text, "text2text-generation"),
            (r#"{"architectures": ["ViTModel"]}"#, Signs { pictures: true, ..text }, "feature-extraction"),
            (
                r#"{"architectures": ["ViTModel"]}"#,
                Signs { pictures: true, ..Signs::default() },
                "image-feature-extraction",
            ),
            (
                r#"{"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}"#,
                Signs { vision_encoder: true, ..text },
                "image-text-to-text",
            ),
            (r#"{"architectures": ["OwlViTForObjectDetection"]}"#, text, "zero-shot-object-detection"),
            (
                r#"{"architectures": ["VisionEncoderDecoderModel"], "encoder": {"model_type": "donut-swin"}}"#,
                text,
                "document-question-answering",
            ),
        ];
        for (config, signs, first) in cases {
            assert_eq!(tasks(config, signs).first(), Some(&first), "{config}");
        }
        for unknown in ["{}", r#"{"architectures": ["Crystal"]}"#, r#"{"architectures": []}"#] {
            assert!(tasks(unknown, text).is_empty(), "{unknown}");
        }
    }

    #[test]
    fn what_it_names_are_tasks() {
        for name in BY_NAME.iter().chain(BY_TYPE).flat_map(|(_, tasks)| tasks.iter()) {
            assert!(Task::parse(name).is_some(), "{name}");
        }
    }
}
