use proptest::prelude::*;

use super::*;
use crate::model::id::ClientId;
use crate::oauth::client::Credentials;

fn client() -> Client {
    Client {
        id: ClientId::parse("mobile").expect("valid"),
        kind: ClientKind::Native,
        grants: [GrantType::AuthorizationCode].into(),
        redirect_uris: Vec::new(),
        credentials: Credentials::Public,
        assigned_groups: std::collections::BTreeSet::new(),
        assigned_users: std::collections::BTreeSet::new(),
        options: std::sync::Arc::default(),
    }
}

fn claim(name: &str, value: &str, scopes: &[&str]) -> Claim {
    Claim {
        name: name.to_owned(),
        place: ClaimPlace::AccessToken,
        scopes: scopes.iter().map(|scope| Scope::parse(scope).expect("valid")).collect(),
        value: Expression::parse(value).expect("an expression"),
    }
}

fn evaluated(claims: &[Claim], with_user: bool) -> Result<Map<String, Value>, ClaimFailure> {
    let client = client();
    let scopes = ScopeSet::parse("a b").expect("valid");
    let groups = ["customers".to_owned(), "gold".to_owned()];
    let profile = json!({ "tier": "gold", "limit": 5000 });
    let user = ClaimUser {
        login: "ada@bank.example",
        groups: &groups,
        profile: profile.as_object().expect("an object"),
    };
    let facts = ClaimFacts {
        client: &client,
        grant: GrantType::AuthorizationCode,
        scopes: &scopes,
        user: with_user.then_some(user),
    };
    evaluate(claims, ClaimPlace::AccessToken, &facts)
}

#[test]
fn values_come_from_user_client_grant_and_scopes() {
    let claims = [
        claim("tier", "user.profile.tier", &[]),
        claim("app", "client.id + '/' + client.kind", &[]),
        claim("how", "grant", &[]),
        claim("b", "'b' in scopes", &[]),
        claim("groups", "user.groups.filter(g, g.startsWith('c'))", &[]),
        claim("limit", "user.profile.limit", &[]),
        claim(
            "fallback",
            "has(user.profile.nick) ? user.profile.nick : user.login",
            &[],
        ),
    ];
    let values = evaluated(&claims, true).expect("evaluates");
    let expected = json!({
        "tier": "gold", "app": "mobile/native", "how": "authorization_code", "b": true,
        "groups": ["customers"], "limit": 5000, "fallback": "ada@bank.example",
    });
    assert_eq!(Value::Object(values), expected);
}

#[test]
fn case_106_a_missing_attribute_is_absent_and_a_failure_ends_the_request() {
    let missing = [claim("tier", "user.profile.nothing", &[]), claim("none", "null", &[])];
    assert_eq!(evaluated(&missing, true), Ok(Map::new()));
    for broken in ["1 / 0", "'a' + 1", "nofunction(user.login)"] {
        let failure = evaluated(&[claim("good", "1", &[]), claim("bad", broken, &[])], true);
        assert_eq!(failure.expect_err("fails").claim, "bad", "{broken}");
    }
}

#[test]
fn case_081_a_claim_of_the_user_is_absent_without_one() {
    let claims = [claim("tier", "user.profile.tier", &[]), claim("app", "client.id", &[])];
    let values = evaluated(&claims, false).expect("evaluates");
    assert_eq!(Value::Object(values), json!({ "app": "mobile" }));
}

#[test]
fn a_claim_is_there_only_if_one_of_its_scopes_was_granted() {
    let claims = [claim("x", "1", &["a", "z"]), claim("y", "1", &["z"])];
    let values = evaluated(&claims, true).expect("evaluates");
    assert_eq!(Value::Object(values), json!({ "x": 1 }));
}

#[test]
fn case_106_a_claim_larger_than_its_budget_fails() {
    let long = format!("'{}'", "x".repeat(900));
    assert!(evaluated(&[claim("ok", &long, &[])], true).is_ok());
    let value = format!("[{}]", ["client.id"; 30].join(","));
    let doubled = format!("{value}.map(a, {value})");
    let failure = evaluated(&[claim("big", &format!("{{'list': {doubled}}}"), &[])], true);
    assert_eq!(failure.expect_err("an object cannot be elsewhere").claim, "big");
}

#[test]
fn case_107_a_list_larger_than_its_budget_is_elsewhere() {
    let value = format!("[{}]", ["client.id"; 30].join(","));
    let claims = [
        claim("big", &format!("{value}.map(a, {value})"), &[]),
        claim("x", "1", &[]),
    ];
    let values = evaluated(&claims, true).expect("evaluates");
    assert_eq!(
        Value::Object(values),
        json!({ "x": 1, "_claim_names": { "big": "userinfo" } })
    );
}

#[test]
fn a_syntax_error_says_where_inside_the_expression() {
    let at = |text: &str| match Expression::parse(text) {
        Err(InvalidExpression::Syntax { line, column, .. }) => (line, column),
        other => panic!("{text:?} gave {other:?}"),
    };
    assert_eq!(at("user.profile."), (1, 14));
    assert_eq!(at("user + + client"), (1, 8));
    assert_eq!(at(""), (1, 1));
}

#[test]
fn unknown_variables_are_found_before_the_first_request() {
    let unknown = |text: &str| match Expression::parse(text) {
        Err(InvalidExpression::UnknownVariable { name, nearest }) => (name, nearest),
        other => panic!("{text:?} gave {other:?}"),
    };
    assert_eq!(unknown("usr.login"), ("usr".to_owned(), Some("user")));
    assert_eq!(unknown("scopes.exists(s, s == t)").0, "t");
    assert!(Expression::parse("user.groups.exists(g, scopes.exists(s, s == g))").is_ok());
}

#[test]
fn attack_e13_length_nesting_and_loops_are_bounded() {
    let long = "1+".repeat(600) + "1";
    assert_eq!(Expression::parse(&long).err(), Some(InvalidExpression::TooLong(1201)));
    let nested = |depth: usize| "(".repeat(depth) + "1" + &")".repeat(depth);
    assert!(Expression::parse(&nested(BRACKETS_MAX)).is_ok());
    let quoted_closers = "[\")\",".repeat(120);
    for deep in [nested(BRACKETS_MAX + 1), quoted_closers, "! ".repeat(500) + "true"] {
        assert_eq!(
            Expression::parse(&deep).err(),
            Some(InvalidExpression::TooDeep),
            "{deep}"
        );
    }
    let loops = "scopes.map(a, scopes.map(b, scopes.map(c, c)))";
    assert_eq!(Expression::parse(loops).err(), Some(InvalidExpression::TooManyLoops));
}

proptest! {
    #[test]
    fn no_text_takes_the_compiler_down(text in "[ -~\\n]{0,80}") {
        let _ = Expression::parse(&text);
    }
}
