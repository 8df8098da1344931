//! The fail-open census: each fault that can befall the gate, and real Envoy's answer to its client, with
//! `failure_mode_allow` false and true. As long as the gate runs, both are the same, and neither is an allow.

use serde_json::json;

use super::stage::{Lab, lab_gate, strict, tcp};
use crate::support::envoy::{Envoy, EnvoyBuilder, Service};
use crate::support::h2_client::Client;
use crate::support::http1::{Reply, Request};
use crate::support::provider::{Provider, Script, active};
use crate::support::scopegate::{Scopegate, ScopegateBuilder};
use crate::support::standin::{Answer, StandIn};
use crate::support::upstream::Upstream;

/// A gate that asks an introspection endpoint, with this time for each check and this many at once.
fn introspecting(provider: &Provider, checks_max: u32) -> Scopegate {
    let config = format!(
        r#"
dev: true
listeners:
  ext_authz: {{ address: "127.0.0.1:9191" }}
  telemetry: {{ address: "127.0.0.1:9464" }}
gate: {{ timeout: 150ms, checks_max: {checks_max} }}
authorization_servers:
  - id: shop
    issuer: {issuer}
    audience: shop
    allow_private_addresses: true
    scopes: ["shop:read"]
    introspection: {{ url: "{introspect}", client_id: gate, client_secret_file: secret }}
apis:
  - name: shop
    hosts: [shop.example]
    authorization_server: shop
    clients: any
    routes:
      - {{ path: /open, GET: public }}
      - {{ path: /items, GET: "shop:read" }}
"#,
        issuer = provider.url(""),
        introspect = provider.url("/introspect"),
    );
    ScopegateBuilder::new(&config)
        .file("secret", "s3cret")
        .start_without_waiting()
}

/// Two Envoys before one gate: one that closes and one that opens when the gate fails to answer.
struct Doors {
    closing: Envoy,
    opening: Envoy,
    upstream: Upstream,
}

impl Doors {
    async fn before(gate: Service) -> Self {
        let upstream = Upstream::start().await;
        let build = |allow: bool| {
            EnvoyBuilder::recommended(gate.clone(), upstream.address).filter(&json!({ "failure_mode_allow": allow }))
        };
        let (closing, opening) = (build(false).start().await, build(true).start().await);
        Self {
            closing,
            opening,
            upstream,
        }
    }

    /// The answer, which must be the same at both doors and not come from the upstream.
    async fn deny(&self, name: &str, request: &Request, status: u16) -> Reply {
        let closing = request.send(self.closing.address).await;
        let opening = request.send(self.opening.address).await;
        assert_eq!(
            (closing.status, opening.status),
            (status, status),
            "{name}: {} {}",
            closing.text(),
            opening.text()
        );
        assert_eq!(closing.json()["reason"], opening.json()["reason"], "{name}");
        assert_eq!(self.upstream.count(), 0, "{name}");
        closing
    }

    /// How many checks each of them has counted as failed.
    async fn errors(&self) -> u64 {
        let name = r"http\.ingress\.ext_authz\.error";
        self.closing.stat(name).await + self.opening.stat(name).await
    }
}

fn items() -> Request {
    Request::get("/items").host("shop.example")
}

#[tokio::test]
async fn edge_e24_edge_e25_edge_j27_attack_d04_attack_c12_introspection_that_fails_is_an_explicit_denial() {
    let provider = Provider::start().await;
    let gate = introspecting(&provider, 1000);
    gate.telemetry_until("/livez", |reply| (reply.status == 200).then_some(()))
        .await;
    let doors = Doors::before(gate.service()).await;
    let cases = [
        ("slow", Script::Silence, 503),
        ("500", Script::Status(500, "{}"), 503),
        ("429", Script::Status(429, ""), 503),
        ("HTML", Script::Status(200, "<html>"), 503),
        ("cut off", Script::Status(200, "{\"active\":tr"), 503),
        (
            "active as text",
            Script::Json(json!({ "active": "true", "scope": "shop:read", "client_id": "till" })),
            503,
        ),
        ("not active", Script::Json(json!({ "active": false })), 401),
        (
            "another audience",
            Script::Json(active(&json!({ "aud": "other" }))),
            401,
        ),
    ];
    for (number, (name, script, status)) in cases.into_iter().enumerate() {
        provider.script("/introspect", script);
        let reply = doors
            .deny(name, &items().bearer(&format!("opaque-{number}")), status)
            .await;
        if status == 503 {
            assert!(reply.header("retry-after").is_some(), "{name}");
        }
    }
    assert_eq!(doors.errors().await, 0, "no check failed as an RPC");
    provider.script("/introspect", Script::Json(active(&json!({}))));
    assert_eq!(
        items().bearer("opaque-good").send(doors.closing.address).await.status,
        200
    );
}

#[tokio::test]
async fn edge_e23_edge_e25_attack_d02_overload_is_an_explicit_denial() {
    let provider = Provider::start().await;
    provider.script("/introspect", Script::Silence);
    let gate = introspecting(&provider, 1);
    gate.telemetry_until("/livez", |reply| (reply.status == 200).then_some(()))
        .await;
    let doors = Doors::before(gate.service()).await;
    // More at once than the gate takes: each waits for introspection, and the rest is shed.
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..40 {
        let address = if number % 2 == 0 {
            doors.closing.address
        } else {
            doors.opening.address
        };
        asking.spawn(async move { items().bearer(&format!("opaque-{number}")).send(address).await });
    }
    let replies = asking.join_all().await;
    let mut reasons: Vec<String> = replies.iter().map(|reply| reply.json()["reason"].to_string()).collect();
    assert!(replies.iter().all(|reply| reply.status == 503), "{reasons:?}");
    reasons.sort();
    reasons.dedup();
    assert!(reasons.contains(&"\"overloaded\"".to_owned()), "{reasons:?}");
    assert_eq!(doors.upstream.count(), 0);
    assert_eq!(doors.errors().await, 0, "no check failed as an RPC");
}

#[tokio::test]
async fn edge_e24_edge_j07_attack_b06_keys_that_cannot_be_had_deny_and_leave_others_alone() {
    let provider = Provider::start().await;
    let server = crate::support::tokens::Server::new("lab");
    let faults = [
        ("an error", Script::Status(500, "")),
        ("HTML", Script::Status(200, "<html>")),
        ("no keys", Script::Json(json!({ "keys": [] }))),
        (
            "a redirect",
            Script::Redirect("http://169.254.169.254/latest".to_owned()),
        ),
        ("silence", Script::Silence),
    ];
    for (name, script) in faults {
        provider.script("/jwks", script);
        let source = format!("jwks_uri: {}\n    allow_private_addresses: true", provider.url("/jwks"));
        let config = format!(
            "dev: true\n{}",
            super::stage::LAB.replace("jwks_file: lab.jwks.json", &source)
        );
        let gate = ScopegateBuilder::new(&config).start_without_waiting();
        gate.telemetry_until("/livez", |reply| (reply.status == 200).then_some(()))
            .await;
        let doors = Doors::before(gate.service()).await;
        let token = server.token(&json!({ "scope": "lab:read" }));
        let request = strict("/items").bearer(&token);
        let (closing, opening) = (
            request.send(doors.closing.address).await,
            request.send(doors.opening.address).await,
        );
        for reply in [closing, opening] {
            assert_eq!(reply.status, 503, "{name}: {}", reply.text());
        }
        assert_eq!(doors.upstream.count(), 0, "{name}");
        assert_eq!(doors.errors().await, 0, "{name}");
        assert_eq!(
            strict("/public").send(doors.closing.address).await.status,
            200,
            "{name}: public routes go on"
        );
    }
}

#[tokio::test]
async fn edge_o01_edge_e25_attack_d01_attack_d02_attack_d21_what_cannot_be_decoded_is_denied_not_failed() {
    let (server, gate) = lab_gate(super::stage::LAB).await;
    drop(server);
    let client = Client::open(tcp(&gate.service())).await;
    let check = "/envoy.service.auth.v3.Authorization/Check";
    // Envoy sends no such message, so its check is answered with what the gate said to one.
    let relay = StandIn::start(Answer::Silence).await;
    let doors = Doors::before(relay.service()).await;
    let rows: [(&str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("no HTTP request", vec![0x0a, 0x00]),
        ("empty attributes", vec![0x0a, 0x02, 0x22, 0x00]),
        ("a length beyond the end", vec![0x0a, 0xff]),
        ("a varint without an end", vec![0xff; 11]),
        ("a wrong wire type", vec![0x0d, 1, 2, 3, 4]),
        ("an unknown field alone", vec![0xf8, 0x01, 0x01]),
        (
            "text that is no UTF-8",
            vec![0x0a, 0x08, 0x22, 0x06, 0x12, 0x04, 0x12, 0x02, 0xc3, 0x28],
        ),
        ("a group", vec![0x0b, 0x0c]),
    ];
    for (name, message) in rows {
        let reply = client.grpc("gate", check, &message, &[]).await;
        assert_eq!(
            (reply.status, reply.grpc_status()),
            (200, Some(0)),
            "{name}: {:?}",
            reply.grpc_field("grpc-message")
        );
        let response =
            <envoy_types::pb::envoy::service::auth::v3::CheckResponse as prost::Message>::decode(reply.grpc_message());
        let response = response.expect("the gate's answers decode");
        assert_ne!(response.status.expect("a status").code, 0, "{name}");
        let Some(envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse::DeniedResponse(denied)) =
            response.http_response
        else {
            panic!("{name}: no denied response");
        };
        assert!(denied.status.expect("an HTTP status").code >= 400, "{name}");
        relay.answer_with(Answer::Bytes(reply.grpc_message().to_vec()));
        let reply = doors.deny(name, &strict("/public"), 400).await;
        assert!(
            matches!(
                reply.json()["reason"].as_str(),
                Some("malformed_check" | "ambiguous_path")
            ),
            "{name}: {}",
            reply.text()
        );
    }
    assert_eq!(doors.errors().await, 0, "no check failed as an RPC");
}

#[tokio::test]
async fn attack_d30_attack_e09_other_methods_and_sizes_end_as_grpc_says() {
    let (_server, gate) = lab_gate(super::stage::LAB).await;
    let client = Client::open(tcp(&gate.service())).await;
    for path in [
        "/envoy.service.auth.v2.Authorization/Check",
        "/envoy.service.auth.v3.Authorization/Other",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(
            client.grpc("gate", path, b"", &[]).await.grpc_status(),
            Some(12),
            "{path}"
        );
    }
    let compressed = client
        .grpc(
            "gate",
            "/envoy.service.auth.v3.Authorization/Check",
            b"",
            &[("grpc-encoding", "gzip")],
        )
        .await;
    assert!(matches!(compressed.grpc_status(), Some(0 | 12)), "{compressed:?}");
    let health = client.grpc("gate", "/grpc.health.v1.Health/Check", b"", &[]).await;
    assert_eq!(
        (health.grpc_status(), &health.grpc_message()[..]),
        (Some(0), &[0x08, 0x01][..]),
        "SERVING"
    );
}

#[tokio::test]
async fn edge_d06_a_store_that_is_gone_closes_the_issuer_and_leaves_the_gate_deciding() {
    let gate = Scopegate::bank().await;
    let doors = Doors::before(gate.service()).await;
    let token = gate.mint().await;
    gate.remove_store();
    let read = Request::get("/transfers").bearer(&token);
    assert_eq!(
        read.send(doors.closing.address).await.status,
        200,
        "a valid token needs no store"
    );
    doors.upstream.take();
    doors.deny("a missing token", &Request::get("/transfers"), 401).await;
    doors
        .deny("a short token", &Request::post("/transfers").bearer(&token), 403)
        .await;
    assert_eq!(doors.errors().await, 0);
}

#[tokio::test]
async fn edge_e23_a_gate_that_is_gone_or_stands_still_is_envoys_affair() {
    let mut lab = Lab::with(|envoy| envoy.check_timeout("0.3s")).await;
    let request = strict("/items").bearer(&lab.reader());
    assert_eq!(lab.ask(&request).await.status, 200);
    lab.gate.signal("STOP");
    assert_eq!(lab.ask(&request).await.status, 503, "the time-out's own status");
    lab.gate.signal("CONT");
    lab.gate.ready().await;
    assert_eq!(lab.ask(&request).await.status, 200, "and on it goes");
    lab.gate.signal("KILL");
    lab.gate.ended().await;
    assert_eq!(lab.ask(&request).await.status, 503);
}
