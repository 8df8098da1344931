//! The operator's tools, as the built program: what they print, and how they end.

mod administer;
mod audit;
mod preview;
mod token;

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::peers::repository;
use crate::support::yaml;

const BANK: &str = "tests/examples/bank/scopegate.yaml";
const CASES: &str = "tests/examples/bank/cases.yaml";

fn scopegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(arguments)
        .current_dir(repository(""))
        .output()
        .expect("the program runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", out(output)))
}

fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(repository(CASES)).expect("the bank has cases");
    yaml::parse(&text).as_array().expect("a list").clone()
}

#[test]
fn the_banks_cases_pass_and_the_summary_counts_them() {
    let output = scopegate(&["test", "-c", BANK, CASES]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    let text = out(&output);
    assert!(text.ends_with("15 passed, 0 failed\n"), "{text}");
    for case in cases() {
        let line = format!("ok    {}\n", case["name"].as_str().unwrap());
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[test]
fn a_case_that_differs_in_anything_fails_with_its_place_and_both_sides() {
    let rows = [
        (
            "expect: { allow: true, headers: { x-auth-subject: ada",
            "expect: { allow: true, headers: { x-auth-subject: bob",
            "header x-auth-subject: expected `bob`, found `ada`",
        ),
        (
            "expect: { allow: true }",
            "expect: { allow: false }",
            "decision: expected deny, found allow",
        ),
        (
            "allow: false, status: 403, reason: insufficient_scope, missing: [\"transfers:write\"]",
            "allow: true",
            "decision: expected allow, found deny 403 insufficient_scope",
        ),
        (
            "status: 401, reason: missing_token",
            "status: 403, reason: missing_token",
            "status: expected 403, found 401",
        ),
        (
            "status: 403, reason: client_not_allowed",
            "status: 403, reason: no_route",
            "reason: expected no_route, found client_not_allowed",
        ),
        (
            "missing: [\"transfers:approve\"]",
            "missing: [\"transfers:read\"]",
            "missing: expected transfers:read, found transfers:approve",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(repository(CASES)).unwrap();
    for (from, to, told) in rows {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        let path = folder.path().join("cases.yaml");
        std::fs::write(&path, changed).unwrap();
        let output = scopegate(&["test", "-c", BANK, path.to_str().unwrap()]);
        let text = out(&output);
        assert_eq!(code(&output), 1, "{to}: {text}");
        assert!(text.contains(told), "{told} in {text}");
        assert!(
            text.contains("cases.yaml:") && text.ends_with("14 passed, 1 failed\n"),
            "{text}"
        );
        let json = json_of(&scopegate(&["test", "-c", BANK, "-o", "json", path.to_str().unwrap()]));
        assert_eq!((&json["passed"], &json["failed"]), (&json!(14), &json!(1)), "{to}");
    }
}

#[test]
fn a_case_file_with_mistakes_is_told_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.yaml");
    std::fs::write(&path, "- name: a\n  request: nowhere\n  expect: { allow: true }\n").unwrap();
    let output = scopegate(&["test", "-c", BANK, path.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).contains("cases.yaml:2:12: error[invalid_request_line]"),
        "{}",
        err(&output)
    );
}

/// The claims of a case's token, for `--claims`, and the arguments that ask about the case.
fn explain(case: &Value, form: &str) -> Output {
    let mut arguments = vec![
        "explain",
        "-c",
        BANK,
        "-o",
        form,
        "--request",
        case["request"].as_str().unwrap(),
    ];
    let claims = case.get("token").map(|token| {
        let server = token["server"].as_str().unwrap();
        let mut claims = json!({
            "iss": format!("https://127.0.0.1:8443/oauth2/{server}"),
            "client_id": token["client"], "sub": token["sub"], "scope": token["scope"],
        });
        if token.get("auth_time").is_some() {
            // Ten minutes ago or the year 2001: too long ago either way.
            claims["auth_time"] = json!(1_000_000_000);
        }
        claims.to_string()
    });
    if let Some(claims) = &claims {
        arguments.extend(["--claims", claims]);
    }
    scopegate(&arguments)
}

#[test]
fn explain_says_of_every_case_what_the_case_expects_and_by_which_steps() {
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let output = explain(&case, "json");
        let told = json_of(&output);
        let expect = &case["expect"];
        assert_eq!(told["allow"], expect["allow"], "{name}: {told}");
        assert_eq!(code(&output), i32::from(expect["allow"] == false), "{name}");
        if expect["allow"] == false {
            assert_eq!(
                (&told["status"], &told["reason"]),
                (&expect["status"], &expect["reason"]),
                "{name}"
            );
            assert_eq!(
                told["missing"],
                expect.get("missing").cloned().unwrap_or(json!([])),
                "{name}"
            );
        }
        let steps = told["steps"].as_array().unwrap();
        let failed = steps.iter().filter(|step| step["outcome"] == "fail").count();
        assert_eq!(failed, usize::from(expect["allow"] == false), "{name}: {told:#}");
    }
}

#[test]
fn explain_names_what_would_have_granted() {
    let cases = cases();
    let case = cases
        .iter()
        .find(|case| case["name"] == "a reader does not move money")
        .unwrap();
    let text = out(&explain(case, "text"));
    assert!(text.contains("FAIL  scopes"), "{text}");
    assert!(text.contains("`transfers:write` would grant"), "{text}");
    assert!(text.contains("DENY  403 insufficient_scope"), "{text}");
}

#[test]
fn explain_says_that_it_does_not_verify_a_token() {
    use base64::Engine as _;
    let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iss": "https://127.0.0.1:8443/oauth2/transfers", "aud": "https://api.bank.example/transfers",
        "client_id": "mobile", "sub": "ada", "scope": "transfers:read", "iat": 1, "exp": 4_000_000_000_u32,
    });
    let token = format!("{}.{}.AAAA", part(json!({ "alg": "ES256" })), part(claims));
    let asked = [
        "explain",
        "-c",
        BANK,
        "--request",
        "GET https://api.bank.example/transfers",
        "--token",
        &token,
    ];
    let output = scopegate(&asked);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(
        out(&output).contains("the signature is not verified here"),
        "{}",
        out(&output)
    );
    assert!(!out(&output).contains("AAAA"), "the token is not repeated");
}

#[test]
fn access_prints_the_same_rows_in_every_form() {
    let table = out(&scopegate(&["access", "-c", BANK]));
    let markdown = out(&scopegate(&["access", "-c", BANK, "-o", "markdown"]));
    let json = json_of(&scopegate(&["access", "-c", BANK, "-o", "json"]));
    let row = json
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["route"] == "POST /transfers")
        .unwrap();
    assert_eq!(row["ways"][0]["client"], "mobile");
    assert_eq!(row["ways"][0]["rule"], "Moving money");
    assert_eq!(
        table.lines().count() + 1,
        markdown.lines().count(),
        "one more line: the rule below the head"
    );
    assert!(table.contains("The bank's own app / Moving money") && markdown.contains("| POST /transfers | mobile |"));
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2_and_repeats_no_secret() {
    let request = "GET https://api.bank.example/transfers";
    let rows: [&[&str]; 10] = [
        &["serve"],
        &["serve", "-c", BANK, "--only", "console"],
        &["check"],
        &["check", "-c", BANK, "-o", "xml"],
        &["explain", "-c", BANK, "--request", "nowhere"],
        &[
            "explain",
            "-c",
            BANK,
            "--request",
            request,
            "--header",
            "Authorization canary",
        ],
        &["explain", "-c", BANK, "--request", request, "--claims", "[\"canary\"]"],
        &["explain", "-c", BANK, "--request", request, "--token", "canary"],
        &["test", "-c", BANK],
        &["revoke", "everything"],
    ];
    for arguments in rows {
        let output = scopegate(arguments);
        let text = err(&output);
        assert_eq!(code(&output), 2, "{arguments:?}: {text}");
        assert!(
            text.starts_with("error: ") && text.lines().next().unwrap().len() > 12,
            "{arguments:?}: {text}"
        );
        assert!(!text.contains("canary"), "{arguments:?}: {text}");
    }
}

#[test]
fn every_command_refuses_a_broken_file_with_its_mistakes_and_helps() {
    let broken = "tests/examples/broken/scopegate.yaml";
    let request = ["--request", "GET https://api.shop.example/orders/1"];
    for (command, more) in [
        ("access", &[][..]),
        ("explain", &request[..]),
        (
            "preview",
            &["--server", "shop", "--client", "app", "--grant", "client_credentials"][..],
        ),
        ("test", &[CASES][..]),
        ("serve", &[][..]),
    ] {
        let output = scopegate(&[&[command, "-c", broken], more].concat());
        assert_eq!(code(&output), 1, "{command}");
        assert!(
            err(&output).contains("scopegate.yaml:41:11: error[unknown_key]"),
            "{command}: {}",
            err(&output)
        );
        assert!(out(&output).is_empty(), "{command}");
        let help = scopegate(&[command, "--help"]);
        assert_eq!(code(&help), 0);
        assert!(out(&help).contains("Usage: scopegate"), "{command}");
    }
}
