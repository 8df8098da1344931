//! Scopegate: the gate and the pass office in one small program.

pub mod app;
pub mod audit;
pub mod authz;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod envoy;
pub mod http;
pub mod issuer;
pub mod jose;
pub mod keys;
pub mod lifecycle;
pub mod model;
pub mod net;
pub mod oauth;
pub mod policy;
pub mod reach;
pub mod revocation;
pub mod store;
pub mod telemetry;
pub mod trust;
