//! Public keys as JSON (RFC 7517, RFC 7518 section 6, RFC 8037 section 2) and their thumbprints
//! (RFC 7638).
//!
//! This file knows the shapes: which members there are and how many bytes each holds. Whether a key
//! is strong enough and what it may be used for is [`crate::jose::key`]'s to say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::jose::alg::KeyFamily;
use crate::model::digest::Digest;

/// The longest RSA modulus in bytes: 8192 bits.
const MODULUS_BYTES_MAX: usize = 1024;
/// The longest RSA exponent in bytes. Every exponent in use has three.
const EXPONENT_BYTES_MAX: usize = 4;

/// Why a key is not used. The texts are fixed; none repeats a part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyRefusal {
    /// The entry is no JSON object.
    #[error("the key is not a JSON object")]
    NotAnObject,
    /// `kty` or `crv` is absent or names a kind of key that we do not verify with.
    #[error("the key's `kty` or `crv` is not supported")]
    UnsupportedKind,
    /// A member of the key is absent, no canonical base64url, or of the wrong length.
    #[error("a member of the key is absent, malformed or of the wrong length")]
    Malformed,
    /// A private member is present.
    #[error("the key holds private members")]
    PrivateMaterial,
    /// `kid` is no string, empty, too long, or holds control characters.
    #[error("the key's `kid` is not a usable string")]
    Kid,
    /// `use` is present and is not `sig`.
    #[error("the key's `use` is not `sig`")]
    Use,
    /// `key_ops` is present and does not list `verify`.
    #[error("the key's `key_ops` does not list `verify`")]
    Operations,
    /// `alg` is present and is no signature algorithm that we verify.
    #[error("the key's `alg` is not supported")]
    UnsupportedAlgorithm,
    /// `alg` does not go with `kty` and `crv`.
    #[error("the key's `alg` does not go with its `kty` and `crv`")]
    AlgorithmMismatch,
    /// An RSA modulus shorter than 2048 bits.
    #[error("the RSA modulus has fewer than 2048 bits")]
    ShortModulus,
    /// An RSA modulus longer than 8192 bits.
    #[error("the RSA modulus has more than 8192 bits")]
    LongModulus,
    /// An RSA modulus that is even.
    #[error("the RSA modulus is even")]
    EvenModulus,
    /// An RSA exponent that is even, below 3, or longer than 32 bits.
    #[error("the RSA exponent is not an odd number from 3 to 32 bits")]
    Exponent,
    /// The modulus was made by a generator whose keys can be factored (ROCA, CVE-2017-15361).
    #[error("the RSA key has the ROCA fingerprint (CVE-2017-15361)")]
    Roca,
    /// A point that is not on its curve, is not written canonically, or has small order.
    #[error("the point is not a usable point of its curve")]
    Point,
    /// The same key stands in the set already.
    #[error("the key repeats another key of the set")]
    Repeated,
}

/// The public members of a key, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicJwk {
    /// `kty: RSA`. Both numbers are big-endian without leading zero bytes.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The public exponent.
        e: Vec<u8>,
    },
    /// `kty: EC` with `crv: P-256`.
    P256 {
        /// The x coordinate.
        x: [u8; 32],
        /// The y coordinate.
        y: [u8; 32],
    },
    /// `kty: EC` with `crv: P-384`.
    P384 {
        /// The x coordinate.
        x: [u8; 48],
        /// The y coordinate.
        y: [u8; 48],
    },
    /// `kty: OKP` with `crv: Ed25519`.
    Ed25519 {
        /// The encoded point.
        x: [u8; 32],
    },
}

impl PublicJwk {
    /// Reads the members that make the key. Lengths are checked on the encoded text, before
    /// anything is decoded.
    ///
    /// # Errors
    /// [`KeyRefusal`] when the kind is unknown or a member is not as long as its kind demands.
    pub fn from_members(jwk: &Map<String, Value>) -> Result<Self, KeyRefusal> {
        let kty = jwk.get("kty").and_then(Value::as_str);
        let crv = jwk.get("crv").and_then(Value::as_str);
        match (kty, crv) {
            (Some("RSA"), _) => Ok(Self::Rsa {
                n: number(jwk, "n", MODULUS_BYTES_MAX, KeyRefusal::LongModulus)?,
                e: number(jwk, "e", EXPONENT_BYTES_MAX, KeyRefusal::Exponent)?,
            }),
            (Some("EC"), Some("P-256")) => Ok(Self::P256 {
                x: fixed(jwk, "x")?,
                y: fixed(jwk, "y")?,
            }),
            (Some("EC"), Some("P-384")) => Ok(Self::P384 {
                x: fixed(jwk, "x")?,
                y: fixed(jwk, "y")?,
            }),
            (Some("OKP"), Some("Ed25519")) => Ok(Self::Ed25519 { x: fixed(jwk, "x")? }),
            _ => Err(KeyRefusal::UnsupportedKind),
        }
    }

    /// The kind of key.
    #[must_use]
    pub fn family(&self) -> KeyFamily {
        match self {
            Self::Rsa { .. } => KeyFamily::Rsa,
            Self::P256 { .. } => KeyFamily::P256,
            Self::P384 { .. } => KeyFamily::P384,
            Self::Ed25519 { .. } => KeyFamily::Ed25519,
        }
    }

    /// The members of the key, those of RFC 7638 section 3.2 and no others.
    #[must_use]
    pub fn to_members(&self) -> Map<String, Value> {
        let members: Vec<(&str, String)> = match self {
            Self::Rsa { n, e } => vec![("kty", "RSA".to_owned()), ("n", encode(n)), ("e", encode(e))],
            Self::P256 { x, y } => elliptic("P-256", x, y),
            Self::P384 { x, y } => elliptic("P-384", x, y),
            Self::Ed25519 { x } => vec![
                ("kty", "OKP".to_owned()),
                ("crv", "Ed25519".to_owned()),
                ("x", encode(x)),
            ],
        };
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect()
    }

    /// The RFC 7638 thumbprint with SHA-256: the digest of the members in the order of their names.
    #[must_use]
    pub fn thumbprint(&self) -> Digest {
        // Written by hand: the order is the RFC's, not a map's, and no value needs escaping.
        let canonical = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
            Self::P256 { x, y } => canonical_elliptic("P-256", x, y),
            Self::P384 { x, y } => canonical_elliptic("P-384", x, y),
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x)),
        };
        Digest::of(canonical.as_bytes())
    }
}

/// The RFC 7638 thumbprint of a public key that is given as JSON.
///
/// # Errors
/// [`KeyRefusal`] when the members are not those of a key of a kind that we know.
pub fn thumbprint(jwk: &Map<String, Value>) -> Result<Digest, KeyRefusal> {
    PublicJwk::from_members(jwk).map(|key| key.thumbprint())
}

/// Whether the key holds a member that must never be published: those of RFC 7518 sections 6.2.2,
/// 6.3.2 and 6.4.1, and of the AKP keys (`priv`). A symmetric key is secret by its type.
#[must_use]
pub fn holds_private_material(jwk: &Map<String, Value>) -> bool {
    const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
    PRIVATE.iter().any(|name| jwk.contains_key(*name)) || jwk.get("kty").and_then(Value::as_str) == Some("oct")
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn elliptic(curve: &str, x: &[u8], y: &[u8]) -> Vec<(&'static str, String)> {
    vec![
        ("kty", "EC".to_owned()),
        ("crv", curve.to_owned()),
        ("x", encode(x)),
        ("y", encode(y)),
    ]
}

fn canonical_elliptic(curve: &str, x: &[u8], y: &[u8]) -> String {
    format!(
        r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#,
        encode(x),
        encode(y)
    )
}

fn text<'j>(jwk: &'j Map<String, Value>, name: &str) -> Result<&'j str, KeyRefusal> {
    jwk.get(name).and_then(Value::as_str).ok_or(KeyRefusal::Malformed)
}

/// A coordinate: exactly as long as its field (RFC 7518 section 6.2.1.2).
fn fixed<const N: usize>(jwk: &Map<String, Value>, name: &str) -> Result<[u8; N], KeyRefusal> {
    let text = text(jwk, name)?;
    if text.len() != (N * 4).div_ceil(3) {
        return Err(KeyRefusal::Malformed);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyRefusal::Malformed)?;
    bytes.try_into().map_err(|_| KeyRefusal::Malformed)
}

/// A `Base64urlUInt` (RFC 7518 section 2) of at most this many bytes. One leading zero byte is
/// dropped: the RFC forbids it, notes that libraries write it, and no meaning hangs on it.
fn number(jwk: &Map<String, Value>, name: &str, bytes_max: usize, too_long: KeyRefusal) -> Result<Vec<u8>, KeyRefusal> {
    let text = text(jwk, name)?;
    if text.len() > ((bytes_max + 1) * 4).div_ceil(3) {
        return Err(too_long);
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyRefusal::Malformed)?;
    if bytes.first() == Some(&0) {
        bytes.remove(0);
    }
    match bytes.first() {
        None | Some(0) => Err(KeyRefusal::Malformed),
        Some(_) if bytes.len() > bytes_max => Err(too_long),
        Some(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn thumbprint_of(jwk: &Value) -> Result<String, KeyRefusal> {
        thumbprint(jwk.as_object().expect("an object")).map(Digest::to_base64url)
    }

    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        // RFC 7638 section 3.1.
        let rsa = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF\
                  V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d\
                  0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-c\
                  sFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29",
        });
        assert_eq!(
            thumbprint_of(&rsa).as_deref(),
            Ok("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
        // RFC 8037 appendix A.3.
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(
            thumbprint_of(&okp).as_deref(),
            Ok("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
        // RFC 9449 section 6.1, of the key of section 4.1.
        let ec = json!({
            "kty": "EC",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
            "crv": "P-256",
        });
        assert_eq!(
            thumbprint_of(&ec).as_deref(),
            Ok("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
        );
    }

    #[test]
    fn a_leading_zero_of_a_number_changes_no_thumbprint() {
        let key = |n: &[u8]| json!({"kty": "RSA", "n": encode(n), "e": "AQAB"});
        assert_eq!(thumbprint_of(&key(&[0, 0xa5, 3])), thumbprint_of(&key(&[0xa5, 3])));
        assert_eq!(thumbprint_of(&key(&[0, 0, 0xa5, 3])), Err(KeyRefusal::Malformed));
    }

    #[test]
    fn members_are_written_as_they_are_read() {
        for jwk in [
            PublicJwk::Rsa {
                n: vec![0xa5; 256],
                e: vec![1, 0, 1],
            },
            PublicJwk::P256 { x: [1; 32], y: [2; 32] },
            PublicJwk::P384 { x: [1; 48], y: [2; 48] },
            PublicJwk::Ed25519 { x: [3; 32] },
        ] {
            assert_eq!(PublicJwk::from_members(&jwk.to_members()), Ok(jwk));
        }
    }
}
