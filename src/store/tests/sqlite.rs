//! What is particular to SQLite.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::audit::AuditKind;
use crate::oauth::keyring::KeyState;
use crate::store::sqlite::SqliteStore;
use crate::store::tests::{event, key, server, token};
use crate::store::{Changed, Cursor, KeyChange, Store, StoreError};

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.connect().await.expect("opens")
}

async fn execute(path: &Path, statements: &'static str) {
    let mut connection = connect(path).await;
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .expect("executes");
    connection.close().await.expect("closes");
}

async fn number(path: &Path, query: &'static str) -> i64 {
    let mut connection = connect(path).await;
    sqlx::query_scalar(query)
        .fetch_one(&mut connection)
        .await
        .expect("reads")
}

#[tokio::test]
async fn case_153_what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    let insert = [KeyChange::Insert(key("a", KeyState::Active))];
    assert_eq!(
        store.change_keys(&server(), &insert, &[]).await.expect("writes"),
        Changed::Done
    );
    store
        .revoke(&token("t", 100), &event(AuditKind::TokenRevoked, None))
        .await
        .expect("writes");
    // No close: the log is not merged, as after a kill.
    let again = SqliteStore::open(&path).await.expect("opens");
    assert_eq!(
        again.keys(&server()).await.expect("reads"),
        [key("a", KeyState::Active)]
    );
    assert_eq!(
        again.revocations_after(Cursor::default(), 9).await.expect("reads")[0].1,
        token("t", 100)
    );
    store.close().await;
}

#[tokio::test]
async fn attack_g02_the_database_is_synced_at_each_commit_and_logs_ahead() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    let [journal_mode, synchronous, foreign_keys] = store.writer_settings().await.expect("reads");
    assert_eq!((&*journal_mode, &*synchronous, &*foreign_keys), ("wal", "2", "1"));
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    store.close().await;
    execute(&path, "INSERT INTO schema_step (step) VALUES (99)").await;
    let error = SqliteStore::open(&path).await.expect_err("refused");
    assert!(
        matches!(error, StoreError::NewerSchema { found: 99, known: 3 }),
        "{error}"
    );
}

#[tokio::test]
async fn two_nodes_that_start_at_once_migrate_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { SqliteStore::open(&path).await.map(|_| ()) })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("opens");
    }
    assert_eq!(number(&path, "SELECT COUNT(*) FROM schema_step").await, 3);
}
