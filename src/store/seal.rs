//! Private keys at rest: AES-256-GCM under a key that is kept apart from the database.
//!
//! The key's name and its authorization server are authenticated with it, so that a sealed key that
//! is moved to another row does not open. A dump of the database without the key file signs nothing.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;

use crate::entropy;
use crate::model::secret::Secret;
use crate::store::StoreError;

/// The first byte of what is sealed: how it is to be opened.
const FORMAT: u8 = 1;

const NONCE_BYTES: usize = 12;

/// The key that seals private keys.
pub struct SealingKey {
    sealing: LessSafeKey,
    root: hmac::Key,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

/// What is sealed does not open: another key sealed it, it was altered, or it stands elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sealed private key does not open: the key file is not the one that it was sealed with, or the store was altered"
)]
pub struct NotOpened;

impl SealingKey {
    /// A key of these 32 bytes.
    ///
    /// # Panics
    /// Never: 32 bytes are a key of AES-256.
    #[must_use]
    pub fn from_bytes(bytes: &Secret<[u8; 32]>) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes.expose_secret()).expect("32 bytes are a key of AES-256");
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes.expose_secret());
        Self {
            sealing: LessSafeKey::new(key),
            root,
        }
    }

    /// A new key.
    #[must_use]
    pub fn generate() -> (Self, Secret<[u8; 32]>) {
        let bytes = Secret::new(entropy::random_bytes());
        (Self::from_bytes(&bytes), bytes)
    }

    /// Reads a key file: 32 bytes in base64, as `openssl rand -base64 32` writes them.
    ///
    /// # Errors
    /// [`StoreError::SealingKeyMalformed`] when the text is something else.
    pub fn from_text(path: &Path, text: &Secret<String>) -> Result<Self, StoreError> {
        Self::parse(text).ok_or_else(|| StoreError::SealingKeyMalformed(path.to_owned()))
    }

    /// Reads 32 bytes in base64.
    #[must_use]
    pub fn parse(text: &Secret<String>) -> Option<Self> {
        let decoded = base64::engine::general_purpose::STANDARD.decode(text.expose_secret().trim());
        let bytes: [u8; 32] = decoded.ok()?.try_into().ok()?;
        Some(Self::from_bytes(&Secret::new(bytes)))
    }

    /// What a store keeps to know the key again. It says nothing about the key, and opens nothing.
    #[must_use]
    pub fn check(&self) -> [u8; 32] {
        self.mac("sealing key check", b"scopegate")
    }

    /// A keyed digest of a message for one purpose. What one purpose yields says nothing about another, and the
    /// store holds nothing that it could be made from.
    #[must_use]
    pub fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let derived = hmac::sign(&self.root, format!("scopegate mac 1: {purpose}").as_bytes());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()), message);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Seals. `context` names what it is and where it stands.
    ///
    /// # Panics
    /// When AES-GCM fails, which it does not for texts of this size.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &Secret<Vec<u8>>) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = entropy::random_bytes();
        let mut text = plain.expose_secret().clone();
        let tag = self
            .sealing
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text)
            .expect("a text of this size can be sealed");
        let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + text.len() + tag.as_ref().len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens.
    ///
    /// # Errors
    /// [`NotOpened`], whatever is wrong.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, NotOpened> {
        let (format, rest) = sealed.split_first().ok_or(NotOpened)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(NotOpened)?;
        if *format != FORMAT {
            return Err(NotOpened);
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let plain = self
            .sealing
            .open_in_place(nonce, Aad::from(context), &mut text)
            .map_err(|_| NotOpened)?;
        let length = plain.len();
        text.truncate(length);
        Ok(Secret::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_context_alone() {
        let (key, bytes) = SealingKey::generate();
        let plain = Secret::new(b"private".to_vec());
        let sealed = key.seal("transfers/k1", &plain);
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        let opened = SealingKey::from_bytes(&bytes)
            .open("transfers/k1", &sealed)
            .expect("opens");
        assert_eq!(opened.expose_secret(), b"private");
        assert!(key.open("transfers/k2", &sealed).is_err());
        assert!(SealingKey::generate().0.open("transfers/k1", &sealed).is_err());
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert!(key.open("transfers/k1", &altered).is_err(), "byte {index}");
        }
        for length in 0..sealed.len() {
            assert!(key.open("transfers/k1", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_key_file_is_32_bytes_in_base64() {
        let path = Path::new("scopegate.key");
        let read = |text: &str| SealingKey::from_text(path, &Secret::new(text.to_owned()));
        assert!(read("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").is_ok());
        for bad in [
            "",
            "AAAA",
            "not base64 at all",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        ] {
            assert!(matches!(read(bad), Err(StoreError::SealingKeyMalformed(_))), "{bad:?}");
        }
    }
}
