//! Compiles our subset of Envoy's messages (`proto/`) with protox: no protoc on the machine.

use std::error::Error;

const FILES: &[&str] = &["envoy/service/auth/v3/external_auth.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .include_file("envoy_pb.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
