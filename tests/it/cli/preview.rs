//! `scopegate preview` on the bank.

use serde_json::json;

use super::{BANK, code, err, json_of, out, scopegate};
use crate::support::peers::repository;

fn preview(more: &[&str]) -> std::process::Output {
    scopegate(&[&["preview", "-c", BANK], more].concat())
}

const ADA: [&str; 8] = [
    "--server",
    "transfers",
    "--client",
    "mobile",
    "--grant",
    "authorization_code",
    "--user",
    "ada@bank.example",
];

const SERVICE: [&str; 6] = [
    "--server",
    "transfers",
    "--client",
    "nightly-batch",
    "--grant",
    "client_credentials",
];

#[test]
fn a_granted_preview_shows_the_token_and_the_rule_and_ends_with_0() {
    let asked = [&ADA[..], &["--scope", "transfers:read"]].concat();
    let output = preview(&asked);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    for part in [
        "GRANTED  by The bank's own app / Moving money",
        "  access token   lives 5m",
        "  refresh token  lives 12h, 1h without use",
        "\"sub\": \"ada@bank.example\"",
        "\"tier\": \"gold\"",
        "  ok    The bank's own app / Moving money",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let told = json_of(&preview(&[&asked[..], &["-o", "json"]].concat()));
    assert_eq!(told["access_token"]["client_id"], "mobile");
    assert_eq!(told["access_token"]["iss"], "https://127.0.0.1:8443/oauth2/transfers");
    assert_eq!(told["too_large"], false);
    assert_eq!(err(&output), "", "no warning of its size");
}

#[test]
fn case_108_a_token_that_many_servers_would_refuse_is_warned_about() {
    let line = "      - { name: tier, value: user.profile.tier, in: access_token, scopes: [\"transfers:read\"] }\n";
    let text = std::fs::read_to_string(repository(BANK)).expect("the bank");
    assert!(text.contains(line));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("scopegate.yaml");
    let more = format!("{line}{}", line.replace("tier", "firstName"));
    std::fs::write(&file, text.replace(line, &more)).expect("written");
    let profile = |bytes: usize| json!({ "tier": "x".repeat(bytes), "firstName": "y".repeat(bytes) }).to_string();
    let warned = |profile: &str| {
        let start = ["preview", "-c", file.to_str().expect("UTF-8")];
        let asked = [&ADA[..], &["--scope", "transfers:read", "--profile", profile]].concat();
        let output = scopegate(&[&start[..], &asked].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        err(&output).contains("warning: the token would have about")
    };
    assert_eq!((warned(&profile(2500)), warned(&profile(3500))), (false, true));
}

#[test]
fn a_denied_preview_names_the_first_condition_that_failed_and_ends_with_1() {
    let output = preview(&[&SERVICE[..], &["--scope", "transfers:approve"]].concat());
    assert_eq!(code(&output), 1);
    let text = out(&output);
    for part in [
        "DENIED  access_denied (scope_denied)",
        "  because  the access policy does not allow the scopes `transfers:approve`",
        "  -     The bank's own app: not for this client",
        "  FAIL  Services / Reading at night: the rule does not allow the scopes `transfers:approve`",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn a_user_of_the_store_is_described_by_groups() {
    let asked = [&ADA[..6], &["--user", "eve@bank.example", "--scope", "transfers:read"]].concat();
    let output = preview(&asked);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("say the groups with --group"), "{}", err(&output));
    let denied = preview(&[&asked[..], &["--group", "tellers", "-o", "json"]].concat());
    assert_eq!(
        (code(&denied), json_of(&denied)["error_code"].clone()),
        (1, json!("user_not_assigned"))
    );
    let granted = preview(&[&asked[..], &["--group", "customers", "-o", "json"]].concat());
    assert_eq!(json_of(&granted)["access_token"]["sub"], "eve@bank.example");
}

#[test]
fn a_misspelt_name_ends_with_2_and_the_nearest_one() {
    for (at, wrong, told) in [
        (
            1,
            "transfer",
            "no authorization server `transfer` in the file; did you mean `transfers`?",
        ),
        (
            3,
            "nightly-bach",
            "no client `nightly-bach` in the file; did you mean `nightly-batch`?",
        ),
        (
            5,
            "client_credential",
            "no grant type `client_credential` in the file; did you mean `client_credentials`?",
        ),
    ] {
        let mut asked = SERVICE;
        asked[at] = wrong;
        let output = preview(&asked);
        assert_eq!(code(&output), 2);
        assert!(err(&output).contains(told), "{}", err(&output));
    }
}

#[test]
fn case_096_a_refresh_is_previewed_by_how_its_grant_began_and_what_it_holds() {
    let refresh = [&ADA[..4], &["--grant", "refresh_token"], &ADA[6..]].concat();
    let began = [&refresh[..], &["--began-by", "authorization_code"]].concat();
    let held = ["--held", "transfers:read", "--scope", "transfers:read"];
    let told = json_of(&preview(&[&began[..], &held[..], &["-o", "json"]].concat()));
    assert_eq!(told["outcome"], "granted");
    assert_eq!(told["scope"], "transfers:read");
    let wider = ["--held", "transfers:read", "--scope", "transfers:write"];
    let output = preview(&[&began[..], &wider[..]].concat());
    assert_eq!(code(&output), 1);
    assert!(out(&output).contains("invalid_scope"), "{}", out(&output));
    // Without its beginning nothing can be said of it, and nothing else has one.
    let output = preview(&refresh);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--began-by"), "{}", err(&output));
    let output = preview(&[&ADA[..], &["--began-by", "password"]].concat());
    assert_eq!(code(&output), 2);
    let output = preview(&[&refresh[..], &["--began-by", "client_credentials"]].concat());
    assert_eq!(code(&output), 2);
}
