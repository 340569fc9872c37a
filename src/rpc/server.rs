//! Server: the gRPC listener with all services, health and reflection.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_web::GrpcWebLayer;
use tower::{
    filter::FilterLayer,
    util::{MapRequestLayer, MapResponseLayer, option_layer},
};

use super::{
    DESCRIPTORS,
    capability::Capabilities,
    generated::{
        capability_service_server::CapabilityServiceServer, inference_service_server::InferenceServiceServer,
        model_service_server::ModelServiceServer, pool_service_server::PoolServiceServer,
    },
    health,
    inference::Inference,
    model::Models,
    pool::Pools,
    trailer, unread,
    web::{Allowed, Origin},
};
use crate::{activity::Activity, admission::Admission, drain::Drain, models::Registry, pool::Pool, proto::v1};

/// How gRPC is spoken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest message, in bytes, either way.
    pub max_message_bytes: usize,
    /// HTTP/2 window of one stream, in bytes.
    pub stream_window_bytes: u32,
    /// HTTP/2 window of one connection, in bytes.
    pub connection_window_bytes: u32,
    /// Streams that one connection may have open.
    pub max_concurrent_streams: u32,
    /// A stream whose answers are not read for this long is ended.
    pub stall_deadline: Duration,
    /// Origins of the pages that may call, over gRPC-Web. Without one gRPC is all that is spoken.
    pub origins: Vec<Origin>,
    /// Items that run in one call; only to be reported.
    pub max_batch: usize,
    /// Largest model; only to be reported.
    pub max_model_bytes: u64,
}

/// What the services stand on.
pub struct Parts {
    /// The door for work.
    pub admission: Admission,
    /// What is registered.
    pub registry: Arc<Registry>,
    /// The browsers.
    pub pool: Pool,
    /// What the models do.
    pub activity: Arc<Activity>,
    /// Tells when to end.
    pub drain: Drain,
}

/// A connection whose peer does not answer a ping for this long is closed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Calls that were reset before they were taken up, on one connection, before that is closed. It bounds what a flood of
/// resets costs; many deadlines that end together must not reach it, since the connection's other calls would be lost.
const PENDING_RESETS: usize = 2048;

/// Serves until draining begins and all calls have ended.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    parts: Parts,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Parts { admission, registry, pool, activity, drain } = parts;
    let (reporter, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(health::keep(reporter, pool.clone(), drain.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let most = settings.max_message_bytes;
    let limits = limits(&settings, &admission);
    let pages = Allowed::new(settings.origins);
    let (ended, watched) = (drain.clone(), drain.clone());
    Server::builder()
        .initial_stream_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.connection_window_bytes)
        .max_concurrent_streams(settings.max_concurrent_streams)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .accept_http1(pages.any())
        .layer(option_layer(pages.any().then(|| pages.cors())))
        .layer(option_layer(pages.any().then(|| MapRequestLayer::new(unread::read_to_end))))
        .layer(option_layer(pages.any().then(GrpcWebLayer::new)))
        .layer(FilterLayer::new(pages))
        .layer(MapResponseLayer::new(trailer::add))
        .add_service(ModelServiceServer::new(Models { admission: admission.clone(), registry, pool: pool.clone() }))
        .add_service(
            InferenceServiceServer::new(Inference { admission, drain, stall_deadline: settings.stall_deadline })
                .max_decoding_message_size(most)
                .max_encoding_message_size(most),
        )
        .add_service(CapabilityServiceServer::new(Capabilities { pool: pool.clone(), limits }))
        .add_service(PoolServiceServer::new(Pools { pool, activity, drain: watched }))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async move {
            ended.begun().await;
        })
        .await?;
    Ok(())
}

fn limits(settings: &Settings, admission: &Admission) -> v1::Limits {
    let limits = admission.limits();
    v1::Limits {
        max_message_bytes: settings.max_message_bytes as u64,
        stream_window_bytes: settings.stream_window_bytes,
        connection_window_bytes: settings.connection_window_bytes,
        max_concurrent_streams: settings.max_concurrent_streams,
        max_request_items: u32::try_from(limits.max_request_items).unwrap_or(u32::MAX),
        max_pending_items: u32::try_from(limits.pending.items).unwrap_or(u32::MAX),
        max_pending_bytes: limits.pending.bytes as u64,
        max_batch: u32::try_from(settings.max_batch).unwrap_or(u32::MAX),
        default_deadline_ms: u64::try_from(limits.default_deadline.as_millis()).unwrap_or(u64::MAX),
        max_model_bytes: settings.max_model_bytes,
    }
}
