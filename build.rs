//! Compiles `proto/` without protoc, and refuses to go on without the pages that the binary embeds.

use prost::Message;
use std::{env, error::Error, fs, path::Path, process::Command};

const PROTOS: [&str; 9] = [
    "webinfer/v1/execution.proto",
    "webinfer/v1/model.proto",
    "webinfer/v1/inference.proto",
    "webinfer/v1/capability.proto",
    "webinfer/v1/pool.proto",
    "webinfer/v1/debug.proto",
    "webinfer/v1/benchmark.proto",
    "webinfer/bridge/v1/bridge.proto",
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=harness/dist");
    println!("cargo:rerun-if-changed=live/dist");
    println!("cargo:rustc-env=BUILT_OF_COMMIT={}", commit());
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

/// The commit that is checked out; empty where there is none, as in an archive of the sources, and in a build for debugging,
/// which is not to be made anew with each commit.
fn commit() -> String {
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return String::new();
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // It has a line for each commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default()
}
