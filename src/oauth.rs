//! The issuer's nouns and rules, pure: authorization servers, clients, access policies.
//!
//! Everything here is a value or a function of values: no I/O, no clock, no HTTP. The words are
//! those of RFC 6749 and of Okta's API Access Management.

pub mod declared;
