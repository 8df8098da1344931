//! The private half of a key pair as a JWK (RFC 7518 section 6.3.2), for the one moment in which it is handed
//! over: Okta's SDKs take it as it is.
//!
//! RSA alone: it is what every one of those SDKs signs with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::jose::alg::Algorithm;
use crate::jose::der;
use crate::jose::sign::{SignError, SigningKey};
use crate::model::secret::Secret;

/// The tag of an `OCTET STRING`.
const OCTET_STRING: u8 = 0x04;

/// The members of an `RSAPrivateKey` (RFC 8017 appendix A.1.2) in their order.
const MEMBERS: [&str; 8] = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

/// Makes a key pair for the client of an SDK, and its private JWK with `kid`, `use` and `alg`.
///
/// # Errors
/// [`SignError`] when the library fails.
pub fn generate_private_jwk() -> Result<(SigningKey, Secret<String>), SignError> {
    let key = SigningKey::generate(Algorithm::Rs256)?;
    let pkcs8 = key.to_pkcs8();
    let mut members = rsa_members(pkcs8.expose_secret()).ok_or(SignError::Library)?;
    for (name, value) in [
        ("kty", "RSA"),
        ("kid", key.kid().as_str()),
        ("use", "sig"),
        ("alg", "RS256"),
    ] {
        members.insert(name.to_owned(), Value::from(value));
    }
    let text = Secret::new(Value::Object(members).to_string());
    Ok((key, text))
}

/// The numbers in a `PrivateKeyInfo` (RFC 5208 section 5) of an RSA key.
fn rsa_members(pkcs8: &[u8]) -> Option<Map<String, Value>> {
    let (info, _) = der::element(pkcs8, der::SEQUENCE)?;
    let (_version, rest) = der::element(info, der::INTEGER)?;
    let (_algorithm, rest) = der::element(rest, der::SEQUENCE)?;
    let (document, _) = der::element(rest, OCTET_STRING)?;
    let (key, _) = der::element(document, der::SEQUENCE)?;
    let (_version, mut rest) = der::element(key, der::INTEGER)?;
    let mut members = Map::new();
    for name in MEMBERS {
        let (number, after) = der::unsigned(rest)?;
        members.insert(name.to_owned(), Value::from(URL_SAFE_NO_PAD.encode(number)));
        rest = after;
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_jwk_holds_the_whole_pair_that_the_public_one_belongs_to() {
        let (key, private) = generate_private_jwk().expect("a key");
        let private: Value = serde_json::from_str(private.expose_secret()).expect("JSON");
        assert_eq!(private["kid"], key.kid().as_str());
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
        for name in MEMBERS {
            assert_ne!(number(name).first(), Some(&0), "{name}");
        }
        // The library checks that the numbers belong together.
        let members: Vec<Vec<u8>> = MEMBERS.iter().map(|name| number(name)).collect();
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
