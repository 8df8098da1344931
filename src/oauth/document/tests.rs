//! What documents say, and what has no declaration.

use serde_json::json;

use super::*;
use crate::model::id::AuthorizationServerId;
use crate::oauth::access::Parts;
use crate::oauth::claims::Expression;
use crate::oauth::declared::{PolicyClients, RuleScopes};

fn server() -> ServerDocument {
    ServerDocument::read(&json!({
        "name": "Payments", "audiences": ["https://pay.example", "https://pay.example/v2"],
        "signing": { "algorithm": "ES256" },
        "scopes": [{ "id": "scp1", "name": "pay:read", "created_at": 1, "updated_at": 2 }],
        "policies": [{
            "id": "00p1", "name": "All", "clients": ["app", "gone"], "created_at": 1, "updated_at": 1,
            "rules": [
                { "id": "0pr1", "name": "R", "grants": ["authorization_code"], "groups": ["EVERYONE"],
                  "scopes": null, "access_token_seconds": 60, "created_at": 1, "updated_at": 1 },
                { "id": "0pr2", "name": "Off", "status": "INACTIVE", "grants": ["nonsense"],
                  "scopes": null, "access_token_seconds": 60, "created_at": 1, "updated_at": 1 },
            ],
        }],
    }))
    .expect("a document")
}

fn id() -> AuthorizationServerId {
    AuthorizationServerId::parse("aus1").expect("valid")
}

#[test]
fn a_document_reads_back_what_it_writes() {
    let document = server();
    assert_eq!(ServerDocument::read(&document.body()), Ok(document));
}

#[test]
fn a_field_of_a_newer_version_is_not_read_over() {
    let mut body = server().body();
    body["policies"][0]["rules"][0]["only_from_networks"] = json!(["10.0.0.0/8"]);
    let error = ServerDocument::read(&body).expect_err("unknown");
    assert!(error.to_string().contains("only_from_networks"), "{error}");
}

#[test]
fn what_is_inactive_or_gone_is_left_out_of_the_declaration() {
    let declared = server()
        .declaration(&id(), &|client| client == "app")
        .expect("declared");
    let policy = &declared.policies[0];
    assert!(matches!(&policy.clients, PolicyClients::Only(ids) if ids.len() == 1 && ids[0].value == "app"));
    assert_eq!(policy.rules.len(), 1);
    assert!(policy.rules[0].groups.is_empty(), "EVERYONE is any user");
    assert!(matches!(policy.rules[0].scopes, RuleScopes::Any(_)));
    assert_eq!(declared.options.resources[0].value, "https://pay.example/v2");
    let (compiled, findings) = Parts::new(["app"], []).server(&declared);
    assert!(compiled.is_some(), "{findings:?}");
}

#[test]
fn a_rule_that_names_nobody_is_refused_and_not_for_anybody() {
    let mut document = server();
    document.policies[0].rules[0].groups.clear();
    assert!(document.declaration(&id(), &|_| true).is_err());
    document.policies[0].rules[0].grants = vec!["client_credentials".to_owned()];
    assert!(document.declaration(&id(), &|_| true).is_ok());
}

#[test]
fn group_filters_compare_names_and_not_patterns() {
    let claim = |filter, value: &str| {
        let body = json!({ "id": "ocl1", "name": "groups", "claim_type": "RESOURCE", "value_type": "GROUPS",
            "value": value, "group_filter": filter, "created_at": 1, "updated_at": 1 });
        let mut document = server();
        document.claims = vec![serde_json::from_value(body).expect("a claim")];
        let declared = document.declaration(&id(), &|_| true).expect("declared");
        declared.claims[0].value.value.clone()
    };
    let expression = claim("STARTS_WITH", "a.b\"c");
    assert_eq!(expression, r#"user.groups.filter(g, g.matches("(?i)^a\\.b\\\"c"))"#);
    for filter in ["STARTS_WITH", "EQUALS", "CONTAINS", "REGEX"] {
        Expression::parse(&claim(filter, "api-")).expect("an expression");
    }
}

#[test]
fn identifiers_have_the_prefix_and_do_not_repeat() {
    let id = IdPrefix::Server.identifier(u128::MAX);
    assert_eq!((id.len(), &id[..3]), (20, "aus"));
    assert_ne!(id, IdPrefix::Server.identifier(u128::MAX - 1));
}
