//! Case D10 at this level: every input has a decision, a denial has a status that denies, and an allow
//! comes only from a route that lets the caller in.

use proptest::prelude::*;

use super::*;

fn policy() -> CompiledPolicy {
    let mut declared = with_headers(vec![
        route("/public", &[("GET", needs("public"))]),
        route("/scoped/{id}", &[("GET", needs("r")), ("POST", needs("w"))]),
        route("/denied/{rest...}", &[("*", needs("deny"))]),
        route(
            "/mine/{user}",
            &[("GET", token(|token| token.when = Some(text("token.sub == path.user"))))],
        ),
    ]);
    declared.cors_preflight = CorsPreflight::Allow;
    compiled(vec![declared])
}

fn caller() -> impl Strategy<Value = Caller> {
    prop_oneof![
        Just(Caller::Anonymous),
        Just(scoped("r")),
        Just(scoped("w")),
        Just(bound(Some("k"), None)),
        Just(with_proof(bound(Some("k"), None), Some(key("k")))),
        Just(bearer(json!({"tier": "a\r\nx-admin: 1\0"}))),
    ]
}

fn target() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("/public"),
        Just("/scoped/7"),
        Just("/denied/x"),
        Just("/mine/ada"),
        Just("/mine/bob"),
        Just("*"),
        Just(""),
        Just("/scoped//"),
        Just("/public/..%2f"),
        Just("/unknown"),
    ];
    (path, prop_oneof![3 => Just(String::new()), 1 => any::<String>()]).prop_map(|(path, rest)| format!("{path}{rest}"))
}

proptest! {
    #[test]
    fn edge_d10_every_input_has_a_decision_and_only_grants_allow(
        method in prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("OPTIONS"), Just("CONNECT"), Just("get"), Just("")],
        host in prop_oneof![4 => Just("h.example".to_owned()), 1 => any::<String>()],
        target in target(),
        headers in proptest::collection::vec(
            (prop_oneof![Just("origin"), Just("access-control-request-method"), Just("connection"),
                Just("x-http-method-override"), Just("upgrade"), Just("x-auth-subject")],
             proptest::collection::vec(any::<u8>(), 0..12)),
            0..4),
        caller in caller(),
    ) {
        let facts = RequestFacts {
            method,
            host: &host,
            target: &target,
            headers: headers
                .iter()
                .map(|(name, value)| crate::policy::facts::Header { name, value })
                .collect(),
            ..RequestFacts::default()
        };
        match decide_on(&policy(), &facts, &caller) {
            Decision::Deny(denial) => prop_assert!(denial.status() >= 400),
            Decision::Allow(permit) => {
                for (name, value) in permit.headers() {
                    prop_assert!(!value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{name}");
                    prop_assert!(permit.headers_to_remove().all(|removed| removed != &**name));
                }
                let preflight = method == "OPTIONS";
                match permit.route().name.as_str() {
                    "GET /public" => {}
                    name if preflight => prop_assert!(permit.caller().is_none(), "{name}"),
                    "GET /scoped/{id}" => {
                        let held = &permit.caller().expect("a caller").facts().scopes();
                        prop_assert!(held.to_string() == "r");
                    }
                    "POST /scoped/{id}" => {
                        let held = &permit.caller().expect("a caller").facts().scopes();
                        prop_assert!(held.to_string() == "w");
                    }
                    "GET /mine/{user}" => prop_assert!(facts.path() == "/mine/ada"),
                    other => prop_assert!(false, "{other} lets nobody in"),
                }
            }
        }
    }
}
