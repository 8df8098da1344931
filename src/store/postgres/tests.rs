//! What is particular to PostgreSQL: several nodes at once. What every store does is in `store/tests`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::audit::{AuditEvent, AuditKind};
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, Jti, Subject};
use crate::model::scope::ScopeSet;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::refresh::GrantRecord;
use crate::revocation::Revocation;
use crate::store::grants::{GrantStore as _, OneTime, OneTimeKind, ReplayPurpose, Rotated, Rotation, Used};
use crate::store::objects::{AuditQuery, AuditStore as _, ObjectChange, ObjectKind, ObjectStore as _, StoredObject};
use crate::store::postgres::PostgresStore;
use crate::store::tests::postgres::{Cluster, Database, PASSWORD, database};
use crate::store::{Changed, Cursor, Store as _, StoreError};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn server() -> AuthorizationServerId {
    AuthorizationServerId::parse("transfers").expect("valid")
}

async fn open(database: &Database) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(&database.url, Some(&Secret::new(PASSWORD.to_owned()))).await
}

/// Two nodes on one database.
async fn nodes() -> [PostgresStore; 2] {
    let database = database();
    [
        open(&database).await.expect("opens"),
        open(&database).await.expect("opens"),
    ]
}

fn event() -> AuditEvent {
    AuditEvent {
        at: at(20),
        kind: AuditKind::TokenRevoked,
        server: Some(server()),
        client: None,
        error_id: None,
        actor: None,
        target: None,
        detail: json!({}),
    }
}

fn token(jti: &str) -> Revocation {
    Revocation::Token {
        server: server(),
        jti: Jti::parse(jti).expect("valid"),
        until: at(1000),
    }
}

fn grant(id: &str) -> GrantRecord {
    GrantRecord {
        id: GrantId::parse(id).expect("valid"),
        server: server(),
        client: ClientId::parse("mobile").expect("valid"),
        user: None,
        subject: Subject::parse("anna").expect("valid"),
        scopes: ScopeSet::parse("a b").expect("valid"),
        resources: Vec::new(),
        auth_time: at(1),
        amr: vec!["pwd".to_owned()],
        acr: None,
        binding: None,
        created_at: at(1),
        expires_at: at(1000),
        generation: 0,
        rotated_at: at(1),
        idle_expires_at: at(900),
        revoked_at: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_g08_of_nodes_that_start_at_once_one_migrates() {
    let database = database();
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move { open(&database).await })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("opens").close().await;
    }
    let store = open(&database).await.expect("opens");
    let steps: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM schema_step")
        .fetch_one(&store.pool())
        .await
        .expect("reads");
    assert_eq!(steps, 1);
}

#[tokio::test]
async fn attack_g08_a_database_of_a_newer_version_is_refused_and_left_alone() {
    let database = database();
    let store = open(&database).await.expect("opens");
    sqlx::query("INSERT INTO schema_step (step) VALUES (99)")
        .execute(&store.pool())
        .await
        .expect("writes");
    let error = open(&database).await.expect_err("refused");
    assert!(
        matches!(error, StoreError::NewerSchema { found: 99, known: 1 }),
        "{error}"
    );
}

#[tokio::test]
async fn commits_are_durable_though_the_server_would_not_make_them_so() {
    let [store, _] = nodes().await;
    let setting = |name: &'static str| {
        let pool = store.pool();
        async move {
            let value: String = sqlx::query_scalar("SELECT current_setting($1)")
                .bind(name)
                .fetch_one(&pool)
                .await
                .expect("reads");
            value
        }
    };
    let servers: String = sqlx::query_scalar("SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'")
        .fetch_one(&store.pool())
        .await
        .expect("reads");
    assert_eq!(servers, "off", "the tests' server is the one that proves something");
    assert_eq!(setting("synchronous_commit").await, "on");
    assert_eq!(setting("statement_timeout").await, "5s");
    assert_eq!(setting("lock_timeout").await, "4s");
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_g08_of_a_hundred_rotations_on_two_nodes_one_is_done() {
    let nodes = nodes().await;
    nodes[0].insert_grant(&grant("g-1")).await.expect("writes");
    let rotations: Vec<_> = (0..100)
        .map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                let id = GrantId::parse("g-1").expect("valid");
                let rotation = Rotation {
                    id: &id,
                    from: 0,
                    at: at(50),
                    idle_expires_at: at(500),
                };
                node.rotate_grant(&rotation).await.expect("answers")
            })
        })
        .collect();
    let mut done = 0;
    for rotation in rotations {
        match rotation.await.expect("no panic") {
            Rotated::Done(grant) => {
                assert_eq!(grant.generation, 1);
                done += 1;
            }
            Rotated::Overtaken(grant) => assert_eq!(grant.generation, 1),
            Rotated::Unknown => panic!("the grant is there"),
        }
    }
    assert_eq!(done, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_154_what_was_shown_on_one_node_is_a_replay_on_every_other() {
    let nodes = nodes().await;
    for round in 0..10_u8 {
        let shown: Vec<_> = (0..20)
            .map(|number| {
                let node = nodes[number % 2].clone();
                let digest = Digest::of(&[round]);
                tokio::spawn(async move {
                    let purpose = ReplayPurpose::ClientAssertion;
                    node.first_use(purpose, &digest, at(100)).await.expect("answers")
                })
            })
            .collect();
        let mut first = 0;
        for show in shown {
            first += u32::from(show.await.expect("no panic"));
        }
        assert_eq!(first, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_154_a_code_that_is_redeemed_on_two_nodes_at_once_gives_one_grant() {
    let nodes = nodes().await;
    let digest = Digest::of(b"code");
    let code = OneTime {
        kind: OneTimeKind::AuthorizationCode,
        digest,
        expires_at: at(100),
        payload: json!({ "nul": "\u{0}" }),
        used_by: None,
    };
    nodes[0].put_one_time(&code).await.expect("writes");
    let uses: Vec<_> = (0..20)
        .map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                let grant = grant(&format!("g-{number}"));
                let used = node
                    .use_one_time(OneTimeKind::AuthorizationCode, &digest, &grant.id, Some(&grant))
                    .await
                    .expect("answers");
                (used, grant.id)
            })
        })
        .collect();
    let (mut winners, mut told) = (BTreeSet::new(), BTreeSet::new());
    for used in uses {
        match used.await.expect("no panic") {
            (Used::First(thing), id) => {
                assert_eq!(thing.payload, code.payload);
                winners.insert(id);
            }
            (Used::Again(by), _) => {
                told.insert(by);
            }
            (Used::Unknown, _) => panic!("the code is there"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(told, winners);
    let grants: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM issued_grant")
        .fetch_one(&nodes[0].pool())
        .await
        .expect("reads");
    assert_eq!(grants, 1);
}

/// A reader that goes on from the last cursor while many write: it sees each fact, though transactions overlap.
#[tokio::test(flavor = "multi_thread")]
async fn case_154_who_reads_on_while_others_commit_misses_no_revocation() {
    const WRITERS: usize = 8;
    const EACH: usize = 15;
    let nodes = nodes().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let node = nodes[writer % 2].clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    let fact = token(&format!("{writer}-{number}"));
                    node.revoke(&fact, &event()).await.expect("writes");
                }
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    let mut cursor = Cursor::default();
    let mut is_over = false;
    loop {
        let page = nodes[0].revocations_after(cursor, 1000).await.expect("reads");
        for (place, fact) in page {
            assert!(place > cursor);
            cursor = place;
            seen.insert(format!("{fact:?}"));
        }
        if is_over {
            break;
        }
        is_over = writers.iter().all(tokio::task::JoinHandle::is_finished);
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    assert_eq!(seen.len(), WRITERS * EACH);
    // And the audit log has one entry for each, in one unbroken chain.
    let query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    let entries = nodes[1].audit_entries(&query).await.expect("reads");
    assert_eq!(entries.len(), WRITERS * EACH);
    crate::audit::verify(&entries).expect("an unbroken chain");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_two_nodes_change_at_once_in_either_order_end_with_one_winner_each() {
    let nodes = nodes().await;
    let object = |id: &str| StoredObject {
        kind: ObjectKind::Client,
        id: id.to_owned(),
        revision: 1,
        body: json!(0),
        created_at: at(1),
        updated_at: at(1),
    };
    let insert = [ObjectChange::Insert(object("a")), ObjectChange::Insert(object("b"))];
    assert_eq!(
        nodes[0].change_objects(&insert, &[], &[]).await.expect("writes"),
        Changed::Done
    );
    for from in 1..=20 {
        let both = |first: &str, second: &str| {
            [first, second].map(|id| ObjectChange::Replace {
                kind: ObjectKind::Client,
                id: id.to_owned(),
                from,
                body: json!(from),
                at: at(2),
            })
        };
        let (forth, back) = (both("a", "b"), both("b", "a"));
        let events = [event()];
        let (one, other) = tokio::join!(
            nodes[0].change_objects(&forth, &[], &events),
            nodes[1].change_objects(&back, &[], &events)
        );
        let outcomes = [one.expect("answers"), other.expect("answers")];
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Changed::Done).count(), 1);
    }
    assert_eq!(nodes[0].objects_generation().await.expect("reads"), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_153_what_was_acknowledged_is_there_after_the_server_crashed_and_the_pool_goes_on() {
    let cluster = Arc::new(std::sync::Mutex::new(Cluster::start()));
    let database = cluster.lock().expect("free").database();
    let store = open(&database).await.expect("opens");
    store.revoke(&token("kept"), &event()).await.expect("writes");
    cluster.lock().expect("free").stop();
    let patience = std::time::Duration::from_secs(15);
    let answer = tokio::time::timeout(patience, store.revoke(&token("lost"), &event())).await;
    let error = answer.expect("it does not hang").expect_err("away");
    assert!(matches!(error, StoreError::Unavailable(_)));
    cluster.lock().expect("free").resume();
    let facts = store.revocations_after(Cursor::default(), 9).await.expect("reads");
    assert_eq!(facts, [(Cursor(1), token("kept"))]);
    store.revoke(&token("later"), &event()).await.expect("writes again");
}

/// A certificate for these names, by an authority of its own; the authority, the certificate and its key in PEM.
fn certificate(names: &[&str]) -> [String; 3] {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority_pem = authority.self_signed(&authority_key).expect("signed").pem();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let issuer = Issuer::from_params(&authority, &authority_key);
    let server = CertificateParams::new(names).expect("parameters");
    let server = server.signed_by(&key, &issuer).expect("signed");
    [authority_pem, server.pem(), key.serialize_pem()]
}

#[tokio::test]
async fn the_server_is_known_by_its_certificate_and_by_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let [authority, own, key] = certificate(&["localhost"]);
    let [another, ..] = certificate(&["localhost"]);
    let cluster = Cluster::start_with(Some((&own, &key)));
    let database = cluster.database();
    let at_host = |host: &str, authority: &str| {
        let file = folder.path().join("authority.pem");
        std::fs::write(&file, authority).expect("written");
        let url = database.url.replace("127.0.0.1", host);
        Database {
            url: format!("{url}?sslmode=verify-full&sslrootcert={}", file.display()),
        }
    };
    let store = open(&at_host("localhost", &authority)).await.expect("opens");
    let is_encrypted: bool = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(&store.pool())
        .await
        .expect("reads");
    assert!(is_encrypted);
    assert!(
        open(&at_host("localhost", &another)).await.is_err(),
        "by another authority"
    );
    assert!(
        open(&at_host("127.0.0.1", &authority)).await.is_err(),
        "for another name"
    );
}
