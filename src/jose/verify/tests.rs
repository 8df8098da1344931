use std::fmt::Write as _;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jose::compact::Malformed;
use crate::jose::forge::{
    ABSENT, AUDIENCE, ISSUER, LEEWAY, NOW, Refusal, claims_with, encode, foreign_key, forge, forge_mac, header_of, key,
    set_of, verify_as, verify_now,
};
use crate::jose::sign::SigningKey;
use crate::model::scope::ScopeSet;
use crate::model::secret::Secret;

mod claims;

const ALL: &[Algorithm] = &Algorithm::ALL;

fn es256() -> &'static SigningKey {
    key(Algorithm::Es256)
}

/// What becomes of a token of the ES256 key with these claims.
fn outcome(changes: &[(&str, &str)]) -> Result<Claims, VerifyError> {
    outcome_of(&forge(es256(), &header_of(es256()), &claims_with(changes)))
}

fn outcome_of(token: &str) -> Result<Claims, VerifyError> {
    match verify_now(token, &set_of(es256()), &[Algorithm::Es256]) {
        Ok(claims) => Ok(claims.into_inner()),
        Err(Refusal::Unbelieved(refusal)) => Err(refusal),
        Err(Refusal::Malformed(refusal)) => panic!("well formed: {refusal}"),
    }
}

fn seconds_from_now(seconds: i64) -> String {
    (NOW.unix_seconds() + seconds).to_string()
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with the outcome of `err()`")]
fn unbelieved(refusal: VerifyError) -> Option<Refusal> {
    Some(Refusal::Unbelieved(refusal))
}

#[test]
fn a_token_of_each_algorithm_gives_its_claims() {
    for algorithm in SigningKey::ALGORITHMS {
        let signer = key(algorithm);
        let token = forge(
            signer,
            &header_of(signer),
            &claims_with(&[("nbf", &seconds_from_now(-5))]),
        );
        let claims = verify_now(&token, &set_of(signer), &[algorithm])
            .expect("believed")
            .into_inner();
        assert_eq!(claims.members.text("iss"), Some(ISSUER));
        assert_eq!(claims.subject().as_ref().map(Subject::as_str), Some("alice"));
        assert_eq!(claims.jti().as_ref().map(Jti::as_str), Some("t1"));
        assert_eq!(claims.kid.as_ref(), Some(signer.kid()));
        assert_eq!(claims.issued_at, Some(NOW.minus(Duration::from_secs(10))));
        assert_eq!(claims.expires_at, NOW.plus(Duration::from_secs(300)));
        assert_eq!(claims.members.text("aud"), Some(AUDIENCE));
    }
}

#[test]
fn attack_a02_edge_j01_a_public_key_is_no_hmac_secret() {
    let signer = key(Algorithm::Rs256);
    let pair = RsaKeyPair::from_pkcs8(signer.to_pkcs8().expose_secret()).expect("the key");
    let pkcs1 = pair.public_key().as_ref().to_vec();
    let spki = pair
        .public_key()
        .as_der()
        .expect("the library writes DER")
        .as_ref()
        .to_vec();
    let pem = |label: &str, der: &[u8]| {
        let mut text = format!("-----BEGIN {label}-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            writeln!(text, "{}", std::str::from_utf8(line).expect("ascii")).expect("a string takes text");
        }
        write!(text, "-----END {label}-----").expect("a string takes text");
        text
    };
    let pkcs1_pem = pem("RSA PUBLIC KEY", &pkcs1);
    let spki_pem = pem("PUBLIC KEY", &spki);
    let jwk = signer.public_jwk();
    let modulus = jwk["n"].as_str().expect("text");
    let secrets: Vec<(&str, Vec<u8>)> = vec![
        ("PKCS1 DER", pkcs1),
        ("SPKI DER", spki),
        ("PKCS1 PEM", pkcs1_pem.clone().into_bytes()),
        ("PKCS1 PEM, newline", format!("{pkcs1_pem}\n").into_bytes()),
        ("SPKI PEM", spki_pem.clone().into_bytes()),
        ("SPKI PEM, newline", format!("{spki_pem}\n").into_bytes()),
        ("SPKI PEM, CRLF", spki_pem.replace('\n', "\r\n").into_bytes()),
        ("JWK text", jwk.to_string().into_bytes()),
        ("n in base64url", modulus.as_bytes().to_vec()),
        ("n", URL_SAFE_NO_PAD.decode(modulus).expect("base64url")),
        ("nothing", Vec::new()),
    ];
    for (name, secret) in secrets {
        for header in [
            format!(r#"{{"alg":"HS256","kid":"{}"}}"#, signer.kid()),
            r#"{"alg":"HS256"}"#.to_owned(),
        ] {
            let token = forge_mac(&secret, &header, &claims_with(&[]));
            let keys = set_of(signer);
            let refused = verify_now(&token, &keys, &[Algorithm::Rs256]).err();
            assert_eq!(refused, unbelieved(VerifyError::Algorithm), "{name}");
            // Even where the configuration lists every algorithm, the key's kind decides.
            assert_eq!(
                verify_now(&token, &keys, ALL).err(),
                unbelieved(VerifyError::NoKey),
                "{name}"
            );
        }
    }
}

#[test]
fn attack_a03_edge_j01_the_algorithms_come_from_key_and_configuration() {
    let mut jwk = key(Algorithm::Ps256).public_jwk();
    jwk.as_object_mut().expect("an object").remove("alg");
    let (keys, _) = KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).expect("valid");
    let token = forge(
        key(Algorithm::Ps256),
        &header_of(key(Algorithm::Ps256)),
        &claims_with(&[]),
    );
    assert!(verify_now(&token, &keys, &[Algorithm::Rs256, Algorithm::Ps256]).is_ok());
    assert_eq!(
        verify_now(&token, &keys, &[Algorithm::Rs256]).err(),
        unbelieved(VerifyError::Algorithm)
    );
    assert_eq!(verify_now(&token, &keys, &[]).err(), unbelieved(VerifyError::Algorithm));
    // A key that names its algorithm serves no other one, of the same type or not.
    for alg in ["RS256", "PS384", "ES256", "ES384", "EdDSA", "HS256"] {
        let header = format!(r#"{{"alg":"{alg}","kid":"{}"}}"#, key(Algorithm::Ps256).kid());
        let token = forge(key(Algorithm::Ps256), &header, &claims_with(&[]));
        let refused = verify_now(&token, &set_of(key(Algorithm::Ps256)), ALL).err();
        assert_eq!(refused, unbelieved(VerifyError::NoKey), "{alg}");
    }
}

#[test]
fn attack_a07_attack_a08_edge_j22_an_ecdsa_signature_is_two_numbers_of_the_curves_length() {
    let order = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE"; // n of P-256
    let n = URL_SAFE_NO_PAD.decode(order).expect("base64url");
    let zero = vec![0u8; 32];
    let one = [vec![0u8; 31], vec![1]].concat();
    let input = format!("{}.{}", encode(header_of(es256())), encode(claims_with(&[])));
    let honest = es256().signature(input.as_bytes()).expect("the library signs");
    let der = |signature: &[u8]| {
        let integer = |half: &[u8]| {
            let magnitude = if half[0] >= 0x80 {
                [&[0], half].concat()
            } else {
                half.to_vec()
            };
            [&[2, u8::try_from(magnitude.len()).expect("short")], &magnitude[..]].concat()
        };
        let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
        [&[0x30, u8::try_from(body.len()).expect("short")], &body[..]].concat()
    };
    for (name, signature) in [
        ("zeros", [zero.clone(), zero.clone()].concat()),
        ("r = 0", [zero.clone(), honest[32..].to_vec()].concat()),
        ("s = 0", [honest[..32].to_vec(), zero.clone()].concat()),
        ("r = n", [n.clone(), honest[32..].to_vec()].concat()),
        ("s = n", [honest[..32].to_vec(), n.clone()].concat()),
        ("r = s = n", [n.clone(), n].concat()),
        ("r = s = 1", [one.clone(), one].concat()),
        ("all ones", vec![0xff; 64]),
        ("DER", der(&honest)),
        ("63 bytes", honest[..63].to_vec()),
        ("65 bytes", [honest.clone(), vec![0]].concat()),
        (
            "66 bytes",
            [vec![0], honest[..32].to_vec(), vec![0], honest[32..].to_vec()].concat(),
        ),
        ("96 bytes", [honest.clone(), zero].concat()),
        ("one byte", vec![0]),
        ("swapped halves", [&honest[32..], &honest[..32]].concat()),
    ] {
        let token = format!("{input}.{}", encode(signature));
        assert_eq!(outcome_of(&token).err(), Some(VerifyError::BadSignature), "{name}");
    }
    assert!(outcome_of(&format!("{input}.{}", encode(honest))).is_ok());
}

#[test]
fn edge_j22_the_twin_of_an_ecdsa_signature_is_the_same_token_by_its_jti() {
    // (r, n - s) verifies wherever (r, s) does. A revocation by `jti` therefore hits both spellings;
    // a revocation by the digest of the text would not.
    let n = URL_SAFE_NO_PAD
        .decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE")
        .expect("base64url");
    let input = format!("{}.{}", encode(header_of(es256())), encode(claims_with(&[])));
    let honest = es256().signature(input.as_bytes()).expect("the library signs");
    let mut twin = honest.clone();
    let mut borrow = 0i16;
    for index in (0..32).rev() {
        let difference = i16::from(n[index]) - i16::from(honest[32 + index]) - borrow;
        borrow = i16::from(difference < 0);
        twin[32 + index] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    let of = |signature: &[u8]| outcome_of(&format!("{input}.{}", encode(signature))).expect("believed");
    assert_ne!(honest, twin);
    assert_eq!(of(&honest).jti(), of(&twin).jti());
}

#[test]
fn attack_a09_edge_j01_a_key_of_another_curve_or_kind_verifies_nothing() {
    for signer in SigningKey::ALGORITHMS {
        for claimed in SigningKey::ALGORITHMS {
            if signer == claimed {
                continue;
            }
            let header = format!(r#"{{"alg":"{}","kid":"{}"}}"#, claimed.as_str(), key(signer).kid());
            let token = forge(key(signer), &header, &claims_with(&[]));
            let refused = verify_now(&token, &set_of(key(signer)), ALL).err();
            assert_eq!(refused, unbelieved(VerifyError::NoKey), "{signer:?} as {claimed:?}");
        }
    }
}

#[test]
fn attack_a16_a_kid_is_compared_as_a_whole_and_does_nothing_else() {
    let honest = es256().kid().as_str();
    let (start, _) = honest.split_at(10);
    for kid in [
        "../../dev/null",
        "' OR 1=1--",
        "/etc/passwd",
        "| id",
        "*",
        "%s%n",
        start,
        &format!("{honest} "),
        &honest.to_lowercase(),
        &format!("{honest}{honest}"),
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":{}}}"#, json!(kid));
        let token = forge(es256(), &header, &claims_with(&[]));
        assert_eq!(outcome_of(&token).err(), Some(VerifyError::UnknownKid), "{kid}");
    }
}

#[test]
fn attack_a17_edge_j03_a_key_in_the_header_is_not_looked_at() {
    let attacker = foreign_key();
    let jwk = attacker.public_jwk();
    for (name, offer) in [
        ("jwk", json!({"jwk": jwk})),
        ("jku", json!({"jku": "http://127.0.0.1:1/keys"})),
        ("x5u", json!({"x5u": "http://127.0.0.1:1/cert"})),
        ("x5c", json!({"x5c": ["QUJD"]})),
        (
            "all",
            json!({"jwk": jwk, "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "x5c": []}),
        ),
    ] {
        for kid in [Some(es256().kid().as_str()), Some(attacker.kid().as_str()), None] {
            let mut header = offer.clone();
            header["alg"] = json!("ES256");
            if let Some(kid) = kid {
                header["kid"] = json!(kid);
            }
            let refused = outcome_of(&forge(attacker, &header.to_string(), &claims_with(&[]))).err();
            assert!(
                matches!(refused, Some(VerifyError::BadSignature | VerifyError::UnknownKid)),
                "{name}: {refused:?}"
            );
            // An honest token that bears one is believed for its signature.
            if kid == Some(es256().kid().as_str()) {
                assert!(
                    outcome_of(&forge(es256(), &header.to_string(), &claims_with(&[]))).is_ok(),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn edge_j04_without_a_kid_exactly_one_key_must_fit() {
    let token = forge(es256(), r#"{"alg":"ES256"}"#, &claims_with(&[]));
    let judged = |keys: &[&SigningKey]| {
        let keys = KeySet::from_keys(keys.iter().map(|key| key.verifying_key()).collect());
        verify_now(&token, &keys, ALL).map(|claims| claims.into_inner().kid)
    };
    let kid = Some(es256().kid().clone());
    assert_eq!(judged(&[es256()]), Ok(kid.clone()));
    // Keys of another algorithm do not make it ambiguous.
    assert_eq!(
        judged(&[key(Algorithm::Rs256), es256(), key(Algorithm::Es384)]),
        Ok(kid)
    );
    let no_key = Err(Refusal::Unbelieved(VerifyError::NoKey));
    assert_eq!(judged(&[es256(), foreign_key()]), no_key);
    assert_eq!(judged(&[key(Algorithm::Rs256)]), no_key);
    assert_eq!(judged(&[]), no_key);
}

#[test]
fn attack_b11_two_keys_under_one_kid_verify_nothing() {
    let twice = KeySet::from_keys(vec![es256().verifying_key(), es256().verifying_key()]);
    let token = forge(es256(), &header_of(es256()), &claims_with(&[]));
    assert_eq!(verify_now(&token, &twice, ALL).err(), unbelieved(VerifyError::NoKey));
}

#[test]
fn attack_b10_an_unknown_kid_is_told_apart_so_that_newer_keys_can_be_fetched() {
    let token = forge(foreign_key(), &header_of(foreign_key()), &claims_with(&[]));
    assert_eq!(outcome_of(&token).err(), Some(VerifyError::UnknownKid));
    let empty = verify_now(&token, &KeySet::empty(), ALL).err();
    assert_eq!(empty, unbelieved(VerifyError::UnknownKid));
    // A token that newer keys could not save asks for none (attack B01).
    for (name, changes, refusal) in [
        ("expired", ("exp", "1"), VerifyError::Expired),
        ("another audience", ("aud", "\"x\""), VerifyError::Audience),
        ("another issuer", ("iss", "\"x\""), VerifyError::Issuer),
    ] {
        let token = forge(foreign_key(), &header_of(foreign_key()), &claims_with(&[changes]));
        assert_eq!(outcome_of(&token).err(), Some(refusal), "{name}");
    }
    let symmetric = forge_mac(b"x", r#"{"alg":"HS256","kid":"unknown"}"#, &claims_with(&[]));
    assert_eq!(outcome_of(&symmetric).err(), Some(VerifyError::Algorithm));
}

#[test]
fn attack_b16_a_dot_of_the_issuer_matches_a_dot_alone() {
    let dots: Vec<usize> = ISSUER.match_indices('.').map(|(at, _)| at).collect();
    assert_ne!(dots, [0; 0], "the issuer of the tests has a dot");
    for at in dots {
        let mut other = ISSUER.to_owned();
        other.replace_range(at..=at, "X");
        let refusal = outcome(&[("iss", &json!(other).to_string())]).err();
        assert_eq!(refusal, Some(VerifyError::Issuer), "{other}");
    }
}

#[test]
fn attack_a29_the_key_of_one_issuer_does_not_sign_for_another_under_the_same_kid() {
    // The other authorization server's key bears the name of ours; its token names our issuer.
    let named = |signer: &SigningKey| {
        let mut jwk = signer.public_jwk();
        jwk["kid"] = json!("k1");
        let document = json!({"keys": [jwk]}).to_string();
        KeySet::from_jwks(document.as_bytes()).expect("valid").0
    };
    let token = forge(foreign_key(), r#"{"alg":"ES256","kid":"k1"}"#, &claims_with(&[]));
    assert!(verify_now(&token, &named(foreign_key()), ALL).is_ok());
    assert_eq!(
        verify_now(&token, &named(es256()), ALL).err(),
        unbelieved(VerifyError::BadSignature)
    );
}

#[test]
fn a_shared_secret_verifies_whatever_the_kid_and_only_its_own_algorithm() {
    let secret = Secret::new(b"a secret of more than thirty-two bytes".to_vec());
    let keys = KeySet::from_secret(&secret, Algorithm::Hs256).expect("long enough");
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"any"}"#] {
        let token = forge_mac(secret.expose_secret(), header, &claims_with(&[]));
        assert!(verify_now(&token, &keys, &[Algorithm::Hs256]).is_ok());
        let refused = verify_now(&token, &keys, &Algorithm::ASYMMETRIC).err();
        assert_eq!(refused, unbelieved(VerifyError::Algorithm));
    }
    for header in [r#"{"alg":"HS384"}"#, r#"{"alg":"RS256"}"#] {
        let token = forge_mac(secret.expose_secret(), header, &claims_with(&[]));
        assert_eq!(verify_now(&token, &keys, ALL).err(), unbelieved(VerifyError::NoKey));
    }
    let other = forge_mac(
        b"another secret of thirty-two bytes or more",
        r#"{"alg":"HS256"}"#,
        &claims_with(&[]),
    );
    assert_eq!(
        verify_now(&other, &keys, ALL).err(),
        unbelieved(VerifyError::BadSignature)
    );
}

#[test]
fn the_signature_alone_vouches_for_a_payload_of_any_kind() {
    let token = forge(es256(), &header_of(es256()), "not JSON");
    let compact = Compact::parse(&token).expect("well formed");
    let payload = verify_signature(&compact, &set_of(es256()), ALL).expect("signed");
    assert_eq!(*payload.get(), b"not JSON");
    let refused = verify_signature(&compact, &set_of(es256()), &[Algorithm::Rs256]).err();
    assert_eq!(refused, Some(VerifyError::Algorithm));
}

#[test]
fn attack_a36_every_bit_flip_and_every_truncation_of_a_token_is_refused() {
    for algorithm in SigningKey::ALGORITHMS {
        let signer = key(algorithm);
        let keys = set_of(signer);
        let token = forge(signer, &header_of(signer), &claims_with(&[]));
        assert!(verify_now(&token, &keys, ALL).is_ok());
        for end in 0..token.len() {
            assert!(
                verify_now(&token[..end], &keys, ALL).is_err(),
                "{algorithm:?} cut at {end}"
            );
        }
        for index in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                // What is no UTF-8 cannot be handed over at all.
                if let Ok(flipped) = String::from_utf8(bytes) {
                    assert!(
                        verify_now(&flipped, &keys, ALL).is_err(),
                        "{algorithm:?} byte {index} bit {bit}"
                    );
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn attack_a36_no_other_signature_of_the_right_length_is_believed(
        bytes in proptest::collection::vec(any::<u8>(), 64),
        kind in 0..2usize,
    ) {
        let signer = key([Algorithm::Es256, Algorithm::EdDsa][kind]);
        let token = format!("{}.{}.{}", encode(header_of(signer)), encode(claims_with(&[])), encode(bytes));
        prop_assert!(verify_now(&token, &set_of(signer), ALL).is_err());
    }
}
