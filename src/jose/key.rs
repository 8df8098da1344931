//! Keys that verify, and immutable sets of them.
//!
//! A key is parsed once, when its set is built; a verification parses nothing. What a set accepts:
//!
//! | what is wrong | consequence |
//! |---|---|
//! | text too large, no JSON, a duplicate member, no `keys` array, more than 100 keys | the set is refused |
//! | private or symmetric material anywhere (attack B08) | the set is refused: its publisher leaks keys |
//! | two usable keys under one `kid` (attacks B08, B11) | the set is refused: which one signs is anybody's guess |
//! | the same key twice | the second is skipped and reported |
//! | a key of an unknown kind, for encryption, weak, malformed (attacks A11, A12, B09, B12; case J08) | that key is skipped and reported |
//!
//! Whoever fetches a set keeps the last good one when a new one is refused.
//!
//! Case J08 would skip a private or duplicate key where B08 refuses the set: the stricter reading
//! is kept, and its error names the key as a skipped one is named.
//!
//! A key of a set serves one family of algorithms, and one algorithm if its `alg` says so. Shared
//! secrets come from the configuration alone, by [`KeySet::from_secret`].

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters};
use serde_json::{Map, Value};

use crate::jose::alg::{Algorithm, KeyFamily};
use crate::jose::json::{self, Limits};
pub use crate::jose::jwk::KeyRefusal;
use crate::jose::jwk::{self, PublicJwk};
use crate::model::digest::Digest;
use crate::model::id::Kid;
use crate::model::secret::Secret;

mod strength;

/// The largest key set that is read, in bytes (attack B05).
pub const JWKS_BYTES_MAX: usize = 65536;
/// The most keys that a set may hold (attack B05).
pub const JWKS_KEYS_MAX: usize = 100;

/// A key that verifies signatures: parsed, checked, bound to the algorithms that it may serve.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<Kid>,
    family: KeyFamily,
    thumbprint: Option<Digest>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    /// One parsed form for each algorithm that the key may serve: six for an RSA key without `alg`.
    Public(Vec<(Algorithm, ParsedPublicKey)>),
    Secret(Algorithm, Box<hmac::Key>),
}

impl VerifyingKey {
    /// Reads one public key of a JWK set (RFC 7517 section 4), with its `use`, `key_ops` and `alg`.
    ///
    /// # Errors
    /// [`KeyRefusal`] names the first rule that the key breaks.
    pub fn from_jwk(members: &Map<String, Value>) -> Result<Self, KeyRefusal> {
        if jwk::holds_private_material(members) {
            return Err(KeyRefusal::PrivateMaterial);
        }
        let kid = match members.get("kid") {
            None => None,
            Some(Value::String(text)) => Some(Kid::parse(text).map_err(|_| KeyRefusal::Kid)?),
            Some(_) => return Err(KeyRefusal::Kid),
        };
        if members.get("use").is_some_and(|purpose| purpose != "sig") {
            return Err(KeyRefusal::Use);
        }
        if let Some(operations) = members.get("key_ops") {
            let listed = operations
                .as_array()
                .is_some_and(|list| list.iter().any(|operation| operation == "verify"));
            if !listed {
                return Err(KeyRefusal::Operations);
            }
        }
        let declared = match members.get("alg") {
            None => None,
            Some(Value::String(text)) => Some(Algorithm::parse(text).ok_or(KeyRefusal::UnsupportedAlgorithm)?),
            Some(_) => return Err(KeyRefusal::UnsupportedAlgorithm),
        };
        Self::from_public(&PublicJwk::from_members(members)?, declared, kid)
    }

    /// Makes a key of decoded members. Without an algorithm it serves all of its family.
    ///
    /// # Errors
    /// [`KeyRefusal`] when the algorithm is of another family or the key is weak or no key.
    pub fn from_public(jwk: &PublicJwk, algorithm: Option<Algorithm>, kid: Option<Kid>) -> Result<Self, KeyRefusal> {
        let family = jwk.family();
        if algorithm.is_some_and(|algorithm| algorithm.family() != family) {
            return Err(KeyRefusal::AlgorithmMismatch);
        }
        strength::check(jwk)?;
        let parsed = Algorithm::ASYMMETRIC
            .into_iter()
            .filter(|candidate| candidate.family() == family)
            .filter(|candidate| algorithm.is_none_or(|only| only == *candidate))
            .map(|candidate| Ok((candidate, parse(jwk, candidate)?)))
            .collect::<Result<Vec<_>, KeyRefusal>>()?;
        Ok(Self {
            kid,
            family,
            thumbprint: Some(jwk.thumbprint()),
            material: Material::Public(parsed),
        })
    }

    /// Makes a key of a shared secret, for one HMAC algorithm.
    ///
    /// # Errors
    /// [`WeakSecret`] when the algorithm is not an HMAC or the secret is shorter than its hash.
    pub fn from_secret(secret: &Secret<Vec<u8>>, algorithm: Algorithm, kid: Option<Kid>) -> Result<Self, WeakSecret> {
        let bytes_min = algorithm
            .secret_bytes_min()
            .ok_or(WeakSecret::NotSymmetric { algorithm })?;
        if secret.expose_secret().len() < bytes_min {
            return Err(WeakSecret::TooShort { algorithm, bytes_min });
        }
        let hash = match algorithm {
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        Ok(Self {
            kid,
            family: KeyFamily::Secret,
            thumbprint: None,
            material: Material::Secret(algorithm, Box::new(hmac::Key::new(hash, secret.expose_secret()))),
        })
    }

    /// The key's `kid`, if it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&Kid> {
        self.kid.as_ref()
    }

    /// The kind of key.
    #[must_use]
    pub fn family(&self) -> KeyFamily {
        self.family
    }

    /// The RFC 7638 thumbprint of a public key; a secret has none, since it would be a digest of it.
    #[must_use]
    pub fn thumbprint(&self) -> Option<Digest> {
        self.thumbprint
    }

    /// Whether the key may serve this algorithm.
    #[must_use]
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        match &self.material {
            Material::Public(parsed) => parsed.iter().any(|(served, _)| *served == algorithm),
            Material::Secret(served, _) => *served == algorithm,
        }
    }

    /// Whether this is the signature of the message, by this key and this algorithm. An algorithm
    /// that the key does not serve verifies nothing. An ECDSA signature is `r || s` of exactly the
    /// curve's length (RFC 7518 section 3.4), never DER.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let length_expected = match self.family {
            KeyFamily::P256 | KeyFamily::Ed25519 => Some(64),
            KeyFamily::P384 => Some(96),
            // The library compares with the modulus or the hash.
            KeyFamily::Rsa | KeyFamily::Secret => None,
        };
        if length_expected.is_some_and(|length| signature.len() != length) {
            return false;
        }
        match &self.material {
            Material::Public(parsed) => {
                parsed
                    .iter()
                    .find(|(served, _)| *served == algorithm)
                    .is_some_and(|(_, key)| {
                        let verified = match hash(algorithm) {
                            // `verify_sig` digests too, for a hundredth of an RSA verification more.
                            Some(hash) => key.verify_digest_sig(&digest::digest(hash, message), signature),
                            None => key.verify_sig(message, signature),
                        };
                        verified.is_ok()
                    })
            }
            Material::Secret(served, key) => *served == algorithm && hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}

fn parse(jwk: &PublicJwk, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyRefusal> {
    match jwk {
        PublicJwk::Rsa { n, e } => PublicKeyComponents { n, e }
            .to_parsed_public_key(rsa_parameters(algorithm).ok_or(KeyRefusal::AlgorithmMismatch)?)
            .map_err(|_| KeyRefusal::Malformed),
        PublicJwk::P256 { x, y } => {
            ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, uncompressed(x, y)).map_err(|_| KeyRefusal::Point)
        }
        PublicJwk::P384 { x, y } => {
            ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, uncompressed(x, y)).map_err(|_| KeyRefusal::Point)
        }
        PublicJwk::Ed25519 { x } => ParsedPublicKey::new(&signature::ED25519, x).map_err(|_| KeyRefusal::Point),
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// The digest that is signed; `None` where the message itself is.
fn hash(algorithm: Algorithm) -> Option<&'static digest::Algorithm> {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => Some(&digest::SHA256),
        Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => Some(&digest::SHA384),
        Algorithm::Rs512 | Algorithm::Ps512 => Some(&digest::SHA512),
        Algorithm::EdDsa | Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => None,
    }
}

/// The SEC 1 form of a point, section 2.3.3: `04 || x || y`.
fn uncompressed(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

// === impl KeySet ===

/// An immutable set of verification keys: built whole or not at all.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    /// Set for a shared secret: the configuration names the one key, whatever `kid` a token bears.
    kid_ignored: bool,
}

/// One key of a set that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProblem {
    /// Its place in the `keys` array, from 0.
    pub index: usize,
    /// Its `kid`, where it has a usable one.
    pub kid: Option<Kid>,
    /// Why it is not used.
    pub refusal: KeyRefusal,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "key `{kid}` (number {}): {}", self.index, self.refusal),
            None => write!(f, "key number {}: {}", self.index, self.refusal),
        }
    }
}

/// Why a whole set is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Longer than [`JWKS_BYTES_MAX`].
    #[error("the key set is longer than 65536 bytes")]
    TooLong,
    /// No JSON object, or one with duplicate members.
    #[error("the key set is not a JSON object with unique members")]
    NotJson,
    /// There is no `keys` array.
    #[error("the key set has no `keys` array")]
    NoKeys,
    /// More than [`JWKS_KEYS_MAX`].
    #[error("the key set holds more than 100 keys")]
    TooManyKeys,
    /// A private or symmetric key is published.
    #[error("the key set publishes private or symmetric material: {0}; withdraw that key")]
    PrivateMaterial(KeyProblem),
    /// Two different usable keys have one `kid`.
    #[error("two different keys of the set have the `kid` `{0}`")]
    DuplicateKid(Kid),
}

/// A shared secret that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// The algorithm takes a key pair, not a secret.
    #[error("`{}` does not work with a shared secret; use HS256, HS384 or HS512", algorithm.as_str())]
    NotSymmetric {
        /// The algorithm that was asked for.
        algorithm: Algorithm,
    },
    /// The secret is shorter than the algorithm's hash.
    #[error("a shared secret for `{}` has at least {bytes_min} bytes", algorithm.as_str())]
    TooShort {
        /// The algorithm that was asked for.
        algorithm: Algorithm,
        /// What it needs (RFC 7518 section 3.2).
        bytes_min: usize,
    },
}

/// What a set has for a token.
pub(crate) enum Lookup<'k> {
    /// The one key that may have signed it.
    Found(&'k VerifyingKey),
    /// No key has this `kid`: perhaps a newer set does.
    UnknownKid,
    /// The key with this `kid` serves other algorithms, or no single key fits.
    NoFit,
}

impl KeySet {
    /// A set without keys: it verifies nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads a JWK set (RFC 7517 section 5). The table at the head of this module says what refuses
    /// the set and what skips a key.
    ///
    /// # Errors
    /// [`JwksError`] says why the set is refused.
    pub fn from_jwks(json: &[u8]) -> Result<(Self, Vec<KeyProblem>), JwksError> {
        if json.len() > JWKS_BYTES_MAX {
            return Err(JwksError::TooLong);
        }
        let document = json::map(json, Limits::DOCUMENT).map_err(|_| JwksError::NotJson)?;
        let entries = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(JwksError::NoKeys)?;
        if entries.len() > JWKS_KEYS_MAX {
            return Err(JwksError::TooManyKeys);
        }
        let mut keys: Vec<VerifyingKey> = Vec::with_capacity(entries.len());
        let mut problems = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let outcome = entry
                .as_object()
                .ok_or(KeyRefusal::NotAnObject)
                .and_then(VerifyingKey::from_jwk);
            let problem = |refusal| KeyProblem {
                index,
                kid: entry
                    .get("kid")
                    .and_then(Value::as_str)
                    .and_then(|text| Kid::parse(text).ok()),
                refusal,
            };
            match outcome {
                Err(KeyRefusal::PrivateMaterial) => {
                    return Err(JwksError::PrivateMaterial(problem(KeyRefusal::PrivateMaterial)));
                }
                Err(refusal) => problems.push(problem(refusal)),
                Ok(key) => match (key.kid(), keys.iter().find(|other| other.kid == key.kid)) {
                    (None, _) | (_, None) => keys.push(key),
                    (_, Some(other)) if other.is_same(&key) => problems.push(problem(KeyRefusal::Repeated)),
                    (Some(kid), Some(_)) => return Err(JwksError::DuplicateKid(kid.clone())),
                },
            }
        }
        let set = Self {
            keys,
            kid_ignored: false,
        };
        Ok((set, problems))
    }

    /// A set of these keys: what the issuer publishes. Two keys under one `kid` verify nothing.
    #[must_use]
    pub fn from_keys(keys: Vec<VerifyingKey>) -> Self {
        Self {
            keys,
            kid_ignored: false,
        }
    }

    /// The set of an authorization server that is configured with a shared secret: one key, used
    /// whatever `kid` a token bears.
    ///
    /// # Errors
    /// [`WeakSecret`] when the algorithm is not an HMAC or the secret is shorter than its hash.
    pub fn from_secret(secret: &Secret<Vec<u8>>, algorithm: Algorithm) -> Result<Self, WeakSecret> {
        Self::from_secret_for(secret, [algorithm])
    }

    /// The same for a server that signs with several HMAC algorithms: one key for each.
    ///
    /// # Errors
    /// [`WeakSecret`] when one is not an HMAC or the secret is shorter than its hash.
    pub fn from_secret_for(
        secret: &Secret<Vec<u8>>,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, WeakSecret> {
        let key = |algorithm| VerifyingKey::from_secret(secret, algorithm, None);
        Ok(Self {
            keys: algorithms.into_iter().map(key).collect::<Result<_, _>>()?,
            kid_ignored: true,
        })
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The `kid` of each key that has one, in the set's order.
    pub fn kids(&self) -> impl Iterator<Item = &Kid> {
        self.keys.iter().filter_map(VerifyingKey::kid)
    }

    /// Whether a key has this `kid`.
    #[must_use]
    pub fn contains_kid(&self, kid: &str) -> bool {
        self.kids().any(|known| known.as_str() == kid)
    }

    /// The keys in the set's order.
    pub fn iter(&self) -> std::slice::Iter<'_, VerifyingKey> {
        self.keys.iter()
    }

    /// The one key that may have signed a token with this header. A `kid` is compared as a whole
    /// and with nothing else (attack A16), so that a key without a name serves no token that names
    /// one; without a `kid`, exactly one key must serve the algorithm (case J04).
    pub(crate) fn find(&self, kid: Option<&Kid>, algorithm: Algorithm) -> Lookup<'_> {
        let named = kid.filter(|_| !self.kid_ignored);
        let mut candidates = self
            .keys
            .iter()
            .filter(|key| named.map_or_else(|| key.serves(algorithm), |kid| key.kid.as_ref() == Some(kid)));
        match (candidates.next(), candidates.next()) {
            (Some(key), None) if key.serves(algorithm) => Lookup::Found(key),
            (None, _) if named.is_some() => Lookup::UnknownKid,
            _ => Lookup::NoFit,
        }
    }
}

impl<'s> IntoIterator for &'s KeySet {
    type Item = &'s VerifyingKey;
    type IntoIter = std::slice::Iter<'s, VerifyingKey>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl VerifyingKey {
    /// Whether both are the same key for the same algorithms.
    fn is_same(&self, other: &Self) -> bool {
        self.thumbprint.is_some()
            && self.thumbprint == other.thumbprint
            && Algorithm::ALL
                .into_iter()
                .all(|algorithm| self.serves(algorithm) == other.serves(algorithm))
    }
}

#[cfg(test)]
mod tests;
