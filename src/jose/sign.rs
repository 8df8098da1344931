//! Keys that sign, and the signing of tokens.
//!
//! A key pair is parsed once and kept; a signature parses nothing. A key's `kid` is its RFC 7638
//! thumbprint: two nodes that hold one key agree on its name, and no two keys share one.
//!
//! The private half leaves as [`Secret`] PKCS #8 alone, for the store; `Debug` shows the `kid`.

mod private;

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::jose::alg::{Algorithm, KeyFamily};
use crate::jose::der;
use crate::jose::jwk::{KeyRefusal, PublicJwk};
use crate::jose::key::VerifyingKey;
use crate::model::id::Kid;
use crate::model::secret::Secret;

pub use private::PrivateJwkError;

/// A key pair that signs tokens with one algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: Kid,
    public: PublicJwk,
    verifying: VerifyingKey,
    pair: Pair,
    pkcs8: Secret<Vec<u8>>,
}

/// The protected header.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why there is no key or no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// We do not sign with this algorithm.
    #[error("tokens are not signed with `{}`; use RS256, PS256, ES256, ES384 or EdDSA", .0.as_str())]
    Unsupported(Algorithm),
    /// The PKCS #8 document holds no key for this algorithm.
    #[error("the PKCS #8 document holds no private key for `{}`", .0.as_str())]
    NoPrivateKey(Algorithm),
    /// The key is one that we would refuse to verify with.
    #[error("the private key cannot be used: {0}")]
    Refused(#[from] KeyRefusal),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl SigningKey {
    /// The algorithms that [`Self::generate`] makes keys for.
    pub const ALGORITHMS: [Algorithm; 5] = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];

    /// Makes a new key: RSA of 2048 bits, or a key of the algorithm's curve. An RSA key takes a
    /// fraction of a second: not for a thread that answers checks.
    ///
    /// # Errors
    /// [`SignError::Unsupported`] for an algorithm outside [`Self::ALGORITHMS`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, SignError> {
        if !Self::ALGORITHMS.contains(&algorithm) {
            return Err(SignError::Unsupported(algorithm));
        }
        let library = |_| SignError::Library;
        let pkcs8 = match algorithm.family() {
            KeyFamily::Rsa => RsaKeyPair::generate(rsa::KeySize::Rsa2048)
                .and_then(|pair| Ok(pair.as_der()?.as_ref().to_vec()))
                .map_err(library)?,
            KeyFamily::P256 | KeyFamily::P384 => EcdsaKeyPair::generate(curve(algorithm)?)
                .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec()))
                .map_err(library)?,
            KeyFamily::Ed25519 => Ed25519KeyPair::generate()
                .and_then(|pair| Ok(pair.to_pkcs8v1()?.as_ref().to_vec()))
                .map_err(library)?,
            KeyFamily::Secret => return Err(SignError::Unsupported(algorithm)),
        };
        Self::from_pkcs8(algorithm, &Secret::new(pkcs8))
    }

    /// Reads a key from an unencrypted PKCS #8 document (RFC 5208, RFC 5958).
    ///
    /// # Errors
    /// [`SignError::Unsupported`], [`SignError::NoPrivateKey`], or [`SignError::Refused`] for a key
    /// that verifiers would refuse.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &Secret<Vec<u8>>) -> Result<Self, SignError> {
        let document = pkcs8.expose_secret();
        let rejected = |_| SignError::NoPrivateKey(algorithm);
        let (pair, public) = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => {
                let pair = RsaKeyPair::from_pkcs8(document).map_err(rejected)?;
                let public = rsa_public(pair.public_key().as_ref()).ok_or(SignError::NoPrivateKey(algorithm))?;
                let padding: &'static dyn RsaEncoding = if algorithm == Algorithm::Rs256 {
                    &signature::RSA_PKCS1_SHA256
                } else {
                    &signature::RSA_PSS_SHA256
                };
                (Pair::Rsa(pair, padding), public)
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                let pair = EcdsaKeyPair::from_pkcs8(curve(algorithm)?, document).map_err(rejected)?;
                let public = ecdsa_public(pair.public_key().as_ref()).ok_or(SignError::NoPrivateKey(algorithm))?;
                (Pair::Ecdsa(pair), public)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(document).map_err(rejected)?;
                let x = pair.public_key().as_ref().try_into();
                let public = PublicJwk::Ed25519 {
                    x: x.map_err(|_| SignError::NoPrivateKey(algorithm))?,
                };
                (Pair::Ed25519(pair), public)
            }
            other => return Err(SignError::Unsupported(other)),
        };
        let kid = Kid::parse(&public.thumbprint().to_base64url()).map_err(|_| SignError::Library)?;
        Ok(Self {
            algorithm,
            verifying: VerifyingKey::from_public(&public, Some(algorithm), Some(kid.clone()))?,
            kid,
            public,
            pair,
            pkcs8: pkcs8.clone(),
        })
    }

    /// The private key as PKCS #8.
    #[must_use]
    pub fn to_pkcs8(&self) -> Secret<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// The key's name: its RFC 7638 thumbprint in base64url.
    #[must_use]
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as a JWK with `kid`, `use: sig` and `alg`: an entry of the published set.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        let mut members = self.public.to_members();
        members.insert("kid".to_owned(), json!(self.kid.as_str()));
        members.insert("use".to_owned(), json!("sig"));
        members.insert("alg".to_owned(), json!(self.algorithm.as_str()));
        Value::Object(members)
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone()
    }

    /// Signs claims as a token of this `typ`, in the compact serialization. It is a secret: whoever
    /// holds it may use it.
    ///
    /// # Errors
    /// [`SignError::Library`] when the library fails.
    pub fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Result<Secret<String>, SignError> {
        let header = Header {
            alg: self.algorithm.as_str(),
            kid: self.kid.as_str(),
            typ,
        };
        let header = serde_json::to_vec(&header).map_err(|_| SignError::Library)?;
        let mut token = String::with_capacity(1024);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        let payload = serde_json::to_vec(claims).map_err(|_| SignError::Library)?;
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token))
    }

    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature)
                    .map_err(|_| SignError::Library)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignError::Library),
            Pair::Ed25519(pair) => pair
                .try_sign(message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignError::Library),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

fn curve(algorithm: Algorithm) -> Result<&'static EcdsaSigningAlgorithm, SignError> {
    match algorithm {
        Algorithm::Es256 => Ok(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Ok(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        other => Err(SignError::Unsupported(other)),
    }
}

/// The numbers of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn rsa_public(der: &[u8]) -> Option<PublicJwk> {
    let (sequence, _) = der::element(der, der::SEQUENCE)?;
    let (n, rest) = der::unsigned(sequence)?;
    let (e, _) = der::unsigned(rest)?;
    Some(PublicJwk::Rsa {
        n: n.to_vec(),
        e: e.to_vec(),
    })
}

/// The coordinates of an uncompressed point (SEC 1 section 2.3.3).
fn ecdsa_public(point: &[u8]) -> Option<PublicJwk> {
    let (form, coordinates) = point.split_first()?;
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    match (*form, x.len(), y.len()) {
        (4, 32, 32) => Some(PublicJwk::P256 {
            x: x.try_into().ok()?,
            y: y.try_into().ok()?,
        }),
        (4, 48, 48) => Some(PublicJwk::P384 {
            x: x.try_into().ok()?,
            y: y.try_into().ok()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
