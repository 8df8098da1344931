//! Changes of SQLite that are committed together: one sync for many, and each is answered for itself.

use std::fs;
use std::path::Path;

use crate::model::id::Kid;
use crate::oauth::keyring::KeyState;
use crate::oauth::refresh::GrantRecord;
use crate::store::grants::{GrantStore as _, Rotated, Rotation};
use crate::store::sqlite::SqliteStore;
use crate::store::tests::grants::{grant, grant_id};
use crate::store::tests::{at, key, server};
use crate::store::{Changed, KeyChange, Store as _, StoreError};

/// The commits in a write-ahead log: the frames that say how large the database is after them.
fn commits(database: &Path) -> usize {
    let log = fs::read(database.with_extension("db-wal")).expect("there is a log");
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let page_size = word(&log, 8) as usize;
    let frames = log[32..].chunks_exact(24 + page_size);
    let ours = frames.take_while(|frame| frame[8..16] == log[16..24]);
    ours.filter(|frame| word(frame, 4) != 0).count()
}

#[tokio::test]
async fn changes_that_wait_together_share_a_commit_and_a_failed_one_undoes_itself_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    store.insert_grant(&grant("taken")).await.expect("writes");
    let before = commits(&path);

    // On this runtime all of them have asked before the writer has its turn.
    let insert = |id: String| {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant(&id)).await })
    };
    let mut inserts: Vec<_> = (0..40).map(|number| insert(format!("a{number}"))).collect();
    let taken = insert("taken".to_owned());
    let overtaken = {
        let store = store.clone();
        tokio::spawn(async move {
            let changes = [
                KeyChange::Insert(key("a", KeyState::Active)),
                KeyChange::Remove {
                    kid: Kid::parse("b").expect("valid"),
                    from: KeyState::Next,
                },
            ];
            store.change_keys(&server(), &changes, &[]).await
        })
    };
    inserts.extend((0..40).map(|number| insert(format!("b{number}"))));
    for insert in inserts {
        insert.await.expect("no panic").expect("writes");
    }
    let taken = taken.await.expect("no panic");
    assert!(matches!(taken, Err(StoreError::Taken("grant"))), "{taken:?}");
    let overtaken = overtaken.await.expect("no panic").expect("answers");
    assert_eq!(overtaken, Changed::Overtaken);
    assert_eq!(store.keys(&server()).await.expect("reads"), []);
    assert_eq!(store.grant(&grant_id("b39")).await.expect("reads"), Some(grant("b39")));
    assert_eq!(commits(&path) - before, 1);

    // One after the other, each has its own.
    for number in 0..3 {
        store.insert_grant(&grant(&format!("c{number}"))).await.expect("writes");
    }
    assert_eq!(commits(&path) - before, 4);
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_any_more_harms_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    let given_up = {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant("a")).await })
    };
    let kept = {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant("b")).await })
    };
    tokio::task::yield_now().await;
    given_up.abort();
    kept.await.expect("no panic").expect("writes");
    assert_eq!(store.grant(&grant_id("b")).await.expect("reads"), Some(grant("b")));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    let last = {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant("a")).await })
    };
    tokio::task::yield_now().await;
    store.close().await;
    last.await.expect("no panic").expect("what was asked before is done");
    let late = store.insert_grant(&grant("b")).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    assert!(!path.with_extension("db-wal").exists(), "the log is merged");
}

/// `cargo test --release -- --ignored --nocapture durable_rotations`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: what it says depends on the disk and on who else uses it"]
#[expect(clippy::disallowed_methods, reason = "measures the machine")]
async fn thirty_two_callers_make_five_thousand_durable_rotations_a_second() {
    const CALLERS: u32 = 32;
    const ROTATIONS: u32 = 500;
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let id = grant_id(&format!("g{caller}"));
        let grant = GrantRecord {
            id: id.clone(),
            ..grant("g")
        };
        store.insert_grant(&grant).await.expect("writes");
    }
    let start = std::time::Instant::now();
    for caller in 0..CALLERS {
        let store = store.clone();
        callers.push(tokio::spawn(async move {
            let id = grant_id(&format!("g{caller}"));
            for from in 0..ROTATIONS {
                let rotation = Rotation {
                    id: &id,
                    from,
                    at: at(200),
                    idle_expires_at: at(1_000),
                };
                let rotated = store.rotate_grant(&rotation).await.expect("writes");
                assert!(matches!(rotated, Rotated::Done(_)));
            }
        }));
    }
    for caller in callers {
        caller.await.expect("no panic");
    }
    let rate = f64::from(CALLERS * ROTATIONS) / start.elapsed().as_secs_f64();
    println!("{rate:.0} durable rotations a second");
    assert!(rate >= 5_000.0);
}
