//! Things that are good for one use, what was seen before, and failed attempts.

use std::time::Duration;

use serde_json::Value;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, Row as _, Transaction};

use crate::model::digest::Digest;
use crate::model::id::GrantId;
use crate::model::time::Timestamp;
use crate::store::grants::{Failures, OneTime, OneTimeKind, ReplayPurpose, Used};
use crate::store::{Changed, FAILURE_WINDOW_MAX, StoreError};

pub(super) async fn put(pool: &PgPool, thing: &OneTime) -> Result<(), StoreError> {
    let done = sqlx::query(
        "INSERT INTO one_time (kind, digest, expires_at, payload, used_by) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
    )
    .bind(thing.kind.as_str())
    .bind(thing.digest.as_bytes().as_slice())
    .bind(thing.expires_at.unix_seconds())
    .bind(thing.payload.to_string())
    .bind(thing.used_by.as_ref().map(GrantId::as_str))
    .execute(pool)
    .await?;
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Taken(thing.kind.as_str())),
    }
}

pub(super) async fn read(pool: &PgPool, kind: OneTimeKind, digest: &Digest) -> Result<Option<OneTime>, StoreError> {
    let row = sqlx::query("SELECT expires_at, payload, used_by FROM one_time WHERE kind = $1 AND digest = $2")
        .bind(kind.as_str())
        .bind(digest.as_bytes().as_slice())
        .fetch_optional(pool)
        .await?;
    row.map(|row| thing(kind, digest, &row)).transpose()
}

/// Compares as JSON, under the row's lock: two texts may spell one value.
pub(super) async fn change(
    transaction: &mut Transaction<'static, Postgres>,
    kind: OneTimeKind,
    digest: &Digest,
    from: &Value,
    to: &Value,
) -> Result<Changed, StoreError> {
    let row = sqlx::query(
        "SELECT expires_at, payload, used_by FROM one_time
         WHERE kind = $1 AND digest = $2 AND used_by IS NULL FOR UPDATE",
    )
    .bind(kind.as_str())
    .bind(digest.as_bytes().as_slice())
    .fetch_optional(&mut **transaction)
    .await?;
    let known = row.map(|row| thing(kind, digest, &row)).transpose()?;
    if known.is_none_or(|known| known.payload != *from) {
        return Ok(Changed::Overtaken);
    }
    sqlx::query("UPDATE one_time SET payload = $1 WHERE kind = $2 AND digest = $3")
        .bind(to.to_string())
        .bind(kind.as_str())
        .bind(digest.as_bytes().as_slice())
        .execute(&mut **transaction)
        .await?;
    Ok(Changed::Done)
}

pub(super) async fn consume(
    transaction: &mut Transaction<'static, Postgres>,
    kind: OneTimeKind,
    digest: &Digest,
    by: &GrantId,
) -> Result<Used, StoreError> {
    let used = sqlx::query(
        "UPDATE one_time SET used_by = $1 WHERE kind = $2 AND digest = $3 AND used_by IS NULL
         RETURNING expires_at, payload, used_by",
    )
    .bind(by.as_str())
    .bind(kind.as_str())
    .bind(digest.as_bytes().as_slice())
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some(row) = used {
        return Ok(Used::First(thing(kind, digest, &row)?));
    }
    let by: Option<Option<String>> = sqlx::query_scalar("SELECT used_by FROM one_time WHERE kind = $1 AND digest = $2")
        .bind(kind.as_str())
        .bind(digest.as_bytes().as_slice())
        .fetch_optional(&mut **transaction)
        .await?;
    match by.flatten() {
        Some(by) => Ok(Used::Again(
            GrantId::parse(&by).map_err(|_| StoreError::Corrupt("grant"))?,
        )),
        None => Ok(Used::Unknown),
    }
}

pub(super) async fn first_use(
    pool: &PgPool,
    purpose: ReplayPurpose,
    digest: &Digest,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query("INSERT INTO seen (purpose, digest, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(purpose.as_str())
        .bind(digest.as_bytes().as_slice())
        .bind(until.unix_seconds())
        .execute(pool)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn count_failure(
    pool: &PgPool,
    key: &Digest,
    now: Timestamp,
    window: Duration,
) -> Result<Failures, StoreError> {
    let window = window.min(FAILURE_WINDOW_MAX);
    let row = sqlx::query(
        "INSERT INTO failure AS known (digest, count, last_at, expires_at) VALUES ($1, 1, $2, $3)
         ON CONFLICT (digest) DO UPDATE SET
             count = CASE WHEN known.last_at <= $4 THEN 1 ELSE known.count + 1 END,
             last_at = GREATEST(known.last_at, EXCLUDED.last_at),
             expires_at = GREATEST(known.last_at, EXCLUDED.last_at) + (EXCLUDED.expires_at - EXCLUDED.last_at)
         RETURNING count, last_at",
    )
    .bind(key.as_bytes().as_slice())
    .bind(now.unix_seconds())
    .bind(now.plus(window).unix_seconds())
    .bind(now.minus(window).unix_seconds())
    .fetch_one(pool)
    .await?;
    counted(&row)
}

pub(super) async fn failures(
    pool: &PgPool,
    key: &Digest,
    now: Timestamp,
    window: Duration,
) -> Result<Failures, StoreError> {
    let row = sqlx::query("SELECT count, last_at FROM failure WHERE digest = $1 AND last_at > $2")
        .bind(key.as_bytes().as_slice())
        .bind(now.minus(window).unix_seconds())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map_or(Ok(Failures::default()), counted)
}

pub(super) async fn clear_failures(pool: &PgPool, key: &Digest) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM failure WHERE digest = $1")
        .bind(key.as_bytes().as_slice())
        .execute(pool)
        .await?;
    Ok(())
}

fn counted(row: &PgRow) -> Result<Failures, StoreError> {
    let count: i64 = row.try_get("count")?;
    Ok(Failures {
        count: u32::try_from(count).unwrap_or(u32::MAX),
        last_at: Some(Timestamp::from_unix_seconds(row.try_get("last_at")?)),
    })
}

fn thing(kind: OneTimeKind, digest: &Digest, row: &PgRow) -> Result<OneTime, StoreError> {
    let used_by: Option<&str> = row.try_get("used_by")?;
    Ok(OneTime {
        kind,
        digest: *digest,
        expires_at: Timestamp::from_unix_seconds(row.try_get("expires_at")?),
        payload: serde_json::from_str(row.try_get("payload")?).map_err(|_| StoreError::Corrupt("payload"))?,
        used_by: used_by
            .map(GrantId::parse)
            .transpose()
            .map_err(|_| StoreError::Corrupt("grant"))?,
    })
}
