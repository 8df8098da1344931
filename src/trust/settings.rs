//! What `trust` needs to know of each authorization server.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::jose::alg::Algorithm;
use crate::jose::sign::SigningKey;
pub use crate::jose::verify::TokenTypes;
use crate::model::id::{AuthorizationServerId, Issuer};
use crate::model::secret::Secret;
use crate::policy::caller::ClaimNames;

/// One authorization server whose tokens the gate may believe.
#[derive(Debug, Clone)]
pub struct TrustedServerSettings {
    /// Its name in the configuration.
    pub id: AuthorizationServerId,
    /// What its issuer calls it, where that is another name: revocations speak of it so.
    pub issued_as: Option<AuthorizationServerId>,
    /// Whether its tokens are minted by our issuer, here or elsewhere: then they are judged by our revocations.
    pub is_ours: bool,
    /// The exact `iss` of its tokens.
    pub issuer: Issuer,
    /// A token must name one of these in `aud`.
    pub audiences: Vec<String>,
    /// The algorithms that it signs with; never empty.
    pub algorithms: Vec<Algorithm>,
    /// The `typ` header values that mark its access tokens, compared without case and without an
    /// `application/` prefix. For external servers `JWT`, `at+jwt` and an absent `typ` pass by default.
    pub token_types: TokenTypes,
    /// Which claims name the client and the scopes.
    pub claim_names: ClaimNames,
    /// How far clocks may be apart: one value for `exp`, `nbf` and `iat`, at most 60 s.
    pub leeway: Duration,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Where opaque tokens are looked up, if anywhere.
    pub introspection: Option<IntrospectionSettings>,
    /// How its endpoints may be reached.
    pub fetch: FetchPolicy,
    /// For how long keys stay in force while they cannot be fetched anew.
    pub keys_stale_max: Duration,
    /// The shortest time between two fetches of its keys.
    pub keys_cooldown: Duration,
}

impl TrustedServerSettings {
    /// A server of ours, whose tokens one clock mints and checks unless there is a leeway.
    #[must_use]
    pub fn minted_here(
        id: AuthorizationServerId,
        issuer: Issuer,
        audience: String,
        algorithms: Vec<Algorithm>,
        leeway: Duration,
    ) -> Self {
        Self {
            id,
            issued_as: None,
            is_ours: true,
            issuer,
            audiences: vec![audience],
            algorithms,
            token_types: TokenTypes::Only(vec![OUR_TOKEN_TYPE.to_owned()]),
            claim_names: ClaimNames::default(),
            leeway,
            keys: KeySource::Local,
            introspection: None,
            fetch: FetchPolicy::default(),
            keys_stale_max: KEYS_STALE_MAX,
            keys_cooldown: KEYS_COOLDOWN,
        }
    }

    /// What its issuer calls it.
    #[must_use]
    pub fn id_at_issuer(&self) -> &AuthorizationServerId {
        self.issued_as.as_ref().unwrap_or(&self.id)
    }

    /// Whether the other settings say the same, secrets included: then a running server can stay.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.id == other.id
            && self.issued_as == other.issued_as
            && self.is_ours == other.is_ours
            && self.issuer == other.issuer
            && self.audiences == other.audiences
            && self.algorithms == other.algorithms
            && self.token_types == other.token_types
            && self.claim_names == other.claim_names
            && self.leeway == other.leeway
            && self.keys.is_same_as(&other.keys)
            && match (&self.introspection, &other.introspection) {
                (None, None) => true,
                (Some(one), Some(two)) => one.is_same_as(two),
                _ => false,
            }
            && self.fetch == other.fetch
            && self.keys_stale_max == other.keys_stale_max
            && self.keys_cooldown == other.keys_cooldown
    }
}

/// What `typ` access tokens of ours have (RFC 9068 section 2.1), whatever their profile.
const OUR_TOKEN_TYPE: &str = "at+jwt";

/// For how long keys stay in force while they cannot be fetched, unless something else is said.
pub const KEYS_STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest time between two fetches of one server's keys, unless something else is said.
pub const KEYS_COOLDOWN: Duration = Duration::from_secs(30);

/// An authorization server that is made over the management API, as the configuration names it. Whether there is one,
/// and what its tokens look like, is known only while it runs ([`ManagedServer`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedServerSettings {
    /// Its name in the configuration.
    pub id: AuthorizationServerId,
    /// Which one it is.
    pub reference: ManagedReference,
    /// The URL below which its issuer is.
    pub public_url: Url,
    /// How far clocks may be apart: at most 60 s.
    pub leeway: Duration,
}

/// Which of the managed servers is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagedReference {
    /// The one with this identifier: never another one, since identifiers are not given again.
    Id(AuthorizationServerId),
    /// The one that has this name at the time.
    Name(String),
}

/// A managed server that exists and is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedServer {
    /// Its identifier.
    pub id: AuthorizationServerId,
    /// The `iss` of its tokens.
    pub issuer: Issuer,
    /// Their `aud`.
    pub audience: String,
}

impl ManagedServerSettings {
    /// What to believe while it is this one.
    #[must_use]
    pub fn trusted(&self, server: ManagedServer) -> TrustedServerSettings {
        let algorithms = SigningKey::ALGORITHMS.to_vec();
        let (id, leeway) = (self.id.clone(), self.leeway);
        TrustedServerSettings {
            issued_as: Some(server.id),
            // Whatever it signs with: the keys that are published say which algorithm each is for.
            ..TrustedServerSettings::minted_here(id, server.issuer, server.audience, algorithms, leeway)
        }
    }
}

impl std::fmt::Display for ManagedReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "with the identifier `{id}`"),
            Self::Name(name) => write!(f, "named `{name}`"),
        }
    }
}

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// This process mints the tokens: the issuer publishes the keys (`keys::LiveKeys`).
    Local,
    /// The issuer's discovery document names its `jwks_uri`.
    Discovery,
    /// This URL serves the key set.
    Uri(Url),
    /// This file holds the key set; it is read again when it changes.
    File(PathBuf),
    /// A shared secret: HMAC, by explicit configuration only.
    SharedSecret(Secret<Vec<u8>>),
    /// There are none: every token is opaque.
    None,
}

impl KeySource {
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local, Self::Local) | (Self::Discovery, Self::Discovery) | (Self::None, Self::None) => true,
            (Self::Uri(one), Self::Uri(two)) => one == two,
            (Self::File(one), Self::File(two)) => one == two,
            (Self::SharedSecret(one), Self::SharedSecret(two)) => one.expose_secret() == two.expose_secret(),
            _ => false,
        }
    }
}

/// An RFC 7662 endpoint.
#[derive(Debug, Clone)]
pub struct IntrospectionSettings {
    /// The endpoint.
    pub url: Url,
    /// We are this client to it.
    pub client_id: String,
    /// And this is our secret (sent by HTTP Basic).
    pub client_secret: Secret<String>,
    /// For how long an answer is kept, at most.
    pub cache: Duration,
}

impl IntrospectionSettings {
    fn is_same_as(&self, other: &Self) -> bool {
        self.url == other.url
            && self.client_id == other.client_id
            && self.client_secret.expose_secret() == other.client_secret.expose_secret()
            && self.cache == other.cache
    }
}

/// How an external server's endpoints may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FetchPolicy {
    /// Whether private, loopback and link-local addresses may be connected to.
    pub allow_private_addresses: bool,
    /// Whether `http` URLs are fetched: only where `dev: true`.
    pub allow_http: bool,
    /// Certificates to trust beside the system's, as a PEM file.
    pub ca_file: Option<PathBuf>,
}
