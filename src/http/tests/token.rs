//! The token endpoint: who gets a token, and what is said to who does not.

use super::*;

#[tokio::test]
async fn case_078_case_081_attack_f38_a_service_gets_a_token_by_body_and_by_basic() {
    let (test, router) = bank().await;
    let by_header = post_with(
        TOKEN,
        &[&basic("nightly-batch", "secret")],
        "grant_type=client_credentials&scope=transfers:read",
    );
    for request in [post(TOKEN, BATCH), by_header] {
        let answer = send(&router, request).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
        assert_eq!(answer.header(header::CONTENT_TYPE), Some("application/json"));
        let body = answer.json();
        assert_eq!(
            (&body["token_type"], &body["expires_in"], &body["scope"]),
            (&json!("Bearer"), &json!(600), &json!("transfers:read"))
        );
        assert!(body.get("refresh_token").is_none() && body.get("id_token").is_none());
        let claims = test
            .verified("transfers", body["access_token"].as_str().expect("a token"))
            .expect("verifies");
        assert_eq!(claims.map()["sub"], "nightly-batch");
        assert_eq!(claims.map()["client_id"], "nightly-batch");
        assert_eq!(claims.map()["iss"], "https://127.0.0.1:8443/oauth2/transfers");
        assert!(!claims.members.contains("uid"));
    }
}

#[tokio::test]
async fn case_100_the_okta_profile_has_an_array_of_scopes() {
    let mut declaration = quick_bank();
    declaration.servers[1].policies.push(policy(
        "Services",
        Some(&["nightly-batch"]),
        vec![rule("r", &["client_credentials"], &[], None, 60)],
    ));
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    let body = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope=transactions:read";
    let answer = send(&router, post("/oauth2/transactions/v1/token", body)).await;
    let claims = test
        .verified("transactions", answer.json()["access_token"].as_str().expect("a token"))
        .expect("verifies");
    assert_eq!(claims.map()["scp"], json!(["transactions:read"]));
    assert_eq!(
        (&claims.map()["cid"], &claims.map()["ver"]),
        (&json!("nightly-batch"), &json!(1))
    );
    assert!(!claims.members.contains("scope") && !claims.members.contains("client_id"));
}

#[tokio::test]
async fn case_061_basic_is_decoded_as_the_rfc_says() {
    let mut declaration = quick_bank();
    let mut odd = client("odd:client%+", ClientKind::Service, &["client_credentials"]);
    odd.secrets[0].sha256 = crate::model::digest::Digest::of("s: %+\u{e9}".as_bytes());
    declaration.clients.push(odd);
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    let encoded = basic("odd%3Aclient%25%2B", "s%3A+%25%2B%C3%A9");
    let answer = send(
        &router,
        post_with(TOKEN, &[&encoded], "grant_type=client_credentials&scope=transfers:read"),
    )
    .await;
    // Authenticated: only the policies say no.
    assert_eq!(answer.error().2, "no_matching_policy");
    let raw = basic("odd:client%+", "s: %+\u{e9}");
    let answer = send(
        &router,
        post_with(TOKEN, &[&raw], "grant_type=client_credentials&scope=transfers:read"),
    )
    .await;
    assert_eq!(answer.error().1, "invalid_client");
}

#[tokio::test]
async fn case_063_case_075_attack_f15_attack_f16_every_failed_authentication_looks_alike() {
    let (_test, router) = bank().await;
    let grant = "grant_type=client_credentials&scope=transfers:read";
    let rows: Vec<(&str, Request<Body>, bool)> = vec![
        (
            "wrong secret",
            post_with(TOKEN, &[&basic("nightly-batch", "wrong")], grant),
            true,
        ),
        (
            "unknown client",
            post_with(TOKEN, &[&basic("nobody", "secret")], grant),
            true,
        ),
        (
            "empty secret",
            post_with(TOKEN, &[&basic("nightly-batch", "")], grant),
            true,
        ),
        ("no base64", post_with(TOKEN, &["Basic ???"], grant), true),
        ("another scheme", post_with(TOKEN, &["Bearer abc"], grant), true),
        (
            "secret of a public client",
            post_with(TOKEN, &[&basic("mobile", "x")], grant),
            true,
        ),
        (
            "wrong secret in the body",
            post(TOKEN, format!("{grant}&client_id=nightly-batch&client_secret=wrong")),
            false,
        ),
        (
            "empty secret in the body",
            post(TOKEN, format!("{grant}&client_id=nightly-batch&client_secret=")),
            false,
        ),
        (
            "unknown client in the body",
            post(TOKEN, format!("{grant}&client_id=nobody&client_secret=secret")),
            false,
        ),
        (
            "no secret",
            post(TOKEN, format!("{grant}&client_id=nightly-batch")),
            false,
        ),
        ("no client", post(TOKEN, grant), false),
    ];
    for (what, request, challenged) in rows {
        let answer = send(&router, request).await;
        let expected = (
            401,
            "invalid_client".to_owned(),
            "client_authentication_failed".to_owned(),
        );
        assert_eq!(answer.error(), expected, "{what}");
        assert_eq!(
            answer.json()["error_description"],
            "client authentication failed",
            "{what}"
        );
        let challenge = answer.header(header::WWW_AUTHENTICATE);
        assert_eq!(
            challenge.is_some_and(|value| value.starts_with("Basic realm=")),
            challenged,
            "{what}"
        );
    }
}

#[tokio::test]
async fn case_062_attack_f15_two_ways_to_authenticate_are_refused() {
    let (_test, router) = bank().await;
    let header = basic("nightly-batch", "secret");
    let twice = post_with(TOKEN, &[&header, &header], "grant_type=client_credentials");
    let both = post_with(TOKEN, &[&header], BATCH);
    let assertion = post_with(
        TOKEN,
        &[&header],
        "grant_type=client_credentials&client_assertion=a&client_assertion_type=b",
    );
    for request in [twice, both, assertion] {
        assert_eq!(send(&router, request).await.error().1, "invalid_request");
    }
}

#[tokio::test]
async fn case_060_case_077_what_a_token_request_must_be() {
    let (_test, router) = bank().await;
    let auth = "client_id=nightly-batch&client_secret=secret";
    let rows = [
        (
            format!("{auth}&scope=transfers:read"),
            "invalid_request",
            "missing_parameter",
        ),
        (format!("{auth}&grant_type="), "invalid_request", "missing_parameter"),
        (
            format!("{auth}&grant_type=magic"),
            "unsupported_grant_type",
            "unsupported_grant_type",
        ),
        (
            format!("{auth}&grant_type=authorization_code&code=x"),
            "unauthorized_client",
            "grant_not_allowed",
        ),
        (
            format!("{auth}&grant_type=password&username=a&password=b"),
            "unauthorized_client",
            "grant_not_allowed",
        ),
        (
            "grant_type=client_credentials&client_id=quickbooks&client_secret=secret&scope=transfers:read".to_owned(),
            "unauthorized_client",
            "grant_not_allowed",
        ),
        (
            "grant_type=client_credentials&client_id=mobile&scope=transfers:read".to_owned(),
            "unauthorized_client",
            "public_client",
        ),
        (
            format!("{auth}&grant_type=client_credentials&scope=a%22b"),
            "invalid_scope",
            "malformed_scope",
        ),
        (
            format!("{auth}&grant_type=client_credentials&scope=transfers:raed"),
            "invalid_scope",
            "no_matching_scope",
        ),
        (
            format!("{auth}&grant_type=client_credentials"),
            "invalid_scope",
            "no_default_scopes",
        ),
        (
            format!("{auth}&grant_type=client_credentials&scope=openid"),
            "invalid_scope",
            "openid_not_allowed_client_creds",
        ),
        (
            format!("{auth}&grant_type=client_credentials&scope=transfers:write"),
            "consent_required",
            "consent_required",
        ),
        (
            format!("{auth}&grant_type=client_credentials&scope=transfers:approve"),
            "access_denied",
            "scope_denied",
        ),
        (
            format!("{auth}&grant_type=client_credentials&scope={}", "a+".repeat(600)),
            "invalid_request",
            "scope_too_long",
        ),
    ];
    for (body, error, code) in rows {
        let answer = send(&router, post(TOKEN, body.clone())).await;
        assert_eq!(answer.error(), (400, error.to_owned(), code.to_owned()), "{body}");
    }
    for kind in ["application/json", "text/plain"] {
        let request = Request::post(TOKEN)
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(BATCH))
            .expect("a request");
        assert_eq!(send(&router, request).await.error().2, "not_a_form", "{kind}");
    }
}

#[tokio::test]
async fn case_083_a_public_client_cannot_speak_for_itself() {
    let (_test, router) = bank().await;
    let body = "grant_type=client_credentials&client_id=mobile&scope=transfers:read";
    assert_eq!(
        send(&router, post(TOKEN, body)).await.error(),
        (400, "unauthorized_client".to_owned(), "public_client".to_owned())
    );
}

#[tokio::test]
async fn case_084_no_rule_for_the_grant_is_told_apart() {
    let (_test, router) = bank().await;
    let body = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope=transactions:read";
    let answer = send(&router, post("/oauth2/transactions/v1/token", body)).await;
    assert_eq!(
        answer.error(),
        (400, "access_denied".to_owned(), "no_matching_policy".to_owned())
    );
}

#[tokio::test]
async fn case_030_case_082_defaults_are_granted_when_no_scope_is_asked_for() {
    let mut declaration = quick_bank();
    let server = &mut declaration.servers[0];
    server.scopes.push(scope("status", Consent::Implicit, true));
    server.policies = vec![policy(
        "Services",
        None,
        vec![rule("r", &["client_credentials"], &[], None, 60)],
    )];
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    let answer = send(
        &router,
        post(
            TOKEN,
            "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret",
        ),
    )
    .await;
    assert_eq!(answer.json()["scope"], "status");
}
