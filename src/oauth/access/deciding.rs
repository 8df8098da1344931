//! The switch: which rule decides a token request, and how that came about.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::{Model, OIDC_SCOPES, RefreshLifetimes, Rule, ScopeSelector, Server, TokenRequestFacts};
use crate::oauth::client::Client;
use crate::oauth::declared::Consent;
use crate::oauth::grant::GrantType;

/// What came of a token request, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct AccessDecision {
    /// What is granted, or why nothing is.
    pub outcome: Result<Granted, AccessDenial>,
    /// Every policy and rule that was looked at, in order, with the first condition that failed.
    pub trace: Vec<PolicyStep>,
}

/// What a rule granted. Built in this file alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    scopes: ScopeSet,
    policy: Arc<str>,
    rule: Arc<str>,
    access_token: Duration,
    refresh_token: Option<RefreshLifetimes>,
}

impl Granted {
    /// The scopes.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// The policy that granted.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The rule that granted.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// How long the access token lives.
    #[must_use]
    pub fn access_token(&self) -> Duration {
        self.access_token
    }

    /// How long a refresh token lives, if one is given at all.
    #[must_use]
    pub fn refresh_token(&self) -> Option<RefreshLifetimes> {
        self.refresh_token
    }
}

/// Why nothing is granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenial {
    /// There is no such authorization server.
    #[error("there is no such authorization server")]
    UnknownServer,
    /// There is no such client.
    #[error("there is no such client")]
    UnknownClient,
    /// The client is not given this grant type.
    #[error("the client is not registered for the grant type `{}`", .0.as_str())]
    GrantNotAllowed(GrantType),
    /// The grant speaks for a user, and there is none, or a disabled one.
    #[error("the user is not active")]
    UserNotActive,
    /// The user may not use this client.
    #[error("the user is not assigned to the client")]
    UserNotAssigned,
    /// These scopes do not exist on this server.
    #[error("the scopes `{0}` are not configured for this authorization server")]
    UnknownScope(ScopeSet),
    /// These scopes are about a user, and there is none.
    #[error("the scopes `{0}` need a user, and this grant has none")]
    ScopeNeedsUser(ScopeSet),
    /// `offline_access` for a client without the refresh grant.
    #[error("`offline_access` needs the grant type `refresh_token`, which the client does not have")]
    OfflineAccessNotAllowed,
    /// The request names no scope, and there is no default one that the rule allows.
    #[error("no scope was requested and no default scope is allowed")]
    NoScope,
    /// A person must consent to these, and there is none to ask.
    #[error("the scopes `{0}` need the consent of a person, and this grant has none")]
    ConsentRequired(ScopeSet),
    /// No rule matches.
    #[error("no access policy matches this request")]
    NoMatchingPolicy,
    /// A rule matches on everything but these scopes.
    #[error("the access policy does not allow the scopes `{0}`")]
    ScopeDenied(ScopeSet),
}

/// What happened at one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStep {
    /// Its name.
    pub policy: Arc<str>,
    /// Whether its clients include the one that asks; if not, no rule was looked at.
    pub client_included: bool,
    /// Its rules, as far as they were looked at.
    pub rules: Vec<RuleStep>,
}

/// What happened at one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStep {
    /// Its name.
    pub rule: Arc<str>,
    /// The first condition that failed; `None` for the rule that matched.
    pub miss: Option<RuleMiss>,
}

/// The first condition of a rule that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleMiss {
    /// The grant type is none of the rule's.
    Grant,
    /// The user is in none of the rule's groups and none of its users.
    NotIncluded,
    /// The user is in a group that the rule excludes.
    Excluded(String),
    /// These scopes are none of the rule's.
    Scopes(ScopeSet),
}

/// Decides a token request by the ordered switch of the authorization server.
pub fn decide(model: &Model, facts: &TokenRequestFacts<'_>) -> AccessDecision {
    decide_as(model, facts, None)
}

/// Decides a refresh: the policies are asked again, with the scopes that the new access token shall have.
///
/// A rule matches a refresh if it lists `refresh_token`, or the grant type by which the grant began: so a
/// rule for `authorization_code` goes on for as long as its grants live (Okta's rules cannot list
/// `refresh_token` at all), and a rule for `refresh_token` before it can give other lifetimes. A grant type
/// that the client was deprived of since matches no rule here (attack F34).
pub fn decide_refresh(model: &Model, facts: &TokenRequestFacts<'_>, began_by: Option<GrantType>) -> AccessDecision {
    let client = model.clients.get(facts.client);
    let still_has = |grant: &GrantType| client.is_some_and(|client| client.grants.contains(grant));
    decide_as(model, facts, began_by.filter(still_has))
}

fn decide_as(model: &Model, facts: &TokenRequestFacts<'_>, began_by: Option<GrantType>) -> AccessDecision {
    let mut trace = Vec::new();
    let outcome = admit(model, facts)
        .and_then(|(server, _)| Asked::read(server, facts).map(|asked| (server, asked)))
        .and_then(|(server, asked)| switch(server, &asked, facts, began_by, &mut trace));
    AccessDecision { outcome, trace }
}

/// Steps 1 and 2: what has to hold before any policy is looked at.
fn admit<'m>(model: &'m Model, facts: &TokenRequestFacts<'_>) -> Result<(&'m Server, &'m Client), AccessDenial> {
    let server = model.servers.get(facts.server).ok_or(AccessDenial::UnknownServer)?;
    let client = model.clients.get(facts.client).ok_or(AccessDenial::UnknownClient)?;
    if !client.grants.contains(&facts.grant) {
        return Err(AccessDenial::GrantNotAllowed(facts.grant));
    }
    if facts.grant.has_user() {
        let user = facts
            .user
            .filter(|user| user.active)
            .ok_or(AccessDenial::UserNotActive)?;
        if !client.is_assigned(user.id, user.login, user.groups) {
            return Err(AccessDenial::UserNotAssigned);
        }
    }
    let wants_offline = facts
        .scopes
        .is_some_and(|scopes| scopes.iter().any(|scope| scope.as_str() == "offline_access"));
    if wants_offline && facts.grant.has_user() && !client.grants.contains(&GrantType::RefreshToken) {
        return Err(AccessDenial::OfflineAccessNotAllowed);
    }
    Ok((server, client))
}

/// Step 3: the scopes that the rules are asked for.
enum Asked {
    /// Those that the request names, apart: the server's own, and the OIDC ones.
    Named { own: ScopeSet, oidc: ScopeSet },
    /// None: the server's defaults, as far as the rule allows them.
    Defaults(ScopeSet),
}

impl Asked {
    fn read(server: &Server, facts: &TokenRequestFacts<'_>) -> Result<Self, AccessDenial> {
        let Some(requested) = facts.scopes.filter(|scopes| !scopes.is_empty()) else {
            let is_default = |(scope, info): (&Scope, &super::ScopeInfo)| info.default.then(|| scope.clone());
            let defaults: ScopeSet = server.scopes.iter().filter_map(is_default).collect();
            if defaults.is_empty() {
                return Err(AccessDenial::NoScope);
            }
            return Ok(Self::Defaults(defaults));
        };
        let (oidc, own): (Vec<Scope>, Vec<Scope>) = requested.iter().cloned().partition(is_oidc);
        let unknown: ScopeSet = own
            .iter()
            .filter(|scope| !server.scopes.contains_key(*scope))
            .cloned()
            .collect();
        if !unknown.is_empty() {
            return Err(AccessDenial::UnknownScope(unknown));
        }
        if !facts.grant.has_user() {
            if !oidc.is_empty() {
                return Err(AccessDenial::ScopeNeedsUser(oidc.into_iter().collect()));
            }
            consent_of_a_service(server, own.iter())?;
        }
        Ok(Self::Named {
            own: own.into_iter().collect(),
            oidc: oidc.into_iter().collect(),
        })
    }
}

fn is_oidc(scope: &Scope) -> bool {
    OIDC_SCOPES.contains(&scope.as_str())
}

/// A client without a person gets `flexible` and `implicit` scopes silently, `required` ones never.
fn consent_of_a_service<'s>(server: &Server, scopes: impl Iterator<Item = &'s Scope>) -> Result<(), AccessDenial> {
    let is_required = |scope: &&Scope| {
        server
            .scopes
            .get(*scope)
            .is_some_and(|info| info.consent == Consent::Required)
    };
    let required: ScopeSet = scopes.filter(is_required).cloned().collect();
    if required.is_empty() {
        Ok(())
    } else {
        Err(AccessDenial::ConsentRequired(required))
    }
}

/// Steps 4 to 6: the first rule that matches.
fn switch(
    server: &Server,
    asked: &Asked,
    facts: &TokenRequestFacts<'_>,
    began_by: Option<GrantType>,
    trace: &mut Vec<PolicyStep>,
) -> Result<Granted, AccessDenial> {
    // Of the rules that fail by their scopes alone, the one that lacks the fewest is the answer that
    // helps most; the first of them if there are several.
    let mut nearest_miss: Option<ScopeSet> = None;
    for policy in &server.policies {
        let client_included = policy.clients.includes(facts.client);
        let mut step = PolicyStep {
            policy: Arc::clone(&policy.name),
            client_included,
            rules: Vec::new(),
        };
        let rules = policy.rules.iter().filter(|_| client_included);
        for rule in rules {
            let miss = first_miss(rule, asked, facts, began_by);
            if let Some(RuleMiss::Scopes(refused)) = &miss
                && nearest_miss.as_ref().is_none_or(|best| refused.len() < best.len())
            {
                nearest_miss = Some(refused.clone());
            }
            let matched = miss.is_none();
            step.rules.push(RuleStep {
                rule: Arc::clone(&rule.name),
                miss,
            });
            if matched {
                trace.push(step);
                return grant(server, &policy.name, rule, asked, facts);
            }
        }
        trace.push(step);
    }
    Err(nearest_miss.map_or(AccessDenial::NoMatchingPolicy, AccessDenial::ScopeDenied))
}

fn first_miss(
    rule: &Rule,
    asked: &Asked,
    facts: &TokenRequestFacts<'_>,
    began_by: Option<GrantType>,
) -> Option<RuleMiss> {
    let goes_on = began_by.is_some_and(|grant| rule.grants.contains(&grant));
    if !rule.grants.contains(&facts.grant) && !goes_on {
        return Some(RuleMiss::Grant);
    }
    if let Some(user) = facts.user.filter(|_| facts.grant.has_user()) {
        if !rule.includes(user.id, user.login, user.groups) {
            return Some(RuleMiss::NotIncluded);
        }
        if let Some(group) = user.groups.iter().find(|group| rule.exclude_groups.contains(*group)) {
            return Some(RuleMiss::Excluded(group.clone()));
        }
    }
    match (asked, &rule.scopes) {
        (Asked::Named { own, .. }, ScopeSelector::Only(allowed)) if !allowed.is_superset(own) => {
            Some(RuleMiss::Scopes(own.missing_from(allowed)))
        }
        _ => None,
    }
}

fn grant(
    server: &Server,
    policy: &Arc<str>,
    rule: &Rule,
    asked: &Asked,
    facts: &TokenRequestFacts<'_>,
) -> Result<Granted, AccessDenial> {
    let scopes: ScopeSet = match asked {
        Asked::Named { own, oidc } => own.iter().chain(oidc).cloned().collect(),
        Asked::Defaults(defaults) => defaults
            .iter()
            .filter(|scope| rule.scopes.allows(scope))
            .cloned()
            .collect(),
    };
    if scopes.is_empty() {
        return Err(AccessDenial::NoScope);
    }
    if !facts.grant.has_user() {
        consent_of_a_service(server, scopes.iter())?;
    }
    Ok(Granted {
        scopes,
        policy: Arc::clone(policy),
        rule: Arc::clone(&rule.name),
        access_token: rule.access_token,
        refresh_token: rule.refresh_token.filter(|_| facts.grant.has_user()),
    })
}

impl AccessDecision {
    /// The trace as JSON, for the audit log and the preview.
    #[must_use]
    pub fn trace_json(&self) -> Value {
        let rule = |step: &RuleStep| match &step.miss {
            None => json!({ "rule": &*step.rule, "matched": true }),
            Some(miss) => json!({ "rule": &*step.rule, "matched": false, "failed": miss.to_string() }),
        };
        let policy = |step: &PolicyStep| {
            let rules: Vec<Value> = step.rules.iter().map(rule).collect();
            json!({ "policy": &*step.policy, "client_included": step.client_included, "rules": rules })
        };
        Value::Array(self.trace.iter().map(policy).collect())
    }
}

impl std::fmt::Display for RuleMiss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Grant => f.write_str("the grant type is not one of the rule's"),
            Self::NotIncluded => f.write_str("the user is in none of the rule's groups and users"),
            Self::Excluded(group) => write!(f, "the user is in the excluded group `{group}`"),
            Self::Scopes(scopes) => write!(f, "the rule does not allow the scopes `{scopes}`"),
        }
    }
}
