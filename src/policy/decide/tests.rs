use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::digest::Digest;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::declared::{
    ApiDeclaration, BadToken, ClientsDeclaration, CorsPreflight, ForwardToken, MethodOverride, RouteDeclaration,
};
use crate::policy::select::TokenNeed;
use crate::policy::testing::{
    NOW, allowed, api, bearer, caller_of, compiled, compiled_of, decide as decide_on, declare, denied, grpc, needs,
    request, route, routes, scoped, server, text, texts, token, traced, verdict, with_certificate, with_proof,
};
use crate::policy::trace::Untraced;

mod bank;
mod binding;
mod conditions;
mod open;
mod property;
mod request;
mod telling;
mod upstream;

fn one(what: &str) -> CompiledPolicy {
    routes(vec![route("/x", &[("GET", needs(what))])])
}

const GET: &str = "GET https://h.example/x";

fn says(policy: &CompiledPolicy, line: &str, caller: &Caller) -> &'static str {
    verdict(&decide_on(policy, &request(line, &[]), caller))
}

fn challenges(policy: &CompiledPolicy, line: &str, caller: &Caller) -> Vec<String> {
    denied(decide_on(policy, &request(line, &[]), caller)).challenges
}

/// An API with three identity headers.
fn with_headers(routes: Vec<RouteDeclaration>) -> ApiDeclaration {
    let mut declared = api("api", "h.example", routes);
    declared.forward.headers = vec![
        (text("X-Auth-Subject"), text("token.sub")),
        (text("x-auth-tier"), text("token.tier")),
        (text("x-user"), text("token.client_id")),
    ];
    declared
}

fn key(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A token with `r` that is bound to these keys.
fn bound(jkt: Option<&str>, x5t: Option<&str>) -> Caller {
    let mut cnf = serde_json::Map::new();
    if let Some(name) = jkt {
        cnf.insert("jkt".to_owned(), key(name).to_base64url().into());
    }
    if let Some(name) = x5t {
        cnf.insert("x5t#S256".to_owned(), key(name).to_base64url().into());
    }
    bearer(json!({"scope": "r", "cnf": cnf}))
}

// === the token ===

#[test]
fn edge_c01_edge_e15_a_missing_token_is_a_challenge_without_an_error() {
    let denial = denied(decide_on(&one("r"), &request(GET, &[]), &Caller::Anonymous));
    assert_eq!(denial.reason(), Reason::MissingToken);
    assert_eq!(denial.status(), 401);
    assert_eq!(denial.challenges, ["Bearer realm=\"api\""]);
    assert_eq!(denial.route.expect("a route").name.as_str(), "GET /x");
}

#[test]
fn edge_j26_a_token_of_another_server_is_invalid() {
    let mut declaration = declare(vec![api("api", "h.example", vec![route("/x", &[("GET", needs("r"))])])]);
    declaration.servers.push(server("other", &["r"]));
    let policy = compiled_of(&declaration);
    let denial = denied(decide_on(
        &policy,
        &request(GET, &[]),
        &caller_of("other", json!({"scope": "r"})),
    ));
    assert_eq!(denial.reason(), Reason::InvalidToken);
    assert_eq!(says(&policy, GET, &scoped("r")), "allow");
}

#[test]
fn edge_j13_the_client_must_be_one_of_the_apis_and_of_the_routes() {
    let narrow = token(|token| token.clients = Some(texts(&["mobile"])));
    let policy = compiled(vec![ApiDeclaration {
        clients: ClientsDeclaration::Only(texts(&["mobile", "app"])),
        ..api(
            "api",
            "h.example",
            vec![route("/x", &[("GET", needs("authenticated")), ("PUT", narrow)])],
        )
    }]);
    let client = |client: &str| bearer(json!({ "client_id": client }));
    assert_eq!(says(&policy, GET, &client("mobile")), "allow");
    assert_eq!(says(&policy, GET, &client("app")), "allow");
    assert_eq!(says(&policy, GET, &client("App")), "client_not_allowed");
    assert_eq!(says(&policy, GET, &client("quickbooks")), "client_not_allowed");
    assert_eq!(
        says(&policy, GET, &bearer(json!({"client_id": null}))),
        "client_not_allowed"
    );
    assert_eq!(
        says(&policy, "PUT https://h.example/x", &client("app")),
        "client_not_allowed"
    );
    assert_eq!(says(&policy, "PUT https://h.example/x", &client("mobile")), "allow");
    let denial = denied(decide_on(&policy, &request(GET, &[]), &client("quickbooks")));
    assert_eq!((denial.status(), denial.challenges.len()), (403, 0));
}

#[test]
fn a_token_without_a_client_passes_only_where_any_may_call() {
    let nameless = bearer(json!({"client_id": null, "scope": "r"}));
    assert_eq!(says(&one("r"), GET, &nameless), "allow");
}

// === scopes ===

#[test]
fn edge_d01_edge_e15_the_challenge_names_the_smallest_set_that_would_do() {
    let policy = routes(vec![
        route("/all", &[("GET", needs("a b c"))]),
        route("/any", &[("GET", token(|token| token.any = texts(&["b", "a"])))]),
        route(
            "/both",
            &[(
                "GET",
                token(|token| {
                    token.all = texts(&["r"]);
                    token.any = texts(&["b", "a"]);
                }),
            )],
        ),
        route(
            "/overlap",
            &[(
                "GET",
                token(|token| {
                    token.all = texts(&["a"]);
                    token.any = texts(&["b", "a"]);
                }),
            )],
        ),
    ]);
    for (path, held, missing) in [
        ("/all", "", "a b c"),
        ("/all", "a", "b c"),
        ("/all", "a c r", "b"),
        ("/any", "r", "b"),
        ("/both", "", "b r"),
        ("/both", "a", "r"),
        ("/both", "r", "b"),
        ("/overlap", "", "a"),
        ("/overlap", "b", "a"),
    ] {
        let line = format!("GET https://h.example{path}");
        let denial = denied(decide_on(&policy, &request(&line, &[]), &scoped(held)));
        assert_eq!(denial.reason(), Reason::InsufficientScope, "{path} {held}");
        assert_eq!(denial.status(), 403);
        assert_eq!(denial.missing.to_string(), missing, "{path} {held}");
        let [challenge] = denial.challenges.as_slice() else {
            panic!("one challenge")
        };
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.contains(&format!("scope=\"{missing}\"")), "{challenge}");
        // The set that is named does do.
        assert_eq!(
            says(&policy, &line, &scoped(&format!("{held} {missing}"))),
            "allow",
            "{path} {held}"
        );
    }
    assert_eq!(says(&policy, "GET https://h.example/any", &scoped("a")), "allow");
}

#[test]
fn edge_j17_attack_a41_scopes_are_compared_exactly() {
    let policy = one("r");
    for held in ["R", "r:all", "rr", "re", ""] {
        assert_eq!(says(&policy, GET, &scoped(held)), "insufficient_scope", "{held}");
    }
    assert_eq!(says(&policy, GET, &bearer(json!({"scp": ["r"]}))), "allow");
}

// === how the user signed in ===

#[test]
fn edge_d11_a_sign_in_that_is_too_old_or_too_weak_asks_for_another() {
    let policy = routes(vec![
        route(
            "/age",
            &[("GET", token(|token| token.max_age = Some(Duration::from_secs(300))))],
        ),
        route("/acr", &[("GET", token(|token| token.acr = texts(&["mfa", "phr"])))]),
    ]);
    let at = |offset: i64| bearer(json!({"auth_time": NOW.unix_seconds() + offset}));
    let age = "GET https://h.example/age";
    for (offset, expected) in [
        (0, "allow"),
        (-300, "allow"),
        (-301, "insufficient_user_authentication"),
        (60, "allow"),
        (61, "insufficient_user_authentication"),
        (-1_800_000_000, "insufficient_user_authentication"),
    ] {
        assert_eq!(says(&policy, age, &at(offset)), expected, "{offset}");
    }
    // Absent is stale.
    let denial = denied(decide_on(&policy, &request(age, &[]), &bearer(json!({}))));
    assert_eq!(
        (denial.reason(), denial.status()),
        (Reason::InsufficientUserAuthentication, 401)
    );
    assert!(denial.challenges[0].contains("error=\"insufficient_user_authentication\""));
    assert!(denial.challenges[0].contains("max_age=\"300\""));
    assert!(!denial.challenges[0].contains("acr_values"));

    let acr = "GET https://h.example/acr";
    assert_eq!(says(&policy, acr, &bearer(json!({"acr": "phr"}))), "allow");
    assert_eq!(
        says(&policy, acr, &bearer(json!({"acr": "MFA"}))),
        "insufficient_user_authentication"
    );
    assert_eq!(
        says(&policy, acr, &bearer(json!({}))),
        "insufficient_user_authentication"
    );
    let challenge = challenges(&policy, acr, &bearer(json!({}))).remove(0);
    assert!(challenge.contains("acr_values=\"mfa phr\""), "{challenge}");
}
