//! Tokens of our own issuer that are bound to a key: from the proof at the token endpoint to the proof at Envoy; and
//! clients that prove themselves by the certificate of their TLS connection.

use serde_json::{Value, json};

use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::{Reply, Request};
use crate::support::scopegate::{Scopegate, ScopegateBuilder, bank};
use crate::support::tls::{Ca, Pair, connect};
use crate::support::tokens::Key;
use crate::support::upstream::Upstream;

const FORM: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "transfers:read")];

/// The bank, whose API has proofs made for the host that clients see.
fn bank_with_dpop() -> String {
    let api = "authorization_server: transfers         # and with it the audience";
    let with = "authorization_server: transfers\n    dpop: { origin: \"https://api.bank.example\" }";
    let bank = bank();
    assert!(bank.contains(api));
    bank.replace(api, with)
}

async fn mint(gate: &Scopegate, proof: Option<&str>) -> (u16, Value) {
    let mut request = gate.https().post(gate.issuer_url("transfers", "v1/token"));
    if let Some(proof) = proof {
        request = request.header("DPoP", proof);
    }
    let response = request
        .basic_auth("nightly-batch", Some("secret"))
        .form(&FORM)
        .send()
        .await;
    let response = response.expect("the token endpoint answers");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

#[tokio::test]
async fn case_128_case_126_attack_f30_a_token_of_ours_that_is_bound_passes_envoy_with_its_key_alone() {
    let gate = ScopegateBuilder::new(&bank_with_dpop()).start().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let (key, other) = (Key::new("holder"), Key::new("other"));
    let url = gate.issuer_url("transfers", "v1/token");
    let at_issuer = key.proof("POST", &url, "", |_, claims| {
        claims.as_object_mut().expect("claims").remove("ath");
    });
    let (status, answer) = mint(&gate, Some(&at_issuer)).await;
    assert_eq!((status, &answer["token_type"]), (200, &json!("DPoP")), "{answer}");
    let (status, refused) = mint(&gate, Some(&at_issuer)).await;
    assert_eq!(
        (status, &refused["error"]),
        (400, &json!("invalid_dpop_proof")),
        "{refused}"
    );
    let token = answer["access_token"].as_str().expect("a token");

    let uri = "https://api.bank.example/transfers";
    let ask = async |scheme: &str, proofs: &[&str]| {
        let mut request = Request::get("/transfers").header("Authorization", format!("{scheme} {token}"));
        for proof in proofs {
            request = request.header("DPoP", proof);
        }
        request.send(envoy.address).await
    };
    let good = key.proof("GET", uri, token, |_, _| {});
    assert_eq!(ask("DPoP", &[&good]).await.status, 200);
    assert_eq!(upstream.count(), 1);
    let rows: [(&str, Reply); 6] = [
        ("the proof again", ask("DPoP", &[&good]).await),
        ("no proof", ask("DPoP", &[]).await),
        ("as Bearer", ask("Bearer", &[]).await),
        (
            "as Bearer with a proof",
            ask("Bearer", &[&key.proof("GET", uri, token, |_, _| {})]).await,
        ),
        (
            "another key",
            ask("DPoP", &[&other.proof("GET", uri, token, |_, _| {})]).await,
        ),
        ("the proof of the token endpoint", ask("DPoP", &[&at_issuer]).await),
    ];
    for (what, reply) in rows {
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
    }
    assert_eq!(upstream.count(), 1, "none of them came through");
    assert_eq!(
        ask("dpop", &[&key.proof("GET", uri, token, |_, _| {})]).await.status,
        200
    );
}

/// The bank's batch with another way to prove itself, behind a listener with these certificates.
fn bank_with_certificates(server: &Pair, ca: Option<&Ca>, batch: &str) -> String {
    let secret = "secrets: [{ sha256: \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\" }]\n\nauthorization_servers";
    let issuer = "issuer: { address: \"127.0.0.1:8443\" }";
    let bank = bank();
    assert!(
        bank.contains(secret) && bank.contains(issuer),
        "the example has changed"
    );
    let client = ca.map_or_else(String::new, |ca| {
        format!(
            ", client_ca_file: {}, client_certificate: optional",
            ca.certificate.display()
        )
    });
    let tls = format!(
        "issuer: {{ address: \"127.0.0.1:8443\", tls: {{ certificate_file: {}, key_file: {}{client} }} }}",
        server.certificate.display(),
        server.key.display()
    );
    let bank = bank.replace(issuer, &tls);
    bank.replace(secret, &format!("{batch}\n\nauthorization_servers"))
}

/// Asks for a token as the batch, over a connection that shows this certificate.
async fn ask_with(gate: &Scopegate, ca: &Ca, show: Option<&Pair>) -> Reply {
    let mut connection = connect(gate.ports.issuer, "localhost", &ca.certificate, show).await;
    let request = Request::post("/oauth2/transfers/v1/token")
        .host("localhost")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=transfers:read&client_id=nightly-batch");
    connection.exchange(&request.bytes()).await.expect("the issuer answers")
}

#[tokio::test]
async fn case_076_attack_f31_a_client_is_known_by_the_certificate_of_an_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, strangers) = (folder.path().join("ours"), folder.path().join("strangers"));
    for folder in [&ours, &strangers] {
        std::fs::create_dir(folder).expect("a folder can be made");
    }
    let (ca, stranger) = (Ca::new(&ours), Ca::new(&strangers));
    let server = ca.issue("issuer");
    let batch = ca.issue("batch");
    let dn = subject(&batch);
    let config = bank_with_certificates(
        &server,
        Some(&ca),
        &format!(
            "authentication: tls_client_auth\n    tls_client_auth_subject_dn: \"{dn}\"\n    tls_client_certificate_bound_access_tokens: true"
        ),
    );
    let gate = ScopegateBuilder::new(&config).start().await;
    let granted = ask_with(&gate, &ca, Some(&batch)).await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    let token = granted.json()["access_token"].as_str().expect("a token").to_owned();
    let rows = [
        ("another subject of the authority", Some(ca.issue("other"))),
        ("the same subject of another authority", Some(stranger.issue("batch"))),
        ("no certificate", None),
    ];
    for (what, show) in rows {
        let reply = ask_with(&gate, &ca, show.as_ref()).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (401, &json!("invalid_client")),
            "{what}"
        );
    }
    // The token is bound: the gate wants to see the certificate, and Envoy shows none.
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let reply = Request::get("/transfers").bearer(&token).send(envoy.address).await;
    assert_eq!((reply.status, upstream.count()), (401, 0), "{}", reply.text());
}

#[tokio::test]
async fn case_076_a_self_signed_certificate_is_asked_for_while_a_client_needs_it() {
    use base64::Engine as _;
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Ca::new(folder.path());
    let (server, own, other) = (ca.issue("issuer"), ca.issue("own"), ca.issue("other"));
    let x5c = base64::engine::general_purpose::STANDARD.encode(own.der());
    let mut jwk = Key::new("registered").jwk();
    jwk["x5c"] = json!([x5c]);
    let jwks = json!({ "keys": [jwk] });
    let config = bank_with_certificates(
        &server,
        None,
        &format!("authentication: self_signed_tls_client_auth\n    jwks: {jwks}"),
    );
    let gate = ScopegateBuilder::new(&config).start().await;
    let granted = ask_with(&gate, &ca, Some(&own)).await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    for (what, show) in [("another", Some(&other)), ("none", None)] {
        assert_eq!(ask_with(&gate, &ca, show).await.status, 401, "{what}");
    }
}

/// The subject of a certificate as RFC 4514 writes it.
fn subject(pair: &Pair) -> String {
    let der = pair.der();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let mut parts: Vec<String> = certificate
        .subject()
        .iter_common_name()
        .map(|name| format!("CN={}", name.as_str().expect("text")))
        .collect();
    parts.reverse();
    parts.join(",")
}
