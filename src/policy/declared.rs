//! The gate's rules as declared: what `config` hands over, each part with its place in the file.
//!
//! `policy::compile` turns this into a compiled policy, or into every error at once.

use std::time::Duration;

use crate::model::id::{ApiName, AuthorizationServerId};
use crate::model::location::{Located, Location};
use crate::model::scope::Scope;

/// All that the gate's rules are made of.
#[derive(Debug, Clone, Default)]
pub struct Declaration {
    /// The authorization servers that APIs may name, with the scopes that routes may name.
    pub servers: Vec<ServerDeclaration>,
    /// The APIs.
    pub apis: Vec<ApiDeclaration>,
}

/// What the gate's rules need to know of an authorization server.
#[derive(Debug, Clone)]
pub struct ServerDeclaration {
    /// Its name.
    pub id: AuthorizationServerId,
    /// The scopes that it defines.
    pub scopes: Vec<Scope>,
    /// Who declares it.
    pub origin: Origin,
    /// The clients that are declared in the file, if tokens are minted here: for the check of names.
    pub clients: Vec<String>,
}

/// Who declares an authorization server, and so what the file can know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file: tokens are minted here, and all of its scopes and clients are known.
    File,
    /// The management API: tokens are minted here, and its scopes and clients come and go.
    Management,
    /// Somebody else: tokens are minted elsewhere.
    Elsewhere,
}

/// One API: a group of endpoints offered together.
#[derive(Debug, Clone)]
pub struct ApiDeclaration {
    /// Its name.
    pub name: Located<ApiName>,
    /// Its hosts: exact, or `*.suffix`.
    pub hosts: Vec<Located<String>>,
    /// The authorization servers that may vouch for its callers.
    pub servers: Vec<Located<AuthorizationServerId>>,
    /// The clients that may call it.
    pub clients: ClientsDeclaration,
    /// How paths are read.
    pub paths: PathOptions,
    /// What an `OPTIONS` with `Origin` and `Access-Control-Request-Method` needs.
    pub cors_preflight: CorsPreflight,
    /// What a bad token on a `public` route does.
    pub bad_token: BadToken,
    /// Answer 404 instead of 403 where nothing matches.
    pub hide: bool,
    /// Deny (421) when the TLS server name and the host differ.
    pub bind_sni: bool,
    /// Whether `x-forwarded-client-cert` is read: only where Envoy sanitises it.
    pub trust_xfcc: bool,
    /// The `realm` of challenges; the API's name if not said.
    pub realm: Option<Located<String>>,
    /// The URL that challenges name as `resource_metadata` (RFC 9728).
    pub resource_metadata: Option<Located<String>>,
    /// How DPoP proofs are judged.
    pub dpop: DpopOptions,
    /// What the upstream sees.
    pub forward: ForwardDeclaration,
    /// Its routes.
    pub routes: Vec<RouteDeclaration>,
}

/// The clients that may call an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientsDeclaration {
    /// The file does not say: as `any` for an API whose tokens are minted here (where access policies
    /// decide), an error for one whose tokens come from elsewhere.
    Unstated,
    /// Whichever client the authorization server gives a token to.
    Any,
    /// These only.
    Only(Vec<Located<String>>),
}

/// How an API reads paths. The default is `strict`: what two servers could read differently is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the file, each named there"
)]
pub struct PathOptions {
    /// `//` counts as `/` instead of being refused: say it only if Envoy merges too.
    pub merge_slashes: bool,
    /// `.` and `..` segments are resolved instead of refused.
    pub resolve_dot_segments: bool,
    /// `%2F` stays one segment's text, which only wildcards match, instead of being refused.
    pub keep_encoded_slash: bool,
    /// `/a/` and `/a` are one path.
    pub ignore_trailing_slash: bool,
    /// Literals match whatever the case of ASCII letters.
    pub ignore_case: bool,
    /// `!` may stand in a path (Envoy also writes it for bytes that are no UTF-8).
    pub allow_exclamation: bool,
}

/// What a CORS preflight needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CorsPreflight {
    /// A route, as any other request.
    #[default]
    AsRoute,
    /// Nothing: it is allowed without a token, and without an identity.
    Allow,
}

/// What a bad token on a public route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadToken {
    /// It is not looked at.
    #[default]
    Ignore,
    /// It is refused with 401; a good one gives the caller an identity.
    Deny,
}

/// How DPoP proofs are judged (RFC 9449).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpopOptions {
    /// The scheme and authority that clients see, for `htu`; what Envoy saw if not said.
    pub origin: Option<String>,
    /// Whether a proof must carry a nonce of ours (section 9).
    pub require_nonce: bool,
    /// Whether a proof is used up here; `false` behind another gate that has used it up.
    pub consume: bool,
    /// How far `iat` may lie from now.
    pub max_age: Duration,
}

impl Default for DpopOptions {
    fn default() -> Self {
        Self {
            origin: None,
            require_nonce: false,
            consume: true,
            max_age: Duration::from_secs(300),
        }
    }
}

/// What the upstream sees.
#[derive(Debug, Clone, Default)]
pub struct ForwardDeclaration {
    /// Whether the token goes on to the upstream. `Keep` is the default on routes that need a token.
    pub token: ForwardToken,
    /// Identity headers: name, and the CEL expression over `token`, `path` and `request` that fills it.
    pub headers: Vec<(Located<String>, Located<String>)>,
}

/// Whether the token goes on to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardToken {
    /// The Authorization header stays.
    #[default]
    Keep,
    /// The Authorization header is removed.
    Strip,
}

/// One entry under `routes`: a path template (or a gRPC service) with its verbs (or methods).
#[derive(Debug, Clone)]
pub struct RouteDeclaration {
    /// Where the entry stands.
    pub location: Location,
    /// The template, or the service.
    pub target: RouteTarget,
    /// Each verb (or gRPC method) with what it needs.
    pub verbs: Vec<VerbDeclaration>,
    /// Whether `X-HTTP-Method-Override` is tolerated: then the scopes of both verbs are needed.
    pub method_override: MethodOverride,
    /// Whether a `public` route hands the Authorization header on as it came.
    pub forward_authorization: bool,
}

/// What a route matches beside the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    /// A path template such as `/transfers/{id}` or `/files/{rest...}`.
    Path(Located<String>),
    /// A gRPC service such as `bank.transactions.v1.Transactions`: `POST /service/method`.
    Grpc(Located<String>),
}

/// What a method override header does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MethodOverride {
    /// The request is refused with 400.
    #[default]
    Refuse,
    /// The requirements of both verbs must hold.
    Both,
}

/// A verb (or gRPC method) with its requirement.
#[derive(Debug, Clone)]
pub struct VerbDeclaration {
    /// `GET`, `"*"`, or a gRPC method's name.
    pub verb: Located<String>,
    /// What it needs.
    pub requirement: RequirementDeclaration,
}

/// What a route needs.
#[derive(Debug, Clone)]
pub enum RequirementDeclaration {
    /// `public`: no token.
    Public,
    /// `authenticated`: any valid token of the API's authorization servers and clients.
    Authenticated,
    /// `deny`: nothing gets through.
    Deny,
    /// Scopes and further conditions.
    Token(Box<TokenRequirementDeclaration>),
}

/// Scopes and further conditions; every one that is stated must hold.
#[derive(Debug, Clone, Default)]
pub struct TokenRequirementDeclaration {
    /// Every one of these scopes.
    pub all: Vec<Located<String>>,
    /// At least one of these scopes.
    pub any: Vec<Located<String>>,
    /// One of these clients, narrower than the API's.
    pub clients: Option<Vec<Located<String>>>,
    /// One of these authentication context classes.
    pub acr: Vec<Located<String>>,
    /// The user signed in at most this long ago (RFC 9470).
    pub max_age: Option<Duration>,
    /// A CEL condition over `token`, `path` and `request`.
    pub when: Option<Located<String>>,
    /// The kind of key that the token must be bound to.
    pub bound: Option<Binding>,
}

/// The kind of key that a token must be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// A DPoP key (RFC 9449).
    Dpop,
    /// A client certificate (RFC 8705).
    Mtls,
}
