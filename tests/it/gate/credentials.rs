//! Where a token may come from, what it must be, and how a refusal is told.

use serde_json::{Value, json};

use super::stage::{Lab, denied, passes, problem, strict};
use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::Request;
use crate::support::scopegate::ScopegateBuilder;
use crate::support::tokens::{Key, Server, base64url, now};
use crate::support::upstream::Upstream;

fn items() -> Request {
    strict("/items")
}

#[tokio::test]
async fn edge_e13_edge_c02_edge_c03_edge_c05_attack_a37_the_scheme_is_read_as_rfc_9110_says() {
    let lab = Lab::start().await;
    let token = lab.reader();
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer   "] {
        lab.expect([passes(
            scheme,
            items().header("Authorization", format!("{scheme}{token}")),
        )])
        .await;
    }
    for value in [
        "Bearer".to_owned(),
        format!("Bearer\t{token}"),
        format!("Bearer {token} x"),
        format!("Bearer {token},Bearer {token}"),
    ] {
        lab.expect([denied(
            &value,
            items().header("Authorization", &value),
            400,
            "invalid_request",
        )])
        .await;
    }
    for value in [format!("Basic xx, Bearer {token}"), format!("Bearer {token}, Basic xx")] {
        lab.expect([denied(
            &value,
            items().header("Authorization", &value),
            400,
            "invalid_request",
        )])
        .await;
    }
    for value in [
        format!("Bearer-x {token}"),
        "Basic YTpi".to_owned(),
        format!("Token {token}"),
    ] {
        let reply = lab.ask(&items().header("Authorization", &value)).await;
        assert_eq!(reply.status, 401, "{value}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(!challenge.contains("error="), "{value}: {challenge}");
    }
}

#[tokio::test]
async fn edge_c04_edge_c09_attack_a38_attack_d15_two_authorization_headers_are_refused_in_either_shape() {
    let lab = Lab::start().await;
    let joined = lab
        .another_envoy(|envoy| envoy.filter(&json!({ "encode_raw_headers": false })))
        .await;
    let (good, other) = (lab.reader(), lab.reader());
    for request in [
        items().bearer(&good).bearer(&other),
        items().bearer(&good).bearer("evil"),
        items().bearer("evil").bearer(&good),
    ] {
        for envoy in [&lab.envoy, &joined] {
            let reply = request.send(envoy.address).await;
            assert_eq!(
                (reply.status, &reply.json()["reason"]),
                (400, &json!("invalid_request"))
            );
        }
    }
    assert_eq!(lab.upstream.count(), 0);
}

#[tokio::test]
async fn edge_e14_edge_c08_attack_a33_sizes_are_bounded() {
    let lab = Lab::with(|envoy| envoy.manager(&json!({ "max_request_headers_kb": 60 }))).await;
    let empty = lab.ask(&items().header("Authorization", "")).await;
    assert_eq!((empty.status, &empty.json()["reason"]), (401, &json!("missing_token")));
    let long = lab.ask(&items().bearer(&"a".repeat(8193))).await;
    assert!(matches!(long.status, 400 | 401), "{}", long.status);
    let over_envoys_own_limit = lab.ask(&items().bearer(&"a".repeat(70 * 1024))).await;
    assert_eq!(over_envoys_own_limit.status, 431);
}

#[tokio::test]
async fn edge_e15_edge_c01_edge_d01_edge_d02_attack_a42_challenges_say_what_is_needed_and_no_more() {
    let lab = Lab::start().await;
    let missing = lab.ask(&items()).await;
    assert_eq!(problem(&missing)["reason"], "missing_token");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer realm=\"strict\""));

    let key = Key::new("lab-1");
    let foreign = key.sign(
        &lab.server.header(),
        &lab.server.claims(&json!({ "scope": "lab:read" })),
    );
    let unknown_key = Key::new("nobody").sign(
        &json!({ "alg": "ES256", "typ": "at+jwt", "kid": "nobody" }),
        &lab.server.claims(&json!({})),
    );
    let bad = [
        ("another key's signature", foreign),
        ("an unknown kid", unknown_key),
        (
            "expired",
            lab.server.token(&json!({ "scope": "lab:read", "exp": now() - 3600 })),
        ),
        (
            "another audience",
            lab.server.token(&json!({ "scope": "lab:read", "aud": "api" })),
        ),
        (
            "another issuer",
            lab.server
                .token(&json!({ "scope": "lab:read", "iss": "https://evil.test" })),
        ),
        ("no token at all", "abc".to_owned()),
    ];
    let mut told: Vec<(Option<String>, Value)> = Vec::new();
    for (name, token) in bad {
        let reply = lab.ask(&items().bearer(&token)).await;
        assert_eq!(reply.status, 401, "{name}");
        let mut body = problem(&reply);
        body["decision_id"] = Value::Null;
        told.push((reply.header("www-authenticate").map(str::to_owned), body));
    }
    assert!(
        told[0]
            .0
            .as_deref()
            .is_some_and(|challenge| challenge.contains("error=\"invalid_token\"")),
        "{told:?}"
    );
    assert!(
        told.iter().all(|answer| *answer == told[0]),
        "what failed is not told apart: {told:#?}"
    );

    let short = lab.ask(&items().bearer(&lab.writer())).await;
    assert_eq!(problem(&short)["reason"], "insufficient_scope");
    let challenge = short.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"lab:read\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn attack_a01_attack_a02_attack_a18_attack_a26_attack_a30_edge_j01_edge_j02_edge_j09_edge_j14_bad_tokens_do_not_pass_envoy()
 {
    let lab = Lab::start().await;
    let server = &lab.server;
    let claims = server.claims(&json!({ "scope": "lab:read" }));
    let with_header = |changes: Value| {
        let mut header = server.header();
        header
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        server.key.sign(&header, &claims)
    };
    let unsigned = format!(
        "{}.{}.",
        base64url(json!({ "alg": "none" }).to_string()),
        base64url(claims.to_string())
    );
    let rows = [
        ("alg none", unsigned),
        ("alg HS256", with_header(json!({ "alg": "HS256" }))),
        ("crit", with_header(json!({ "crit": ["x"], "x": 1 }))),
        ("b64 false", with_header(json!({ "b64": false, "crit": ["b64"] }))),
        ("a logout token", with_header(json!({ "typ": "logout+jwt" }))),
        ("a DPoP proof", with_header(json!({ "typ": "dpop+jwt" }))),
        ("no exp", server.token(&json!({ "scope": "lab:read", "exp": null }))),
        (
            "exp as text",
            server.token(&json!({ "scope": "lab:read", "exp": "never" })),
        ),
        (
            "not yet valid",
            server.token(&json!({ "scope": "lab:read", "nbf": now() + 3600 })),
        ),
        (
            "aud as an empty list",
            server.token(&json!({ "scope": "lab:read", "aud": [] })),
        ),
        (
            "duplicate members",
            server.key.sign_text(
                &server.header().to_string(),
                &claims.to_string().replacen('{', "{\"sub\":\"root\",", 1),
            ),
        ),
        ("padding", format!("{}=", lab.reader())),
        ("five parts", format!("{}.a.b", lab.reader())),
    ];
    for (name, token) in rows {
        let reply = lab.ask(&items().bearer(&token)).await;
        assert!(matches!(reply.status, 400 | 401), "{name}: {}", reply.text());
    }
    lab.expect([passes("the same token in order", items().bearer(&lab.reader()))])
        .await;
}

#[tokio::test]
async fn edge_e22_edge_c11_edge_c12_attack_d17_a_bad_token_on_a_public_route_gives_no_identity() {
    let lab = Lab::start().await;
    let ignored = lab
        .ask(&strict("/public").bearer("rubbish").header("X-Auth-Subject", "admin"))
        .await;
    assert_eq!(ignored.status, 200);
    let seen = lab.upstream.take_one();
    assert_eq!(seen.header("x-auth-subject"), None);
    assert_eq!(
        seen.header("authorization"),
        None,
        "handed on only where the route says so"
    );

    let careful = |token: &str| Request::get("/public").host("careful.example").bearer(token);
    lab.expect([
        denied("bad_token: deny", careful("rubbish"), 401, "invalid_token"),
        passes("a good one", careful(&lab.reader())),
    ])
    .await;
    assert_eq!(lab.upstream.take_one().header("x-auth-subject"), Some("ada"));
    lab.expect([passes("none", Request::get("/public").host("careful.example"))])
        .await;
}

#[tokio::test]
async fn edge_c07_attack_d24_tokens_elsewhere_are_not_read() {
    let lab = Lab::start().await;
    let token = lab.reader();
    for (header, value) in [
        ("Cookie", format!("access_token={token}")),
        ("Cookie", "session=%%%".to_owned()),
        ("Cookie", "session".to_owned()),
        ("Cookie", format!("session={}", "a".repeat(20 * 1024))),
        ("Cookie", format!("session={token}; session=admin")),
        ("Proxy-Authorization", format!("Bearer {token}")),
        ("X-Access-Token", token.clone()),
        ("Sec-WebSocket-Protocol", format!("bearer, {token}")),
    ] {
        lab.expect([denied(header, items().header(header, value), 401, "missing_token")])
            .await;
    }
}

#[tokio::test]
async fn edge_d11_a_weak_or_stale_login_is_asked_for_again() {
    let lab = Lab::start().await;
    let token = |acr: &str, ago: i64| {
        lab.server
            .token(&json!({ "scope": "lab:read", "acr": acr, "auth_time": now() - ago }))
    };
    lab.expect([passes(
        "fresh and strong",
        strict("/fresh").bearer(&token("urn:high", 10)),
    )])
    .await;
    let without = lab.server.token(&json!({ "scope": "lab:read", "acr": "urn:high" }));
    for (name, token) in [
        ("stale", token("urn:high", 3600)),
        ("weak", token("urn:low", 10)),
        ("unsaid", without),
    ] {
        let reply = lab.ask(&strict("/fresh").bearer(&token)).await;
        assert_eq!(reply.status, 401, "{name}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(
            challenge.contains("error=\"insufficient_user_authentication\""),
            "{name}: {challenge}"
        );
        assert!(
            challenge.contains("acr_values=\"urn:high\"") || challenge.contains("max_age=\"300\""),
            "{name}: {challenge}"
        );
    }
}

#[tokio::test]
async fn one_api_takes_the_tokens_of_each_of_its_servers_and_of_no_other() {
    let config = r#"
listeners:
  ext_authz: { address: "127.0.0.1:9191" }
  telemetry: { address: "127.0.0.1:9464" }
authorization_servers:
  - { id: old, issuer: "https://old.test", audience: "https://api.bank.example/old", jwks_file: old.json, scopes: ["s:read"] }
  - { id: new, issuer: "https://new.test", audience: "https://api.bank.example/new", jwks_file: new.json, scopes: ["s:read"] }
  - { id: other, issuer: "https://other.test", audience: "https://api.bank.example/other", jwks_file: other.json, scopes: ["s:read"] }
apis:
  - name: both
    hosts: [both.example]
    authorization_servers: [old, new]
    clients: any
    routes: [{ path: /items, GET: "s:read" }]
"#;
    let servers = ["old", "new", "other"].map(Server::new);
    let mut builder = ScopegateBuilder::new(config);
    for (name, server) in ["old.json", "new.json", "other.json"].into_iter().zip(&servers) {
        builder = builder.file(name, server.jwks().to_string());
    }
    let gate = builder.start().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let claims = json!({ "scope": "s:read", "client_id": "c" });
    for (server, status) in servers.iter().zip([200, 200, 401]) {
        let request = Request::get("/items")
            .host("both.example")
            .bearer(&server.token(&claims));
        let reply = request.send(envoy.address).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    // The key of one server does not sign for the other.
    let mixed = servers[0].key.sign(
        &json!({ "alg": "ES256", "typ": "at+jwt", "kid": servers[0].key.kid }),
        &json!({ "iss": "https://new.test", "aud": "https://api.bank.example/new", "exp": now() + 60, "scope": "s:read", "client_id": "c" }),
    );
    let reply = Request::get("/items")
        .host("both.example")
        .bearer(&mixed)
        .send(envoy.address)
        .await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(upstream.count(), 2);
}
