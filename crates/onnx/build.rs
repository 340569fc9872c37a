//! Compiles `proto/onnx.proto`, the schema of ONNX 1.23, without protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["onnx.proto"], ["proto"])?;
    let mut config = prost_build::Config::new();
    // What few attributes have is not to take room in all.
    for field in ["t", "g", "sparse_tensor", "tp"] {
        config.boxed(format!(".onnx.AttributeProto.{field}"));
    }
    // They are for readers of the schema, and not all of them are documentation that rustdoc can read.
    config.disable_comments(["."]);
    config.compile_fds(files)?;
    Ok(())
}
