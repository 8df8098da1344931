//! `scopegate token` against a running bank.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{code, err, json_of, out};
use crate::support::scopegate::Scopegate;

/// Runs the program in the folder of the running one, with this on its standard input.
fn run(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(arguments)
        .current_dir(folder)
        .env("SCOPEGATE_CLIENT_SECRET", "secret")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that needs no input may have ended already.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
}

const AT: [&str; 6] = [
    "-c",
    "scopegate.yaml",
    "--server",
    "transfers",
    "--client",
    "nightly-batch",
];

fn mint(folder: &Path) -> String {
    let output = run(
        folder,
        &[&["token", "mint"], &AT[..], &["--scope", "transfers:read"]].concat(),
        "",
    );
    assert_eq!(code(&output), 0, "{}", err(&output));
    out(&output).trim_end().to_owned()
}

#[tokio::test]
async fn a_token_is_minted_decoded_and_revoked_from_the_command_line() {
    let gate = Scopegate::bank().await;
    let folder = gate.folder();
    let token = mint(folder);
    assert_eq!(token.split('.').count(), 3, "{token}");

    let decoded = run(
        folder,
        &["token", "decode", "-c", "scopegate.yaml", "-o", "json"],
        &token,
    );
    assert_eq!(code(&decoded), 0, "{}", err(&decoded));
    let told = json_of(&decoded);
    assert_eq!(
        (&told["authorization_server"], &told["signature"], &told["expired"]),
        (&json!("transfers"), &json!("verifies"), &json!(false))
    );
    assert_eq!(
        (&told["header"]["typ"], &told["claims"]["client_id"]),
        (&json!("at+jwt"), &json!("nightly-batch"))
    );

    let revoked = run(folder, &[&["token", "revoke"], &AT[..]].concat(), &token);
    assert_eq!(
        (code(&revoked), out(&revoked).starts_with("revoked")),
        (0, true),
        "{}",
        err(&revoked)
    );
}

#[tokio::test]
async fn a_secret_comes_from_a_file_standard_input_or_the_environment_and_a_wrong_one_is_refused() {
    let gate = Scopegate::bank().await;
    let folder = gate.folder();
    std::fs::write(folder.join("secret"), "secret\n").expect("written");
    std::fs::write(folder.join("wrong"), "canary\n").expect("written");
    let mint = |more: &[&str], input: &str| {
        let scope = ["--scope", "transfers:read", "-o", "json"];
        run(folder, &[&["token", "mint"], &AT[..], &scope, more].concat(), input)
    };
    for (more, input) in [
        (&["--secret-file", "secret"][..], ""),
        (&["--secret-stdin"], "secret\n"),
        (&[], ""),
    ] {
        let output = mint(more, input);
        assert_eq!(code(&output), 0, "{more:?}: {}", err(&output));
        assert_eq!(json_of(&output)["scope"], "transfers:read", "{more:?}");
    }
    let refused = mint(&["--secret-file", "wrong"], "");
    assert_eq!(code(&refused), 1);
    let text = err(&refused);
    assert!(text.contains("refused with 401, `invalid_client`"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn decode_tells_a_token_that_is_not_what_it_says() {
    let gate = Scopegate::bank().await;
    let folder = gate.folder();
    let token = mint(folder);
    let decode = |token: &str, more: &[&str]| run(folder, &[&["token", "decode"], more].concat(), token);

    // The signature of another token: one bit of the payload's last character would be enough.
    let other = mint(folder);
    let (signed, _) = token.rsplit_once('.').expect("three parts");
    let (_, foreign) = other.rsplit_once('.').expect("three parts");
    let forged = decode(&format!("{signed}.{foreign}"), &["-c", "scopegate.yaml"]);
    assert_eq!(code(&forged), 1);
    assert!(out(&forged).contains("signature   DOES NOT VERIFY"), "{}", out(&forged));

    // Nothing is claimed about what was not looked at.
    let alone = decode(&token, &[]);
    assert_eq!(code(&alone), 0);
    assert!(
        out(&alone).contains("signature   not looked at: say `-c FILE` or `--jwks FILE`"),
        "{}",
        out(&alone)
    );

    // With keys from a file nobody is asked.
    let keys: Value = gate
        .https()
        .get(gate.issuer_url("transfers", "v1/keys"))
        .send()
        .await
        .expect("answers")
        .json()
        .await
        .expect("JSON");
    std::fs::write(folder.join("keys.json"), keys.to_string()).expect("written");
    let verified = decode(&token, &["--jwks", "keys.json"]);
    assert!(out(&verified).contains("signature   verifies"), "{}", out(&verified));

    for nonsense in ["canary", "a.b", "canary.canary.canary", "a.b.c.d"] {
        let output = decode(nonsense, &[]);
        assert_eq!(code(&output), 1, "{nonsense}");
        assert!(
            err(&output).starts_with("error: ") && !err(&output).contains("canary"),
            "{}",
            err(&output)
        );
    }
}

#[test]
fn attack_e18_no_option_takes_a_secret_or_a_token_on_the_command_line() {
    for command in [
        &["token", "mint"][..],
        &["token", "introspect"],
        &["token", "revoke"],
        &["users", "create"],
    ] {
        let help = super::scopegate(&[command, &["--help"]].concat());
        let text = out(&help);
        for word in [
            "--secret ",
            "--token ",
            "--password ",
            "--secret <",
            "--token <",
            "--password <",
        ] {
            assert!(!text.contains(word), "{command:?}: {word}");
        }
    }
}
