//! `webinfer infer`: runs a model on texts, pictures or sound, and says what computed the answers.

use std::{
    collections::HashSet,
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use futures_util::StreamExt;

use super::{
    CommandError,
    drawings::Place,
    inputs::{Inputs, Named, Parameters},
    local, outputs, progress, report,
};
use crate::{
    config::Serve,
    proto::v1::{self, generate_response::Result as Step, item_result::Output},
    rpc::client::{Client, ClientError},
};

/// Arguments of `infer`.
#[derive(Debug, Args)]
#[command(after_help = "With --local, all settings of `webinfer serve` apply too.\n\nExamples:\n  \
    webinfer infer \"A cat sits on the mat.\" \"A kitten rests on a rug.\"\n  \
    webinfer infer --model distilbert-sst2 \"What a film!\"\n  \
    webinfer infer --model detr --image street.jpg            # boxes on a copy of the picture\n  \
    webinfer infer --model whisper --audio talk.mp3 --timestamps segments\n  \
    webinfer infer --model clip --image cat.png --label cat --label dog\n  \
    webinfer infer --model smollm --chat \"Why is the sky blue?\" --max-new-tokens 100\n  \
    webinfer infer --local --backend webgpu \"No service is needed.\"")]
pub struct Infer {
    /// What to run.
    #[command(flatten)]
    inputs: Inputs,
    /// Model to run
    #[arg(long, value_name = "ID", default_value = "all-MiniLM-L6-v2")]
    model: String,
    /// Address of the service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051", conflicts_with = "local")]
    address: String,
    /// Start a service for this command alone
    #[arg(long)]
    local: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Folder for pictures and sound that come out
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    output: PathBuf,
    /// Time that the run may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    deadline: Duration,
    /// How to run it.
    #[command(flatten)]
    parameters: Parameters,
    /// Settings of the service of its own.
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Answers and the execution record, for people
    Table,
    /// Answers and the execution record, for programs
    Json,
}

/// How often a request is tried that a busy service refuses.
const ATTEMPTS: u32 = 5;

/// Infers, with a running service or one of its own.
pub async fn run(infer: Infer) -> Result<(), CommandError> {
    let items = infer.inputs.items()?;
    if !infer.output.is_dir() {
        return Err(CommandError::Usage(format!("--output {} is not a folder", infer.output.display())));
    }
    if !infer.local {
        let client = Client::connect(&infer.address).await?.with_attempts(ATTEMPTS);
        return answer(&client, &infer, items).await;
    }
    let (app, client) = local(&infer.serve).await?;
    let result = tokio::select! {
        result = answer(&client, &infer, items) => result,
        _ = tokio::signal::ctrl_c() => Err(CommandError::Usage("interrupted".into())),
    };
    // The server waits for its connections.
    drop(client);
    app.shut_down().await;
    result
}

async fn answer(client: &Client, infer: &Infer, items: Vec<Named>) -> Result<(), CommandError> {
    let task = client.model(&infer.model).await?.spec.unwrap_or_default().task;
    progress::load(client, &infer.model).await?;
    let speech = task == "automatic-speech-recognition";
    let request = v1::InferRequest {
        model: infer.model.clone(),
        items: items.iter().map(|named| named.item.clone()).collect(),
        parameters: infer.parameters.message(speech),
        ..Default::default()
    };
    // What comes bit by bit is shown so to who waits for it.
    let follow = infer.format == Format::Table && items.len() == 1 && std::io::stdout().is_terminal();
    let (response, told) = if follow {
        followed(client, request, infer.deadline).await?
    } else {
        (client.infer(request, infer.deadline).await.map_err(ClientError::from)?, false)
    };
    let (files, failed) = write(infer, &items, &response);
    match infer.format {
        Format::Json => println!("{}", report::json(&infer.model, &items, &response, &files)),
        Format::Table => print(&items, &response, &files, told),
    }
    // Only now: a file that cannot be written is to cost nobody the answer.
    failed.map_or(Ok(()), Err)
}

/// Prints what comes before the answer; returns whether there was anything.
async fn followed(
    client: &Client,
    request: v1::InferRequest,
    deadline: Duration,
) -> Result<(v1::InferResponse, bool), CommandError> {
    let mut steps = Box::pin(client.generate(request, deadline).await.map_err(ClientError::from)?);
    let mut told = false;
    while let Some(step) = steps.next().await {
        match step.map_err(ClientError::from)? {
            Step::Response(response) => {
                if told {
                    println!();
                }
                return Ok((response, told));
            }
            Step::Partial(partial) => {
                if partial.restarted && told {
                    println!("\n[its worker was lost; it begins anew]");
                }
                told |= !partial.text.is_empty() || !partial.chunks.is_empty();
                if partial.chunks.is_empty() {
                    print!("{}", partial.text);
                }
                partial.chunks.iter().for_each(|chunk| println!("{}", outputs::timed(chunk)));
                let _ = std::io::stdout().flush();
            }
        }
    }
    Err(CommandError::Usage("the service ended its answer in the middle".into()))
}

/// Writes the pictures and sounds of the answers; returns the files of each, and what failed first.
fn write(infer: &Infer, items: &[Named], response: &v1::InferResponse) -> (Vec<Vec<PathBuf>>, Option<CommandError>) {
    let (mut all, mut failed) = (Vec::new(), None);
    for ((named, result), stem) in items.iter().zip(&response.results).zip(stems(items)) {
        let place = Place { folder: &infer.output, stem };
        let files = match &result.output {
            Some(output) => place.write(output, named.picture.as_deref()),
            None => Ok(Vec::new()),
        };
        all.push(files.unwrap_or_else(|error| {
            failed.get_or_insert(error);
            Vec::new()
        }));
    }
    (all, failed)
}

/// How the files of each item begin: as its picture is called, with the item's number where another is called so too.
fn stems(items: &[Named]) -> Vec<String> {
    let mut taken = HashSet::new();
    let stem = |(number, named): (usize, &Named)| {
        let mut stem = match &named.picture {
            Some(picture) => picture.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            None => format!("output-{number}"),
        };
        // To some file systems, large and small letters are the same.
        while !taken.insert(stem.to_lowercase()) {
            stem = format!("{stem}-{number}");
        }
        stem
    };
    (1..).zip(items).map(stem).collect()
}

/// For people. What was `told` bit by bit is not repeated.
fn print(items: &[Named], response: &v1::InferResponse, files: &[Vec<PathBuf>], told: bool) {
    let embeds = |result: &v1::ItemResult| matches!(result.output, Some(Output::Embedding(_)));
    if response.results.len() > 1 && response.results.iter().all(embeds) {
        print!("{}", report::similarities(items, response));
    } else {
        for ((named, result), files) in items.iter().zip(&response.results).zip(files) {
            match &result.output {
                Some(Output::Generated(v1::Generated { usage: Some(usage), .. })) if told => {
                    println!("({})", outputs::usage(usage));
                }
                Some(Output::Transcript(v1::Transcript { language, .. })) if told && !language.is_empty() => {
                    println!("(language: {language})");
                }
                Some(Output::Transcript(_)) if told => {}
                Some(output) => print!("{}", outputs::describe(named, output, files)),
                None => {}
            }
        }
    }
    print!("{}", report::records(response));
}

#[cfg(test)]
mod tests {
    use super::{Named, stems};
    use crate::proto::v1;

    #[test]
    fn no_two_items_write_the_same_files() {
        let stems = |pictures: &[&str]| {
            let named = |picture: &&str| Named {
                name: String::new(),
                item: v1::Item::default(),
                picture: (!picture.is_empty()).then(|| picture.into()),
            };
            stems(&pictures.iter().map(named).collect::<Vec<_>>())
        };
        assert_eq!(stems(&["a/cat.png", "dog.png"]), ["cat", "dog"]);
        assert_eq!(stems(&["a/cat.png", "b/cat.png", "Cat.jpg"]), ["cat", "cat-2", "Cat-3"]);
        assert_eq!(stems(&["cat-3.png", "cat.png", "cat.jpg"]), ["cat-3", "cat", "cat-3-3"]);
        assert_eq!(stems(&["", ""]), ["output-1", "output-2"]);
    }
}
