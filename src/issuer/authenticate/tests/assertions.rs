//! `private_key_jwt` and `client_secret_jwt`.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::jose::forge::forge_mac;
use crate::model::secret::Secret;
use crate::store::memory::MemoryStore;
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;

const SECRET: &str = "a secret of thirty-two bytes, or more";

async fn signer() -> TestIssuer {
    TestIssuer::with(bank_with(vec![by_key("signer", here(&[es256()]))])).await
}

fn by_secret(id: &str, secrets: &[&str]) -> ClientDeclaration {
    let mut service = service(id, AuthenticationMethod::ClientSecretJwt);
    service.options.shared_secrets = secrets
        .iter()
        .map(|secret| Located::nowhere(Secret::new((*secret).to_owned())))
        .collect();
    service
}

#[tokio::test]
async fn case_065_case_066_case_067_case_068_attack_f17_an_assertion_by_its_claims() {
    let test = signer().await;
    let rows = [
        ("good", json!({}), "granted"),
        ("aud is the token endpoint", json!({"aud": TOKEN_URL}), "granted"),
        ("aud is a list", json!({"aud": [ISSUER]}), "assertion_invalid_audience"),
        (
            "aud is another endpoint",
            json!({"aud": format!("{ISSUER}/v1/par")}),
            "assertion_invalid_audience",
        ),
        (
            "aud is another server",
            json!({"aud": "https://127.0.0.1:8443/oauth2/transactions"}),
            "assertion_invalid_audience",
        ),
        ("no aud", json!({"aud": null}), "assertion_invalid_audience"),
        (
            "sub is not iss",
            json!({"sub": "nightly-batch"}),
            "assertion_invalid_subject",
        ),
        ("no sub", json!({"sub": null}), "assertion_invalid_subject"),
        (
            "another client",
            json!({"iss": "nightly-batch", "sub": "nightly-batch"}),
            "invalid_token_endpoint_auth_method",
        ),
        ("no client", json!({"iss": "nobody", "sub": "nobody"}), "unknown_client"),
        ("no iss", json!({"iss": null}), "assertion_invalid_issuer"),
        ("expired", json!({"exp": NOW}), "assertion_expired_token"),
        ("no exp", json!({"exp": null}), "assertion_expiration_required"),
        (
            "exp in 48 h",
            json!({"exp": NOW + 48 * 3600}),
            "assertion_expires_too_far_in_future",
        ),
        ("a clock 8 s ahead", json!({"iat": NOW + 8, "nbf": NOW + 8}), "granted"),
        (
            "iat a minute ahead",
            json!({"iat": NOW + 60}),
            "assertion_issued_in_future",
        ),
        (
            "nbf a minute ahead",
            json!({"nbf": NOW + 60}),
            "assertion_issued_in_future",
        ),
    ];
    for (what, changes, expected) in rows {
        let asked = Asked::assertion(&signed(es256(), "signer", what, &changes));
        assert_eq!(asked.outcome(&test).await, expected, "{what}");
    }
}

#[tokio::test]
async fn case_069_case_070_attack_f17_an_assertion_by_its_header() {
    let test = signer().await;
    let other = key(Algorithm::EdDsa);
    let good = claims("signer", "h", &json!({}));
    let public_pem = es256().public_jwk().to_string();
    let none = format!(
        "{}.{}.",
        crate::jose::forge::encode(r#"{"alg":"none"}"#),
        crate::jose::forge::encode(&good)
    );
    let rows: Vec<(&str, String, &str)> = vec![
        (
            "HMAC with the public key",
            forge_mac(public_pem.as_bytes(), r#"{"alg":"HS256"}"#, &good),
            "assertion_invalid_signature_algorithm",
        ),
        (
            "HMAC under the key's name",
            forge_mac(public_pem.as_bytes(), &header(es256(), &json!({"alg": "HS256"})), &good),
            "assertion_invalid_signature_algorithm",
        ),
        ("none", format!("{none}AA"), "assertion_malformed"),
        ("none without signature", none, "assertion_malformed"),
        (
            "nOnE",
            forge(es256(), &header(es256(), &json!({"alg": "nOnE"})), &good),
            "assertion_malformed",
        ),
        (
            "another client's key",
            forge(other, &header(other, &json!({})), &good),
            "assertion_invalid_kid",
        ),
        (
            "another key under the name of the right one",
            forge(other, &header(es256(), &json!({"alg": "ES256"})), &good),
            "assertion_invalid_signature",
        ),
        (
            "another algorithm than the key's",
            forge(es256(), &header(es256(), &json!({"alg": "RS256"})), &good),
            "assertion_invalid_kid",
        ),
        (
            "crit",
            forge(es256(), &header(es256(), &json!({"crit": ["exp"]})), &good),
            "assertion_malformed",
        ),
        ("no JWT", "x.y.z".to_owned(), "assertion_malformed"),
    ];
    for (what, assertion, expected) in rows {
        assert_eq!(Asked::assertion(&assertion).outcome(&test).await, expected, "{what}");
    }
    // Keys that the header offers are not looked at, and nothing is fetched.
    let offered = json!({
        "kid": es256().kid().as_str(), "jwk": other.public_jwk(), "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/chain.pem", "x5c": ["AAAA"],
    });
    let stolen = forge(other, &header(es256(), &offered), &good);
    assert_eq!(
        Asked::assertion(&stolen).outcome(&test).await,
        "assertion_invalid_signature"
    );
    let honest = forge(es256(), &header(es256(), &offered), &good);
    assert_eq!(Asked::assertion(&honest).outcome(&test).await, "granted");
    assert_eq!(test.documents.count(), 0);
}

#[tokio::test]
async fn case_068_attack_f17_an_assertion_is_good_once_also_on_another_node_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scopegate.db");
    let sealing = Arc::new(SealingKey::generate().0);
    let store = Arc::new(SqliteStore::open(&path).await.expect("opens"));
    let bank = || {
        bank_with(vec![
            by_key("signer", here(&[es256()])),
            by_key("other", here(&[es256()])),
        ])
    };
    let start = |store: Arc<SqliteStore>| TestIssuer::on(bank(), store, Arc::clone(&sealing));
    let one = start(store.clone()).await.expect("starts");
    let two = start(store).await.expect("starts");
    let asked = Asked::assertion(&signed(es256(), "signer", "once", &json!({})));
    assert_eq!(asked.outcome(&one).await, "granted");
    assert_eq!(asked.outcome(&one).await, "assertion_already_used");
    assert_eq!(asked.outcome(&two).await, "assertion_already_used");
    drop((one, two));
    let again = start(Arc::new(SqliteStore::open(&path).await.expect("opens")));
    let again = again.await.expect("starts");
    assert_eq!(asked.outcome(&again).await, "assertion_already_used");
    // Another client may use the same identifier, and a changed statement with it is the same one.
    let other = Asked::assertion(&signed(es256(), "other", "once", &json!({})));
    assert_eq!(other.outcome(&again).await, "granted");
    let changed = Asked::assertion(&signed(es256(), "signer", "once", &json!({"exp": NOW + 90})));
    assert_eq!(changed.outcome(&again).await, "assertion_already_used");
    let unnamed = Asked::assertion(&signed(es256(), "signer", "", &json!({"jti": null})));
    assert_eq!(unnamed.outcome(&again).await, "granted");
    assert_eq!(unnamed.outcome(&again).await, "assertion_already_used");
}

#[tokio::test]
async fn case_068_a_hundred_callers_with_one_assertion_are_one_client_once() {
    let test = Arc::new(signer().await);
    let assertion = signed(es256(), "signer", "race", &json!({}));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (test, asked) = (Arc::clone(&test), Asked::assertion(&assertion));
            tokio::spawn(async move { asked.outcome(&test).await == "granted" })
        })
        .collect();
    let mut granted = 0;
    for caller in callers {
        granted += u32::from(caller.await.expect("no panic"));
    }
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn case_068_a_refused_assertion_is_not_used_up_and_leaves_no_trace_in_the_store() {
    let store = Arc::new(MemoryStore::new());
    let bank = bank_with(vec![by_key("signer", here(&[es256()]))]);
    let test = TestIssuer::on(bank, store, Arc::new(SealingKey::generate().0))
        .await
        .expect("starts");
    let stranger = forge(
        key(Algorithm::EdDsa),
        &header(es256(), &json!({})),
        &claims("signer", "kept", &json!({})),
    );
    assert_eq!(
        Asked::assertion(&stranger).outcome(&test).await,
        "assertion_invalid_kid".replace("kid", "signature")
    );
    let owner = Asked::assertion(&signed(es256(), "signer", "kept", &json!({})));
    assert_eq!(
        owner.outcome(&test).await,
        "granted",
        "a stranger cannot use up the client's identifiers"
    );
}

#[tokio::test]
async fn case_062_case_064_an_assertion_comes_alone_and_only_from_who_is_registered_for_it() {
    let mut other = service("basic", AuthenticationMethod::ClientSecretBasic);
    other.options.keys = None;
    let test = TestIssuer::with(bank_with(vec![by_key("signer", here(&[es256()])), other])).await;
    let assertion = signed(es256(), "signer", "a", &json!({}));
    let kind = format!("client_assertion_type={CLIENT_ASSERTION_TYPE}");
    let rows = [
        (format!("client_assertion={assertion}"), "client_assertion_type_invalid"),
        (kind.clone(), "client_assertion_type_invalid"),
        (
            format!(
                "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer&client_assertion={assertion}"
            ),
            "client_assertion_type_invalid",
        ),
        (
            format!("{kind}&client_assertion={assertion}&client_secret=x"),
            "multiple_client_credentials",
        ),
        (
            format!("{kind}&client_assertion={assertion}&client_id=other"),
            "client_mismatch",
        ),
        ("client_id=signer".to_owned(), "invalid_token_endpoint_auth_method"),
        (
            "client_id=signer&client_secret=secret".to_owned(),
            "invalid_token_endpoint_auth_method",
        ),
        (
            format!("{kind}&client_assertion={}", signed(es256(), "basic", "b", &json!({}))),
            "invalid_token_endpoint_auth_method",
        ),
        (
            format!("{kind}&client_assertion={assertion}&client_id=signer"),
            "granted",
        ),
    ];
    for (body, expected) in rows {
        assert_eq!(Asked::body(&body).outcome(&test).await, expected, "{body}");
    }
}

#[tokio::test]
async fn case_073_case_074_a_client_signs_with_either_of_its_secrets_and_with_no_other() {
    let next = "the next secret, of forty-eight bytes or even more";
    let test = TestIssuer::with(bank_with(vec![by_secret("mac", &[SECRET, next])])).await;
    let mac = |secret: &str, jti: &str| {
        let assertion = forge_mac(secret.as_bytes(), r#"{"alg":"HS256"}"#, &claims("mac", jti, &json!({})));
        Asked::assertion(&assertion)
    };
    assert_eq!(mac(SECRET, "1").outcome(&test).await, "granted");
    assert_eq!(mac(next, "2").outcome(&test).await, "granted");
    assert_eq!(
        mac("another secret of thirty-two bytes", "3").outcome(&test).await,
        "assertion_invalid_signature"
    );
    assert_eq!(mac("", "4").outcome(&test).await, "assertion_invalid_signature");
    let signed = Asked::assertion(&signed(es256(), "mac", "5", &json!({})));
    assert_eq!(signed.outcome(&test).await, "assertion_invalid_signature_algorithm");
    assert_eq!(
        Asked::basic("mac", SECRET).outcome(&test).await,
        "invalid_token_endpoint_auth_method"
    );
    assert_eq!(
        mac(SECRET, "1").outcome(&test).await,
        "assertion_already_used",
        "a second one with the same identifier"
    );
}

#[tokio::test]
async fn case_066_an_assertion_that_was_kept_back_is_dead() {
    let test = signer().await;
    let kept = Asked::assertion(&signed(es256(), "signer", "kept", &json!({})));
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(kept.outcome(&test).await, "assertion_expired_token");
}

#[tokio::test]
async fn case_132_what_is_no_compact_jws_is_refused() {
    let test = signer().await;
    let good = signed(es256(), "signer", "compact", &json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    for (what, assertion) in [
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("five parts", format!("{good}.x.y")),
        ("padded", format!("{good}%3D%3D")),
        ("a padded header", format!("{}%3D.{}.{}", parts[0], parts[1], parts[2])),
        ("white space", format!("{good}+")),
        ("a line break", format!("{}%0A.{}.{}", parts[0], parts[1], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("JSON", "%7B%22payload%22%3A%22%22%7D".to_owned()),
    ] {
        assert_eq!(
            Asked::assertion(&assertion).outcome(&test).await,
            "assertion_malformed",
            "{what}"
        );
    }
    assert_eq!(Asked::assertion(&good).outcome(&test).await, "granted");
}
