//! Administration from the command line against a running bank: how each command ends.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{code, err, json_of, out};
use crate::support::scopegate::Scopegate;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program runs")
}

/// A bank with an administrator, whose credentials are in `admin.json`.
async fn administered() -> Scopegate {
    let gate = Scopegate::bank().await;
    let made = run(gate.folder(), &["admin", "bootstrap", "-c", "scopegate.yaml"]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    std::fs::write(gate.folder().join("admin.json"), &made.stdout).expect("written");
    gate
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_0_when_it_is_done_1_when_it_is_refused_and_2_when_it_makes_no_sense() {
    let gate = administered().await;
    let signed_in = ["-c", "scopegate.yaml", "--credentials", "admin.json"];
    let ask = |words: &[&str]| run(gate.folder(), &[words, &signed_in].concat());
    for (words, wanted, told) in [
        (&["clients", "list"][..], 0, ""),
        (&["servers", "show", "transfers"], 0, ""),
        (&["clients", "show", "nobody"], 1, "refused with 404, `E0000007`"),
        // What the file declares is changed in the file.
        (&["clients", "deactivate", "nightly-batch"], 1, "refused with 4"),
        (&["servers", "deactivate", "transfers"], 1, "refused with 4"),
        (
            &["groups", "members", "add", "tellers", "nobody@bank.example"],
            1,
            "refused with 404",
        ),
        (&["clients", "create", "--name", "x"], 2, "--type"),
        (&["clients", "frobnicate"], 2, "frobnicate"),
        (&["logs", "--since", "yesterday"], 2, "yesterday"),
    ] {
        let output = ask(words);
        assert_eq!(code(&output), wanted, "{words:?}: {}{}", out(&output), err(&output));
        assert!(err(&output).contains(told), "{words:?}: {}", err(&output));
    }
    // The client of the file is as it was: a refusal did nothing.
    let token = gate.mint().await;
    assert_eq!(token.split('.').count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_what_the_api_answers_and_a_field_is_one_member_of_it() {
    let gate = administered().await;
    let signed_in = ["-c", "scopegate.yaml", "--credentials", "admin.json"];
    let ask = |words: &[&str]| run(gate.folder(), &[words, &signed_in].concat());
    let ids = |rows: &Value| -> Vec<String> {
        let rows = rows.as_array().expect("a list").iter();
        rows.map(|row| row["id"].as_str().expect("a text").to_owned()).collect()
    };
    let found = ids(&json_of(&ask(&["clients", "list", "-o", "json"])));
    for client in ["mobile", "nightly-batch", "quickbooks"] {
        assert!(found.contains(&client.to_owned()), "{client} in {found:?}");
    }
    let fields = ask(&["clients", "list", "--field", "/id"]);
    assert_eq!(out(&fields).lines().collect::<Vec<_>>(), found);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_e18_who_does_not_sign_in_is_told_how_and_a_wrong_key_is_refused_unseen() {
    let gate = administered().await;
    let nobody = run(gate.folder(), &["clients", "list", "-c", "scopegate.yaml"]);
    assert_eq!(code(&nobody), 1);
    assert!(err(&nobody).contains("say `--credentials FILE`"), "{}", err(&nobody));

    // The right name with a key of somebody else.
    let admin: Value =
        serde_json::from_slice(&std::fs::read(gate.folder().join("admin.json")).expect("read")).expect("JSON");
    let again = run(
        gate.folder(),
        &["admin", "bootstrap", "--again", "-c", "scopegate.yaml"],
    );
    let mut other = json_of(&again);
    other["client_id"] = admin["client_id"].clone();
    std::fs::write(gate.folder().join("other.json"), other.to_string()).expect("written");
    let forged = run(
        gate.folder(),
        &["clients", "list", "-c", "scopegate.yaml", "--credentials", "other.json"],
    );
    assert_eq!(code(&forged), 1);
    let text = err(&forged);
    assert!(text.contains("refused with 401, `invalid_client`"), "{text}");
    let private = other["private_key"]["d"].as_str().expect("a private key");
    assert!(!text.contains(private), "{text}");
}
