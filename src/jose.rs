//! Signed tokens: what we accept, what we refuse, and why. The only doors are `verify` and `sign`.
//!
//! Pure: no I/O, no clock, no randomness beyond what a signature or a new key needs; what a thread keeps (the last headers,
//! `header`) changes no answer. Only the
//! compact serialization of a JWS (RFC 7515 section 7.1) is a token; encrypted tokens and the JSON
//! serializations are refused.
//!
//! **Invariants**
//! - The algorithm comes from the authorization server's list and from the key, never from the
//!   token alone (RFC 8725 section 3.1). A key serves one family of algorithms, fixed by its type.
//! - Nothing in a token names a key to fetch or to use: `jwk`, `jku`, `x5u` and `x5c` are not read
//!   (but for the `jwk` of a DPoP proof, which proves the possession of that very key).
//! - One token has one spelling: canonical base64url, no duplicate JSON member, no extension that
//!   we do not know (`crit`, `b64`, `zip`).
//! - A bound comes before the work that it bounds: size before decoding, depth before building,
//!   key size before parsing.
//!
//! ```text
//! text ── compact ──> Compact ── verify_signature ──> Verified<&[u8]>     (what is no JWT)
//!   └── unverified ──> Unverified ── verify ──────> Verified<Claims>      (access tokens)
//!                        │   └────── check_signature                      (assertions)
//!                        │ shows iss, kid, alg, typ: enough to choose keys, no more
//! ```
//!
//! Known attacks, our answers and the tests that hold them are listed in [`vulns`].

pub mod alg;
pub mod certificate;
pub mod compact;
pub mod dpop;
pub mod json;
pub mod jwk;
pub mod key;
pub mod object;
pub mod sign;
pub mod unverified;
pub mod verify;
pub mod vulns;

mod der;
#[cfg(test)]
pub(crate) mod forge;
mod header;
