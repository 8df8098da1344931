//! The integration tests, one binary: `envoy_facts` pins what real Envoys do, `gate` asks the gate through them,
//! `nodes` runs several processes on one PostgreSQL, `lone` a gate and an issuer apart on one store, `architecture` holds the source to its import table. What they
//! need is installed by `tests/peers.sh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and so do the pieces that only tests use"
)]

mod architecture;
mod cli;
mod collector;
mod deploy;
mod docs;
mod envoy_facts;
mod examples;
mod gate;
mod instructions;
mod lone;
mod nodes;
mod okta_sdk;
mod store;
mod support;
mod wycheproof;
