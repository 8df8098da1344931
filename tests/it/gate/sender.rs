//! Tokens that are bound to a key of their sender: DPoP (RFC 9449) and client certificates (RFC 8705).

use serde_json::{Value, json};

use super::stage::{Lab, denied, passes};
use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::{Reply, Request};
use crate::support::tls::{self, Ca, Pair};
use crate::support::tokens::{Key, base64url, now, sha256};

const URI: &str = "https://bound.example/dpop/7";

type Change = fn(&mut Value, &mut Value);

fn dpop(target: &str, token: &str, proof: &str) -> Request {
    Request::get(target)
        .host("bound.example")
        .header("Authorization", format!("DPoP {token}"))
        .header("DPoP", proof)
}

fn bound_token(lab: &Lab, key: &Key) -> String {
    lab.server
        .token(&json!({ "scope": "lab:read", "cnf": { "jkt": key.thumbprint() } }))
}

#[tokio::test]
async fn edge_e16_edge_x01_edge_x02_edge_x04_edge_x08_edge_x09_attack_f30_a_proof_must_hold_in_every_part() {
    let lab = Lab::start().await;
    let key = Key::new("client");
    let token = bound_token(&lab, &key);
    let good = || key.proof("GET", URI, &token, |_, _| {});
    lab.expect([
        passes("a good proof", dpop("/dpop/7", &token, &good())),
        passes("the query is no part of htu", dpop("/dpop/7?x=1", &token, &good())),
        passes(
            "htu with a query",
            dpop(
                "/dpop/7",
                &token,
                &key.proof("GET", &format!("{URI}?a=b#c"), &token, |_, _| {}),
            ),
        ),
        passes(
            "htu with the default port and upper case",
            dpop(
                "/dpop/7",
                &token,
                &key.proof("GET", "HTTPS://Bound.Example:443/dpop/7", &token, |_, _| {}),
            ),
        ),
        passes(
            "htu with an encoded unreserved letter",
            dpop("/dpop/%37", &token, &good()),
        ),
    ])
    .await;
    let broken: [(&str, Change); 13] = [
        ("htm in lower case", |_, claims| claims["htm"] = json!("get")),
        ("another verb", |_, claims| claims["htm"] = json!("POST")),
        ("another path", |_, claims| {
            claims["htu"] = json!("https://bound.example/dpop/8");
        }),
        ("another host", |_, claims| {
            claims["htu"] = json!("https://evil.example/dpop/7");
        }),
        ("plain http", |_, claims| {
            claims["htu"] = json!("http://bound.example/dpop/7");
        }),
        ("another token's ath", |_, claims| {
            claims["ath"] = json!(sha256("other"));
        }),
        ("no ath", |_, claims| claims["ath"] = Value::Null),
        ("no jti", |_, claims| claims["jti"] = Value::Null),
        ("an hour old", |_, claims| claims["iat"] = json!(now() - 3600)),
        ("an hour ahead", |_, claims| claims["iat"] = json!(now() + 3600)),
        ("another typ", |header, _| header["typ"] = json!("JWT")),
        ("a private member", |header, _| {
            header["jwk"]["d"] = json!(base64url([1; 32]));
        }),
        ("alg none", |header, _| header["alg"] = json!("none")),
    ];
    for (name, change) in broken {
        let proof = key.proof("GET", URI, &token, change);
        let reply = lab.ask(&dpop("/dpop/7", &token, &proof)).await;
        assert_eq!(reply.status, 401, "{name}");
        let challenge = reply.headers("www-authenticate").join(", ");
        assert!(
            challenge.contains("DPoP")
                && challenge.contains("error=\"invalid_dpop_proof\"")
                && challenge.contains("algs="),
            "{name}: {challenge}"
        );
    }
    let (one, two) = (good(), good());
    lab.expect([
        denied(
            "two proofs",
            dpop("/dpop/7", &token, &one).header("DPoP", two),
            401,
            "invalid_dpop_proof",
        ),
        denied(
            "no proof",
            Request::get("/dpop/7")
                .host("bound.example")
                .header("Authorization", format!("DPoP {token}")),
            401,
            "invalid_dpop_proof",
        ),
        denied(
            "another key's proof",
            dpop(
                "/dpop/7",
                &token,
                &Key::new("thief").proof("GET", URI, &token, |_, _| {}),
            ),
            401,
            "invalid_dpop_proof",
        ),
    ])
    .await;
}

#[tokio::test]
async fn edge_x05_edge_x11_attack_f30_a_proof_is_used_once_though_the_token_is_cached() {
    let lab = Lab::start().await;
    let (key, other) = (Key::new("client"), Key::new("other"));
    let (token, others_token) = (bound_token(&lab, &key), bound_token(&lab, &other));
    let same_jti = |_: &mut Value, claims: &mut Value| claims["jti"] = json!("the same");
    let proof = key.proof("GET", URI, &token, same_jti);
    lab.expect([
        passes("first use", dpop("/dpop/7", &token, &proof)),
        denied("second use", dpop("/dpop/7", &token, &proof), 401, "invalid_dpop_proof"),
        passes(
            "another key's equal jti",
            dpop(
                "/dpop/7",
                &others_token,
                &other.proof("GET", URI, &others_token, same_jti),
            ),
        ),
        passes(
            "a new proof",
            dpop("/dpop/7", &token, &key.proof("GET", URI, &token, |_, _| {})),
        ),
    ])
    .await;
}

#[tokio::test]
async fn edge_x06_envoys_own_second_ask_is_no_replay() {
    // Envoy asks again after a broken connection, with the same stream id; here the gate is asked directly, so that the
    // second ask comes for certain.
    let lab = Lab::start().await;
    let key = Key::new("client");
    let token = bound_token(&lab, &key);
    let proof = key.proof("GET", URI, &token, |_, _| {});
    let check = |id: &str| {
        crate::support::checks::check(
            "GET",
            "bound.example",
            "/dpop/7",
            id,
            &[("authorization", &format!("DPoP {token}")), ("dpop", &proof)],
        )
    };
    let client = crate::support::h2_client::Client::open(lab.gate.ports.ext_authz).await;
    let ask = async |id: &str| crate::support::checks::status(&client, &check(id)).await;
    assert_eq!(ask("stream-1").await, 0);
    assert_eq!(ask("stream-1").await, 0, "the same request, asked again by Envoy");
    assert_ne!(ask("stream-2").await, 0, "another request with the same proof");
}

#[tokio::test]
async fn edge_c13_a_bound_token_is_no_bearer_token_and_the_other_way_round() {
    let lab = Lab::start().await;
    let key = Key::new("client");
    let bound = bound_token(&lab, &key);
    let plain = lab.reader();
    let certified = lab
        .server
        .token(&json!({ "scope": "lab:read", "cnf": { "x5t#S256": sha256("certificate") } }));
    let unknown = lab.server.token(&json!({ "scope": "lab:read", "cnf": { "new": "x" } }));
    let either = |token: &str| Request::get("/either").host("bound.example").bearer(token);
    lab.expect([
        denied("edge_c13 a DPoP token as Bearer", either(&bound), 401, "invalid_token"),
        denied(
            "edge_c13 a certificate's token without it",
            either(&certified),
            401,
            "invalid_token",
        ),
        denied(
            "edge_x15 an unknown confirmation",
            either(&unknown),
            401,
            "invalid_token",
        ),
        passes("a plain token where either will do", either(&plain)),
    ])
    .await;
    let reply = lab
        .ask(&dpop("/dpop/7", &plain, &key.proof("GET", URI, &plain, |_, _| {})))
        .await;
    assert_eq!(reply.status, 401, "a plain token with a proof");
    let reply = lab
        .ask(&Request::get("/dpop/7").host("bound.example").bearer(&plain))
        .await;
    assert_eq!(reply.status, 401, "a plain token where a bound one is asked for");
    let challenges = reply.headers("www-authenticate");
    assert!(
        challenges.iter().any(|challenge| challenge.starts_with("DPoP ")),
        "edge_d03: {challenges:?}"
    );
}

/// Sends `GET /mtls` over TLS, showing this certificate.
async fn over_tls(lab: &Lab, ca: &Ca, show: Option<&Pair>, token: &str, more: &[(&str, &str)]) -> Reply {
    let mut request = Request::get("/mtls").host("bound.example").bearer(token);
    for (name, value) in more {
        request = request.header(name, value);
    }
    let mut connection = tls::connect(lab.envoy.address, "localhost", &ca.certificate, show).await;
    connection.exchange(&request.bytes()).await.expect("Envoy answers")
}

#[tokio::test]
async fn edge_e17_edge_x12_edge_x14_attack_d23_attack_f31_a_token_bound_to_a_certificate_needs_that_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path());
    let (edge, client, other) = (ca.issue("edge"), ca.issue("client"), ca.issue("other"));
    let lab = Lab::with(|envoy: EnvoyBuilder| envoy.tls(&edge.certificate, &edge.key, &ca.certificate)).await;
    let thumbprint = sha256(client.der());
    let token = lab
        .server
        .token(&json!({ "scope": "lab:read", "cnf": { "x5t#S256": thumbprint } }));

    assert_eq!(over_tls(&lab, &ca, Some(&client), &token, &[]).await.status, 200);
    assert_eq!(lab.upstream.take_one().header("x-auth-subject"), Some("ada"));
    let pem = std::fs::read_to_string(&client.certificate).unwrap();
    let forged = format!(
        "Hash={};Cert=\"{}\"",
        "0".repeat(64),
        pem.replace('\n', "%0A").replace(' ', "%20")
    );
    for (name, show, more) in [
        ("another certificate", Some(&other), Vec::new()),
        ("none", None, Vec::new()),
        (
            "none, and one in a header of the client's",
            None,
            vec![("X-Forwarded-Client-Cert", forged.as_str())],
        ),
    ] {
        let reply = over_tls(&lab, &ca, show, &token, &more).await;
        assert_eq!(
            (reply.status, &reply.json()["reason"]),
            (401, &json!("invalid_token")),
            "{name}"
        );
    }
    let plain = over_tls(&lab, &ca, Some(&client), &lab.reader(), &[]).await;
    assert_eq!(plain.status, 401, "a token that is bound to nothing");
    assert_eq!(lab.upstream.count(), 0);
}
