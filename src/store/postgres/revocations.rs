//! What is dead.

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, Row as _, Transaction};

use crate::revocation::Revocation;
use crate::store::postgres::advance;
use crate::store::{Cursor, RevocationRow, StoreError};

/// Keeps a fact under the next cursor. The counter stays locked until the commit: cursors become visible in
/// their order.
pub(super) async fn keep(
    transaction: &mut Transaction<'static, Postgres>,
    revocation: &Revocation,
) -> Result<Cursor, StoreError> {
    let row = RevocationRow::of(revocation);
    let cursor = advance(transaction, "revocations").await?;
    sqlx::query(
        "INSERT INTO revocation AS known (cursor, kind, server, name, since, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (kind, server, name) DO UPDATE SET
             cursor = EXCLUDED.cursor,
             since = GREATEST(known.since, EXCLUDED.since),
             expires_at = GREATEST(known.expires_at, EXCLUDED.expires_at)",
    )
    .bind(cursor)
    .bind(row.kind)
    .bind(&row.server)
    .bind(&row.name)
    .bind(row.since)
    .bind(row.expires_at)
    .execute(&mut **transaction)
    .await?;
    Ok(Cursor(cursor))
}

/// Keeps several.
pub(super) async fn keep_all(
    transaction: &mut Transaction<'static, Postgres>,
    revocations: &[Revocation],
) -> Result<(), StoreError> {
    for revocation in revocations {
        keep(transaction, revocation).await?;
    }
    Ok(())
}

pub(super) async fn after(pool: &PgPool, cursor: Cursor, limit: u32) -> Result<Vec<(Cursor, Revocation)>, StoreError> {
    let rows = sqlx::query(
        "SELECT cursor, kind, server, name, since FROM revocation WHERE cursor > $1 ORDER BY cursor LIMIT $2",
    )
    .bind(cursor.0)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    let read = |row: &PgRow| {
        let revocation = RevocationRow::read(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?)?;
        Ok((Cursor(row.try_get(0)?), revocation))
    };
    rows.iter().map(read).collect()
}
