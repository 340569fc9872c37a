//! The service in a process of its own, as its users run it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use webinfer::{
    proto::v1::{self, item::Input},
    rpc::client::Client,
};

use super::Result;

/// A running service.
pub struct Service {
    child: Child,
    pub client: Client,
    /// Where it listens.
    pub address: String,
    /// The same over HTTP.
    http: String,
}

/// Arguments for one worker of one thread, with no model loaded yet.
pub const ONE_WORKER: [&str; 3] = ["--load=none", "--replicas=1", "--threads=1"];

/// The program as it was built for the bench.
pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_webinfer").into()
}

/// Time to come up, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

impl Service {
    /// Starts one on free ports, with further arguments.
    pub async fn start(models: &Path, arguments: &[&str]) -> Result<Self> {
        let own = [&["--state=none"], arguments].concat();
        Self::start_program(&program(), models, &own).await
    }

    /// The same of another build of the program.
    pub async fn start_program(program: &Path, models: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        // What the shell sets for other services is not what is measured.
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEBINFER_")).for_each(
            |(name, _)| {
                command.env_remove(name);
            },
        );
        let mut child = command
            .args(["serve", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"])
            .arg("--models")
            .arg(models)
            .args(arguments)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, rest)) = line.split_once("gRPC on ")
                    && let Some((address, http)) = rest.split_once(", HTTP on http://")
                {
                    return Ok((address.to_owned(), http.trim().to_owned()));
                }
            }
            Err(std::io::Error::other("the service ended while starting"))
        };
        let (address, http) = timeout(PATIENCE, listening).await??;
        // Read on, so that the service never waits for its log to be taken.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { client: Client::connect(&address).await?, child, address, http })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Loads a model and waits for it.
    pub async fn load(&self, id: &str) -> Result<()> {
        use futures_util::StreamExt;
        let steps = self.client.load(id).await?;
        let mut steps = std::pin::pin!(steps);
        while let Some(step) = steps.next().await {
            step?;
        }
        Ok(())
    }

    /// Registers a folder's model in one precision and loads it; returns its id.
    pub async fn load_as(&self, source: &str, dtype: &str) -> Result<String> {
        let id = format!("{source}-{dtype}");
        let spec =
            v1::ModelSpec { id: id.clone(), source: source.to_owned(), dtype: dtype.to_owned(), ..Default::default() };
        self.client.register(spec).await?;
        self.load(&id).await?;
        Ok(id)
    }

    /// Embeds texts in one request.
    pub async fn embed(client: &Client, model: &str, texts: &[String]) -> Result<v1::InferResponse> {
        let items = texts.iter().map(|text| v1::Item { input: Some(Input::Text(text.clone())) }).collect();
        let request = v1::InferRequest { model: model.to_owned(), items, ..Default::default() };
        Ok(client.infer(request, PATIENCE).await.map_err(|failure| failure.message)?)
    }

    /// The sum of a metric over its series that have a label.
    pub async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let mut socket = TcpStream::connect(&self.http).await?;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        let series = answer.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Ends it as an operator would.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
        }
        drop(self.client);
        timeout(PATIENCE, self.child.wait()).await??;
        Ok(())
    }
}

/// The vector of an item.
pub fn vector(result: &v1::ItemResult) -> Result<&[f32]> {
    match &result.output {
        Some(v1::item_result::Output::Embedding(embedding)) => Ok(&embedding.values),
        _ => Err("the answer holds no embedding".into()),
    }
}
