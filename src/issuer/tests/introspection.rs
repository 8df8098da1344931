//! Introspection of what follows from a sign-in.

use serde_json::{Value, json};

use super::world::*;
use crate::issuer::fixture::{NOW, TestIssuer};
use crate::issuer::{FormRequest, IntrospectionAnswer};
use crate::oauth::declared::ClientKind;
use crate::oauth::sample::{client, texts};

async fn asked(test: &TestIssuer, caller: &str, token: &str) -> Value {
    let body = format!("client_id={caller}&client_secret=secret&token={token}");
    let request = FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: body.as_bytes(),
        ..FormRequest::default()
    };
    match test.issuer.introspect("transfers", &request).await.expect("an answer") {
        IntrospectionAnswer::Json(document) => document,
        IntrospectionAnswer::Jwt(_) => panic!("nobody asked for a JWT"),
    }
}

async fn world() -> TestIssuer {
    let mut declared = declared();
    let mut gateway = client("gateway", ClientKind::Service, &["client_credentials"]);
    gateway.options.audiences = texts(&["*"]);
    declared.clients.push(gateway);
    TestIssuer::with(declared).await
}

fn inactive() -> Value {
    json!({ "active": false })
}

#[tokio::test]
async fn case_114_a_refresh_token_is_shown_to_its_client_alone_and_is_not_used_up() {
    let test = world().await;
    let answer = sign_in(&test, "quickbooks", READ).await;
    let token = refresh_token(&answer);
    for caller in ["gateway", "nightly-batch"] {
        assert_eq!(asked(&test, caller, &token).await, inactive(), "{caller}");
    }
    let document = asked(&test, "quickbooks", &token).await;
    let sid = document["sid"].as_str().expect("a sid").to_owned();
    let expected = json!({
        "active": true, "token_type": "refresh_token", "client_id": "quickbooks", "sub": ADA, "uid": ADA,
        "scope": READ, "iss": "https://127.0.0.1:8443/oauth2/transfers", "iat": NOW, "exp": NOW + 3600, "sid": sid,
    });
    assert_eq!(document, expected);
    assert_eq!(
        claims(&test, &answer).map()["sid"],
        sid.as_str(),
        "the access token is of the same grant"
    );
    assert_eq!(asked(&test, "quickbooks", &token).await, document, "asked again");
    let next = refresh(&test, "quickbooks", &token).await.expect("still good");
    assert_eq!(
        asked(&test, "quickbooks", &token).await,
        inactive(),
        "it has a successor"
    );
    let next = refresh_token(&next);
    assert_eq!(asked(&test, "quickbooks", &next).await["active"], true);
    for altered in [
        format!("{next}A"),
        next[..next.len() - 1].to_owned(),
        next.to_lowercase(),
        next.to_uppercase(),
    ] {
        assert_eq!(
            asked(&test, "quickbooks", &altered).await,
            inactive(),
            "attack F42: {altered}"
        );
    }
}

#[tokio::test]
async fn case_112_case_115_a_revoked_grant_has_no_active_token() {
    let test = world().await;
    let answer = sign_in(&test, "quickbooks", READ).await;
    let (token, refresh) = (answer.access_token.expose_secret().clone(), refresh_token(&answer));
    assert_eq!(asked(&test, "gateway", &token).await["sub"], ADA);
    let body = format!("{}&token={refresh}", credentials("quickbooks"));
    let request = FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: body.as_bytes(),
        ..FormRequest::default()
    };
    test.issuer.revoke("transfers", &request).await.expect("acknowledged");
    assert_eq!(asked(&test, "gateway", &token).await, inactive());
    assert_eq!(asked(&test, "quickbooks", &refresh).await, inactive());
}

#[tokio::test]
async fn case_112_a_refresh_token_that_has_ended_is_inactive() {
    let test = world().await;
    let token = refresh_token(&sign_in(&test, "quickbooks", READ).await);
    test.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(asked(&test, "quickbooks", &token).await, inactive());
}
