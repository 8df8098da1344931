//! Conditions.

use super::*;

#[test]
fn edge_e07_a_condition_sees_decoded_wildcards_and_normalised_claims() {
    let when = |text_of: &str| token(|token| token.when = Some(text(text_of)));
    let policy = routes(vec![
        route("/mine/{user}", &[("GET", when("token.sub == path.user"))]),
        route("/files/{rest...}", &[("GET", when("path.rest == 'a/é'"))]),
        route(
            "/client",
            &[(
                "GET",
                when("token.client_id == 'app' && token['https://x/roles'].exists(r, r == 'a')"),
            )],
        ),
        route("/missing", &[("GET", when("token.tier == 'gold'"))]),
        route("/typed", &[("GET", when("token.sub"))]),
        route("/broken", &[("GET", when("token.sub + 1 == 2"))]),
    ]);
    let ada = bearer(json!({}));
    assert_eq!(says(&policy, "GET https://h.example/mine/ada", &ada), "allow");
    assert_eq!(says(&policy, "GET https://h.example/mine/%61da", &ada), "allow");
    assert_eq!(
        says(&policy, "GET https://h.example/mine/bob", &ada),
        "condition_failed"
    );
    assert_eq!(says(&policy, "GET https://h.example/files/a/%C3%A9", &ada), "allow");
    let roles = bearer(json!({"https://x/roles": ["b", "a"]}));
    assert_eq!(says(&policy, "GET https://h.example/client", &roles), "allow");
    assert_eq!(says(&policy, "GET https://h.example/client", &ada), "condition_failed");
    assert_eq!(says(&policy, "GET https://h.example/missing", &ada), "condition_failed");
    assert_eq!(
        says(
            &policy,
            "GET https://h.example/missing",
            &bearer(json!({"tier": "gold"}))
        ),
        "allow"
    );
    assert_eq!(says(&policy, "GET https://h.example/typed", &ada), "condition_failed");
    assert_eq!(says(&policy, "GET https://h.example/broken", &ada), "condition_failed");
}

#[test]
fn attack_d05_attack_d14_a_doubtful_header_fails_conditions_of_either_sign() {
    let when = |text_of: &str| token(|token| token.when = Some(text(text_of)));
    let policy = routes(vec![
        route("/is", &[("GET", when("request.headers['x-role'] == 'user'"))]),
        route("/not", &[("GET", when("request.headers['x-role'] != 'admin'"))]),
        route("/lacks", &[("GET", when("!('x-role' in request.headers)"))]),
    ]);
    let says = |path: &str, headers: &[&'static str], raw: bool| {
        let line = format!("GET https://h.example{path}");
        let mut facts = request(&line, headers);
        facts.raw_headers = raw;
        verdict(&decide_on(&policy, &facts, &bearer(json!({}))))
    };
    assert_eq!(says("/is", &["x-role: user"], true), "allow");
    assert_eq!(says("/is", &["X-Role: user"], true), "allow");
    assert_eq!(says("/not", &["x-role: user"], true), "allow");
    assert_eq!(says("/lacks", &["x-other: a", "x-other: b"], true), "allow");
    for path in ["/is", "/not", "/lacks"] {
        for headers in [
            &["x-role: user", "x-role: admin"][..],
            &["x-role: user,admin"],
            &["x-role: us\u{fffd}er"],
            &["x-role: user\u{1}"],
        ] {
            assert_eq!(says(path, headers, true), "condition_failed", "{path} {headers:?}");
        }
        assert_eq!(says(path, &["x-role: v!(w"], false), "condition_failed", "{path}");
    }
    assert_eq!(says("/not", &["x-role: v!(w"], true), "allow");
}

#[test]
fn wildcards_that_a_walk_has_left_again_leave_no_value_behind() {
    let when = |text_of: &str| token(|token| token.when = Some(text(text_of)));
    let policy = routes(vec![
        route("/{a}/{b}/q", &[("GET", when("path.a == '1' && path.b == '2'"))]),
        route(
            "/{a}/x/{rest...}",
            &[("GET", when("path.a == '1' && path.rest == 'y/z'"))],
        ),
        route("/{rest...}", &[("GET", when("path.rest == '1/2/z'"))]),
    ]);
    for path in ["/1/2/q", "/1/x/y/z", "/1/2/z"] {
        let line = format!("GET https://h.example{path}");
        assert_eq!(says(&policy, &line, &bearer(json!({}))), "allow", "{path}");
    }
}
