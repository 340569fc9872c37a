//! Inputs: what `infer` runs, from arguments, files and standard input.

use std::{
    fs,
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{CommandError, read_file, texts};
use crate::proto::v1::{self, item::Input, part::Part, question::Source};

/// What to run.
#[derive(Debug, Args)]
pub struct Inputs {
    /// Texts; with none, one a line from --file or, with no other input, from standard input
    texts: Vec<String>,
    /// File with one text a line
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    file: Option<PathBuf>,
    /// Picture (PNG, JPEG, WebP or GIF); may be given several times
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// Sound (WAV, FLAC, MP3 or Ogg Vorbis); may be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    audio: Vec<PathBuf>,
    /// Question about --context, or about the picture of --image
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["texts", "file", "audio"])]
    question: Option<String>,
    /// Text that answers --question
    #[arg(long, value_name = "TEXT", requires = "question", conflicts_with = "image")]
    context: Option<String>,
    /// Query by which the texts are ranked
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["image", "audio", "question"])]
    query: Option<String>,
    /// Make one conversation of all texts and pictures together: the model's chat template is used
    #[arg(long, conflicts_with_all = ["audio", "question", "query"])]
    chat: bool,
    /// What the model is told before a conversation
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
}

/// How to run it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Parameters of the task")]
pub struct Parameters {
    /// Most labels, answers, words, documents or boxes
    #[arg(long, value_name = "COUNT")]
    top_k: Option<u32>,
    /// Least score of a box or segment
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,
    /// Label to choose from, for the zero-shot tasks; may be given several times
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Sentence in which "{}" stands for the label
    #[arg(long, value_name = "TEXT")]
    template: Option<String>,
    /// Judge each label alone
    #[arg(long)]
    multi_label: bool,
    /// Join the tokens of an entity
    #[arg(long)]
    aggregate: bool,
    /// Most tokens to make
    #[arg(long, value_name = "COUNT")]
    max_new_tokens: Option<u32>,
    /// Whether each token is drawn by its likelihood, and not the likeliest one; the model says where this does not
    #[arg(long, value_name = "WHETHER", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    sample: Option<bool>,
    /// Divides the logits before a draw
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f32>,
    /// Likelihood that the tokens have together that are drawn from
    #[arg(long, value_name = "PART")]
    top_p: Option<f32>,
    /// Makes draws repeatable
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// Text at which the output ends; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// What is spoken, or the language of the text to translate
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Language to translate to
    #[arg(long, value_name = "LANGUAGE")]
    target_language: Option<String>,
    /// Write what is spoken in English
    #[arg(long)]
    translate: bool,
    /// Tell when it was said
    #[arg(long, value_enum)]
    timestamps: Option<Timestamps>,
    /// How fast a text is spoken
    #[arg(long, value_name = "NUMBER")]
    speed: Option<f32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Timestamps {
    /// Of each segment
    Segments,
    /// Of each word
    Words,
}

/// An item, and what people call it.
#[derive(Debug)]
pub struct Named {
    /// The text, or the file's name.
    pub name: String,
    /// What goes to the service.
    pub item: v1::Item,
    /// The picture that it is about.
    pub picture: Option<PathBuf>,
}

impl Inputs {
    /// The items, in their order.
    pub fn items(&self) -> Result<Vec<Named>, CommandError> {
        let named =
            |name: &str, input| Named { name: name.into(), item: v1::Item { input: Some(input) }, picture: None };
        if let Some(question) = &self.question {
            return self.questions(question);
        }
        if self.chat {
            return Ok(vec![self.conversation()?]);
        }
        if let Some(query) = &self.query {
            let input = Input::Query(v1::Query { text: query.clone(), documents: self.texts()? });
            return Ok(vec![named(query, input)]);
        }
        if !self.image.is_empty() {
            self.no_text_beside("image", "ask a question about a picture with --question, talk about it with --chat")?;
            let picture = |path: &PathBuf| {
                let named = named(&name_of(path), Input::Image(picture(path)?));
                Ok(Named { picture: Some(path.clone()), ..named })
            };
            return self.image.iter().map(picture).collect();
        }
        if !self.audio.is_empty() {
            self.no_text_beside("audio", "run texts by themselves")?;
            let sound = |path: &PathBuf| Ok(named(&name_of(path), Input::Audio(sound(path)?)));
            return self.audio.iter().map(sound).collect();
        }
        Ok(self.texts()?.iter().map(|text| named(text, Input::Text(text.clone()))).collect())
    }

    /// Refuses texts that no item would take along, and says what to do `instead`.
    fn no_text_beside(&self, flag: &str, instead: &str) -> Result<(), CommandError> {
        if !self.has_texts() {
            return Ok(());
        }
        Err(CommandError::Usage(format!(
            "a text beside --{flag} would not be run: put --{flag} before each of its files, {instead}, or give labels to \
             choose from with --label"
        )))
    }

    /// Whether texts were given; they may also come from standard input.
    fn has_texts(&self) -> bool {
        !self.texts.is_empty() || self.file.is_some()
    }

    fn questions(&self, question: &str) -> Result<Vec<Named>, CommandError> {
        let about = |name: String, source, picture| {
            let input = Input::Question(v1::Question { text: question.into(), source: Some(source) });
            Named { name, item: v1::Item { input: Some(input) }, picture }
        };
        if let Some(context) = &self.context {
            return Ok(vec![about(question.into(), Source::Context(context.clone()), None)]);
        }
        if self.image.is_empty() {
            return Err(CommandError::Usage("--question needs --context TEXT or --image FILE to be about".into()));
        }
        let of = |path: &PathBuf| Ok(about(name_of(path), Source::Document(picture(path)?), Some(path.clone())));
        self.image.iter().map(of).collect()
    }

    fn conversation(&self) -> Result<Named, CommandError> {
        // A picture may do without words, so standard input is not waited for.
        let texts = if self.image.is_empty() || self.has_texts() { self.texts()? } else { Vec::new() };
        let said = |role: &str, parts: Vec<Part>| v1::ChatMessage {
            role: role.into(),
            parts: parts.into_iter().map(|part| v1::Part { part: Some(part) }).collect(),
        };
        let mut parts = Vec::new();
        for path in &self.image {
            parts.push(Part::Image(picture(path)?));
        }
        parts.extend(texts.iter().cloned().map(Part::Text));
        let system = self.system.iter().map(|text| said("system", vec![Part::Text(text.clone())]));
        let messages = system.chain([said("user", parts)]).collect();
        let input = Input::Chat(v1::Chat { messages });
        Ok(Named { name: texts.join(" "), item: v1::Item { input: Some(input) }, picture: None })
    }

    fn texts(&self) -> Result<Vec<String>, CommandError> {
        if !self.texts.is_empty() {
            return Ok(self.texts.clone());
        }
        match &self.file {
            Some(file) => texts(&read_file(file)?),
            None if std::io::stdin().is_terminal() => {
                let message = "nothing to run: give texts as arguments, with --file or on standard input, pictures with \
                               --image, or sound with --audio; see --help";
                Err(CommandError::Usage(message.into()))
            }
            None => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| CommandError::Io { what: "standard input".into(), error })?;
                texts(&text)
            }
        }
    }
}

impl Parameters {
    /// As they travel; `None` where nothing is said.
    pub fn message(&self, speech: bool) -> Option<v1::Parameters> {
        let generation = v1::Generation {
            max_new_tokens: self.max_new_tokens,
            do_sample: self.sample,
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed,
            stop: self.stop.clone(),
            ..v1::Generation::default()
        };
        let timestamps = match self.timestamps {
            None => v1::Timestamps::Unspecified,
            Some(Timestamps::Segments) => v1::Timestamps::Segments,
            Some(Timestamps::Words) => v1::Timestamps::Words,
        };
        let language = self.language.clone().unwrap_or_default();
        let transcription = v1::Transcription {
            language: if speech { language.clone() } else { String::new() },
            translate: self.translate,
            timestamps: timestamps.into(),
        };
        let translation = v1::Translation {
            source_language: if speech { String::new() } else { language },
            target_language: self.target_language.clone().unwrap_or_default(),
        };
        let voice = v1::Voice { speed: self.speed, ..v1::Voice::default() };
        let parameters = v1::Parameters {
            top_k: self.top_k,
            threshold: self.threshold,
            candidate_labels: self.label.clone(),
            hypothesis_template: self.template.clone().unwrap_or_default(),
            multi_label: self.multi_label,
            aggregation: if self.aggregate { v1::Aggregation::Simple.into() } else { 0 },
            generation: said(generation),
            transcription: said(transcription),
            translation: said(translation),
            voice: said(voice),
        };
        said(parameters)
    }
}

/// A message that says something.
fn said<M: Default + PartialEq>(message: M) -> Option<M> {
    (message != M::default()).then_some(message)
}

/// A picture of a file, as it is there.
pub fn picture(path: &Path) -> Result<v1::Image, CommandError> {
    Ok(v1::Image { source: Some(v1::image::Source::Encoded(read(path)?.into())) })
}

/// Sound of a file, as it is there.
pub fn sound(path: &Path) -> Result<v1::Audio, CommandError> {
    Ok(v1::Audio { source: Some(v1::audio::Source::Encoded(read(path)?.into())) })
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|error| CommandError::Io { what: path.display().to_string(), error })
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::{Input, Inputs, Named, Part};
    use crate::cli::CommandError;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        inputs: Inputs,
    }

    fn items(arguments: &[&str]) -> Result<Vec<Named>, CommandError> {
        Command::try_parse_from(["infer"].iter().chain(arguments)).unwrap().inputs.items()
    }

    /// A folder with a picture and a file of two lines.
    fn files() -> (tempfile::TempDir, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (picture, lines) = (file("cat.png", "a picture"), file("lines.txt", "one\n\ntwo\n"));
        (folder, picture, lines)
    }

    #[test]
    fn a_text_that_would_not_be_run_is_refused() {
        let (_folder, picture, lines) = files();
        for (arguments, word) in [
            (&["--image", &picture, "what is this?"][..], "--question"),
            (&["--image", &picture, "--file", &lines], "--chat"),
            (&["--audio", &picture, "text"], "--audio"),
        ] {
            let error = items(arguments).unwrap_err().to_string();
            assert!(error.contains("would not be run") && error.contains(word), "{arguments:?}: {error}");
        }
        assert_eq!(items(&["--image", &picture]).unwrap().len(), 1);
        assert_eq!(items(&["--image", &picture, "--question", "what is this?"]).unwrap().len(), 1);
    }

    #[test]
    fn a_conversation_has_all_pictures_and_texts() {
        let (_folder, picture, lines) = files();
        let parts = |arguments: &[&str]| {
            let items = items(&[&["--chat"][..], arguments].concat()).unwrap();
            let [Named { item, .. }] = &items[..] else { panic!("{items:?}") };
            let Some(Input::Chat(chat)) = &item.input else { panic!("{item:?}") };
            let word = |part: &Option<Part>| match part {
                Some(Part::Text(text)) => text.clone(),
                _ => "a picture".to_owned(),
            };
            chat.messages.iter().flat_map(|message| &message.parts).map(|part| word(&part.part)).collect::<Vec<_>>()
        };
        assert_eq!(parts(&["--image", &picture, "--file", &lines]), ["a picture", "one", "two"]);
        assert_eq!(parts(&["--image", &picture, "text"]), ["a picture", "text"]);
        assert_eq!(parts(&["--image", &picture]), ["a picture"]);
        assert_eq!(parts(&["one", "two"]), ["one", "two"]);
    }

    #[test]
    fn a_query_has_the_documents_of_a_file() {
        let (_folder, _, lines) = files();
        let items = items(&["--query", "which?", "--file", &lines]).unwrap();
        let Some(Input::Query(query)) = &items[0].item.input else { panic!("{items:?}") };
        assert_eq!(query.documents, ["one", "two"]);
    }
}
