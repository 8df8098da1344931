//! A gate in which nothing is left to chance, and a check that it is about to be asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use prost::Message as _;
use prost::encoding::{btree_map, string};
use scopegate::authz::{Gate, GateSettings, Snapshot, Step};
use scopegate::clock::{Clock, ManualClock};
use scopegate::config::{self, source::Memory};
use scopegate::envoy::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use scopegate::envoy::reply::{Audience, Sendable};
use scopegate::envoy::view;
use scopegate::jose::key::KeySet;
use scopegate::jose::sign::SigningKey;
use scopegate::keys::LiveKeys;
use scopegate::model::event::{EventSink, Unobserved};
use scopegate::model::time::Timestamp;
use scopegate::net::fetch::HttpFetch;
use scopegate::policy::compile::compile;
use scopegate::policy::decision::Decision;
use scopegate::revocation::Revocations;
use scopegate::trust::Trust;
use scopegate::trust::fetch::Fetch;
use scopegate::trust::settings::KeySource;
use serde_json::{Value, json};

/// When everything happens.
const NOW: i64 = 1_800_000_000;
/// By algorithm: a public key and two tokens of it.
const TOKENS: &str = include_str!("tokens.json");

/// How large the configuration is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// APIs, each with a host of its own.
    pub(crate) apis: usize,
    /// Routes of each API.
    pub(crate) routes: usize,
    /// Authorization servers that each API trusts.
    pub(crate) servers: usize,
}

/// What is asked of which gate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    shape: Shape,
    algorithm: &'static str,
    cached: bool,
    allowed: bool,
    last_route: bool,
}

impl Ask {
    /// With a token that the gate has seen.
    pub(crate) const fn cached(shape: Shape) -> Self {
        Self {
            cached: true,
            ..Self::cold(shape, "ES256")
        }
    }

    /// With a token that it has not seen. It has seen another of the same key.
    pub(crate) const fn cold(shape: Shape, algorithm: &'static str) -> Self {
        Self {
            shape,
            algorithm,
            cached: false,
            allowed: true,
            last_route: false,
        }
    }

    /// For what the token's scope does not cover.
    pub(crate) const fn denied(mut self) -> Self {
        self.allowed = false;
        self
    }

    /// At the route that the configuration names last.
    pub(crate) const fn at_the_last_route(mut self) -> Self {
        self.last_route = true;
        self
    }
}

/// A gate and the check that is counted.
pub(crate) struct Prepared {
    gate: Arc<Gate>,
    request: Vec<u8>,
    answer: Vec<u8>,
    allowed: bool,
    /// Nothing runs on it; the gate has a handle.
    _io: tokio::runtime::Runtime,
}

impl Prepared {
    /// One check without the network. It panics when the decision is not the one that is to be counted.
    pub(crate) fn check(&mut self) {
        let request = std::mem::take(&mut self.request);
        self.ask(&request);
        self.request = request;
    }

    fn ask(&mut self, request: &[u8]) {
        self.answer.clear();
        let facts = view::read(request).expect("decodes");
        let Step::Decided(decided) = self.gate.check(&facts) else {
            panic!("nothing is waited for: the keys are there");
        };
        let sendable = Sendable::new(decided.decision);
        sendable.encode("0000000000000000-0", Audience::Http, &mut self.answer);
        let allowed = matches!(sendable.decision(), Decision::Allow(_));
        assert_eq!(allowed, self.allowed, "{}", String::from_utf8_lossy(&self.answer));
    }
}

/// A gate that has answered checks like this one, so that whatever is made once is there.
pub(crate) fn prepare(ask: Ask) -> Prepared {
    let tokens: Value = serde_json::from_str(TOKENS).expect("JSON");
    let known = &tokens[ask.algorithm];
    let token = |number: usize| known["tokens"][number].as_str().expect("a token");
    let keys = json!({ "keys": [known["jwk"]] }).to_string();
    let (keys, problems) = KeySet::from_jwks(keys.as_bytes()).expect("keys");
    assert!(problems.is_empty(), "{problems:?}");
    let io = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut prepared = Prepared {
        gate: gate(ask, &LiveKeys::new(keys), io.handle()),
        request: request(ask, token(1)),
        answer: Vec::with_capacity(4096),
        allowed: ask.allowed,
        _io: io,
    };
    let seen = request(ask, token(usize::from(ask.cached)));
    for _ in 0..10 {
        prepared.ask(&seen);
    }
    prepared
}

fn gate(ask: Ask, keys: &Arc<LiveKeys>, io: &tokio::runtime::Handle) -> Arc<Gate> {
    let path = std::path::Path::new("scopegate.yaml");
    let mut settings = config::load(path, &Memory::of(path, &configuration(ask))).expect("a good file");
    for server in &mut settings.trust {
        server.keys = KeySource::Local;
    }
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(NOW)));
    let fetch: Arc<dyn Fetch> = Arc::new(HttpFetch::new());
    let events: Arc<dyn EventSink> = Arc::new(Unobserved);
    let of = |_: &_| Some(keys.clone());
    let trust = Trust::start(settings.trust, None, &of, &fetch, &clock, &events, io).expect("trusts");
    let policy = compile(&settings.policy).0.expect("compiles");
    let snapshot = Snapshot::new(policy, trust, Arc::new(Unobserved)).expect("knows its servers");
    let revocations = Revocations::new(clock.clone());
    Gate::new(&GateSettings::default(), snapshot, clock, revocations)
}

fn configuration(ask: Ask) -> String {
    let mut text = "listeners:\n  ext_authz: { address: \"127.0.0.1:9191\" }\nauthorization_servers:\n".to_owned();
    // The tokens' own server, 0, is the last.
    let mut names = Vec::new();
    for server in (0..ask.shape.servers).rev() {
        let _ = writeln!(
            text,
            "  - {{ id: transfers{server}, issuer: \"https://issuer.example/{server}\", jwks_file: keys.json, \
             audience: \"api://transfers\", algorithms: [{}], scopes: [\"transfers:read\", \"transfers:write\"] }}",
            ask.algorithm
        );
        names.push(format!("transfers{server}"));
    }
    text.push_str("apis:\n");
    for api in 0..ask.shape.apis {
        let _ = writeln!(
            text,
            "  - name: api{api}\n    hosts: [api{api}.bank.example]\n    authorization_servers: [{}]\n    \
             clients: [mobile]\n    forward:\n      headers: {{ x-auth-subject: token.sub, x-auth-client: token.client_id }}\n    \
             routes:\n      - {{ path: \"/transfers/{{id}}\", GET: \"transfers:read\", POST: \"transfers:write\" }}",
            names.join(", ")
        );
        for route in 1..ask.shape.routes {
            let _ = writeln!(
                text,
                "      - {{ path: \"{}\", GET: \"transfers:read\" }}",
                area(route, "{id}")
            );
        }
    }
    text
}

/// The path of a route other than the first.
fn area(route: usize, id: &str) -> String {
    format!("/area{}/{id}/things{route}", route % 16)
}

/// A check as Envoy sends it for a browser's request, with its headers in order.
fn request(ask: Ask, token: &str) -> Vec<u8> {
    let path = if ask.last_route {
        area(ask.shape.routes - 1, "7")
    } else {
        "/transfers/7".to_owned()
    };
    let host = format!("api{}.bank.example", ask.shape.apis - 1);
    let method = if ask.allowed { "GET" } else { "POST" };
    let headers = [
        (":authority", host.as_str()),
        (":method", method),
        (":path", &path),
        (":scheme", "https"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("authorization", &format!("Bearer {token}")),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "0b8b9c1e-0000-4000-8000-000000000000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut http = HttpRequest {
        id: "123456789".into(),
        method: method.into(),
        path: path.clone(),
        host: host.clone(),
        scheme: "https".into(),
        protocol: "HTTP/2".into(),
        size: -1,
        ..HttpRequest::default()
    }
    .encode_to_vec();
    // The generated type has a hash map, which gives another order each time.
    btree_map::encode(
        string::encode,
        string::encoded_len,
        string::encode,
        string::encoded_len,
        3,
        &BTreeMap::from(headers),
        &mut http,
    );
    // AttributeContext.Request.http, AttributeContext.request, CheckRequest.attributes
    [2, 4, 1]
        .into_iter()
        .fold(http, |message, field| within(field, &message))
}

/// The message as a field of another.
fn within(field: u32, message: &[u8]) -> Vec<u8> {
    let mut outer = Vec::new();
    prost::encoding::bytes::encode(field, &message.to_vec(), &mut outer);
    outer
}

/// New public keys and tokens for [`TOKENS`]. The private keys are gone when this returns.
pub(crate) fn make_tokens() -> Value {
    let of = |algorithm| {
        let key = SigningKey::generate(algorithm).expect("a key");
        let token = |number: usize| {
            let claims = json!({
                "iss": "https://issuer.example/0", "aud": "api://transfers", "sub": "ada", "client_id": "mobile",
                "scope": "transfers:read openid profile", "iat": NOW - 60, "exp": NOW + 3600,
                "jti": format!("0b8b9c1e-{number}"),
            });
            let claims = claims.as_object().expect("an object").clone();
            key.sign("at+jwt", &claims).expect("signs").expose_secret().clone()
        };
        json!({ "jwk": key.public_jwk(), "tokens": [token(0), token(1)] })
    };
    let named = SigningKey::ALGORITHMS.map(|algorithm| (algorithm.as_str().to_owned(), of(algorithm)));
    Value::Object(named.into_iter().collect())
}
