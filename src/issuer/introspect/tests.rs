use serde_json::{Value, json};

use super::*;
use crate::issuer::fixture::{NOW, TestIssuer, quick_bank, settings};
use crate::jose::unverified::Unverified;
use crate::jose::verify::check_signature;
use crate::model::digest::Digest;
use crate::model::time::Timestamp;
use crate::oauth::declared::{ClientKind, IssuerDeclaration};
use crate::oauth::sample::{client, client_id, policy, rule, server_id, texts};
use crate::revocation::Revocation;

/// The bank with resource servers: of transfers, of everything, of transactions, of nothing.
fn bank() -> IssuerDeclaration {
    let mut declaration = quick_bank();
    declaration.servers[0].options.resources = texts(&["https://mcp.bank.example"]);
    declaration.servers[1].policies.push(policy(
        "Services",
        Some(&["nightly-batch"]),
        vec![rule("r", &["client_credentials"], &[], None, 60)],
    ));
    let audiences: [(&str, &[&str]); 5] = [
        ("transfers-api", &["https://api.bank.example/transfers"]),
        ("mcp-api", &["https://mcp.bank.example"]),
        ("gateway", &["*"]),
        ("transactions-api", &["https://api.bank.example/transactions"]),
        ("stranger", &[]),
    ];
    for (id, audiences) in audiences {
        let mut service = client(id, ClientKind::Service, &["client_credentials"]);
        service.options.audiences = texts(audiences);
        declaration.clients.push(service);
    }
    declaration
}

fn form<'a>(body: &'a str, accept: Option<&'a str>) -> FormRequest<'a> {
    FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: body.as_bytes(),
        accept,
        ..FormRequest::default()
    }
}

async fn minted_at(test: &TestIssuer, server: &str, more: &str) -> String {
    let body =
        format!("grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope={server}:read{more}");
    let answer = test.issuer.token(server, &form(&body, None)).await.expect("granted");
    answer.access_token.expose_secret().clone()
}

async fn minted(test: &TestIssuer) -> String {
    minted_at(test, "transfers", "").await
}

async fn asked_at(test: &TestIssuer, server: &str, caller: &str, token: &str) -> Value {
    let body = format!("client_id={caller}&client_secret=secret&token={token}");
    match test
        .issuer
        .introspect(server, &form(&body, None))
        .await
        .expect("an answer")
    {
        IntrospectionAnswer::Json(document) => document,
        IntrospectionAnswer::Jwt(_) => panic!("nobody asked for a JWT"),
    }
}

async fn asked(test: &TestIssuer, caller: &str, token: &str) -> Value {
    asked_at(test, "transfers", caller, token).await
}

fn inactive() -> Value {
    json!({ "active": false })
}

#[tokio::test]
async fn case_111_a_living_token_is_described_with_the_names_of_the_rfc() {
    let test = TestIssuer::with(bank()).await;
    let token = minted(&test).await;
    let document = asked(&test, "transfers-api", &token).await;
    let claims = test.verified("transfers", &token).expect("verifies");
    let expected = json!({
        "active": true, "scope": "transfers:read", "client_id": "nightly-batch", "cid": "nightly-batch",
        "sub": "nightly-batch", "aud": "https://api.bank.example/transfers", "token_type": "Bearer",
        "iss": "https://127.0.0.1:8443/oauth2/transfers", "iat": NOW, "exp": NOW + 600,
        "jti": claims.jti().expect("a jti").as_str(),
    });
    assert_eq!(document, expected);
    // Okta's profile has other names in the token, not in the answer.
    let token = minted_at(&test, "transactions", "").await;
    let document = asked_at(&test, "transactions", "transactions-api", &token).await;
    assert_eq!(
        (&document["scope"], &document["client_id"]),
        (&json!("transactions:read"), &json!("nightly-batch"))
    );
}

#[tokio::test]
async fn case_113_attack_f14_a_token_is_shown_to_its_client_and_to_the_servers_of_its_audience() {
    let test = TestIssuer::with(bank()).await;
    let plain = minted(&test).await;
    let narrow = minted_at(&test, "transfers", "&resource=https://mcp.bank.example").await;
    let rows = [
        ("nightly-batch", true, true),
        ("transfers-api", true, false),
        ("mcp-api", false, true),
        ("gateway", true, true),
        ("transactions-api", false, false),
        ("stranger", false, false),
    ];
    for (caller, sees_plain, sees_narrow) in rows {
        for (token, sees) in [(&plain, sees_plain), (&narrow, sees_narrow)] {
            let document = asked(&test, caller, token).await;
            if sees {
                assert_eq!(document["active"], true, "{caller}");
            } else {
                assert_eq!(document, inactive(), "{caller}");
            }
        }
    }
}

#[tokio::test]
async fn case_112_attack_f42_whatever_is_not_good_is_two_words() {
    let test = TestIssuer::with(bank()).await;
    let token = minted(&test).await;
    let foreign = minted_at(&test, "transactions", "").await;
    let middle = token.len() / 2;
    let flipped = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let altered = [
        "nonsense".to_owned(),
        "a.b.c".to_owned(),
        format!("{token}A"),
        token[..token.len() - 1].to_owned(),
        token.to_lowercase(),
        format!("{}{flipped}{}", &token[..middle], &token[middle + 1..]),
        foreign,
    ];
    for token in &altered {
        assert_eq!(asked(&test, "gateway", token).await, inactive(), "{token}");
    }
    assert_eq!(asked(&test, "gateway", &token).await["active"], true);
    test.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(asked(&test, "gateway", &token).await, inactive(), "expired");
}

type Kill = fn(&crate::jose::verify::Claims, Revocation) -> Revocation;

#[tokio::test]
async fn case_112_case_157_a_token_that_anything_has_killed_is_inactive() {
    let server = server_id("transfers");
    let before = Timestamp::from_unix_seconds(NOW);
    let as_is: Kill = |_, revocation| revocation;
    let rows: [(Kill, Revocation); 5] = [
        (
            |claims, _| Revocation::Token {
                server: server_id("transfers"),
                jti: claims.jti().expect("a jti"),
                until: claims.expires_at,
            },
            Revocation::Server {
                server: server_id("x"),
                before,
            },
        ),
        (
            |claims, _| Revocation::Key {
                server: server_id("transfers"),
                kid: claims.kid.clone().expect("a kid"),
            },
            Revocation::Server {
                server: server_id("x"),
                before,
            },
        ),
        (
            as_is,
            Revocation::Client {
                client: client_id("nightly-batch"),
                before,
            },
        ),
        (
            as_is,
            Revocation::Subject {
                server: None,
                subject: crate::model::id::Subject::parse("nightly-batch").expect("valid"),
                before,
            },
        ),
        (as_is, Revocation::Server { server, before }),
    ];
    for (kill, revocation) in rows {
        let test = TestIssuer::with(bank()).await;
        let token = minted(&test).await;
        let claims = test.verified("transfers", &token).expect("verifies");
        assert_eq!(asked(&test, "gateway", &token).await["active"], true);
        let revocation = kill(&claims, revocation);
        test.revocations.revoke(revocation.clone());
        assert_eq!(asked(&test, "gateway", &token).await, inactive(), "{revocation:?}");
    }
}

#[tokio::test]
async fn case_112_a_token_of_a_client_that_is_gone_or_inactive_is_inactive() {
    let test = TestIssuer::with(bank()).await;
    let token = minted(&test).await;
    assert_eq!(asked(&test, "gateway", &token).await["active"], true);
    let mut inactive_client = bank();
    inactive_client.clients[2].options.inactive = true;
    test.issuer
        .reload(&settings(inactive_client))
        .await
        .expect("taken over");
    assert_eq!(asked(&test, "gateway", &token).await, inactive());
}

#[tokio::test]
async fn a_token_that_was_asked_about_lives_and_dies_with_the_keys_and_the_server() {
    let bank = || {
        let mut declaration = quick_bank();
        let mut gateway = client("gateway", ClientKind::Service, &["client_credentials"]);
        gateway.options.audiences = texts(&["*"]);
        declaration.clients.push(gateway);
        declaration
    };
    let test = TestIssuer::with(bank()).await;
    let token = minted(&test).await;
    let is_active = async |token: &str| asked(&test, "gateway", token).await["active"].clone();
    assert_eq!(is_active(&token).await, true);
    // Its key is still there, in another set.
    test.issuer.rotate_keys("transfers", None).await.expect("rotated");
    assert_eq!(is_active(&token).await, true);
    assert_eq!(is_active(&token).await, true);
    // The server wants another audience: the signature is as good as before, the token is not.
    let mut elsewhere = bank();
    elsewhere.servers[0].audience = crate::oauth::sample::text("https://api.bank.example/elsewhere");
    test.issuer.reload(&settings(elsewhere)).await.expect("taken over");
    assert_eq!(is_active(&token).await, false);
    test.issuer.reload(&settings(bank())).await.expect("taken over");
    assert_eq!(is_active(&token).await, true);
    // A server that is made anew under the old name has other keys.
    let mut without = bank();
    without.servers.remove(0);
    let kid = test
        .verified("transfers", &token)
        .expect("verifies")
        .kid
        .expect("a kid");
    test.issuer
        .revoke_key("transfers", kid.as_str(), None)
        .await
        .expect("revoked");
    assert_eq!(is_active(&token).await, false);
    let token = minted(&test).await;
    assert_eq!(is_active(&token).await, true);
    test.issuer.reload(&settings(without)).await.expect("taken over");
    test.issuer.reload(&settings(bank())).await.expect("taken over");
    assert_eq!(is_active(&token).await, false);
}

#[tokio::test]
async fn case_113_who_does_not_authenticate_learns_nothing() {
    let test = TestIssuer::with(bank()).await;
    let token = minted(&test).await;
    for body in [
        format!("token={token}"),
        format!("token={token}&client_id=gateway"),
        format!("token={token}&client_id=gateway&client_secret=wrong"),
        format!("token={token}&client_id=mobile"),
        format!("token={token}&client_id=nobody&client_secret=secret"),
    ] {
        let failure = test
            .issuer
            .introspect("transfers", &form(&body, None))
            .await
            .expect_err("refused");
        assert_eq!(failure.error.http_status(), 401, "{body}");
    }
    let without = form("client_id=gateway&client_secret=secret", None);
    let failure = test
        .issuer
        .introspect("transfers", &without)
        .await
        .expect_err("refused");
    assert_eq!(failure.error.error_code(), "missing_parameter");
}

#[tokio::test]
async fn a_signed_answer_is_for_the_caller_and_says_the_same() {
    let test = TestIssuer::with(bank()).await;
    let token = minted(&test).await;
    let keys = test
        .issuer
        .live_keys(&server_id("transfers"))
        .expect("the server exists")
        .load();
    for (caller, asked_about) in [
        ("transfers-api", token.as_str()),
        ("stranger", token.as_str()),
        ("gateway", "x"),
    ] {
        let body = format!("client_id={caller}&client_secret=secret&token={asked_about}");
        let answer = test
            .issuer
            .introspect("transfers", &form(&body, Some(INTROSPECTION_JWT)))
            .await;
        let IntrospectionAnswer::Jwt(jwt) = answer.expect("an answer") else {
            panic!("a JWT was asked for")
        };
        let unverified = Unverified::parse(jwt.expose_secret()).expect("a JWT");
        assert_eq!(unverified.typ(), Some("token-introspection+jwt"));
        let algorithms = crate::jose::sign::SigningKey::ALGORITHMS;
        assert!(check_signature(&unverified, &keys, &algorithms).is_ok());
        let claims = unverified.claims_unverified().to_map();
        assert_eq!(claims["aud"], caller);
        assert_eq!(claims["iss"], "https://127.0.0.1:8443/oauth2/transfers");
        assert_eq!(claims["iat"], NOW);
        let expected = asked(&test, caller, asked_about).await;
        assert_eq!(claims["token_introspection"], expected);
        // It is no access token, whoever shows it.
        assert!(test.verified("transfers", jwt.expose_secret()).is_err());
    }
}

#[test]
fn a_signed_answer_is_given_to_who_names_it() {
    for (accept, wants) in [
        (INTROSPECTION_JWT, true),
        ("application/json, Application/Token-Introspection+JWT;q=0.5", true),
        ("application/token-introspection+jwt;q=0", false),
        ("application/token-introspection+jwt; q=0.000", false),
        ("application/json", false),
        ("*/*", false),
        ("application/*", false),
        ("", false),
    ] {
        assert_eq!(wants_jwt(accept), wants, "{accept}");
    }
}

#[tokio::test]
async fn case_111_a_bound_token_says_to_what() {
    let mut declaration = bank();
    declaration.clients[2].options.certificate_bound_access_tokens = true;
    let test = TestIssuer::with(declaration).await;
    let certificate = crate::model::certificate::ClientCertificate {
        der: std::sync::Arc::from(&b"der"[..]),
        is_vouched_for: false,
    };
    let body = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope=transfers:read";
    let request = FormRequest {
        certificate: Some(&certificate),
        ..form(body, None)
    };
    let answer = test.issuer.token("transfers", &request).await.expect("granted");
    let document = asked(&test, "gateway", answer.access_token.expose_secret()).await;
    let digest = Digest::of(b"der").to_base64url();
    assert_eq!(document["cnf"], json!({ "x5t#S256": digest }));
    assert_eq!(document["token_type"], "Bearer");
}
