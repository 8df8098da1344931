use jsonwebtoken as other;

use super::*;
use crate::jose::forge::{AUDIENCE, ISSUER, NOW, key, set_of, verify_as};
use crate::jose::key::KeySet;
use crate::jose::verify::TokenTypes;

fn claims() -> Map<String, Value> {
    let claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "Zoë",
        "iat": NOW.unix_seconds(),
        "exp": NOW.unix_seconds() + 60,
        "amount": 0.1,
        "nested": {"a": [1, null, true]},
    });
    claims.as_object().cloned().expect("an object")
}

/// The second opinion's name of the algorithm.
fn theirs(algorithm: Algorithm) -> other::Algorithm {
    algorithm.as_str().parse().expect("known to it too")
}

#[test]
fn what_a_key_signs_its_published_jwk_verifies() {
    for algorithm in SigningKey::ALGORITHMS {
        let token = key(algorithm).sign("at+jwt", &claims()).expect("signed");
        let document = json!({"keys": [key(algorithm).public_jwk()]}).to_string();
        let (published, problems) = KeySet::from_jwks(document.as_bytes()).expect("a valid set");
        assert_eq!(problems, []);
        let types = TokenTypes::Only(vec!["at+jwt".to_owned()]);
        for keys in [&published, &set_of(key(algorithm))] {
            let verified = verify_as(token.expose_secret(), keys, &[algorithm], &types).expect("believed");
            assert_eq!(verified.get().map(), claims(), "{algorithm:?}");
        }
    }
}

#[test]
fn a_second_implementation_accepts_what_we_sign() {
    for algorithm in SigningKey::ALGORITHMS {
        let token = key(algorithm).sign("at+jwt", &claims()).expect("signed");
        let jwk: other::jwk::Jwk = serde_json::from_value(key(algorithm).public_jwk()).expect("a JWK to it too");
        let mut validation = other::Validation::new(theirs(algorithm));
        validation.validate_exp = false; // its clock is the machine's
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let decoding = other::DecodingKey::from_jwk(&jwk).expect("a key to it too");
        let read = other::decode::<Map<String, Value>>(token.expose_secret(), &decoding, &validation);
        let read = read.unwrap_or_else(|refusal| panic!("{algorithm:?}: {refusal}"));
        assert_eq!(read.claims, claims());
        assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(read.header.kid.as_deref(), Some(key(algorithm).kid().as_str()));
        let print = jwk.thumbprint(other::jwk::ThumbprintHash::SHA256);
        assert_eq!(
            print.as_deref().ok(),
            Some(key(algorithm).kid().as_str()),
            "the thumbprint is one to both"
        );
    }
}

#[test]
fn we_accept_what_a_second_implementation_signs() {
    for algorithm in SigningKey::ALGORITHMS {
        let pkcs8 = key(algorithm).to_pkcs8();
        let encoding = match algorithm.family() {
            // It reads the key inside of PKCS #8: the content of the third element.
            KeyFamily::Rsa => other::EncodingKey::from_rsa_der(inner_rsa_key(pkcs8.expose_secret())),
            KeyFamily::Ed25519 => other::EncodingKey::from_ed_der(pkcs8.expose_secret()),
            _ => other::EncodingKey::from_ec_der(pkcs8.expose_secret()),
        };
        let mut header = other::Header::new(theirs(algorithm));
        header.kid = Some(key(algorithm).kid().to_string());
        let token = other::encode(&header, &claims(), &encoding).expect("signed");
        let verified = verify_as(&token, &set_of(key(algorithm)), &[algorithm], &TokenTypes::Usual);
        assert_eq!(verified.expect("believed").get().map(), claims(), "{algorithm:?}");
    }
}

/// The `RSAPrivateKey` of a `PrivateKeyInfo` (RFC 5208 section 5).
fn inner_rsa_key(pkcs8: &[u8]) -> &[u8] {
    let (info, _) = der::element(pkcs8, der::SEQUENCE).expect("a sequence");
    let (_version, rest) = der::element(info, der::INTEGER).expect("a version");
    let (_algorithm, rest) = der::element(rest, der::SEQUENCE).expect("an algorithm");
    der::element(rest, 0x04).expect("an octet string").0
}

#[test]
fn a_key_survives_its_pkcs8_form_and_keeps_its_name() {
    for algorithm in SigningKey::ALGORITHMS {
        let again = SigningKey::from_pkcs8(algorithm, &key(algorithm).to_pkcs8()).expect("the same key");
        assert_eq!(again.kid(), key(algorithm).kid());
        let token = again.sign("JWT", &claims()).expect("signed");
        let believed = verify_as(
            token.expose_secret(),
            &set_of(key(algorithm)),
            &[algorithm],
            &TokenTypes::Usual,
        );
        assert!(believed.is_ok(), "{algorithm:?}");
    }
}

#[test]
fn a_key_of_another_kind_or_no_key_is_refused() {
    for algorithm in SigningKey::ALGORITHMS {
        for other in SigningKey::ALGORITHMS {
            if algorithm.family() != other.family() {
                let refused = SigningKey::from_pkcs8(algorithm, &key(other).to_pkcs8()).err();
                assert_eq!(
                    refused,
                    Some(SignError::NoPrivateKey(algorithm)),
                    "{other:?} for {algorithm:?}"
                );
            }
        }
        for nonsense in [&b""[..], b"-----BEGIN PRIVATE KEY-----", &[0x30, 0x80]] {
            let refused = SigningKey::from_pkcs8(algorithm, &Secret::new(nonsense.to_vec())).err();
            assert_eq!(refused, Some(SignError::NoPrivateKey(algorithm)));
        }
    }
    for algorithm in Algorithm::ALL {
        if !SigningKey::ALGORITHMS.contains(&algorithm) {
            assert_eq!(
                SigningKey::generate(algorithm).err(),
                Some(SignError::Unsupported(algorithm))
            );
        }
    }
}

#[test]
fn attack_e18_neither_debug_nor_the_published_key_show_the_private_half() {
    for algorithm in SigningKey::ALGORITHMS {
        let debug = format!("{:?}", key(algorithm));
        assert!(
            debug.len() < 200 && debug.contains(key(algorithm).kid().as_str()),
            "{debug}"
        );
        let jwk = key(algorithm).public_jwk();
        assert!(!crate::jose::jwk::holds_private_material(
            jwk.as_object().expect("an object")
        ));
    }
}
