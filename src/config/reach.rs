//! What nobody can reach: scopes that no rule grants, routes whose scopes nobody can hold.
//!
//! It takes both models, the issuer's rules and the gate's, which is why it lives here. It warns only
//! where the answer is certain: an API with an external authorization server is passed over, since
//! who gets what there is not known here.
//!
//! `scopes: any` is read as what it is probably meant for. Where no rule of a server names a scope,
//! it stands for all of them; where rules do name scopes, one that none of them names was probably
//! forgotten, and that a catch-all rule would let it through is the more reason to say so.

use std::collections::BTreeSet;

use crate::model::finding::Finding;
use crate::model::location::Located;
use crate::model::scope::Scope;
use crate::oauth::access::OIDC_SCOPES;
use crate::oauth::declared::{
    AuthorizationServerDeclaration, IssuerDeclaration, PolicyClients, RuleDeclaration, RuleScopes,
};
use crate::policy::declared::{
    ApiDeclaration, ClientsDeclaration, Declaration, RequirementDeclaration, RouteTarget, TokenRequirementDeclaration,
    VerbDeclaration,
};

/// Every warning about what nobody can reach.
pub(crate) fn findings(policy: &Declaration, issuer: &IssuerDeclaration) -> Vec<Finding> {
    let servers: Vec<Server<'_>> = issuer
        .servers
        .iter()
        .map(|server| Server::new(server, issuer))
        .collect();
    let mut findings: Vec<Finding> = servers.iter().flat_map(Server::scopes_never_granted).collect();
    for api in &policy.apis {
        findings.extend(routes_unreachable(api, &servers));
    }
    findings
}

/// A local server with what its rules grant.
struct Server<'d> {
    declared: &'d AuthorizationServerDeclaration,
    /// Every scope that some rule names.
    named: BTreeSet<&'d str>,
    grants: Vec<Grant<'d>>,
}

/// What one rule grants to one policy's clients.
struct Grant<'d> {
    clients: Option<BTreeSet<&'d str>>,
    scopes: Option<BTreeSet<&'d str>>,
}

impl<'d> Server<'d> {
    fn new(declared: &'d AuthorizationServerDeclaration, issuer: &'d IssuerDeclaration) -> Self {
        let rules = || declared.policies.iter().flat_map(|policy| &policy.rules);
        let mut grants = Vec::new();
        for policy in &declared.policies {
            for rule in &policy.rules {
                let clients = match &policy.clients {
                    // clients may be added to the store later
                    PolicyClients::All(_) => None,
                    PolicyClients::Only(names) => Some(usable(names, rule, issuer)),
                };
                if clients.as_ref().is_none_or(|clients| !clients.is_empty()) {
                    let scopes = scopes_of(rule);
                    grants.push(Grant { clients, scopes });
                }
            }
        }
        Self {
            declared,
            named: rules().filter_map(scopes_of).flatten().collect(),
            grants,
        }
    }

    /// Whether a grant allows this scope on purpose.
    fn allows(&self, grant: &Grant<'_>, scope: &str) -> bool {
        match &grant.scopes {
            Some(scopes) => scopes.contains(scope),
            None => self.named.is_empty() || self.named.contains(scope),
        }
    }

    fn allows_any(&self, scope: &str) -> bool {
        OIDC_SCOPES.contains(&scope) || self.grants.iter().any(|grant| self.allows(grant, scope))
    }

    fn has_catch_all(&self) -> bool {
        self.grants.iter().any(|grant| grant.scopes.is_none())
    }

    fn defines(&self, scope: &str) -> bool {
        self.declared.scopes.iter().any(|declared| declared.name.value == scope)
    }

    fn scopes_never_granted(&self) -> Vec<Finding> {
        let forgotten = |name: &&Located<String>| Scope::parse(&name.value).is_ok() && !self.allows_any(&name.value);
        self.declared
            .scopes
            .iter()
            .map(|scope| &scope.name)
            .filter(forgotten)
            .map(|name| {
                let finding = if self.has_catch_all() {
                    let message = format!(
                        "no rule names the scope `{}`: only `scopes: any` lets it through",
                        name.value
                    );
                    Finding::warning("scope_never_granted", name.location, message)
                } else {
                    let message = format!("no rule can ever grant the scope `{}`", name.value);
                    Finding::warning("scope_never_granted", name.location, message)
                };
                finding.hint("name it in the rule that should grant it, or leave the scope out")
            })
            .collect()
    }
}

/// The scopes that a rule names; `None` for `any`.
fn scopes_of(rule: &RuleDeclaration) -> Option<BTreeSet<&str>> {
    match &rule.scopes {
        RuleScopes::Any(_) => None,
        RuleScopes::Only(names) => Some(names.iter().map(|name| name.value.as_str()).collect()),
    }
}

/// The clients among these that exist and have one of the rule's grants.
fn usable<'d>(names: &'d [Located<String>], rule: &RuleDeclaration, issuer: &IssuerDeclaration) -> BTreeSet<&'d str> {
    let shares_grant = |client: &str| {
        issuer.clients.iter().any(|declared| {
            declared.id.value.as_str() == client
                && declared
                    .grants
                    .iter()
                    .any(|grant| rule.grants.iter().any(|other| other.value == grant.value))
        })
    };
    names
        .iter()
        .map(|name| name.value.as_str())
        .filter(|name| shares_grant(name))
        .collect()
}

fn routes_unreachable(api: &ApiDeclaration, servers: &[Server<'_>]) -> Vec<Finding> {
    let local: Option<Vec<&Server<'_>>> = api
        .servers
        .iter()
        .map(|named| servers.iter().find(|server| server.declared.id.value == named.value))
        .collect();
    let Some(local) = local.filter(|local| !local.is_empty()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for route in &api.routes {
        let target = match &route.target {
            RouteTarget::Path(path) => &path.value,
            RouteTarget::Grpc(service) => &service.value,
        };
        for verb in &route.verbs {
            findings.extend(unreachable(api, &local, target, verb));
        }
    }
    findings
}

fn unreachable(api: &ApiDeclaration, servers: &[&Server<'_>], target: &str, verb: &VerbDeclaration) -> Option<Finding> {
    let authenticated = TokenRequirementDeclaration::default();
    let requirement = match &verb.requirement {
        RequirementDeclaration::Public | RequirementDeclaration::Deny => return None,
        RequirementDeclaration::Authenticated => &authenticated,
        RequirementDeclaration::Token(requirement) => requirement,
    };
    let mut scopes = requirement.all.iter().chain(&requirement.any);
    if scopes.any(|scope| !servers.iter().any(|server| server.defines(&scope.value))) {
        // an unknown scope is an error of its own
        return None;
    }
    let reachable = |server: &&Server<'_>| {
        server
            .grants
            .iter()
            .any(|grant| reaches(server, grant, api, requirement))
    };
    if servers.iter().any(reachable) {
        return None;
    }
    let nobody = |scope: &&Located<String>| !servers.iter().any(|server| server.allows_any(&scope.value));
    let ungranted = requirement
        .all
        .iter()
        .find(nobody)
        .or(match requirement.any.as_slice() {
            [only] => Some(only).filter(nobody),
            _ => None,
        });
    let caught = servers.iter().any(|server| server.has_catch_all());
    let reason = match ungranted {
        Some(scope) if caught => format!("only `scopes: any` lets its scope `{}` through", scope.value),
        Some(scope) => format!("no rule grants its scope `{}`", scope.value),
        None => "no rule grants its scopes, all in one token, to a client of the API".to_owned(),
    };
    let can = if caught { "is meant to" } else { "can ever" };
    let message = format!("nobody {can} call `{} {target}`: {reason}", verb.verb.value);
    let finding = Finding::warning("route_unreachable", verb.verb.location, message);
    Some(finding.hint("grant the scopes by a rule whose policy has a client of this API, or say `deny`"))
}

/// Whether a token of this grant may call the route.
fn reaches(
    server: &Server<'_>,
    grant: &Grant<'_>,
    api: &ApiDeclaration,
    requirement: &TokenRequirementDeclaration,
) -> bool {
    let of_api = |client: &str| match &api.clients {
        ClientsDeclaration::Unstated | ClientsDeclaration::Any => true,
        ClientsDeclaration::Only(names) => names.iter().any(|name| name.value == client),
    };
    let of_route = |client: &str| match &requirement.clients {
        None => true,
        Some(names) => names.iter().any(|name| name.value == client),
    };
    let client = match (&grant.clients, &api.clients) {
        (Some(clients), _) => clients.iter().any(|client| of_api(client) && of_route(client)),
        (None, ClientsDeclaration::Only(names)) => names.iter().any(|name| of_route(&name.value)),
        (None, ClientsDeclaration::Unstated | ClientsDeclaration::Any) => true,
    };
    let allows =
        |scope: &Located<String>| OIDC_SCOPES.contains(&scope.value.as_str()) || server.allows(grant, &scope.value);
    client && requirement.all.iter().all(allows) && (requirement.any.is_empty() || requirement.any.iter().any(allows))
}

#[cfg(test)]
mod tests;
