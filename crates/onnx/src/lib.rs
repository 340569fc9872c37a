//! ONNX models, read with bounds, written as streams, and quantised by what was measured.

pub mod error;
mod fp16;
mod graph;
mod grid;
mod job;
pub mod journal;
mod matrix;
mod measure;
mod mixed;
pub mod model;
pub mod optimize;
mod plan;
mod prepare;
pub mod proto;
pub mod quantize;
mod read;
mod rewrite;
mod schema;
pub mod tensor;
mod weights;
pub mod wire;
pub mod write;

pub use error::{Error, ReadError};
pub use job::Layer;
pub use measure::Calibration;
pub use mixed::{Candidate, Limit};
pub use model::Model;
pub use optimize::{Optimize, Optimized, optimize, optimize_to_half};
pub use prepare::predict;
pub use quantize::{Event, Options, Precision, Report, quantize};
