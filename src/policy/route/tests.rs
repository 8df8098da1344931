use crate::policy::caller::Caller;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::declared::{ApiDeclaration, PathOptions};
use crate::policy::testing::{api, compiled, decide, grpc, needs, outcome, request, route, routes, verdict};

mod naive;
mod readers;

fn public(path: &str, verbs: &[&str]) -> crate::policy::declared::RouteDeclaration {
    let verbs: Vec<_> = verbs.iter().map(|verb| (*verb, needs("public"))).collect();
    route(path, &verbs)
}

fn table(policy: &CompiledPolicy, rows: &[(&str, &str)]) {
    for (line, expected) in rows {
        assert_eq!(outcome(policy, line), *expected, "{line}");
    }
}

#[test]
fn edge_h05_edge_e11_hosts_match_exactly_then_by_their_longest_suffix() {
    let policy = compiled(vec![
        api("exact", "x.example", vec![public("/exact", &["GET"])]),
        api("wide", "*.x.example", vec![public("/wide", &["GET"])]),
        api("narrow", "*.a.x.example", vec![public("/narrow", &["GET"])]),
        api("six", "[::1]", vec![public("/six", &["GET"])]),
    ]);
    table(
        &policy,
        &[
            ("GET https://x.example/exact", "GET /exact"),
            ("GET https://X.Example.:8443/exact", "GET /exact"),
            ("GET https://x.example/wide", "no_route"),
            ("GET https://a.x.example/wide", "GET /wide"),
            ("GET https://b.c.x.example/wide", "GET /wide"),
            // The longest suffix is final.
            ("GET https://b.a.x.example/narrow", "GET /narrow"),
            ("GET https://b.a.x.example/wide", "no_route"),
            ("GET https://evil-x.example/exact", "no_route"),
            ("GET https://evilx.example/wide", "no_route"),
            ("GET https://x.example.evil/exact", "no_route"),
            ("GET https://x.example@evil/exact", "no_route"),
            ("GET https://.x.example/wide", "no_route"),
            ("GET https://[::1]:8080/six", "GET /six"),
            ("GET https:///exact", "no_route"),
            ("GET https://a b/exact", "no_route"),
        ],
    );
}

#[test]
fn attack_d28_what_no_rule_names_is_closed() {
    let policy = routes(vec![public("/known", &["GET"])]);
    table(
        &policy,
        &[
            ("GET https://h.example/known", "GET /known"),
            ("GET https://h.example/unknown", "no_route"),
            ("GET https://h.example/", "no_route"),
            ("POST https://h.example/known", "no_route"),
            ("GET https://other.example/known", "no_route"),
        ],
    );
}

#[test]
fn attack_d25_health_checks_have_no_way_round() {
    let policy = routes(vec![public("/known", &["GET"])]);
    for agent in ["user-agent: kube-probe/1.33", "user-agent: GoogleHC/1.0"] {
        let facts = request("GET https://h.example/healthz", &[agent]);
        assert_eq!(verdict(&decide(&policy, &facts, &Caller::Anonymous)), "no_route");
    }
}

#[test]
fn attack_d18_the_most_specific_path_wins() {
    let policy = routes(vec![
        public("/", &["GET"]),
        public("/{rest...}", &["GET"]),
        public("/a", &["GET"]),
        public("/a/{x}", &["GET"]),
        public("/a/b", &["GET"]),
        public("/a/{x}/c", &["GET"]),
        public("/a/b/{rest...}", &["GET"]),
        public("/a/b/{y}/d", &["GET"]),
        public("/files/{rest...}", &["GET"]),
        public("/dir/", &["GET"]),
    ]);
    table(
        &policy,
        &[
            ("GET https://h.example/", "GET /"),
            ("GET https://h.example/z", "GET /{rest...}"),
            ("GET https://h.example/a", "GET /a"),
            ("GET https://h.example/a/", "GET /{rest...}"),
            ("GET https://h.example/a/x", "GET /a/{x}"),
            ("GET https://h.example/a/b", "GET /a/b"),
            ("GET https://h.example/a/z/c", "GET /a/{x}/c"),
            ("GET https://h.example/a/b/c", "GET /a/b/{rest...}"),
            ("GET https://h.example/a/b/c/d", "GET /a/b/{y}/d"),
            ("GET https://h.example/a/b/c/e", "GET /a/b/{rest...}"),
            ("GET https://h.example/a/z/d", "GET /{rest...}"),
            ("GET https://h.example/files/", "GET /files/{rest...}"),
            ("GET https://h.example/files/x/y", "GET /files/{rest...}"),
            ("GET https://h.example/files", "GET /{rest...}"),
            ("GET https://h.example/dir/", "GET /dir/"),
            ("GET https://h.example/dir", "GET /{rest...}"),
        ],
    );
}

#[test]
fn a_rest_matches_what_follows_the_slash_and_nothing_before_it() {
    let policy = routes(vec![public("/files/{rest...}", &["GET"])]);
    table(
        &policy,
        &[
            ("GET https://h.example/files/", "GET /files/{rest...}"),
            ("GET https://h.example/files", "no_route"),
            ("GET https://h.example/filesystem", "no_route"),
            ("GET https://h.example/", "no_route"),
        ],
    );
}

#[test]
fn edge_p21_a_literal_is_no_prefix_and_a_capture_is_not_empty() {
    let policy = routes(vec![public("/api", &["GET"]), public("/users/{id}", &["GET"])]);
    table(
        &policy,
        &[
            ("GET https://h.example/apiv2", "no_route"),
            ("GET https://h.example/api/x", "no_route"),
            ("GET https://h.example/users/", "no_route"),
            ("GET https://h.example/users/7", "GET /users/{id}"),
            ("GET https://h.example/users/7/", "no_route"),
        ],
    );
}

#[test]
fn edge_p10_edge_p11_attack_d06_the_query_does_not_choose_the_route() {
    let policy = routes(vec![
        public("/public", &["GET"]),
        route("/admin", &[("GET", needs("deny"))]),
    ]);
    table(
        &policy,
        &[
            ("GET https://h.example/public?next=/admin", "GET /public"),
            ("GET https://h.example/public?/../admin", "GET /public"),
            ("GET https://h.example/admin?x=/public", "route_denies"),
            ("GET https://h.example/admin?", "route_denies"),
            ("GET https://h.example/admin%3Fx=/public", "no_route"),
        ],
    );
}

#[test]
fn edge_p09_edge_p08_the_query_never_breaks_the_check() {
    let policy = routes(vec![public("/a", &["GET"])]);
    for query in ["x=%", "x=%zz", ";;&&", "%00=%0a", "x=%ff", "=", "&", "%", "[", "%5b"] {
        assert_eq!(
            outcome(&policy, &format!("GET https://h.example/a?{query}")),
            "GET /a",
            "{query}"
        );
    }
}

#[test]
fn edge_p14_a_star_is_matched_by_its_own_rule_only() {
    let open = routes(vec![public("/{rest...}", &["*", "OPTIONS"])]);
    assert_eq!(outcome(&open, "OPTIONS https://h.example*"), "no_route");
    let star = routes(vec![public("*", &["OPTIONS"])]);
    assert_eq!(outcome(&star, "OPTIONS https://h.example*"), "OPTIONS *");
    assert_eq!(outcome(&star, "GET https://h.example*"), "ambiguous_path");
    assert_eq!(outcome(&star, "OPTIONS https://h.example/"), "no_route");
}

#[test]
fn edge_p15_a_connect_without_a_path_is_closed() {
    let policy = routes(vec![public("/{rest...}", &["CONNECT", "*"]), public("/", &["CONNECT"])]);
    assert_eq!(outcome(&policy, "CONNECT https://h.example"), "no_route");
}

#[test]
fn edge_p19_case_matters_unless_the_api_says_otherwise() {
    let declaration = |ignore_case| ApiDeclaration {
        paths: PathOptions {
            ignore_case,
            ..PathOptions::default()
        },
        ..api("api", "h.example", vec![public("/Admin/{id}", &["GET"])])
    };
    let strict = compiled(vec![declaration(false)]);
    assert_eq!(outcome(&strict, "GET https://h.example/admin/X"), "no_route");
    let lax = compiled(vec![declaration(true)]);
    assert_eq!(outcome(&lax, "GET https://h.example/ADMIN/X"), "GET /Admin/{id}");
}

#[test]
fn edge_p20_edge_e04_a_trailing_slash_makes_another_path_unless_ignored() {
    let declaration = |ignore_trailing_slash, routes| ApiDeclaration {
        paths: PathOptions {
            ignore_trailing_slash,
            ..PathOptions::default()
        },
        ..api("api", "h.example", routes)
    };
    let strict = compiled(vec![declaration(false, vec![public("/transfers", &["GET"])])]);
    assert_eq!(outcome(&strict, "GET https://h.example/transfers/"), "no_route");
    let lax = compiled(vec![declaration(
        true,
        vec![
            public("/transfers/", &["GET"]),
            public("/files/{rest...}", &["GET"]),
            public("/", &["GET"]),
        ],
    )]);
    table(
        &lax,
        &[
            ("GET https://h.example/transfers", "GET /transfers/"),
            ("GET https://h.example/transfers/", "GET /transfers/"),
            ("GET https://h.example/files", "GET /files/{rest...}"),
            ("GET https://h.example/files/", "GET /files/{rest...}"),
            ("GET https://h.example/", "GET /"),
        ],
    );
}

#[test]
fn edge_m02_edge_e02_attack_d19_verbs_are_case_sensitive_and_any_is_no_wildcard() {
    let policy = routes(vec![
        public("/a", &["GET"]),
        public("/any", &["*"]),
        public("/trace", &["TRACE", "FOO"]),
    ]);
    table(
        &policy,
        &[
            ("GET https://h.example/a", "GET /a"),
            ("get https://h.example/a", "no_route"),
            ("Get https://h.example/a", "no_route"),
            ("PATCH https://h.example/any", "* /any"),
            ("OPTIONS https://h.example/any", "* /any"),
            ("TRACE https://h.example/any", "no_route"),
            ("CONNECT https://h.example/any", "no_route"),
            ("TRACK https://h.example/any", "no_route"),
            ("FOO https://h.example/any", "no_route"),
            ("get https://h.example/any", "no_route"),
            ("TRACE https://h.example/trace", "TRACE /trace"),
            ("FOO https://h.example/trace", "FOO /trace"),
        ],
    );
}

#[test]
fn edge_m03_edge_e01_head_follows_get_unless_stated() {
    let policy = routes(vec![
        public("/get", &["GET"]),
        public("/post", &["POST"]),
        public("/both", &["*", "GET"]),
        route("/stated", &[("GET", needs("public")), ("HEAD", needs("deny"))]),
    ]);
    table(
        &policy,
        &[
            ("HEAD https://h.example/get", "GET /get"),
            ("HEAD https://h.example/post", "no_route"),
            ("HEAD https://h.example/both", "GET /both"),
            ("HEAD https://h.example/stated", "route_denies"),
            ("OPTIONS https://h.example/get", "no_route"),
        ],
    );
}

#[test]
fn an_exact_verb_stands_before_any_verb() {
    let policy = routes(vec![route(
        "/{rest...}",
        &[("*", needs("public")), ("DELETE", needs("deny"))],
    )]);
    table(
        &policy,
        &[
            ("DELETE https://h.example/x", "route_denies"),
            ("PUT https://h.example/x", "* /{rest...}"),
        ],
    );
}

#[test]
fn a_verb_that_the_path_lacks_does_not_fall_through_to_a_looser_path() {
    let policy = routes(vec![public("/{rest...}", &["*"]), public("/files/secret", &["GET"])]);
    assert_eq!(outcome(&policy, "DELETE https://h.example/files/secret"), "no_route");
    assert_eq!(outcome(&policy, "DELETE https://h.example/files/other"), "* /{rest...}");
}

#[test]
fn edge_m08_edge_m10_edge_e08_attack_d20_grpc_methods_are_routes_whatever_the_content_type() {
    let policy = routes(vec![
        grpc("pkg.Svc", &[("Get", needs("public"))]),
        grpc("pkg.Every", &[("*", needs("public"))]),
        public("/rest", &["GET"]),
    ]);
    for content_type in [
        "content-type: application/grpc",
        "content-type: application/grpc+proto",
        "content-type: application/grpc-web",
        "content-type: application/grpc-web-text",
        "content-type: application/json",
    ] {
        let says = |line| {
            let facts = request(line, &[content_type]);
            verdict(&decide(&policy, &facts, &Caller::Anonymous))
        };
        assert_eq!(says("POST https://h.example/pkg.Svc/Get"), "allow", "{content_type}");
        assert_eq!(says("POST https://h.example/pkg.Every/Get"), "allow", "{content_type}");
        assert_eq!(says("GET https://h.example/rest"), "allow", "{content_type}");
        for closed in [
            "POST https://h.example/pkg.Svc/get",
            "POST https://h.example/pkg.Svc/Get/",
            "POST https://h.example/pkg.Svc",
            "GET https://h.example/pkg.Svc/Get",
            "POST https://h.example/rest",
        ] {
            assert_eq!(says(closed), "no_route", "{content_type} {closed}");
        }
    }
    let mut bare = request("POST https://h.example", &["content-type: application/grpc"]);
    bare.target = "pkg.Svc/Get";
    assert_eq!(verdict(&decide(&policy, &bare, &Caller::Anonymous)), "ambiguous_path");
}

#[test]
fn edge_m11_health_and_reflection_are_closed_unless_listed() {
    let policy = routes(vec![grpc("pkg.Svc", &[("Get", needs("public"))])]);
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(
            outcome(&policy, &format!("POST https://h.example{path}")),
            "no_route",
            "{path}"
        );
    }
}

#[test]
fn edge_e12_edge_h07_a_pinned_api_has_its_own_routes_only() {
    let policy = compiled(vec![
        api(
            "one",
            "h.example",
            vec![public("/one", &["GET"]), public("/{x}", &["GET"])],
        ),
        api("two", "h.example", vec![public("/two", &["GET"])]),
    ]);
    let says = |line, pin, headers: &[&'static str]| {
        let mut facts = request(line, headers);
        facts.pinned_api = pin;
        match decide(&policy, &facts, &Caller::Anonymous) {
            crate::policy::decision::Decision::Allow(permit) => permit.route().api.to_string(),
            crate::policy::decision::Decision::Deny(denial) => denial.reason().as_str().to_owned(),
        }
    };
    assert_eq!(says("GET https://h.example/two", None, &[]), "two");
    assert_eq!(says("GET https://h.example/two", Some("two"), &[]), "two");
    // Pinned to `one`, `two`'s literal is not in the way.
    assert_eq!(says("GET https://h.example/two", Some("one"), &[]), "one");
    assert_eq!(says("GET https://h.example/one", Some("two"), &[]), "no_route");
    assert_eq!(says("GET https://h.example/one", Some("three"), &[]), "no_route");
    assert_eq!(says("GET https://h.example/one", Some(""), &[]), "no_route");
    // A header of that name is a header.
    assert_eq!(says("GET https://h.example/two", None, &["scopegate.api: one"]), "two");
}

#[test]
fn edge_h03_attack_d12_attack_d13_only_the_attributes_choose_the_route() {
    let policy = routes(vec![
        public("/public", &["GET"]),
        route("/admin", &[("GET", needs("deny"))]),
    ]);
    for header in [
        "host: other.example",
        "x-forwarded-host: other.example",
        "x-envoy-original-path: /public",
        "x-original-url: /public",
        "x-rewrite-url: /public",
        "x-forwarded-uri: /public",
        ":path: /public",
        ":authority: other.example",
        "x-forwarded-proto: http",
        "x-forwarded-for: 127.0.0.1",
        "x-real-ip: 127.0.0.1",
    ] {
        let admin = request("GET https://h.example/admin", &[header]);
        assert_eq!(
            verdict(&decide(&policy, &admin, &Caller::Anonymous)),
            "route_denies",
            "{header}"
        );
        let public = request("GET https://h.example/public", &[header]);
        assert_eq!(
            verdict(&decide(&policy, &public, &Caller::Anonymous)),
            "allow",
            "{header}"
        );
    }
}

#[test]
fn edge_p23_ten_thousand_rules_and_a_hostile_path_are_one_short_walk() {
    let mut declared: Vec<_> = (0..10_000)
        .map(|n| public(&format!("/a/{{x}}/b{n}/{{y}}/c"), &["GET"]))
        .collect();
    declared.push(public("/a/{x}/{y}/{z}/d", &["GET"]));
    let policy = routes(declared);
    assert_eq!(
        outcome(&policy, "GET https://h.example/a/1/b9999/2/c"),
        "GET /a/{x}/b9999/{y}/c"
    );
    assert_eq!(
        outcome(&policy, "GET https://h.example/a/1/b9999/2/d"),
        "GET /a/{x}/{y}/{z}/d"
    );
    let deep = format!("GET https://h.example{}", "/a".repeat(255));
    assert_eq!(outcome(&policy, &deep), "no_route");
}
