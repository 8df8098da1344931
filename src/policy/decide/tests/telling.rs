//! What a decision tells: hidden APIs, traces, challenges.

use super::*;

#[test]
fn edge_d09_a_hidden_api_answers_404_whatever_it_has() {
    let declared = |hide| {
        compiled(vec![ApiDeclaration {
            hide,
            clients: ClientsDeclaration::Only(texts(&["app"])),
            ..api(
                "api",
                "h.example",
                vec![route("/x", &[("GET", needs("r")), ("PUT", needs("deny"))])],
            )
        }])
    };
    let status = |policy: &CompiledPolicy, line: &str, caller: &Caller| {
        let denial = denied(decide_on(policy, &request(line, &[]), caller));
        (denial.status(), denial.is_hidden(), denial.challenges.len())
    };
    let hiding = declared(true);
    let stranger = bearer(json!({"client_id": "mobile", "scope": "r"}));
    for (line, caller) in [
        ("GET https://h.example/unknown", &Caller::Anonymous),
        ("POST https://h.example/x", &Caller::Anonymous),
        ("PUT https://h.example/x", &Caller::Anonymous),
        (GET, &stranger),
        (GET, &scoped("w")),
    ] {
        assert_eq!(status(&hiding, line, caller), (404, true, 0), "{line}");
    }
    // What asks for a token, or is malformed, says so.
    assert_eq!(status(&hiding, GET, &Caller::Anonymous), (401, false, 1));
    assert_eq!(
        status(&hiding, "GET https://h.example/a//b", &Caller::Anonymous),
        (400, false, 0)
    );
    assert_eq!(
        status(&declared(false), "GET https://h.example/unknown", &Caller::Anonymous),
        (403, false, 0)
    );
    assert_eq!(
        status(&hiding, "GET https://other.example/x", &Caller::Anonymous),
        (403, false, 0)
    );
}

#[test]
fn a_trace_names_what_would_have_granted() {
    let policy = compiled(vec![ApiDeclaration {
        clients: ClientsDeclaration::Only(texts(&["app", "mobile"])),
        ..api("api", "h.example", vec![route("/x", &[("GET", needs("r w"))])])
    }]);
    let last = |line: &str, caller: &Caller| {
        let (_, trace) = traced(&policy, &request(line, &[]), caller);
        trace.steps.last().expect("a step").text.clone()
    };
    assert!(last(GET, &scoped("r")).contains("`w` would grant"));
    assert!(last(GET, &bearer(json!({"client_id": "quickbooks"}))).contains("`app`, `mobile`"));
    assert!(last("DELETE https://h.example/x", &scoped("r")).contains("it has `GET`"));
    let (decision, trace) = traced(&policy, &request(GET, &[]), &scoped("r w"));
    assert_eq!(verdict(&decision), "allow");
    assert!(
        trace
            .steps
            .iter()
            .any(|step| step.text.contains("`GET /x` of the api `api`"))
    );
}

#[test]
fn edge_x11_the_proof_is_asked_for_each_time() {
    let policy = one("r");
    let token = bound(Some("k"), None);
    assert_eq!(says(&policy, GET, &with_proof(token.clone(), Some(key("k")))), "allow");
    assert_eq!(says(&policy, GET, &with_proof(token, None)), "invalid_dpop_proof");
}

#[test]
fn a_refusal_by_authz_carries_the_routes_challenge() {
    let policy = one("r");
    let facts = request(GET, &[]);
    let selected = policy.select(&facts, &mut Untraced).expect("a route");
    for (reason, status, error) in [
        (Reason::InvalidRequest, 400, "error=\"invalid_request\""),
        (Reason::InvalidToken, 401, "error=\"invalid_token\""),
    ] {
        let denial = selected.refuse(reason, "for the log", Some(Scheme::Bearer));
        assert_eq!(denial.status(), status);
        assert!(denial.challenges[0].contains(error), "{:?}", denial.challenges);
        assert!(!denial.challenges[0].contains("for the log"));
    }
    let nonce = selected.refuse(Reason::UseDpopNonce, "for the log", Some(Scheme::Dpop));
    assert!(nonce.challenges[0].starts_with("DPoP ") && nonce.challenges[0].contains("use_dpop_nonce"));
    let unavailable = selected.refuse(Reason::Unavailable, "for the log", None);
    assert_eq!((unavailable.status(), unavailable.challenges.len()), (503, 0));
}

#[test]
fn edge_d02_attack_a42_the_challenge_does_not_tell_which_check_failed() {
    let policy = one("r");
    let facts = request(GET, &[]);
    let selected = policy.select(&facts, &mut Untraced).expect("a route");
    let challenges: Vec<_> = [
        "the token is expired",
        "the signature does not verify",
        "the key is not known",
    ]
    .map(|detail| {
        selected
            .refuse(Reason::InvalidToken, detail, Some(Scheme::Bearer))
            .challenges
    })
    .into_iter()
    .collect();
    assert!(challenges.windows(2).all(|pair| pair[0] == pair[1]), "{challenges:?}");
}

#[test]
fn grpc_methods_have_requirements_as_any_route() {
    let policy = routes(vec![grpc("bank.v1.Transfers", &[("List", needs("r"))])]);
    let line = "POST https://h.example/bank.v1.Transfers/List";
    assert_eq!(says(&policy, line, &scoped("r")), "allow");
    assert_eq!(says(&policy, line, &scoped("w")), "insufficient_scope");
}
