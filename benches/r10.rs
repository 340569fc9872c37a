//! R10: memory of the service, idle with a loaded model, and with ten thousand streams open.

mod common;

use std::time::Duration;

use common::{
    Result,
    process::resident_mib,
    report::{Goal, Report},
    repository,
    service::Service,
};
use serde_json::json;
use tonic::transport::Channel;
use webinfer::rpc::generated::inference_service_client::InferenceServiceClient;

const MODEL: &str = "all-MiniLM-L6-v2";
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 4;
const STREAMS: usize = 10_000;
/// Time for what is still going on to end before memory is read.
const SETTLE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<()> {
    let mut report = Report::new(
        "R10",
        json!({"model": MODEL, "dtype": "q8", "rounds": ROUNDS, "streams": STREAMS, "connections": CONNECTIONS,
               "counted": "VmRSS of the service's process, in MiB"}),
    );
    let (mut idle, mut open, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let service = Service::start(&repository("models"), &[]).await?;
        service.load(MODEL).await?;
        Service::embed(&service.client, MODEL, &["It has answered once.".to_owned()]).await?;
        tokio::time::sleep(SETTLE).await;
        let before = resident_mib(service.pid())?;
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            let channel = Channel::from_shared(format!("http://{}", service.address))?.connect().await?;
            let open = (0..STREAMS / CONNECTIONS).map(|_| {
                let mut client = InferenceServiceClient::new(channel.clone());
                async move { client.infer_stream(futures_util::stream::pending()).await }
            });
            streams.extend(futures_util::future::try_join_all(open).await?);
        }
        tokio::time::sleep(SETTLE).await;
        let with_streams = resident_mib(service.pid())?;
        drop(streams);
        idle.push(before[0]);
        open.push(with_streams[0]);
        raw.push(json!({"idle_rss_anon_file": before, "open_rss_anon_file": with_streams}));
        service.stop().await?;
    }
    report.figure("MiB idle", &idle, Goal::AtMost(30.0), json!(raw));
    report.figure("MiB with 10,000 open streams", &open, Goal::AtMost(150.0), json!(raw));
    report.write()
}
