//! The bank's own cases, every one, through real Envoy, on its own file and with tokens of its own keys.
//!
//! The tokens of the cases are people's too, whom the issuer cannot serve before there are pages to sign in with. They are
//! minted here as it will mint them: its claim set, its signer, and its active keys, taken from its store.

use std::time::Duration;

use scopegate::jose::sign::SigningKey;
use scopegate::model::id::{AuthorizationServerId, ClientId, Issuer, Subject};
use scopegate::model::scope::ScopeSet;
use scopegate::model::time::Timestamp;
use scopegate::oauth::declared::TokenProfile;
use scopegate::oauth::keyring::KeyState;
use scopegate::oauth::token::{ACCESS_TOKEN_TYPE, AccessToken, access_token_id};
use scopegate::store::open::{OpenStore, open};
use scopegate::store::settings::StoreSettings;
use serde_json::{Value, json};

use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::Request;
use crate::support::peers::repository;
use crate::support::scopegate::{Scopegate, ScopegateBuilder, bank};
use crate::support::tokens::now;
use crate::support::upstream::Upstream;
use crate::support::yaml;

/// One of the bank's authorization servers, with the key that it signs with.
struct Mint {
    issuer: Issuer,
    audience: String,
    profile: TokenProfile,
    key: SigningKey,
}

impl Mint {
    async fn of(store: &OpenStore, gate: &Scopegate, name: &str, profile: TokenProfile) -> Self {
        let server = AuthorizationServerId::parse(name).unwrap();
        let keys = store.store.keys(&server).await.unwrap();
        let active = keys.iter().find(|key| key.record.state == KeyState::Active).unwrap();
        let place = format!("signing_key/{name}/{}", active.record.kid);
        let secret = store.sealing.open(&place, &active.sealed).unwrap();
        Self {
            issuer: Issuer::parse(gate.issuer_url(name, "").trim_end_matches('/')).unwrap(),
            audience: format!("https://api.bank.example/{name}"),
            profile,
            key: SigningKey::from_pkcs8(active.record.algorithm, &secret).unwrap(),
        }
    }

    /// A token that says what the case says.
    fn token(&self, case: &Value, number: usize) -> String {
        let text = |name: &str| case[name].as_str().unwrap();
        let scopes = ScopeSet::parse(text("scope")).unwrap();
        let mut claims = AccessToken {
            profile: self.profile,
            issuer: &self.issuer,
            audiences: std::slice::from_ref(&self.audience),
            subject: &Subject::parse(text("sub")).unwrap(),
            user: Some(text("sub")),
            client: &ClientId::parse(text("client")).unwrap(),
            scopes: &scopes,
            session: None,
            issued_at: Timestamp::from_unix_seconds(now()),
            lifetime: Duration::from_secs(300),
            id: &access_token_id(&number.to_string()),
            binding: None,
            actor: None,
            custom: serde_json::Map::new(),
        }
        .claims();
        let ago = case["auth_time"].as_str().map_or(0, |ago| {
            let minutes: i64 = ago
                .trim_start_matches('-')
                .trim_end_matches('m')
                .parse()
                .expect("minutes ago");
            minutes * 60
        });
        claims.insert("auth_time".to_owned(), json!(now() - ago));
        self.key
            .sign(ACCESS_TOKEN_TYPE, &claims)
            .unwrap()
            .expose_secret()
            .clone()
    }
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

#[tokio::test]
async fn every_case_of_the_bank_holds_through_envoy() {
    let text = std::fs::read_to_string(repository("tests/examples/bank/cases.yaml")).unwrap();
    let cases = yaml::parse(&text);
    let gate = Scopegate::bank().await;
    let database = StoreSettings::Sqlite(gate.folder().join("data/scopegate.db"));
    let store = open(&database, None, false).await.unwrap();
    let transfers = Mint::of(&store, &gate, "transfers", TokenProfile::Rfc9068).await;
    let transactions = Mint::of(&store, &gate, "transactions", TokenProfile::Okta).await;
    let upstream = Upstream::start().await;
    // What the cases say of odd paths is said of the gate: Envoy must not answer in its place.
    let as_sent = json!({ "normalize_path": false, "path_with_escaped_slashes_action": "KEEP_UNCHANGED" });
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .manager(&as_sent)
        .start()
        .await;

    let cases = cases.as_array().expect("a list of cases");
    assert_eq!(cases.len(), 15, "the bank's cases");
    for (number, case) in cases.iter().enumerate() {
        let name = case["name"].as_str().unwrap();
        let token = case.get("token").map(|token| {
            let server = if token["server"] == "transfers" {
                &transfers
            } else {
                &transactions
            };
            server.token(token, number)
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

#[tokio::test]
async fn a_gate_and_an_issuer_apart_are_a_bank_too() {
    let issuer = ScopegateBuilder::new(&bank()).only("issuer").start().await;
    let ca = std::fs::read(issuer.ca()).unwrap();
    let where_it_is = bank().replace("127.0.0.1:8443", &issuer.ports.issuer.to_string());
    let gate = ScopegateBuilder::new(&where_it_is)
        .file("data/dev-ca/ca.pem", ca)
        .only("gate")
        .start()
        .await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let token = issuer.mint().await;
    let reply = Request::get("/transfers").bearer(&token).send(envoy.address).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        gate.output().contains("this gate does not hear of revocations"),
        "it says what it cannot do"
    );
    let closed = std::net::TcpStream::connect(issuer.ports.ext_authz);
    assert!(closed.is_err(), "an issuer alone answers no checks");
}
