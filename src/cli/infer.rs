//! `webinfer infer`: embeds texts, and says what computed them.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};

use super::{CommandError, local, report};
use crate::{config::Serve, proto::v1, rpc::client::Client};

/// Arguments of `infer`.
#[derive(Debug, Args)]
#[command(after_help = "With --local, all settings of `webinfer serve` apply too.\n\nExamples:\n  \
    webinfer infer \"A cat sits on the mat.\" \"A kitten rests on a rug.\"\n  \
    webinfer infer --file sentences.txt --format json\n  \
    webinfer infer --local --backend webgpu \"No service is needed.\"")]
pub struct Infer {
    /// Texts to embed; without any, one a line from --file or standard input
    texts: Vec<String>,
    /// File with one text a line
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    file: Option<PathBuf>,
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
    /// Time that the run may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    deadline: Duration,
    /// Settings of the service of its own.
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Similarities and the execution record, for people
    Table,
    /// Embeddings and the execution record, for programs
    Json,
}

/// Embeds, with a running service or one of its own.
pub async fn run(infer: Infer) -> Result<(), CommandError> {
    let texts = read_texts(&infer)?;
    if !infer.local {
        return embed(&Client::connect(&infer.address).await?, &infer, texts).await;
    }
    let (app, client) = local(&infer.serve).await?;
    let result = tokio::select! {
        result = embed(&client, &infer, texts) => result,
        _ = tokio::signal::ctrl_c() => Err(CommandError::Usage("interrupted".into())),
    };
    // The server waits for its connections.
    drop(client);
    app.shut_down().await;
    result
}

async fn embed(client: &Client, infer: &Infer, texts: Vec<String>) -> Result<(), CommandError> {
    load(client, &infer.model).await?;
    let items = texts.iter().map(|text| v1::Item { input: Some(v1::item::Input::Text(text.clone())) }).collect();
    let request = v1::InferRequest { model: infer.model.clone(), items, ..Default::default() };
    let response = client.infer(request, infer.deadline).await?;
    match infer.format {
        Format::Table => print!("{}", report::table(&texts, &response)),
        Format::Json => println!("{}", report::json(&infer.model, &texts, &response)),
    }
    Ok(())
}

/// Has the model loaded, and shows how far that is.
async fn load(client: &Client, model: &str) -> Result<(), CommandError> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix} [{bar:30}] {bytes}/{total_bytes} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_prefix(format!("loading {model}"));
    let mut steps = client.load(model).await?;
    let mut elapsed = 0;
    while let Some(step) = steps.next().await {
        let step = step.inspect_err(|_| bar.abandon())?;
        elapsed = step.elapsed_ms;
        bar.set_length(step.total_bytes);
        bar.set_position(step.loaded_bytes);
        bar.set_message(match step.phase() {
            v1::LoadPhase::Files => step.file,
            v1::LoadPhase::Compile => "creating the session".into(),
            v1::LoadPhase::WarmUp => "first run".into(),
            v1::LoadPhase::Ready => "ready".into(),
            v1::LoadPhase::Prepare | v1::LoadPhase::Unspecified => "waiting for a browser".into(),
        });
        if step.ready_replicas > 0 {
            // One replica can answer; the others come meanwhile.
            break;
        }
    }
    bar.finish_and_clear();
    eprintln!("{model} is loaded ({elapsed} ms)");
    Ok(())
}

fn read_texts(infer: &Infer) -> Result<Vec<String>, CommandError> {
    if !infer.texts.is_empty() {
        return Ok(infer.texts.clone());
    }
    let text = match &infer.file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| CommandError::Io { what: format!("--file {}", file.display()), error })?,
        None if std::io::stdin().is_terminal() => {
            let message = "nothing to embed: give texts as arguments, with --file, or on standard input; see --help";
            return Err(CommandError::Usage(message.into()));
        }
        None => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| CommandError::Io { what: "standard input".into(), error })?;
            text
        }
    };
    let texts: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if texts.is_empty() { Err(CommandError::Usage("nothing to embed: no line has text".into())) } else { Ok(texts) }
}
