//! Bound tokens: proofs, nonces, replays, certificates.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::fixture::{Seen, World, request, server};
use crate::clock::Clock as _;
use crate::jose::jwk;
use crate::model::digest::Digest;
use crate::model::reason::Reason;
use crate::policy::declared::DpopOptions;

/// A client's key.
struct Holder {
    pair: EcdsaKeyPair,
    jwk: Value,
}

impl Holder {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let part = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": part(1..33), "y": part(33..65)});
        Self { pair, jwk }
    }

    fn thumbprint(&self) -> String {
        jwk::thumbprint(self.jwk.as_object().unwrap()).unwrap().to_base64url()
    }

    /// A proof for `GET https://bank.api.example/items`, with these claims over the usual ones.
    #[expect(clippy::needless_pass_by_value, reason = "claims are written at each call")]
    fn proof(&self, world: &World, token: &str, claims: Value) -> String {
        let mut all = json!({
            "htm": "GET", "htu": "https://bank.api.example/items", "jti": "p1",
            "iat": world.clock.now().unix_seconds(),
            "ath": Digest::of(token.as_bytes()).to_base64url(),
        });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(&header), encode(&all));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn world(options: &DpopOptions) -> World {
    World::new(vec![server("bank")], &[("bank", &["bank"])], options)
}

async fn send(world: &World, scheme: &str, token: &str, proofs: &[&str], request_id: &str) -> Seen {
    let value = format!("{scheme} {token}");
    let mut headers = vec![("authorization", value.as_str())];
    headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
    let mut facts = request("bank", "GET", "/items", &headers);
    facts.request_id = request_id;
    world.decide(&facts).await
}

fn bound(world: &World, holder: &Holder) -> String {
    world.token(json!({"cnf": {"jkt": holder.thumbprint()}}))
}

#[tokio::test]
async fn edge_e16_edge_x05_edge_x11_a_proof_passes_once_and_is_asked_for_each_time() {
    let world = world(&DpopOptions::default());
    let holder = Holder::new();
    let token = bound(&world, &holder);
    let proof = holder.proof(&world, &token, json!({}));
    assert!(send(&world, "DPoP", &token, &[&proof], "1").await.allowed());
    let replayed = send(&world, "DPoP", &token, &[&proof], "2").await;
    assert_eq!(replayed.reason(), Some(Reason::InvalidDpopProof));
    let without = send(&world, "DPoP", &token, &[], "3").await;
    assert_eq!(
        without.reason(),
        Some(Reason::InvalidDpopProof),
        "the verdict is cached, the proof is not"
    );
    let next = holder.proof(&world, &token, json!({"jti": "p2"}));
    assert!(send(&world, "DPoP", &token, &[&next], "4").await.allowed());
    assert_eq!(world.gate.stats().verifications, 1);
    world.clock.advance(Duration::from_secs(400));
    world.gate.tidy();
    assert_eq!(world.gate.stats().replays.entries, 0);
}

#[tokio::test]
async fn edge_e16_edge_x04_edge_x08_broken_proofs_are_refused() {
    let world = world(&DpopOptions::default());
    let (holder, other) = (Holder::new(), Holder::new());
    let token = bound(&world, &holder);
    let now = world.clock.now().unix_seconds();
    let proof = |claims| holder.proof(&world, &token, claims);
    let good = proof(json!({}));
    let joined = format!("{good},{good}");
    let cases = [
        ("htm", vec![proof(json!({"htm": "POST"}))]),
        ("htm case", vec![proof(json!({"htm": "get"}))]),
        (
            "htu path",
            vec![proof(json!({"htu": "https://bank.api.example/other"}))],
        ),
        ("htu host", vec![proof(json!({"htu": "https://evil.example/items"}))]),
        (
            "htu scheme",
            vec![proof(json!({"htu": "http://bank.api.example/items"}))],
        ),
        ("ath", vec![proof(json!({"ath": Digest::of(b"other").to_base64url()}))]),
        ("ath absent", vec![proof(json!({"ath": null}))]),
        ("old", vec![proof(json!({"iat": now - 331}))]),
        ("future", vec![proof(json!({"iat": now + 31}))]),
        ("jti absent", vec![proof(json!({"jti": null}))]),
        ("another key", vec![other.proof(&world, &token, json!({}))]),
        ("two", vec![good.clone(), good.clone()]),
        ("joined", vec![joined]),
        ("garbage", vec!["x".to_owned()]),
    ];
    for (what, proofs) in cases {
        let proofs: Vec<&str> = proofs.iter().map(String::as_str).collect();
        let seen = send(&world, "DPoP", &token, &proofs, "").await;
        assert_eq!(
            seen.reason(),
            Some(Reason::InvalidDpopProof),
            "{what}: {}",
            seen.detail()
        );
        let challenge = &seen.denial.unwrap().challenges[0];
        assert!(
            challenge.starts_with("DPoP ") && challenge.contains("algs="),
            "{what}: {challenge}"
        );
    }
    assert_eq!(
        world.gate.stats().replays.entries,
        0,
        "strangers and broken proofs are not remembered"
    );
    assert!(send(&world, "DPoP", &token, &[&good], "").await.allowed());
}

#[tokio::test]
async fn edge_c13_a_scheme_that_does_not_go_with_the_token_is_refused() {
    let world = world(&DpopOptions::default());
    let holder = Holder::new();
    let token = bound(&world, &holder);
    let proof = holder.proof(&world, &token, json!({}));
    let downgraded = send(&world, "Bearer", &token, &[&proof], "").await;
    assert_eq!(downgraded.reason(), Some(Reason::InvalidToken));
    let unbound = world.token(json!({"jti": "t2"}));
    let proof = holder.proof(&world, &unbound, json!({}));
    assert_eq!(
        send(&world, "DPoP", &unbound, &[&proof], "").await.reason(),
        Some(Reason::InvalidToken)
    );
    let by_certificate = world.token(json!({"jti": "t3", "cnf": {"x5t#S256": holder.thumbprint()}}));
    assert_eq!(
        send(&world, "Bearer", &by_certificate, &[], "").await.reason(),
        Some(Reason::InvalidToken)
    );
}

#[tokio::test]
async fn edge_x06_a_check_that_envoy_makes_again_gets_the_same_answer() {
    let world = world(&DpopOptions::default());
    let holder = Holder::new();
    let token = bound(&world, &holder);
    let proof = holder.proof(&world, &token, json!({}));
    for _ in 0..3 {
        assert!(send(&world, "DPoP", &token, &[&proof], "1234567890").await.allowed());
    }
    assert!(!send(&world, "DPoP", &token, &[&proof], "1234567891").await.allowed());
}

#[tokio::test]
async fn edge_x07_a_second_gate_that_does_not_consume_lets_a_used_proof_pass() {
    let world = world(&DpopOptions {
        consume: false,
        ..DpopOptions::default()
    });
    let holder = Holder::new();
    let token = bound(&world, &holder);
    let proof = holder.proof(&world, &token, json!({}));
    for request_id in ["1", "2"] {
        assert!(send(&world, "DPoP", &token, &[&proof], request_id).await.allowed());
    }
}

#[tokio::test]
async fn edge_x10_a_nonce_is_handed_out_asked_for_and_renewed() {
    let world = world(&DpopOptions {
        require_nonce: true,
        ..DpopOptions::default()
    });
    let holder = Holder::new();
    let token = bound(&world, &holder);
    let bare = holder.proof(&world, &token, json!({}));
    let seen = send(&world, "DPoP", &token, &[&bare], "").await;
    assert_eq!(seen.reason(), Some(Reason::UseDpopNonce));
    let nonce = seen.header("DPoP-Nonce").expect("a nonce").to_owned();
    let with = |jti: &str, nonce: &str| holder.proof(&world, &token, json!({"jti": jti, "nonce": nonce}));
    let seen = send(&world, "DPoP", &token, &[&with("a", &nonce)], "").await;
    assert!(seen.allowed() && seen.header("DPoP-Nonce").is_none());
    let seen = send(&world, "DPoP", &token, &[&with("b", "AAAA")], "").await;
    assert_eq!(seen.reason(), Some(Reason::UseDpopNonce));
    world.clock.advance(Duration::from_secs(120));
    let seen = send(&world, "DPoP", &token, &[&with("c", &nonce)], "").await;
    assert!(seen.allowed());
    let renewed = seen.header("DPoP-Nonce").expect("a newer one").to_owned();
    assert_ne!(renewed, nonce);
    assert!(
        send(&world, "DPoP", &token, &[&with("d", &renewed)], "")
            .await
            .allowed()
    );
}

#[tokio::test]
async fn edge_x02_edge_x03_the_origin_that_clients_see_is_configured() {
    let world = world(&DpopOptions {
        origin: Some("https://public.example".to_owned()),
        ..DpopOptions::default()
    });
    let holder = Holder::new();
    let token = bound(&world, &holder);
    let ours = holder.proof(&world, &token, json!({"htu": "https://public.example/items?x=1"}));
    assert!(send(&world, "DPoP", &token, &[&ours], "").await.allowed());
    let envoys = holder.proof(&world, &token, json!({"jti": "p2"}));
    assert!(!send(&world, "DPoP", &token, &[&envoys], "").await.allowed());
}

/// A client certificate as Envoy sends it, and its thumbprint.
fn certificate() -> (String, Digest) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
    let pem = certificate.pem();
    let encoded = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC);
    (encoded.to_string(), Digest::of(certificate.der()))
}

#[tokio::test]
async fn edge_e17_edge_x12_a_token_bound_to_a_certificate_needs_that_certificate_of_the_connection() {
    let world = world(&DpopOptions::default());
    let ((ours, thumbprint), (other, _)) = (certificate(), certificate());
    let token = world.token(json!({"cnf": {"x5t#S256": thumbprint.to_base64url()}}));
    let value = format!("Bearer {token}");
    let header = format!("Cert=\"{ours}\"");
    let headers = [
        ("authorization", value.as_str()),
        ("x-forwarded-client-cert", header.as_str()),
    ];
    for (what, pem, allowed) in [
        ("ours", Some(ours.as_str()), true),
        ("another", Some(other.as_str()), false),
        ("garbage", Some("garbage"), false),
        ("none but a header that the client sent", None, false),
    ] {
        let mut facts = request("bank", "GET", "/items", &headers);
        facts.peer_certificate = pem;
        let seen = world.decide(&facts).await;
        assert_eq!(seen.allowed(), allowed, "{what}: {}", seen.detail());
        if !allowed {
            assert_eq!(seen.reason(), Some(Reason::InvalidToken), "{what}");
        }
    }
}

#[test]
fn edge_x14_the_forwarded_certificate_is_read_only_where_it_is_sanitised_and_single() {
    let ((ours, thumbprint), (other, _)) = (certificate(), certificate());
    let one = format!("Cert=\"{ours}\"");
    let several = format!("Cert=\"{ours}\",Cert=\"{other}\"");
    let read = |values: &[&str], trust_xfcc| {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-client-cert", *value)).collect();
        crate::authz::binding::certificate(&request("bank", "GET", "/items", &headers), trust_xfcc)
    };
    assert_eq!(read(&[&one], true), Some(thumbprint));
    assert_eq!(read(&[&one], false), None);
    assert_eq!(read(&[&several], true), None);
    assert_eq!(read(&[&one, &one], true), None);
    assert_eq!(read(&[], true), None);
}
