//! The audit log in SQLite: the chain, and the denials beside it.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::audit::{AuditEntry, AuditEvent, AuditKind, AuditTarget, ChainEnd};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::revocation::Revocation;
use crate::store::objects::{AuditQuery, AuditStore};
use crate::store::sqlite::rows::{bytes32, json, optional_parsed, time, word};
use crate::store::sqlite::{SqliteStore, keep_revocation};
use crate::store::{AUDIT_DENIALS_MAX, StoreError, StoreFuture};

const INSERT_ENTRY: &str = "INSERT INTO audit_entry
    (at, kind, server, client, error_id, actor, target_kind, target_id, detail, sequence, previous, hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const INSERT_DENIAL: &str = "INSERT INTO audit_denial
    (at, kind, server, client, error_id, actor, target_kind, target_id, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id";

const ENTRIES_ASCENDING: &str = "SELECT * FROM audit_entry
    WHERE sequence > ?1 AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2)))
    AND (?3 IS NULL OR at >= ?3) AND (?4 IS NULL OR at < ?4) ORDER BY sequence LIMIT ?5";

const ENTRIES_DESCENDING: &str = "SELECT * FROM audit_entry
    WHERE sequence < ?1 AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2)))
    AND (?3 IS NULL OR at >= ?3) AND (?4 IS NULL OR at < ?4) ORDER BY sequence DESC LIMIT ?5";

/// What goes with a change, in its transaction: the facts, and the records of it.
pub(super) async fn attest(
    connection: &mut SqliteConnection,
    revocations: &[Revocation],
    audit: &[AuditEvent],
) -> Result<(), StoreError> {
    for revocation in revocations {
        keep_revocation(connection, revocation).await?;
    }
    chain(connection, audit).await
}

/// Appends durable records to the chain. The write lock is held, so nobody else appends meanwhile.
pub(super) async fn chain(connection: &mut SqliteConnection, events: &[AuditEvent]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let last = sqlx::query("SELECT sequence, hash FROM audit_entry ORDER BY sequence DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await?;
    let mut end = match last {
        Some(row) => ChainEnd {
            sequence: row.try_get("sequence")?,
            hash: bytes32(&row, "hash")?,
        },
        None => ChainEnd::default(),
    };
    for event in events {
        let entry = AuditEntry::following(end.sequence, end.hash, event.clone());
        bind_event(sqlx::query(INSERT_ENTRY), event)
            .bind(entry.sequence)
            .bind(&entry.previous[..])
            .bind(&entry.hash[..])
            .execute(&mut *connection)
            .await?;
        end = ChainEnd {
            sequence: entry.sequence,
            hash: entry.hash,
        };
    }
    Ok(())
}

/// Keeps denials, and as many of them as are to be kept: whoever is refused in a loop does not fill the disk.
pub(super) async fn deny(connection: &mut SqliteConnection, events: &[AuditEvent]) -> Result<(), StoreError> {
    let mut last = 0_i64;
    for event in events {
        let row = bind_event(sqlx::query(INSERT_DENIAL), event)
            .fetch_one(&mut *connection)
            .await?;
        last = row.try_get("id")?;
    }
    sqlx::query("DELETE FROM audit_denial WHERE id <= ?")
        .bind(last - i64::from(AUDIT_DENIALS_MAX))
        .execute(connection)
        .await?;
    Ok(())
}

/// Moves the durable records of the table of step 1 into the chain, and drops the table.
pub(super) async fn chain_records_of_step_1(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    const PART: usize = 1000;
    let mut after = 0_i64;
    loop {
        let rows = sqlx::query(
            "SELECT id, at, kind, server, client, error_id, NULL AS actor, NULL AS target_kind, NULL AS target_id, detail
             FROM audit WHERE id > ? ORDER BY id LIMIT 1000",
        )
        .bind(after)
        .fetch_all(&mut *connection)
        .await?;
        let events: Result<Vec<_>, _> = rows.iter().map(audit_event).collect();
        chain(connection, &events?).await?;
        match rows.last() {
            Some(row) if rows.len() == PART => after = row.try_get("id")?,
            _ => break,
        }
    }
    sqlx::query("DROP TABLE audit").execute(connection).await?;
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_event<'q>(query: Query<'q>, event: &'q AuditEvent) -> Query<'q> {
    query
        .bind(event.at.unix_seconds())
        .bind(event.kind.as_str())
        .bind(event.server.as_ref().map(AuthorizationServerId::as_str))
        .bind(event.client.as_ref().map(ClientId::as_str))
        .bind(event.error_id.as_deref())
        .bind(event.actor.as_deref())
        .bind(event.target.as_ref().map(|target| target.kind.as_str()))
        .bind(event.target.as_ref().map(|target| target.id.as_str()))
        .bind(event.detail.to_string())
}

fn audit_event(row: &SqliteRow) -> Result<AuditEvent, StoreError> {
    let target: (Option<String>, Option<String>) = (row.try_get("target_kind")?, row.try_get("target_id")?);
    Ok(AuditEvent {
        at: time(row, "at")?,
        kind: word(row, "kind", AuditKind::parse)?,
        server: optional_parsed(row, "server", AuthorizationServerId::parse)?,
        client: optional_parsed(row, "client", ClientId::parse)?,
        error_id: row.try_get("error_id")?,
        actor: row.try_get("actor")?,
        target: match target {
            (Some(kind), Some(id)) => Some(AuditTarget { kind, id }),
            _ => None,
        },
        detail: json(row, "detail")?,
    })
}

fn audit_entry(row: &SqliteRow) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        sequence: row.try_get("sequence")?,
        event: audit_event(row)?,
        previous: bytes32(row, "previous")?,
        hash: bytes32(row, "hash")?,
    })
}

impl SqliteStore {
    pub(super) fn events_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>> {
        Box::pin(async move {
            let mut rows = sqlx::query("SELECT * FROM audit_denial WHERE error_id = ? ORDER BY id")
                .bind(error_id)
                .fetch_all(&self.readers)
                .await?;
            let durable = sqlx::query("SELECT * FROM audit_entry WHERE error_id = ? ORDER BY sequence")
                .bind(error_id)
                .fetch_all(&self.readers)
                .await?;
            rows.extend(durable);
            rows.iter().map(audit_event).collect()
        })
    }
}

impl AuditStore for SqliteStore {
    fn audit_entries<'a>(&'a self, query: &'a AuditQuery) -> StoreFuture<'a, Vec<AuditEntry>> {
        Box::pin(async move {
            let (statement, after) = match (query.descending, query.after) {
                (false, after) => (ENTRIES_ASCENDING, after),
                (true, 0) => (ENTRIES_DESCENDING, i64::MAX),
                (true, after) => (ENTRIES_DESCENDING, after),
            };
            let kinds = (!query.kinds.is_empty()).then(|| super::rows::list(&query.kinds));
            let rows = sqlx::query(statement)
                .bind(after)
                .bind(kinds)
                .bind(query.since.map(crate::model::time::Timestamp::unix_seconds))
                .bind(query.until.map(crate::model::time::Timestamp::unix_seconds))
                .bind(query.limit)
                .fetch_all(&self.readers)
                .await?;
            rows.iter().map(audit_entry).collect()
        })
    }
}
