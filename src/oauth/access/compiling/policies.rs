//! Access policies and their rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::id::ClientId;
use crate::model::location::{Located, Location};
use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::compiling::Compiler;
use crate::oauth::access::{
    ACCESS_TOKEN_LIFETIME_MAX, ClientSelector, Policy, RefreshLifetimes, Rule, ScopeInfo, ScopeSelector,
};
use crate::oauth::declared::{PolicyClients, PolicyDeclaration, RuleDeclaration, RuleScopes};
use crate::oauth::grant::GrantType;

impl Compiler<'_> {
    pub(super) fn policies(
        &mut self,
        declared: &[PolicyDeclaration],
        scopes: &BTreeMap<Scope, ScopeInfo>,
    ) -> (Vec<Policy>, Vec<Vec<Location>>) {
        let mut policies: Vec<Policy> = Vec::new();
        let mut places = Vec::new();
        for declaration in declared {
            let name = &declaration.name;
            if policies.iter().any(|policy| *policy.name == *name.value) {
                self.error(
                    "duplicate_policy",
                    name.location,
                    format!("the policy `{}` is declared twice", name.value),
                    "give each its own name: denials and traces name it",
                );
            }
            let clients = self.selector(&declaration.clients);
            let mut rules: Vec<Rule> = Vec::new();
            let mut rule_places = Vec::new();
            for rule in &declaration.rules {
                if rules.iter().any(|earlier| *earlier.name == *rule.name.value) {
                    self.error(
                        "duplicate_rule",
                        rule.name.location,
                        format!("the rule `{}` is declared twice in one policy", rule.name.value),
                        "give each its own name: denials and traces name it",
                    );
                }
                rules.push(self.rule(rule, scopes));
                rule_places.push(rule.name.location);
            }
            policies.push(Policy {
                name: Arc::from(name.value.as_str()),
                clients,
                rules,
            });
            places.push(rule_places);
        }
        (policies, places)
    }

    fn selector(&mut self, declared: &PolicyClients) -> ClientSelector {
        match declared {
            PolicyClients::All(location) => {
                self.warn(
                    "all_clients",
                    *location,
                    "the policy is for all clients, also for those that are added later",
                    "name the clients: `all` is for where no other solution is possible",
                );
                ClientSelector::All
            }
            PolicyClients::Only(names) => {
                let mut clients = BTreeSet::new();
                for name in names {
                    match ClientId::parse(&name.value) {
                        Ok(id) if self.clients.contains(id.as_str()) => {
                            clients.insert(id);
                        }
                        _ => {
                            let known: Vec<&str> = self.clients.iter().copied().collect();
                            self.unknown("unknown_client", "client", name, known);
                        }
                    }
                }
                ClientSelector::Only(clients)
            }
        }
    }

    fn rule(&mut self, declared: &RuleDeclaration, scopes: &BTreeMap<Scope, ScopeInfo>) -> Rule {
        let mut grants = BTreeSet::new();
        for name in &declared.grants {
            grants.extend(self.grant(name));
        }
        if declared.grants.is_empty() {
            self.error(
                "no_grant",
                declared.name.location,
                format!("the rule `{}` matches no grant type", declared.name.value),
                "say which ones: `grants: […]`",
            );
        }
        for group in declared.groups.iter().chain(&declared.exclude_groups) {
            self.group(group);
        }
        for login in &declared.users {
            self.login(login);
        }
        let selected = match &declared.scopes {
            RuleScopes::Any(_) => ScopeSelector::Any,
            RuleScopes::Only(names) => {
                let known: ScopeSet = names.iter().filter_map(|name| self.known_scope(name, scopes)).collect();
                ScopeSelector::Only(known)
            }
        };
        self.lifetimes(declared, &grants);
        let texts = |list: &[Located<String>]| list.iter().map(|item| item.value.clone()).collect();
        Rule {
            name: Arc::from(declared.name.value.as_str()),
            grants,
            groups: texts(&declared.groups),
            users: texts(&declared.users),
            exclude_groups: texts(&declared.exclude_groups),
            scopes: selected,
            access_token: declared.access_token.value,
            refresh_token: declared.refresh_token.map(|refresh| RefreshLifetimes {
                lifetime: refresh.lifetime,
                idle: refresh.idle,
            }),
        }
    }

    fn lifetimes(&mut self, declared: &RuleDeclaration, grants: &BTreeSet<GrantType>) {
        let Located {
            value: lifetime,
            location,
        } = declared.access_token;
        if lifetime > ACCESS_TOKEN_LIFETIME_MAX {
            self.error(
                "access_token_too_long",
                location,
                format!(
                    "an access token that lives for {} s lives longer than a day",
                    lifetime.as_secs()
                ),
                "use at most `24h`; minutes are usual where money moves",
            );
        } else if lifetime.as_secs() == 0 {
            self.error(
                "access_token_too_short",
                location,
                "an access token has to live for a second at least",
                "use `1m` or the like",
            );
        }
        let Some(refresh) = declared.refresh_token else { return };
        let at = declared.name.location;
        if refresh.lifetime < lifetime {
            self.error(
                "refresh_token_too_short",
                at,
                format!(
                    "a refresh token that lives for {} s dies before the access token of {} s",
                    refresh.lifetime.as_secs(),
                    lifetime.as_secs()
                ),
                "let it live at least as long as the access token",
            );
        }
        if refresh
            .idle
            .is_some_and(|idle| idle > refresh.lifetime || idle.is_zero())
        {
            self.error(
                "refresh_token_idle",
                at,
                "a refresh token's idle time is longer than its life, or nothing",
                "use a time between a second and its `lifetime`",
            );
        }
        if !grants.is_empty() && grants.iter().all(|grant| !grant.has_user()) {
            self.warn(
                "refresh_token_without_user",
                at,
                "a client on its own gets no refresh token (RFC 6749 section 4.4.3)",
                "leave `refresh_token` out of this rule",
            );
        }
    }
}
