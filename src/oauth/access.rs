//! Who may get what: authorization servers, scopes, claims, access policies and their rules.
//!
//! [`compile`] turns what is declared into a [`Model`], or into every finding at once. [`decide`] is
//! the one function that decides a token request; the token endpoint, the preview and the audit log
//! call it, so that what one shows is what the other does.
//!
//! The rules of the ordered switch (Okta's model, section 5):
//! - the first rule that matches decides, and nothing after it runs;
//! - a scope outside a rule makes the rule *not match*: a grant is never narrowed to fit;
//! - a policy whose clients match but whose rules do not is not the end: the next one is tried;
//! - there is no deny rule: what no rule grants is refused.
//!
//! **Invariant:** a [`Granted`] can be built by [`decide`] alone, and its scopes are a subset of
//! those of the rule that it names (and of the OIDC scopes, for a grant with a user).

mod compiling;
mod deciding;
mod lint;
mod people;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub use compiling::{Parts, compile};
pub use deciding::{AccessDecision, AccessDenial, Granted, PolicyStep, RuleMiss, RuleStep, decide, decide_refresh};

use crate::jose::alg::Algorithm;
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::claims::Claim;
use crate::oauth::client::Client;
use crate::oauth::declared::{ClientKind, Consent, ServerOptions, TokenProfile};
use crate::oauth::grant::GrantType;
use crate::oauth::peer_keys::PeerKeys;

/// The longest life of an access token: a day.
pub const ACCESS_TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time for which a refresh token is answered after its successor (okta-model section 6).
pub const REFRESH_GRACE_MAX: Duration = Duration::from_secs(60);

/// The most keys that one authorization server publishes at a time.
pub const KEYS_MAX: u64 = 90;

/// Scopes with a meaning of their own (OIDC Core section 5.4, and Okta's): a rule that matches allows
/// them to a grant with a user; a client on its own cannot have them.
pub const OIDC_SCOPES: [&str; 8] = [
    "address",
    "device_sso",
    "email",
    "groups",
    "offline_access",
    "openid",
    "phone",
    "profile",
];

/// Everything that the issuer has, checked.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The authorization servers.
    pub servers: BTreeMap<AuthorizationServerId, Arc<Server>>,
    /// The clients.
    pub clients: HashMap<ClientId, Arc<Client>>,
    /// The users of the demonstration directory, by login.
    pub users: BTreeMap<String, Arc<User>>,
}

impl Model {
    /// Whether a client proves itself by a certificate, or has its tokens bound to one.
    #[must_use]
    pub fn needs_certificates(&self) -> bool {
        self.clients
            .values()
            .any(|client| client.credentials.need_certificate() || client.options.certificate_bound_access_tokens)
    }

    /// The origins (RFC 6454) at which clients of type `browser` have their redirect URIs.
    #[must_use]
    pub fn browser_origins(&self) -> HashSet<String> {
        let apps = self
            .clients
            .values()
            .filter(|client| client.kind == ClientKind::Browser);
        let origins = apps.flat_map(|client| &client.redirect_uris).filter_map(|uri| {
            let origin = url::Url::parse(uri).ok()?.origin();
            origin.is_tuple().then(|| origin.ascii_serialization())
        });
        origins.collect()
    }
}

/// A user, as far as access is concerned.
#[derive(Debug, Clone)]
pub struct User {
    /// The login.
    pub login: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The profile's attributes.
    pub profile: serde_json::Map<String, serde_json::Value>,
    /// The SHA-256 of the password: it stands in the file in plain text, where `dev: true` alone.
    pub password: Digest,
}

/// A local authorization server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name.
    pub id: AuthorizationServerId,
    /// The `aud` of its access tokens.
    pub audience: String,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// How old a key gets before the next one takes over; never by itself if `None`.
    pub rotate_every: Option<Duration>,
    /// How its access tokens look.
    pub profile: TokenProfile,
    /// Its scopes.
    pub scopes: BTreeMap<Scope, ScopeInfo>,
    /// Its claims.
    pub claims: Vec<Claim>,
    /// Its access policies, in order.
    pub policies: Vec<Policy>,
    /// Issuers whose assertions are a grant here.
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// What few servers say.
    pub options: ServerOptions,
}

/// An issuer whose assertions are a grant (RFC 7523 section 2.1).
#[derive(Debug, Clone)]
pub struct TrustedIssuer {
    /// The `iss` of its assertions, compared exactly.
    pub issuer: String,
    /// Its keys.
    pub keys: PeerKeys,
    /// The claim that holds the login of the user.
    pub subject_claim: String,
}

impl Server {
    /// Whether a token of this server may be for this resource or audience.
    #[must_use]
    pub fn serves(&self, resource: &str) -> bool {
        resource == self.audience || self.options.resources.iter().any(|known| known.value == resource)
    }

    /// Everything that a token of this server may be for: its audience first.
    #[must_use]
    pub fn audiences(&self) -> Vec<String> {
        let resources = self.options.resources.iter().map(|resource| resource.value.clone());
        std::iter::once(self.audience.clone()).chain(resources).collect()
    }

    /// The longest life that a rule gives an access token; zero if there is no rule.
    #[must_use]
    pub fn access_token_lifetime_max(&self) -> Duration {
        let rules = self.policies.iter().flat_map(|policy| &policy.rules);
        rules.map(|rule| rule.access_token).max().unwrap_or_default()
    }
}

/// What is known of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeInfo {
    /// What a person is told.
    pub description: Option<String>,
    /// Whether a person is asked.
    pub consent: Consent,
    /// Granted when a request names no scope.
    pub default: bool,
    /// Named in the metadata documents.
    pub metadata: bool,
}

/// An access policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// The clients that it is for.
    pub clients: ClientSelector,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// The clients that a policy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSelector {
    /// Every client.
    All,
    /// These.
    Only(BTreeSet<ClientId>),
}

impl ClientSelector {
    /// Whether it names this client.
    #[must_use]
    pub fn includes(&self, client: &ClientId) -> bool {
        match self {
            Self::All => true,
            Self::Only(clients) => clients.contains(client),
        }
    }
}

/// A rule of an access policy.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, unique in its policy.
    pub name: Arc<str>,
    /// The grant types that it matches.
    pub grants: BTreeSet<GrantType>,
    /// The groups one of which the user must be in. With [`Rule::users`] empty too: any user.
    pub groups: BTreeSet<String>,
    /// The users, by login, that it matches beside the groups.
    pub users: BTreeSet<String>,
    /// The groups none of which the user may be in.
    pub exclude_groups: BTreeSet<String>,
    /// The scopes that it allows.
    pub scopes: ScopeSelector,
    /// How long an access token lives.
    pub access_token: Duration,
    /// How long a refresh token lives, if one is given at all.
    pub refresh_token: Option<RefreshLifetimes>,
}

/// The scopes that a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeSelector {
    /// Every scope of the server.
    Any,
    /// These.
    Only(ScopeSet),
}

impl ScopeSelector {
    /// Whether it allows this scope.
    #[must_use]
    pub fn allows(&self, scope: &Scope) -> bool {
        match self {
            Self::Any => true,
            Self::Only(scopes) => scopes.contains(scope),
        }
    }
}

/// How long a refresh token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshLifetimes {
    /// From the sign-in on, whatever happens.
    pub lifetime: Duration,
    /// Without being used; as long as it lives if `None`.
    pub idle: Option<Duration>,
}

/// What [`decide`] looks at: who asks for what, by which grant.
#[derive(Debug, Clone, Copy)]
pub struct TokenRequestFacts<'a> {
    /// The authorization server that is asked.
    pub server: &'a AuthorizationServerId,
    /// The client, authenticated.
    pub client: &'a ClientId,
    /// The grant.
    pub grant: GrantType,
    /// The user that the token would speak for.
    pub user: Option<UserFacts<'a>>,
    /// The scopes of the request; `None` if it names none.
    pub scopes: Option<&'a ScopeSet>,
}

/// What [`decide`] needs to know of a user.
#[derive(Debug, Clone, Copy)]
pub struct UserFacts<'a> {
    /// The identifier: what administered objects name users by.
    pub id: &'a str,
    /// The login: what the file names users by.
    pub login: &'a str,
    /// The groups.
    pub groups: &'a [String],
    /// Whether the user may sign in at all.
    pub active: bool,
}

#[cfg(test)]
mod tests;
