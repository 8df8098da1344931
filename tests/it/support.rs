//! What integration tests are made of: real Envoys, the built gate, an upstream that remembers what reached it,
//! a scripted authorization service, and clients that send exactly the bytes they are given.
//!
//! Every process has its own ports and its own temporary folder, so tests run beside each other, and every wait is
//! for an event and has a deadline: nothing sleeps for a fixed time and hopes.

pub(crate) mod checks;
pub(crate) mod collector;
pub(crate) mod envoy;
pub(crate) mod h2_client;
pub(crate) mod http1;
pub(crate) mod managed;
pub(crate) mod peers;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod provider;
pub(crate) mod scopegate;
pub(crate) mod standin;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod yaml;
