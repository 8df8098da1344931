//! `scopegate audit verify` on the store of a bank that has revoked tokens.

use std::path::Path;
use std::process::{Command, Output};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::{code, err, json_of, out};
use crate::support::scopegate::Scopegate;

fn verify(folder: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scopegate"))
        .args(["audit", "verify", "-c", "scopegate.yaml"])
        .args(more)
        .current_dir(folder)
        .output()
        .expect("the program runs")
}

/// What somebody does to the log who owns the file.
async fn tamper(folder: &Path, statements: &[&'static str]) {
    let options = SqliteConnectOptions::new().filename(folder.join("data/scopegate.db"));
    let mut connection = options.connect().await.expect("the database opens");
    for trigger in ["DROP TRIGGER audit_entry_stays", "DROP TRIGGER audit_entry_is_kept"] {
        sqlx::query(trigger).execute(&mut connection).await.expect("dropped");
    }
    for statement in statements {
        sqlx::query(*statement).execute(&mut connection).await.expect("done");
    }
}

#[tokio::test]
async fn case_155_a_log_that_was_changed_or_cut_short_is_told_and_a_whole_one_is_marked() {
    let gate = Scopegate::bank().await;
    let folder = gate.folder();
    for _ in 0..3 {
        let token = gate.mint().await;
        gate.revoke(&token).await;
    }
    let whole = verify(folder, &["-o", "json"]);
    assert_eq!(code(&whole), 0, "{}{}", out(&whole), err(&whole));
    let told = json_of(&whole);
    let (entries, last) = (
        told["entries"].as_i64().expect("a count"),
        told["last"].as_str().expect("a mark").to_owned(),
    );
    assert!(entries >= 3 && last.starts_with(&format!("{entries}:")), "{told}");

    // What is written later leaves the mark where it was.
    let token = gate.mint().await;
    gate.revoke(&token).await;
    let grown = verify(folder, &["--expect", &last, "-o", "json"]);
    assert_eq!(
        (code(&grown), json_of(&grown)["entries"].as_i64()),
        (0, Some(entries + 1))
    );

    // Without its newest entries the chain is whole, and the mark alone tells.
    tamper(
        folder,
        &["DELETE FROM audit_entry WHERE sequence > (SELECT max(sequence) - 2 FROM audit_entry)"],
    )
    .await;
    assert_eq!(code(&verify(folder, &[])), 0);
    let cut = verify(folder, &["--expect", &last]);
    assert_eq!(code(&cut), 1);
    assert!(
        out(&cut).contains(&format!("the chain does not have the expected entry `{last}`")),
        "{}",
        out(&cut)
    );
}

#[tokio::test]
async fn case_155_an_entry_that_says_something_else_breaks_the_chain_there() {
    let gate = Scopegate::bank().await;
    let folder = gate.folder();
    for _ in 0..2 {
        let token = gate.mint().await;
        gate.revoke(&token).await;
    }
    tamper(folder, &["UPDATE audit_entry SET client = 'mobile' WHERE sequence = 2"]).await;
    let broken = verify(folder, &[]);
    assert_eq!(code(&broken), 1);
    assert_eq!(out(&broken), "BROKEN: audit entry 2 was changed\n");
}

#[test]
fn who_only_looks_makes_no_database() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("scopegate.yaml"), crate::support::scopegate::bank()).expect("written");
    let output = verify(folder.path(), &[]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).contains("there is no database `data/scopegate.db`"),
        "{}",
        err(&output)
    );
    assert!(!folder.path().join("data").exists());
}
