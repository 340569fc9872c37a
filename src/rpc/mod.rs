//! gRPC: the public API. One file for each service; `call` has what holds for all requests of a call; `convert` between wire and crate; `status` the only place that
//! names gRPC codes. Nothing of tonic leaves this folder.

mod benchmark;
mod call;
mod capability;
pub mod client;
mod codec;
mod convert;
mod deadline;
mod debug;
mod health;
mod held;
mod incoming;
mod inference;
mod matrix;
mod model;
mod pool;
mod runs;
mod server;
mod status;
mod trailer;
mod unread;
mod web;

pub use server::{Parts, Services, Settings};
pub use web::Origin;

/// Clients and servers of the services, as generated.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/grpc/webinfer.v1.rs"));
}

/// The API's files, as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
