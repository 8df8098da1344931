//! A gate before two products, `bank` and `shop`, with servers whose every answer a test scripts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use url::Url;

use crate::authz::{Decided, Gate, GateSettings, Snapshot, Step};
use crate::clock::{Clock, ManualClock};
use crate::jose::alg::Algorithm;
use crate::jose::key::KeySet;
use crate::jose::sign::SigningKey;
use crate::keys::LiveKeys;
use crate::model::event::{CacheOutcome, EventSink, Unobserved};
use crate::model::id::{ApiName, AuthorizationServerId, Issuer};
use crate::model::location::{Located, Location};
use crate::model::reason::Reason;
use crate::model::scope::Scope;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::policy::caller::ClaimNames;
use crate::policy::compile::compile;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decision::{Decision, Denial};
use crate::policy::declared::{
    ApiDeclaration, BadToken, ClientsDeclaration, CorsPreflight, Declaration, DpopOptions, ForwardDeclaration,
    MethodOverride, Origin, PathOptions, RequirementDeclaration, RouteDeclaration, RouteTarget, ServerDeclaration,
    TokenRequirementDeclaration, VerbDeclaration,
};
use crate::policy::facts::{Header, RequestFacts};
use crate::revocation::Revocations;
use crate::trust::Trust;
use crate::trust::fetch::{BoxFuture, Fetch, FetchError, Fetched};
use crate::trust::settings::{FetchPolicy, IntrospectionSettings, KeySource, TokenTypes, TrustedServerSettings};

pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(super) const JWKS: &str = "https://bank.example/keys";
pub(super) const INTROSPECT: &str = "https://bank.example/introspect";
pub(super) const COOLDOWN: Duration = Duration::from_secs(30);

pub(super) fn id(name: &str) -> AuthorizationServerId {
    AuthorizationServerId::parse(name).unwrap()
}

fn located(text: &str) -> Located<String> {
    Located::nowhere(text.to_owned())
}

/// Settings of a server whose tokens are minted here: the base of the others.
pub(super) fn server(name: &str) -> TrustedServerSettings {
    TrustedServerSettings {
        id: id(name),
        issued_as: None,
        is_ours: true,
        issuer: Issuer::parse(&format!("https://{name}.example")).unwrap(),
        audiences: vec![format!("api://{name}")],
        algorithms: Algorithm::ASYMMETRIC.to_vec(),
        token_types: TokenTypes::Usual,
        claim_names: ClaimNames::default(),
        leeway: Duration::from_secs(10),
        keys: KeySource::Local,
        introspection: None,
        fetch: FetchPolicy::default(),
        keys_stale_max: Duration::from_secs(24 * 3600),
        keys_cooldown: COOLDOWN,
    }
}

/// The same server elsewhere: its keys are fetched.
pub(super) fn remote(name: &str) -> TrustedServerSettings {
    TrustedServerSettings {
        is_ours: false,
        keys: KeySource::Uri(Url::parse(JWKS).unwrap()),
        ..server(name)
    }
}

/// A server whose every token is opaque.
pub(super) fn opaque(name: &str, cache: u64) -> TrustedServerSettings {
    TrustedServerSettings {
        keys: KeySource::None,
        introspection: Some(IntrospectionSettings {
            url: Url::parse(&INTROSPECT.replace("bank", name)).unwrap(),
            client_id: "gate".to_owned(),
            client_secret: Secret::new("canary-secret".to_owned()),
            cache: Duration::from_secs(cache),
        }),
        ..server(name)
    }
}

fn verb(verb: &str, requirement: RequirementDeclaration) -> VerbDeclaration {
    VerbDeclaration {
        verb: located(verb),
        requirement,
    }
}

/// `GET /open` is public, `GET /items` needs `read`, `POST /items` needs `write`.
fn api(name: &str, servers: &[&str], dpop: &DpopOptions) -> ApiDeclaration {
    let scope = |scope: &str| {
        RequirementDeclaration::Token(Box::new(TokenRequirementDeclaration {
            all: vec![located(scope)],
            ..TokenRequirementDeclaration::default()
        }))
    };
    let route = |path: &str, verbs| RouteDeclaration {
        location: Location::default(),
        target: RouteTarget::Path(located(path)),
        verbs,
        method_override: MethodOverride::Refuse,
        forward_authorization: false,
    };
    ApiDeclaration {
        name: Located::nowhere(ApiName::parse(name).unwrap()),
        hosts: vec![located(&format!("{name}.api.example"))],
        servers: servers.iter().map(|name| Located::nowhere(id(name))).collect(),
        clients: ClientsDeclaration::Any,
        paths: PathOptions::default(),
        cors_preflight: CorsPreflight::AsRoute,
        bad_token: BadToken::Deny,
        hide: false,
        bind_sni: false,
        trust_xfcc: false,
        realm: None,
        resource_metadata: None,
        dpop: dpop.clone(),
        forward: ForwardDeclaration::default(),
        routes: vec![
            route("/items", vec![verb("GET", scope("read")), verb("POST", scope("write"))]),
            route("/open", vec![verb("GET", RequirementDeclaration::Public)]),
        ],
    }
}

/// The rules for these servers: one API for each pair.
pub(super) fn policy(apis: &[(&str, &[&str])], dpop: &DpopOptions) -> CompiledPolicy {
    let mut names: Vec<&str> = apis.iter().flat_map(|(_, servers)| servers.iter().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let declaration = Declaration {
        servers: names
            .iter()
            .map(|name| ServerDeclaration {
                id: id(name),
                scopes: ["read", "write"].map(|scope| Scope::parse(scope).unwrap()).to_vec(),
                origin: Origin::Elsewhere,
                clients: Vec::new(),
            })
            .collect(),
        apis: apis.iter().map(|(name, servers)| api(name, servers, dpop)).collect(),
    };
    let (policy, findings) = compile(&declaration);
    policy.unwrap_or_else(|| panic!("{findings:?}"))
}

// === the world outside ===

/// What a URL answers.
#[derive(Clone)]
pub(super) enum Answer {
    Status(u16, String, Option<Duration>),
    Fails(FetchError),
    Panics,
}

pub(super) fn ok(body: &Value) -> Answer {
    Answer::Status(200, body.to_string(), None)
}

/// Answers by script, counts, and holds answers back while `closed`.
pub(super) struct Web {
    answers: Mutex<HashMap<String, Answer>>,
    pub(super) fetches: AtomicUsize,
    gate: tokio::sync::watch::Sender<bool>,
    forms: Mutex<Vec<String>>,
}

impl Web {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::default(),
            fetches: AtomicUsize::new(0),
            gate: tokio::sync::watch::channel(true).0,
            forms: Mutex::default(),
        })
    }

    pub(super) fn set(&self, url: &str, answer: Answer) {
        self.answers.lock().insert(url.to_owned(), answer);
    }

    pub(super) fn count(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Holds every answer back, or lets them go.
    pub(super) fn close(&self, closed: bool) {
        self.gate.send_replace(!closed);
    }

    pub(super) fn tokens_asked_about(&self) -> Vec<String> {
        self.forms.lock().clone()
    }

    async fn answer(&self, url: &Url) -> Result<Fetched, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate.subscribe();
        gate.wait_for(|open| *open).await.expect("the sender lives");
        let answer = self.answers.lock().get(url.as_str()).cloned();
        match answer {
            Some(Answer::Status(status, body, retry_after)) => Ok(Fetched {
                status,
                body: body.into_bytes(),
                max_age: None,
                retry_after,
            }),
            Some(Answer::Fails(error)) => Err(error),
            Some(Answer::Panics) => panic!("scripted"),
            None => Err(FetchError::Transport("no script".to_owned())),
        }
    }
}

impl Fetch for Web {
    fn get<'a>(&'a self, url: &'a Url, _: &'a FetchPolicy) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(self.answer(url))
    }

    fn post_form<'a>(
        &'a self,
        url: &'a Url,
        _: &'a FetchPolicy,
        _: (&'a str, &'a Secret<String>),
        form: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        let token = form.iter().find(|(name, _)| *name == "token").map(|(_, value)| *value);
        self.forms
            .lock()
            .push(format!("{} {}", url.host_str().unwrap_or(""), token.unwrap_or("")));
        Box::pin(self.answer(url))
    }
}

// === the gate ===

pub(super) struct World {
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) web: Arc<Web>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) live: Arc<LiveKeys>,
    pub(super) signer: SigningKey,
    servers: Vec<TrustedServerSettings>,
}

/// Keys of one signer.
pub(super) fn set_of(signers: &[&SigningKey]) -> KeySet {
    KeySet::from_keys(signers.iter().map(|signer| signer.verifying_key()).collect())
}

pub(super) fn jwks(signers: &[&SigningKey]) -> Answer {
    ok(&json!({"keys": signers.iter().map(|signer| signer.public_jwk()).collect::<Vec<_>>()}))
}

pub(super) fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap()
}

impl World {
    /// A gate before `bank` alone, whose tokens are minted here.
    pub(super) fn local() -> Self {
        Self::new(vec![server("bank")], &[("bank", &["bank"])], &DpopOptions::default())
    }

    pub(super) fn new(servers: Vec<TrustedServerSettings>, apis: &[(&str, &[&str])], dpop: &DpopOptions) -> Self {
        Self::with(servers, apis, dpop, &GateSettings::default(), |_, _| {})
    }

    /// `script` runs before the first fetch.
    pub(super) fn with(
        servers: Vec<TrustedServerSettings>,
        apis: &[(&str, &[&str])],
        dpop: &DpopOptions,
        settings: &GateSettings,
        script: impl FnOnce(&Web, &SigningKey),
    ) -> Self {
        let signer = new_key();
        let web = Web::new();
        script(&web, &signer);
        let clock = Arc::new(ManualClock::at(NOW));
        let live = LiveKeys::new(set_of(&[&signer]));
        let revocations = Revocations::new(clock.clone());
        let snapshot = snapshot(&servers, policy(apis, dpop), None, &web, &clock, &live);
        let gate = Gate::new(settings, snapshot, clock.clone(), Arc::clone(&revocations));
        Self {
            gate,
            clock,
            web,
            revocations,
            live,
            signer,
            servers,
        }
    }

    /// Another snapshot of these servers.
    pub(super) fn snapshot(&self, servers: &[TrustedServerSettings], policy: CompiledPolicy) -> Snapshot {
        snapshot(
            servers,
            policy,
            Some(self.gate.snapshot().trust()),
            &self.web,
            &self.clock,
            &self.live,
        )
    }

    pub(super) fn servers(&self) -> Vec<TrustedServerSettings> {
        self.servers.clone()
    }

    /// A token of `bank` with these claims over the usual ones; `null` takes one away.
    pub(super) fn token(&self, claims: Value) -> String {
        self.token_by(&self.signer, claims)
    }

    #[expect(clippy::needless_pass_by_value, reason = "claims are written at each call")]
    pub(super) fn token_by(&self, signer: &SigningKey, claims: Value) -> String {
        signer
            .sign("at+jwt", &self.claims(&claims))
            .unwrap()
            .expose_secret()
            .clone()
    }

    pub(super) fn claims(&self, claims: &Value) -> Map<String, Value> {
        let now = self.clock.now().unix_seconds();
        let mut all = json!({
            "iss": "https://bank.example", "aud": "api://bank", "sub": "alice", "client_id": "mobile",
            "scope": "read", "jti": "t1", "sid": "s1", "iat": now, "exp": now + 300,
        });
        let members = all.as_object_mut().unwrap();
        for (name, value) in claims.as_object().unwrap() {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        members.clone()
    }

    /// One synchronous try of `GET https://bank.api.example/items`.
    pub(super) fn try_once(&self, token: &str) -> Step {
        let value = format!("Bearer {token}");
        self.gate
            .check(&request("bank", "GET", "/items", &[("authorization", &value)]))
    }

    /// The same, waiting for whatever it waits for.
    pub(super) async fn check(&self, token: &str) -> Seen {
        let value = format!("Bearer {token}");
        self.decide(&request("bank", "GET", "/items", &[("authorization", &value)]))
            .await
    }

    pub(super) async fn decide(&self, facts: &RequestFacts<'_>) -> Seen {
        for _ in 0..4 {
            match self.gate.check(facts) {
                Step::Decided(decided) => return Seen::of(decided),
                Step::Wait(lookup) => self.gate.finish(lookup).await,
            }
        }
        panic!("the look-ups do not settle the check");
    }
}

fn snapshot(
    servers: &[TrustedServerSettings],
    policy: CompiledPolicy,
    previous: Option<&Trust>,
    web: &Arc<Web>,
    clock: &Arc<ManualClock>,
    live: &Arc<LiveKeys>,
) -> Snapshot {
    let fetch: Arc<dyn Fetch> = web.clone();
    let clock: Arc<dyn Clock> = clock.clone();
    let events: Arc<dyn EventSink> = Arc::new(Unobserved);
    let local = |_: &AuthorizationServerId| Some(Arc::clone(live));
    let trust = Trust::start(
        servers.to_vec(),
        previous,
        &local,
        &fetch,
        &clock,
        &events,
        &Handle::current(),
    )
    .unwrap();
    Snapshot::new(policy, trust, Arc::new(Unobserved)).unwrap()
}

pub(super) fn request<'a>(
    api: &str,
    method: &'a str,
    target: &'a str,
    headers: &[(&'a str, &'a str)],
) -> RequestFacts<'a> {
    let host = if api == "bank" {
        "bank.api.example"
    } else {
        "shop.api.example"
    };
    RequestFacts {
        method,
        scheme: "https",
        host,
        target,
        headers: headers
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect(),
        raw_headers: true,
        ..RequestFacts::default()
    }
}

/// A decision, in the parts that tests look at.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) denial: Option<Denial>,
    pub(super) cache: CacheOutcome,
    pub(super) response_headers: Vec<(&'static str, String)>,
}

impl Seen {
    pub(super) fn of(decided: Decided) -> Self {
        let (denial, response_headers) = match decided.decision {
            Decision::Allow(permit) => (None, permit.response_headers().to_vec()),
            Decision::Deny(denial) => (Some(denial), Vec::new()),
        };
        Self {
            denial,
            cache: decided.cache,
            response_headers,
        }
    }

    pub(super) fn allowed(&self) -> bool {
        self.denial.is_none()
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.denial.as_ref().map(Denial::reason)
    }

    pub(super) fn detail(&self) -> &'static str {
        self.denial.as_ref().and_then(|denial| denial.detail).unwrap_or("")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let denied = self.denial.iter().flat_map(|denial| &denial.headers);
        let mut headers = denied.chain(&self.response_headers);
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}
