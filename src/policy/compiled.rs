//! The gate's rules, compiled: immutable, shared by every worker, swapped as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use crate::model::event::RouteIndex;
use crate::model::id::{ApiName, AuthorizationServerId, ClientId};
use crate::model::location::Location;
use crate::model::scope::{Scope, ScopeSet};
use crate::policy::challenge::Protection;
use crate::policy::decision::RouteRef;
use crate::policy::declared::{BadToken, Binding, CorsPreflight, DpopOptions, MethodOverride, PathOptions};
use crate::policy::forward::Forward;
use crate::policy::predicate::Expression;
use crate::policy::route::Hosts;
use crate::policy::template::Template;

/// All rules of the gate. Built by [`crate::policy::compile::compile`].
#[derive(Debug)]
pub struct CompiledPolicy {
    pub(in crate::policy) apis: Vec<Api>,
    pub(in crate::policy) rules: Vec<Rule>,
    pub(in crate::policy) routes: Vec<Arc<RouteRef>>,
    /// The hosts of all APIs.
    pub(in crate::policy) hosts: Hosts,
    /// For a request that Envoy's route pins to one API: that API's hosts and routes alone.
    pub(in crate::policy) pinned: HashMap<ApiName, Hosts>,
}

impl CompiledPolicy {
    /// The APIs, in the order of the file.
    #[must_use]
    pub fn apis(&self) -> &[Api] {
        &self.apis
    }

    /// The routes; a route's [`RouteIndex`] is its place here.
    #[must_use]
    pub fn routes(&self) -> &[Arc<RouteRef>] {
        &self.routes
    }

    /// What each route needs, in the order of [`CompiledPolicy::routes`].
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule with this number.
    pub(in crate::policy) fn rule(&self, index: RouteIndex) -> Option<&Rule> {
        self.rules.get(usize::try_from(index.0).ok()?)
    }
}

/// One API.
#[derive(Debug)]
pub struct Api {
    /// Its name.
    pub name: ApiName,
    /// Its hosts, normalised: exact, or `*.suffix`.
    pub hosts: Vec<String>,
    /// The authorization servers that may vouch for its callers, in the order in which it names them.
    pub servers: IndexSet<AuthorizationServerId, RandomState>,
    /// The clients that may call it.
    pub clients: Clients,
    /// How its paths are read.
    pub paths: PathOptions,
    /// What a CORS preflight needs.
    pub cors_preflight: CorsPreflight,
    /// What a bad token on a public route does.
    pub bad_token: BadToken,
    /// Whether 403 is answered as 404.
    pub hide: bool,
    /// Whether the TLS server name must be the host.
    pub bind_sni: bool,
    /// Whether `x-forwarded-client-cert` is read.
    pub trust_xfcc: bool,
    /// How DPoP proofs are judged.
    pub dpop: DpopOptions,
    /// What its challenges share.
    pub protection: Protection,
    /// What its upstream sees.
    pub forward: Forward,
}

/// The clients that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// Whichever client the authorization server gives a token to.
    Any,
    /// These, sorted.
    Only(Vec<ClientId>),
}

impl Clients {
    /// Whether this client may call. A token that names no client is let in by `Any` alone.
    #[must_use]
    pub fn admit(&self, client: Option<&ClientId>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(clients) => client.is_some_and(|client| clients.binary_search(client).is_ok()),
        }
    }
}

/// One route with what it needs.
#[derive(Debug)]
pub struct Rule {
    /// Its number, API and name.
    pub route: Arc<RouteRef>,
    /// The place of its API in [`CompiledPolicy::apis`].
    pub api: usize,
    /// The verb: a method, or `*`.
    pub verb: String,
    /// The path; `None` for `OPTIONS *`.
    pub template: Option<Template>,
    /// What it needs.
    pub requirement: Requirement,
    /// What a method override header does.
    pub method_override: MethodOverride,
    /// Whether a public route hands the Authorization header on.
    pub forward_authorization: bool,
    /// Where it is declared.
    pub location: Location,
    /// Whether a condition or an identity header reads `path`.
    pub(in crate::policy) reads_path: bool,
}

/// What a route needs.
#[derive(Debug)]
pub enum Requirement {
    /// No token.
    Public,
    /// Nothing gets through.
    Deny,
    /// A token of which all of this holds.
    Token(Box<TokenRequirement>),
}

/// What must hold of a token. Empty means: any valid token of the API.
#[derive(Debug, Default)]
pub struct TokenRequirement {
    /// Every one of these scopes.
    pub all: ScopeSet,
    /// At least one of these scopes, in the order of the file; nothing is asked if empty.
    pub any: Vec<Scope>,
    /// One of these clients, narrower than the API's.
    pub clients: Option<Clients>,
    /// One of these authentication context classes.
    pub acr: Vec<String>,
    /// The longest time since the user signed in.
    pub max_age: Option<Duration>,
    /// A condition.
    pub when: Option<Expression>,
    /// The kind of key that the token must be bound to.
    pub bound: Option<Binding>,
}
