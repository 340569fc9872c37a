//! What can go wrong, in words that say what to do.

use std::io;

/// Why a file is not a usable ONNX model.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It ends inside a field.
    #[error("it is truncated: a field at byte {at} is said to have {length} bytes, and {left} are left; get it anew")]
    Truncated {
        /// Where the field begins.
        at: u64,
        /// Its stated length.
        length: u64,
        /// What the file still has.
        left: u64,
    },
    /// It is something else.
    #[error("it is not an ONNX model: {0}")]
    NotOnnx(&'static str),
    /// A message does not decode.
    #[error("it is not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// Its graph, without the weights, would take too much memory.
    #[error(
        "its graph without the weights would take more than {most} bytes of memory, so that it is not read; save its constants as tensors of the graph, which are left in the file"
    )]
    TooLarge {
        /// Most bytes for a file of its size.
        most: u64,
    },
    /// Graphs inside graphs.
    #[error("its graphs are nested too deep")]
    TooDeep,
    /// A tensor's bytes are not those of its shape.
    #[error("the tensor {name:?} is wrong: {what}")]
    Tensor {
        /// Which.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// External data lies where it must not.
    #[error(
        "the tensor {name:?} keeps its data in {location:?}, which is not a file of the graph's folder; put it there"
    )]
    Outside {
        /// Which.
        name: String,
        /// Where.
        location: String,
    },
    /// External data is not there.
    #[error("the tensor {name:?} keeps its data in {location:?}: {error}")]
    External {
        /// Which.
        name: String,
        /// Where.
        location: String,
        /// What the system says.
        error: io::Error,
    },
}

/// Why a model was not quantised.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source is no good.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The destination cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// Which file.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody else writes it.
    #[error("{path} is being written by somebody else; wait until that is done, or end it")]
    Busy {
        /// Which file.
        path: String,
    },
    /// There is nothing in the graph that this precision changes.
    #[error("the graph has no weights that this would make smaller; nothing was written")]
    Nothing,
    /// What was asked for does not fit together.
    #[error("{0}")]
    Options(String),
    /// The graph cannot be run here, so that nothing can be measured.
    #[error("the graph cannot be run here, so that its output cannot be measured: {0}")]
    Run(String),
    /// Nobody wanted it to be run.
    #[error("the graph was not to be run")]
    NotRun,
}
