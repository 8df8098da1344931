//! WebSockets, extended CONNECT and CONNECT: judged once, as the route that they open.

use serde_json::json;

use super::stage::{Lab, strict};
use crate::support::h2_client::Client;
use crate::support::http1::{self, Connection, Request};
use crate::support::wait;

fn upgrade(target: &str) -> Request {
    strict(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
}

async fn lab() -> Lab {
    Lab::with(|envoy| {
        envoy
            .manager(&json!({
                "upgrade_configs": [{ "upgrade_type": "websocket" }, { "upgrade_type": "CONNECT" }],
                "http2_protocol_options": { "allow_connect": true },
            }))
            .route(json!({ "match": { "prefix": "/chat" }, "route": { "cluster": "upstream_http1" } }))
            .route(json!({ "match": { "connect_matcher": {} }, "route": { "cluster": "upstream" } }))
    })
    .await
}

#[tokio::test]
async fn edge_e09_edge_m06_edge_i05_an_upgrade_is_judged_once_as_get() {
    let lab = lab().await;
    let checks = "scopegate_decisions_total";
    assert_eq!(lab.ask(&upgrade("/chat")).await.status, 401);
    let mut connection = Connection::open(lab.envoy.address).await.unwrap();
    // A hop that honours the nomination would drop the identity header on its way: such a request is refused.
    let nominating = upgrade("/chat")
        .bearer(&lab.reader())
        .header("Connection", "upgrade, x-auth-subject");
    assert_eq!(lab.ask(&nominating).await.status, 400);
    let plain = upgrade("/chat").bearer(&lab.reader());
    assert_eq!(connection.exchange(&plain.bytes()).await.unwrap().status, 101);
    let before = lab.gate.metric(checks, &[]).await;
    for message in [b"one", b"two"] {
        connection.write(message).await;
        assert_eq!(connection.read(3).await, message);
    }
    assert_eq!(
        lab.gate.metric(checks, &[]).await.to_bits(),
        before.to_bits(),
        "bytes in a tunnel are not asked about"
    );
    let seen = lab.upstream.take().pop().unwrap();
    assert_eq!(seen.header("x-auth-subject"), Some("ada"));
    wait::until("the log says that it is long-lived", || async {
        lab.gate
            .decisions()
            .iter()
            .any(|line| line["connection"] == "long-lived")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn edge_m07_attack_d19_extended_connect_is_judged_like_the_upgrade() {
    let lab = lab().await;
    let client = Client::open(lab.envoy.address).await;
    client.extended_connect_allowed().await;
    let request = |token: Option<String>| {
        let mut request = http::Request::builder()
            .method("CONNECT")
            .uri("http://strict.example/chat");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(()).unwrap();
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
        request
    };
    assert_eq!(client.head(request(None)).await, 401);
    assert_eq!(lab.upstream.count(), 0);
    assert_eq!(client.head(request(Some(lab.reader()))).await, 200);
    assert_eq!(lab.upstream.take_one().header("x-auth-subject"), Some("ada"));
}

#[tokio::test]
async fn edge_m07_edge_p15_attack_d19_connect_is_closed() {
    let lab = lab().await;
    let bytes = format!(
        "CONNECT strict.example:443 HTTP/1.1\r\nHost: strict.example:443\r\nAuthorization: Bearer {}\r\n\r\n",
        lab.reader()
    );
    let reply = http1::send_head(lab.envoy.address, bytes.as_bytes()).await;
    assert_eq!(reply.status, 403);
    assert_eq!(lab.upstream.count(), 0);
}
