//! The issuer's objects as declared in the file: what `config` hands over, each with its place.
//!
//! `oauth::access::compile` turns this into a compiled model, or into every error at once.

use std::time::Duration;

use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::location::{Located, Location};
use crate::model::secret::Secret;

/// All that the issuer is declared to have.
#[derive(Debug, Clone, Default)]
pub struct IssuerDeclaration {
    /// The local authorization servers.
    pub servers: Vec<AuthorizationServerDeclaration>,
    /// The clients.
    pub clients: Vec<ClientDeclaration>,
    /// The groups' names.
    pub groups: Vec<Located<String>>,
    /// The users: only where `dev: true`.
    pub users: Vec<UserDeclaration>,
}

/// A local authorization server.
#[derive(Debug, Clone)]
pub struct AuthorizationServerDeclaration {
    /// Its name: the `{id}` of `/oauth2/{id}`.
    pub id: Located<AuthorizationServerId>,
    /// The `aud` of its access tokens.
    pub audience: Located<String>,
    /// How it signs.
    pub signing: SigningDeclaration,
    /// How its access tokens look.
    pub token_profile: TokenProfile,
    /// Its scopes.
    pub scopes: Vec<ScopeDeclaration>,
    /// Its claims.
    pub claims: Vec<ClaimDeclaration>,
    /// Its access policies, in order: the first rule that matches decides.
    pub policies: Vec<PolicyDeclaration>,
    /// What few servers say.
    pub options: ServerOptions,
}

/// What few authorization servers say.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// The name that people see.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Inactive: every endpoint answers as if it did not exist.
    pub inactive: bool,
    /// Resources beside the audience that a token may be for (RFC 8707), compared exactly.
    pub resources: Vec<Located<String>>,
    /// Issuers whose assertions are a grant (RFC 7523 section 2.1).
    pub trusted_issuers: Vec<TrustedIssuerDeclaration>,
    /// Authorization servers of ours whose tokens may be exchanged here (RFC 8693); always also its own.
    pub associated_servers: Vec<Located<AuthorizationServerId>>,
    /// How many actors a chain of delegation may have (RFC 8693 section 4.1); 4 if not said.
    pub actors_max: Option<u32>,
    /// Whether a DPoP proof has to hold a nonce of ours (RFC 9449 section 8).
    pub dpop_nonce_required: bool,
}

/// An issuer whose assertions are a grant.
#[derive(Debug, Clone)]
pub struct TrustedIssuerDeclaration {
    /// The `iss` of its assertions.
    pub issuer: Located<String>,
    /// Its keys.
    pub keys: KeysDeclaration,
    /// The claim that holds the login of the user; `sub` if not said.
    pub subject_claim: Option<String>,
    /// Whether `jwks_uri` may have a private address.
    pub allow_private_addresses: bool,
}

/// Where the public keys of a peer are.
#[derive(Debug, Clone)]
pub enum KeysDeclaration {
    /// Here (RFC 7517 section 5), as JSON.
    Jwks(Located<serde_json::Value>),
    /// At this URL.
    JwksUri(Located<url::Url>),
}

/// How an authorization server signs.
#[derive(Debug, Clone)]
pub struct SigningDeclaration {
    /// `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`.
    pub algorithm: Located<String>,
    /// How old a key gets before the next one takes over; never by itself if not said.
    pub rotate_every: Option<Duration>,
}

/// How access tokens look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenProfile {
    /// RFC 9068: `typ: at+jwt`, `client_id`, `scope` as a string, and `cid`.
    #[default]
    Rfc9068,
    /// Okta's: `cid`, `uid`, `scp` as an array.
    Okta,
}

/// A scope.
#[derive(Debug, Clone)]
pub struct ScopeDeclaration {
    /// Its name, as written (it may break the grammar).
    pub name: Located<String>,
    /// What a person is told.
    pub description: Option<String>,
    /// Whether a person is asked.
    pub consent: Consent,
    /// Granted when a request names no scope.
    pub default: bool,
    /// Named in the metadata documents.
    pub metadata: bool,
}

/// Whether a person is asked for a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consent {
    /// Never.
    #[default]
    Implicit,
    /// Always, unless a grant is remembered.
    Required,
    /// As required, but a client without a person gets it silently.
    Flexible,
}

/// A claim.
#[derive(Debug, Clone)]
pub struct ClaimDeclaration {
    /// Its name.
    pub name: Located<String>,
    /// The CEL expression over `user`, `client`, `grant` and `scopes` that gives its value.
    pub value: Located<String>,
    /// Which document carries it: `access_token`, `id_token`, `userinfo`.
    pub place: ClaimPlace,
    /// Present only if one of these scopes was granted; always if there are none.
    pub scopes: Vec<Located<String>>,
}

/// Which document carries a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimPlace {
    /// The access token.
    AccessToken,
    /// The ID token.
    IdToken,
    /// The userinfo answer.
    Userinfo,
}

/// An access policy: the clients that it is for, and its rules in order.
#[derive(Debug, Clone)]
pub struct PolicyDeclaration {
    /// Its name.
    pub name: Located<String>,
    /// The clients that it is for.
    pub clients: PolicyClients,
    /// Its rules.
    pub rules: Vec<RuleDeclaration>,
}

/// The clients that a policy is for.
#[derive(Debug, Clone)]
pub enum PolicyClients {
    /// `all`: every client; the place is that of the word.
    All(Location),
    /// These.
    Only(Vec<Located<String>>),
}

/// A rule of a policy.
#[derive(Debug, Clone)]
pub struct RuleDeclaration {
    /// Its name.
    pub name: Located<String>,
    /// The grant types that it matches, as written.
    pub grants: Vec<Located<String>>,
    /// The groups one of which the user must be in; any user (or none) if empty.
    pub groups: Vec<Located<String>>,
    /// The groups none of which the user may be in.
    pub exclude_groups: Vec<Located<String>>,
    /// The users, by login, that it matches beside the groups.
    pub users: Vec<Located<String>>,
    /// The scopes that it allows.
    pub scopes: RuleScopes,
    /// How long an access token lives.
    pub access_token: Located<Duration>,
    /// How long a refresh token lives, if one is given at all.
    pub refresh_token: Option<RefreshDeclaration>,
}

/// The scopes that a rule allows.
#[derive(Debug, Clone)]
pub enum RuleScopes {
    /// `any`: every scope of the server.
    Any(Location),
    /// These.
    Only(Vec<Located<String>>),
}

/// How long a refresh token lives.
#[derive(Debug, Clone, Copy)]
pub struct RefreshDeclaration {
    /// From the sign-in on, whatever happens.
    pub lifetime: Duration,
    /// Without being used.
    pub idle: Option<Duration>,
}

/// A client.
#[derive(Debug, Clone)]
pub struct ClientDeclaration {
    /// Its identifier.
    pub id: Located<ClientId>,
    /// What kind of app it is.
    pub kind: ClientKind,
    /// Where the kind is written.
    pub kind_location: Location,
    /// The grant types that it may use, as written.
    pub grants: Vec<Located<String>>,
    /// Where authorization responses may go.
    pub redirect_uris: Vec<Located<String>>,
    /// Its secrets; two may overlap.
    pub secrets: Vec<ClientSecretDeclaration>,
    /// The groups whose members may use it.
    pub assigned_groups: Vec<Located<String>>,
    /// The users, by login, that may use it.
    pub assigned_users: Vec<Located<String>>,
    /// What few clients say.
    pub options: ClientOptions,
}

/// What few clients say. The names are those of RFC 7591 section 2 and its extensions.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a metadata value of RFC 7591, and none excludes another"
)]
pub struct ClientOptions {
    /// The name that people see.
    pub name: Option<String>,
    /// Inactive: it does not authenticate.
    pub inactive: bool,
    /// How it authenticates; a confidential client that does not say may send its secret by Basic or in the body.
    pub authentication: Option<Located<AuthenticationMethod>>,
    /// Its public keys.
    pub keys: Option<KeysDeclaration>,
    /// Whether its `jwks_uri` may have a private, loopback or link-local address: for an operator to say.
    pub allow_private_addresses: bool,
    /// Its secrets where they must be readable by us (`client_secret_jwt`), instead of their digests.
    pub shared_secrets: Vec<Located<Secret<String>>>,
    /// The subject of its certificate (RFC 8705 section 2.1.2).
    pub tls_subject: Option<TlsSubject>,
    /// Tokens are bound to a DPoP key always (RFC 9449 section 5.2).
    pub dpop_bound_access_tokens: bool,
    /// Tokens are bound to the certificate that the client shows (RFC 8705 section 3.4).
    pub certificate_bound_access_tokens: bool,
    /// How its refresh tokens change.
    pub refresh: RefreshRotation,
    /// The audiences that it is a resource server of, and may introspect tokens for; `*` is every one.
    pub audiences: Vec<Located<String>>,
    /// Whether a person is asked for consent.
    pub asks_consent: bool,
}

/// How a client authenticates (RFC 7591 section 2, RFC 8705 section 2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthenticationMethod {
    /// `none`: it only names itself.
    None,
    /// `client_secret_basic`.
    ClientSecretBasic,
    /// `client_secret_post`.
    ClientSecretPost,
    /// `client_secret_jwt`.
    ClientSecretJwt,
    /// `private_key_jwt`.
    PrivateKeyJwt,
    /// `tls_client_auth`.
    TlsClientAuth,
    /// `self_signed_tls_client_auth`.
    SelfSignedTlsClientAuth,
}

/// The one subject that a certificate must have (RFC 8705 section 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSubject {
    /// `tls_client_auth_subject_dn`, as RFC 4514 writes it.
    Dn(String),
    /// `tls_client_auth_san_dns`.
    SanDns(String),
    /// `tls_client_auth_san_uri`.
    SanUri(String),
    /// `tls_client_auth_san_ip`.
    SanIp(String),
    /// `tls_client_auth_san_email`.
    SanEmail(String),
}

impl AuthenticationMethod {
    /// Every method.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::ClientSecretJwt,
        Self::PrivateKeyJwt,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
    ];

    /// The name on the wire and in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::ClientSecretJwt => "client_secret_jwt",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

impl TlsSubject {
    /// The subject as it is registered.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Dn(text) | Self::SanDns(text) | Self::SanUri(text) | Self::SanIp(text) | Self::SanEmail(text) => text,
        }
    }
}

/// How refresh tokens change (okta-model section 6, `refresh_token`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshRotation {
    /// Each use gives a new one; a static one stays.
    pub rotates: bool,
    /// For how long the last one is still answered, with the same successor; 0 to 60 seconds.
    pub grace: Duration,
}

impl Default for RefreshRotation {
    fn default() -> Self {
        Self {
            rotates: true,
            grace: Duration::from_secs(30),
        }
    }
}

/// What kind of app a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// A server-side web app: confidential.
    Web,
    /// An app on a person's device: public, PKCE.
    Native,
    /// A single-page app: public, PKCE.
    Browser,
    /// A service without a person: confidential.
    Service,
}

/// A client secret as declared.
#[derive(Debug, Clone)]
pub struct ClientSecretDeclaration {
    /// Where it stands.
    pub location: Location,
    /// The SHA-256 of the secret.
    pub sha256: Digest,
}

/// A user of the demonstration directory.
#[derive(Debug, Clone)]
pub struct UserDeclaration {
    /// The login, an e-mail address as a rule.
    pub login: Located<String>,
    /// The password, in plain text: which is why users stand in the file only where `dev: true`.
    pub password: Secret<String>,
    /// The groups that the user is in.
    pub groups: Vec<Located<String>>,
    /// The profile's attributes.
    pub profile: serde_json::Map<String, serde_json::Value>,
}
