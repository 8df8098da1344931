//! Who can reach which route, by which rule: gate and issuer read together.
//!
//! A pure function of both models. For every route it asks the issuer's own decision
//! ([`access::decide`]) for each client, grant and kind of person whether the scopes that the route
//! needs can be had in one token. `scopegate access` prints what comes out.
//!
//! A person is stood for by the smallest set of groups that a rule could ask for: one that assigns
//! the client, and one that the rule names. Conditions of a single request (`when`, `max_age`, a key
//! binding) narrow further and are not judged here.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::id::{ApiName, AuthorizationServerId, ClientId};
use crate::model::location::Location;
use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::{self, Granted, Model, Server, TokenRequestFacts, UserFacts};
use crate::oauth::client::Client;
use crate::oauth::grant::GrantType;
use crate::policy::declared::{
    ApiDeclaration, ClientsDeclaration, Declaration, Origin, RequirementDeclaration, RouteDeclaration, RouteTarget,
    TokenRequirementDeclaration, VerbDeclaration,
};

/// One route with those who can reach it.
#[derive(Debug, Clone)]
pub struct RouteReach {
    /// Its API.
    pub api: ApiName,
    /// Its hosts.
    pub hosts: Vec<String>,
    /// Its name, for example `GET /transfers/{id}`.
    pub route: String,
    /// Where its verb stands in the file.
    pub location: Location,
    /// Who can reach it.
    pub reach: Reach,
}

/// Who can reach a route.
#[derive(Debug, Clone)]
pub enum Reach {
    /// Everybody, without a token.
    Everybody,
    /// Nobody: the route says `deny`.
    Denied,
    /// Those who can get a token in one of these ways; nobody if there are none.
    Ways(Vec<Way>),
}

/// One way to a token that the route lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A rule of a local authorization server grants it.
    Granted(LocalWay),
    /// An authorization server decides that is external, or managed over the API; this is what its token must have.
    External {
        /// The authorization server.
        server: AuthorizationServerId,
        /// The clients that are let through; any if `None`.
        clients: Option<Vec<String>>,
        /// The scopes that the token must hold.
        scopes: ScopeSet,
        /// Whether it is one of ours that is managed over the API, which the file does not show.
        managed: bool,
    },
}

/// A way through a rule of a local authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalWay {
    /// The authorization server.
    pub server: AuthorizationServerId,
    /// The client.
    pub client: ClientId,
    /// The grant.
    pub grant: GrantType,
    /// The groups that the person must be in; none for a client on its own behalf or for any assigned person.
    pub groups: Vec<String>,
    /// The person, where a rule or an assignment names one.
    pub user: Option<String>,
    /// The policy that grants.
    pub policy: String,
    /// The rule that grants.
    pub rule: String,
    /// The scopes that are asked for.
    pub scopes: ScopeSet,
    /// How long the access token lives.
    pub access_token: Duration,
}

/// Every route of the declaration with those who can reach it, in the order of the file.
#[must_use]
pub fn reach(declared: &Declaration, model: &Model) -> Vec<RouteReach> {
    let mut rows = Vec::new();
    for api in &declared.apis {
        for route in &api.routes {
            for verb in &route.verbs {
                rows.push(RouteReach {
                    api: api.name.value.clone(),
                    hosts: api.hosts.iter().map(|host| host.value.clone()).collect(),
                    route: route_name(route, verb),
                    location: verb.verb.location,
                    reach: reach_of(declared, model, api, &verb.requirement),
                });
            }
        }
    }
    rows
}

fn route_name(route: &RouteDeclaration, verb: &VerbDeclaration) -> String {
    match &route.target {
        RouteTarget::Path(template) => format!("{} {}", verb.verb.value, template.value),
        RouteTarget::Grpc(service) => format!("{}/{}", service.value, verb.verb.value),
    }
}

fn reach_of(
    declared: &Declaration,
    model: &Model,
    api: &ApiDeclaration,
    requirement: &RequirementDeclaration,
) -> Reach {
    let any_token = TokenRequirementDeclaration::default();
    let needs = match requirement {
        RequirementDeclaration::Public => return Reach::Everybody,
        RequirementDeclaration::Deny => return Reach::Denied,
        RequirementDeclaration::Authenticated => &any_token,
        RequirementDeclaration::Token(needs) => needs,
    };
    let mut ways = Vec::new();
    for server in &api.servers {
        let known = declared.servers.iter().find(|known| known.id == server.value);
        let origin = known.map(|known| known.origin);
        match model.servers.get(&server.value) {
            Some(local) if origin == Some(Origin::File) => ways.extend(local_ways(model, local, api, needs)),
            _ => ways.extend(unseen_ways(
                &server.value,
                api,
                needs,
                origin == Some(Origin::Management),
            )),
        }
    }
    Reach::Ways(ways)
}

/// The scope sets any one of which opens the route: all of `all`, with each one of `any`.
fn alternatives(needs: &TokenRequirementDeclaration) -> Vec<ScopeSet> {
    let parsed = |scopes: &[crate::model::location::Located<String>]| -> Vec<Scope> {
        scopes
            .iter()
            .filter_map(|scope| Scope::parse(&scope.value).ok())
            .collect()
    };
    let all = parsed(&needs.all);
    let any = parsed(&needs.any);
    if any.is_empty() {
        return vec![all.into_iter().collect()];
    }
    any.into_iter()
        .map(|one| all.iter().cloned().chain([one]).collect())
        .collect()
}

fn local_ways(model: &Model, server: &Server, api: &ApiDeclaration, needs: &TokenRequirementDeclaration) -> Vec<Way> {
    let mut clients: Vec<&Client> = model.clients.values().map(AsRef::as_ref).collect();
    clients.sort_by(|a, b| a.id.cmp(&b.id));
    let mut wanted = alternatives(needs);
    if wanted.iter().all(ScopeSet::is_empty) {
        // A route that asks for no scope takes any token, and every token holds at least one scope.
        wanted = server
            .scopes
            .keys()
            .map(|scope| [scope.clone()].into_iter().collect())
            .collect();
    }
    let mut ways = Vec::new();
    for client in clients
        .into_iter()
        .filter(|client| lets_in(api, needs, client.id.as_str()))
    {
        for scopes in &wanted {
            ways.extend(ways_of(model, server, client, scopes).into_iter().map(Way::Granted));
        }
    }
    ways
}

/// What a token must have of a server whose rules are not in the file.
fn unseen_ways(
    server: &AuthorizationServerId,
    api: &ApiDeclaration,
    needs: &TokenRequirementDeclaration,
    managed: bool,
) -> Vec<Way> {
    let of_api = match &api.clients {
        ClientsDeclaration::Unstated | ClientsDeclaration::Any => None,
        ClientsDeclaration::Only(clients) => Some(clients),
    };
    let named = match (of_api, &needs.clients) {
        (None, None) => None,
        (Some(clients), None) | (None, Some(clients)) => Some(texts(clients)),
        (Some(outer), Some(inner)) => {
            let outer = texts(outer);
            Some(
                texts(inner)
                    .into_iter()
                    .filter(|client| outer.contains(client))
                    .collect(),
            )
        }
    };
    if named.as_ref().is_some_and(Vec::is_empty) {
        return Vec::new();
    }
    let way = |scopes| Way::External {
        server: server.clone(),
        clients: named.clone(),
        scopes,
        managed,
    };
    alternatives(needs).into_iter().map(way).collect()
}

fn texts(located: &[crate::model::location::Located<String>]) -> Vec<String> {
    located.iter().map(|one| one.value.clone()).collect()
}

fn lets_in(api: &ApiDeclaration, needs: &TokenRequirementDeclaration, client: &str) -> bool {
    let of_api = match &api.clients {
        ClientsDeclaration::Unstated | ClientsDeclaration::Any => true,
        ClientsDeclaration::Only(clients) => clients.iter().any(|one| one.value == client),
    };
    let of_route = needs
        .clients
        .as_ref()
        .is_none_or(|clients| clients.iter().any(|one| one.value == client));
    of_api && of_route
}

/// The people for whom the switch could decide differently: everybody the client is assigned to,
/// crossed with everybody that a rule names.
fn people(server: &Server, client: &Client, model: &Model) -> Vec<(Option<String>, Vec<String>)> {
    let rules = || server.policies.iter().flat_map(|policy| &policy.rules);
    let rule_groups: BTreeSet<&String> = rules().flat_map(|rule| &rule.groups).collect();
    let rule_users: BTreeSet<&String> = rules().flat_map(|rule| &rule.users).collect();
    let mut people = Vec::new();
    for assigned in &client.assigned_groups {
        people.push((None, vec![assigned.clone()]));
        let others = rule_groups.iter().filter(|group| **group != assigned);
        people.extend(others.map(|group| (None, vec![assigned.clone(), (*group).clone()])));
        people.extend(
            rule_users
                .iter()
                .map(|user| (Some((*user).clone()), vec![assigned.clone()])),
        );
    }
    for user in &client.assigned_users {
        let groups = model
            .users
            .get(user)
            .map(|user| user.groups.clone())
            .unwrap_or_default();
        people.push((Some(user.clone()), groups));
    }
    people
}

fn ways_of(model: &Model, server: &Server, client: &Client, scopes: &ScopeSet) -> Vec<LocalWay> {
    let mut ways: Vec<LocalWay> = Vec::new();
    // A refresh token only ever follows another grant with a user, so it opens no way of its own.
    for grant in client
        .grants
        .iter()
        .copied()
        .filter(|grant| *grant != GrantType::RefreshToken)
    {
        if !grant.has_user() {
            if let Some(granted) = ask(model, server, client, grant, None, scopes) {
                ways.push(local_way(server, client, grant, None, Vec::new(), &granted));
            }
            continue;
        }
        for (user, groups) in people(server, client, model) {
            let login = user.as_deref().unwrap_or_default();
            let facts = UserFacts {
                id: login,
                login,
                groups: &groups,
                active: true,
            };
            if let Some(granted) = ask(model, server, client, grant, Some(facts), scopes) {
                let way = local_way(server, client, grant, user, groups, &granted);
                if !ways.iter().any(|known| is_wider(known, &way)) {
                    ways.push(way);
                }
            }
        }
    }
    ways
}

/// Whether `known` already says what `way` says, of more people.
fn is_wider(known: &LocalWay, way: &LocalWay) -> bool {
    known.grant == way.grant
        && known.policy == way.policy
        && known.rule == way.rule
        && (known.user.is_none() || known.user == way.user)
        && known.groups.iter().all(|group| way.groups.contains(group))
}

fn ask(
    model: &Model,
    server: &Server,
    client: &Client,
    grant: GrantType,
    user: Option<UserFacts<'_>>,
    scopes: &ScopeSet,
) -> Option<Granted> {
    let facts = TokenRequestFacts {
        server: &server.id,
        client: &client.id,
        grant,
        user,
        scopes: Some(scopes),
    };
    access::decide(model, &facts).outcome.ok()
}

fn local_way(
    server: &Server,
    client: &Client,
    grant: GrantType,
    user: Option<String>,
    groups: Vec<String>,
    granted: &Granted,
) -> LocalWay {
    LocalWay {
        server: server.id.clone(),
        client: client.id.clone(),
        grant,
        groups,
        user,
        policy: granted.policy().to_owned(),
        rule: granted.rule().to_owned(),
        scopes: granted.scopes().clone(),
        access_token: granted.access_token(),
    }
}
