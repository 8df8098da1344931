//! A disk that is full, and one that fails to sync: nothing is acknowledged meanwhile, and all goes on afterwards.
//!
//! `disk.c` stands between a process and its system calls. That meets SQLite where it meets a disk, needs no rights
//! to mount one, and is the only way to have a sync fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scopegate::audit::{AuditKind, ChainEnd};
use scopegate::store::grants::GrantStore as _;
use scopegate::store::objects::{AuditQuery, AuditStore as _};
use scopegate::store::sqlite::SqliteStore;
use scopegate::store::{Cursor, Store as _};

use super::{DATABASE, follow, grant, grant_id, integrity, process, record, session};
use crate::support::checks::{self, check};
use crate::support::h2_client::Client;
use crate::support::peers::repository;
use crate::support::scopegate::{Scopegate, ScopegateBuilder, bank};

/// Where the process and the test say how the disk is.
const FAILING_DISK: &str = "FAILING_DISK";

/// A disk that a test can make fail, for processes that are started with it.
struct Disk {
    library: PathBuf,
    state: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (library, state) = (folder.path().join("disk.so"), folder.path().join("state"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(repository("tests/it/store/disk.c"))
            .arg("-ldl")
            .status();
        assert!(compiled.expect("there is a C compiler").success());
        let disk = Self {
            library,
            state,
            _folder: folder,
        };
        disk.set("works");
        disk
    }

    fn set(&self, state: &str) {
        set(&self.state, state);
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        [("LD_PRELOAD", text(&self.library)), (FAILING_DISK, text(&self.state))]
    }
}

/// The disk is in this state from now on: nobody reads half a word.
fn set(file: &Path, state: &str) {
    let new = file.with_extension("new");
    fs::write(&new, state).expect("written");
    fs::rename(new, file).expect("moved");
}

#[test]
#[ignore = "the process that the test below starts on a failing disk"]
fn writes_on_a_disk_that_fails() {
    let (Some(database), Some(state)) = (std::env::var_os(DATABASE), std::env::var_os(FAILING_DISK)) else {
        return;
    };
    let (database, state) = (Path::new(&database), Path::new(&state));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(database).await.expect("opens");
        store.insert_grant(&grant("before")).await.expect("writes");
        for (failure, turn) in [("full", 0), ("sync", 0), ("full", 1), ("sync", 1)] {
            set(state, failure);
            let id = |number| format!("{failure}-{turn}-{number}");
            let insert = |id: String| {
                let store = store.clone();
                tokio::spawn(async move { store.insert_grant(&grant(&id)).await })
            };
            let callers: Vec<_> = (0..40).map(|number| insert(id(number))).collect();
            for caller in callers {
                caller
                    .await
                    .expect("no panic")
                    .expect_err("acknowledged by a disk that fails");
            }
            let which = scopegate::store::grants::GrantSelector::One(grant_id("before"));
            let audit = [record(AuditKind::GrantRevoked, failure)];
            let facts = [session(&grant_id("before"))];
            let revoked = store.revoke_grants(&which, super::at(200), &facts, &audit);
            revoked.await.expect_err("acknowledged by a disk that fails");
            // Reads go on, and nobody reads what was not acknowledged.
            let before = store.grant(&grant_id("before")).await.expect("reads");
            assert_eq!(before, Some(grant("before")), "{failure}");
            assert_eq!(store.grant(&grant_id(&id(0))).await.expect("reads"), None, "{failure}");

            set(state, "works");
            for number in 0..40 {
                store.insert_grant(&grant(&id(number))).await.expect("writes again");
            }
        }
        assert_eq!(store.revocations_after(Cursor::default(), 9).await.expect("reads"), []);
        let record = record(AuditKind::TokenRevoked, "after");
        store
            .revoke(&session(&grant_id("before")), &record)
            .await
            .expect("writes");
        // Neither close nor merge: the next process finds the log as it is.
        println!("all is as it should be");
        std::process::exit(0);
    });
}

#[test]
fn attack_g03_a_disk_that_is_full_or_cannot_sync_acknowledges_nothing_and_the_store_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("test.db");
    let disk = Disk::new();
    let output = process("store::disk::writes_on_a_disk_that_fails", &database)
        .envs(disk.environment())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("all is as it should be"),
        "{output:?}"
    );

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(&database).await.expect("opens");
        for (failure, turn) in [("full", 0), ("sync", 0), ("full", 1), ("sync", 1)] {
            for number in 0..40 {
                let id = grant_id(&format!("{failure}-{turn}-{number}"));
                assert!(
                    store.grant(&id).await.expect("reads").is_some(),
                    "{id} was acknowledged"
                );
            }
        }
        let end = follow(&store, ChainEnd::default()).await;
        assert_eq!(end.sequence, 1, "of the revocations that failed no record is left");
        let query = AuditQuery {
            limit: 9,
            ..AuditQuery::default()
        };
        assert_eq!(
            store.audit_entries(&query).await.expect("reads")[0].event.detail,
            "after"
        );
        store.close().await;
        assert_eq!(integrity(&database).await, "ok");
    });
}

#[tokio::test]
async fn attack_g03_case_153_a_served_revocation_is_refused_by_a_failing_disk_and_checks_go_on() {
    let disk = Disk::new();
    let mut builder = ScopegateBuilder::new(&bank());
    for (name, value) in disk.environment() {
        builder = builder.environment(name, value);
    }
    let mut gate = builder.start().await;
    let token = gate.mint().await;
    for failure in ["full", "sync"] {
        disk.set(failure);
        assert!(try_revoke(&gate, &token).await >= 500, "{failure}: acknowledged");
        assert_eq!(
            ask(&gate, &token).await,
            0,
            "{failure}: not revoked, so the gate lets it in"
        );
        let another = gate.mint().await;
        assert_eq!(
            ask(&gate, &another).await,
            0,
            "{failure}: no row is written for a token"
        );
    }
    disk.set("works");
    assert_eq!(try_revoke(&gate, &token).await, 200);
    assert_ne!(ask(&gate, &token).await, 0);
    gate.signal("KILL");
    gate.ended().await;
    let gate = gate.restart().await;
    assert_ne!(
        ask(&gate, &token).await,
        0,
        "an acknowledged revocation outlives the crash"
    );
}

/// Asks for the revocation of a token: the status of the answer.
async fn try_revoke(gate: &Scopegate, token: &str) -> u16 {
    let request = gate
        .https()
        .post(gate.issuer_url("transfers", "v1/revoke"))
        .basic_auth("nightly-batch", Some("secret"))
        .form(&[("token", token)]);
    request.send().await.expect("it answers").status().as_u16()
}

/// What the gate says to a request with this token: 0 is an allow.
async fn ask(gate: &Scopegate, token: &str) -> i32 {
    let client = Client::open(gate.ports.ext_authz).await;
    let authorization = format!("Bearer {token}");
    let check = check(
        "GET",
        "api.bank.example",
        "/transfers",
        "id",
        &[("authorization", &authorization)],
    );
    checks::status(&client, &check).await
}
