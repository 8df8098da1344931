//! An issuer for tests: the bank, a clock that is moved by hand, a store in memory.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::audit::{AuditEvent, AuditSink};
use crate::clock::ManualClock;
use crate::issuer::settings::IssuerSettings;
use crate::issuer::{Issuer, Services, StartError};
use crate::jose::sign::SigningKey;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Claims, Expectations, TokenTypes, VerifyError, verify};
use crate::model::event::{Event, EventSink};
use crate::model::id::Issuer as IssuerId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::declared::IssuerDeclaration;
use crate::oauth::sample::{bank, server_id, text};
use crate::revocation::Revocations;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::open::OpenStore;
use crate::store::seal::SealingKey;
use crate::trust::fetch::{BoxFuture, Fetch, FetchError, Fetched};
use crate::trust::settings::FetchPolicy;

pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) struct TestIssuer {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) records: Arc<Records>,
    pub(crate) documents: Arc<Documents>,
}

/// Documents of others, in the place of a network.
#[derive(Default)]
pub(crate) struct Documents {
    answers: Mutex<HashMap<String, Result<Fetched, FetchError>>>,
    /// Every request, with how far it may reach.
    pub(crate) asked: Mutex<Vec<(String, FetchPolicy)>>,
}

impl Documents {
    /// From now on this URL answers so.
    pub(crate) fn serve(&self, url: &str, document: &serde_json::Value) {
        let answer = Fetched {
            status: 200,
            body: document.to_string().into_bytes(),
            max_age: None,
            retry_after: None,
        };
        self.answers.lock().insert(url.to_owned(), Ok(answer));
    }

    /// From now on this URL fails so.
    pub(crate) fn fail(&self, url: &str, error: FetchError) {
        self.answers.lock().insert(url.to_owned(), Err(error));
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().len()
    }
}

impl Fetch for Documents {
    fn get<'a>(&'a self, url: &'a url::Url, policy: &'a FetchPolicy) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        self.asked.lock().push((url.to_string(), policy.clone()));
        let answer = self.answers.lock().get(url.as_str()).cloned();
        Box::pin(std::future::ready(answer.unwrap_or(Err(FetchError::Timeout))))
    }

    fn post_form<'a>(
        &'a self,
        _: &'a url::Url,
        _: &'a FetchPolicy,
        _: (&'a str, &'a Secret<String>),
        _: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(std::future::ready(Err(FetchError::Timeout)))
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) audit: Mutex<Vec<AuditEvent>>,
    pub(crate) events: Mutex<Vec<String>>,
}

impl AuditSink for Records {
    fn record(&self, event: AuditEvent) {
        self.audit.lock().push(event);
    }
}

impl EventSink for Records {
    fn record(&self, event: &Event<'_>) {
        self.events.lock().push(format!("{event:?}"));
    }
}

/// The bank with elliptic keys: RSA keys take long to make in a debug build.
pub(crate) fn quick_bank() -> IssuerDeclaration {
    let mut declaration = bank();
    declaration.servers[1].signing.algorithm = text("ES256");
    declaration
}

pub(crate) fn settings(declared: IssuerDeclaration) -> IssuerSettings {
    IssuerSettings {
        public_url: url::Url::parse("https://127.0.0.1:8443").expect("a URL"),
        declared,
        dev: true,
    }
}

impl TestIssuer {
    pub(crate) async fn start() -> Self {
        Self::with(quick_bank()).await
    }

    pub(crate) async fn with(declared: IssuerDeclaration) -> Self {
        let sealing = Arc::new(SealingKey::generate().0);
        Self::on(declared, Arc::new(MemoryStore::new()), sealing)
            .await
            .expect("it starts")
    }

    pub(crate) async fn on(
        declared: IssuerDeclaration,
        store: Arc<dyn Store>,
        sealing: Arc<SealingKey>,
    ) -> Result<Self, StartError> {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(NOW)));
        let revocations = Revocations::new(clock.clone());
        let records = Arc::new(Records::default());
        let documents = Arc::new(Documents::default());
        let services = Services {
            store: OpenStore { store, sealing },
            revocations: Arc::clone(&revocations),
            clock: clock.clone(),
            events: records.clone(),
            audit: records.clone(),
            fetch: documents.clone(),
        };
        Ok(Self {
            issuer: Issuer::start(&settings(declared), services).await?,
            clock,
            revocations,
            records,
            documents,
        })
    }

    /// Verifies a token of a server as the gate does.
    pub(crate) fn verified(&self, server: &str, token: &str) -> Result<Claims, VerifyError> {
        use crate::clock::Clock as _;
        let issuer = IssuerId::parse(&format!("https://127.0.0.1:8443/oauth2/{server}")).expect("valid");
        let expectations = Expectations {
            issuer: &issuer,
            audiences: &[format!("https://api.bank.example/{server}")],
            algorithms: &SigningKey::ALGORITHMS,
            token_types: &TokenTypes::Only(vec!["at+jwt".to_owned()]),
            leeway: std::time::Duration::ZERO,
            now: self.clock.now(),
        };
        let keys = self
            .issuer
            .live_keys(&server_id(server))
            .expect("the server exists")
            .load();
        let mut unverified = Unverified::parse(token).expect("a compact token");
        verify(&mut unverified, &keys, &expectations).map(crate::jose::verify::Verified::into_inner)
    }

    /// Whether the gate would refuse the token as revoked.
    pub(crate) fn is_dead(&self, server: &str, claims: &Claims) -> bool {
        let id = server_id(server);
        let (jti, subject) = (claims.jti(), claims.subject());
        let life = crate::revocation::Life {
            server: &id,
            jti: jti.as_ref(),
            session: None,
            subject: subject.as_ref(),
            client: None,
            kid: claims.kid.as_ref(),
            issued_at: claims.issued_at,
        };
        self.revocations.dead(&life).is_some()
    }
}
