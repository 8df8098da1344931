//! Paths: what two servers could read differently is refused; the rest is matched as the template says.
//!
//! Envoy's own normalisation is off here, so that the gate is asked about the path that the client sent.

use serde_json::json;

use super::stage::{Lab, denied, passes, strict};
use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::Request;

fn as_sent(envoy: EnvoyBuilder) -> EnvoyBuilder {
    envoy.manager(&json!({ "normalize_path": false, "path_with_escaped_slashes_action": "KEEP_UNCHANGED" }))
}

#[tokio::test]
async fn edge_e06_edge_p01_edge_p02_edge_p03_edge_p07_edge_p16_attack_d08_attack_d09_attack_d10_ambiguous_paths_are_refused()
 {
    let lab = Lab::with(as_sent).await;
    let token = lab.server.token(&json!({ "scope": "lab:read lab:write" }));
    let rows = [
        ("edge_p01 dot segments", "/files/../items"),
        ("edge_p02 encoded dot segments", "/files/%2e%2e/items"),
        ("edge_p02 half encoded", "/files/.%2E/items"),
        ("edge_p03 encoded slash", "/items/a%2Fb"),
        ("edge_p03 encoded slash, lower case", "/items/a%2fb"),
        ("edge_p05 two slashes in front", "//items"),
        ("edge_p05 two slashes inside", "/files//a"),
        ("edge_p06 path parameter", "/items;jsessionid=1"),
        ("edge_p06 dots before a parameter", "/files/..;/items"),
        ("edge_p07 backslash", "/files\\a"),
        ("edge_p07 encoded backslash", "/files/a%5cb"),
        ("edge_p08 encoded NUL", "/items/%00"),
        ("edge_p08 encoded line feed", "/items/%0a"),
        ("edge_p08 encoded delete", "/items/%7f"),
        ("edge_p09 lone percent", "/items/%"),
        ("edge_p09 percent without digits", "/items/%zz"),
        ("edge_p16 overlong UTF-8", "/items/%c0%ae"),
        ("edge_p16 no UTF-8", "/items/%ff"),
        ("edge_p22 single dot", "/items/."),
        ("double encoding of a dot segment", "/files/%252e%252e/items"),
    ];
    for (name, path) in rows {
        let reply = lab.ask(&strict(path).bearer(&token)).await;
        // A double encoding is no ambiguity after one decoding: then it must stay inside `/files`.
        if path.contains("%25") && reply.status == 200 {
            assert_eq!(lab.upstream.take_one().target, path);
            continue;
        }
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
        assert_eq!(reply.json()["reason"], "ambiguous_path", "{name}");
    }
}

#[tokio::test]
async fn edge_e05_edge_p09_edge_p10_edge_p11_attack_d06_the_query_is_no_part_of_the_path() {
    let lab = Lab::with(as_sent).await;
    let token = lab.reader();
    for query in [
        "?x=/public",
        "?next=/public",
        "?/../public",
        "?x=%",
        "?x=%zz",
        "?;;&&",
        "?a?b",
        "?x=%00",
    ] {
        let path = format!("/items{query}");
        lab.expect([
            denied(&path, strict(&path), 401, "missing_token"),
            passes(&path, strict(&path).bearer(&token)),
        ])
        .await;
        assert_eq!(lab.upstream.take_one().target, path);
    }
    lab.expect([
        denied(
            "edge_c06 a token in the query",
            strict("/items?access_token=abc"),
            400,
            "invalid_request",
        ),
        denied(
            "edge_p10 an encoded question mark",
            strict("/items%3Fx=1").bearer(&token),
            403,
            "no_route",
        ),
    ])
    .await;
}

#[tokio::test]
async fn edge_e04_edge_p19_edge_p20_edge_p21_attack_d18_templates_match_whole_segments() {
    let lab = Lab::with(as_sent).await;
    let token = lab.reader();
    for path in [
        "/items/",
        "/itemsx",
        "/Items",
        "/item",
        "/items/7/x",
        "/named",
        "/",
        "/public/x",
    ] {
        lab.expect([denied(path, strict(path).bearer(&token), 403, "no_route")])
            .await;
    }
    for path in [
        "/items",
        "/items/7",
        "/items/a.json",
        "/files/a/b/c",
        "/items/a~b",
        "/items/a%20b",
    ] {
        lab.expect([passes(path, strict(path).bearer(&token))]).await;
    }
}

#[tokio::test]
async fn edge_e07_edge_p17_edge_p18_segments_are_decoded_once_and_not_folded() {
    let lab = Lab::with(as_sent).await;
    let token = lab.reader();
    lab.expect([
        passes("`é` in UTF-8", strict("/named/%C3%A9").bearer(&token)),
        passes("the same in lower-case digits", strict("/named/%c3%a9").bearer(&token)),
        passes("an encoded letter is that letter", strict("/%69tems").bearer(&token)),
        denied(
            "`e` with a combining accent",
            strict("/named/e%CC%81").bearer(&token),
            403,
            "condition_failed",
        ),
        denied(
            "a full-width solidus is a character",
            strict("/items%EF%BC%8F7").bearer(&token),
            403,
            "no_route",
        ),
    ])
    .await;
}

#[tokio::test]
async fn edge_p05_edge_p20_edge_p01_an_api_may_say_what_it_tolerates() {
    let lab = Lab::with(as_sent).await;
    let get = |path: &str| Request::get(path).host("tolerant.example");
    lab.expect([
        passes("merged slashes", get("//public")),
        passes("a trailing slash", get("/public/")),
        passes("a resolved dot segment", get("/admin/../public")),
        denied(
            "what it resolves to counts",
            get("/public/../admin"),
            401,
            "missing_token",
        ),
        denied(
            "merging never drops the first segment",
            get("//admin//x"),
            401,
            "missing_token",
        ),
    ])
    .await;
}

#[tokio::test]
async fn edge_e10_edge_p23_attack_d03_long_paths_are_answered() {
    let lab = Lab::with(|envoy| as_sent(envoy).manager(&json!({ "max_request_headers_kb": 96 }))).await;
    let token = lab.reader();
    let rows = [
        ("8 KB in one segment", format!("/items/{}", "a".repeat(8 * 1024))),
        ("500 segments", "/a".repeat(500)),
        ("10,000 segments", "/a".repeat(10_000)),
        ("64 KB of dots", format!("/files/{}", "../".repeat(20_000))),
    ];
    for (name, path) in rows {
        let reply = lab.ask(&strict(&path).bearer(&token)).await;
        assert!(
            matches!(reply.status, 200 | 400 | 403 | 414),
            "{name}: {}",
            reply.status
        );
    }
}

#[tokio::test]
async fn edge_p12_edge_p13_edge_p14_edge_p15_odd_targets_are_closed() {
    let lab = Lab::with(as_sent).await;
    let token = lab.reader();
    // Envoy's own routes start with a slash: it does not even ask about `*`.
    let asterisk = lab
        .ask(&Request::new("OPTIONS", "*").host("strict.example").bearer(&token))
        .await;
    assert_eq!(asterisk.status, 404);
    for target in ["/a#b", "items", ""] {
        let reply = lab.ask(&strict(target).bearer(&token)).await;
        assert_eq!(reply.status, 400, "{target:?}");
    }
}
