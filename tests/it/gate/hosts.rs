//! Hosts, and the API that Envoy's own route configuration names.

use serde_json::json;

use super::stage::{Lab, denied, passes};
use crate::support::http1::{self, Request};

#[tokio::test]
async fn edge_e11_edge_h01_edge_h05_attack_d11_attack_d28_a_host_is_one_host_however_it_is_written() {
    let lab = Lab::start().await;
    let public = |host: &str| Request::get("/public").host(host);
    for host in [
        "strict.example",
        "STRICT.Example",
        "strict.example:8443",
        "strict.example.",
        "a.wild.example",
        "a.b.wild.example",
    ] {
        lab.expect([passes(host, public(host))]).await;
    }
    for host in [
        "wild.example",
        "evil-strict.example",
        "xwild.example",
        "other.example",
        "strict.example.evil",
    ] {
        lab.expect([denied(host, public(host), 403, "no_route")]).await;
    }
}

#[tokio::test]
async fn edge_h02_edge_h04_edge_e11_attack_d11_a_host_that_is_none_is_refused() {
    let lab = Lab::start().await;
    let long = format!("{}.example", "a".repeat(300));
    for host in [
        "strict.example@evil",
        "evil@strict.example",
        "a,b",
        "[::1]:8080",
        "strict..example",
        &long,
    ] {
        let reply = lab.ask(&Request::get("/public").host(host)).await;
        assert!(matches!(reply.status, 400 | 403), "{host}: {}", reply.status);
    }
}

#[tokio::test]
async fn edge_h03_attack_d12_attack_d13_headers_that_claim_another_host_or_path_are_not_read() {
    let lab = Lab::start().await;
    let lying = [
        "X-Forwarded-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Uri",
        "X-Envoy-Original-Path",
        "Forwarded",
    ];
    for header in lying {
        let lie = if header.ends_with("Host") {
            "strict.example"
        } else {
            "/public"
        };
        let closed = Request::get("/items").host("other.example").header(header, lie);
        let protected = Request::get("/items").host("strict.example").header(header, lie);
        lab.expect([
            denied(header, closed, 403, "no_route"),
            denied(header, protected, 401, "missing_token"),
        ])
        .await;
    }
}

#[tokio::test]
async fn attack_d11_an_absolute_form_is_judged_by_its_own_host() {
    let lab = Lab::start().await;
    let lying = b"GET http://other.example/public HTTP/1.1\r\nHost: strict.example\r\n\r\n";
    assert_eq!(http1::send(lab.envoy.address, lying).await.status, 403);
    let honest = b"GET http://strict.example/public HTTP/1.1\r\nHost: other.example\r\n\r\n";
    assert_eq!(http1::send(lab.envoy.address, honest).await.status, 200);
}

#[tokio::test]
async fn edge_e12_edge_h07_context_extensions_pin_the_api_and_a_client_cannot() {
    let lab = Lab::with(|envoy| {
        // Both paths exist in `strict` and in `careful`; only Envoy's route says which API is meant.
        envoy
            .extensions("/items", &json!({ "scopegate.api": "bound" }))
            .extensions("/public", &json!({ "scopegate.api": "strict" }))
            .extensions("/me", &json!({ "scopegate.api": "nobody" }))
    })
    .await;
    let token = lab.reader();
    lab.expect([
        passes(
            "pinned to the API that has it",
            Request::get("/public").host("strict.example"),
        ),
        denied(
            "pinned to an API that lacks it",
            Request::get("/items").host("strict.example").bearer(&token),
            403,
            "no_route",
        ),
        denied(
            "pinned to no API of ours",
            Request::get("/me").host("strict.example").bearer(&token),
            403,
            "no_route",
        ),
        denied(
            "a client's header of that name",
            Request::get("/either")
                .host("strict.example")
                .header("scopegate.api", "bound")
                .bearer(&token),
            403,
            "no_route",
        ),
    ])
    .await;
}

#[tokio::test]
async fn attack_d25_nothing_is_open_to_health_checkers_but_what_a_route_opens() {
    let lab = Lab::start().await;
    for agent in ["kube-probe/1.33", "GoogleHC/1.0", "ELB-HealthChecker/2.0"] {
        for path in ["/healthz", "/livez", "/readyz", "/items"] {
            let reply = lab
                .ask(&Request::get(path).host("strict.example").header("User-Agent", agent))
                .await;
            assert!(matches!(reply.status, 401 | 403), "{agent} {path}: {}", reply.status);
        }
    }
}
