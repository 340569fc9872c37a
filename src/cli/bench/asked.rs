//! Asked: what the models of a benchmark are asked, of flags and of the files that a plan names.

use std::path::{Path, PathBuf};

use clap::Args;
use webinfer_bench::{Inputs, Plan};

use crate::{
    cli::{
        CommandError,
        inputs::{Parameters, picture, sound},
        read_file, texts,
    },
    proto::v1::{self, item::Input},
};

/// What the models are asked, in turn. Without any, what the service asks new replicas of the task.
#[derive(Debug, Args)]
#[command(next_help_heading = "Inputs")]
pub struct Asked {
    /// Text; may be given several times
    #[arg(long, value_name = "TEXT")]
    input: Vec<String>,
    /// File with one text a line; may be given several times
    #[arg(long, value_name = "FILE")]
    input_file: Vec<PathBuf>,
    /// Picture (PNG, JPEG, WebP or GIF); may be given several times
    #[arg(long, value_name = "FILE")]
    input_image: Vec<PathBuf>,
    /// Sound (WAV, FLAC, MP3 or Ogg Vorbis); may be given several times
    #[arg(long, value_name = "FILE")]
    input_audio: Vec<PathBuf>,
    /// How it is run.
    #[command(flatten)]
    parameters: Parameters,
}

impl Asked {
    /// Whether anything is asked that a run which goes on has to be told again.
    pub fn is_given(&self) -> bool {
        !self.input.is_empty() || self.parameters.message(true).is_some()
    }

    /// Notes the files in a plan.
    pub fn note(&self, plan: &mut Plan) {
        if !self.input_file.is_empty() || !self.input_image.is_empty() || !self.input_audio.is_empty() {
            plan.inputs = Inputs {
                texts: self.input_file.clone(),
                images: self.input_image.clone(),
                audio: self.input_audio.clone(),
            };
        }
    }

    /// The inputs: those of the flags, and of the files that the plan notes.
    pub fn items(&self, plan: &Plan) -> Result<Vec<v1::Item>, CommandError> {
        let Inputs { texts: files, images, audio } = &plan.inputs;
        let mut inputs: Vec<_> = self.input.iter().cloned().map(Input::Text).collect();
        for file in files {
            inputs.extend(texts(&read_file(file)?)?.into_iter().map(Input::Text));
        }
        let image = |file: &PathBuf| Ok(Input::Image(picture(Path::new(file))?));
        let sound = |file: &PathBuf| Ok(Input::Audio(sound(Path::new(file))?));
        inputs.extend(images.iter().map(image).collect::<Result<Vec<_>, CommandError>>()?);
        inputs.extend(audio.iter().map(sound).collect::<Result<Vec<_>, CommandError>>()?);
        Ok(inputs.into_iter().map(|input| v1::Item { input: Some(input) }).collect())
    }

    /// How they are run by models of a task.
    pub fn parameters(&self, task: &str) -> Option<v1::Parameters> {
        self.parameters.message(task == "automatic-speech-recognition")
    }
}
