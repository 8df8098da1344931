//! The bank's own cases, every one, through real Envoy.
//!
//! The tokens of the cases are people's too, whom the bank's issuer cannot serve yet: they come from foreign copies of its two
//! authorization servers, with the same audiences, claims and APIs. What its issuer can mint has a test of its own.

use serde_json::{Value, json};

use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::Request;
use crate::support::peers::repository;
use crate::support::scopegate::{Scopegate, ScopegateBuilder, bank_apis};
use crate::support::tokens::{Server, now};
use crate::support::upstream::Upstream;
use crate::support::yaml;

/// The bank's APIs before foreign authorization servers.
fn foreign_bank() -> String {
    let servers = r#"
listeners:
  ext_authz: { address: "127.0.0.1:9191" }
  telemetry: { address: "127.0.0.1:9464" }
authorization_servers:
  - id: transfers
    issuer: https://transfers.test
    audience: https://api.bank.example/transfers
    jwks_file: transfers.jwks.json
    scopes: ["transfers:read", "transfers:write", "transfers:approve"]
  - id: transactions
    issuer: https://transactions.test
    audience: https://api.bank.example/transactions
    jwks_file: transactions.jwks.json
    scopes: ["transactions:read"]
"#;
    let line = "    authorization_server: transactions\n";
    let apis = bank_apis();
    assert!(apis.contains(line), "an external server's API must say who may call it");
    servers.to_owned() + &apis.replace(line, &format!("{line}    clients: any\n"))
}

/// The request of a case, without its token.
fn request_of(case: &Value) -> Request {
    let (method, url) = case["request"]
        .as_str()
        .unwrap()
        .split_once(' ')
        .expect("a method and a URL");
    let rest = url.strip_prefix("https://").expect("https");
    let (host, path) = rest.split_at(rest.find('/').expect("a path"));
    let request = Request::new(method, path).host(host);
    // A gRPC method is called as gRPC clients do it, but over HTTP/1.1.
    if method == "POST" && path.contains(".v1.") {
        request.header("Content-Type", "application/json")
    } else {
        request
    }
}

/// The claims of a case's token, as the case states them.
fn claims_of(token: &Value) -> Value {
    let mut claims =
        json!({ "client_id": token["client"], "sub": token["sub"], "scope": token["scope"], "auth_time": now() });
    if let Some(ago) = token["auth_time"].as_str() {
        let minutes: i64 = ago
            .trim_start_matches('-')
            .trim_end_matches('m')
            .parse()
            .expect("minutes ago");
        claims["auth_time"] = json!(now() - minutes * 60);
    }
    claims
}

#[tokio::test]
async fn every_case_of_the_bank_holds_through_envoy() {
    let text = std::fs::read_to_string(repository("tests/examples/bank/cases.yaml")).unwrap();
    let cases = yaml::parse(&text);
    let (transfers, transactions) = (Server::new("transfers"), Server::new("transactions"));
    let gate = ScopegateBuilder::new(&foreign_bank())
        .file("transfers.jwks.json", transfers.jwks().to_string())
        .file("transactions.jwks.json", transactions.jwks().to_string())
        .start()
        .await;
    let upstream = Upstream::start().await;
    // What the cases say of odd paths is said of the gate: Envoy must not answer in its place.
    let as_sent = json!({ "normalize_path": false, "path_with_escaped_slashes_action": "KEEP_UNCHANGED" });
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .manager(&as_sent)
        .start()
        .await;

    let cases = cases.as_array().expect("a list of cases");
    assert_eq!(cases.len(), 15, "the bank's cases");
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let token = case.get("token").map(|token| {
            let server = if token["server"] == "transfers" {
                &transfers
            } else {
                &transactions
            };
            server.token(&claims_of(token))
        });
        let mut request = request_of(case);
        if let Some(token) = &token {
            request = request.bearer(token);
        }
        let reply = request.send(envoy.address).await;
        let expect = &case["expect"];
        if expect["allow"] == true {
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
            let seen = upstream.take_one();
            for (header, value) in expect["headers"].as_object().into_iter().flatten() {
                assert_eq!(seen.header(header), value.as_str(), "{name}: {header}");
            }
        } else {
            assert_eq!(
                u64::from(reply.status),
                expect["status"].as_u64().unwrap(),
                "{name}: {}",
                reply.text()
            );
            assert_eq!(reply.json()["reason"], expect["reason"], "{name}");
            for missing in expect["missing"].as_array().into_iter().flatten() {
                let challenge = reply.header("www-authenticate").unwrap_or_default();
                assert!(challenge.contains(missing.as_str().unwrap()), "{name}: {challenge}");
            }
            assert_eq!(upstream.count(), 0, "{name}");
        }
    }
}

#[tokio::test]
async fn a_token_that_the_bank_minted_passes_and_is_told_to_the_upstream() {
    let gate = Scopegate::bank().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let token = gate.mint().await;

    let reply = Request::get("/transfers").bearer(&token).send(envoy.address).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = upstream.take_one();
    assert_eq!(seen.header("x-auth-client"), Some("nightly-batch"));
    assert_eq!(
        seen.header("x-auth-subject"),
        Some("nightly-batch"),
        "the client is its own subject (RFC 9068)"
    );
    assert_eq!(seen.header("x-auth-scope"), Some("transfers:read"));
    assert_eq!(seen.header("x-auth-tier"), None, "no user, no tier");

    let short = Request::post("/transfers").bearer(&token).send(envoy.address).await;
    assert_eq!(
        (short.status, &short.json()["reason"]),
        (403, &json!("insufficient_scope"))
    );
    let other = Request::get("/transactions/1").bearer(&token).send(envoy.address).await;
    assert_eq!((other.status, &other.json()["reason"]), (401, &json!("invalid_token")));
    assert_eq!(upstream.count(), 0);
}
