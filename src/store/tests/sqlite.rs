//! What is particular to SQLite.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::audit::{self, AuditKind, ChainBreak};
use crate::oauth::keyring::KeyState;
use crate::store::grants::{GrantStore as _, Rotated, Rotation};
use crate::store::objects::{AuditQuery, AuditStore as _};
use crate::store::sqlite::SqliteStore;
use crate::store::tests::grants::{grant, grant_id};
use crate::store::tests::{at, event, key, server, token};
use crate::store::{AUDIT_DENIALS_MAX, Changed, Cursor, KeyChange, Store, StoreError};

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

#[tokio::test]
async fn only_the_newest_denials_are_kept_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    store
        .append_audit(&[event(AuditKind::AccessDenied, Some("old"))])
        .await
        .expect("writes");
    store.close().await;
    execute(
        &path,
        "INSERT INTO audit_denial (at, kind, error_id, detail)
         WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)
         SELECT 1, 'app.oauth2.as.authorize', NULL, 'null' FROM number",
    )
    .await;
    let store = SqliteStore::open(&path).await.expect("opens");
    assert_eq!(store.audit_of_error("old").await.expect("reads").len(), 1);
    store
        .append_audit(&[event(AuditKind::AccessDenied, Some("new"))])
        .await
        .expect("writes");
    assert_eq!(store.audit_of_error("old").await.expect("reads"), []);
    assert_eq!(store.audit_of_error("new").await.expect("reads").len(), 1);
    assert_eq!(
        number(&path, "SELECT COUNT(*) FROM audit_denial").await,
        i64::from(AUDIT_DENIALS_MAX)
    );
}

#[tokio::test]
async fn a_database_of_step_1_keeps_what_it_holds_and_its_records_are_chained() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    std::fs::File::create(&path).expect("made");
    execute(
        &path,
        include_str!("../../../migrations/sqlite/0001_keys_revocations_audit.sql"),
    )
    .await;
    execute(
        &path,
        r#"CREATE TABLE schema_step (step INTEGER PRIMARY KEY) STRICT;
        INSERT INTO schema_step VALUES (1);
        INSERT INTO revocation (kind, server, name, since, expires_at) VALUES ('token', 'transfers', 't', 100, 220);
        INSERT INTO audit (at, kind, server, client, error_id, detail)
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2500)
        SELECT n, CASE n % 5 WHEN 0 THEN 'app.oauth2.as.authorize' ELSE 'app.oauth2.as.token.revoke' END,
               'transfers', NULL, 'e-' || n, '{"reason":"r","share":0.1}' FROM number;"#,
    )
    .await;
    let store = SqliteStore::open(&path).await.expect("opens");
    let query = AuditQuery {
        limit: 9999,
        ..AuditQuery::default()
    };
    let entries = store.audit_entries(&query).await.expect("reads");
    assert_eq!(entries.len(), 2000);
    assert_eq!(entries[4].event.error_id.as_deref(), Some("e-6"));
    assert_eq!(entries[4].event.at, at(6));
    let end = audit::verify(&entries).expect("whole");
    assert_eq!(
        store.audit_of_error("e-10").await.expect("reads")[0].kind,
        AuditKind::AccessDenied
    );
    let facts = store.revocations_after(Cursor::default(), 9).await.expect("reads");
    assert_eq!(facts[0].1, token("t", 100));
    store
        .revoke(&token("u", 100), &event(AuditKind::TokenRevoked, None))
        .await
        .expect("writes");
    let after = AuditQuery {
        after: end.sequence,
        ..query
    };
    let later = store.audit_entries(&after).await.expect("reads");
    assert_eq!(end.follow(&later).map(|end| end.sequence), Ok(2001));
}

#[tokio::test]
async fn case_155_the_file_refuses_to_change_its_log_and_the_chain_shows_who_does_it_anyway() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    for jti in ["a", "b", "c", "d"] {
        store
            .revoke(&token(jti, 100), &event(AuditKind::TokenRevoked, None))
            .await
            .expect("writes");
    }
    let mut connection = connect(&path).await;
    for statement in [
        "UPDATE audit_entry SET actor = 'x'",
        "DELETE FROM audit_entry WHERE sequence = 4",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&mut connection).await;
        assert!(
            refused.is_err_and(|error| error.to_string().contains("append-only")),
            "{statement}"
        );
    }
    let forge = "DROP TRIGGER audit_entry_stays; UPDATE audit_entry SET actor = 'nobody' WHERE sequence = 2";
    sqlx::raw_sql(forge)
        .execute(&mut connection)
        .await
        .expect("the owner of the file can");
    let query = AuditQuery {
        limit: 9,
        ..AuditQuery::default()
    };
    let entries = store.audit_entries(&query).await.expect("reads");
    assert_eq!(audit::verify(&entries), Err(ChainBreak::Changed(2)));
}

#[tokio::test]
async fn every_table_is_strict_and_none_has_a_row_for_each_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    let loose = "SELECT COUNT(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict
                 AND name NOT LIKE 'sqlite_%'";
    assert_eq!(number(&path, loose).await, 0);
    // However often a grant is used, it is one row, and no other row comes of it.
    store.insert_grant(&grant("g1")).await.expect("writes");
    let rows = "SELECT (SELECT COUNT(*) FROM oauth_grant) + (SELECT COUNT(*) FROM one_time)
                + (SELECT COUNT(*) FROM seen) + (SELECT COUNT(*) FROM audit_entry) + (SELECT COUNT(*) FROM revocation)";
    for from in 0..20 {
        let rotation = Rotation {
            id: &grant_id("g1"),
            from,
            at: at(200),
            idle_expires_at: at(1_000),
        };
        let rotated = store.rotate_grant(&rotation).await.expect("writes");
        assert!(matches!(rotated, Rotated::Done(_)));
        assert_eq!(number(&path, rows).await, 1);
    }
}

#[tokio::test]
async fn what_is_looked_up_has_an_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    store.close().await;
    let mut connection = connect(&path).await;
    for statement in SqliteStore::statements_that_look_up() {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
            .fetch_all(&mut connection)
            .await
            .expect("explains");
        for row in rows {
            let step: String = sqlx::Row::get(&row, "detail");
            // What is read through is the list of those who ask, never a table.
            let reads_a_table = step.starts_with("SCAN") && !step.starts_with("SCAN json_each");
            assert!(!reads_a_table, "{statement}: {step}");
        }
    }
}
