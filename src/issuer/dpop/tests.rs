//! DPoP proofs at the token endpoint, and tokens bound to keys and certificates.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::issuer::fixture::{NOW, TestIssuer, quick_bank};
use crate::issuer::{Failure, FormRequest, TokenAnswer};
use crate::jose::alg::Algorithm;
use crate::jose::forge::{encode, forge, forge_mac, forge_rsa, key};
use crate::jose::sign::SigningKey;
use crate::model::certificate::ClientCertificate;
use crate::model::digest::Digest;
use crate::oauth::declared::IssuerDeclaration;
use crate::oauth::sample::texts;
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;

const URL: &str = "https://127.0.0.1:8443/oauth2/transfers/v1/token";
const BODY: &str = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope=transfers:read";

fn es256() -> &'static SigningKey {
    key(Algorithm::Es256)
}

/// A good proof with these claims over the usual ones; null leaves out.
fn payload(changes: &Value) -> String {
    let mut claims = json!({ "htm": "POST", "htu": URL, "jti": "p1", "iat": NOW });
    merge(&mut claims, changes);
    claims.to_string()
}

fn header(key: &SigningKey, changes: &Value) -> String {
    let mut jwk = key.public_jwk();
    for name in ["kid", "use", "alg"] {
        jwk.as_object_mut().expect("a key").remove(name);
    }
    let mut header = json!({ "typ": "dpop+jwt", "alg": key.algorithm().as_str(), "jwk": jwk });
    merge(&mut header, changes);
    header.to_string()
}

fn merge(object: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().expect("changes") {
        object[name] = value.clone();
    }
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
}

fn proof(changes: &Value) -> String {
    forge(es256(), &header(es256(), &json!({})), &payload(changes))
}

async fn ask(test: &TestIssuer, proofs: &[&str]) -> Result<TokenAnswer, Failure> {
    let proofs: Vec<&[u8]> = proofs.iter().map(|proof| proof.as_bytes()).collect();
    let request = FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: BODY.as_bytes(),
        dpop: &proofs,
        ..FormRequest::default()
    };
    test.issuer.token("transfers", &request).await
}

/// `error` and our code, of a failed request.
async fn refused(test: &TestIssuer, proofs: &[&str]) -> (&'static str, &'static str) {
    let failure = ask(test, proofs).await.expect_err("refused");
    assert_eq!(failure.error.http_status(), 400);
    (failure.error.code().as_str(), failure.error.error_code())
}

fn nightly(change: impl FnOnce(&mut crate::oauth::declared::ClientOptions)) -> IssuerDeclaration {
    let mut declaration = quick_bank();
    change(&mut declaration.clients[2].options);
    declaration
}

#[tokio::test]
async fn case_127_a_proof_binds_the_token_to_its_key() {
    let test = TestIssuer::start().await;
    let rows = [
        ("plain", json!({})),
        (
            "query and fragment do not count",
            json!({"htu": format!("{URL}?a=b#c")}),
        ),
        (
            "the case of scheme and host does not count",
            json!({"htu": URL.replace("https", "HTTPS")}),
        ),
        ("a clock 10 s ahead", json!({"iat": NOW + 10})),
        ("a clock 10 s behind", json!({"iat": NOW - 10})),
    ];
    for (what, mut changes) in rows {
        changes["jti"] = json!(what);
        let answer = ask(&test, &[&proof(&changes)])
            .await
            .unwrap_or_else(|_| panic!("{what}"));
        assert_eq!(answer.token_type(), "DPoP");
        let claims = test
            .verified("transfers", answer.access_token.expose_secret())
            .expect("verifies");
        assert_eq!(claims.map()["cnf"], json!({ "jkt": es256().kid().as_str() }), "{what}");
        assert_eq!(answer.dpop_nonce, None);
    }
    let unbound = ask(&test, &[]).await.expect("granted");
    assert_eq!(unbound.token_type(), "Bearer");
    let claims = test
        .verified("transfers", unbound.access_token.expose_secret())
        .expect("verifies");
    assert!(!claims.members.contains("cnf"));
}

#[tokio::test]
async fn case_127_the_default_port_does_not_count() {
    let mut settings = crate::issuer::fixture::settings(quick_bank());
    settings.public_url = "https://bank.example/".parse().expect("a URL");
    let test = TestIssuer::start().await;
    test.issuer.reload(&settings).await.expect("taken over");
    let htu = "https://BANK.example:443/oauth2/transfers/v1/token";
    assert!(ask(&test, &[&proof(&json!({ "htu": htu }))]).await.is_ok());
    let old = refused(&test, &[&proof(&json!({"jti": "p2"}))]).await;
    assert_eq!(old, ("invalid_dpop_proof", "dpop_invalid_proof"));
}

#[tokio::test]
async fn case_127_every_listed_algorithm_makes_good_proofs_and_no_other() {
    use crate::oauth::metadata::DPOP_ALGORITHMS;
    let test = TestIssuer::start().await;
    for algorithm in SigningKey::ALGORITHMS {
        let key = key(algorithm);
        let proof = forge(
            key,
            &header(key, &json!({})),
            &payload(&json!({"jti": algorithm.as_str()})),
        );
        let granted = ask(&test, &[&proof]).await.is_ok();
        assert_eq!(granted, DPOP_ALGORITHMS.contains(&algorithm), "{}", algorithm.as_str());
        assert_eq!(granted, algorithm != Algorithm::Rs256);
    }
    // We do not sign with these, but take them.
    for algorithm in [Algorithm::Ps384, Algorithm::Ps512] {
        let signer = key(Algorithm::Rs256);
        let header = header(signer, &json!({"alg": algorithm.as_str()}));
        let proof = forge_rsa(
            signer,
            algorithm,
            &header,
            &payload(&json!({"jti": algorithm.as_str()})),
        );
        assert!(ask(&test, &[&proof]).await.is_ok(), "{}", algorithm.as_str());
    }
    for algorithm in [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512] {
        let signer = key(Algorithm::Rs256);
        let header = header(signer, &json!({"alg": algorithm.as_str()}));
        let proof = forge_rsa(
            signer,
            algorithm,
            &header,
            &payload(&json!({"jti": algorithm.as_str()})),
        );
        assert_eq!(refused(&test, &[&proof]).await.1, "dpop_invalid_signature_algorithm");
    }
}

#[tokio::test]
async fn case_126_attack_f30_a_proof_that_breaks_a_rule_is_refused() {
    let test = TestIssuer::start().await;
    let good = proof(&json!({}));
    let with_header = |changes: Value| forge(es256(), &header(es256(), &changes), &payload(&json!({})));
    let mut private = es256().public_jwk();
    private["d"] = json!("AAAA");
    let secret = json!({"kty": "oct", "k": encode([7; 32])});
    let other = key(Algorithm::EdDsa).public_jwk();
    let mut altered = good.clone();
    altered.pop();
    let rows: Vec<(&str, Vec<String>, &str)> = vec![
        (
            "two headers",
            vec![good.clone(), proof(&json!({"jti": "p2"}))],
            "dpop_multiple_headers",
        ),
        (
            "joined by a comma",
            vec![format!("{good}, {good}")],
            "dpop_invalid_proof",
        ),
        ("no JWS", vec!["abc".to_owned()], "dpop_invalid_proof"),
        ("empty", vec![String::new()], "dpop_invalid_proof"),
        ("no typ", vec![with_header(json!({"typ": null}))], "dpop_invalid_proof"),
        (
            "another typ",
            vec![with_header(json!({"typ": "JWT"}))],
            "dpop_invalid_proof",
        ),
        ("no alg", vec![with_header(json!({"alg": null}))], "dpop_invalid_proof"),
        (
            "alg none",
            vec![with_header(json!({"alg": "none"}))],
            "dpop_invalid_proof",
        ),
        (
            "an HMAC",
            vec![forge_mac(
                &[7; 32],
                &json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": secret}).to_string(),
                &payload(&json!({})),
            )],
            "dpop_invalid_signature_algorithm",
        ),
        (
            "RS256",
            vec![forge(
                key(Algorithm::Rs256),
                &header(key(Algorithm::Rs256), &json!({})),
                &payload(&json!({})),
            )],
            "dpop_invalid_signature_algorithm",
        ),
        ("no jwk", vec![with_header(json!({"jwk": null}))], "dpop_invalid_proof"),
        (
            "a private jwk",
            vec![with_header(json!({"jwk": private}))],
            "dpop_invalid_proof",
        ),
        (
            "the jwk of another key",
            vec![with_header(json!({"jwk": other}))],
            "dpop_invalid_proof",
        ),
        ("a bad signature", vec![altered], "dpop_invalid_proof"),
        ("no jti", vec![proof(&json!({"jti": null}))], "dpop_invalid_proof"),
        ("no htm", vec![proof(&json!({"htm": null}))], "dpop_invalid_proof"),
        ("no htu", vec![proof(&json!({"htu": null}))], "dpop_invalid_proof"),
        ("no iat", vec![proof(&json!({"iat": null}))], "dpop_invalid_proof"),
        ("another htm", vec![proof(&json!({"htm": "GET"}))], "dpop_invalid_proof"),
        ("htu is no text", vec![proof(&json!({"htu": 7}))], "dpop_invalid_proof"),
        (
            "another host",
            vec![proof(&json!({"htu": URL.replace("127.0.0.1", "evil.example")}))],
            "dpop_invalid_proof",
        ),
        (
            "another path",
            vec![proof(&json!({"htu": URL.replace("transfers", "transactions")}))],
            "dpop_invalid_proof",
        ),
        (
            "an hour old",
            vec![proof(&json!({"iat": NOW - 3600}))],
            "dpop_invalid_proof",
        ),
        (
            "an hour ahead",
            vec![proof(&json!({"iat": NOW + 3600}))],
            "dpop_invalid_proof",
        ),
    ];
    for (what, proofs, code) in rows {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        assert_eq!(refused(&test, &proofs).await, ("invalid_dpop_proof", code), "{what}");
    }
    assert!(ask(&test, &[&good]).await.is_ok(), "none of them has used it up");
}

#[tokio::test]
async fn case_126_attack_f30_a_proof_counts_once_also_on_another_node_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scopegate.db");
    let sealing = Arc::new(SealingKey::generate().0);
    let store = Arc::new(SqliteStore::open(&path).await.expect("opens"));
    let one = TestIssuer::on(quick_bank(), store.clone(), Arc::clone(&sealing))
        .await
        .expect("starts");
    let two = TestIssuer::on(quick_bank(), store, Arc::clone(&sealing))
        .await
        .expect("starts");
    let shown = proof(&json!({}));
    let replayed = ("invalid_dpop_proof", "dpop_already_used");
    assert!(ask(&one, &[&shown]).await.is_ok());
    assert_eq!(refused(&one, &[&shown]).await, replayed);
    assert_eq!(refused(&two, &[&shown]).await, replayed);
    drop((one, two));
    let store = Arc::new(SqliteStore::open(&path).await.expect("opens"));
    let again = TestIssuer::on(quick_bank(), store, sealing).await.expect("starts");
    assert_eq!(refused(&again, &[&shown]).await, replayed);
    // A second proof of the same key and identifier is the same one; another key's is not.
    let later = proof(&json!({"iat": NOW + 1}));
    assert_eq!(refused(&again, &[&later]).await, replayed);
    let other = key(Algorithm::EdDsa);
    let other = forge(other, &header(other, &json!({})), &payload(&json!({})));
    assert!(ask(&again, &[&other]).await.is_ok());
}

#[tokio::test]
async fn case_129_a_server_that_asks_for_nonces_gets_them_and_takes_the_last_one_too() {
    let declaration = || {
        let mut declaration = quick_bank();
        declaration.servers[0].options.dpop_nonce_required = true;
        declaration
    };
    let test = TestIssuer::with(declaration()).await;
    let failure = ask(&test, &[&proof(&json!({}))]).await.expect_err("needs a nonce");
    assert_eq!(
        (failure.error.code().as_str(), failure.error.http_status()),
        ("use_dpop_nonce", 400)
    );
    let nonce = failure.dpop_nonce.expect("a nonce");
    let with = |nonce: &str, jti: &str, late: i64| proof(&json!({"nonce": nonce, "jti": jti, "iat": NOW + late}));
    let answer = ask(&test, &[&with(&nonce, "p2", 0)]).await.expect("granted");
    assert_eq!(
        answer.dpop_nonce.as_deref(),
        Some(nonce.as_str()),
        "each answer brings the one of now"
    );
    test.clock.advance(Duration::from_secs(120));
    let answer = ask(&test, &[&with(&nonce, "p3", 120)])
        .await
        .expect("the last one is still good");
    let next = answer.dpop_nonce.expect("a nonce");
    assert_ne!(next, nonce);
    test.clock.advance(Duration::from_secs(120));
    for old in [nonce.as_str(), "", "AAAA", &next[1..]] {
        let outcome = refused(&test, &[&with(old, "p4", 240)]).await.0;
        assert!(outcome == "use_dpop_nonce" || old.is_empty(), "{old}: {outcome}");
    }
    assert!(
        ask(&test, &[&with(&next, "p4", 240)]).await.is_ok(),
        "a refused nonce uses no proof up"
    );
    assert_eq!(ask(&test, &[]).await.expect("a token without a key").dpop_nonce, None);
    // The nonces of one server are none of another's, and another sealing key makes others.
    let stranger = TestIssuer::with(declaration()).await;
    assert_eq!(refused(&stranger, &[&with(&nonce, "p5", 0)]).await.0, "use_dpop_nonce");
}

#[tokio::test]
async fn case_126_a_client_whose_tokens_are_bound_always_has_to_send_a_proof() {
    let test = TestIssuer::with(nightly(|options| options.dpop_bound_access_tokens = true)).await;
    assert_eq!(refused(&test, &[]).await, ("invalid_dpop_proof", "dpop_missing_header"));
    assert!(ask(&test, &[&proof(&json!({}))]).await.is_ok());
}

#[tokio::test]
async fn attack_f31_a_certificate_bound_token_names_the_certificate_of_the_connection() {
    let test = TestIssuer::with(nightly(|options| options.certificate_bound_access_tokens = true)).await;
    let certificate = ClientCertificate {
        der: Arc::from(&b"the certificate"[..]),
        is_vouched_for: false,
    };
    let request = |certificate| FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: BODY.as_bytes(),
        certificate,
        ..FormRequest::default()
    };
    let bound = test
        .issuer
        .token("transfers", &request(Some(&certificate)))
        .await
        .expect("granted");
    assert_eq!(bound.token_type(), "Bearer");
    let claims = test
        .verified("transfers", bound.access_token.expose_secret())
        .expect("verifies");
    let digest = Digest::of(b"the certificate").to_base64url();
    assert_eq!(claims.map()["cnf"], json!({ "x5t#S256": digest }));
    let without = test
        .issuer
        .token("transfers", &request(None))
        .await
        .expect_err("refused");
    assert_eq!(without.error.error_code(), "client_certificate_missing");
}

#[tokio::test]
async fn a_client_that_fails_to_authenticate_uses_no_proof_up() {
    let test = TestIssuer::start().await;
    let shown = proof(&json!({}));
    let body = BODY.replace("client_secret=secret", "client_secret=wrong");
    let request = FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: body.as_bytes(),
        dpop: &[shown.as_bytes()],
        ..FormRequest::default()
    };
    assert!(test.issuer.token("transfers", &request).await.is_err());
    assert!(ask(&test, &[&shown]).await.is_ok());
}

#[tokio::test]
async fn case_139_case_140_a_token_is_for_the_resources_that_were_asked_for() {
    let mut declaration = quick_bank();
    declaration.servers[0].options.resources = texts(&["https://mcp.bank.example", "https://mcp.bank.example/a/"]);
    let test = TestIssuer::with(declaration).await;
    let ask = async |resources: &[&str]| {
        let mut body = BODY.to_owned();
        for resource in resources {
            body.push_str("&resource=");
            body.extend(url::form_urlencoded::byte_serialize(resource.as_bytes()));
        }
        let request = FormRequest {
            content_type: Some("application/x-www-form-urlencoded"),
            body: body.as_bytes(),
            ..FormRequest::default()
        };
        let answer = test.issuer.token("transfers", &request).await;
        answer
            .map(|answer| {
                let token = answer.access_token.expose_secret().clone();
                let payload = token.split('.').nth(1).expect("a payload").to_owned();
                let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
                let claims: Value = serde_json::from_slice(&bytes.expect("base64url")).expect("JSON");
                claims["aud"].clone()
            })
            .map_err(|failure| (failure.error.code().as_str(), failure.error.error_code()))
    };
    let audience = "https://api.bank.example/transfers";
    assert_eq!(ask(&[]).await, Ok(json!(audience)));
    assert_eq!(
        ask(&["https://mcp.bank.example"]).await,
        Ok(json!("https://mcp.bank.example"))
    );
    assert_eq!(
        ask(&[audience, "https://mcp.bank.example/a/"]).await,
        Ok(json!([audience, "https://mcp.bank.example/a/"]))
    );
    assert_eq!(
        ask(&["https://mcp.bank.example/"]).await,
        Err(("invalid_target", "unsupported_resource"))
    );
    assert_eq!(
        ask(&["https://mcp.bank.example/a"]).await,
        Err(("invalid_target", "unsupported_resource"))
    );
    assert_eq!(
        ask(&["https://mcp.bank.example#x"]).await,
        Err(("invalid_target", "malformed_resource"))
    );
    assert_eq!(ask(&["mcp"]).await, Err(("invalid_target", "malformed_resource")));
    assert_eq!(ask(&[audience; 9]).await, Err(("invalid_target", "too_many_resources")));
}
