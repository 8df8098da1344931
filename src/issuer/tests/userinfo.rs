//! Userinfo: who may ask, and what is told.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::issuer::fixture::{TestIssuer, settings};
use crate::issuer::tests::form;
use crate::issuer::tests::world::{
    ADA, USERINFO_URL, ask_with_key, bank, code, credentials, declared, proof, redemption, request, sign_in,
};
use crate::issuer::{Failure, FormRequest};
use crate::oauth::declared::ClaimPlace;
use crate::oauth::sample::claim;

const ALL: &str = "openid profile email address phone transfers:read";

async fn asked(test: &TestIssuer, authorization: &[&str], dpop: &[&str]) -> Result<Map<String, Value>, Failure> {
    let authorization: Vec<&[u8]> = authorization.iter().map(|value| value.as_bytes()).collect();
    let dpop: Vec<&[u8]> = dpop.iter().map(|value| value.as_bytes()).collect();
    let request = FormRequest {
        authorization: &authorization,
        dpop: &dpop,
        ..FormRequest::default()
    };
    test.issuer.userinfo("transfers", "GET", &request).await
}

async fn bearer(test: &TestIssuer, token: &str) -> Result<Map<String, Value>, Failure> {
    asked(test, &[&format!("Bearer {token}")], &[]).await
}

fn status(outcome: Result<Map<String, Value>, Failure>) -> (u16, &'static str) {
    let error = outcome.expect_err("refused").error;
    (error.http_status(), error.code().as_str())
}

#[tokio::test]
async fn case_120_each_scope_is_told_and_what_was_not_asked_for_is_not() {
    let mut declared = declared();
    let mut tier = claim("userTier", "user.profile.tier", &["transfers:read"]);
    tier.place = ClaimPlace::Userinfo;
    declared.servers[0].claims.push(tier);
    let test = TestIssuer::with(declared).await;
    let all = sign_in(&test, "mobile", ALL).await;
    let told = bearer(&test, all.access_token.expose_secret()).await.expect("told");
    let expected = json!({
        "sub": ADA, "given_name": "Ada", "preferred_username": ADA, "email": ADA, "userTier": "gold",
    });
    assert_eq!(Value::Object(told), expected);
    let few = sign_in(&test, "mobile", "openid transfers:write").await;
    let told = bearer(&test, few.access_token.expose_secret()).await.expect("told");
    assert_eq!(Value::Object(told), json!({ "sub": ADA }));
}

#[tokio::test]
async fn case_107_a_token_of_somebody_in_thousands_of_groups_is_small_and_says_where_they_are() {
    let mut declared = declared();
    let names: Vec<String> = (0..5000).map(|number| format!("group-{number}")).collect();
    declared
        .groups
        .extend(names.iter().map(|name| crate::oauth::sample::text(name)));
    declared.users[0]
        .groups
        .extend(names.iter().map(|name| crate::oauth::sample::text(name)));
    declared.servers[0]
        .claims
        .push(claim("memberships", "user.groups", &[]));
    let test = TestIssuer::with(declared).await;
    let answer = sign_in(&test, "mobile", ALL).await;
    let token = answer.access_token.expose_secret();
    assert!(token.len() < 2048, "{} bytes", token.len());
    let said = super::world::claims(&test, &answer).map();
    assert!(!said.contains_key("memberships"));
    assert_eq!(said["_claim_names"], json!({ "memberships": "userinfo" }));
    assert_eq!(
        said["_claim_sources"],
        json!({ "userinfo": { "endpoint": USERINFO_URL } })
    );
    let told = bearer(&test, token).await.expect("told");
    assert_eq!(told["memberships"].as_array().expect("a list").len(), 5001);
}

#[tokio::test]
async fn case_118_case_101_only_a_living_token_of_this_server_with_openid_opens_it() {
    let test = bank().await;
    let plain = sign_in(&test, "mobile", "transfers:read").await;
    assert_eq!(
        status(bearer(&test, plain.access_token.expose_secret()).await),
        (403, "insufficient_scope")
    );
    assert_eq!(status(asked(&test, &[], &[]).await), (401, "invalid_token"));
    let answer = sign_in(&test, "mobile", ALL).await;
    let token = answer.access_token.expose_secret();
    let id_token = answer.id_token.as_ref().expect("one").expose_secret();
    let altered = format!("{token}A");
    for other in [id_token, "x", "", altered.as_str()] {
        assert_eq!(status(bearer(&test, other).await), (401, "invalid_token"), "{other}");
    }
    let of_client = super::mint(&test.issuer).await;
    assert_eq!(
        status(bearer(&test, of_client.access_token.expose_secret()).await).0,
        403
    );
    assert!(bearer(&test, token).await.is_ok());
    test.clock.advance(Duration::from_secs(300));
    assert_eq!(status(bearer(&test, token).await), (401, "invalid_token"), "expired");
}

#[tokio::test]
async fn case_052_case_096_what_is_revoked_or_disabled_is_told_of_no_more() {
    let test = bank().await;
    let answer = sign_in(&test, "mobile", ALL).await;
    let token = answer.access_token.expose_secret();
    let body = format!("{}&token={token}", credentials("mobile"));
    test.issuer.revoke("transfers", &form(&body)).await.expect("revoked");
    assert_eq!(status(bearer(&test, token).await), (401, "invalid_token"));

    let answer = sign_in(&test, "mobile", ALL).await;
    let mut gone = declared();
    gone.users.remove(0);
    test.issuer.reload(&settings(gone)).await.expect("sound");
    assert_eq!(
        status(bearer(&test, answer.access_token.expose_secret()).await),
        (401, "invalid_token")
    );
}

#[tokio::test]
async fn case_119_a_token_comes_by_header_or_in_a_body_and_by_one_way_alone() {
    let test = bank().await;
    let answer = sign_in(&test, "mobile", ALL).await;
    let token = answer.access_token.expose_secret();
    let body = format!("access_token={token}");
    let posted = test.issuer.userinfo("transfers", "POST", &form(&body)).await;
    assert_eq!(posted.expect("told")["sub"], ADA);
    let header = format!("Bearer {token}");
    let both = FormRequest {
        authorization: &[header.as_bytes()],
        ..form(&body)
    };
    assert_eq!(
        status(test.issuer.userinfo("transfers", "POST", &both).await),
        (400, "invalid_request")
    );
    assert_eq!(
        status(asked(&test, &[&header, &header], &[]).await),
        (400, "invalid_request")
    );
    assert_eq!(
        status(asked(&test, &[&format!("Basic {token}")], &[]).await),
        (401, "invalid_token")
    );
}

#[tokio::test]
async fn case_128_attack_f30_a_token_that_is_bound_to_a_key_comes_with_the_proof_of_it() {
    let test = bank().await;
    let code = code(&test, request("mobile", ALL)).await;
    let answer = ask_with_key(&test, 0, &redemption("mobile", &code))
        .await
        .expect("granted");
    let token = answer.access_token.expose_secret();
    let header = format!("DPoP {token}");
    let good = proof(&test, 0, "GET", USERINFO_URL, Some(token));
    assert_eq!(asked(&test, &[&header], &[&good]).await.expect("told")["sub"], ADA);
    let rows = [
        ("again", vec![good.clone()], 400),
        ("no proof", vec![], 400),
        (
            "another key",
            vec![proof(&test, 1, "GET", USERINFO_URL, Some(token))],
            401,
        ),
        (
            "of another token",
            vec![proof(&test, 0, "GET", USERINFO_URL, Some("x"))],
            400,
        ),
        ("of no token", vec![proof(&test, 0, "GET", USERINFO_URL, None)], 400),
        (
            "another method",
            vec![proof(&test, 0, "POST", USERINFO_URL, Some(token))],
            400,
        ),
    ];
    for (name, proofs, expected) in rows {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        assert_eq!(status(asked(&test, &[&header], &proofs).await).0, expected, "{name}");
    }
    assert_eq!(
        status(bearer(&test, token).await),
        (401, "invalid_token"),
        "as a bearer token"
    );
    let unbound = sign_in(&test, "mobile", ALL).await;
    let header = format!("DPoP {}", unbound.access_token.expose_secret());
    assert_eq!(status(asked(&test, &[&header], &[]).await), (401, "invalid_token"));
}
