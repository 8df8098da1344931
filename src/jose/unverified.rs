//! A token before anything is known to be true of it.
//!
//! [`Unverified`] shows what is needed to choose keys (`iss`, `kid`, `alg`, `typ`) and nothing else.
//! The claims are read here, once, so that a token that no key could save is refused before a key
//! is looked for; they come out of [`crate::jose::verify::verify`] alone.

use crate::jose::alg::Algorithm;
use crate::jose::compact::Compact;
pub use crate::jose::compact::{Malformed, TOKEN_BYTES_MAX};
use crate::jose::json::{self, Limits};
use crate::jose::object::Object;

/// A JWT that is well formed. That is all.
#[derive(Debug)]
pub struct Unverified<'a> {
    compact: Compact<'a>,
    claims: Object,
}

impl<'a> Unverified<'a> {
    /// Reads the token's form: at most 8 KiB, three parts, canonical base64url, header and payload
    /// each one JSON object without duplicate members, a known `alg`, no extension.
    ///
    /// # Errors
    /// [`Malformed`] names the rule that the text breaks.
    pub fn parse(token: &'a str) -> Result<Self, Malformed> {
        let mut compact = Compact::parse(token)?;
        let claims = json::object(compact.take_payload(), Limits::TOKEN).map_err(|_| Malformed::Payload)?;
        Ok(Self { compact, claims })
    }

    /// `iss`, to choose whose keys to try. `None` if it is absent or no string.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.text("iss")
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

    /// What was signed.
    pub(crate) fn signing_input(&self) -> &'a str {
        self.compact.signing_input()
    }

    /// Its form, without the payload, which the claims were made of.
    pub(in crate::jose) fn compact(&self) -> &Compact<'a> {
        &self.compact
    }

    pub(crate) fn claims_unverified(&self) -> &Object {
        &self.claims
    }

    /// The claims themselves, for whoever has verified them: a copy would cost as much as the reading did.
    pub(crate) fn take_claims(&mut self) -> Object {
        std::mem::take(&mut self.claims)
    }
}
