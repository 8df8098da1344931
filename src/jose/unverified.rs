//! A token before anything is known to be true of it.
//!
//! [`Unverified`] shows what is needed to choose keys (`iss`, `kid`, `alg`, `typ`) and nothing else.
//! The claims are read here, once, so that a token that no key could save is refused before a key
//! is looked for; they come out of [`crate::jose::verify::verify`] alone.

use serde_json::{Map, Value};

use crate::jose::alg::Algorithm;
use crate::jose::compact::Compact;
pub use crate::jose::compact::{Malformed, TOKEN_BYTES_MAX};
use crate::jose::json::{self, Limits};

/// A JWT that is well formed. That is all.
#[derive(Debug)]
pub struct Unverified<'a> {
    compact: Compact<'a>,
    claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Reads the token's form: at most 8 KiB, three parts, canonical base64url, header and payload
    /// each one JSON object without duplicate members, a known `alg`, no extension.
    ///
    /// # Errors
    /// [`Malformed`] names the rule that the text breaks.
    pub fn parse(token: &'a str) -> Result<Self, Malformed> {
        let compact = Compact::parse(token)?;
        let claims = json::object(compact.payload_unverified(), Limits::TOKEN).map_err(|_| Malformed::Payload)?;
        Ok(Self { compact, claims })
    }

    /// `iss`, to choose whose keys to try. `None` if it is absent or no string.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.compact.kid().map(crate::model::id::Kid::as_str)
    }

    /// `alg`.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.compact.algorithm()
    }

    /// `typ` as it is written.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.compact.typ()
    }

    pub(crate) fn compact(&self) -> &Compact<'a> {
        &self.compact
    }

    pub(crate) fn claims_unverified(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claims themselves, for whoever has verified them: a copy would cost as much as the reading did.
    pub(crate) fn take_claims(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.claims)
    }
}
