//! The gate as operators run it: the built program, real Envoy in front of it, an upstream that remembers.
//!
//! `bank` runs the example's own cases; `lab.yaml` beside these modules is a configuration with a route for every rule
//! that the other modules ask about. Tokens come from the gate's own issuer where one of its rules grants them, and else
//! from a foreign authorization server in the test's hand.

mod bank;
mod broken;
mod credentials;
mod denials;
mod drain;
mod failure;
mod floods;
mod foreign;
mod hosts;
mod identity;
mod issued;
mod managed;
mod methods;
mod normalisation;
mod paths;
mod reflection;
mod releases;
mod reload;
mod revocation;
mod rotation;
mod sender;
mod stage;
mod tracing;
mod transport;
mod upgrades;
