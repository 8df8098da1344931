//! The endpoints, asked through the router as the listener asks it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::Engine as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::http::{Limits, router, router_with};
use crate::issuer::fixture::{TestIssuer, quick_bank, settings};
use crate::oauth::declared::{ClientKind, Consent};
use crate::oauth::sample::{client, policy, rule, scope};

const TOKEN: &str = "/oauth2/transfers/v1/token";
const REVOKE: &str = "/oauth2/transfers/v1/revoke";
const FORM: &str = "application/x-www-form-urlencoded";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Status, `error`, `error_code`, after a look at what every error has.
    fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |name: &str| {
            body[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name} in {body}"))
                .to_owned()
        };
        assert!(text("error_id").len() >= 16);
        assert_eq!(self.header(header::CACHE_CONTROL), Some("no-store"));
        assert!(
            text("error_description")
                .bytes()
                .all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        );
        (self.status.as_u16(), text("error"), text("error_code"))
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.expect("the router answers");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    }
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header(header::CONTENT_TYPE, FORM);
    request.body(body.into()).expect("a request")
}

fn post_with(path: &str, authorization: &[&str], body: &str) -> Request<Body> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, FORM);
    for value in authorization {
        request = request.header(header::AUTHORIZATION, *value);
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}

fn basic(id: &str, secret: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("Basic {encoded}")
}

async fn fetch(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).expect("a request")).await
}

async fn bank() -> (TestIssuer, Router) {
    let test = TestIssuer::start().await;
    let router = router(Arc::clone(&test.issuer));
    (test, router)
}

const BATCH: &str = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope=transfers:read";

async fn minted(router: &Router) -> String {
    let answer = send(router, post(TOKEN, BATCH)).await;
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

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
        assert_eq!(claims.map["sub"], "nightly-batch");
        assert_eq!(claims.map["client_id"], "nightly-batch");
        assert_eq!(claims.map["iss"], "https://127.0.0.1:8443/oauth2/transfers");
        assert!(!claims.map.contains_key("uid"));
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
    assert_eq!(claims.map["scp"], json!(["transactions:read"]));
    assert_eq!(
        (&claims.map["cid"], &claims.map["ver"]),
        (&json!("nightly-batch"), &json!(1))
    );
    assert!(!claims.map.contains_key("scope") && !claims.map.contains_key("client_id"));
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
            "unsupported_grant_type",
            "unsupported_grant_type",
        ),
        (
            format!("{auth}&grant_type=password&username=a&password=b"),
            "unsupported_grant_type",
            "unsupported_grant_type",
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

#[tokio::test]
async fn case_060_attack_f39_the_query_is_no_place_for_parameters_and_get_no_method() {
    let (_test, router) = bank().await;
    for query in ["client_secret=secret", "grant_type=client_credentials", "x=1"] {
        let answer = send(&router, post(&format!("{TOKEN}?{query}"), BATCH)).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned(), "parameters_in_query".to_owned()),
            "{query}"
        );
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("{TOKEN}?{BATCH}"))
            .body(Body::empty())
            .expect("a request");
        let answer = send(&router, request).await;
        assert_eq!(answer.error().0, 405, "{method}");
        assert_eq!(answer.header(header::ALLOW), Some("POST"), "{method}");
    }
}

#[tokio::test]
async fn case_080_attack_f39_odd_forms_and_floods_are_refused_in_bounded_time() {
    let (_test, router) = bank().await;
    let many = (0..200)
        .map(|index| format!("p{index}=1"))
        .collect::<Vec<_>>()
        .join("&");
    let rows: [(Vec<u8>, u16, &str); 7] = [
        (
            format!("{BATCH}&scope=transfers:read").into_bytes(),
            400,
            "duplicate_oauth_params",
        ),
        (
            format!("{BATCH}&extra=1&extra=2").into_bytes(),
            400,
            "duplicate_oauth_params",
        ),
        (format!("{BATCH}&x=%ff").into_bytes(), 400, "unreadable_form"),
        (format!("{BATCH}&x=%00").into_bytes(), 400, "unreadable_form"),
        ([BATCH.as_bytes(), b"&x=\xff"].concat(), 400, "unreadable_form"),
        (many.into_bytes(), 400, "too_many_parameters"),
        (vec![b'a'; 1024 * 1024], 413, "request_too_large"),
    ];
    for (body, status, code) in rows {
        let answer = send(&router, post(TOKEN, body)).await;
        assert_eq!(answer.error(), (status, "invalid_request".to_owned(), code.to_owned()));
    }
    assert_eq!(
        send(&router, post(TOKEN, format!("{BATCH}&unknown=1"))).await.status,
        200,
        "case 16"
    );
}

#[tokio::test]
async fn attack_f26_no_header_changes_the_issuer() {
    let (test, router) = bank().await;
    let evil = |request: axum::http::request::Builder| {
        request
            .header(header::HOST, "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "http")
            .header("forwarded", "host=evil.example")
    };
    let request = evil(Request::post(TOKEN))
        .header(header::CONTENT_TYPE, FORM)
        .body(Body::from(BATCH))
        .expect("a request");
    let answer = send(&router, request).await;
    let claims = test
        .verified("transfers", answer.json()["access_token"].as_str().expect("a token"))
        .expect("verifies");
    assert_eq!(claims.map["iss"], "https://127.0.0.1:8443/oauth2/transfers");
    let path = "/oauth2/transfers/.well-known/openid-configuration";
    let answer = send(
        &router,
        evil(Request::get(path)).body(Body::empty()).expect("a request"),
    )
    .await;
    assert!(!answer.body.contains("evil.example"), "{}", answer.body);
}

#[tokio::test]
async fn case_147_both_documents_stand_at_every_url_shape_and_name_their_issuer() {
    let (_test, router) = bank().await;
    let issuer = "https://127.0.0.1:8443/oauth2/transfers";
    for document in ["oauth-authorization-server", "openid-configuration"] {
        let suffix = fetch(&router, &format!("/oauth2/transfers/.well-known/{document}")).await;
        let insert = fetch(&router, &format!("/.well-known/{document}/oauth2/transfers")).await;
        assert_eq!(suffix.status, 200);
        assert_eq!(suffix.body, insert.body);
        assert_eq!(suffix.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), Some("*"));
        assert_eq!(suffix.header(header::CACHE_CONTROL), Some("public, max-age=300"));
        let body = suffix.json();
        assert_eq!(body["issuer"], issuer);
        for (name, path) in [
            ("token_endpoint", "token"),
            ("jwks_uri", "keys"),
            ("revocation_endpoint", "revoke"),
        ] {
            assert_eq!(body[name], format!("{issuer}/v1/{path}"));
        }
        assert_eq!(body["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(
            body["token_endpoint_auth_methods_supported"],
            json!(["client_secret_basic", "client_secret_post"])
        );
    }
}

#[tokio::test]
async fn case_147_every_listed_endpoint_answers() {
    let (_test, router) = bank().await;
    let body = fetch(&router, "/oauth2/transfers/.well-known/openid-configuration")
        .await
        .json();
    for (name, value) in body.as_object().expect("an object") {
        let Some(url) = value
            .as_str()
            .filter(|value| name.ends_with("_endpoint") || value.contains("/v1/"))
        else {
            continue;
        };
        let path = url
            .strip_prefix("https://127.0.0.1:8443")
            .expect("below the public URL");
        assert_ne!(fetch(&router, path).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_public_url_with_a_path_moves_every_endpoint_below_it() {
    let test = TestIssuer::start().await;
    let mut moved = settings(quick_bank());
    moved.public_url = url::Url::parse("https://bank.example/auth/").expect("a URL");
    test.issuer.reload(&moved).await.expect("taken over");
    let router = router(Arc::clone(&test.issuer));
    for path in [
        "/auth/oauth2/transfers/.well-known/openid-configuration",
        "/.well-known/openid-configuration/auth/oauth2/transfers",
    ] {
        let answer = fetch(&router, path).await;
        assert_eq!(
            answer.json()["issuer"],
            "https://bank.example/auth/oauth2/transfers",
            "{path}"
        );
    }
    assert_eq!(fetch(&router, "/oauth2/transfers/v1/keys").await.status, 404);
}

#[tokio::test]
async fn keys_are_cacheable_and_a_known_entity_tag_is_answered_without_them() {
    let (_test, router) = bank().await;
    let path = "/oauth2/transfers/v1/keys";
    let answer = fetch(&router, path).await;
    assert_eq!(answer.header(header::CACHE_CONTROL), Some("public, max-age=300"));
    let etag = answer.header(header::ETAG).expect("an entity tag").to_owned();
    for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let request = Request::get(path)
            .header(header::IF_NONE_MATCH, &known)
            .body(Body::empty())
            .expect("a request");
        let again = send(&router, request).await;
        assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""), "{known}");
        assert_eq!(again.header(header::ETAG), Some(etag.as_str()));
    }
    let request = Request::get(path)
        .header(header::IF_NONE_MATCH, "\"other\"")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(send(&router, request).await.status, 200);
}

#[tokio::test]
async fn case_157_what_does_not_exist_is_404_in_json() {
    let (_test, router) = bank().await;
    for path in [
        "/",
        "/oauth2",
        "/oauth2/nowhere/v1/keys",
        "/oauth2/nowhere/.well-known/openid-configuration",
        "/oauth2/%ff/v1/keys",
        "/.well-known/oauth-authorization-server",
        "/oauth2/transfers/v1/authorize",
    ] {
        let answer = fetch(&router, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"], "not_found", "{path}");
    }
    for path in ["/oauth2/nowhere/v1/token", "/oauth2/nowhere/v1/revoke"] {
        assert_eq!(send(&router, post(path, BATCH)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn attack_f13_case_115_case_116_case_117_revocation_at_the_endpoint() {
    let (test, router) = bank().await;
    let token = minted(&router).await;
    let claims = test.verified("transfers", &token).expect("verifies");
    let auth = basic("nightly-batch", "secret");

    assert_eq!(
        send(&router, post(REVOKE, format!("token={token}"))).await.error().0,
        401
    );
    assert_eq!(
        send(
            &router,
            post_with(REVOKE, &[&basic("nightly-batch", "x")], &format!("token={token}"))
        )
        .await
        .error()
        .0,
        401
    );
    assert_eq!(
        send(&router, post_with(REVOKE, &[&auth], "")).await.error().2,
        "missing_parameter"
    );
    // A public client names itself only; it has no token of that other client's.
    assert_eq!(
        send(&router, post(REVOKE, format!("client_id=mobile&token={token}")))
            .await
            .status,
        200
    );
    assert!(!test.is_dead("transfers", &claims));

    for _ in 0..2 {
        let answer = send(
            &router,
            post_with(
                REVOKE,
                &[&auth],
                &format!("token={token}&token_type_hint=refresh_token"),
            ),
        )
        .await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
        assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
        assert!(test.is_dead("transfers", &claims));
    }
    assert_eq!(
        send(&router, post_with(REVOKE, &[&auth], "token=nonsense"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn attack_f45_quotes_in_every_field_are_values_to_the_database() {
    use crate::store::Store as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = Arc::new(crate::store::sqlite::SqliteStore::open(&path).await.expect("opens"));
    let sealing = Arc::new(crate::store::seal::SealingKey::generate().0);
    let test = TestIssuer::on(quick_bank(), store.clone(), sealing)
        .await
        .expect("starts");
    let router = router(Arc::clone(&test.issuer));
    let odd = "%27%3B+DROP+TABLE+signing_key%3B+--";
    for body in [
        format!("grant_type={odd}&client_id=nightly-batch&client_secret=secret"),
        format!("grant_type=client_credentials&client_id={odd}&client_secret={odd}"),
        format!("grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope={odd}"),
    ] {
        let answer = send(&router, post(TOKEN, body.clone())).await;
        assert!(answer.status.is_client_error(), "{body}");
    }
    let records: Vec<_> = test.records.audit.lock().clone();
    store.append_audit(&records).await.expect("writes");
    let denied = records[2].error_id.as_deref().expect("an id");
    assert_eq!(store.audit_of_error(denied).await.expect("reads"), [records[2].clone()]);
    let keys = store
        .keys(&crate::oauth::sample::server_id("transfers"))
        .await
        .expect("reads");
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn attack_f24_every_answer_has_the_security_headers() {
    let (_test, router) = bank().await;
    let answers = [
        fetch(&router, "/oauth2/transfers/v1/keys").await,
        fetch(&router, "/nowhere").await,
        send(&router, post(TOKEN, "")).await,
    ];
    for answer in answers {
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
        assert_eq!(answer.header(header::REFERRER_POLICY), Some("no-referrer"));
        assert!(
            answer
                .header(header::CONTENT_SECURITY_POLICY)
                .is_some_and(|value| value.contains("frame-ancestors 'none'"))
        );
        assert!(answer.header(header::STRICT_TRANSPORT_SECURITY).is_some());
    }
}

#[tokio::test]
async fn more_requests_than_the_limit_are_told_to_come_back() {
    let test = TestIssuer::start().await;
    let limits = Limits {
        concurrent_requests_max: 0,
        ..Limits::default()
    };
    let answer = fetch(&router_with(test.issuer, limits), "/oauth2/transfers/v1/keys").await;
    assert_eq!(
        answer.error(),
        (503, "temporarily_unavailable".to_owned(), "overloaded".to_owned())
    );
    assert_eq!(answer.header(header::RETRY_AFTER), Some("1"));
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_next_request_is_served() {
    use axum::middleware::{from_fn, from_fn_with_state};
    use axum::routing::get;
    async fn panics() -> &'static str {
        panic!("on purpose")
    }
    let guard = super::guard::Guard::new(Limits::default());
    let router = Router::new()
        .route("/panic", get(panics))
        .route("/fine", get(|| async { "fine" }))
        .layer(from_fn_with_state(guard, super::guard::run))
        .layer(from_fn(super::guard::headers));
    assert_eq!(
        fetch(&router, "/panic").await.error(),
        (500, "server_error".to_owned(), "internal".to_owned())
    );
    assert_eq!(fetch(&router, "/fine").await.status, 200);
}

#[tokio::test]
async fn a_body_that_never_comes_ends_with_its_deadline() {
    let test = TestIssuer::start().await;
    let limits = Limits {
        body_timeout: Duration::from_millis(1),
        ..Limits::default()
    };
    let router = router_with(test.issuer, limits);
    let never = Body::from_stream(tokio_stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = send(&router, post(TOKEN, never)).await;
    assert_eq!(
        answer.error(),
        (408, "invalid_request".to_owned(), "body_timeout".to_owned())
    );
}
