//! Forgets what cannot matter any more.
//!
//! A row that somebody else holds is left for the next time (`SKIP LOCKED`): pruning waits for nobody, so
//! nobody waits for it in a circle. Nodes may prune at once.

use sqlx::postgres::PgPool;

use crate::model::time::Timestamp;
use crate::store::{GRANT_KEPT, ONE_TIME_KEPT, PRUNE_ROWS_MAX, StoreError};

/// Each takes the moment before which a row is forgotten, and the most rows.
const BY_TIME: [(&str, Kept); 6] = [
    (
        "DELETE FROM revocation WHERE cursor IN
         (SELECT cursor FROM revocation WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        Kept::AsWritten,
    ),
    (
        "DELETE FROM issued_grant WHERE id IN
         (SELECT id FROM issued_grant WHERE LEAST(expires_at, idle_expires_at) <= $1
          ORDER BY LEAST(expires_at, idle_expires_at) LIMIT $2 FOR UPDATE SKIP LOCKED)",
        Kept::Grants,
    ),
    (
        "DELETE FROM issued_grant WHERE id IN
         (SELECT id FROM issued_grant WHERE revoked_at <= $1 ORDER BY revoked_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        Kept::Grants,
    ),
    (
        "DELETE FROM one_time WHERE (kind, digest) IN
         (SELECT kind, digest FROM one_time WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        Kept::OneTimes,
    ),
    (
        "DELETE FROM seen WHERE (purpose, digest) IN
         (SELECT purpose, digest FROM seen WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        Kept::AsWritten,
    ),
    (
        "DELETE FROM failure WHERE digest IN
         (SELECT digest FROM failure WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        Kept::AsWritten,
    ),
];

/// For how long rows are kept after the moment that they name.
#[derive(Clone, Copy)]
enum Kept {
    AsWritten,
    Grants,
    OneTimes,
}

pub(super) async fn prune(pool: &PgPool, now: Timestamp) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    for (statement, kept) in BY_TIME {
        let before = match kept {
            Kept::AsWritten => now,
            Kept::Grants => now.minus(GRANT_KEPT),
            Kept::OneTimes => now.minus(ONE_TIME_KEPT),
        };
        let done = sqlx::query(statement)
            .bind(before.unix_seconds())
            .bind(i64::from(PRUNE_ROWS_MAX))
            .execute(pool)
            .await?;
        forgotten += done.rows_affected();
    }
    Ok(forgotten)
}
