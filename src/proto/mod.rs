//! Messages: the public API and the frames of the bridge, generated from `proto/`, and the way between their smallest
//! parts and the crate's own types. gRPC services are generated in `rpc` alone.

mod convert;

pub use convert::{
    backend_from_wire, backend_to_wire, fallback_from_wire, fallback_to_wire, hardware_to_wire, pooling_from_wire,
    pooling_to_wire, tensors_from_wire, tensors_to_wire,
};

pub use generated::{bridge::v1 as bridge, v1};

/// Nested as the packages are, which is how generated code refers to its neighbours: `webinfer.v1` is the public API,
/// `webinfer.bridge.v1` the private frames.
#[allow(missing_docs, rustdoc::invalid_html_tags, clippy::all, clippy::pedantic)]
mod generated {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/webinfer.v1.rs"));
    }

    pub mod bridge {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/webinfer.bridge.v1.rs"));
        }
    }
}
