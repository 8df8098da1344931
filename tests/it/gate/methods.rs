//! Methods: which verb a request is judged by.

use serde_json::json;

use super::stage::{Lab, denied, passes, refused, strict};
use crate::support::h2_client::Client;
use crate::support::http1::Request;

fn verb(method: &str, target: &str) -> Request {
    Request::new(method, target).host("strict.example")
}

#[tokio::test]
async fn edge_e01_edge_m03_head_is_judged_as_get_and_denied_without_a_body() {
    let lab = Lab::start().await;
    let (reader, writer) = (lab.reader(), lab.writer());
    let allowed = lab.ask(&verb("HEAD", "/items").bearer(&reader)).await;
    assert_eq!((allowed.status, lab.upstream.take_one().method.as_str()), (200, "HEAD"));
    for (request, status) in [
        (verb("HEAD", "/items"), 401),
        (verb("HEAD", "/items").bearer(&writer), 403),
    ] {
        let reply = lab.ask(&request).await;
        assert_eq!(reply.status, status);
        assert!(
            reply
                .header("www-authenticate")
                .is_some_and(|challenge| challenge.starts_with("Bearer "))
        );
        assert_eq!(reply.body, b"");
    }
}

#[tokio::test]
async fn edge_e01_edge_m03_edge_m04_edge_m05_attack_d19_options_is_a_preflight_only_with_both_headers() {
    let lab = Lab::start().await;
    let options = |host: &str| Request::new("OPTIONS", "/items").host(host);
    let preflight = |host: &str| {
        options(host)
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "GET")
    };
    let reader = lab.reader();
    lab.expect([
        passes("a preflight where the API allows it", preflight("careful.example")),
        passes(
            "a preflight with a token is still a preflight",
            preflight("careful.example").bearer(&reader),
        ),
        denied(
            "without Access-Control-Request-Method",
            options("careful.example").header("Origin", "https://a.example"),
            404,
            "no_route",
        ),
        denied(
            "a preflight where the API does not say so",
            preflight("strict.example"),
            403,
            "no_route",
        ),
    ])
    .await;
    for seen in lab.upstream.take() {
        assert_eq!(seen.header("x-auth-subject"), None, "a preflight has no identity");
    }
}

#[tokio::test]
async fn edge_e02_edge_m02_attack_d19_verbs_are_case_sensitive_and_unknown_ones_closed() {
    let lab = Lab::start().await;
    let token = lab.server.token(&json!({ "scope": "lab:read lab:write" }));
    for method in ["get", "Get", "TRACE", "TRACK", "FOO", "PROPFIND", "PATCH"] {
        let reply = lab.ask(&verb(method, "/items").bearer(&token)).await;
        assert!((400..500).contains(&reply.status), "{method}: {}", reply.status);
    }
    lab.expect([denied(
        "`*` with deny",
        verb("PUT", "/closed").bearer(&token),
        403,
        "route_denies",
    )])
    .await;
}

#[tokio::test]
async fn edge_e03_edge_m01_attack_d12_an_overriding_method_is_refused_or_needs_both_scopes() {
    let lab = Lab::start().await;
    let (reader, both) = (
        lab.reader(),
        lab.server.token(&json!({ "scope": "lab:read lab:write" })),
    );
    for header in ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"] {
        let with = |request: Request, token: &str| request.header(header, "DELETE").bearer(token);
        lab.expect([
            denied(header, with(verb("POST", "/items"), &both), 400, "invalid_request"),
            denied(header, with(verb("GET", "/items"), &both), 400, "invalid_request"),
            denied(header, with(verb("POST", "/both"), &reader), 403, "insufficient_scope"),
            passes(header, with(verb("POST", "/both"), &both)),
        ])
        .await;
    }
    lab.expect([passes(
        "without an override one scope will do",
        verb("POST", "/both").bearer(&reader),
    )])
    .await;
}

#[tokio::test]
async fn edge_e08_edge_m08_edge_m09_edge_m10_edge_m11_attack_d20_grpc_methods_are_routes() {
    let lab = Lab::start().await;
    let client = Client::open(lab.envoy.address).await;
    let reader = format!("Bearer {}", lab.reader());
    let call = async |path: &str, headers: &[(&str, &str)]| client.grpc("strict.example", path, b"", headers).await;

    let allowed = call("/lab.v1.Items/List", &[("authorization", &reader)]).await;
    assert_eq!((allowed.status, allowed.grpc_status()), (200, Some(0)));
    assert!(allowed.headers.contains_key("x-upstream"));

    // The call, its token, and the gRPC status of the denial.
    for (path, token, status) in [
        ("/lab.v1.Items/List", None, 16),
        ("/lab.v1.Items/Delete", Some(&reader), 7),
        ("/lab.v1.Items/list", Some(&reader), 7),
        ("/lab.v1.Items/List/", Some(&reader), 7),
        ("/grpc.health.v1.Health/Check", Some(&reader), 7),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Some(&reader),
            7,
        ),
    ] {
        let headers: Vec<(&str, &str)> = token.iter().map(|token| ("authorization", token.as_str())).collect();
        let reply = call(path, &headers).await;
        assert_eq!((reply.status, reply.grpc_status()), (200, Some(status)), "{path}");
        let message = reply.grpc_field("grpc-message").expect("a sentence");
        assert!(!message.contains('{'), "{path}: a gRPC caller gets no JSON: {message}");
        assert!(!reply.headers.contains_key("x-upstream"), "{path}");
        assert_eq!(
            reply.grpc_field("www-authenticate").is_some(),
            status == 16 || path.ends_with("Delete"),
            "{path}"
        );
    }
    // gRPC's content type opens no REST route, and closes none.
    let grpc = |request: Request| request.header("Content-Type", "application/grpc");
    assert_eq!(lab.ask(&grpc(strict("/items")).bearer(&lab.reader())).await.status, 200);
    lab.expect([refused(
        "a path without its slash",
        strict("lab.v1.Items/List").bearer(&lab.reader()),
        400,
    )])
    .await;
}
