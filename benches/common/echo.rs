//! Echo: a tonic server that answers with what it was sent, in a process of its own, so that its time is counted as the
//! service's is.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};
use webinfer::{
    proto::v1::{self, item::Input},
    rpc::{
        client::Client,
        generated::inference_service_server::{InferenceService, InferenceServiceServer},
    },
};

use super::Result;

/// The argument with which the bench becomes the server.
const SERVE: &str = "serve-echo";

struct Echo;

#[tonic::async_trait]
impl InferenceService for Echo {
    async fn infer(
        &self,
        request: Request<v1::InferRequest>,
    ) -> std::result::Result<Response<v1::InferResponse>, Status> {
        let results = request.into_inner().items.into_iter().map(|item| {
            let output = match item.input {
                Some(Input::Tensors(tensors)) => Some(v1::item_result::Output::Tensors(tensors)),
                _ => None,
            };
            v1::ItemResult { output, execution: 0 }
        });
        Ok(Response::new(v1::InferResponse { results: results.collect(), executions: Vec::new() }))
    }

    type GenerateStream = ReceiverStream<std::result::Result<v1::GenerateResponse, Status>>;

    async fn generate(
        &self,
        _request: Request<v1::GenerateRequest>,
    ) -> std::result::Result<Response<Self::GenerateStream>, Status> {
        Err(Status::unimplemented("only the unary call is measured"))
    }

    type InferStreamStream = ReceiverStream<std::result::Result<v1::InferStreamResponse, Status>>;

    async fn infer_stream(
        &self,
        _request: Request<Streaming<v1::InferStreamRequest>>,
    ) -> std::result::Result<Response<Self::InferStreamStream>, Status> {
        Err(Status::unimplemented("only the unary call is measured"))
    }
}

/// A running echo.
pub struct EchoServer {
    child: Child,
    pub client: Client,
}

impl EchoServer {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let mut child =
            Command::new(std::env::current_exe()?).arg(SERVE).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let address = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await??;
        let client = Client::connect(&address.ok_or("the echo ended while starting")?).await?;
        Ok(Self { child, client })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }
}

/// Becomes the server, if this process is to be it. Ends when it is killed.
pub async fn serve_if_asked() -> Result<()> {
    if std::env::args().any(|argument| argument == SERVE) {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder().add_service(InferenceServiceServer::new(Echo)).serve_with_incoming(incoming).await?;
    }
    Ok(())
}
