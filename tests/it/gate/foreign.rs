//! Tokens of a foreign provider: the certified `oidc-provider` behind discovery, with its key rotation while traffic
//! runs, its outage, and a flood of unknown key ids.

use std::collections::BTreeMap;

use serde_json::json;

use super::drain::Load;
use crate::support::envoy::{Envoy, EnvoyBuilder};
use crate::support::http1::Request;
use crate::support::provider::{OidcProvider, Provider, Script, active};
use crate::support::scopegate::{Scopegate, ScopegateBuilder};
use crate::support::tokens::{Key, now};
use crate::support::upstream::Upstream;
use crate::support::wait;

fn config(issuer: &str, more: &str) -> String {
    format!(
        r#"
dev: true
listeners:
  ext_authz: {{ address: "127.0.0.1:9191" }}
  telemetry: {{ address: "127.0.0.1:9464" }}
gate: {{ timeout: 2s }}
authorization_servers:
  - id: shop
    issuer: {issuer}
    audience: shop
    allow_private_addresses: true
    keys_cooldown: 1s
    scopes: ["shop:read", "shop:write"]
{more}
apis:
  - name: shop
    hosts: [shop.example]
    authorization_server: shop
    clients: [till]
    routes:
      - {{ path: /items, GET: "shop:read", POST: "shop:write" }}
    forward: {{ headers: {{ x-auth-client: token.client_id }} }}
"#
    )
}

fn items(token: &str) -> Request {
    Request::get("/items").host("shop.example").bearer(token)
}

struct Shop {
    provider: OidcProvider,
    _gate: Scopegate,
    envoy: Envoy,
    upstream: Upstream,
}

impl Shop {
    async fn open() -> Self {
        let provider = OidcProvider::start().await;
        let gate = ScopegateBuilder::new(&config(&provider.issuer, "")).start().await;
        let upstream = Upstream::start().await;
        let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
            .check_timeout("5s")
            .start()
            .await;
        Self {
            provider,
            _gate: gate,
            envoy,
            upstream,
        }
    }

    async fn status(&self, token: &str) -> u16 {
        items(token).send(self.envoy.address).await.status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_j06_attack_b10_case_148_keys_rotate_while_traffic_runs() {
    let shop = Shop::open().await;
    let old = shop.provider.mint().await;
    assert_eq!(shop.status(&old).await, 200);
    assert_eq!(shop.upstream.take_one().header("x-auth-client"), Some("till"));
    let short = Request::post("/items")
        .host("shop.example")
        .bearer(&old)
        .send(shop.envoy.address)
        .await;
    assert_eq!(
        (short.status, &short.json()["reason"]),
        (403, &json!("insufficient_scope"))
    );

    let load = Load::start(shop.envoy.address, &items(&old).bytes(), 2);
    load.more(50).await;
    for _ in 0..3 {
        shop.provider.control("rotate").await;
        let new = shop.provider.mint().await;
        // At the first use, but for the cooldown since the last fetch.
        wait::until("a token by the new key passes", || async {
            (shop.status(&new).await == 200).then_some(())
        })
        .await;
    }
    load.more(50).await;
    assert_eq!(
        load.end().await,
        BTreeMap::new(),
        "traffic with the old key noticed nothing"
    );
}

#[tokio::test]
async fn edge_j07_attack_b04_an_outage_keeps_the_good_keys() {
    let shop = Shop::open().await;
    let (before, fresh) = (shop.provider.mint().await, shop.provider.mint().await);
    assert_eq!(shop.status(&before).await, 200);
    shop.provider.control("down").await;
    let flood = Key::new("nobody").sign(
        &json!({ "alg": "ES256", "kid": "nobody", "typ": "at+jwt" }),
        &json!({ "iss": shop.provider.issuer }),
    );
    for _ in 0..5 {
        assert!(matches!(shop.status(&flood).await, 401 | 503));
        assert_eq!(shop.status(&before).await, 200, "cached");
    }
    assert_eq!(shop.status(&fresh).await, 200, "verified with the keys that are there");
    shop.provider.control("up").await;
    shop.provider.control("rotate").await;
    let after = shop.provider.mint().await;
    wait::until("the provider is believed again", || async {
        (shop.status(&after).await == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_j05_attack_b01_attack_b02_attack_b03_case_149_a_flood_of_unknown_kids_costs_a_fetch_a_second() {
    let shop = Shop::open().await;
    let good = shop.provider.mint().await;
    assert_eq!(shop.status(&good).await, 200);
    let load = Load::start(shop.envoy.address, &items(&good).bytes(), 1);
    let began = now();
    let before = shop.provider.control("fetches").await;
    let key = Key::new("nobody");
    for number in 0..500 {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": format!("nobody-{number}") });
        let claims = json!({ "iss": shop.provider.issuer, "aud": "shop", "exp": now() + 60, "client_id": "till" });
        assert!(
            matches!(shop.status(&key.sign(&header, &claims)).await, 401 | 503),
            "{number}"
        );
    }
    let fetched = shop.provider.control("fetches").await - before;
    // The cooldown of this test is a second; both ends of the count may be cut seconds.
    let seconds = u64::try_from(now() - began).unwrap() + 2;
    assert!(fetched <= seconds, "{fetched} fetches in {seconds} s");
    assert_eq!(load.end().await, BTreeMap::new(), "good traffic noticed nothing");
}

#[tokio::test]
async fn attack_b13_discovery_that_names_another_issuer_is_refused() {
    let provider = Provider::start().await;
    provider.script(
        "/.well-known/openid-configuration",
        Script::Json(json!({ "issuer": "https://evil.test", "jwks_uri": provider.url("/jwks") })),
    );
    let gate = ScopegateBuilder::new(&config(&provider.url(""), "")).start_without_waiting();
    wait::until("the gate asks for the document", || async {
        (provider.requests("/.well-known/openid-configuration") > 0).then_some(())
    })
    .await;
    gate.telemetry_until("/readyz", |reply| (reply.status == 503).then_some(()))
        .await;
    assert_eq!(
        provider.requests("/jwks"),
        0,
        "keys of a document that lies about its issuer are not fetched"
    );
}

#[tokio::test]
async fn edge_j27_attack_c09_an_opaque_token_is_looked_up_once_and_dies_with_its_answer() {
    let provider = Provider::start().await;
    provider.script("/introspect", Script::Json(active(&json!({}))));
    let introspection = format!(
        "    introspection: {{ url: \"{}\", client_id: gate, client_secret_file: secret, cache: 60s }}",
        provider.url("/introspect")
    );
    let gate = ScopegateBuilder::new(&config(&provider.url(""), &introspection))
        .file("secret", "s3cret")
        .start_without_waiting();
    gate.telemetry_until("/livez", |reply| (reply.status == 200).then_some(()))
        .await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let address = envoy.address;
        asking.spawn(async move { items("opaque-1").send(address).await.status });
    }
    assert_eq!(asking.join_all().await, [200; 20]);
    assert_eq!(provider.requests("/introspect"), 1, "one look-up for all who wait");
}
