//! Messages: the public API and the frames of the bridge, generated from `proto/`. gRPC services are generated in `rpc`
//! alone.

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
