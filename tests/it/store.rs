//! The store of a process that is killed, and of one whose disk fails.

mod disk;
mod history;

use std::path::Path;
use std::process::{Command, Stdio};

use scopegate::audit::{AuditEvent, AuditKind, ChainEnd};
use scopegate::model::id::{AuthorizationServerId, ClientId, GrantId, Subject, UserId};
use scopegate::model::scope::ScopeSet;
use scopegate::model::time::Timestamp;
use scopegate::oauth::refresh::GrantRecord;
use scopegate::revocation::Revocation;
use scopegate::store::objects::{AuditQuery, AuditStore as _};
use scopegate::store::sqlite::SqliteStore;

/// Names the database to a process that a test starts out of this binary.
const DATABASE: &str = "SCOPEGATE_TEST_DATABASE";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn grant_id(id: &str) -> GrantId {
    GrantId::parse(id).expect("valid")
}

fn server() -> AuthorizationServerId {
    AuthorizationServerId::parse("transfers").expect("valid")
}

fn grant(id: &str) -> GrantRecord {
    GrantRecord {
        id: grant_id(id),
        server: server(),
        client: ClientId::parse("app").expect("valid"),
        user: Some(UserId::parse("u1").expect("valid")),
        subject: Subject::parse("anna").expect("valid"),
        scopes: ScopeSet::parse("transfers:read").expect("valid"),
        resources: Vec::new(),
        auth_time: at(90),
        amr: vec!["pwd".to_owned()],
        acr: None,
        binding: None,
        created_at: at(100),
        expires_at: at(10_000),
        generation: 0,
        rotated_at: at(100),
        idle_expires_at: at(10_000),
        revoked_at: None,
    }
}

fn record(kind: AuditKind, detail: &str) -> AuditEvent {
    AuditEvent {
        at: at(200),
        kind,
        server: Some(server()),
        client: None,
        error_id: None,
        actor: None,
        target: None,
        detail: detail.into(),
    }
}

fn session(id: &GrantId) -> Revocation {
    Revocation::Session {
        server: server(),
        session: id.to_string(),
        before: at(200),
    }
}

/// Follows the audit log from here to its end.
async fn follow(store: &SqliteStore, mut end: ChainEnd) -> ChainEnd {
    loop {
        let query = AuditQuery {
            after: end.sequence,
            limit: 1000,
            ..AuditQuery::default()
        };
        let entries = store.audit_entries(&query).await.expect("reads");
        if entries.is_empty() {
            return end;
        }
        end = end.follow(&entries).expect("the chain is whole");
    }
}

/// This binary, as a process that runs one ignored test on a database.
fn process(test: &str, database: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DATABASE, database)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// What SQLite says of a database file.
async fn integrity(database: &Path) -> String {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.expect("opens");
    let checked = sqlx::query_scalar("PRAGMA integrity_check");
    checked.fetch_one(&mut connection).await.expect("checks")
}
