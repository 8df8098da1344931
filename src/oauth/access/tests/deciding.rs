use std::time::Duration;

use crate::model::scope::ScopeSet;
use crate::oauth::access::{
    AccessDecision, AccessDenial, Model, RuleMiss, TokenRequestFacts, UserFacts, compile, decide,
};
use crate::oauth::declared::{ClientKind, Consent, IssuerDeclaration};
use crate::oauth::grant::GrantType;
use crate::oauth::sample::{bank, client, client_id, policy, rule, scope, server, server_id, texts};

fn model(declaration: &IssuerDeclaration) -> Model {
    let (model, findings) = compile(declaration);
    model.unwrap_or_else(|| panic!("{findings:#?}"))
}

fn set(scopes: &str) -> ScopeSet {
    ScopeSet::parse(scopes).expect("valid")
}

fn for_service(model: &Model, client: &str, scopes: Option<&str>) -> AccessDecision {
    let scopes = scopes.map(set);
    let facts = TokenRequestFacts {
        server: &server_id("transfers"),
        client: &client_id(client),
        grant: GrantType::ClientCredentials,
        user: None,
        scopes: scopes.as_ref(),
    };
    decide(model, &facts)
}

fn for_user(model: &Model, client: &str, user: Option<(&str, &[&str], bool)>, scopes: &str) -> AccessDecision {
    let scopes = set(scopes);
    let groups: Vec<String> = user
        .map_or(&[][..], |user| user.1)
        .iter()
        .map(|group| (*group).to_owned())
        .collect();
    let facts = TokenRequestFacts {
        server: &server_id("transfers"),
        client: &client_id(client),
        grant: GrantType::AuthorizationCode,
        user: user.map(|(login, _, active)| UserFacts {
            id: "00u1",
            login,
            groups: &groups,
            active,
        }),
        scopes: Some(&scopes),
    };
    decide(model, &facts)
}

const ADA: Option<(&str, &[&str], bool)> = Some(("ada@bank.example", &["customers"], true));

/// One server `transfers` with these policies, for the client `svc` and the web app `web`.
fn with_policies(policies: Vec<crate::oauth::declared::PolicyDeclaration>) -> Model {
    let mut declaration = bank();
    declaration.servers = vec![server(
        "transfers",
        vec![
            scope("a", Consent::Implicit, true),
            scope("b", Consent::Flexible, true),
            scope("c", Consent::Required, false),
            scope("d", Consent::Implicit, false),
        ],
        policies,
    )];
    declaration.clients = vec![
        client("svc", ClientKind::Service, &["client_credentials"]),
        client("web", ClientKind::Web, &["authorization_code", "client_credentials"]),
    ];
    model(&declaration)
}

fn service_rule(name: &str, scopes: Option<&[&str]>, seconds: u64) -> crate::oauth::declared::RuleDeclaration {
    rule(name, &["client_credentials"], &[], scopes, seconds)
}

#[test]
fn the_rule_that_matches_first_decides_and_nothing_after_it_runs() {
    let model = with_policies(vec![policy(
        "p",
        Some(&["svc"]),
        vec![
            service_rule("one", Some(&["a"]), 60),
            service_rule("two", Some(&["a", "b"]), 120),
            service_rule("three", None, 180),
        ],
    )]);
    let decision = for_service(&model, "svc", Some("a b"));
    let granted = decision.outcome.as_ref().expect("granted");
    assert_eq!((granted.policy(), granted.rule()), ("p", "two"));
    assert_eq!(granted.access_token(), Duration::from_secs(120));
    assert_eq!(granted.scopes(), &set("a b"));
    let steps: Vec<_> = decision.trace[0]
        .rules
        .iter()
        .map(|step| (&*step.rule, step.miss.clone()))
        .collect();
    assert_eq!(steps, [("one", Some(RuleMiss::Scopes(set("b")))), ("two", None)]);
}

#[test]
fn a_policy_whose_clients_match_but_whose_rules_do_not_is_not_the_end() {
    let model = with_policies(vec![
        policy("not for it", Some(&["web"]), vec![service_rule("r", None, 60)]),
        policy("too narrow", Some(&["svc"]), vec![service_rule("r", Some(&["a"]), 60)]),
        policy("fits", Some(&["svc"]), vec![service_rule("r", Some(&["d"]), 90)]),
    ]);
    let decision = for_service(&model, "svc", Some("d"));
    assert_eq!(decision.outcome.as_ref().expect("granted").policy(), "fits");
    let looked_at: Vec<_> = decision
        .trace
        .iter()
        .map(|step| (step.client_included, step.rules.len()))
        .collect();
    assert_eq!(looked_at, [(false, 0), (true, 1), (true, 1)]);
}

#[test]
fn case_084_a_rule_without_the_grant_is_no_matching_policy() {
    let model = with_policies(vec![policy(
        "p",
        None,
        vec![rule("people", &["authorization_code"], &[], None, 60)],
    )]);
    let decision = for_service(&model, "svc", Some("a"));
    assert_eq!(decision.outcome, Err(AccessDenial::NoMatchingPolicy));
    assert_eq!(decision.trace[0].rules[0].miss, Some(RuleMiss::Grant));
    assert_eq!(
        for_service(&with_policies(vec![]), "svc", Some("a")).outcome,
        Err(AccessDenial::NoMatchingPolicy)
    );
}

#[test]
fn a_scope_outside_every_rule_is_scope_denied_and_the_grant_is_not_narrowed() {
    let model = with_policies(vec![policy(
        "p",
        None,
        vec![service_rule("x", Some(&["d"]), 60), service_rule("y", Some(&["a"]), 60)],
    )]);
    let decision = for_service(&model, "svc", Some("a b"));
    assert_eq!(decision.outcome, Err(AccessDenial::ScopeDenied(set("b"))));
}

#[test]
fn case_029_an_unknown_scope_is_named_and_nothing_granted() {
    let decision = for_service(&model(&bank()), "nightly-batch", Some("transfers:read transfers:raed"));
    assert_eq!(decision.outcome, Err(AccessDenial::UnknownScope(set("transfers:raed"))));
    assert_eq!(decision.trace, []);
}

#[test]
fn case_030_without_a_scope_the_defaults_that_the_rule_allows_are_granted() {
    let model = with_policies(vec![policy("p", None, vec![service_rule("r", Some(&["b", "d"]), 60)])]);
    let granted = for_service(&model, "svc", None).outcome.expect("granted");
    assert_eq!(granted.scopes(), &set("b"));
    let narrow = with_policies(vec![policy("p", None, vec![service_rule("r", Some(&["d"]), 60)])]);
    assert_eq!(for_service(&narrow, "svc", None).outcome, Err(AccessDenial::NoScope));
    // The bank has no default scopes at all.
    assert_eq!(
        for_service(
            &super::super::compile(&bank()).0.expect("a model"),
            "nightly-batch",
            None
        )
        .outcome,
        Err(AccessDenial::NoScope)
    );
}

#[test]
fn case_082_a_service_gets_no_oidc_scope_and_none_that_needs_consent() {
    let model = with_policies(vec![policy("p", None, vec![service_rule("r", None, 60)])]);
    for scopes in ["openid", "a openid", "profile", "a offline_access"] {
        let outcome = for_service(&model, "svc", Some(scopes)).outcome;
        assert!(
            matches!(outcome, Err(AccessDenial::ScopeNeedsUser(_))),
            "{scopes}: {outcome:?}"
        );
    }
    assert_eq!(
        for_service(&model, "svc", Some("a c")).outcome,
        Err(AccessDenial::ConsentRequired(set("c")))
    );
    assert!(for_service(&model, "svc", Some("a b d")).outcome.is_ok());
}

#[test]
fn case_077_a_grant_that_the_client_does_not_have_is_refused_before_any_policy() {
    let decision = for_service(&model(&bank()), "quickbooks", Some("transfers:read"));
    assert_eq!(
        decision.outcome,
        Err(AccessDenial::GrantNotAllowed(GrantType::ClientCredentials))
    );
    assert_eq!(decision.trace, []);
    assert_eq!(
        for_service(&model(&bank()), "nobody", Some("a")).outcome,
        Err(AccessDenial::UnknownClient)
    );
}

#[test]
fn case_032_a_user_must_be_active_and_assigned() {
    let model = model(&bank());
    let scopes = "transfers:read";
    assert!(for_user(&model, "mobile", ADA, scopes).outcome.is_ok());
    let rows = [
        (None, AccessDenial::UserNotActive),
        (
            Some(("ada@bank.example", &["customers"][..], false)),
            AccessDenial::UserNotActive,
        ),
        (
            Some(("bob@bank.example", &["tellers"][..], true)),
            AccessDenial::UserNotAssigned,
        ),
    ];
    for (user, denial) in rows {
        assert_eq!(for_user(&model, "mobile", user, scopes).outcome, Err(denial));
    }
}

#[test]
fn case_031_oidc_scopes_need_some_rule_that_matches_and_none_that_names_them() {
    let model = model(&bank());
    let granted = for_user(&model, "mobile", ADA, "openid transfers:read offline_access")
        .outcome
        .expect("granted");
    assert_eq!(granted.scopes(), &set("offline_access openid transfers:read"));
    let alone = for_user(&model, "mobile", ADA, "openid profile")
        .outcome
        .expect("granted");
    assert_eq!(alone.scopes(), &set("openid profile"));
    let elsewhere = for_user(&model, "quickbooks", ADA, "openid profile");
    assert_eq!(elsewhere.outcome, Err(AccessDenial::NoMatchingPolicy));
}

#[test]
fn case_099_offline_access_needs_the_refresh_grant() {
    let model = with_policies(vec![policy(
        "p",
        None,
        vec![rule("r", &["authorization_code"], &[], None, 60)],
    )]);
    let outcome = for_user(&model, "web", ADA, "a offline_access").outcome;
    assert_eq!(outcome, Err(AccessDenial::OfflineAccessNotAllowed));
}

#[test]
fn people_are_included_by_group_or_login_and_excluded_by_group() {
    let mut by_login = rule("r", &["authorization_code"], &["tellers"], None, 60);
    by_login.users = texts(&["ada@bank.example"]);
    let mut excluding = rule("r", &["authorization_code"], &[], None, 60);
    excluding.exclude_groups = texts(&["tellers"]);
    let teller: Option<(&str, &[&str], bool)> = Some(("eve@bank.example", &["customers", "tellers"], true));
    let other: Option<(&str, &[&str], bool)> = Some(("eve@bank.example", &["customers"], true));

    let included = with_policies(vec![policy("p", None, vec![by_login])]);
    assert!(for_user(&included, "web", ADA, "a").outcome.is_ok());
    assert!(for_user(&included, "web", teller, "a").outcome.is_ok());
    assert_eq!(
        for_user(&included, "web", other, "a").trace[0].rules[0].miss,
        Some(RuleMiss::NotIncluded)
    );

    let excluded = with_policies(vec![policy("p", None, vec![excluding])]);
    assert!(for_user(&excluded, "web", other, "a").outcome.is_ok());
    let miss = for_user(&excluded, "web", teller, "a").trace[0].rules[0].miss.clone();
    assert_eq!(miss, Some(RuleMiss::Excluded("tellers".to_owned())));
}

#[test]
fn a_service_gets_no_refresh_token_even_where_the_rule_names_a_lifetime() {
    let mut generous = service_rule("r", None, 60);
    generous.refresh_token = Some(crate::oauth::declared::RefreshDeclaration {
        lifetime: Duration::from_secs(3600),
        idle: None,
    });
    let model = with_policies(vec![policy("p", None, vec![generous])]);
    assert_eq!(
        for_service(&model, "svc", Some("a"))
            .outcome
            .expect("granted")
            .refresh_token(),
        None
    );
}

#[test]
fn the_trace_reads_as_json() {
    let decision = for_service(
        &model(&bank()),
        "nightly-batch",
        Some("transfers:read transfers:approve"),
    );
    let expected = serde_json::json!([
        { "policy": "The bank's own app", "client_included": false, "rules": [] },
        { "policy": "Services", "client_included": true, "rules": [
            { "rule": "Reading at night", "matched": false, "failed": "the rule does not allow the scopes `transfers:approve`" },
        ] },
    ]);
    assert_eq!(decision.trace_json(), expected);
}
