//! `webinfer infer`: runs a model on texts, pictures or sound, and says what computed the answers.

use std::{
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
    let files = write(infer, &items, &response)?;
    match infer.format {
        Format::Json => println!("{}", report::json(&infer.model, &items, &response, &files)),
        Format::Table => print(infer, &items, &response, &files, told),
    }
    Ok(())
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

/// Writes the pictures and sounds of the answers; returns the files of each.
fn write(infer: &Infer, items: &[Named], response: &v1::InferResponse) -> Result<Vec<Vec<PathBuf>>, CommandError> {
    let all = items.iter().zip(&response.results).enumerate();
    let files = |(number, (named, result)): (usize, (&Named, &v1::ItemResult))| {
        let Some(output) = &result.output else { return Ok(Vec::new()) };
        let stem = match &named.picture {
            Some(picture) => picture.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            None => format!("output-{}", number + 1),
        };
        Place { folder: &infer.output, stem }.write(output, named.picture.as_deref())
    };
    all.map(files).collect()
}

/// For people. What was `told` bit by bit is not repeated.
fn print(infer: &Infer, items: &[Named], response: &v1::InferResponse, files: &[Vec<PathBuf>], told: bool) {
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
                Some(output) => print!("{}", outputs::describe(named, output, infer.inputs.documents(), files)),
                None => {}
            }
        }
    }
    print!("{}", report::records(response));
}
