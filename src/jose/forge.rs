//! For tests: tokens that no honest signer makes.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::jose::alg::Algorithm;
use crate::jose::key::KeySet;
use crate::jose::sign::SigningKey;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Claims, Expectations, TokenTypes, Verified, VerifyError, signed, verify};
use crate::model::id::Issuer;
use crate::model::time::Timestamp;

/// The moment at which every test of this room takes place.
pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const AUDIENCE: &str = "api://orders";
pub(super) const LEEWAY: Duration = Duration::from_secs(30);

/// One key for each algorithm that we sign with; made once, since RSA keys take their time.
pub(crate) fn key(algorithm: Algorithm) -> &'static SigningKey {
    static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
        SigningKey::ALGORITHMS
            .into_iter()
            .map(|algorithm| SigningKey::generate(algorithm).expect("the library makes keys"))
            .collect()
    });
    KEYS.iter()
        .find(|key| key.algorithm() == algorithm)
        .expect("an algorithm that we sign with")
}

/// A key of an algorithm that the tests' authorization server does not have.
pub(super) fn foreign_key() -> &'static SigningKey {
    static KEY: LazyLock<SigningKey> =
        LazyLock::new(|| SigningKey::generate(Algorithm::Es256).expect("the library makes keys"));
    &KEY
}

/// The set of this one key.
pub(super) fn set_of(key: &SigningKey) -> KeySet {
    KeySet::from_keys(vec![key.verifying_key()])
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Header and payload as they are given, and a true signature over them.
pub(crate) fn forge(key: &SigningKey, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = key.signature(input.as_bytes()).expect("the library signs");
    format!("{input}.{}", encode(signature))
}

/// Header and payload as they are given, and an HMAC-SHA256 over them.
pub(crate) fn forge_mac(secret: &[u8], header: &str, payload: &str) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", encode(tag))
}

/// A JWS of this HMAC algorithm.
pub(crate) fn forge_mac_by(algorithm: Algorithm, secret: &[u8], payload: &str) -> String {
    let hash = match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let header = format!(r#"{{"alg":"{}"}}"#, algorithm.as_str());
    let input = format!("{}.{}", encode(header), encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
    format!("{input}.{}", encode(tag))
}

/// Header and payload as they are given, signed by an RSA key with any RSA algorithm: also those that we do not sign with.
pub(crate) fn forge_rsa(key: &SigningKey, algorithm: Algorithm, header: &str, payload: &str) -> String {
    use aws_lc_rs::signature::{self, RsaEncoding, RsaKeyPair};
    let padding: &'static dyn RsaEncoding = match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    };
    let pair = RsaKeyPair::from_pkcs8(key.to_pkcs8().expose_secret()).expect("an RSA key");
    let input = format!("{}.{}", encode(header), encode(payload));
    let mut made = vec![0; pair.public_modulus_len()];
    let random = aws_lc_rs::rand::SystemRandom::new();
    pair.sign(padding, &random, input.as_bytes(), &mut made)
        .expect("the library signs");
    format!("{input}.{}", encode(made))
}

/// The header that the key writes itself.
pub(super) fn header_of(key: &SigningKey) -> String {
    format!(
        r#"{{"alg":"{}","kid":"{}","typ":"JWT"}}"#,
        key.algorithm().as_str(),
        key.kid()
    )
}

/// Claims that pass, with what is given in place of or besides them. `null` as a text leaves out.
pub(super) fn claims_with(changes: &[(&str, &str)]) -> String {
    let mut members: Vec<(&str, String)> = vec![
        ("iss", format!("\"{ISSUER}\"")),
        ("aud", format!("\"{AUDIENCE}\"")),
        ("sub", "\"alice\"".to_owned()),
        ("jti", "\"t1\"".to_owned()),
        ("iat", (NOW.unix_seconds() - 10).to_string()),
        ("exp", (NOW.unix_seconds() + 300).to_string()),
    ];
    for (name, value) in changes {
        members.retain(|(other, _)| other != name);
        if *value != ABSENT {
            members.push((name, (*value).to_owned()));
        }
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Leaves a claim out, see [`claims_with`].
pub(super) const ABSENT: &str = "(absent)";

/// What the tests' authorization server is expected to write, at [`NOW`].
pub(super) fn verify_now(token: &str, keys: &KeySet, algorithms: &[Algorithm]) -> Result<Verified<Claims>, Refusal> {
    verify_as(token, keys, algorithms, &TokenTypes::Usual)
}

pub(super) fn verify_as(
    token: &str,
    keys: &KeySet,
    algorithms: &[Algorithm],
    token_types: &TokenTypes,
) -> Result<Verified<Claims>, Refusal> {
    let issuer = Issuer::parse(ISSUER).expect("valid");
    let expect = Expectations {
        issuer: &issuer,
        audiences: &[AUDIENCE.to_owned()],
        algorithms,
        token_types,
        leeway: LEEWAY,
        now: NOW,
    };
    let parsed = || Unverified::parse(token).map_err(Refusal::Malformed);
    let verified = verify(&mut parsed()?, keys, &expect);
    // The two steps apart come to the same, but for a token of an unknown key: `verify` says if it is dead anyway.
    let apart = signed(parsed()?, keys, algorithms).and_then(|signed| signed.judge(&expect));
    match (&verified, &apart) {
        (Ok(one), Ok(other)) => assert_eq!(one.get().map(), other.get().map(), "{token}"),
        (Err(_), Err(VerifyError::UnknownKid)) => {}
        (one, other) => assert_eq!(one.as_ref().err(), other.as_ref().err(), "{token}"),
    }
    verified.map_err(Refusal::Unbelieved)
}

/// Where a token was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed(crate::jose::unverified::Malformed),
    Unbelieved(VerifyError),
}
