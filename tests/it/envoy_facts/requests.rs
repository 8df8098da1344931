//! What a CheckRequest says of the request that a client sent.

use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, OkHttpResponse};
use serde_json::json;

use super::Stage;
use crate::support::h2_client;
use crate::support::http1::{self, Request};
use crate::support::standin::allow;

fn http(check: CheckRequest) -> HttpRequest {
    check
        .attributes
        .and_then(|a| a.request)
        .and_then(|r| r.http)
        .expect("Envoy sends the HTTP request")
}

/// Each value of a header in a check, from either shape.
fn values(http: &HttpRequest, name: &str) -> Vec<Vec<u8>> {
    let joined = http.headers.get(name).map(|value| value.clone().into_bytes());
    let apart = http
        .header_map
        .iter()
        .flat_map(|map| &map.headers)
        .filter(|h| h.key == name);
    joined.into_iter().chain(apart.map(|h| h.raw_value.clone())).collect()
}

#[tokio::test]
async fn envoy_1_40_checks_the_path_that_the_upstream_gets_attack_d06_attack_d08_attack_d09() {
    let normalising = json!({
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    });
    let with = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy.manager(&normalising)).await;
    let without = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy).await;
    // What the client sends, and what the check says with and without those settings.
    for (sent, normalised, as_it_is) in [
        ("/a/../b?q=1", "/b?q=1", "/a/../b?q=1"),
        ("/a%2Fb", "/a/b", "/a%2Fb"),
        ("/a//b", "/a/b", "/a//b"),
        ("/a\\b", "/a/b", "/a\\b"),
        ("/%2e%2e/b", "/b", "/%2e%2e/b"),
        ("/a;x=1/b", "/a;x=1/b", "/a;x=1/b"),
        ("/a/..;x/b", "/b", "/a/..;x/b"),
        ("/A", "/A", "/A"),
        ("/public?next=/admin", "/public?next=/admin", "/public?next=/admin"),
    ] {
        for (stage, expected) in [(&with, normalised), (&without, as_it_is)] {
            assert_eq!(Request::get(sent).send(stage.envoy.address).await.status, 200, "{sent}");
            let http = http(stage.service.take_one());
            assert_eq!(http.path, expected, "{sent}");
            assert_eq!(http.query, "", "the query stays in the path");
            assert_eq!(stage.upstream.take_one().target, expected, "{sent}");
        }
    }
}

#[tokio::test]
async fn envoy_1_40_refuses_some_bytes_before_it_asks_attack_d29() {
    let stage = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy).await;
    let rows: [(&str, Vec<u8>); 6] = [
        ("NUL in the path", b"GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
        (
            "a control byte in the path",
            b"GET /a\x01b HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        ),
        (
            "an 8-bit byte in the path",
            b"GET /a\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        ),
        ("a fragment", b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
        (
            "NUL in a header",
            b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n".to_vec(),
        ),
        (
            "Transfer-Encoding with Content-Length",
            b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
    ];
    for (name, bytes) in rows {
        assert_eq!(http1::send(stage.envoy.address, &bytes).await.status, 400, "{name}");
        assert!(stage.service.take().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn envoy_1_40_joins_headers_unless_told_to_send_them_raw_attack_d05_attack_d14_attack_d15() {
    let joined = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy).await;
    let raw = json!({ "encode_raw_headers": true });
    let apart = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy.filter(&raw)).await;
    let request = Request::get("/")
        .header("X-Role", "user")
        .header("X-Role", "admin")
        .header("X-Odd", b"v\xc3\x28w")
        .header("Cookie", "a=1")
        .header("Cookie", "b=2")
        .header("Authorization", "Bearer good")
        .header("Authorization", "Bearer evil");

    assert_eq!(request.send(joined.envoy.address).await.status, 200);
    let check = http(joined.service.take_one());
    assert!(check.header_map.is_none());
    assert_eq!(values(&check, "x-role"), [b"user,admin"]);
    assert_eq!(
        values(&check, "x-odd"),
        [b"v!(w"],
        "a byte that is no UTF-8 is written as `!`"
    );
    assert_eq!(values(&check, "cookie"), [b"a=1,b=2"]);
    assert_eq!(values(&check, "authorization"), [b"Bearer good,Bearer evil"]);
    let seen = joined.upstream.take_one();
    assert_eq!(seen.headers("x-role"), ["user", "admin"]);
    assert_eq!(
        seen.headers("x-odd"),
        ["v\u{c3}(w"],
        "the upstream gets the byte itself"
    );
    assert_eq!(
        seen.headers("authorization"),
        ["Bearer good,Bearer evil"],
        "joined even on the way out"
    );

    assert_eq!(request.send(apart.envoy.address).await.status, 200);
    let check = http(apart.service.take_one());
    assert!(check.headers.is_empty());
    assert_eq!(values(&check, "x-role"), [b"user", &b"admin"[..]]);
    assert_eq!(values(&check, "x-odd"), [b"v\xc3\x28w"]);
    assert_eq!(
        values(&check, "authorization"),
        [b"Bearer good,Bearer evil"],
        "Envoy itself joins this one"
    );
}

#[tokio::test]
async fn envoy_1_40_keeps_the_host_as_it_came_attack_d11() {
    let stage = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy).await;
    for host in ["ADMIN.Example.COM:80", "a@b", "api.bank.example."] {
        assert_eq!(Request::get("/").host(host).send(stage.envoy.address).await.status, 200);
        assert_eq!(http(stage.service.take_one()).host, host);
    }
    let absolute = b"GET http://other/abs HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(http1::send(stage.envoy.address, absolute).await.status, 200);
    let check = http(stage.service.take_one());
    assert_eq!((check.host.as_str(), check.path.as_str()), ("other", "/abs"));
}

#[tokio::test]
async fn envoy_1_40_hands_on_headers_that_claim_another_path_attack_d12_attack_d13() {
    let stage = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy).await;
    let names = [
        "x-envoy-original-path",
        "x-forwarded-uri",
        "x-forwarded-for",
        "x-original-url",
        "x_role",
    ];
    let request = names
        .iter()
        .fold(Request::get("/a"), |request, name| request.header(name, "/public"));
    assert_eq!(request.send(stage.envoy.address).await.status, 200);
    let check = http(stage.service.take_one());
    for name in names {
        assert_eq!(values(&check, name), [b"/public"], "{name}");
    }
    assert_eq!(check.path, "/a");
}

#[tokio::test]
async fn envoy_1_40_sends_the_pseudo_headers_too_and_an_id_of_its_own() {
    let stage = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy).await;
    assert_eq!(
        Request::get("/a")
            .header("X-Request-Id", "theirs")
            .send(stage.envoy.address)
            .await
            .status,
        200
    );
    let check = http(stage.service.take_one());
    assert_eq!(values(&check, ":path"), [b"/a"]);
    assert_eq!(values(&check, ":method"), [b"GET"]);
    assert_eq!(values(&check, ":authority"), [b"api.bank.example"]);
    assert_eq!(values(&check, ":scheme"), [b"http"]);
    assert_eq!(check.scheme, "http");
    assert!(!check.id.is_empty() && check.id != "theirs");
}

#[tokio::test]
async fn envoy_1_40_cuts_a_body_and_says_so_attack_d22() {
    let cut = json!({ "with_request_body": { "max_request_bytes": 8192, "allow_partial_message": true } });
    let stage = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy.filter(&cut)).await;
    let body = vec![b'x'; 20_000];
    assert_eq!(
        Request::post("/").body(&body).send(stage.envoy.address).await.status,
        200
    );
    let check = http(stage.service.take_one());
    assert!(check.body.len() < body.len());
    assert_eq!(values(&check, "x-envoy-auth-partial-body"), [b"true"]);
}

#[tokio::test]
async fn envoy_1_40_asks_once_for_an_upgrade_and_refuses_one_that_is_not_allowed_edge_m06() {
    let upgrade = Request::get("/chat")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let closed = Stage::start(allow(OkHttpResponse::default()), |envoy| envoy).await;
    assert_eq!(upgrade.send(closed.envoy.address).await.status, 403);
    assert!(closed.service.take().is_empty(), "refused before the check");

    let open = Stage::start(allow(OkHttpResponse::default()), |envoy| {
        envoy.manager(&json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] }))
    })
    .await;
    let mut connection = http1::Connection::open(open.envoy.address).await.unwrap();
    assert_eq!(connection.exchange(&upgrade.bytes()).await.unwrap().status, 101);
    connection.write(b"ping").await;
    assert_eq!(connection.read(4).await, b"ping");
    let check = http(open.service.take_one());
    assert_eq!(check.method, "GET");
    assert_eq!(values(&check, "upgrade"), [b"websocket"]);
}

#[tokio::test]
async fn envoy_1_40_says_what_a_connect_is_edge_m07_edge_p15() {
    let stage = Stage::start(allow(OkHttpResponse::default()), |envoy| {
        envoy
            .manager(&json!({
                "upgrade_configs": [{ "upgrade_type": "CONNECT" }, { "upgrade_type": "websocket" }],
                "http2_protocol_options": { "allow_connect": true },
            }))
            .route(json!({ "match": { "prefix": "/chat" }, "route": { "cluster": "upstream_http1" } }))
            .route(json!({
                "match": { "connect_matcher": {} },
                "route": { "cluster": "upstream", "upgrade_configs": [{ "upgrade_type": "CONNECT", "connect_config": {} }] },
            }))
    })
    .await;
    let connect = b"CONNECT api.bank.example:443 HTTP/1.1\r\nHost: api.bank.example:443\r\n\r\n";
    http1::send_head(stage.envoy.address, connect).await;
    let check = http(stage.service.take_one());
    assert_eq!(
        (check.method.as_str(), check.path.as_str()),
        ("CONNECT", ""),
        "a CONNECT has no path"
    );

    let client = h2_client::Client::open(stage.envoy.address).await;
    client.extended_connect_allowed().await;
    let mut extended = http::Request::builder()
        .method("CONNECT")
        .uri("http://api.bank.example/chat")
        .body(())
        .unwrap();
    extended
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    assert_eq!(client.head(extended).await, 200);
    let check = http(stage.service.take_one());
    assert_eq!(
        (check.method.as_str(), check.path.as_str()),
        ("GET", "/chat"),
        "Envoy makes it an upgrade of HTTP/1"
    );
    assert_eq!(values(&check, "upgrade"), [b"websocket"]);
}
