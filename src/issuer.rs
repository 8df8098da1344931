//! The issuer: authenticates clients, decides grants, mints and revokes tokens.
//!
//! One method for each endpoint; what each promises:
//! - [`Issuer::token`] mints only what [`crate::oauth::access::decide`] granted, and leaves a denial
//!   with its trace under the `error_id` that the client is told.
//! - [`Issuer::revoke`] returns only when the revocation is durable *and* in force at the gate:
//!   first the store, then the table that the gate reads, then the answer.
//! - [`Issuer::keys`] and [`Issuer::metadata`] are prepared text: no request makes work.
//!
//! Everything that the configuration says is one immutable snapshot behind a pointer;
//! [`Issuer::reload`] replaces it whole, or not at all. Keys outlive it: a server that is declared
//! again has the keys that it had.
//!
//! ```text
//! http ─▶ authenticate ─▶ grant/… ─▶ access::decide ─▶ claims ─▶ mint ─▶ signing
//!              └─▶ revoke ─▶ store ─▶ revocation ─▶ (the gate)
//! ```
//!
//! It knows no HTTP: a request comes in as bytes and headers, an answer goes out as values.

mod arrival;
mod authenticate;
pub mod change;
pub mod directory;
mod dpop;
mod follow;
mod grant;
mod grants;
mod introspect;
pub mod journal;
mod keys;
mod living;
mod managed;
pub mod management;
mod mint;
pub mod passwords;
mod peers;
mod people;
pub mod preview;
pub mod registered;
mod revoke;
mod secrets;
pub mod settings;
mod signed;
mod signing;
mod tend;
mod undeclared;
mod userinfo;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::{Value, json};
use url::Url;

pub use grant::DeviceAnswer;
pub use introspect::{INTROSPECTION_JWT, IntrospectionAnswer};
pub use journal::Journal;
pub use keys::{KeyView, RevokedKey, Takeover};
pub use mint::TokenAnswer;
pub use signing::{Jwks, KeyFailure};

use crate::audit::{AuditEvent, AuditKind, AuditSink};
use crate::clock::Clock;
use crate::entropy;
use crate::issuer::change::Plan;
use crate::issuer::directory::Directory;
use crate::issuer::follow::Followed;
use crate::issuer::peers::Peers;
use crate::issuer::registered::Registered;
use crate::issuer::settings::IssuerSettings;
use crate::issuer::signing::ServerKeys;
use crate::keys::LiveKeys;
use crate::model::certificate::ClientCertificate;
use crate::model::event::{Event, EventSink};
use crate::model::finding::Finding;
use crate::model::id::{AuthorizationServerId, ClientId, Issuer as IssuerId};
use crate::oauth::access::{self, Model, Server};
use crate::oauth::declared::IssuerDeclaration;
use crate::oauth::error::{ErrorCode, GrantFailure, OAuthError};
use crate::oauth::keyring::Rotation;
use crate::oauth::metadata;
use crate::oauth::request::{Form, MalformedRequest};
use crate::revocation::Revocations;
use crate::store::StoreError;
use crate::store::open::OpenStore;
use crate::trust::fetch::Fetch;

/// What the issuer works with.
pub struct Services {
    /// Where it keeps what must not be lost.
    pub store: OpenStore,
    /// The table that the gate reads.
    pub revocations: Arc<Revocations>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who hears of what happens: metrics.
    pub events: Arc<dyn EventSink>,
    /// Who keeps what must be recorded: [`Journal`], as a rule.
    pub audit: Arc<dyn AuditSink>,
    /// Who fetches the keys of clients and of trusted issuers.
    pub fetch: Arc<dyn Fetch>,
}

/// The issuer.
pub struct Issuer {
    services: Services,
    peers: Peers,
    snapshot: ArcSwap<Snapshot>,
    /// Where the management API is reached; at the public URL if nothing is said.
    management_url: ArcSwapOption<Url>,
    registered: Registered,
    /// One reload or change at a time.
    reloading: tokio::sync::Mutex<()>,
    passwords: passwords::Passwords,
    followed: Followed,
    /// Who is told of each new snapshot.
    listener: OnceLock<Listener>,
    signed: signed::SignedTokens,
}

/// What is called whenever something else is in force: on the runtime, so it must not block for long.
type Listener = Box<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer(..)")
    }
}

/// Everything that the file and the administration say.
struct Snapshot {
    public_url: Url,
    model: Model,
    servers: HashMap<AuthorizationServerId, Arc<Endpoint>>,
    /// What the file declares.
    declared: Arc<IssuerDeclaration>,
    /// What it was compiled to.
    of_file: Arc<Model>,
    /// What is administered.
    directory: Arc<Directory>,
    needs_certificates: bool,
    /// Where clients of type `browser` live.
    browser_origins: HashSet<String>,
}

/// One authorization server, ready to answer.
struct Endpoint {
    server: Arc<Server>,
    issuer: IssuerId,
    /// The token endpoint, as clients see it.
    token_url: String,
    /// What the `aud` of an assertion may be: the issuer, or the token endpoint (RFC 7523 section 3).
    assertion_audiences: [String; 2],
    keys: Arc<ServerKeys>,
    authorization_server: Arc<str>,
    openid_configuration: Arc<str>,
}

/// Which metadata document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// RFC 8414.
    AuthorizationServer,
    /// OpenID Connect Discovery.
    OpenidConfiguration,
}

/// A request of a form endpoint, as it came.
#[derive(Debug, Clone, Copy, Default)]
pub struct FormRequest<'a> {
    /// Every value of the Authorization header.
    pub authorization: &'a [&'a [u8]],
    /// The content type.
    pub content_type: Option<&'a str>,
    /// Whether the URL has a query.
    pub has_query: bool,
    /// The body.
    pub body: &'a [u8],
    /// Every value of the DPoP header (RFC 9449).
    pub dpop: &'a [&'a [u8]],
    /// The certificate that the connection shows (RFC 8705): never one that a header names.
    pub certificate: Option<&'a ClientCertificate>,
    /// The Accept header.
    pub accept: Option<&'a str>,
}

impl FormRequest<'_> {
    fn form(&self) -> Result<Form, OAuthError> {
        if self.has_query {
            return Err(MalformedRequest::Query.into());
        }
        Ok(Form::parse(self.content_type, self.body)?)
    }
}

/// A request that failed.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: OAuthError,
    /// What the response, the log and the audit record share.
    pub error_id: String,
    /// Whether a 401 has a challenge: the client authenticated by header.
    pub challenge: bool,
    /// The nonce for the next DPoP proof, where the server asks for one.
    pub dpop_nonce: Option<String>,
}

/// Why the issuer does not start, or keeps its last configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The declaration has errors.
    #[error("the issuer's declaration has errors")]
    Declaration(Vec<Finding>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A signing key failed.
    #[error("the keys of the authorization server `{server}`: {source}")]
    Keys {
        /// Whose key.
        server: AuthorizationServerId,
        /// Why.
        #[source]
        source: KeyFailure,
    },
}

impl Issuer {
    /// Starts: compiles the declaration, replays the revocations, and opens or makes the keys. When
    /// it returns, tokens can be minted and the gate refuses what was revoked before.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: &IssuerSettings, services: Services) -> Result<Arc<Self>, StartError> {
        let followed = Followed::replay(&services).await?;
        let empty = Snapshot {
            public_url: settings.public_url.clone(),
            model: Model::default(),
            servers: HashMap::new(),
            declared: Arc::default(),
            of_file: Arc::default(),
            directory: Arc::new(change::read_directory(&services, &settings.declared).await?),
            needs_certificates: false,
            browser_origins: HashSet::new(),
        };
        let issuer = Arc::new(Self {
            services,
            peers: Peers::new(),
            snapshot: ArcSwap::from_pointee(empty),
            management_url: ArcSwapOption::empty(),
            registered: Registered::default(),
            reloading: tokio::sync::Mutex::new(()),
            passwords: passwords::Passwords::default(),
            followed,
            listener: OnceLock::new(),
            signed: signed::SignedTokens::new(),
        });
        issuer.reload(settings).await?;
        Ok(issuer)
    }

    /// Takes over another configuration: whole, or not at all. Servers that are declared in both keep
    /// their keys; the tokens of servers and clients that are declared no more are dead when it returns.
    ///
    /// # Errors
    /// [`StartError`]; the last configuration stays in force.
    pub async fn reload(&self, settings: &IssuerSettings) -> Result<(), StartError> {
        let _one_at_a_time = self.reloading.lock().await;
        let (model, findings) = access::compile(&settings.declared);
        let of_file = Arc::new(model.ok_or(StartError::Declaration(findings))?);
        let last = self.snapshot.load_full();
        let mut directory = Directory::clone(&last.directory);
        directory.compile_all(directory::Surroundings {
            declared: &settings.declared,
            sealing: &self.services.store.sealing,
        });
        let next = Plan {
            public_url: settings.public_url.clone(),
            declared: Arc::new(settings.declared.clone()),
            of_file,
            directory: Arc::new(directory),
        };
        let next = next.snapshot(&last);
        let failed = |(server, source)| StartError::Keys { server, source };
        self.open_keys(next.servers.values()).await.map_err(failed)?;
        self.put_snapshot(Arc::new(next));
        self.end_undeclared(&last).await?;
        Ok(())
    }

    /// The public URL: the only source of every URL that is given out (attack F26).
    #[must_use]
    pub fn public_url(&self) -> Url {
        self.snapshot.load().public_url.clone()
    }

    /// Whether there is such an authorization server.
    #[must_use]
    pub fn has_server(&self, server: &str) -> bool {
        self.snapshot.load().endpoint(server).is_some()
    }

    /// Whether a client proves itself by a certificate, or has its tokens bound to one: then the listener has to ask
    /// for certificates. It does not otherwise, since browsers would ask their users.
    #[must_use]
    pub fn needs_certificates(&self) -> bool {
        self.snapshot.load().needs_certificates
    }

    /// Whether web pages of this origin may read answers: a client of type `browser` lives there.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.snapshot.load().browser_origins.contains(origin)
    }

    /// The keys of a server as the gate reads them; the same ones through every reload.
    #[must_use]
    pub fn live_keys(&self, server: &AuthorizationServerId) -> Option<Arc<LiveKeys>> {
        self.snapshot
            .load()
            .servers
            .get(server)
            .map(|endpoint| endpoint.keys.live())
    }

    /// The published key set.
    #[must_use]
    pub fn keys(&self, server: &str) -> Option<Arc<Jwks>> {
        self.snapshot.load().endpoint(server).map(|endpoint| {
            endpoint.keys.heed(&self.services.revocations);
            endpoint.keys.jwks()
        })
    }

    /// A metadata document.
    #[must_use]
    pub fn metadata(&self, server: &str, document: Document) -> Option<Arc<str>> {
        let snapshot = self.snapshot.load();
        let endpoint = snapshot.endpoint(server)?;
        Some(Arc::clone(match document {
            Document::AuthorizationServer => &endpoint.authorization_server,
            Document::OpenidConfiguration => &endpoint.openid_configuration,
        }))
    }

    /// Answers a token request.
    ///
    /// # Errors
    /// [`Failure`] with what the client may be told, and an id for the rest.
    pub async fn token(&self, server: &str, request: &FormRequest<'_>) -> Result<TokenAnswer, Failure> {
        // Before the snapshot: what is decided by it is no newer than this.
        let began = self.services.clock.now();
        let snapshot = self.snapshot.load_full();
        let endpoint = snapshot.endpoint(server);
        let mut note = Note::new(server);
        let outcome = match &endpoint {
            Some(endpoint) => {
                let granted = self.grant(&snapshot, endpoint, request, &mut note).await;
                granted.and_then(|answer| self.alive(endpoint, answer, began))
            }
            None => Err(access::AccessDenial::UnknownServer.into()),
        };
        let code = match &outcome {
            Ok(_) => "granted",
            Err(error) => error.code().as_str(),
        };
        self.services.events.record(&Event::TokenRequest {
            authorization_server: if endpoint.is_some() { server } else { "unknown" },
            grant: note.grant,
            outcome: code,
        });
        match outcome {
            Ok(answer) => {
                self.note_use(note.client.as_ref());
                self.services
                    .audit
                    .record(note.event(self, AuditKind::AccessTokenGranted, None));
                Ok(answer)
            }
            Err(error) => {
                let nonce = endpoint.filter(|_| !request.dpop.is_empty());
                let nonce = nonce.and_then(|endpoint| dpop::nonce(self, &endpoint));
                Err(Failure {
                    dpop_nonce: nonce,
                    ..self.fail(error, request, note)
                })
            }
        }
    }

    async fn grant(
        &self,
        snapshot: &Snapshot,
        endpoint: &Endpoint,
        request: &FormRequest<'_>,
        note: &mut Note,
    ) -> Result<TokenAnswer, OAuthError> {
        self.heed_revoked_keys(endpoint).await.map_err(OAuthError::internal)?;
        grant::answer(self, snapshot, endpoint, request, note).await
    }

    /// Revokes a token (RFC 7009). A token that is not this client's, or is none at all, is answered
    /// like one that was revoked, and nothing happens.
    ///
    /// # Errors
    /// [`Failure`] when the client does not authenticate, or the revocation could not be kept.
    pub async fn revoke(&self, server: &str, request: &FormRequest<'_>) -> Result<(), Failure> {
        let snapshot = self.snapshot.load_full();
        let mut note = Note::new(server);
        let outcome = match snapshot.endpoint(server) {
            Some(endpoint) => revoke::answer(self, &snapshot, &endpoint, request, &mut note).await,
            None => Err(access::AccessDenial::UnknownServer.into()),
        };
        outcome.map_err(|error| self.fail(error, request, note))
    }

    fn fail(&self, error: OAuthError, request: &FormRequest<'_>, mut note: Note) -> Failure {
        let error_id = entropy::random_text::<12>();
        let kind = match (&error, error.code()) {
            (OAuthError::ClientAuthentication(failure), _) => {
                note.set("reason", json!(failure.as_str()));
                AuditKind::ClientAuthenticationFailed
            }
            (OAuthError::Grant(failure), _) => {
                note.set("reason", json!(failure.as_str()));
                match failure {
                    GrantFailure::Denied(_) => AuditKind::AccessDenied,
                    GrantFailure::Password(_) => AuditKind::UserAuthenticationFailed,
                    _ => AuditKind::TokenRefused,
                }
            }
            (OAuthError::Access(_), ErrorCode::AccessDenied | ErrorCode::InvalidScope | ErrorCode::ConsentRequired) => {
                AuditKind::AccessDenied
            }
            _ => AuditKind::TokenRefused,
        };
        note.set("error", json!(error.code().as_str()));
        note.set("error_code", json!(error.error_code()));
        if let OAuthError::Internal(cause) = &error {
            tracing::error!(error_id, error = %cause, "the issuer could not complete a request");
        } else {
            note.set("message", json!(error.to_string()));
        }
        self.services
            .audit
            .record(note.event(self, kind, Some(error_id.clone())));
        Failure {
            challenge: error.code() == ErrorCode::InvalidClient && !request.authorization.is_empty(),
            error,
            error_id,
            dpop_nonce: None,
        }
    }
}

impl Snapshot {
    /// A server that answers: an inactive one does not, as if it did not exist (case 157).
    fn endpoint(&self, server: &str) -> Option<Arc<Endpoint>> {
        let endpoint = self.servers.get(server)?;
        (!endpoint.server.options.inactive).then(|| Arc::clone(endpoint))
    }
}

impl Endpoint {
    fn new(public_url: &Url, server: &Arc<Server>, keys: Arc<ServerKeys>, certificates: bool) -> Self {
        let issuer = metadata::issuer_of(public_url, &server.id);
        let token_url = metadata::endpoint(&issuer, &server.id, "token");
        let text = |document: Value| Arc::from(document.to_string());
        Self {
            authorization_server: text(metadata::authorization_server(&issuer, server, certificates)),
            openid_configuration: text(metadata::openid_configuration(&issuer, server, certificates)),
            assertion_audiences: [issuer.to_string(), token_url.clone()],
            token_url,
            issuer,
            server: Arc::clone(server),
            keys,
        }
    }
}

/// What is known so far of a request, for its audit record.
struct Note {
    server: Option<AuthorizationServerId>,
    client: Option<ClientId>,
    grant: &'static str,
    detail: serde_json::Map<String, Value>,
}

impl Note {
    fn new(server: &str) -> Self {
        Self {
            server: AuthorizationServerId::parse(server).ok(),
            client: None,
            grant: "other",
            detail: serde_json::Map::new(),
        }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.detail.insert(name.to_owned(), value);
    }

    fn event(self, issuer: &Issuer, kind: AuditKind, error_id: Option<String>) -> AuditEvent {
        AuditEvent {
            at: issuer.services.clock.now(),
            kind,
            server: self.server,
            client: self.client,
            error_id,
            actor: None,
            target: None,
            detail: Value::Object(self.detail),
        }
    }
}

fn rotation_of(server: &Server) -> Rotation {
    Rotation {
        algorithm: server.algorithm,
        every: server.rotate_every,
    }
}

/// How long the issuer waits between two looks at what is due, at most.
const TEND_EVERY_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod fixture;
