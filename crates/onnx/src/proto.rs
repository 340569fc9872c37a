//! The messages of ONNX, generated from its schema.

#![allow(missing_docs, clippy::all, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
