use super::*;
use crate::config::yaml;

/// A finding: its code, column and hint.
type Found = (&'static str, u32, Option<String>);

fn decode(text: &str) -> (Option<RouteDeclaration>, Vec<Found>) {
    let (root, findings) = yaml::read(text);
    assert_eq!(findings, [], "{text}");
    let mut problems = Problems::default();
    let route = root.and_then(|root| RouteFile::decode(&root, &mut problems));
    let findings = problems.into_findings();
    let findings = findings
        .into_iter()
        .map(|finding| (finding.code, finding.location.column, finding.hint));
    (route.map(|route| route.0), findings.collect())
}

#[test]
fn verbs_are_upper_case_tokens_or_a_star() {
    let (route, findings) = decode("{ path: /a, GET: public, M-SEARCH: deny, \"*\": authenticated }");
    assert_eq!(findings, []);
    let route = route.expect("decoded");
    let verbs: Vec<&str> = route.verbs.iter().map(|verb| verb.verb.value.as_str()).collect();
    assert_eq!(verbs, ["GET", "M-SEARCH", "*"]);
}

#[test]
fn what_is_no_verb_is_an_unknown_key_with_the_nearest_one() {
    let rows = [
        ("{ paht: /a, GET: public }", 3, "did you mean `path`?"),
        (
            "{ path: /a, get: public }",
            13,
            "did you mean `GET`? verbs are written in upper case",
        ),
        (
            "{ path: /a, Post: public }",
            13,
            "did you mean `POST`? verbs are written in upper case",
        ),
        (
            "{ path: /a, GET: public, method_overide: both }",
            26,
            "did you mean `method_override`?",
        ),
        (
            "{ path: /a, GET: public, List: a }",
            26,
            "beside `path` stand verbs such as `GET`, or `\"*\"`",
        ),
    ];
    for (text, column, hint) in rows {
        let (_, findings) = decode(text);
        assert_eq!(findings, [("unknown_key", column, Some(hint.to_owned()))], "{text}");
    }
}

#[test]
fn a_grpc_service_has_methods() {
    let (route, findings) = decode("{ grpc: a.v1.B, List: \"a:read\", get_one: deny }");
    assert_eq!(findings, []);
    let route = route.expect("decoded");
    assert!(matches!(&route.target, RouteTarget::Grpc(service) if service.value == "a.v1.B"));
    assert_eq!(route.verbs.len(), 2);
    assert_eq!(
        decode("{ grpc: a.v1.B, a-b: deny }").1.first().map(|finding| finding.0),
        Some("unknown_key")
    );
}

#[test]
fn a_requirement_with_a_wrong_part_denies_rather_than_becoming_looser() {
    let rows = [
        ("{ path: /a, GET: { all: [a], acr: [] } }", "empty_list"),
        ("{ path: /a, GET: { any: [] } }", "empty_list"),
        ("{ path: /a, GET: { all: [a], max_age: 5 } }", "period_without_unit"),
        ("{ path: /a, GET: { all: [a, 7] } }", "wrong_type"),
        ("{ path: /a, GET: { all: [a], bound: mtsl } }", "unknown_word"),
        ("{ path: /a, GET: {} }", "empty_requirement"),
        ("{ path: /a, GET: [a, b] }", "wrong_type"),
        ("{ path: /a, GET: }", "wrong_type"),
        ("{ path: /a, GET: true }", "wrong_type"),
    ];
    for (text, code) in rows {
        let (route, findings) = decode(text);
        assert_eq!(
            findings.iter().map(|finding| finding.0).collect::<Vec<_>>(),
            [code],
            "{text}"
        );
        let verbs = route.expect("the route itself is right").verbs;
        assert!(
            verbs
                .iter()
                .all(|verb| matches!(verb.requirement, RequirementDeclaration::Deny)),
            "{text}"
        );
    }
}

#[test]
fn a_route_with_no_right_verb_or_two_targets_is_dropped() {
    assert!(decode("{ path: /a, get: public }").0.is_none());
    let (route, findings) = decode("{ path: /a, grpc: a.B, GET: public }");
    assert!(route.is_none());
    assert_eq!(findings.first().map(|finding| finding.0), Some("path_and_grpc"));
    assert_eq!(
        decode("{ GET: public }").1.first().map(|finding| finding.0),
        Some("missing_key")
    );
}
