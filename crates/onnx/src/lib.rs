//! ONNX models, read with bounds, written as streams, and quantised by what was measured.

pub mod error;
mod fp16;
mod graph;
mod grid;
mod job;
mod matrix;
mod measure;
mod mixed;
pub mod model;
mod plan;
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
pub use measure::Calibration;
pub use mixed::{Candidate, Limit};
pub use model::Model;
pub use quantize::{Event, Layer, Options, Precision, Report, quantize};
