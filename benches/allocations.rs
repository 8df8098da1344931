//! How often a check allocates: from the bytes of its request to the bytes of its answer, without the network.
//!
//! | check | what it does |
//! |---|---|
//! | allow | a token from the verdict cache, two identity headers, dynamic metadata |
//! | scope | the same token, short of a scope: a denial with its challenge and body |
//! | none | no token: a denial with its challenge |
//!
//! `cargo bench --bench allocations` prints the counts. They depend on nothing but the code.

#![allow(clippy::expect_used, missing_docs, reason = "a program for developers")]

mod world;

use std::alloc::System;
use std::sync::Arc;

use prost::Message as _;
use scopegate::authz::{Gate, GateSettings, Snapshot, Step};
use scopegate::clock::{Clock, SystemClock};
use scopegate::config::{self, source::Memory};
use scopegate::envoy::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use scopegate::envoy::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use scopegate::envoy::reply::{Audience, Sendable};
use scopegate::envoy::view;
use scopegate::jose::alg::Algorithm;
use scopegate::jose::key::KeySet;
use scopegate::jose::sign::SigningKey;
use scopegate::keys::LiveKeys;
use scopegate::model::event::{EventSink, Unobserved};
use scopegate::net::fetch::HttpFetch;
use scopegate::policy::compile::compile;
use scopegate::policy::decision::Decision;
use scopegate::revocation::Revocations;
use scopegate::trust::Trust;
use scopegate::trust::fetch::Fetch;
use scopegate::trust::settings::KeySource;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many checks a count is the mean of.
const CHECKS: usize = 1000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let key = SigningKey::generate(Algorithm::Es256).expect("a key");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let gate = gate(&key, &clock, runtime.handle());
    let now = clock.now().unix_seconds();
    let claims = serde_json::json!({
        "iss": "https://issuer.example", "aud": "api://transfers", "sub": "ada", "client_id": "mobile",
        "scope": "transfers:read openid profile", "iat": now, "exp": now + 3600, "jti": "0b8b9c1e",
    });
    let claims = claims.as_object().expect("an object").clone();
    let token = key.sign("at+jwt", &claims).expect("signs").expose_secret().clone();
    let rows = [
        (
            "allow: cached token, two identity headers",
            request("GET", Some(&token)),
            true,
        ),
        (
            "scope: cached token, short of a scope",
            request("POST", Some(&token)),
            false,
        ),
        ("none: no token", request("GET", None), false),
    ];
    println!("allocations for each check, from request bytes to answer bytes");
    for (what, bytes, allowed) in rows {
        let mut out = Vec::with_capacity(4096);
        for _ in 0..10 {
            assert_eq!(check(&gate, &bytes, &mut out), allowed, "{what}");
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..CHECKS {
            check(&gate, &bytes, &mut out);
        }
        let change = region.change();
        println!(
            "  {what:<44} {:>3} allocations, {:>5} bytes, {} bytes of answer",
            (change.allocations + change.reallocations) / CHECKS,
            change.bytes_allocated / CHECKS,
            out.len()
        );
    }
}

fn gate(key: &SigningKey, clock: &Arc<dyn Clock>, io: &tokio::runtime::Handle) -> Arc<Gate> {
    let path = std::path::Path::new("scopegate.yaml");
    let mut settings =
        config::load(path, &Memory::of(path, &world::CONFIGURATION.replace("PORT", "9191"))).expect("a good file");
    for server in &mut settings.trust {
        server.keys = KeySource::Local;
    }
    let keys = LiveKeys::new(KeySet::from_keys(vec![key.verifying_key()]));
    let fetch: Arc<dyn Fetch> = Arc::new(HttpFetch::new());
    let events: Arc<dyn EventSink> = Arc::new(Unobserved);
    let of = |_: &_| Some(keys.clone());
    let trust = Trust::start(settings.trust, None, &of, &fetch, clock, &events, io).expect("trusts");
    let policy = compile(&settings.policy).0.expect("compiles");
    let snapshot = Snapshot::new(policy, trust, Arc::new(Unobserved)).expect("knows its servers");
    Gate::new(
        &GateSettings::default(),
        snapshot,
        clock.clone(),
        Revocations::new(clock.clone()),
    )
}

/// One check without the network; whether it is allowed.
fn check(gate: &Gate, request: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let facts = view::read(request).expect("decodes");
    let Step::Decided(decided) = gate.check(&facts) else {
        panic!("nothing is waited for: the keys are there");
    };
    let sendable = Sendable::new(decided.decision);
    sendable.encode("0000000000000000-0", Audience::Http, out);
    matches!(sendable.decision(), Decision::Allow(_))
}

/// A check as Envoy sends it for a browser's request.
fn request(method: &str, token: Option<&str>) -> Vec<u8> {
    let mut headers = vec![
        (":authority", "api.bank.example".to_owned()),
        (":method", method.to_owned()),
        (":path", "/transfers/7".to_owned()),
        ("accept", "application/json".to_owned()),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)".to_owned()),
        ("x-request-id", "0b8b9c1e-0000-4000-8000-000000000000".to_owned()),
    ];
    headers.extend(token.map(|token| ("authorization", format!("Bearer {token}"))));
    let http = HttpRequest {
        id: "123456789".into(),
        method: method.into(),
        path: "/transfers/7".into(),
        host: "api.bank.example".into(),
        scheme: "https".into(),
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..HttpRequest::default()
    };
    let request = Some(Request {
        time: None,
        http: Some(http),
    });
    let attributes = Some(AttributeContext {
        request,
        ..AttributeContext::default()
    });
    CheckRequest { attributes }.encode_to_vec()
}
