use serde_json::json;

use super::*;
use crate::jose::forge::{encode, key};

/// A key set document of these entries.
fn document(entries: &[Value]) -> Vec<u8> {
    json!({ "keys": entries }).to_string().into_bytes()
}

fn public(algorithm: Algorithm) -> Value {
    key(algorithm).public_jwk()
}

/// The entry with one member replaced, or removed by `null`.
fn with(mut entry: Value, name: &str, value: Value) -> Value {
    let members = entry.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    entry
}

/// How the set fares when this entry stands between two good ones.
fn refusal_among_good_keys(entry: Value) -> Option<KeyRefusal> {
    let entries = [public(Algorithm::Es256), entry, public(Algorithm::EdDsa)];
    let (set, problems) = KeySet::from_jwks(&document(&entries)).expect("the set stays");
    for good in [Algorithm::Es256, Algorithm::EdDsa] {
        assert!(set.contains_kid(key(good).kid().as_str()), "the good keys stay");
    }
    match problems.as_slice() {
        [] => {
            assert_eq!(set.len(), 3);
            None
        }
        [problem] => {
            assert_eq!((set.len(), problem.index), (2, 1));
            Some(problem.refusal)
        }
        _ => panic!("one entry has one problem"),
    }
}

fn modulus_of(bits: usize) -> Vec<u8> {
    let mut n = vec![0xff; bits / 8];
    n[bits / 8 - 1] = 0xfd;
    n
}

fn rsa_entry(n: &[u8], e: &[u8]) -> Value {
    json!({"kty": "RSA", "kid": "r", "n": encode(n), "e": encode(e)})
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn attack_b12_edge_j08_one_key_that_cannot_be_used_does_not_take_the_others_with_it() {
    let ec = public(Algorithm::Es256);
    let other = |value: Value| with(value, "kid", json!("other"));
    let rows: Vec<(&str, Value, KeyRefusal)> = vec![
        ("no object", json!(17), KeyRefusal::NotAnObject),
        (
            "no kty",
            other(with(ec.clone(), "kty", Value::Null)),
            KeyRefusal::UnsupportedKind,
        ),
        (
            "kty unknown",
            other(with(ec.clone(), "kty", json!("AKP"))),
            KeyRefusal::UnsupportedKind,
        ),
        (
            "kty no string",
            other(with(ec.clone(), "kty", json!(1))),
            KeyRefusal::UnsupportedKind,
        ),
        (
            "crv secp256k1",
            other(with(ec.clone(), "crv", json!("secp256k1"))),
            KeyRefusal::UnsupportedKind,
        ),
        (
            "crv P-521",
            json!({"kty": "EC", "crv": "P-521", "x": encode([1; 66]), "y": encode([1; 66])}),
            KeyRefusal::UnsupportedKind,
        ),
        (
            "Ed448",
            json!({"kty": "OKP", "crv": "Ed448", "x": encode([1; 57])}),
            KeyRefusal::UnsupportedKind,
        ),
        ("kid no string", with(ec.clone(), "kid", json!(1)), KeyRefusal::Kid),
        ("kid empty", with(ec.clone(), "kid", json!("")), KeyRefusal::Kid),
        ("kid with NUL", with(ec.clone(), "kid", json!("a\0")), KeyRefusal::Kid),
        (
            "kid of 10 KB",
            with(ec.clone(), "kid", json!("k".repeat(10_240))),
            KeyRefusal::Kid,
        ),
        (
            "x absent",
            other(with(ec.clone(), "x", Value::Null)),
            KeyRefusal::Malformed,
        ),
        (
            "x no string",
            other(with(ec.clone(), "x", json!(1))),
            KeyRefusal::Malformed,
        ),
        (
            "x short",
            other(with(ec.clone(), "x", json!(encode([1; 31])))),
            KeyRefusal::Malformed,
        ),
        (
            "x long",
            other(with(ec.clone(), "x", json!(encode([1; 33])))),
            KeyRefusal::Malformed,
        ),
        (
            "x of 50 KB",
            other(with(ec.clone(), "x", json!("A".repeat(50_000)))),
            KeyRefusal::Malformed,
        ),
        (
            "alg unknown",
            other(with(ec.clone(), "alg", json!("ES521"))),
            KeyRefusal::UnsupportedAlgorithm,
        ),
        (
            "alg for encryption",
            other(with(ec.clone(), "alg", json!("ECDH-ES"))),
            KeyRefusal::UnsupportedAlgorithm,
        ),
        (
            "alg none",
            other(with(ec.clone(), "alg", json!("none"))),
            KeyRefusal::UnsupportedAlgorithm,
        ),
        (
            "alg no string",
            other(with(ec.clone(), "alg", json!(["ES256"]))),
            KeyRefusal::UnsupportedAlgorithm,
        ),
        (
            "alg of another kind",
            other(with(ec.clone(), "alg", json!("RS256"))),
            KeyRefusal::AlgorithmMismatch,
        ),
        (
            "alg of another curve",
            other(with(ec.clone(), "alg", json!("ES384"))),
            KeyRefusal::AlgorithmMismatch,
        ),
        (
            "alg symmetric",
            other(with(ec, "alg", json!("HS256"))),
            KeyRefusal::AlgorithmMismatch,
        ),
    ];
    for (name, entry, refusal) in rows {
        assert_eq!(refusal_among_good_keys(entry), Some(refusal), "{name}");
    }
}

#[test]
fn attack_b09_edge_j08_a_key_for_another_purpose_is_not_used() {
    let ec = || with(public(Algorithm::Es256), "kid", json!("other"));
    let plain = || with(ec(), "use", Value::Null);
    for (name, entry, refusal) in [
        ("use enc", with(ec(), "use", json!("enc")), Some(KeyRefusal::Use)),
        ("use unknown", with(ec(), "use", json!("tls")), Some(KeyRefusal::Use)),
        (
            "use in upper case",
            with(ec(), "use", json!("SIG")),
            Some(KeyRefusal::Use),
        ),
        (
            "use no string",
            with(ec(), "use", json!(["sig"])),
            Some(KeyRefusal::Use),
        ),
        (
            "key_ops encrypt",
            with(plain(), "key_ops", json!(["encrypt"])),
            Some(KeyRefusal::Operations),
        ),
        (
            "key_ops sign",
            with(plain(), "key_ops", json!(["sign"])),
            Some(KeyRefusal::Operations),
        ),
        (
            "key_ops empty",
            with(plain(), "key_ops", json!([])),
            Some(KeyRefusal::Operations),
        ),
        (
            "key_ops no array",
            with(plain(), "key_ops", json!("verify")),
            Some(KeyRefusal::Operations),
        ),
        (
            "use sig, key_ops encrypt",
            with(ec(), "key_ops", json!(["encrypt"])),
            Some(KeyRefusal::Operations),
        ),
        (
            "use enc, key_ops verify",
            with(with(ec(), "use", json!("enc")), "key_ops", json!(["verify"])),
            Some(KeyRefusal::Use),
        ),
        ("key_ops verify", with(plain(), "key_ops", json!(["verify"])), None),
        (
            "key_ops sign and verify",
            with(plain(), "key_ops", json!(["sign", "verify"])),
            None,
        ),
        ("neither", plain(), None),
    ] {
        assert_eq!(refusal_among_good_keys(entry), refusal, "{name}");
    }
}

#[test]
fn attack_a11_edge_j08_weak_rsa_keys_are_not_loaded() {
    let good = public(Algorithm::Rs256);
    let e = [1, 0, 1];
    let even = {
        let mut n = modulus_of(2048);
        n[255] = 0xfe;
        n
    };
    let with_e = |e: &[u8]| with(with(good.clone(), "e", json!(encode(e))), "kid", json!("other"));
    for (name, entry, refusal) in [
        ("1024 bits", rsa_entry(&modulus_of(1024), &e), KeyRefusal::ShortModulus),
        ("2040 bits", rsa_entry(&modulus_of(2040), &e), KeyRefusal::ShortModulus),
        (
            "2048 bits of which the first is zero",
            rsa_entry(&[&[0x7f], &modulus_of(2040)[..]].concat(), &e),
            KeyRefusal::ShortModulus,
        ),
        ("even", rsa_entry(&even, &e), KeyRefusal::EvenModulus),
        ("n empty", rsa_entry(&[], &e), KeyRefusal::Malformed),
        ("n zero", rsa_entry(&[0], &e), KeyRefusal::Malformed),
        (
            "two leading zeros",
            rsa_entry(&[&[0, 0], &modulus_of(2048)[..]].concat(), &e),
            KeyRefusal::Malformed,
        ),
        ("e = 0", with_e(&[0]), KeyRefusal::Malformed),
        ("e = 1", with_e(&[1]), KeyRefusal::Exponent),
        ("e = 2", with_e(&[2]), KeyRefusal::Exponent),
        ("e = 4", with_e(&[4]), KeyRefusal::Exponent),
        ("e = 65536", with_e(&[1, 0, 0]), KeyRefusal::Exponent),
        ("e = 65538", with_e(&[1, 0, 2]), KeyRefusal::Exponent),
        ("e of five bytes", with_e(&[1, 0, 0, 0, 1]), KeyRefusal::Exponent),
    ] {
        assert_eq!(refusal_among_good_keys(entry), Some(refusal), "{name}");
    }
    for sound in [&[3][..], &[1, 0, 1], &[0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(refusal_among_good_keys(with_e(sound)), None, "{sound:?}");
    }
}

#[test]
fn attack_a12_oversized_rsa_keys_are_refused_by_the_length_of_their_text() {
    let e = [1, 0, 1];
    for (name, entry, refusal) in [
        (
            "n of 65536 bits",
            rsa_entry(&modulus_of(65536), &e),
            KeyRefusal::LongModulus,
        ),
        (
            "n of 8200 bits",
            rsa_entry(&modulus_of(8200), &e),
            KeyRefusal::LongModulus,
        ),
        (
            "n too long and no base64 at all",
            json!({"kty": "RSA", "n": "!".repeat(20_000), "e": "AQAB"}),
            KeyRefusal::LongModulus,
        ),
        (
            "e of 4096 bits",
            rsa_entry(&modulus_of(2048), &modulus_of(4096)),
            KeyRefusal::Exponent,
        ),
    ] {
        assert_eq!(refusal_among_good_keys(entry), Some(refusal), "{name}");
    }
}

#[test]
fn attack_a10_points_that_are_on_no_curve_are_refused() {
    let ec = |x: Value, y: Value| json!({"kty": "EC", "crv": "P-256", "kid": "p", "x": x, "y": y});
    let good = public(Algorithm::Es256);
    let mut off = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        good["y"].as_str().expect("text"),
    )
    .expect("base64url");
    off[31] ^= 1;
    let p256 = "_____wAAAAEAAAAAAAAAAAAAAAD_______________8"; // the field's prime
    for (name, entry) in [
        ("off the curve", ec(good["x"].clone(), json!(encode(&off)))),
        ("(0, 0)", ec(json!(encode([0; 32])), json!(encode([0; 32])))),
        ("x = p", ec(json!(p256), good["y"].clone())),
        ("x = 2^256 - 1", ec(json!(encode([0xff; 32])), good["y"].clone())),
        (
            "a point of P-256 declared as P-384",
            with(with(good.clone(), "crv", json!("P-384")), "alg", Value::Null),
        ),
    ] {
        let refusal = refusal_among_good_keys(with(entry, "kid", json!("other")));
        assert!(
            matches!(refusal, Some(KeyRefusal::Point | KeyRefusal::Malformed)),
            "{name}: {refusal:?}"
        );
    }
}

#[test]
fn attack_a10_edwards_points_of_small_order_or_of_a_second_spelling_are_refused() {
    let okp = |x: [u8; 32]| json!({"kty": "OKP", "crv": "Ed25519", "kid": "o", "x": encode(x)});
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let mut prime = minus_one;
    prime[0] = 0xed;
    let mut prime_and_one = minus_one;
    prime_and_one[0] = 0xee;
    let mut signed_neutral = neutral;
    signed_neutral[31] = 0x80;
    let order_eight = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    for (name, x) in [
        ("order 4", [0; 32]),
        ("neutral", neutral),
        ("neutral with a sign", signed_neutral),
        ("order 2", minus_one),
        ("zero as p", prime),
        ("one as p + 1", prime_and_one),
        ("order 8", order_eight),
        ("2^255 - 1", [0xff; 32]),
    ] {
        assert_eq!(refusal_among_good_keys(okp(x)), Some(KeyRefusal::Point), "{name}");
    }
}

#[test]
fn attack_b08_edge_j08_private_or_symmetric_material_anywhere_refuses_the_set() {
    let ec = public(Algorithm::Es256);
    let rsa = public(Algorithm::Rs256);
    for (name, entry) in [
        ("EC d", with(ec.clone(), "d", json!(encode([1; 32])))),
        ("RSA d", with(rsa.clone(), "d", json!("AQ"))),
        ("RSA p", with(rsa.clone(), "p", json!("AQ"))),
        ("RSA qi", with(rsa.clone(), "qi", json!("AQ"))),
        ("RSA oth", with(rsa, "oth", json!([]))),
        ("d of another type", with(ec.clone(), "d", json!(1))),
        (
            "d in a key that would be skipped anyway",
            with(with(ec, "use", json!("enc")), "d", json!("AQ")),
        ),
        ("oct", json!({"kty": "oct", "kid": "leak", "k": encode([1; 64])})),
        ("oct without k", json!({"kty": "oct", "kid": "leak"})),
        (
            "priv",
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQ", "priv": "AQ"}),
        ),
    ] {
        let refused = KeySet::from_jwks(&document(&[public(Algorithm::EdDsa), entry])).expect_err(name);
        assert!(
            matches!(&refused, JwksError::PrivateMaterial(problem) if problem.index == 1),
            "{name}: {refused}"
        );
        assert!(
            refused.to_string().contains("private or symmetric material"),
            "{refused}"
        );
    }
}

#[test]
fn attack_b08_attack_b11_edge_j08_two_keys_under_one_kid_refuse_the_set() {
    let named = |algorithm| with(public(algorithm), "kid", json!("same"));
    for (first, second) in [
        (Algorithm::Rs256, Algorithm::Ps256),
        (Algorithm::Es256, Algorithm::Es384),
        (Algorithm::Es256, Algorithm::EdDsa),
    ] {
        assert_eq!(
            KeySet::from_jwks(&document(&[named(first), named(second)])).err(),
            Some(JwksError::DuplicateKid(Kid::parse("same").expect("valid")))
        );
    }
    // The same key twice is no ambiguity, and a key for encryption is not in the set at all.
    let twice = [named(Algorithm::Es256), named(Algorithm::Es256)];
    let (set, problems) = KeySet::from_jwks(&document(&twice)).expect("one key");
    assert_eq!((set.len(), problems[0].refusal), (1, KeyRefusal::Repeated));
    let beside = [
        named(Algorithm::Es256),
        with(named(Algorithm::Es384), "use", json!("enc")),
    ];
    assert_eq!(KeySet::from_jwks(&document(&beside)).expect("one key").0.len(), 1);
    // The same material with two algorithms is two keys.
    let loose = with(named(Algorithm::Rs256), "alg", Value::Null);
    let two_algorithms = [named(Algorithm::Rs256), loose];
    assert!(KeySet::from_jwks(&document(&two_algorithms)).is_err());
}

#[test]
fn attack_b05_documents_beyond_the_caps_are_refused() {
    let many = |count: usize| {
        let entries: Vec<Value> = (0..count)
            .map(|index| with(public(Algorithm::EdDsa), "kid", json!(format!("k{index}"))))
            .collect();
        KeySet::from_jwks(&document(&entries)).map(|(set, _)| set.len())
    };
    assert_eq!(many(100), Ok(100));
    assert_eq!(many(101), Err(JwksError::TooManyKeys));
    let padded = |bytes: usize| {
        let mut text = document(&[public(Algorithm::EdDsa)]);
        text.resize(bytes, b' ');
        KeySet::from_jwks(&text).map(|(set, _)| set.len())
    };
    assert_eq!(padded(JWKS_BYTES_MAX), Ok(1));
    assert_eq!(padded(JWKS_BYTES_MAX + 1), Err(JwksError::TooLong));
    for (text, error) in [
        ("", JwksError::NotJson),
        ("<html></html>", JwksError::NotJson),
        ("[]", JwksError::NotJson),
        (r#"{"keys":[],"keys":[]}"#, JwksError::NotJson),
        (r#"{"keys":[{"kid":"a","kid":"b"}]}"#, JwksError::NotJson),
        ("{}", JwksError::NoKeys),
        (r#"{"keys":{}}"#, JwksError::NoKeys),
        (r#"{"keys":null}"#, JwksError::NoKeys),
    ] {
        assert_eq!(KeySet::from_jwks(text.as_bytes()).err(), Some(error), "{text}");
    }
    assert!(KeySet::from_jwks(br#"{"keys":[]}"#).is_ok_and(|(set, _)| set.is_empty()));
}

#[test]
fn attack_a15_a_short_secret_is_refused_for_each_hash() {
    let set =
        |bytes: usize, algorithm| KeySet::from_secret(&Secret::new(vec![7; bytes]), algorithm).map(|set| set.len());
    for (algorithm, bytes_min) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        for bytes in [0, 8, 31, bytes_min - 1] {
            assert_eq!(
                set(bytes, algorithm),
                Err(WeakSecret::TooShort { algorithm, bytes_min })
            );
        }
        assert_eq!(set(bytes_min, algorithm), Ok(1));
    }
    for algorithm in Algorithm::ASYMMETRIC {
        assert_eq!(set(512, algorithm), Err(WeakSecret::NotSymmetric { algorithm }));
    }
}

#[test]
fn attack_a03_an_rsa_key_without_alg_serves_rsa_algorithms_and_no_other() {
    let loose = with(public(Algorithm::Rs256), "alg", Value::Null);
    let (set, _) = KeySet::from_jwks(&document(&[loose])).expect("valid");
    let key = set.iter().next().expect("one key");
    for algorithm in Algorithm::ALL {
        assert_eq!(key.serves(algorithm), algorithm.family() == KeyFamily::Rsa);
    }
    let (set, _) = KeySet::from_jwks(&document(&[public(Algorithm::Rs256)])).expect("valid");
    let key = set.iter().next().expect("one key");
    for algorithm in Algorithm::ALL {
        assert_eq!(key.serves(algorithm), algorithm == Algorithm::Rs256);
    }
}

#[test]
fn attack_e18_neither_debug_nor_errors_show_key_material() {
    let secret = Secret::new(b"canary-canary-canary-canary-canary-canary".to_vec());
    let key = VerifyingKey::from_secret(&secret, Algorithm::Hs256, None).expect("long enough");
    let set = KeySet::from_keys(vec![key.clone()]);
    for text in [format!("{key:?}"), format!("{set:?}")] {
        assert!(
            !text.contains("canary") && !text.contains("63616e617279") && !text.contains("99, 97"),
            "{text}"
        );
    }
    let leak = json!({"kty": "EC", "kid": "k", "d": "canary"});
    let refused = KeySet::from_jwks(&document(&[leak])).expect_err("private");
    assert!(!format!("{refused} {refused:?}").contains("canary"));
}
