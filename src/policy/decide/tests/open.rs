//! Public routes and preflights.

use super::*;

#[test]
fn edge_e22_edge_c11_edge_c12_a_public_route_looks_at_a_token_only_if_told() {
    let declared = |bad_token| {
        compiled(vec![ApiDeclaration {
            bad_token,
            ..with_headers(vec![route("/x", &[("GET", needs("public"))])])
        }])
    };
    let facts = request(GET, &[]);
    let ignoring = declared(BadToken::Ignore);
    let selected = ignoring.select(&facts, &mut Untraced).expect("a route");
    assert_eq!(selected.needs(), TokenNeed::None);
    let judging = declared(BadToken::Deny);
    let selected = judging.select(&facts, &mut Untraced).expect("a route");
    assert_eq!(selected.needs(), TokenNeed::Optional);
    let permit = allowed(decide_on(&judging, &facts, &Caller::Anonymous));
    assert!(permit.headers().is_empty() && permit.caller().is_none());
    let permit = allowed(decide_on(&judging, &facts, &scoped("")));
    assert_eq!(permit.headers()[0].1, "ada");
    let refusal = selected.refuse(Reason::InvalidToken, "the token is expired", Some(Scheme::Bearer));
    assert_eq!(refusal.status(), 401);
}

#[test]
fn a_public_route_takes_the_authorization_header_away_unless_told() {
    let declared = |forward_authorization| {
        compiled(vec![with_headers(vec![RouteDeclaration {
            forward_authorization,
            ..route("/x", &[("GET", needs("public"))])
        }])])
    };
    let removes = |policy: &CompiledPolicy| {
        let permit = allowed(decide_on(policy, &request(GET, &[]), &Caller::Anonymous));
        permit.headers_to_remove().any(|name| name == "authorization")
    };
    assert!(removes(&declared(false)));
    assert!(!removes(&declared(true)));
}

const PREFLIGHT: [&str; 2] = ["origin: https://app.example", "access-control-request-method: GET"];

#[test]
fn edge_m04_edge_m05_edge_e01_a_preflight_passes_without_a_token_or_identity() {
    let declared = |cors_preflight| {
        compiled(vec![ApiDeclaration {
            cors_preflight,
            ..with_headers(vec![
                route("/x", &[("GET", needs("r"))]),
                route("/any", &[("*", needs("r"))]),
                route("/denied", &[("GET", needs("r")), ("OPTIONS", needs("deny"))]),
            ])
        }])
    };
    let cors = declared(CorsPreflight::Allow);
    let options = "OPTIONS https://h.example/x";
    let facts = request(options, &PREFLIGHT);
    assert_eq!(
        cors.select(&facts, &mut Untraced).expect("a route").needs(),
        TokenNeed::None
    );
    // A token that comes along is not looked at, and not forwarded as identity.
    for caller in [Caller::Anonymous, scoped("r")] {
        let permit = allowed(decide_on(&cors, &facts, &caller));
        assert!(permit.caller().is_none() && permit.headers().is_empty());
        let removed: Vec<&str> = permit.headers_to_remove().collect();
        for name in [
            "authorization",
            "x-auth-subject",
            "x_auth_subject",
            "x-auth-tier",
            "x-user",
            "x_user",
        ] {
            assert!(removed.contains(&name), "{name}");
        }
    }
    let bare = |line, headers: &[&'static str]| verdict(&decide_on(&cors, &request(line, headers), &Caller::Anonymous));
    assert_eq!(bare(options, &PREFLIGHT[..1]), "no_route");
    assert_eq!(bare("OPTIONS https://h.example/any", &PREFLIGHT[1..]), "missing_token");
    assert_eq!(bare("OPTIONS https://h.example/any", &[]), "missing_token");
    assert_eq!(bare("OPTIONS https://h.example/any", &PREFLIGHT), "allow");
    assert_eq!(bare("OPTIONS https://h.example/denied", &PREFLIGHT), "route_denies");
    assert_eq!(bare("OPTIONS https://h.example/unknown", &PREFLIGHT), "no_route");
    assert_eq!(bare("GET https://h.example/x", &PREFLIGHT), "missing_token");
    assert_eq!(
        bare(options, &[PREFLIGHT[0], PREFLIGHT[1], "origin: https://two.example"]),
        "no_route"
    );
    let plain = declared(CorsPreflight::AsRoute);
    let facts = request("OPTIONS https://h.example/any", &PREFLIGHT);
    assert_eq!(verdict(&decide_on(&plain, &facts, &Caller::Anonymous)), "missing_token");
}

#[test]
fn edge_m01_a_preflight_with_a_method_override_is_no_preflight() {
    let cors = compiled(vec![ApiDeclaration {
        cors_preflight: CorsPreflight::Allow,
        ..api("api", "h.example", vec![route("/x", &[("*", needs("r"))])])
    }]);
    let headers = [PREFLIGHT[0], PREFLIGHT[1], "x-http-method-override: DELETE"];
    let facts = request("OPTIONS https://h.example/x", &headers);
    assert_eq!(
        verdict(&decide_on(&cors, &facts, &Caller::Anonymous)),
        "invalid_request"
    );
}
