//! PostgreSQL: one store for several nodes.
//!
//! - Every change is one statement that repeats the state it was decided upon, or one transaction. Locks are
//!   taken in one order: users and grants, then the counters (`keys` or `objects`, then `revocations`), then the
//!   head of the audit chain. So no two nodes wait for each other.
//! - Whoever changes keys, objects or revocations moves a counter on whose row stays locked until the commit. A
//!   sequence would hand out numbers that become visible out of order, and a reader that goes on from
//!   the highest would miss the late one.
//! - `synchronous_commit` is on in our sessions, whatever the server's default: an answer is durable.
//! - No call waits for ever: connecting, statements, locks and the call as a whole have an end.
//! - Statements are constants with bound values (attack F45).

mod audit;
mod connect;
mod directory;
mod grants;
mod keys;
mod nodes;
mod objects;
mod one_time;
mod prune;
mod revocations;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use sqlx::{Postgres, Transaction};

use crate::audit::AuditEvent;
use crate::model::id::AuthorizationServerId;
use crate::model::time::Timestamp;
use crate::revocation::Revocation;
use crate::store::{Changed, Cursor, KeyChange, Store, StoreError, StoreFuture, StoredKey};

/// The longest that a call takes before it fails. Longer than what the server allows a statement, so that it is
/// reached only where the server does not answer at all.
const CALL_MAX: Duration = Duration::from_secs(10);

/// The channel on which nodes tell each other that something has changed. A notification says no more than
/// "look": what has changed is read from the tables.
const CHANNEL: &str = "scopegate";

/// A store in a PostgreSQL database.
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    /// One connection apart, so that listening takes none from who works.
    listening: PgPool,
    listener: Arc<tokio::sync::Mutex<Option<PgListener>>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresStore(..)")
    }
}

impl PostgresStore {
    /// Closes every connection.
    pub async fn close(&self) {
        *self.listener.lock().await = None;
        self.listening.close().await;
        self.pool.close().await;
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// As if a backup from before the first revocation was restored.
    #[cfg(test)]
    pub(crate) async fn go_back_to_no_revocations(&self) {
        let statements = "DELETE FROM revocation; UPDATE counter SET value = 0 WHERE name = 'revocations'";
        sqlx::raw_sql(statements).execute(&self.pool).await.expect("writes");
    }

    async fn write(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        Ok(self.pool.begin().await?)
    }
}

/// A call with an end.
fn bounded<'a, T: Send + 'a>(work: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> StoreFuture<'a, T> {
    Box::pin(async move {
        match tokio::time::timeout(CALL_MAX, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Unavailable("PostgreSQL does not answer".into())),
        }
    })
}

/// Moves a counter on and keeps its row until the transaction ends; gives the new number. Other nodes are told
/// when the transaction commits.
async fn advance(transaction: &mut Transaction<'static, Postgres>, counter: &str) -> Result<i64, StoreError> {
    let value = sqlx::query_scalar("UPDATE counter SET value = value + 1 WHERE name = $1 RETURNING value")
        .bind(counter)
        .fetch_one(&mut **transaction)
        .await?;
    sqlx::query("SELECT pg_notify($1, '')")
        .bind(CHANNEL)
        .execute(&mut **transaction)
        .await?;
    Ok(value)
}

/// Whether the database refused because another row has this value.
fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// A text of a request as PostgreSQL may be asked for it: no text that it keeps holds a NUL, and it fails on one.
fn askable(text: &str) -> bool {
    !text.contains('\0')
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

impl Store for PostgresStore {
    fn keys<'a>(&'a self, server: &'a AuthorizationServerId) -> StoreFuture<'a, Vec<StoredKey>> {
        bounded(keys::read(&self.pool, server))
    }

    fn change_keys<'a>(
        &'a self,
        server: &'a AuthorizationServerId,
        changes: &'a [KeyChange],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        bounded(async move {
            let mut transaction = self.write().await?;
            if keys::change(&mut transaction, server, changes).await? == Changed::Overtaken {
                // Dropping the transaction undoes what was changed before.
                return Ok(Changed::Overtaken);
            }
            audit::append(&mut transaction, audit).await?;
            transaction.commit().await?;
            Ok(Changed::Done)
        })
    }

    fn raise_lifetime<'a>(&'a self, server: &'a AuthorizationServerId, lifetime: Duration) -> StoreFuture<'a, ()> {
        bounded(keys::raise_lifetime(&self.pool, server, lifetime))
    }

    fn revoke<'a>(&'a self, revocation: &'a Revocation, audit: &'a AuditEvent) -> StoreFuture<'a, Cursor> {
        bounded(async move {
            let mut transaction = self.write().await?;
            let cursor = revocations::keep(&mut transaction, revocation).await?;
            audit::append(&mut transaction, std::slice::from_ref(audit)).await?;
            transaction.commit().await?;
            Ok(cursor)
        })
    }

    fn revocations_after(&self, cursor: Cursor, limit: u32) -> StoreFuture<'_, Vec<(Cursor, Revocation)>> {
        bounded(revocations::after(&self.pool, cursor, limit))
    }

    fn append_audit<'a>(&'a self, events: &'a [AuditEvent]) -> StoreFuture<'a, ()> {
        bounded(async move {
            let mut transaction = self.write().await?;
            audit::append_denials(&mut transaction, events).await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn audit_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>> {
        bounded(audit::of_error(&self.pool, error_id))
    }

    fn prune(&self, now: Timestamp) -> StoreFuture<'_, u64> {
        bounded(prune::prune(&self.pool, now))
    }
}

#[cfg(test)]
mod tests;
