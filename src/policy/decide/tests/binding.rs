//! Keys that tokens are bound to.

use super::*;

#[test]
fn edge_c13_edge_x15_edge_x12_whatever_a_token_is_bound_to_must_be_proven() {
    let policy = one("r");
    let plain = scoped("r");
    for (name, caller, expected) in [
        ("a plain token", plain.clone(), "allow"),
        (
            "DPoP with a plain token",
            with_proof(plain.clone(), Some(key("k"))),
            "invalid_token",
        ),
        ("Bearer with a DPoP token", bound(Some("k"), None), "invalid_token"),
        (
            "DPoP without proof",
            with_proof(bound(Some("k"), None), None),
            "invalid_dpop_proof",
        ),
        (
            "DPoP with its key",
            with_proof(bound(Some("k"), None), Some(key("k"))),
            "allow",
        ),
        (
            "DPoP with another key",
            with_proof(bound(Some("k"), None), Some(key("l"))),
            "invalid_dpop_proof",
        ),
        (
            "a certificate token, none shown",
            bound(None, Some("c")),
            "invalid_token",
        ),
        (
            "a certificate token, its own",
            with_certificate(bound(None, Some("c")), key("c")),
            "allow",
        ),
        (
            "a certificate token, another",
            with_certificate(bound(None, Some("c")), key("d")),
            "invalid_token",
        ),
        (
            "a plain token, a certificate",
            with_certificate(plain, key("c")),
            "allow",
        ),
        (
            "both, only the key",
            with_proof(bound(Some("k"), Some("c")), Some(key("k"))),
            "invalid_token",
        ),
        (
            "both, only the certificate",
            with_certificate(bound(Some("k"), Some("c")), key("c")),
            "invalid_token",
        ),
        (
            "both",
            with_certificate(with_proof(bound(Some("k"), Some("c")), Some(key("k"))), key("c")),
            "allow",
        ),
    ] {
        assert_eq!(says(&policy, GET, &caller), expected, "{name}");
    }
}

#[test]
fn edge_e16_a_bound_token_as_bearer_is_challenged_with_dpop_and_its_algorithms() {
    let policy = one("r");
    let [challenge] = challenges(&policy, GET, &bound(Some("k"), None))
        .try_into()
        .expect("one");
    assert!(challenge.starts_with("DPoP "), "{challenge}");
    assert!(
        challenge.contains("error=\"invalid_token\"") && challenge.contains("algs=\"RS256 "),
        "{challenge}"
    );
    let proofless = with_proof(bound(Some("k"), None), None);
    let [challenge] = challenges(&policy, GET, &proofless).try_into().expect("one");
    assert!(challenge.contains("error=\"invalid_dpop_proof\""), "{challenge}");
}

#[test]
fn edge_d03_edge_e17_a_route_may_ask_for_a_bound_token() {
    use crate::policy::declared::Binding;
    let policy = routes(vec![route(
        "/x",
        &[
            ("GET", token(|token| token.bound = Some(Binding::Dpop))),
            ("PUT", token(|token| token.bound = Some(Binding::Mtls))),
        ],
    )]);
    let put = "PUT https://h.example/x";
    assert_eq!(says(&policy, GET, &scoped("r")), "invalid_token");
    assert_eq!(
        says(&policy, GET, &with_proof(bound(Some("k"), None), Some(key("k")))),
        "allow"
    );
    assert_eq!(
        says(&policy, GET, &with_certificate(bound(None, Some("c")), key("c"))),
        "invalid_token"
    );
    assert_eq!(says(&policy, put, &scoped("r")), "invalid_token");
    assert_eq!(
        says(&policy, put, &with_certificate(scoped("r"), key("c"))),
        "invalid_token"
    );
    assert_eq!(
        says(&policy, put, &with_certificate(bound(None, Some("c")), key("c"))),
        "allow"
    );
    let both = challenges(&policy, GET, &Caller::Anonymous);
    assert_eq!(both.len(), 2);
    assert!(
        both[0].starts_with("DPoP ") && both[1].starts_with("Bearer "),
        "{both:?}"
    );
    assert!(both.iter().all(|challenge| !challenge.contains("error")), "{both:?}");
    assert_eq!(challenges(&policy, put, &Caller::Anonymous).len(), 1);
}

#[test]
fn a_bound_token_that_is_not_proven_learns_nothing_else() {
    let policy = routes(vec![route("/x", &[("GET", needs("w"))])]);
    assert_eq!(says(&policy, GET, &bound(Some("k"), None)), "invalid_token");
}
