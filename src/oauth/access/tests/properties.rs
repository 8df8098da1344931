//! The switch against a model of it that is written as the reference is, over random declarations.

use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::{
    ClientSelector, Model, OIDC_SCOPES, ScopeSelector, Server, TokenRequestFacts, UserFacts, compile, decide,
};
use crate::oauth::declared::{ClientKind, Consent, IssuerDeclaration, PolicyDeclaration, RuleDeclaration};
use crate::oauth::grant::GrantType;
use crate::oauth::sample::{client, client_id, policy, rule, scope, server, server_id, texts};

const SCOPES: [&str; 4] = ["a", "b", "c", "d"];
const CLIENTS: [&str; 3] = ["web", "svc", "app"];
const GROUPS: [&str; 3] = ["g1", "g2", "g3"];
const GRANTS: [&str; 3] = ["client_credentials", "authorization_code", "refresh_token"];

fn rules() -> impl Strategy<Value = Vec<RuleDeclaration>> {
    let one = (
        subsequence(GRANTS.to_vec(), 1..=3),
        subsequence(GROUPS.to_vec(), 0..=2),
        subsequence(GROUPS.to_vec(), 0..=1),
        prop::option::of(subsequence(SCOPES.to_vec(), 1..=4)),
    );
    prop::collection::vec(one, 0..4).prop_map(|parts| {
        let build = |(index, (grants, groups, excluded, scopes)): (usize, (Vec<_>, Vec<_>, Vec<_>, Option<Vec<_>>))| {
            let mut built = rule(
                &format!("r{index}"),
                &grants,
                &groups,
                scopes.as_deref(),
                60 + index as u64,
            );
            built.exclude_groups = texts(&excluded);
            built
        };
        parts.into_iter().enumerate().map(build).collect()
    })
}

fn policies() -> impl Strategy<Value = Vec<PolicyDeclaration>> {
    let one = (prop::option::of(subsequence(CLIENTS.to_vec(), 0..=3)), rules());
    prop::collection::vec(one, 0..4).prop_map(|parts| {
        let build = |(index, (clients, rules)): (usize, (Option<Vec<_>>, _))| {
            policy(&format!("p{index}"), clients.as_deref(), rules)
        };
        parts.into_iter().enumerate().map(build).collect()
    })
}

fn models() -> impl Strategy<Value = Model> {
    let consents = prop::sample::select(vec![Consent::Implicit, Consent::Flexible, Consent::Required]);
    (policies(), prop::collection::vec((consents, any::<bool>()), 4)).prop_map(|(policies, scopes)| {
        let scopes = SCOPES
            .iter()
            .zip(scopes)
            .map(|(name, (consent, default))| scope(name, consent, default));
        let mut apps = vec![
            client("web", ClientKind::Web, &GRANTS),
            client("svc", ClientKind::Service, &["client_credentials"]),
            client("app", ClientKind::Native, &["authorization_code"]),
        ];
        for app in &mut apps {
            app.assigned_groups = texts(&["g1", "g2"]);
        }
        let declaration = IssuerDeclaration {
            servers: vec![server("s", scopes.collect(), policies)],
            clients: apps,
            groups: texts(&GROUPS),
            users: Vec::new(),
        };
        let (model, findings) = compile(&declaration);
        model.unwrap_or_else(|| panic!("{findings:#?}"))
    })
}

/// The switch, naively: which policy and rule would match, if any.
fn naive<'m>(server: &'m Server, facts: &TokenRequestFacts<'_>) -> Option<(&'m str, &'m str)> {
    let own: Vec<&Scope> = facts.scopes.map_or(Vec::new(), |scopes| {
        scopes
            .iter()
            .filter(|scope| !OIDC_SCOPES.contains(&scope.as_str()))
            .collect()
    });
    for policy in &server.policies {
        let in_policy = match &policy.clients {
            ClientSelector::All => true,
            ClientSelector::Only(clients) => clients.iter().any(|id| id == facts.client),
        };
        if !in_policy {
            continue;
        }
        for rule in &policy.rules {
            let grant = rule.grants.iter().any(|grant| *grant == facts.grant);
            let people = facts.grant == GrantType::ClientCredentials
                || facts.user.is_some_and(|user| {
                    let in_any = rule.groups.is_empty()
                        || user.groups.iter().any(|group| rule.groups.iter().any(|g| g == group));
                    let in_excluded = user
                        .groups
                        .iter()
                        .any(|group| rule.exclude_groups.iter().any(|g| g == group));
                    in_any && !in_excluded
                });
            let scopes = own.iter().all(|scope| match &rule.scopes {
                ScopeSelector::Any => true,
                ScopeSelector::Only(allowed) => allowed.iter().any(|a| a == *scope),
            });
            if grant && people && scopes {
                return Some((&policy.name, &rule.name));
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_grant_stays_within_its_rule_and_the_trace_names_it(
        model in models(),
        client in prop::sample::select(CLIENTS.to_vec()),
        grant in prop::sample::select(vec![GrantType::ClientCredentials, GrantType::AuthorizationCode, GrantType::RefreshToken]),
        groups in subsequence(GROUPS.to_vec(), 0..=3),
        active in prop::bool::weighted(0.9),
        scopes in prop::option::of(subsequence(vec!["a", "b", "c", "d", "openid", "profile", "zz"], 0..=3)),
    ) {
        let (id, client) = (server_id("s"), client_id(client));
        let groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
        let requested = scopes.map(|scopes| ScopeSet::parse(&scopes.join(" ")).expect("valid"));
        let facts = TokenRequestFacts {
            server: &id,
            client: &client,
            grant,
            user: Some(UserFacts { id: "00u1", login: "u", groups: &groups, active }).filter(|_| grant.has_user()),
            scopes: requested.as_ref(),
        };
        let server = &model.servers[&id];
        let decision = decide(&model, &facts);
        // The same question has the same answer.
        prop_assert_eq!(&decision, &decide(&model, &facts));
        let last = decision.trace.last().and_then(|step| step.rules.last().map(|rule| (&*step.policy, rule)));
        let matched = last.filter(|(_, rule)| rule.miss.is_none()).map(|(policy, rule)| (policy, &*rule.rule));
        if decision.trace.is_empty() {
            prop_assert!(decision.outcome.is_err());
        } else {
            prop_assert_eq!(matched, naive(server, &facts));
        }
        if let Ok(granted) = &decision.outcome {
            prop_assert_eq!(matched, Some((granted.policy(), granted.rule())));
            let policy = server.policies.iter().find(|policy| &*policy.name == granted.policy()).expect("it exists");
            let rule = policy.rules.iter().find(|rule| &*rule.name == granted.rule()).expect("it exists");
            prop_assert_eq!(granted.access_token(), rule.access_token);
            prop_assert!(!granted.scopes().is_empty());
            for scope in granted.scopes() {
                let oidc = OIDC_SCOPES.contains(&scope.as_str());
                let own = server.scopes.contains_key(scope) && rule.scopes.allows(scope);
                prop_assert_eq!(oidc && grant.has_user() || own, true);
                let consent = server.scopes.get(scope).map(|info| info.consent);
                prop_assert!(grant.has_user() || consent != Some(Consent::Required));
            }
            if let Some(requested) = requested.filter(|requested| !requested.is_empty()) {
                prop_assert_eq!(granted.scopes(), &requested);
            }
        }
    }
}
