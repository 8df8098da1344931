//! The bank of the examples, by hand: its cases must come out as its file says.

use super::*;

fn bank() -> CompiledPolicy {
    use crate::policy::declared::Declaration;
    let mut transfers = api(
        "transfers",
        "api.bank.example",
        vec![
            route(
                "/transfers",
                &[("GET", needs("transfers:read")), ("POST", needs("transfers:write"))],
            ),
            route(
                "/transfers/{id}",
                &[
                    ("GET", needs("transfers:read")),
                    ("DELETE", needs("transfers:write transfers:approve")),
                ],
            ),
            route(
                "/transfers/{id}/approval",
                &[(
                    "PUT",
                    token(|token| {
                        token.all = texts(&["transfers:approve"]);
                        token.max_age = Some(Duration::from_secs(300));
                    }),
                )],
            ),
            route(
                "/transfers/mine/{user}",
                &[(
                    "GET",
                    token(|token| {
                        token.all = texts(&["transfers:read"]);
                        token.when = Some(text("token.sub == path.user"));
                    }),
                )],
            ),
            route("/health", &[("GET", needs("public"))]),
        ],
    );
    transfers.servers[0].value = crate::model::id::AuthorizationServerId::parse("transfers").expect("valid");
    transfers.clients = ClientsDeclaration::Only(texts(&["mobile", "nightly-batch"]));
    transfers.forward.headers = [
        ("x-auth-subject", "token.sub"),
        ("x-auth-client", "token.client_id"),
        ("x-auth-scope", "token.scope"),
        ("x-auth-tier", "token.tier"),
    ]
    .map(|(name, value)| (text(name), text(value)))
    .to_vec();
    let mut transactions = api(
        "transactions",
        "api.bank.example",
        vec![
            route("/transactions/{rest...}", &[("GET", needs("transactions:read"))]),
            grpc(
                "bank.transactions.v1.Transactions",
                &[("List", needs("transactions:read"))],
            ),
        ],
    );
    transactions.servers[0].value = crate::model::id::AuthorizationServerId::parse("transactions").expect("valid");
    let declaration = Declaration {
        servers: vec![
            server("transfers", &["transfers:read", "transfers:write", "transfers:approve"]),
            server("transactions", &["transactions:read"]),
        ],
        apis: vec![transfers, transactions],
    };
    let (policy, findings) = crate::policy::compile::compile(&declaration);
    assert_eq!(findings, [], "the example has neither errors nor warnings");
    policy.expect("compiles")
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_bank_decides_as_its_cases_say() {
    let policy = bank();
    let of = |server: &str, client: &str, scope: &str| {
        caller_of(server, json!({"sub": "ada", "client_id": client, "scope": scope}))
    };
    let reader = of("transfers", "mobile", "transfers:read");
    let approver = caller_of(
        "transfers",
        json!({"client_id": "mobile", "scope": "transfers:approve", "auth_time": NOW.unix_seconds() - 600}),
    );
    for (line, caller, expected, missing) in [
        ("GET https://api.bank.example/transfers", &reader, "allow", ""),
        ("HEAD https://api.bank.example/transfers", &reader, "allow", ""),
        (
            "POST https://api.bank.example/transfers",
            &reader,
            "insufficient_scope",
            "transfers:write",
        ),
        (
            "DELETE https://api.bank.example/transfers/7",
            &of("transfers", "mobile", "transfers:write"),
            "insufficient_scope",
            "transfers:approve",
        ),
        (
            "GET https://api.bank.example/transfers",
            &Caller::Anonymous,
            "missing_token",
            "",
        ),
        (
            "GET https://api.bank.example/transfers",
            &of("transactions", "mobile", "transactions:read"),
            "invalid_token",
            "",
        ),
        (
            "GET https://api.bank.example/transfers",
            &of("transfers", "quickbooks", "transfers:read"),
            "client_not_allowed",
            "",
        ),
        (
            "GET https://api.bank.example/transfers/mine/bob",
            &reader,
            "condition_failed",
            "",
        ),
        ("GET https://api.bank.example/transfers/mine/ada", &reader, "allow", ""),
        (
            "PUT https://api.bank.example/transfers/7/approval",
            &approver,
            "insufficient_user_authentication",
            "",
        ),
        ("GET https://api.bank.example/health", &Caller::Anonymous, "allow", ""),
        ("GET https://api.bank.example/admin", &reader, "no_route", ""),
        (
            "GET https://other.example/transfers",
            &Caller::Anonymous,
            "no_route",
            "",
        ),
        (
            "GET https://api.bank.example/transfers/..%2fadmin",
            &reader,
            "ambiguous_path",
            "",
        ),
        (
            "GET https://api.bank.example/transfers?access_token=abc",
            &Caller::Anonymous,
            "invalid_request",
            "",
        ),
        (
            "POST https://api.bank.example/bank.transactions.v1.Transactions/List",
            &of("transactions", "quickbooks", "transactions:read"),
            "allow",
            "",
        ),
    ] {
        let decision = decide_on(&policy, &request(line, &[]), caller);
        assert_eq!(verdict(&decision), expected, "{line}");
        if let Decision::Deny(denial) = decision {
            assert_eq!(denial.missing.to_string(), missing, "{line}");
        }
    }
    let permit = allowed(decide_on(
        &policy,
        &request("GET https://api.bank.example/transfers", &[]),
        &reader,
    ));
    let value = |wanted: &str| {
        permit
            .headers()
            .iter()
            .find(|(name, _)| &**name == wanted)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(value("x-auth-subject"), Some("ada"));
    assert_eq!(value("x-auth-client"), Some("mobile"));
    assert_eq!(value("x-auth-scope"), Some("transfers:read"));
    assert_eq!(value("x-auth-tier"), None);
}
