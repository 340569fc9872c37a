//! `webinfer infer`: embeds texts, and says what computed them.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};

use super::{CommandError, local, progress, read_file, report, texts};
use crate::{
    config::Serve,
    proto::v1,
    rpc::client::{Client, ClientError},
};

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
    progress::load(client, &infer.model).await?;
    let items = texts.iter().map(|text| v1::Item { input: Some(v1::item::Input::Text(text.clone())) }).collect();
    let request = v1::InferRequest { model: infer.model.clone(), items, ..Default::default() };
    let response = client.infer(request, infer.deadline).await.map_err(ClientError::from)?;
    match infer.format {
        Format::Table => print!("{}", report::table(&texts, &response)),
        Format::Json => println!("{}", report::json(&infer.model, &texts, &response)),
    }
    Ok(())
}

fn read_texts(infer: &Infer) -> Result<Vec<String>, CommandError> {
    if !infer.texts.is_empty() {
        return Ok(infer.texts.clone());
    }
    let text = match &infer.file {
        Some(file) => read_file(file)?,
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
    texts(&text)
}
