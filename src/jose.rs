//! Signed tokens: what we accept, what we refuse, and why. The only doors are `verify` and `sign`.
//!
//! Pure: no I/O, no clock, no randomness beyond key generation. Only the compact serialization of a
//! JWS (RFC 7515 section 7.1) is a token; encrypted tokens and JSON serializations are refused.
//! The algorithm comes from the authorization server's list and the key, never from the token alone.

pub mod alg;
pub mod key;
