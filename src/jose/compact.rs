//! The compact serialization (RFC 7515 section 7.1), taken apart strictly and not yet believed.
//!
//! Three parts, canonical base64url, a header that is one JSON object and names an algorithm that
//! we know (read by `header`). Whatever would change the meaning of the other parts refuses the token: `crit` with any
//! content (we know no extension), `b64` (RFC 7797) and `zip`. Header members that offer a key
//! (`jwk`, `jku`, `x5u`, `x5c`) are not looked at; only a DPoP proof asks for its `jwk`.
//!
//! The payload is bytes here: an access token's is claims ([`crate::jose::unverified`]).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::jose::alg::Algorithm;
use crate::jose::header::{self, Header};
use crate::model::id::Kid;

/// The longest token that is looked at, in bytes. Longer ones are refused before they are decoded.
pub const TOKEN_BYTES_MAX: usize = 8192;

/// Why a text is not a compact JWS. The messages are fixed: none repeats a part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than 8192 bytes")]
    TooLong,
    /// Not three non-empty parts (the payload of a plain JWS may be empty).
    #[error("the token is not a compact JWS of three parts")]
    Parts,
    /// A part is not base64url, is padded, or has a second spelling.
    #[error("a part of the token is not canonical base64url")]
    Base64,
    /// The header is no JSON object, or one with duplicate members.
    #[error("the token's header is not a JSON object with unique members")]
    Header,
    /// `alg` is absent, no string, `none`, or an algorithm that we do not verify.
    #[error("the token's `alg` is absent or unknown")]
    Algorithm,
    /// `crit`, `b64` or `zip` is present.
    #[error("the token's header holds an extension that is not understood")]
    Extension,
    /// `kid` or `typ` is no string, or no identifier.
    #[error("the token's `kid` or `typ` is not a usable string")]
    HeaderMember,
    /// The payload is no JSON object, or one with duplicate members.
    #[error("the token's payload is not a JSON object with unique members")]
    Payload,
}

/// A compact JWS whose signature nobody has looked at.
#[derive(Debug)]
pub struct Compact<'a> {
    signing_input: &'a str,
    header: Arc<Header>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes the token apart.
    ///
    /// # Errors
    /// [`Malformed`] names the rule that the text breaks.
    pub fn parse(token: &'a str) -> Result<Self, Malformed> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Malformed::Parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Malformed::Parts)?;
        if header.is_empty() || signature.is_empty() {
            return Err(Malformed::Parts);
        }
        // A fourth part would be in the payload, where its dot is no base64url: only what does not decode is searched.
        let payload = match decode(payload) {
            Err(_) if payload.contains('.') => return Err(Malformed::Parts),
            decoded => decoded,
        };
        Ok(Self {
            signing_input,
            header: header::read(header)?,
            payload: payload?,
            signature: decode(signature)?,
        })
    }

    /// `alg`: what the signer claims to have used. Nothing follows from it but a refusal.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&Kid> {
        self.header.kid.as_ref()
    }

    /// `typ` as it is written.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// The key that a DPoP proof carries (RFC 9449 section 4.2).
    pub(crate) fn embedded_key(&self) -> Option<&Value> {
        self.header.jwk.as_ref()
    }

    /// What was signed: header and payload in their encoded form.
    pub(crate) fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The payload, which nothing vouches for yet.
    pub(crate) fn payload_unverified(&self) -> &[u8] {
        &self.payload
    }

    /// The same for whoever reads it in place: nothing is left of it here.
    pub(in crate::jose) fn take_payload(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.payload)
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Decodes canonical base64url: no padding, no white space, no bits that a decoder would drop. So
/// that a token has one spelling, and with it one digest (attack A31, case J21).
pub(in crate::jose) fn decode(part: &str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Base64)
}

#[cfg(test)]
mod tests;
