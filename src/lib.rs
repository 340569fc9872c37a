//! webinfer: a gRPC inference server whose accelerators are web browsers.
//!
//! The way of one request, which is the order of the modules: [`rpc`] checks and converts it, [`admission`] makes its
//! jobs or refuses, [`scheduler`] queues them, cuts batches and routes them, [`pool`] leases a replica, [`bridge`] sends
//! one frame over that worker's link, and the page (`harness/`) runs it. The answer goes straight back to each job's
//! own sender. ARCHITECTURE.md tells who may import whom; a test holds it.

pub mod app;
pub mod cli;
pub mod config;

pub mod http;
pub mod rpc;

pub mod benchmark;

pub mod admission;
pub mod scheduler;

pub mod pool;

pub mod bridge;
pub mod browser;

pub mod models;

pub mod proto;
mod wire;

pub mod loss;

pub mod knowledge;

pub mod agreement;

mod activity;
mod connections;
mod cost;
mod drain;
mod error;
mod execution;
mod job;
mod ledger;
pub mod media;
pub mod metrics;
mod partials;
mod quarantine;
mod size;
mod tensors;
pub mod trace;
