//! The house: an issuer, its store, and the gate that reads the same keys and revocations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::authz::{Gate, GateSettings, Snapshot, Step};
use crate::clock::{Clock, ManualClock};
use crate::config::source::System;
use crate::config::{self, Settings};
use crate::entropy::random_text;
use crate::issuer::fixture::Records;
use crate::issuer::{Failure, FormRequest, Issuer, Services, TokenAnswer};
use crate::model::event::{EventSink, Unobserved};
use crate::model::id::{AuthorizationServerId, Subject, UserId};
use crate::model::reason::Reason;
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::net::fetch::HttpFetch;
use crate::oauth::grant::GrantType;
use crate::oauth::refresh::{GrantRecord, RefreshToken, Shown, new_grant_id};
use crate::oauth::sample::{client_id, server_id};
use crate::policy::compile::compile;
use crate::policy::decision::Decision;
use crate::policy::facts::{Header, RequestFacts};
use crate::revocation::Revocations;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::open::OpenStore;
use crate::store::seal::SealingKey;
use crate::trust::Trust;
use crate::trust::fetch::Fetch;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// Two servers, two services at each, one API for each server.
pub(crate) const BANK: &str = r#"
dev: true
public_url: https://127.0.0.1:8443
store: sqlite://unused.db
listeners:
  ext_authz: { address: "127.0.0.1:0" }
  issuer: { address: "127.0.0.1:0" }
clients:
  - { id: batch, type: service, grants: [client_credentials], secrets: [{ sha256: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }
  - { id: audit, type: service, grants: [client_credentials], secrets: [{ sha256: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }
authorization_servers:
  - id: transfers
    audience: https://api.bank.example/transfers
    signing: { algorithm: ES256, rotate_every: 90d }
    scopes: [{ name: "transfers:read" }]
    policies: [{ name: Services, clients: [batch, audit], rules: [{ name: Reading, grants: [client_credentials], scopes: ["transfers:read"], access_token: 10m }] }]
  - id: payments
    audience: https://api.bank.example/payments
    signing: { algorithm: ES256 }
    scopes: [{ name: "payments:read" }]
    policies: [{ name: Services, clients: [batch], rules: [{ name: Reading, grants: [client_credentials], scopes: ["payments:read"], access_token: 10m }] }]
apis:
  - { name: transfers, hosts: [transfers.example], authorization_server: transfers, clients: any, routes: [{ path: /transfers, GET: "transfers:read" }] }
  - { name: payments, hosts: [payments.example], authorization_server: payments, clients: any, routes: [{ path: /payments, GET: "payments:read" }] }
"#;

/// A server at which people sign in by password and stay signed in; tokens of the same life as in [`BANK`].
pub(crate) const PEOPLE: &str = r#"
dev: true
public_url: https://127.0.0.1:8443
store: sqlite://unused.db
listeners:
  ext_authz: { address: "127.0.0.1:0" }
  issuer: { address: "127.0.0.1:0" }
groups: [customers]
users:
  - { login: ada@bank.example, password: "correct horse", groups: [customers] }
  - { login: bob@bank.example, password: "battery staple", groups: [customers] }
clients:
  - { id: app, type: native, grants: [authorization_code, password, refresh_token], redirect_uris: ["http://127.0.0.1/cb"], assigned: { groups: [customers] } }
  - { id: kiosk, type: native, grants: [authorization_code, password, refresh_token], redirect_uris: ["http://127.0.0.1/cb"], assigned: { groups: [customers] } }
authorization_servers:
  - id: transfers
    audience: https://api.bank.example/transfers
    signing: { algorithm: EdDSA }
    scopes: [{ name: "transfers:read", default: true }]
    policies:
      - name: Apps
        clients: [app, kiosk]
        rules:
          - name: Signed in
            grants: [password, refresh_token]
            groups: [customers]
            scopes: ["transfers:read"]
            access_token: 10m
            refresh_token: { lifetime: 30d, idle: 7d }
apis:
  - { name: transfers, hosts: [transfers.example], authorization_server: transfers, clients: any, routes: [{ path: /transfers, GET: "transfers:read" }] }
"#;

/// The tokens of a person who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl From<TokenAnswer> for Family {
    fn from(answer: TokenAnswer) -> Self {
        let refresh = answer.refresh_token.expect("the rule gives a refresh token");
        Self {
            access: answer.access_token.expose_secret().clone(),
            refresh: refresh.expose_secret().clone(),
        }
    }
}

/// What a check came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Allowed,
    Denied(Reason, Option<&'static str>),
}

pub(crate) struct House {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) records: Arc<Records>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sealing: Arc<SealingKey>,
}

/// Reads a configuration text as `serve` does.
pub(crate) fn settings(text: &str) -> Settings {
    config::load_text(Path::new("house.yaml"), text, &System).unwrap_or_else(|report| panic!("{report}"))
}

pub(crate) fn form(body: &str) -> FormRequest<'_> {
    FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: body.as_bytes(),
        ..FormRequest::default()
    }
}

impl House {
    /// The house of [`BANK`], on a store in memory.
    pub(crate) async fn bank() -> Self {
        Self::of(BANK).await
    }

    pub(crate) async fn of(text: &str) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        Self::on(
            text,
            Arc::new(MemoryStore::new()),
            Arc::new(SealingKey::generate().0),
            clock,
        )
        .await
    }

    /// One node more on this store.
    pub(crate) async fn on(
        text: &str,
        store: Arc<dyn Store>,
        sealing: Arc<SealingKey>,
        clock: Arc<ManualClock>,
    ) -> Self {
        let settings = settings(text);
        let revocations = Revocations::new(clock.clone());
        let records = Arc::new(Records::default());
        let services = Services {
            store: OpenStore {
                store: store.clone(),
                sealing: sealing.clone(),
            },
            revocations: Arc::clone(&revocations),
            clock: clock.clone(),
            events: records.clone(),
            audit: records.clone(),
            fetch: Arc::new(crate::net::fetch::HttpFetch::new()),
        };
        let declared = settings.issuer.as_ref().expect("tokens are minted here");
        let issuer = Issuer::start(declared, services).await.expect("it starts");
        let snapshot = snapshot(&settings, None, &issuer, &clock);
        let gate = Gate::new(
            &GateSettings::default(),
            snapshot,
            clock.clone(),
            Arc::clone(&revocations),
        );
        Self {
            issuer,
            gate,
            clock,
            revocations,
            records,
            store,
            sealing,
        }
    }

    /// The same house after a restart: what is in memory is gone, what is in the store is not.
    pub(crate) async fn restart(self, text: &str) -> Self {
        let Self {
            store, sealing, clock, ..
        } = self;
        Self::on(text, store, sealing, clock).await
    }

    /// Takes over another configuration, as a reload does.
    pub(crate) async fn reload(&self, text: &str) {
        let settings = settings(text);
        let declared = settings.issuer.as_ref().expect("tokens are minted here");
        self.issuer.reload(declared).await.expect("it is taken over");
        let last = self.gate.snapshot();
        self.gate
            .install(snapshot(&settings, Some(last.trust()), &self.issuer, &self.clock));
    }

    pub(crate) async fn ask(&self, server: &str, body: &str) -> Result<TokenAnswer, Failure> {
        self.issuer.token(server, &form(body)).await
    }

    /// A token of a service, for itself.
    pub(crate) async fn mint(&self, server: &str, client: &str) -> String {
        let body = format!("grant_type=client_credentials&client_id={client}&client_secret=secret&scope={server}:read");
        let answer = self.ask(server, &body).await;
        answer.expect("granted").access_token.expose_secret().clone()
    }

    /// Ada signs in at the app of [`PEOPLE`].
    pub(crate) async fn sign_in(&self) -> Family {
        self.sign_in_as("app", "ada@bank.example", "correct horse").await
    }

    pub(crate) async fn sign_in_as(&self, client: &str, login: &str, password: &str) -> Family {
        let password = password.replace(' ', "+");
        let body = format!("grant_type=password&client_id={client}&username={login}&password={password}");
        self.ask("transfers", &body).await.expect("signed in").into()
    }

    /// A grant as a sign-in gives it, without the password that each sign-in costs; its first refresh.
    pub(crate) async fn granted(&self, client: &str, login: &str) -> Family {
        let (id, now) = (
            new_grant_id(GrantType::Password, &random_text::<18>()),
            self.clock.now(),
        );
        let end = now.plus(Duration::from_secs(30 * 24 * 3600));
        let record = GrantRecord {
            id: id.clone(),
            server: server_id("transfers"),
            client: client_id(client),
            user: Some(UserId::parse(login).expect("valid")),
            subject: Subject::parse(login).expect("valid"),
            scopes: ScopeSet::parse("transfers:read").expect("valid"),
            resources: Vec::new(),
            auth_time: now,
            amr: vec!["pwd".to_owned()],
            acr: None,
            binding: None,
            created_at: now,
            expires_at: end,
            generation: 0,
            rotated_at: now,
            idle_expires_at: end,
            revoked_at: None,
        };
        self.store.insert_grant(&record).await.expect("kept");
        let shown = Shown::Generation(0);
        let digest = self
            .sealing
            .mac(RefreshToken::PURPOSE, &RefreshToken::message(&id, shown));
        let token = RefreshToken::text(&id, shown, &digest);
        self.refresh_at(client, token.expose_secret()).await.expect("it lives")
    }

    /// The app refreshes.
    pub(crate) async fn refresh(&self, token: &str) -> Result<Family, Failure> {
        self.refresh_at("app", token).await
    }

    pub(crate) async fn refresh_at(&self, client: &str, token: &str) -> Result<Family, Failure> {
        let body = format!("grant_type=refresh_token&client_id={client}&refresh_token={token}");
        self.ask("transfers", &body).await.map(Family::from)
    }

    /// A check of `GET https://{server}.example/{server}`.
    pub(crate) fn check(&self, server: &str, token: &str) -> Seen {
        check(&self.gate, server, token)
    }

    pub(crate) fn assert_alive(&self, server: &str, token: &str, why: &str) {
        assert_eq!(self.check(server, token), Seen::Allowed, "{why}");
    }

    pub(crate) fn assert_dead(&self, server: &str, token: &str, why: &str) {
        let seen = self.check(server, token);
        assert!(matches!(seen, Seen::Denied(Reason::InvalidToken, _)), "{why}: {seen:?}");
    }

    /// A gate that has seen no token yet.
    pub(crate) fn fresh_gate(&self, text: &str) -> Arc<Gate> {
        let snapshot = snapshot(&settings(text), None, &self.issuer, &self.clock);
        Gate::new(
            &GateSettings::default(),
            snapshot,
            self.clock.clone(),
            Arc::clone(&self.revocations),
        )
    }
}

/// A check of `GET https://{server}.example/{server}` at this gate.
pub(crate) fn check(gate: &Gate, server: &str, token: &str) -> Seen {
    let (host, target, value) = (
        format!("{server}.example"),
        format!("/{server}"),
        format!("Bearer {token}"),
    );
    let facts = RequestFacts {
        method: "GET",
        scheme: "https",
        host: &host,
        target: &target,
        headers: [Header {
            name: "authorization",
            value: value.as_bytes(),
        }]
        .into_iter()
        .collect(),
        raw_headers: true,
        ..RequestFacts::default()
    };
    match gate.check(&facts) {
        Step::Decided(decided) => match decided.decision {
            Decision::Allow(_) => Seen::Allowed,
            Decision::Deny(denial) => Seen::Denied(denial.reason(), denial.detail),
        },
        Step::Wait(lookup) => panic!("nothing is fetched for our own tokens: {lookup:?}"),
    }
}

fn snapshot(settings: &Settings, previous: Option<&Trust>, issuer: &Arc<Issuer>, clock: &Arc<ManualClock>) -> Snapshot {
    let (policy, findings) = compile(&settings.policy);
    let policy = policy.unwrap_or_else(|| panic!("{findings:?}"));
    let fetch: Arc<dyn Fetch> = Arc::new(HttpFetch::new());
    let clock: Arc<dyn Clock> = clock.clone();
    let events: Arc<dyn EventSink> = Arc::new(Unobserved);
    let keys = |id: &AuthorizationServerId| issuer.live_keys(id);
    let trust = Trust::start(
        settings.trust.clone(),
        previous,
        &keys,
        &fetch,
        &clock,
        &events,
        &Handle::current(),
    );
    Snapshot::new(policy, trust.expect("keys"), Arc::new(Unobserved)).expect("its servers are there")
}
