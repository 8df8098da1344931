//! One suite for every store, and what is particular to SQLite.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::{AuditEvent, AuditKind};
use crate::jose::alg::Algorithm;
use crate::model::id::{AuthorizationServerId, ClientId, Jti, Kid, Subject};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::keyring::{KeyRecord, KeyState};
use crate::revocation::Revocation;
use crate::store::memory::MemoryStore;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Changed, Cursor, KeyChange, Store, StoreError, StoredKey};

pub(crate) mod postgres;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn server() -> AuthorizationServerId {
    AuthorizationServerId::parse("transfers").expect("valid")
}

fn key(kid: &str, state: KeyState) -> StoredKey {
    StoredKey {
        record: KeyRecord {
            kid: Kid::parse(kid).expect("valid"),
            algorithm: Algorithm::Es256,
            state,
            created_at: at(10),
            entered_at: at(10),
            lifetime_max: Duration::from_secs(600),
        },
        sealed: vec![1, 2, 3],
    }
}

fn event(kind: AuditKind, error_id: Option<&str>) -> AuditEvent {
    AuditEvent {
        at: at(20),
        kind,
        server: Some(server()),
        client: Some(ClientId::parse("it's \"quoted\"; DROP TABLE audit;--").expect("valid")),
        error_id: error_id.map(str::to_owned),
        actor: None,
        target: None,
        detail: json!({ "reason": "no_matching_policy" }),
    }
}

fn token(jti: &str, until: i64) -> Revocation {
    Revocation::Token {
        server: server(),
        jti: Jti::parse(jti).expect("valid"),
        until: at(until),
    }
}

/// Each store, with what keeps its files there.
async fn stores() -> Vec<(&'static str, Arc<dyn Store>, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    let password = Secret::new(postgres::PASSWORD.to_owned());
    let postgres = PostgresStore::open(&postgres::database().url, Some(&password))
        .await
        .expect("opens");
    vec![
        ("memory", Arc::new(MemoryStore::new()), None),
        ("sqlite", Arc::new(sqlite), Some(folder)),
        ("postgres", Arc::new(postgres), None),
    ]
}

async fn states(store: &dyn Store) -> Vec<(String, KeyState)> {
    let keys = store.keys(&server()).await.expect("reads");
    let mut states: Vec<_> = keys
        .iter()
        .map(|key| (key.record.kid.to_string(), key.record.state))
        .collect();
    states.sort();
    states
}

#[tokio::test]
async fn keys_change_all_together_or_not_at_all() {
    for (name, store, _folder) in stores().await {
        let insert = [
            KeyChange::Insert(key("a", KeyState::Active)),
            KeyChange::Insert(key("b", KeyState::Next)),
        ];
        assert_eq!(
            store.change_keys(&server(), &insert, &[]).await.expect("writes"),
            Changed::Done,
            "{name}"
        );
        assert_eq!(
            store.keys(&server()).await.expect("reads")[0],
            key("a", KeyState::Active),
            "{name}"
        );
        let enter = |kid: &str, from, to| KeyChange::Enter {
            kid: Kid::parse(kid).expect("valid"),
            from,
            to,
            at: at(99),
        };
        let rotate = [
            enter("a", KeyState::Active, KeyState::Expired),
            enter("b", KeyState::Next, KeyState::Active),
            KeyChange::Insert(key("c", KeyState::Next)),
        ];
        assert_eq!(
            store.change_keys(&server(), &rotate, &[]).await.expect("writes"),
            Changed::Done,
            "{name}"
        );
        let rotated = states(&*store).await;
        assert_eq!(
            rotated,
            [
                ("a".to_owned(), KeyState::Expired),
                ("b".to_owned(), KeyState::Active),
                ("c".to_owned(), KeyState::Next)
            ],
            "{name}"
        );
        // A second node that decided upon the same state comes too late, and changes nothing.
        let late = [
            KeyChange::Insert(key("d", KeyState::Next)),
            enter("a", KeyState::Active, KeyState::Expired),
        ];
        assert_eq!(
            store.change_keys(&server(), &late, &[]).await.expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        let second_active = [KeyChange::Insert(key("e", KeyState::Active))];
        assert_eq!(
            store
                .change_keys(&server(), &second_active, &[])
                .await
                .expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        let promoted = [enter("c", KeyState::Next, KeyState::Active)];
        assert_eq!(
            store.change_keys(&server(), &promoted, &[]).await.expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        let remove = [KeyChange::Remove {
            kid: Kid::parse("a").expect("valid"),
            from: KeyState::Next,
        }];
        assert_eq!(
            store.change_keys(&server(), &remove, &[]).await.expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        assert_eq!(states(&*store).await, rotated, "{name}");
    }
}

#[tokio::test]
async fn the_longest_lifetime_only_grows_and_only_for_keys_that_may_sign() {
    for (name, store, _folder) in stores().await {
        let insert = [
            KeyChange::Insert(key("a", KeyState::Active)),
            KeyChange::Insert(key("b", KeyState::Next)),
            KeyChange::Insert(key("c", KeyState::Expired)),
        ];
        assert_eq!(
            store.change_keys(&server(), &insert, &[]).await.expect("writes"),
            Changed::Done
        );
        for lifetime in [900, 60] {
            store
                .raise_lifetime(&server(), Duration::from_secs(lifetime))
                .await
                .expect("writes");
        }
        let keys = store.keys(&server()).await.expect("reads");
        let lifetimes: Vec<u64> = keys.iter().map(|key| key.record.lifetime_max.as_secs()).collect();
        assert_eq!(lifetimes, [900, 900, 600], "{name}");
    }
}

#[tokio::test]
async fn attack_f45_revocations_of_every_kind_read_back_whatever_their_names() {
    let odd = "'; DROP TABLE revocation; -- \u{fffd}\u{202e}";
    let all = [
        token(odd, 100),
        Revocation::Session {
            server: server(),
            session: odd.to_owned(),
            before: at(1),
        },
        Revocation::Subject {
            server: None,
            subject: Subject::parse(odd).expect("valid"),
            before: at(2),
        },
        Revocation::Subject {
            server: Some(server()),
            subject: Subject::parse(odd).expect("valid"),
            before: at(3),
        },
        Revocation::Client {
            client: ClientId::parse(odd).expect("valid"),
            before: at(4),
        },
        Revocation::Key {
            server: server(),
            kid: Kid::parse(odd).expect("valid"),
        },
        Revocation::Server {
            server: server(),
            before: at(5),
        },
    ];
    for (name, store, _folder) in stores().await {
        for revocation in &all {
            store
                .revoke(revocation, &event(AuditKind::TokenRevoked, None))
                .await
                .expect("writes");
        }
        let read = store.revocations_after(Cursor::default(), 100).await.expect("reads");
        let facts: Vec<_> = read.iter().map(|(_, fact)| fact.clone()).collect();
        assert_eq!(facts, all, "{name}");
        let rest = store.revocations_after(read[4].0, 1).await.expect("reads");
        assert_eq!(rest, [read[5].clone()], "{name}");
    }
}

#[tokio::test]
async fn a_fact_told_again_takes_no_second_row_never_weakens_and_is_seen_by_who_reads_on() {
    let dead = |before| Revocation::Server {
        server: server(),
        before: at(before),
    };
    for (name, store, _folder) in stores().await {
        let audit = event(AuditKind::TokenRevoked, None);
        let first = store.revoke(&dead(50), &audit).await.expect("writes");
        let second = store.revoke(&dead(20), &audit).await.expect("writes");
        assert!(second > first, "{name}");
        let read = store.revocations_after(first, 100).await.expect("reads");
        assert_eq!(read, [(second, dead(50))], "{name}");
        assert_eq!(
            store
                .revocations_after(Cursor::default(), 100)
                .await
                .expect("reads")
                .len(),
            1,
            "{name}"
        );
    }
}

#[tokio::test]
async fn pruning_forgets_what_can_kill_nothing_any_more() {
    for (name, store, _folder) in stores().await {
        let audit = event(AuditKind::TokenRevoked, None);
        store.revoke(&token("short", 1000), &audit).await.expect("writes");
        store.revoke(&token("long", 5000), &audit).await.expect("writes");
        store
            .revoke(
                &Revocation::Key {
                    server: server(),
                    kid: Kid::parse("k").expect("valid"),
                },
                &audit,
            )
            .await
            .expect("writes");
        assert_eq!(store.prune(at(1119)).await.expect("prunes"), 0, "{name}");
        assert_eq!(store.prune(at(1120)).await.expect("prunes"), 1, "{name}");
        let read = store.revocations_after(Cursor::default(), 100).await.expect("reads");
        assert_eq!(read[0].1, token("long", 5000), "{name}");
        assert_eq!(read.len(), 2, "{name}");
    }
}

#[tokio::test]
async fn an_error_id_leads_to_its_audit_record() {
    for (name, store, _folder) in stores().await {
        let denied = event(AuditKind::AccessDenied, Some("e-1"));
        let other = event(AuditKind::AccessDenied, Some("e-2"));
        store.append_audit(&[denied.clone(), other]).await.expect("writes");
        assert_eq!(store.audit_of_error("e-1").await.expect("reads"), [denied], "{name}");
        assert_eq!(
            store.audit_of_error("e-1' OR '1'='1").await.expect("reads"),
            [],
            "{name}"
        );
    }
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
async fn the_database_is_synced_at_each_commit_and_logs_ahead() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    let pragma = |text: &'static str| {
        let pool = store.pool();
        async move {
            let value: String = sqlx::query_scalar(text).fetch_one(&pool).await.expect("reads");
            value
        }
    };
    assert_eq!(pragma("SELECT journal_mode FROM pragma_journal_mode").await, "wal");
    assert_eq!(
        pragma("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous").await,
        "2"
    );
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    sqlx::query("INSERT INTO schema_step (step) VALUES (99)")
        .execute(&store.pool())
        .await
        .expect("writes");
    store.close().await;
    let error = SqliteStore::open(&path).await.expect_err("refused");
    assert!(
        matches!(error, StoreError::NewerSchema { found: 99, known: 1 }),
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
    let store = SqliteStore::open(&path).await.expect("opens");
    let steps: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM schema_step")
        .fetch_one(&store.pool())
        .await
        .expect("reads");
    assert_eq!(steps, 1);
}
