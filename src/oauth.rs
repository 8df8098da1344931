//! The issuer's nouns and rules, pure: authorization servers, clients, access policies.
//!
//! Everything here is a value or a function of values: no I/O, no clock, no HTTP. The words are
//! those of RFC 6749 and of Okta's API Access Management.
//!
//! How a token request flows through it:
//!
//! ```text
//! body, Authorization ─ request ─▶ Form, presented credentials
//!                       client  ─▶ is it the client? (constant time)
//!                       access  ─▶ decide(): who may get what, with the trace of how
//!                       claims  ─▶ what the token says beside the registered claims
//!                       token   ─▶ the claim set that jose signs
//!            anything refused  ─▶ error ─▶ one RFC code, one status, our own stable code
//! ```
//!
//! It deliberately has no deny rule: access is allow-only, and what no rule grants is refused.

pub mod access;
pub mod assertion;
pub mod authorization;
pub mod certificate;
pub mod claims;
pub mod client;
pub mod declared;
pub mod device;
pub mod document;
pub mod error;
pub mod grant;
pub mod held;
pub mod id_token;
pub mod keyring;
pub mod metadata;
pub mod minting;
pub mod peer_keys;
pub mod pkce;
pub mod redirect;
pub mod refresh;
pub mod registration;
pub mod request;
pub mod resource;
pub mod schema;
pub mod standard_claims;
pub mod token;
pub mod user;
pub mod vulns;

#[cfg(test)]
pub(crate) mod sample;
