//! The Wycheproof vectors: signatures, keys and tokens that nobody here made.
//!
//! Read from `../shared/vectors` beside the project, or from the folder that `SCOPEGATE_VECTORS`
//! names. Without either the tests say that they were skipped.

use std::io::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate::jose::alg::Algorithm;
use scopegate::jose::compact::Compact;
use scopegate::jose::key::{KeyRefusal, KeySet, VerifyingKey};
use scopegate::jose::verify::verify_signature;
use scopegate::model::id::Kid;
use scopegate::model::secret::Secret;
use serde_json::{Value, json};

/// The vectors of one file, or `None` where they are not at hand.
#[expect(clippy::disallowed_methods, reason = "a test finds its data; no setting is read")]
fn vectors(file: &str) -> Option<Value> {
    let folder = std::env::var("SCOPEGATE_VECTORS").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
        PathBuf::from,
    );
    let path = folder.join("wycheproof").join(file);
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).expect("the vectors are JSON")),
        Err(error) => {
            // Past the capture of the test harness, so that it is seen.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no vectors at {}: {error}", path.display());
            None
        }
    }
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().expect("an array")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().expect("a string")
}

fn number(test: &Value) -> u64 {
    test["tcId"].as_u64().expect("a number")
}

fn bytes(test: &Value, name: &str) -> Vec<u8> {
    let digits = text(test, name);
    (0..digits.len())
        .step_by(2)
        .map(|index| u8::from_str_radix(&digits[index..index + 2], 16).expect("hex"))
        .collect()
}

/// The numbers of the cases whose outcome is not as labelled, and how many cases there are.
fn deviations(vectors: &Value, accepts: impl Fn(&Value, &Value) -> bool) -> (Vec<u64>, usize) {
    let cases = || {
        list(vectors, "testGroups")
            .iter()
            .flat_map(|group| list(group, "tests").iter().map(move |test| (group, test)))
    };
    let deviating = cases()
        .filter(|(group, test)| accepts(group, test) != (text(test, "result") == "valid"))
        .map(|(_, test)| number(test))
        .collect();
    (deviating, cases().count())
}

/// The set that a key document makes: public keys as a provider publishes them, shared secrets as a
/// configuration gives them. `None` where either is refused, or nothing usable is left.
fn key_set(document: &Value) -> Option<KeySet> {
    let entries = list(document, "keys");
    if entries.iter().any(|key| key["kty"] != "oct") {
        let (set, _) = KeySet::from_jwks(document.to_string().as_bytes()).ok()?;
        return (!set.is_empty()).then_some(set);
    }
    let keys = entries.iter().map(|key| {
        let algorithm = Algorithm::parse(key["alg"].as_str()?)?;
        let secret = Secret::new(URL_SAFE_NO_PAD.decode(key["k"].as_str()?).ok()?);
        let kid = Kid::parse(key["kid"].as_str()?).ok()?;
        VerifyingKey::from_secret(&secret, algorithm, Some(kid)).ok()
    });
    keys.collect::<Option<Vec<_>>>().map(KeySet::from_keys)
}

/// Whether the token verifies under the set, whatever algorithm it names.
fn verifies(token: &Value, set: Option<&KeySet>) -> bool {
    let Some(set) = set else { return false };
    // Two of the cases are no string but a JSON serialization.
    let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
    Compact::parse(&token).is_ok_and(|compact| verify_signature(&compact, set, &Algorithm::ALL).is_ok())
}

#[test]
fn attack_a13_attack_a14_tokens_are_judged_as_labelled_but_for_eight() {
    let Some(vectors) = vectors("json_web_signature_test.json") else {
        return;
    };
    let (deviating, cases) = deviations(&vectors, |group, test| {
        let key = group.get("public").unwrap_or(&group["private"]);
        verifies(&test["jws"], key_set(&json!({"keys": [key]})).as_ref())
    });
    assert_eq!(cases, 401);
    // 346, 347, 350, 351: the key's `alg` is not the header's, or is no algorithm at all.
    // 367, 370: byte for byte the token of the valid case 357, labelled invalid.
    // 372, 373: a `?` in the text, labelled valid.
    assert_eq!(deviating, [346, 347, 350, 351, 367, 370, 372, 373]);
}

#[test]
fn attack_b08_attack_b09_attack_a11_keys_are_judged_as_labelled() {
    let Some(vectors) = vectors("json_web_key_test.json") else {
        return;
    };
    let (deviating, cases) = deviations(&vectors, |group, test| {
        let document = group.get("public").unwrap_or(&group["private"]);
        verifies(&test["jws"], key_set(document).as_ref())
    });
    assert_eq!((deviating, cases), (Vec::new(), 26));
}

#[test]
fn attack_a11_attack_b09_each_refused_key_is_refused_for_its_own_reason() {
    let Some(vectors) = vectors("json_web_key_test.json") else {
        return;
    };
    let refusal = |case: u64| {
        let group = list(&vectors, "testGroups")
            .iter()
            .find(|group| list(group, "tests").iter().any(|test| number(test) == case))
            .expect("the case exists");
        let (_, problems) = KeySet::from_jwks(group["public"].to_string().as_bytes()).expect("a readable set");
        problems[0].refusal
    };
    for (case, expected) in [
        (6, KeyRefusal::Use),
        (7, KeyRefusal::Roca),
        (8, KeyRefusal::ShortModulus),
        (9, KeyRefusal::Exponent),
        (19, KeyRefusal::UnsupportedAlgorithm),
        (20, KeyRefusal::UnsupportedAlgorithm),
        (21, KeyRefusal::Use),
        (22, KeyRefusal::Point),
        (23, KeyRefusal::Malformed),
        (24, KeyRefusal::Malformed),
    ] {
        assert_eq!(refusal(case), expected, "case {case}");
    }
}

/// The JWK of a group that gives its point alone.
fn point_as_jwk(key: &Value) -> Value {
    let point = bytes(key, "uncompressed");
    let (x, y) = point[1..].split_at(point.len() / 2);
    let curve = match text(key, "curve") {
        "secp256r1" => "P-256",
        "secp384r1" => "P-384",
        other => panic!("no file has `{other}`"),
    };
    json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
}

/// Judges raw signatures by the algorithm, with the key that the group gives.
fn judge_signatures(file: &str, algorithm: Algorithm, cases_expected: usize) {
    let Some(vectors) = vectors(file) else { return };
    let (deviating, cases) = deviations(&vectors, |group, test| {
        let jwk = group.get("publicKeyJwk").or_else(|| group.get("keyJwk"));
        let jwk = jwk.cloned().unwrap_or_else(|| point_as_jwk(&group["publicKey"]));
        VerifyingKey::from_jwk(jwk.as_object().expect("an object"))
            .is_ok_and(|key| key.verifies(algorithm, &bytes(test, "msg"), &bytes(test, "sig")))
    });
    assert_eq!((deviating, cases), (Vec::new(), cases_expected), "{file}");
}

#[test]
fn attack_a07_attack_a08_ecdsa_signatures_on_p256_are_judged_as_labelled() {
    judge_signatures("ecdsa_secp256r1_sha256_p1363_test.json", Algorithm::Es256, 262);
}

#[test]
fn attack_a07_attack_a08_ecdsa_signatures_on_p384_are_judged_as_labelled() {
    judge_signatures("ecdsa_secp384r1_sha384_p1363_test.json", Algorithm::Es384, 280);
}

#[test]
fn attack_a10_ed25519_signatures_are_judged_as_labelled() {
    judge_signatures("ed25519_test.json", Algorithm::EdDsa, 151);
}

/// Case 8 alone is "acceptable" (a missing NULL in the padding): we refuse it.
#[test]
fn attack_a13_pkcs1_signatures_are_judged_as_labelled() {
    judge_signatures("rsa_signature_2048_sha256_test.json", Algorithm::Rs256, 259);
}

#[test]
fn attack_a14_pss_signatures_are_judged_as_labelled() {
    judge_signatures("rsa_pss_2048_sha256_mgf1_32_test.json", Algorithm::Ps256, 108);
}
