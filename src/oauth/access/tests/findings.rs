use std::time::Duration;

use crate::model::finding::{Finding, Severity};
use crate::model::location::{Located, Location};
use crate::oauth::access::compile;
use crate::oauth::declared::{ClientKind, Consent, IssuerDeclaration, RefreshDeclaration};
use crate::oauth::sample::{bank, claim, client, policy, rule, scope, server, text, texts};

pub(super) fn codes(findings: &[Finding], severity: Severity) -> Vec<&'static str> {
    let mut codes: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .map(|finding| finding.code)
        .collect();
    codes.sort_unstable();
    codes
}

/// The issuer's part of `examples/broken/scopegate.yaml`; `at` marks the places.
fn broken() -> IssuerDeclaration {
    let at = |line, value: &str| Located::new(value.to_owned(), Location { line, column: 7 });
    let implicit = |name| scope(name, Consent::Implicit, false);
    let mut app = client("app", ClientKind::Native, &["authorization_code"]);
    app.assigned_groups.clear();
    app.grants.push(at(9, "client_credentials"));
    app.redirect_uris = vec![at(9, "http://app.example/cb"), at(9, "javascript:alert(1)")];
    let mut admin = implicit("shop:admin");
    admin.name = at(19, "shop:admin");
    let mut spaced = implicit("shop read");
    spaced.name = at(17, "shop read");
    let mut team = claim("team", "", &[]);
    team.value = at(22, "user.profile.");
    let mut iss = claim("iss", "user.login", &[]);
    iss.name = at(21, "iss");
    let mut never = rule("Never reached", &["client_credentials"], &[], Some(&["shop:read"]), 300);
    never.name = at(28, "Never reached");
    let mut long = rule("Long", &["password"], &[], Some(&["shop:write"]), 25 * 3600);
    long.access_token.location = Location { line: 32, column: 1 };
    let mut shop = server(
        "shop",
        vec![
            implicit("shop:read"),
            implicit("shop:write"),
            spaced,
            implicit("shop:refund"),
            admin,
        ],
        vec![
            policy(
                "Everyone",
                None,
                vec![
                    rule(
                        "Anything",
                        &["client_credentials", "authorization_code"],
                        &[],
                        None,
                        3600,
                    ),
                    never,
                ],
            ),
            policy("Ghost", Some(&["nobody"]), vec![long]),
        ],
    );
    shop.claims = vec![iss, team];
    IssuerDeclaration {
        servers: vec![shop],
        clients: vec![app, client("svc", ClientKind::Service, &["client_credentials"])],
        groups: Vec::new(),
        users: Vec::new(),
    }
}

#[test]
fn the_bank_compiles_without_a_finding() {
    let (model, findings) = compile(&bank());
    assert_eq!(findings, []);
    assert_eq!(model.expect("a model").servers.len(), 2);
}

#[test]
fn every_marked_mistake_of_the_issuer_is_reported_in_one_run() {
    let (model, findings) = compile(&broken());
    assert!(model.is_none());
    assert_eq!(
        codes(&findings, Severity::Error),
        [
            "access_token_too_long",
            "grant_not_allowed_for_type",
            "invalid_expression",
            "invalid_scope_name",
            "redirect_uri_plain_http",
            "redirect_uri_scheme",
            "reserved_claim",
            "unknown_client",
        ]
    );
    assert_eq!(
        codes(&findings, Severity::Warning),
        ["all_clients", "generic_admin_scope", "legacy_grant", "shadowed_rule"]
    );
    assert!(findings.iter().all(|finding| finding.hint.is_some()), "{findings:#?}");
    let of = |code: &str| findings.iter().find(|finding| finding.code == code).expect("reported");
    assert_eq!(of("invalid_expression").location.line, 22);
    assert!(
        of("invalid_expression").message.contains("column 14"),
        "{:?}",
        of("invalid_expression")
    );
    assert_eq!(of("shadowed_rule").location.line, 28);
    assert!(of("shadowed_rule").message.contains("`Anything`"));
    assert_eq!(of("access_token_too_long").location.line, 32);
    assert_eq!(of("invalid_scope_name").location.line, 17);
}

type Change = fn(&mut IssuerDeclaration);

/// What is wrong, the code that says so, and how to get there from the bank: rules and clients.
fn mistakes_of_rules_and_clients() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        ("unknown group in a rule", "unknown_group", |d| {
            d.servers[0].policies[0].rules[0].groups = texts(&["custmers"]);
        }),
        ("unknown excluded group", "unknown_group", |d| {
            d.servers[0].policies[0].rules[0].exclude_groups = texts(&["x"]);
        }),
        ("unknown assigned group", "unknown_group", |d| {
            d.clients[0].assigned_groups = texts(&["x"]);
        }),
        ("unknown group of a user", "unknown_group", |d| {
            d.users[0].groups = texts(&["x"]);
        }),
        ("unknown user in a rule", "unknown_user", |d| {
            d.servers[0].policies[0].rules[0].users = texts(&["x"]);
        }),
        ("unknown scope in a rule", "unknown_scope", |d| {
            d.servers[0].policies[0].rules[0].scopes =
                crate::oauth::declared::RuleScopes::Only(texts(&["transfers:raed"]));
        }),
        ("unknown scope of a claim", "unknown_scope", |d| {
            d.servers[0].claims[0].scopes = texts(&["x"]);
        }),
        ("unknown grant of a rule", "unknown_grant", |d| {
            d.servers[0].policies[0].rules[0].grants = texts(&["client_credential"]);
        }),
        ("unknown grant of a client", "unknown_grant", |d| {
            d.clients[1].grants.push(text("x"));
        }),
        ("rule without a grant", "no_grant", |d| {
            d.servers[0].policies[0].rules[0].grants.clear();
        }),
        ("refresh shorter than access", "refresh_token_too_short", |d| {
            d.servers[0].policies[0].rules[0].refresh_token = Some(RefreshDeclaration {
                lifetime: Duration::from_secs(60),
                idle: None,
            });
        }),
        ("idle longer than lifetime", "refresh_token_idle", |d| {
            d.servers[0].policies[0].rules[0].refresh_token = Some(RefreshDeclaration {
                lifetime: Duration::from_secs(600),
                idle: Some(Duration::from_secs(601)),
            });
        }),
        ("no lifetime", "access_token_too_short", |d| {
            d.servers[0].policies[0].rules[0].access_token.value = Duration::ZERO;
        }),
        ("secret of a public client", "secret_on_public_client", |d| {
            d.clients[0].secrets = d.clients[1].secrets.clone();
        }),
        ("no secret", "missing_secret", |d| d.clients[2].secrets.clear()),
        ("three secrets", "too_many_secrets", |d| {
            d.clients[2].secrets = vec![d.clients[2].secrets[0].clone(); 3];
        }),
        ("no redirect URI", "missing_redirect_uri", |d| {
            d.clients[1].redirect_uris.clear();
        }),
        ("web app without code", "missing_authorization_code", |d| {
            d.clients[1].grants = texts(&["client_credentials"]);
        }),
    ]
}

/// Likewise: whole servers.
fn mistakes_of_servers() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        ("client twice", "duplicate_client", |d| {
            d.clients
                .push(client("mobile", ClientKind::Service, &["client_credentials"]));
        }),
        ("server twice", "duplicate_authorization_server", |d| {
            d.servers.push(server("transfers", vec![], vec![]));
        }),
        ("scope twice", "duplicate_scope", |d| {
            d.servers[0]
                .scopes
                .push(scope("transfers:read", Consent::Implicit, false));
        }),
        ("OIDC scope", "reserved_scope", |d| {
            d.servers[0].scopes.push(scope("openid", Consent::Implicit, false));
        }),
        ("management scope", "reserved_scope", |d| {
            d.servers[0]
                .scopes
                .push(scope("okta.apps.read", Consent::Implicit, false));
        }),
        ("claim twice", "duplicate_claim", |d| {
            d.servers[0].claims.push(claim("tier", "1", &[]));
        }),
        ("unknown variable", "unknown_variable", |d| {
            d.servers[0].claims[0].value = text("usr.login");
        }),
        ("algorithm", "unknown_algorithm", |d| {
            d.servers[0].signing.algorithm = text("HS256");
        }),
        ("audience", "invalid_audience", |d| {
            d.servers[0].audience = text("::no uri::");
        }),
    ]
}

#[test]
fn each_mistake_has_its_code() {
    let rows = mistakes_of_rules_and_clients().into_iter().chain(mistakes_of_servers());
    for (what, code, change) in rows {
        let mut declaration = bank();
        change(&mut declaration);
        let (model, findings) = compile(&declaration);
        assert!(
            findings
                .iter()
                .any(|finding| finding.code == code && finding.severity == Severity::Error),
            "{what}: {findings:#?}"
        );
        assert!(model.is_none(), "{what}");
    }
}

#[test]
fn a_misspelt_name_gets_the_near_one() {
    let mut declaration = bank();
    declaration.servers[0].policies[0].rules[0].groups = texts(&["custmers"]);
    declaration.servers[0].policies[0].clients = crate::oauth::declared::PolicyClients::Only(texts(&["mobil"]));
    let (_, findings) = compile(&declaration);
    let hints: Vec<_> = findings.iter().filter_map(|finding| finding.hint.as_deref()).collect();
    assert_eq!(hints, ["did you mean `mobile`?", "did you mean `customers`?"]);
}

#[test]
fn rotation_that_would_publish_too_many_keys_is_refused() {
    let mut declaration = bank();
    declaration.servers[0].signing.rotate_every = Some(Duration::from_secs(5));
    assert!(
        compile(&declaration)
            .1
            .iter()
            .any(|finding| finding.code == "rotation_too_fast")
    );
    declaration.servers[0].signing.rotate_every = Some(Duration::from_secs(10));
    assert!(compile(&declaration).0.is_some());
}

#[test]
fn a_rule_is_shadowed_only_by_one_that_matches_all_of_it() {
    let warned = |earlier_clients: Option<&[&str]>, earlier, later| {
        let mut declaration = bank();
        declaration.servers[0].policies = vec![
            policy("a", earlier_clients, vec![earlier]),
            policy("b", Some(&["mobile"]), vec![later]),
        ];
        let (model, findings) = compile(&declaration);
        assert!(model.is_some(), "{findings:#?}");
        findings.iter().any(|finding| finding.code == "shadowed_rule")
    };
    let code = |name, groups: &[&str], scopes: Option<&[&str]>| rule(name, &["authorization_code"], groups, scopes, 60);
    let read: &[&str] = &["transfers:read"];
    assert!(warned(
        None,
        code("r", &[], None),
        code("s", &["customers"], Some(read))
    ));
    assert!(warned(
        Some(&["mobile"]),
        code("r", &["customers", "tellers"], Some(read)),
        code("s", &["customers"], Some(read))
    ));
    assert!(!warned(
        Some(&["quickbooks"]),
        code("r", &[], None),
        code("s", &[], Some(read))
    ));
    assert!(!warned(
        None,
        code("r", &["tellers"], None),
        code("s", &["customers"], Some(read))
    ));
    assert!(!warned(None, code("r", &["tellers"], None), code("s", &[], Some(read))));
    assert!(!warned(None, code("r", &[], Some(read)), code("s", &[], None)));
    let mut excluding = code("r", &[], None);
    excluding.exclude_groups = texts(&["tellers"]);
    assert!(!warned(None, excluding, code("s", &[], Some(read))));
}
