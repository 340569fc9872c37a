//! Compiles `proto/` without protoc, and refuses to go on without the pages that the binary embeds.

use prost::Message;
use std::{env, error::Error, fs, path::Path};

const PROTOS: [&str; 8] = [
    "webinfer/v1/execution.proto",
    "webinfer/v1/model.proto",
    "webinfer/v1/inference.proto",
    "webinfer/v1/capability.proto",
    "webinfer/v1/pool.proto",
    "webinfer/v1/debug.proto",
    "webinfer/bridge/v1/bridge.proto",
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=harness/dist");
    println!("cargo:rerun-if-changed=live/dist");
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);

    let files = protox::compile(PROTOS, ["proto"])?;
    fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    // Messages first, free of gRPC, for the bridge; then the services over them, for rpc alone.
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .bytes(".")
        // One order of entries: equal messages have equal bytes.
        .btree_map(".")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .out_dir(out)
        .compile_fds(files.clone())?;
    let grpc = out.join("grpc");
    fs::create_dir_all(&grpc)?;
    tonic_prost_build::configure()
        .extern_path(".webinfer.v1", "crate::proto::v1")
        .codec_path("crate::rpc::codec::SmallBuffers")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .out_dir(&grpc)
        .compile_fds(files)?;

    for page in ["harness/dist/page.html.gz", "live/dist/index.html.gz"] {
        if !Path::new(page).exists() {
            return Err(format!("{page} is missing: run `make page` first; it builds what the binary embeds").into());
        }
    }
    Ok(())
}
