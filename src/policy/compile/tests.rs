use crate::model::location::{Located, Location};
use crate::policy::declared::{
    ApiDeclaration, ClientsDeclaration, MethodOverride, PathOptions, RouteDeclaration, RouteTarget,
};
use crate::policy::testing::{api, declare, errors, grpc, needs, route, server, text, texts, token};

use super::*;

fn at<T>(value: T, line: u32, column: u32) -> Located<T> {
    Located::new(value, Location { line, column })
}

fn codes(declaration: &Declaration) -> Vec<&'static str> {
    errors(declaration).iter().map(|finding| finding.code).collect()
}

fn warnings(declaration: &Declaration) -> Vec<String> {
    let (policy, findings) = compile(declaration);
    assert!(policy.is_some(), "{findings:#?}");
    findings.into_iter().map(|finding| finding.message).collect()
}

fn with_routes(routes: Vec<RouteDeclaration>) -> Declaration {
    declare(vec![api("api", "h.example", routes)])
}

fn get(path: &str, what: &str) -> RouteDeclaration {
    route(path, &[("GET", needs(what))])
}

#[test]
fn the_broken_example_has_its_two_errors_each_with_place_and_hint() {
    let mut orders = route("/orders/{id}", &[("GET", needs("shop:read"))]);
    orders.verbs[0].verb = at("GET".to_owned(), 42, 32);
    orders.verbs.push(crate::policy::declared::VerbDeclaration {
        verb: at("PATCH".to_owned(), 42, 50),
        requirement: token(|token| token.all = vec![at("shop:wirte".to_owned(), 42, 57)]),
    });
    let mut again = route("/orders/{number}", &[("GET", needs("shop:read"))]);
    again.verbs[0].verb = at("GET".to_owned(), 43, 36);
    let mut shop = api(
        "shop",
        "api.shop.example",
        vec![orders, again, route("/refunds", &[("POST", needs("shop:refund"))])],
    );
    shop.servers[0].value = AuthorizationServerId::parse("shop").expect("valid");
    let declaration = Declaration {
        servers: vec![server(
            "shop",
            &["shop:read", "shop:write", "shop:refund", "shop:admin"],
        )],
        apis: vec![shop],
    };
    let found = errors(&declaration);
    let [scope, duplicate] = found.as_slice() else {
        panic!("{found:#?}")
    };
    assert_eq!(scope.code, "unknown_scope");
    assert_eq!(scope.location, Location { line: 42, column: 57 });
    assert_eq!(scope.message, "`shop:wirte` is no scope of `shop`");
    assert_eq!(scope.hint.as_deref(), Some("did you mean `shop:write`?"));
    assert_eq!(duplicate.code, "duplicate_route");
    assert_eq!(duplicate.location, Location { line: 43, column: 36 });
    assert_eq!(
        duplicate.message,
        "`GET /orders/{number}` is the same route as `GET /orders/{id}` on line 42, column 32"
    );
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut declared = api(
        "api",
        "http://h.example",
        vec![
            get("no-slash", "r"),
            route("/a", &[("get", needs("x"))]),
            route("/b", &[]),
            grpc("bad service", &[("Get", needs("r")), ("bad-method", needs("r"))]),
            route("/c", &[("GET", token(|token| token.when = Some(text("token.sub =="))))]),
            route(
                "/d",
                &[("GET", token(|token| token.clients = Some(texts(&["moblie"]))))],
            ),
            route("*", &[("GET", needs("public"))]),
        ],
    );
    declared
        .servers
        .push(Located::nowhere(AuthorizationServerId::parse("mian").expect("valid")));
    declared.forward.headers = vec![(text("host"), text("token.sub")), (text("x_a"), text("tokn.sub"))];
    let mut found = codes(&declare(vec![declared]));
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "bad_expression",
            "bad_grpc_method",
            "bad_grpc_service",
            "bad_header_name",
            "bad_host",
            "bad_path",
            "bad_verb",
            "bad_verb",
            "no_verbs",
            "protected_header",
            "unknown_authorization_server",
            "unknown_client",
            "unknown_scope",
            "unknown_variable",
        ]
    );
}

#[test]
fn duplicates_are_found_over_entries_apis_names_and_any_verb() {
    let same = |one: Vec<RouteDeclaration>, other: Vec<RouteDeclaration>| {
        codes(&declare(vec![
            api("one", "h.example", one),
            api("two", "h.example", other),
        ]))
    };
    let duplicate = ["duplicate_route"];
    assert_eq!(same(vec![get("/{a}", "r")], vec![get("/{b}", "w")]), duplicate);
    assert_eq!(same(vec![get("/{a...}", "r")], vec![get("/{b...}", "w")]), duplicate);
    let any = |path| route(path, &[("*", needs("r"))]);
    assert_eq!(same(vec![any("/a")], vec![any("/a")]), duplicate);
    assert_eq!(
        same(
            vec![grpc("p.S", &[("Get", needs("r"))])],
            vec![route("/p.S/Get", &[("POST", needs("r"))])]
        ),
        duplicate
    );
    let none: [&str; 0] = [];
    assert_eq!(same(vec![any("/a")], vec![get("/a", "r")]), none);
    assert_eq!(
        same(vec![get("/{a}", "r")], vec![get("/{a...}", "r"), get("/a", "r")]),
        none
    );
    let elsewhere = declare(vec![
        api("one", "h.example", vec![get("/a", "r")]),
        api("two", "*.example", vec![get("/a", "r")]),
    ]);
    assert_eq!(codes(&elsewhere), none);
}

#[test]
fn paths_that_differ_only_by_what_the_api_ignores_are_duplicates() {
    let declared = |paths| {
        codes(&declare(vec![ApiDeclaration {
            paths,
            ..api(
                "api",
                "h.example",
                vec![get("/a", "r"), get("/A", "r"), get("/b", "r"), get("/b/", "r")],
            )
        }]))
    };
    assert_eq!(declared(PathOptions::default()).len(), 0);
    let ignoring = PathOptions {
        ignore_case: true,
        ignore_trailing_slash: true,
        ..PathOptions::default()
    };
    assert_eq!(declared(ignoring), ["duplicate_route", "duplicate_route"]);
}

#[test]
fn apis_that_share_a_host_read_paths_alike() {
    let merging = ApiDeclaration {
        paths: PathOptions {
            merge_slashes: true,
            ..PathOptions::default()
        },
        ..api("two", "H.example.", vec![get("/b", "r")])
    };
    let one = api("one", "h.example", vec![get("/a", "r")]);
    assert_eq!(
        codes(&declare(vec![one.clone(), merging.clone()])),
        ["conflicting_paths"]
    );
    let elsewhere = ApiDeclaration {
        hosts: texts(&["other.example"]),
        ..merging
    };
    assert_eq!(codes(&declare(vec![one, elsewhere])).len(), 0);
}

#[test]
fn hosts_that_no_request_has_are_refused_with_a_way_out() {
    for (host, hint) in [
        ("", ""),
        ("*", "*."),
        ("*.", "*."),
        ("a.*.example", "*."),
        ("*x.example", "*."),
        ("h.example:8443", ""),
        ("[::1]:80", ""),
        ("*.[::1]", "*."),
        ("h.example/x", ""),
        ("https://h.example", ""),
        ("bücher.example", "A-label"),
        ("u@h.example", ""),
    ] {
        let found = errors(&declare(vec![api("api", host, vec![get("/a", "r")])]));
        let [finding] = found.as_slice() else {
            panic!("{host}: {found:#?}")
        };
        assert_eq!(finding.code, "bad_host", "{host}");
        assert!(
            finding.hint.as_deref().unwrap_or_default().contains(hint),
            "{host}: {finding:?}"
        );
    }
    let none = ApiDeclaration {
        hosts: Vec::new(),
        ..api("api", "x", vec![get("/a", "r")])
    };
    assert_eq!(codes(&declare(vec![none])), ["no_hosts"]);
}

#[test]
fn edge_i11_headers_that_are_not_ours_are_refused() {
    for (name, code) in [
        ("host", "protected_header"),
        (":path", "protected_header"),
        ("X-Envoy-Original-Path", "protected_header"),
        ("x-forwarded-client-cert", "protected_header"),
        ("Authorization", "protected_header"),
        ("te", "protected_header"),
        ("connection", "protected_header"),
        ("content-length", "protected_header"),
        ("transfer-encoding", "protected_header"),
        ("x_user", "bad_header_name"),
        ("x user", "bad_header_name"),
        ("x-user\r\n", "bad_header_name"),
        ("", "bad_header_name"),
        ("-x", "bad_header_name"),
        ("x-ü", "bad_header_name"),
        ("a-b-c-d-e-f", "bad_header_name"),
    ] {
        let mut declared = api("api", "h.example", vec![get("/a", "r")]);
        declared.forward.headers = vec![(text(name), text("token.sub"))];
        assert_eq!(codes(&declare(vec![declared])), [code], "{name:?}");
    }
    let mut declared = api("api", "h.example", vec![get("/a", "r")]);
    declared.forward.headers = vec![(text("x-user"), text("token.sub")), (text("X-User"), text("token.sub"))];
    assert_eq!(codes(&declare(vec![declared.clone()])), ["duplicate_header"]);
    declared.forward.headers = (0..51).map(|n| (text(&format!("x-h{n}")), text("token.sub"))).collect();
    assert_eq!(codes(&declare(vec![declared])), ["too_many_headers"]);
}

#[test]
fn names_are_checked_with_the_nearest_known_one() {
    let mut declaration = with_routes(vec![get("/a", "elsewhere:read")]);
    declaration.servers.push(server("other", &["elsewhere:read"]));
    let [finding] = errors(&declaration).try_into().expect("one");
    assert_eq!(finding.code, "unknown_scope");
    assert!(finding.hint.expect("a hint").contains("`other` defines it"));

    let [finding] = errors(&with_routes(vec![get("/a", "zebra")])).try_into().expect("one");
    assert!(
        finding
            .hint
            .expect("a hint")
            .contains("known scopes: `a`, `b`, `c`, `r`, `w`")
    );

    let only = |clients: &[&str]| {
        declare(vec![ApiDeclaration {
            clients: ClientsDeclaration::Only(texts(clients)),
            ..api("api", "h.example", vec![get("/a", "r")])
        }])
    };
    let [finding] = errors(&only(&["moblie"])).try_into().expect("one");
    assert_eq!(finding.hint.as_deref(), Some("did you mean `mobile`?"));
    assert_eq!(codes(&only(&[])), ["no_clients"]);
    // The clients of others are not known to us.
    let mut external = only(&["storefront"]);
    external.servers[0].origin = Origin::Elsewhere;
    assert_eq!(codes(&external).len(), 0);

    let unstated = |what, origin| {
        let mut declaration = declare(vec![ApiDeclaration {
            clients: ClientsDeclaration::Unstated,
            ..api("api", "h.example", vec![get("/a", what)])
        }]);
        declaration.servers[0].origin = origin;
        codes(&declaration)
    };
    assert_eq!(unstated("r", Origin::Elsewhere), ["missing_clients"]);
    assert_eq!(
        unstated("r", Origin::File).len() + unstated("public", Origin::Elsewhere).len(),
        0
    );

    let mut nobody = api("api", "h.example", vec![get("/a", "authenticated")]);
    nobody.servers.clear();
    assert_eq!(codes(&declare(vec![nobody.clone()])), ["no_authorization_server"]);
    nobody.routes = vec![get("/a", "public")];
    assert_eq!(codes(&declare(vec![nobody])).len(), 0);

    let twice = declare(vec![
        api("api", "h.example", vec![get("/a", "r")]),
        api("api", "i.example", vec![get("/a", "r")]),
    ]);
    assert_eq!(codes(&twice), ["duplicate_api"]);
    assert_eq!(codes(&with_routes(vec![])), ["no_routes"]);
}

#[test]
fn what_a_managed_server_has_is_not_known_and_not_asked_for() {
    let mut declaration = declare(vec![ApiDeclaration {
        clients: ClientsDeclaration::Only(texts(&["0oa1", "mobile"])),
        ..api("api", "h.example", vec![get("/a", "made:later")])
    }]);
    assert_eq!(codes(&declaration), ["unknown_client", "unknown_scope"]);
    declaration.servers[0].origin = Origin::Management;
    declaration.servers[0].scopes.clear();
    assert_eq!(codes(&declaration).len(), 0);
    // Its access policies decide who gets a token, as those of the file do.
    declaration.apis[0].clients = ClientsDeclaration::Unstated;
    assert_eq!(codes(&declaration).len(), 0);
    // What is no scope at all is one nowhere.
    declaration.apis[0].routes = vec![get("/a", "no\"scope")];
    assert_eq!(codes(&declaration), ["unknown_scope"]);
}

#[test]
fn an_expression_is_refused_with_the_column_inside_it() {
    let when = |text_of: &str| {
        with_routes(vec![route(
            "/x/{id}",
            &[("GET", token(|token| token.when = Some(text(text_of))))],
        )])
    };
    for (expression, code, column) in [
        ("token.sub ==", "bad_expression", "column 13"),
        ("token.sub == path.user", "unknown_wildcard", "column 18"),
        ("tokn.sub == 'a'", "unknown_variable", "column 1"),
        (
            "request.path == path.id && request.verb == 'x'",
            "unknown_field",
            "column 35",
        ),
        ("token.sub.startWith('a')", "unknown_function", "column 20"),
        ("request.headers['X-Role'] == 'a'", "unknown_header", "column 16"),
    ] {
        let [finding] = errors(&when(expression)).try_into().expect("one");
        assert_eq!(finding.code, code, "{expression}");
        assert!(finding.message.contains(column), "{expression}: {}", finding.message);
    }
    for good in [
        "token.sub == path.id",
        "path['id'] in token.ids",
        "token['https://x/roles'].exists(r, r == 'a')",
        "has(token.tier) && token.tier.startsWith('g')",
        "type(token.sub) == string",
        "request.method == 'GET' && request.headers['x-role'] == 'a'",
        "'x-role' in request.headers || request.headers.accept.contains('json')",
        "token.?tier.orValue('none') == 'gold'",
        "token.iat < 5 ? true : false",
        "timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026",
    ] {
        assert_eq!(codes(&when(good)).len(), 0, "{good}");
    }
}

#[test]
fn edge_p20_edge_p22_looser_wildcards_beside_stricter_routes_are_reported() {
    let said = |routes| warnings(&with_routes(routes));
    let one = |routes: Vec<RouteDeclaration>, wide: &str, narrow: &str| {
        let found = said(routes);
        let [message] = found.as_slice() else {
            panic!("{wide}: {found:#?}")
        };
        assert!(
            message.starts_with(&format!("`{wide}` asks for less than `{narrow}`")),
            "{message}"
        );
    };
    one(
        vec![get("/{rest...}", "public"), get("/admin", "r")],
        "GET /{rest...}",
        "GET /admin",
    );
    one(
        vec![get("/{rest...}", "authenticated"), get("/admin", "deny")],
        "GET /{rest...}",
        "GET /admin",
    );
    one(
        vec![get("/a/{id}", "public"), get("/a/secret", "r")],
        "GET /a/{id}",
        "GET /a/secret",
    );
    one(
        vec![get("/files/{rest...}", "r"), get("/files/admin", "r w")],
        "GET /files/{rest...}",
        "GET /files/admin",
    );
    one(
        vec![route("/{rest...}", &[("*", needs("public"))]), get("/admin", "r")],
        "* /{rest...}",
        "GET /admin",
    );
    one(
        vec![get("/a/{rest...}", "public"), get("/a", "r")],
        "GET /a/{rest...}",
        "GET /a",
    );
    let silent = [
        vec![get("/{rest...}", "r w"), get("/admin", "r")],
        vec![get("/{rest...}", "deny"), get("/admin", "r")],
        vec![get("/{rest...}", "r"), get("/health", "public")],
        vec![get("/a/{id}", "public"), get("/b/secret", "r")],
        vec![get("/a/{id}", "public"), get("/a/x/secret", "r")],
        vec![get("/a/{id}", "public"), get("/a/{id}/secret", "r")],
        vec![get("/{rest...}", "public"), route("/admin", &[("FOO", needs("r"))])],
        vec![
            route("/{rest...}", &[("GET", token(|token| token.any = texts(&["a"])))]),
            route("/x", &[("GET", token(|token| token.any = texts(&["a", "b"])))]),
        ],
    ];
    for routes in silent {
        let shown = format!("{routes:?}");
        assert_eq!(said(routes), Vec::<String>::new(), "{shown}");
    }
}

#[test]
fn options_without_effect_are_reported() {
    let mut private = get("/a", "r");
    private.forward_authorization = true;
    let mut service = grpc("p.S", &[("Get", needs("r"))]);
    service.method_override = MethodOverride::Both;
    assert!(matches!(service.target, RouteTarget::Grpc(_)));
    let (policy, findings) = compile(&with_routes(vec![private, service]));
    assert!(policy.is_some());
    let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["unused_option", "unused_option"]);
}

#[test]
fn findings_come_in_the_order_of_the_file() {
    let mut late = get("/b", "x");
    late.verbs[0].requirement = token(|token| token.all = vec![at("x".to_owned(), 9, 1)]);
    let mut early = get("/a", "y");
    early.verbs[0].requirement = token(|token| token.all = vec![at("y".to_owned(), 3, 1)]);
    let lines: Vec<u32> = errors(&with_routes(vec![late, early]))
        .iter()
        .map(|finding| finding.location.line)
        .collect();
    assert_eq!(lines, [3, 9]);
}
