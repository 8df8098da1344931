//! What a request must not carry.

use super::*;

#[test]
fn edge_e05_edge_c06_a_token_in_the_query_is_refused_and_not_kept() {
    let policy = routes(vec![route("/x", &[("GET", needs("r")), ("POST", needs("public"))])]);
    for line in [
        "GET https://h.example/x?access_token=abc",
        "GET https://h.example/x?a=1&access_token=abc",
        "GET https://h.example/x?access%5Ftoken=abc",
        "GET https://h.example/x?%61ccess_token",
        "GET https://h.example/x?Access_Token=abc",
        "GET https://h.example/x?access_token[]=abc",
        "GET https://h.example/x?a;access_token=abc",
        "POST https://h.example/x?access_token=abc",
    ] {
        for caller in [Caller::Anonymous, scoped("r")] {
            let denial = denied(decide_on(&policy, &request(line, &[]), &caller));
            assert_eq!(
                (denial.reason(), denial.status()),
                (Reason::InvalidRequest, 400),
                "{line}"
            );
            assert!(!format!("{denial:?}").contains("abc"), "the value is kept");
        }
    }
    for line in [
        "GET https://h.example/x?x=access_token",
        "GET https://h.example/x?my_access_token=1",
        "GET https://h.example/x?x=/public",
    ] {
        assert_eq!(says(&policy, line, &scoped("r")), "allow", "{line}");
    }
}

#[test]
fn edge_c07_a_token_anywhere_else_is_no_token() {
    let facts = request(
        GET,
        &[
            "cookie: access_token=abc",
            "proxy-authorization: Bearer abc",
            "x-access-token: abc",
        ],
    );
    assert_eq!(
        verdict(&decide_on(&one("r"), &facts, &Caller::Anonymous)),
        "missing_token"
    );
}

#[test]
fn edge_m01_edge_e03_a_method_override_is_refused_or_needs_both() {
    let declared = |method_override| {
        routes(vec![RouteDeclaration {
            method_override,
            ..route(
                "/x",
                &[
                    ("POST", needs("w")),
                    ("GET", needs("r")),
                    ("DELETE", needs("a")),
                    ("PUT", needs("deny")),
                    ("PATCH", needs("public")),
                ],
            )
        }])
    };
    let overrides: [&[&str]; 5] = [
        &["x-http-method-override: DELETE"],
        &["x-method-override: DELETE"],
        &["x-http-method: DELETE"],
        &["x_http_method_override: DELETE"],
        &["X-HTTP-Method-Override: DELETE", "x-method-override: DELETE"],
    ];
    let refusing = declared(MethodOverride::Refuse);
    let post = "POST https://h.example/x";
    let on = |policy: &CompiledPolicy, line: &str, headers: &[&str], caller: &Caller| {
        verdict(&decide_on(policy, &request(line, headers), caller))
    };
    for headers in overrides {
        assert_eq!(
            on(&refusing, post, headers, &scoped("w a")),
            "invalid_request",
            "{headers:?}"
        );
    }
    for query in ["_method=DELETE", "_method=POST", "%5Fmethod=DELETE", "_METHOD=delete"] {
        let line = format!("{post}?{query}");
        assert_eq!(on(&refusing, &line, &[], &scoped("w a")), "invalid_request", "{query}");
    }
    let both = declared(MethodOverride::Both);
    for headers in overrides {
        assert_eq!(
            on(&both, post, headers, &scoped("w")),
            "insufficient_scope",
            "{headers:?}"
        );
        assert_eq!(
            on(&both, post, headers, &scoped("a")),
            "insufficient_scope",
            "{headers:?}"
        );
        assert_eq!(on(&both, post, headers, &scoped("w a")), "allow", "{headers:?}");
    }
    let over = |method: &str| format!("x-http-method-override: {method}");
    assert_eq!(on(&both, post, &[&over("TRACE")], &scoped("w a")), "no_route");
    assert_eq!(on(&both, post, &[&over("delete")], &scoped("w a")), "no_route");
    assert_eq!(on(&both, post, &[&over("PUT")], &scoped("w a")), "route_denies");
    assert_eq!(on(&both, post, &[&over("PATCH")], &scoped("w")), "allow");
    // A public verb does not become a way in, nor a way round the token.
    let patch = "PATCH https://h.example/x";
    assert_eq!(
        on(&both, patch, &[&over("DELETE")], &Caller::Anonymous),
        "missing_token"
    );
    let two = ["x-http-method-override: DELETE", "x-method-override: GET"];
    assert_eq!(on(&both, post, &two, &scoped("w a r")), "invalid_request");
    let line = format!("{post}?_method=GET");
    assert_eq!(on(&both, &line, overrides[0], &scoped("w a r")), "invalid_request");
    let denial = denied(decide_on(&both, &request(post, overrides[0]), &scoped("")));
    assert_eq!(denial.missing.to_string(), "a w");
}

#[test]
fn edge_h06_the_tls_server_name_must_be_the_host_where_bound() {
    let policy = compiled(vec![ApiDeclaration {
        bind_sni: true,
        ..api("api", "h.example", vec![route("/x", &[("GET", needs("public"))])])
    }]);
    let with = |name| {
        let mut facts = request("GET https://H.example:443/x", &[]);
        facts.tls_server_name = name;
        decide_on(&policy, &facts, &Caller::Anonymous)
    };
    assert_eq!(verdict(&with(Some("h.example"))), "allow");
    assert_eq!(verdict(&with(Some("H.EXAMPLE"))), "allow");
    for other in [Some("other.example"), Some(""), None] {
        let denial = denied(with(other));
        assert_eq!(
            (denial.reason(), denial.status()),
            (Reason::MisdirectedRequest, 421),
            "{other:?}"
        );
    }
}

#[test]
fn edge_m06_edge_e09_an_upgrade_is_judged_as_its_method_and_noted() {
    let policy = one("r");
    let facts = request(GET, &["upgrade: websocket", "connection: Upgrade"]);
    assert_eq!(
        verdict(&decide_on(&policy, &facts, &Caller::Anonymous)),
        "missing_token"
    );
    assert!(allowed(decide_on(&policy, &facts, &scoped("r"))).long_lived());
    assert!(!allowed(decide_on(&policy, &request(GET, &[]), &scoped("r"))).long_lived());
    let protocol = request(GET, &["upgrade: websocket", "sec-websocket-protocol: bearer, abc"]);
    assert_eq!(
        verdict(&decide_on(&policy, &protocol, &Caller::Anonymous)),
        "missing_token"
    );
}

#[test]
fn edge_i05_a_connection_header_may_not_nominate_ours() {
    let policy = compiled(vec![with_headers(vec![route("/x", &[("GET", needs("r"))])])]);
    for connection in [
        "connection: upgrade, x-auth-subject",
        "connection: X-Auth-Subject",
        "Connection: close,x_auth_subject ",
        "connection: authorization",
        "connection: dpop",
    ] {
        let denial = denied(decide_on(&policy, &request(GET, &[connection]), &scoped("r")));
        assert_eq!(
            (denial.reason(), denial.status()),
            (Reason::InvalidRequest, 400),
            "{connection}"
        );
    }
    let facts = request(GET, &["connection: keep-alive, Upgrade, x-other"]);
    assert_eq!(verdict(&decide_on(&policy, &facts, &scoped("r"))), "allow");
}

#[test]
fn edge_m07_a_connect_with_a_path_needs_a_rule_of_its_own() {
    let policy = routes(vec![
        route("/open", &[("*", needs("public"))]),
        route("/tunnel", &[("CONNECT", needs("r"))]),
    ]);
    assert_eq!(
        says(&policy, "CONNECT https://h.example/open", &scoped("r")),
        "no_route"
    );
    assert_eq!(
        says(&policy, "CONNECT https://h.example/tunnel", &Caller::Anonymous),
        "missing_token"
    );
    let facts = request("CONNECT https://h.example/tunnel", &[]);
    assert!(allowed(decide_on(&policy, &facts, &scoped("r"))).long_lived());
}
