use std::path::Path;

use crate::config::load_text;
use crate::config::source::Memory;

/// One local server with two scopes, one service, and these policies, API clients and routes.
fn warnings(policies: &str, clients: &str, route: &str) -> Vec<&'static str> {
    let text = format!(
        "dev: true
public_url: https://127.0.0.1:8443
groups: [g]
clients:
  - {{ id: svc, type: service, grants: [client_credentials], secrets: [{{ sha256: {hash} }}] }}
  - {{ id: app, type: native, grants: [authorization_code], redirect_uris: [\"com.a:/cb\"], assigned: {{ groups: [g] }} }}
authorization_servers:
  - id: s
    audience: s
    scopes: [r, w]
    policies: {policies}
apis:
  - {{ name: a, hosts: [a.example], authorization_server: s, {clients} routes: [{{ path: /x, GET: {route} }}] }}
",
        hash = "0".repeat(64),
    );
    let report = match load_text(Path::new("f"), &text, &Memory::default()) {
        Ok(settings) => settings.report,
        Err(report) => panic!("{report}"),
    };
    let mut codes: Vec<&str> = report
        .findings()
        .iter()
        .map(|finding| finding.code)
        .filter(|code| ["scope_never_granted", "route_unreachable"].contains(code))
        .collect();
    codes.sort_unstable();
    codes
}

const ONE: &str =
    "{ name: p, clients: [svc], rules: [{ name: r, grants: [client_credentials], scopes: [r], access_token: 5m }] }";
const TWO: &str =
    "{ name: q, clients: [app], rules: [{ name: r, grants: [authorization_code], scopes: [w], access_token: 5m }] }";
const BOTH: &str =
    "{ name: p, clients: [svc], rules: [{ name: r, grants: [client_credentials], scopes: [r, w], access_token: 5m }] }";
const ANY: &str =
    "{ name: any, clients: [svc], rules: [{ name: r, grants: [client_credentials], scopes: any, access_token: 5m }] }";
const NO_GRANT: &str =
    "{ name: p, clients: [svc], rules: [{ name: r, grants: [authorization_code], scopes: [r, w], access_token: 5m }] }";

#[test]
fn warns_of_what_nobody_can_reach_and_of_nothing_else() {
    // name, policies, the API's clients, what the route needs, warnings
    type Row<'r> = (&'r str, &'r [&'r str], &'r str, &'r str, &'r [&'r str]);
    let rows: [Row<'_>; 19] = [
        ("every scope is granted", &[ONE, TWO], "", "r", &[]),
        ("one scope is not", &[ONE], "", "r", &["scope_never_granted"]),
        (
            "the route needs it",
            &[ONE],
            "",
            "w",
            &["route_unreachable", "scope_never_granted"],
        ),
        (
            "either will do",
            &[ONE],
            "",
            "{ any: [r, w] }",
            &["scope_never_granted"],
        ),
        ("both in one token", &[BOTH], "", "{ all: [r, w] }", &[]),
        (
            "both, but in two tokens",
            &[ONE, TWO],
            "",
            "{ all: [r, w] }",
            &["route_unreachable"],
        ),
        ("all and any", &[BOTH], "", "{ all: [r], any: [w] }", &[]),
        ("any scope stands for all", &[ANY], "", "{ all: [r, w] }", &[]),
        (
            "any scope where others are named",
            &[ANY, ONE],
            "",
            "w",
            &["route_unreachable", "scope_never_granted"],
        ),
        (
            "no policy at all",
            &[],
            "",
            "r",
            &["route_unreachable", "scope_never_granted", "scope_never_granted"],
        ),
        (
            "no policy and any token",
            &[],
            "",
            "authenticated",
            &["route_unreachable", "scope_never_granted", "scope_never_granted"],
        ),
        ("a public route", &[BOTH], "", "public", &[]),
        ("a closed route", &[BOTH], "", "deny", &[]),
        (
            "a client without the grant",
            &[NO_GRANT],
            "",
            "r",
            &["route_unreachable", "scope_never_granted", "scope_never_granted"],
        ),
        ("the API's client has it", &[ONE, TWO], "clients: [app],", "w", &[]),
        (
            "the API's client lacks it",
            &[ONE, TWO],
            "clients: [app],",
            "r",
            &["route_unreachable"],
        ),
        (
            "the route's client lacks it",
            &[ONE, TWO],
            "",
            "{ all: [r], clients: [app] }",
            &["route_unreachable"],
        ),
        (
            "the route's client has it",
            &[ONE, TWO],
            "",
            "{ all: [w], clients: [app] }",
            &[],
        ),
        ("a scope of OpenID Connect", &[BOTH], "", "authenticated", &[]),
    ];
    for (name, policies, clients, route, expected) in rows {
        let policies = format!("[{}]", policies.join(", "));
        assert_eq!(warnings(&policies, clients, route), expected, "{name}");
    }
}
