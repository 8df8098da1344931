use serde_json::json;

use super::*;
use crate::jose::forge::{NOW, encode, foreign_key, forge, forge_mac, key};
use crate::jose::sign::SigningKey;

const TOKEN: &str = "header.payload.signature";
const URL: &str = "https://api.example/orders/7";
const MAX_AGE: Duration = Duration::from_secs(60);
const LEEWAY: Duration = Duration::from_secs(5);

fn public(signer: &SigningKey) -> Value {
    let jwk = signer.public_jwk();
    let members = jwk.as_object().expect("an object");
    let kept = members
        .iter()
        .filter(|(name, _)| !["kid", "use", "alg"].contains(&name.as_str()));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn header(signer: &SigningKey) -> Value {
    json!({"typ": "dpop+jwt", "alg": signer.algorithm().as_str(), "jwk": public(signer)})
}

fn payload() -> Value {
    json!({
        "htm": "GET",
        "htu": URL,
        "iat": NOW.unix_seconds(),
        "jti": "p1",
        "ath": Digest::of(TOKEN.as_bytes()).to_base64url(),
    })
}

/// The object with one member replaced, or removed by the text `(absent)`.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    let members = object.as_object_mut().expect("an object");
    if value == "(absent)" {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    object
}

/// Judges a proof for `GET https://api.example/orders/7`.
fn judge(proof: &str) -> Result<ProvenKey, ProofError> {
    judge_for(proof, "GET", "https", "api.example", "/orders/7")
}

fn judge_for(proof: &str, method: &str, scheme: &str, authority: &str, path: &str) -> Result<ProvenKey, ProofError> {
    let digest = Digest::of(TOKEN.as_bytes());
    let expect = ExpectedProof {
        method,
        scheme,
        authority,
        path,
        access_token_digest: Some(&digest),
        now: NOW,
        max_age: MAX_AGE,
        leeway: LEEWAY,
    };
    verify_proof(proof, &expect)
}

fn with_header(name: &str, value: Value) -> Result<ProvenKey, ProofError> {
    let signer = key(Algorithm::Es256);
    judge(&forge(
        signer,
        &with(header(signer), name, value).to_string(),
        &payload().to_string(),
    ))
}

fn with_claim(name: &str, value: Value) -> Result<ProvenKey, ProofError> {
    let signer = key(Algorithm::Es256);
    judge(&forge(
        signer,
        &header(signer).to_string(),
        &with(payload(), name, value).to_string(),
    ))
}

#[test]
fn a_proof_of_each_algorithm_names_its_key() {
    for algorithm in SigningKey::ALGORITHMS {
        let signer = key(algorithm);
        let proof = forge(signer, &header(signer).to_string(), &payload().to_string());
        let proven = judge(&proof).expect("proven");
        assert_eq!(proven.thumbprint.to_base64url(), signer.kid().as_str());
        assert_eq!((proven.jti.as_str(), proven.issued_at, proven.nonce), ("p1", NOW, None));
    }
}

#[test]
fn the_proof_of_the_rfc_is_accepted() {
    // RFC 9449 section 7.1, with the access token that its `ath` is of.
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let digest = Digest::of(b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    let expect = ExpectedProof {
        method: "GET",
        scheme: "https",
        authority: "resource.example.org",
        path: "/protectedresource",
        access_token_digest: Some(&digest),
        now: Timestamp::from_unix_seconds(1_562_262_618),
        max_age: MAX_AGE,
        leeway: LEEWAY,
    };
    let proven = verify_proof(proof, &expect).expect("proven");
    assert_eq!(
        proven.thumbprint.to_base64url(),
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    );
    assert_eq!(proven.jti, "e1j3V_bKic8-LAEB");
}

#[test]
fn edge_x01_the_verb_is_compared_with_its_case() {
    for htm in [
        json!("get"),
        json!("POST"),
        json!("GET "),
        json!(""),
        json!(1),
        json!("(absent)"),
    ] {
        assert_eq!(with_claim("htm", htm.clone()), Err(ProofError::Method), "{htm}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn edge_x02_urls_are_equal_after_normalisation_without_their_query() {
    for (htu, scheme, authority, path, equal) in [
        (URL, "https", "api.example", "/orders/7", true),
        (
            "https://api.example/orders/7?a=b",
            "https",
            "api.example",
            "/orders/7",
            true,
        ),
        (
            "https://api.example/orders/7#part",
            "https",
            "api.example",
            "/orders/7",
            true,
        ),
        (
            "https://api.example/orders/7",
            "https",
            "api.example",
            "/orders/7?a=/b",
            true,
        ),
        (
            "HTTPS://API.example/orders/7",
            "https",
            "api.EXAMPLE",
            "/orders/7",
            true,
        ),
        (
            "https://api.example:443/orders/7",
            "https",
            "api.example",
            "/orders/7",
            true,
        ),
        (
            "https://api.example/orders/7",
            "https",
            "api.example:443",
            "/orders/7",
            true,
        ),
        (
            "https://api.example:/orders/7",
            "https",
            "api.example",
            "/orders/7",
            true,
        ),
        (
            "http://api.example:80/orders/7",
            "http",
            "api.example",
            "/orders/7",
            true,
        ),
        ("https://api.example", "https", "api.example", "/", true),
        ("https://api.example?a=b", "https", "api.example", "/", true),
        ("https://api.example/%7Ejo", "https", "api.example", "/~jo", true),
        ("https://api.example/~jo", "https", "api.example", "/%7ejo", true),
        ("https://api.example/%41", "https", "api.example", "/A", true),
        ("https://api.example/a%2fb", "https", "api.example", "/a%2Fb", true),
        ("https://[2001:DB8::1]:443/a", "https", "[2001:db8::1]", "/a", true),
        // Not the same:
        (
            "https://api.example/orders/7/",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        ("https://api.example/orders", "https", "api.example", "/orders/", false),
        (
            "http://api.example/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://api.example/orders/7",
            "http",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://api.example:8443/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://api.example:80/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://api.example/Orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        ("https://api.example/a%2Fb", "https", "api.example", "/a/b", false),
        (
            "https://api.example/a/../orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://api.example.evil/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://evil@api.example/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://api.example@evil/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        (
            "https://api.example\\@evil/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        ("https:///orders/7", "https", "", "/orders/7", false),
        ("/orders/7", "https", "api.example", "/orders/7", false),
        (
            "https:/api.example/orders/7",
            "https",
            "api.example",
            "/orders/7",
            false,
        ),
        ("//api.example/orders/7", "https", "api.example", "/orders/7", false),
        (
            "https://api.example/orders/7%",
            "https",
            "api.example",
            "/orders/7%",
            false,
        ),
        (
            "https://api.example/orders/%zz",
            "https",
            "api.example",
            "/orders/%zz",
            false,
        ),
        (
            "https://api.example/orders/%+1",
            "https",
            "api.example",
            "/orders/%+1",
            false,
        ),
        (
            "https://api.example/orders /7",
            "https",
            "api.example",
            "/orders /7",
            false,
        ),
        ("https://api.example/ordérs", "https", "api.example", "/ordérs", false),
        ("https://api.example/%é", "https", "api.example", "/%é", false),
        ("", "https", "api.example", "/", false),
    ] {
        let signer = key(Algorithm::Es256);
        let claims = with(payload(), "htu", json!(htu));
        let proof = forge(signer, &header(signer).to_string(), &claims.to_string());
        let judged = judge_for(&proof, "GET", scheme, authority, path).err();
        assert_eq!(
            judged,
            (!equal).then_some(ProofError::Url),
            "{htu} for {scheme}://{authority}{path}"
        );
    }
    for htu in [json!(1), json!(["https://api.example/orders/7"]), json!("(absent)")] {
        assert_eq!(with_claim("htu", htu), Err(ProofError::Url));
    }
}

#[test]
fn edge_x04_the_proof_names_the_access_token() {
    for ath in [
        json!("(absent)"),
        json!(""),
        json!(1),
        json!(Digest::of(b"another token").to_base64url()),
        json!(format!("{}=", Digest::of(TOKEN.as_bytes()).to_base64url())),
        json!(TOKEN),
    ] {
        assert_eq!(with_claim("ath", ath.clone()), Err(ProofError::AccessToken), "{ath}");
    }
}

#[test]
fn at_the_token_endpoint_there_is_no_access_token_to_name() {
    let signer = key(Algorithm::Es256);
    let claims = with(payload(), "ath", json!("(absent)"));
    let proof = forge(signer, &header(signer).to_string(), &claims.to_string());
    let expect = ExpectedProof {
        method: "GET",
        scheme: "https",
        authority: "api.example",
        path: "/orders/7",
        access_token_digest: None,
        now: NOW,
        max_age: MAX_AGE,
        leeway: LEEWAY,
    };
    assert!(verify_proof(&proof, &expect).is_ok());
}

#[test]
fn edge_x05_a_proof_is_fresh_within_its_window_and_to_be_remembered_for_as_long() {
    let window = MAX_AGE + LEEWAY;
    let now = NOW.unix_seconds();
    let at = |offset: i64| with_claim("iat", json!(now + offset));
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).expect("small");
    assert_eq!(at(0).expect("fresh").useful_until, NOW.plus(window));
    // The last second of a proof is the one before `useful_until`.
    assert_eq!(
        at(1 - seconds(window)).expect("fresh").useful_until,
        NOW.plus(Duration::from_secs(1))
    );
    assert_eq!(at(-seconds(window)), Err(ProofError::Time));
    assert!(at(seconds(LEEWAY)).is_ok());
    assert_eq!(at(seconds(LEEWAY) + 1), Err(ProofError::Time));
    for iat in [
        json!("(absent)"),
        json!(now.to_string()),
        json!(1.5),
        json!(-1),
        json!(null),
        json!(true),
        json!(u64::MAX),
        json!(i64::MAX),
    ] {
        assert_eq!(with_claim("iat", iat.clone()), Err(ProofError::Time), "{iat}");
    }
    assert_eq!(with_claim("exp", json!(now - 6)), Err(ProofError::Time));
    assert_eq!(with_claim("nbf", json!(now + 6)), Err(ProofError::Time));
    assert!(with_claim("exp", json!(now + 6)).is_ok());
}

#[test]
fn edge_x08_two_proofs_joined_by_a_comma_are_none() {
    let signer = key(Algorithm::Es256);
    let proof = forge(signer, &header(signer).to_string(), &payload().to_string());
    for joined in [
        format!("{proof},{proof}"),
        format!("{proof}, {proof}"),
        format!("{proof} "),
    ] {
        assert_eq!(judge(&joined), Err(ProofError::Malformed));
    }
}

#[test]
fn edge_x09_the_header_is_that_of_a_proof() {
    let private = with(public(key(Algorithm::Es256)), "d", json!(encode([1; 32])));
    let weak = json!({"kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB"});
    let bound_to_encryption = with(public(key(Algorithm::Es256)), "use", json!("enc"));
    for (name, member, value, refusal) in [
        ("typ absent", "typ", json!("(absent)"), ProofError::Type),
        ("typ JWT", "typ", json!("JWT"), ProofError::Type),
        ("typ at+jwt", "typ", json!("at+jwt"), ProofError::Type),
        ("typ no string", "typ", json!(1), ProofError::Malformed),
        ("alg none", "alg", json!("none"), ProofError::Malformed),
        ("alg HS256", "alg", json!("HS256"), ProofError::Algorithm),
        ("alg of another kind", "alg", json!("RS256"), ProofError::Key),
        ("alg of another curve", "alg", json!("ES384"), ProofError::Key),
        ("crit", "crit", json!(["x"]), ProofError::Malformed),
        ("b64", "b64", json!(false), ProofError::Malformed),
        ("jwk absent", "jwk", json!("(absent)"), ProofError::Key),
        ("jwk no object", "jwk", json!("x"), ProofError::Key),
        ("jwk private", "jwk", private, ProofError::Key),
        (
            "jwk symmetric",
            "jwk",
            json!({"kty": "oct", "k": "QUJD"}),
            ProofError::Key,
        ),
        ("jwk weak", "jwk", weak, ProofError::Key),
        ("jwk for encryption", "jwk", bound_to_encryption, ProofError::Key),
        (
            "jwk of another key",
            "jwk",
            public(foreign_key()),
            ProofError::BadSignature,
        ),
    ] {
        assert_eq!(with_header(member, value), Err(refusal), "{name}");
    }
    let mac = forge_mac(
        b"a secret that the attacker knows as well",
        &with(header(key(Algorithm::Es256)), "alg", json!("HS256")).to_string(),
        &payload().to_string(),
    );
    assert_eq!(judge(&mac), Err(ProofError::Algorithm));
}

#[test]
fn the_key_of_the_header_may_name_its_algorithm_and_then_keeps_to_it() {
    let signer = key(Algorithm::Ps256);
    let judged = |alg: &str| {
        let jwk = with(public(signer), "alg", json!(alg));
        judge(&forge(
            signer,
            &with(header(signer), "jwk", jwk).to_string(),
            &payload().to_string(),
        ))
        .err()
    };
    assert_eq!(judged("PS256"), None);
    assert_eq!(judged("RS256"), Some(ProofError::Key));
    assert_eq!(judged("none"), Some(ProofError::Key));
}

#[test]
fn a_jti_and_a_nonce_are_bounded_text() {
    let longest = "x".repeat(PROOF_TEXT_BYTES_MAX);
    for (name, refusal) in [("jti", ProofError::Jti), ("nonce", ProofError::Nonce)] {
        for value in [
            json!(""),
            json!(1),
            json!(null),
            json!("a\nb"),
            json!(format!("{longest}x")),
        ] {
            assert_eq!(with_claim(name, value.clone()), Err(refusal), "{name}: {value}");
        }
        assert!(with_claim(name, json!(longest)).is_ok());
    }
    assert_eq!(with_claim("jti", json!("(absent)")), Err(ProofError::Jti));
    assert_eq!(
        with_claim("nonce", json!("n1")).expect("proven").nonce.as_deref(),
        Some("n1")
    );
}

#[test]
fn attack_a22_attack_a31_a_proof_is_read_as_strictly_as_a_token() {
    let signer = key(Algorithm::Es256);
    let twice = payload()
        .to_string()
        .replace("\"htm\":\"GET\"", "\"htm\":\"GET\",\"htm\":\"POST\"");
    assert_eq!(
        judge(&forge(signer, &header(signer).to_string(), &twice)),
        Err(ProofError::Malformed)
    );
    let proof = forge(signer, &header(signer).to_string(), &payload().to_string());
    for respelled in [format!("{proof}="), format!("{proof}\n"), proof.replacen('.', " .", 1)] {
        assert_eq!(judge(&respelled), Err(ProofError::Malformed));
    }
    assert_eq!(judge(""), Err(ProofError::Malformed));
    assert_eq!(judge(&"x".repeat(1 << 20)), Err(ProofError::Malformed));
}
