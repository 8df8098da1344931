//! Private keys as JSON (RFC 7517, RFC 7518 section 6): how an administrator holds the key that a
//! service app signs its assertions with.
//!
//! The text is a secret from end to end: it comes in and goes out as [`Secret`], and no error repeats
//! a part of it.

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::jose::alg::{Algorithm, KeyFamily};
use crate::jose::der;
use crate::jose::jwk::PublicJwk;
use crate::jose::sign::{Pair, SignError, SigningKey, curve};
use crate::model::secret::Secret;

/// The tag of an `OCTET STRING`.
const OCTET_STRING: u8 = 0x04;

/// The members of RFC 7518 section 6.3, in the order of an `RSAPrivateKey` (RFC 8017 appendix A.1.2).
const RSA_MEMBERS: [&str; 8] = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

/// Why a text is no private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrivateJwkError {
    /// It is no JSON object, or a member is absent or malformed.
    #[error("it is no private JWK: a JSON object with `kty` and its members, `d` included")]
    Malformed,
    /// The key is not one that its own public half belongs to, or cannot sign.
    #[error(transparent)]
    Key(#[from] SignError),
}

impl SigningKey {
    /// Reads a private JWK. Its `alg` decides what it signs with; without one that is ES256, ES384,
    /// EdDSA or RS256, by its kind.
    ///
    /// # Errors
    /// [`PrivateJwkError`].
    pub fn from_private_jwk(text: &Secret<String>) -> Result<Self, PrivateJwkError> {
        let members: Map<String, Value> =
            serde_json::from_str(text.expose_secret()).map_err(|_| PrivateJwkError::Malformed)?;
        let public = PublicJwk::from_members(&members).map_err(|_| PrivateJwkError::Malformed)?;
        let algorithm = match members.get("alg") {
            None => by_kind(&public),
            Some(name) => name
                .as_str()
                .and_then(Algorithm::parse)
                .filter(|algorithm| algorithm.family() == public.family())
                .ok_or(PrivateJwkError::Malformed)?,
        };
        let rejected = |_| SignError::NoPrivateKey(algorithm);
        let library = |_| SignError::Library;
        let pkcs8 = match &public {
            PublicJwk::P256 { .. } | PublicJwk::P384 { .. } => {
                let d = number(&members, "d")?;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve(algorithm)?, &d, &point(&public));
                let document = pair.map_err(rejected)?.to_pkcs8v1().map_err(library)?;
                document.as_ref().to_vec()
            }
            PublicJwk::Ed25519 { x } => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&number(&members, "d")?, x);
                let document = pair.map_err(rejected)?.to_pkcs8v1().map_err(library)?;
                document.as_ref().to_vec()
            }
            PublicJwk::Rsa { .. } => {
                let pair = RsaKeyPair::from_der(&rsa_private_key(&members)?).map_err(rejected)?;
                pair.as_der().map_err(library)?.as_ref().to_vec()
            }
        };
        Ok(Self::from_pkcs8(algorithm, &Secret::new(pkcs8))?)
    }

    /// The whole pair, for the one moment in which it is handed over: the public JWK, and its private members.
    ///
    /// # Errors
    /// [`SignError`] when the library does not give the private half.
    pub fn private_jwk(&self) -> Result<Secret<String>, SignError> {
        let library = |_| SignError::Library;
        let members = match &self.pair {
            Pair::Rsa(..) => rsa_numbers(self.to_pkcs8().expose_secret()).ok_or(SignError::Library)?,
            Pair::Ecdsa(pair) => {
                let private = pair.private_key().as_be_bytes().map_err(library)?;
                vec![("d", Zeroizing::new(private.as_ref().to_vec()))]
            }
            Pair::Ed25519(pair) => {
                let seed = pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(library)?;
                vec![("d", Zeroizing::new(seed.as_ref().to_vec()))]
            }
        };
        let mut jwk = self.public_jwk();
        for (name, number) in members {
            jwk[name] = URL_SAFE_NO_PAD.encode(&*number).into();
        }
        Ok(Secret::new(jwk.to_string()))
    }
}

fn by_kind(public: &PublicJwk) -> Algorithm {
    match public.family() {
        KeyFamily::P384 => Algorithm::Es384,
        KeyFamily::Ed25519 => Algorithm::EdDsa,
        KeyFamily::Rsa => Algorithm::Rs256,
        KeyFamily::P256 | KeyFamily::Secret => Algorithm::Es256,
    }
}

/// The uncompressed point (SEC 1 section 2.3.3).
fn point(public: &PublicJwk) -> Vec<u8> {
    let (x, y): (&[u8], &[u8]) = match public {
        PublicJwk::P256 { x, y } => (x, y),
        PublicJwk::P384 { x, y } => (x, y),
        PublicJwk::Rsa { .. } | PublicJwk::Ed25519 { .. } => (&[], &[]),
    };
    [&[4], x, y].concat()
}

fn number(members: &Map<String, Value>, name: &str) -> Result<Zeroizing<Vec<u8>>, PrivateJwkError> {
    let text = members
        .get(name)
        .and_then(Value::as_str)
        .ok_or(PrivateJwkError::Malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PrivateJwkError::Malformed)?;
    Ok(Zeroizing::new(bytes))
}

/// An `RSAPrivateKey` (RFC 8017 appendix A.1.2) of the members of RFC 7518 section 6.3.
fn rsa_private_key(members: &Map<String, Value>) -> Result<Zeroizing<Vec<u8>>, PrivateJwkError> {
    let mut content = Zeroizing::new(vec![der::INTEGER, 1, 0]);
    for name in RSA_MEMBERS {
        let bytes = number(members, name)?;
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let magnitude = &bytes[start..];
        let sign: &[u8] = if magnitude.first().is_none_or(|top| *top >= 0x80) {
            &[0]
        } else {
            &[]
        };
        let integer = Zeroizing::new([sign, magnitude].concat());
        content.extend_from_slice(&der::header(der::INTEGER, integer.len()));
        content.extend_from_slice(&integer);
    }
    let mut sequence = Zeroizing::new(der::header(der::SEQUENCE, content.len()));
    sequence.extend_from_slice(&content);
    Ok(sequence)
}

/// The numbers in a `PrivateKeyInfo` (RFC 5208 section 5) of an RSA key.
fn rsa_numbers(pkcs8: &[u8]) -> Option<Vec<(&'static str, Zeroizing<Vec<u8>>)>> {
    let (info, _) = der::element(pkcs8, der::SEQUENCE)?;
    let (_version, rest) = der::element(info, der::INTEGER)?;
    let (_algorithm, rest) = der::element(rest, der::SEQUENCE)?;
    let (document, _) = der::element(rest, OCTET_STRING)?;
    let (key, _) = der::element(document, der::SEQUENCE)?;
    let (_version, mut rest) = der::element(key, der::INTEGER)?;
    let mut numbers = Vec::with_capacity(RSA_MEMBERS.len());
    for name in RSA_MEMBERS {
        let (number, after) = der::unsigned(rest)?;
        numbers.push((name, Zeroizing::new(number.to_vec())));
        rest = after;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::compact::Compact;
    use crate::jose::key::KeySet;
    use crate::jose::verify::verify_signature;

    fn read(text: &str) -> Result<SigningKey, PrivateJwkError> {
        SigningKey::from_private_jwk(&Secret::new(text.to_owned()))
    }

    #[test]
    fn a_private_jwk_reads_back_as_the_same_key() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
            let key = SigningKey::generate(algorithm).expect("made");
            let text = key.private_jwk().expect("told");
            let again = SigningKey::from_private_jwk(&text).expect("read");
            assert_eq!((again.kid(), again.algorithm()), (key.kid(), algorithm));
            let signed = again.sign("JWT", &Map::new()).expect("signed");
            let compact = Compact::parse(signed.expose_secret()).expect("compact");
            let keys = KeySet::from_keys(vec![key.verifying_key()]);
            assert!(verify_signature(&compact, &keys, &[algorithm]).is_ok(), "{algorithm:?}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let key = SigningKey::generate(Algorithm::Es256).expect("made");
        let other = SigningKey::generate(Algorithm::Es256).expect("made");
        let members = |key: &SigningKey| -> Map<String, Value> {
            serde_json::from_str(key.private_jwk().expect("told").expose_secret()).expect("JSON")
        };
        let mut public_alone = members(&key);
        public_alone.remove("d");
        let mut foreign_d = members(&key);
        foreign_d.insert("d".to_owned(), members(&other)["d"].clone());
        let mut wrong_algorithm = members(&key);
        wrong_algorithm.insert("alg".to_owned(), "RS256".into());
        for (name, members) in [
            ("public", public_alone),
            ("foreign", foreign_d),
            ("algorithm", wrong_algorithm),
        ] {
            let text = Value::Object(members).to_string();
            assert!(read(&text).is_err(), "{name}");
        }
        for text in ["", "canary", "[]", "{}", "{\"kty\":\"EC\"}"] {
            assert_eq!(read(text).err(), Some(PrivateJwkError::Malformed), "{text}");
        }
    }

    #[test]
    fn the_numbers_of_an_rsa_key_belong_together() {
        let key = SigningKey::generate(Algorithm::Rs256).expect("made");
        let text = key.private_jwk().expect("told");
        let private: Value = serde_json::from_str(text.expose_secret()).expect("JSON");
        let public = key.public_jwk();
        for name in ["n", "e", "kid", "alg", "use", "kty"] {
            assert_eq!(private[name], public[name], "{name}");
        }
        let number = |name: &str| {
            let text = private[name].as_str().expect("text");
            URL_SAFE_NO_PAD.decode(text).expect("base64url")
        };
        // p·q = n in length at least, and no number begins with a zero byte.
        assert_eq!(number("p").len() + number("q").len(), number("n").len());
        for name in RSA_MEMBERS {
            assert_ne!(number(name).first(), Some(&0), "{name}");
        }
        // The library checks that the numbers belong together.
        let members: Vec<Vec<u8>> = RSA_MEMBERS.iter().map(|name| number(name)).collect();
        let part = |index: usize| members[index].as_slice();
        let components = aws_lc_rs::rsa::KeyPairComponents {
            public_key: aws_lc_rs::rsa::PublicKeyComponents { n: part(0), e: part(1) },
            d: part(2),
            p: part(3),
            q: part(4),
            dP: part(5),
            dQ: part(6),
            qInv: part(7),
        };
        assert!(aws_lc_rs::rsa::KeyPair::from_components(&components).is_ok());
    }
}
