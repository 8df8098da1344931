//! Generated from `proto/`: the messages of `ext_authz` v3 that we exchange with Envoy.
//!
//! The check path does not use them: [`super::view`] reads and [`super::reply`] writes the wire form directly. They are
//! for clients (tests, the benchmark) and for holding the other two to the wire format.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the text under proto/ is documented"
)]

include!(concat!(env!("OUT_DIR"), "/envoy_pb.rs"));

/// What those files say, with all that they import, as an encoded `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy_pb.binpb"));
