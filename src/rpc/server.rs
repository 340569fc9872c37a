//! Server: the services, the gRPC listener with health and reflection, and gRPC-Web for another listener.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{Request, Response};
use tonic::{
    Status,
    body::Body,
    service::Routes,
    transport::{
        Server,
        server::{Connected, TcpConnectInfo},
    },
};
use tonic_web::GrpcWebLayer;
use tower::{
    Service, ServiceBuilder, ServiceExt,
    filter::FilterLayer,
    service_fn,
    util::{MapRequestLayer, MapResponseLayer, option_layer},
};

use super::{
    DESCRIPTORS,
    benchmark::Benchmark,
    capability::Capabilities,
    deadline,
    debug::Debug,
    generated::{
        benchmark_service_server::BenchmarkServiceServer, capability_service_server::CapabilityServiceServer,
        debug_service_server::DebugServiceServer, inference_service_server::InferenceServiceServer,
        model_service_server::ModelServiceServer, pool_service_server::PoolServiceServer,
    },
    health, held,
    incoming::Incoming,
    inference::Inference,
    model::Models,
    pool::Pools,
    trailer, unread,
    web::{Allowed, Origin},
};
use crate::{
    activity::Activity,
    admission::Admission,
    benchmark::Benchmarks,
    connections::{Connection, Connections},
    drain::Drain,
    models::Registry,
    pool::Pool,
    proto::v1,
    trace::Tracer,
};

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
    /// Whether DebugService is offered.
    pub debug: bool,
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
    /// What measures.
    pub benchmarks: Benchmarks,
    /// Tells when to end.
    pub drain: Drain,
    /// Makes the requests' traces.
    pub tracer: Tracer,
}

/// A connection whose peer does not answer a ping for this long is closed.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Calls that were reset before they were taken up, on one connection, before that is closed. It bounds what a flood of
/// resets costs; many deadlines that end together must not reach it, since the connection's other calls would be lost.
const PENDING_RESETS: usize = 2048;

/// The services, made once for all listeners.
#[derive(Clone)]
pub struct Services {
    routes: Routes,
    settings: Settings,
    incoming: Incoming,
    pool: Pool,
    drain: Drain,
}

impl Services {
    /// Makes them.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        let Parts { admission, registry, pool, activity, benchmarks, drain, tracer } = parts;
        let most = settings.max_message_bytes;
        let limits = limits(&settings, &admission);
        let incoming = Incoming::new(admission.limits().pending.bytes, settings.stall_deadline);
        let debug = Debug { admission: settings.debug.then(|| admission.clone()), tracer: tracer.clone() };
        let stall_deadline = settings.stall_deadline;
        let models = Models {
            admission: admission.clone(),
            registry: registry.clone(),
            pool: pool.clone(),
            drain: drain.clone(),
        };
        let pools =
            Pools { admission: admission.clone(), pool: pool.clone(), registry, activity, drain: drain.clone() };
        let inference = Inference { admission, drain: drain.clone(), tracer, max_message_bytes: most, stall_deadline };
        let routes = Routes::new(ModelServiceServer::new(models))
            .add_service(
                InferenceServiceServer::new(inference).max_decoding_message_size(most).max_encoding_message_size(most),
            )
            .add_service(CapabilityServiceServer::new(Capabilities { pool: pool.clone(), limits }))
            .add_service(DebugServiceServer::new(debug).max_decoding_message_size(most).max_encoding_message_size(most))
            .add_service(PoolServiceServer::new(pools))
            .add_service(BenchmarkServiceServer::new(Benchmark { benchmarks }).max_decoding_message_size(most));
        Self { routes, settings, incoming, pool, drain }
    }

    /// The services over gRPC-Web, for a listener of HTTP/1.1 that is also where the pages come from that call. It tells the
    /// peer's address by an extension of each request.
    pub fn web<B>(
        &self,
    ) -> impl Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<tower::BoxError>,
    {
        let pages = Allowed::with_own(self.settings.origins.clone());
        let incoming = self.incoming.clone();
        let calls = ServiceBuilder::new()
            .layer(MapRequestLayer::new(deadline::note))
            .layer(pages.cors())
            .layer(FilterLayer::new(pages))
            .layer(MapRequestLayer::new(unread::read_to_end))
            .layer(MapRequestLayer::new(with_peer))
            .layer(GrpcWebLayer::new())
            .layer(MapRequestLayer::new(move |request| incoming.count(request)))
            .layer(MapResponseLayer::new(trailer::add))
            .layer(MapResponseLayer::new(held::keep))
            .service(self.routes.clone().prepare());
        service_fn(move |request: Request<B>| {
            let calls = calls.clone();
            // Who is refused is told as whoever calls is.
            async move { Ok(calls.oneshot(request.map(Body::new)).await.unwrap_or_else(refusal)) }
        })
    }

    /// Serves gRPC until draining begins and all calls have ended.
    pub async fn serve(self, connections: Connections) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Self { routes, settings, incoming, pool, drain } = self;
        let (reporter, health_service) = tonic_health::server::health_reporter();
        tokio::spawn(health::keep(reporter, pool, drain.clone()));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let pages = Allowed::new(settings.origins);
        Server::builder()
            .initial_stream_window_size(settings.stream_window_bytes)
            .initial_connection_window_size(settings.connection_window_bytes)
            .max_concurrent_streams(settings.max_concurrent_streams)
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .accept_http1(pages.any())
            .layer(MapRequestLayer::new(deadline::note))
            .layer(option_layer(pages.any().then(|| pages.cors())))
            .layer(option_layer(pages.any().then(|| MapRequestLayer::new(unread::read_to_end))))
            .layer(option_layer(pages.any().then(GrpcWebLayer::new)))
            .layer(FilterLayer::new(pages))
            .layer(MapRequestLayer::new(move |request| incoming.count(request)))
            .layer(MapResponseLayer::new(trailer::add))
            .layer(MapResponseLayer::new(held::keep))
            .add_routes(routes)
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .serve_with_incoming_shutdown(taken(connections), async move {
                drain.begun().await;
            })
            .await?;
        Ok(())
    }
}

/// The connections as tonic takes them. None of them is ever an error.
fn taken(connections: Connections) -> impl Stream<Item = Result<Connection, Infallible>> {
    stream::unfold(connections, async |mut connections| Some((Ok(connections.accept().await), connections)))
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: None, remote_addr: Some(self.peer()) }
    }
}

/// With the peer where calls look for it.
fn with_peer(mut request: Request<Body>) -> Request<Body> {
    let remote_addr = request.extensions().get::<SocketAddr>().copied();
    request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr });
    request
}

fn refusal(error: tower::BoxError) -> Response<Body> {
    Status::from_error(error).into_http()
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
