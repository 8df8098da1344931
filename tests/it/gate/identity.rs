//! Identity headers: the upstream sees ours or none, never the client's.

use serde_json::json;

use super::stage::{Lab, strict};
use crate::support::http1::Request;
use crate::support::upstream::Seen;

/// A request that spoofs every identity header in every spelling.
fn spoofing(request: Request) -> Request {
    [
        "X-Auth-Subject",
        "x-auth-subject",
        "X_Auth_Subject",
        "x_auth-subject",
        "X-Auth-Client",
        "X-Auth-Tier",
        "X_AUTH_TIER",
    ]
    .into_iter()
    .fold(request, |request, name| request.header(name, "admin"))
}

/// What a request says of who is behind it, in any spelling.
fn identity(seen: &Seen) -> Vec<&str> {
    let names = seen.headers.iter().map(|(name, _)| name.as_str());
    names
        .filter(|name| name.replace('_', "-").starts_with("x-auth-"))
        .collect()
}

#[tokio::test]
async fn edge_e18_edge_i01_edge_i04_attack_d16_the_upstream_sees_exactly_one_value_and_it_is_ours() {
    let lab = Lab::start().await;
    let token = lab.server.token(&json!({ "scope": "lab:read", "tier": "gold" }));
    assert_eq!(lab.ask(&spoofing(strict("/items").bearer(&token))).await.status, 200);
    let seen = lab.upstream.take_one();
    let identity = identity(&seen);
    assert_eq!(identity.len(), 3, "{identity:?}");
    assert_eq!(seen.header("x-auth-subject"), Some("ada"));
    assert_eq!(seen.header("x-auth-client"), Some("mobile"));
    assert_eq!(seen.header("x-auth-tier"), Some("gold"));
}

#[tokio::test]
async fn edge_i02_edge_i10_attack_d17_what_has_no_value_is_removed() {
    let lab = Lab::start().await;
    // The claim is absent, then empty; then there is no caller at all.
    for token in [
        lab.reader(),
        lab.server.token(&json!({ "scope": "lab:read", "tier": "" })),
    ] {
        assert_eq!(lab.ask(&spoofing(strict("/items").bearer(&token))).await.status, 200);
        let seen = lab.upstream.take_one();
        assert_eq!(seen.header("x-auth-subject"), Some("ada"));
        assert_eq!(seen.header("x-auth-tier"), None);
        assert_eq!(seen.header("x_auth_tier"), None);
    }
    assert_eq!(lab.ask(&spoofing(strict("/public"))).await.status, 200);
    let seen = lab.upstream.take_one();
    let identity = identity(&seen);
    assert!(identity.is_empty(), "{identity:?}");
}

#[tokio::test]
async fn edge_e19_edge_i06_edge_i07_edge_i08_attack_a40_a_claim_never_leaves_raw() {
    let lab = Lab::start().await;
    let odd = [
        "a\r\nx-admin: 1",
        "a\nb",
        "a\0b",
        "Zoë",
        "🦀",
        "a\u{7f}b",
        " \t ",
        "\u{feff}",
    ];
    for text in odd {
        let token = lab.server.token(&json!({ "scope": "lab:read", "tier": text }));
        let reply = lab.ask(&strict("/items").bearer(&token)).await;
        if reply.status == 200 {
            let seen = lab.upstream.take_one();
            assert_eq!(seen.header("x-admin"), None, "{text:?}");
            let value = seen.header("x-auth-tier").unwrap_or_default();
            assert!(
                value.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{text:?} arrived as {value:?}"
            );
        } else {
            assert_eq!(
                (reply.status, &reply.json()["reason"]),
                (403, &json!("unforwardable_claim")),
                "{text:?}"
            );
        }
    }
}

#[tokio::test]
async fn edge_i03_edge_i05_a_client_cannot_have_our_headers_dropped() {
    let lab = Lab::start().await;
    let token = lab.reader();
    for nominating in ["x-auth-subject", "keep-alive, x-auth-subject", "close, X-Auth-Subject"] {
        let reply = lab
            .ask(&strict("/items").bearer(&token).header("Connection", nominating))
            .await;
        if reply.status == 200 {
            assert_eq!(
                lab.upstream.take_one().header("x-auth-subject"),
                Some("ada"),
                "{nominating}"
            );
        } else {
            assert_eq!(reply.status, 400, "{nominating}");
        }
    }
}

#[tokio::test]
async fn the_token_goes_on_or_is_stripped_as_the_api_says() {
    let lab = Lab::start().await;
    let token = lab.reader();
    assert_eq!(lab.ask(&strict("/items").bearer(&token)).await.status, 200);
    assert_eq!(
        lab.upstream.take_one().header("authorization"),
        Some(format!("Bearer {token}").as_str())
    );
    assert_eq!(
        lab.ask(&Request::get("/items").host("careful.example").bearer(&token))
            .await
            .status,
        200
    );
    assert_eq!(lab.upstream.take_one().header("authorization"), None);
}

#[tokio::test]
async fn edge_e20_edge_i13_attack_d27_the_access_log_prints_who_and_why() {
    let lab = Lab::start().await;
    let clobbering = json!({ "scope": "lab:read", "api": "evil", "decision_id": "evil", "route": "evil" });
    assert_eq!(
        lab.ask(&strict("/items/7").bearer(&lab.server.token(&clobbering)))
            .await
            .status,
        200
    );
    let refused = lab.ask(&strict("/items").bearer(&lab.writer())).await;
    let log = lab.envoy.access_log(2).await;
    let allowed = &log[0]["ext_authz"];
    assert_eq!(allowed["api"], "strict");
    assert_eq!(allowed["route"], "GET /items/{id}");
    assert_eq!(allowed["sub"], "ada");
    assert_eq!(allowed["client_id"], "mobile");
    assert_eq!(allowed["scope"], "lab:read");
    assert!(!log[0].to_string().contains("evil"), "{log:?}");
    let denied = &log[1]["ext_authz"];
    assert_eq!(denied["reason"], "insufficient_scope");
    assert_eq!(
        denied["decision_id"],
        refused.json()["decision_id"],
        "one id in the answer and in the log"
    );
    assert_ne!(allowed["decision_id"], denied["decision_id"]);
}

#[tokio::test]
async fn attack_d16_an_api_removes_what_the_others_set_too() {
    let lab = Lab::start().await;
    // `tolerant` sets no identity header, `careful` one of the three.
    for (host, path, subject) in [
        ("tolerant.example", "/public", None),
        ("careful.example", "/items", Some("ada")),
    ] {
        let request = spoofing(Request::get(path).host(host).bearer(&lab.reader()));
        assert_eq!(lab.ask(&request).await.status, 200, "{host}");
        let seen = lab.upstream.take_one();
        let identity = identity(&seen);
        assert_eq!(identity.len(), usize::from(subject.is_some()), "{host}: {identity:?}");
        assert_eq!(seen.header("x-auth-subject"), subject, "{host}");
    }
}
