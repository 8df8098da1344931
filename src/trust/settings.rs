//! What `trust` needs to know of each authorization server.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::jose::alg::Algorithm;
pub use crate::jose::verify::TokenTypes;
use crate::model::id::{AuthorizationServerId, Issuer};
use crate::model::secret::Secret;
use crate::policy::caller::ClaimNames;

/// One authorization server whose tokens the gate may believe.
#[derive(Debug, Clone)]
pub struct TrustedServerSettings {
    /// Its name in the configuration.
    pub id: AuthorizationServerId,
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
    /// Whether the other settings say the same, secrets included: then a running server can stay.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.id == other.id
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
