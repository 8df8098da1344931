//! Compiles our subset of Envoy's messages (`proto/`) with protox: no protoc on the machine. Beside the code it leaves
//! the descriptors, which reflection serves.

use std::error::Error;
use std::path::Path;

use prost::Message as _;

const FILES: &[&str] = &["envoy/service/auth/v3/external_auth.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let mut descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .include_file("envoy_pb.rs")
        .compile_fds(descriptors.clone())?;
    // Who reflects wants names and types; the comments and their places are most of the bytes.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    let out = std::env::var_os("OUT_DIR").ok_or("cargo says where to write in OUT_DIR, and it is not set")?;
    std::fs::write(Path::new(&out).join("envoy_pb.binpb"), descriptors.encode_to_vec())?;
    Ok(())
}
