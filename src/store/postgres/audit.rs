//! The audit log and, apart from it, the denials.

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, QueryBuilder, Row as _, Transaction};

use crate::audit::{AuditEntry, AuditEvent, AuditKind, AuditTarget};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::time::Timestamp;
use crate::store::objects::{AuditQuery, AuditStore};
use crate::store::postgres::{PostgresStore, askable, bounded};
use crate::store::{AUDIT_DENIALS_MAX, PRUNE_ROWS_MAX, StoreError, StoreFuture};

/// Appends to the chain. Its head stays locked until the commit, so this is the last thing that a transaction does.
pub(super) async fn append(
    transaction: &mut Transaction<'static, Postgres>,
    events: &[AuditEvent],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let head = sqlx::query("SELECT sequence, hash FROM audit_head FOR UPDATE")
        .fetch_one(&mut **transaction)
        .await?;
    let (mut sequence, mut hash): (i64, [u8; 32]) = (head.try_get(0)?, digest(&head, "hash")?);
    for event in events {
        let entry = AuditEntry::following(sequence, hash, event.clone());
        (sequence, hash) = (entry.sequence, entry.hash);
        sqlx::query(
            "INSERT INTO audit_entry
             (at, kind, server, client, error_id, actor, target_kind, target_id, detail, sequence, previous, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(event.at.unix_seconds())
        .bind(event.kind.as_str())
        .bind(event.server.as_ref().map(AuthorizationServerId::as_str))
        .bind(event.client.as_ref().map(ClientId::as_str))
        .bind(event.error_id.as_deref())
        .bind(event.actor.as_deref())
        .bind(event.target.as_ref().map(|target| target.kind.as_str()))
        .bind(event.target.as_ref().map(|target| target.id.as_str()))
        .bind(event.detail.to_string())
        .bind(sequence)
        .bind(entry.previous.as_slice())
        .bind(hash.as_slice())
        .execute(&mut **transaction)
        .await?;
    }
    sqlx::query("UPDATE audit_head SET sequence = $1, hash = $2")
        .bind(sequence)
        .bind(hash.as_slice())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Keeps denials, and forgets the oldest beyond their bound.
pub(super) async fn append_denials(
    transaction: &mut Transaction<'static, Postgres>,
    events: &[AuditEvent],
) -> Result<(), StoreError> {
    let mut last: i64 = 0;
    for event in events {
        last = sqlx::query_scalar(
            "INSERT INTO denial (at, kind, server, client, error_id, actor, target_kind, target_id, detail)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
        )
        .bind(event.at.unix_seconds())
        .bind(event.kind.as_str())
        .bind(event.server.as_ref().map(AuthorizationServerId::as_str))
        .bind(event.client.as_ref().map(ClientId::as_str))
        .bind(event.error_id.as_deref())
        .bind(event.actor.as_deref())
        .bind(event.target.as_ref().map(|target| target.kind.as_str()))
        .bind(event.target.as_ref().map(|target| target.id.as_str()))
        .bind(event.detail.to_string())
        .fetch_one(&mut **transaction)
        .await?;
    }
    // What another node is just forgetting is left to it.
    sqlx::query(
        "DELETE FROM denial WHERE id IN
         (SELECT id FROM denial WHERE id <= $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(last - i64::from(AUDIT_DENIALS_MAX))
    .bind(i64::from(PRUNE_ROWS_MAX))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(super) async fn of_error(pool: &PgPool, error_id: &str) -> Result<Vec<AuditEvent>, StoreError> {
    if !askable(error_id) {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT at, kind, server, client, error_id, actor, target_kind, target_id, detail FROM (
             SELECT 0 AS part, id AS place, at, kind, server, client, error_id, actor, target_kind, target_id, detail
             FROM denial WHERE error_id = $1
             UNION ALL
             SELECT 1, sequence, at, kind, server, client, error_id, actor, target_kind, target_id, detail
             FROM audit_entry WHERE error_id = $1
         ) AS both_parts ORDER BY part, place",
    )
    .bind(error_id)
    .fetch_all(pool)
    .await?;
    rows.iter().map(event).collect()
}

impl AuditStore for PostgresStore {
    fn audit_entries<'a>(&'a self, query: &'a AuditQuery) -> StoreFuture<'a, Vec<AuditEntry>> {
        bounded(async move {
            let mut statement = QueryBuilder::<Postgres>::new(
                "SELECT at, kind, server, client, error_id, actor, target_kind, target_id, detail,
                 sequence, previous, hash FROM audit_entry WHERE TRUE",
            );
            if query.after != 0 {
                statement.push(if query.descending {
                    " AND sequence < "
                } else {
                    " AND sequence > "
                });
                statement.push_bind(query.after);
            }
            if !query.kinds.is_empty() {
                let kinds: Vec<String> = query.kinds.iter().filter(|kind| askable(kind)).cloned().collect();
                statement.push(" AND kind = ANY(").push_bind(kinds).push(")");
            }
            if let Some(since) = query.since {
                statement.push(" AND at >= ").push_bind(since.unix_seconds());
            }
            if let Some(until) = query.until {
                statement.push(" AND at < ").push_bind(until.unix_seconds());
            }
            statement.push(if query.descending {
                " ORDER BY sequence DESC LIMIT "
            } else {
                " ORDER BY sequence LIMIT "
            });
            statement.push_bind(i64::from(query.limit));
            let rows = statement.build().fetch_all(&self.pool).await?;
            rows.iter().map(entry).collect()
        })
    }
}

fn entry(row: &PgRow) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        sequence: row.try_get("sequence")?,
        event: event(row)?,
        previous: digest(row, "previous")?,
        hash: digest(row, "hash")?,
    })
}

fn event(row: &PgRow) -> Result<AuditEvent, StoreError> {
    let corrupt = StoreError::Corrupt;
    let server: Option<&str> = row.try_get("server")?;
    let client: Option<&str> = row.try_get("client")?;
    let target = match (row.try_get("target_kind")?, row.try_get("target_id")?) {
        (Some(kind), Some(id)) => Some(AuditTarget { kind, id }),
        (None, None) => None,
        _ => return Err(corrupt("audit target")),
    };
    Ok(AuditEvent {
        at: Timestamp::from_unix_seconds(row.try_get("at")?),
        kind: AuditKind::parse(row.try_get("kind")?).ok_or(corrupt("audit kind"))?,
        server: server
            .map(AuthorizationServerId::parse)
            .transpose()
            .map_err(|_| corrupt("authorization server"))?,
        client: client.map(ClientId::parse).transpose().map_err(|_| corrupt("client"))?,
        error_id: row.try_get("error_id")?,
        actor: row.try_get("actor")?,
        target,
        detail: serde_json::from_str(row.try_get("detail")?).map_err(|_| corrupt("audit detail"))?,
    })
}

/// A column of 32 bytes.
pub(super) fn digest(row: &PgRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt("digest"))
}
