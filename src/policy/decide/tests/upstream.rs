//! What the upstream sees.

use super::*;

#[test]
fn edge_i01_edge_i02_edge_i03_edge_i04_edge_i10_edge_e18_attack_d16_attack_d17_identity_headers_are_ours_alone() {
    let policy = compiled(vec![with_headers(vec![
        route("/x", &[("GET", needs("r"))]),
        route("/public", &[("GET", needs("public"))]),
    ])]);
    let spoofed = ["x-auth-subject: admin", "x_auth_subject: admin", "x-auth-tier: gold"];
    let permit = allowed(decide_on(&policy, &request(GET, &spoofed), &scoped("r")));
    let set: Vec<(&str, &str)> = permit
        .headers()
        .iter()
        .map(|(name, value)| (&**name, value.as_str()))
        .collect();
    assert_eq!(set, [("x-auth-subject", "ada"), ("x-user", "app")]);
    let removed: Vec<&str> = permit.headers_to_remove().collect();
    for name in [
        "x_auth_subject",
        "x-auth_subject",
        "x_auth-subject",
        "x_auth_tier",
        "x-auth_tier",
        "x_auth-tier",
        "x_user",
        // The claim is absent: what the client sent goes.
        "x-auth-tier",
    ] {
        assert!(removed.contains(&name), "{name} in {removed:?}");
    }
    assert!(
        removed.iter().all(|name| set.iter().all(|(set, _)| set != name)),
        "Envoy would drop it"
    );
    assert!(!removed.contains(&"authorization"));

    let permit = allowed(decide_on(
        &policy,
        &request("GET https://h.example/public", &spoofed),
        &Caller::Anonymous,
    ));
    assert!(permit.headers().is_empty());
    let removed: Vec<&str> = permit.headers_to_remove().collect();
    for name in [
        "x-auth-subject",
        "x_auth_subject",
        "x-auth-tier",
        "x-user",
        "x_user",
        "authorization",
    ] {
        assert!(removed.contains(&name), "{name}");
    }
    // An empty claim is an absent one.
    let permit = allowed(decide_on(
        &policy,
        &request(GET, &[]),
        &bearer(json!({"scope": "r", "tier": ""})),
    ));
    assert!(permit.headers_to_remove().any(|name| name == "x-auth-tier"));
}

#[test]
fn a_stripped_token_does_not_reach_the_upstream() {
    let mut declared = with_headers(vec![route("/x", &[("GET", needs("r"))])]);
    declared.forward.token = ForwardToken::Strip;
    let permit = allowed(decide_on(&compiled(vec![declared]), &request(GET, &[]), &scoped("r")));
    let removed: Vec<&str> = permit.headers_to_remove().collect();
    assert!(removed.contains(&"authorization") && removed.contains(&"dpop"));
}

#[test]
fn edge_i08_edge_e19_a_claim_that_is_too_large_is_a_denial() {
    let policy = compiled(vec![with_headers(vec![route("/x", &[("GET", needs("r"))])])]);
    let tier = |bytes: usize| bearer(json!({"scope": "r", "tier": "x".repeat(bytes)}));
    assert_eq!(says(&policy, GET, &tier(8 * 1024)), "allow");
    let denial = denied(decide_on(&policy, &request(GET, &[]), &tier(8 * 1024 + 1)));
    assert_eq!((denial.reason(), denial.status()), (Reason::UnforwardableClaim, 403));
    assert_eq!(says(&policy, GET, &tier(100 * 1024)), "unforwardable_claim");
}

#[test]
fn attack_d27_a_claim_named_like_a_normalised_one_does_not_lie_over_it() {
    let policy = compiled(vec![with_headers(vec![route(
        "/x",
        &[("GET", needs("authenticated"))],
    )])]);
    let caller = bearer(json!({"cid": "other", "client_id": "app", "scope": "", "scopes": "w"}));
    let permit = allowed(decide_on(&policy, &request(GET, &[]), &caller));
    assert!(
        permit
            .headers()
            .iter()
            .any(|(name, value)| &**name == "x-user" && value == "app")
    );
}
