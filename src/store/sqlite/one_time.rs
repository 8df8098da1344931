//! Things good for one use, what was seen before, and failures: their statements.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use crate::model::digest::Digest;
use crate::model::id::GrantId;
use crate::model::time::Timestamp;
use crate::store::grants::{Failures, OneTime, OneTimeKind, ReplayPurpose, Used};
use crate::store::sqlite::rows::{json, number, optional_parsed, seconds, time};
use crate::store::{Changed, FAILURE_WINDOW_MAX, StoreError};

const COUNT_FAILURE: &str = "INSERT INTO failure (name, attempts, last_at, counts_until) VALUES (?1, 1, ?2, ?2 + ?3)
    ON CONFLICT (name) DO UPDATE SET
        attempts = CASE WHEN last_at > ?2 - ?3 THEN MIN(attempts + 1, 4294967295) ELSE 1 END,
        last_at = MAX(last_at, ?2),
        counts_until = MAX(last_at, ?2) + ?3
    RETURNING attempts, last_at";

fn one_time(kind: OneTimeKind, digest: &Digest, row: &SqliteRow) -> Result<OneTime, StoreError> {
    Ok(OneTime {
        kind,
        digest: *digest,
        expires_at: time(row, "expires_at")?,
        payload: json(row, "payload")?,
        used_by: optional_parsed(row, "used_by", GrantId::parse)?,
    })
}

pub(super) async fn put(connection: &mut SqliteConnection, thing: &OneTime) -> Result<(), StoreError> {
    let done = sqlx::query(
        "INSERT INTO one_time (kind, digest, expires_at, payload, used_by) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (kind, digest) DO NOTHING",
    )
    .bind(thing.kind.as_str())
    .bind(&thing.digest.as_bytes()[..])
    .bind(thing.expires_at.unix_seconds())
    .bind(thing.payload.to_string())
    .bind(thing.used_by.as_ref().map(GrantId::as_str))
    .execute(connection)
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::Taken(thing.kind.as_str()))
    }
}

pub(super) async fn look(
    readers: &SqlitePool,
    kind: OneTimeKind,
    digest: &Digest,
) -> Result<Option<OneTime>, StoreError> {
    let row = sqlx::query("SELECT expires_at, payload, used_by FROM one_time WHERE kind = ? AND digest = ?")
        .bind(kind.as_str())
        .bind(&digest.as_bytes()[..])
        .fetch_optional(readers)
        .await?;
    row.map(|row| one_time(kind, digest, &row)).transpose()
}

pub(super) async fn change(
    connection: &mut SqliteConnection,
    kind: OneTimeKind,
    digest: &Digest,
    from: &str,
    to: &str,
) -> Result<Changed, StoreError> {
    let done = sqlx::query(
        "UPDATE one_time SET payload = ? WHERE kind = ? AND digest = ? AND payload = ? AND used_by IS NULL",
    )
    .bind(to)
    .bind(kind.as_str())
    .bind(&digest.as_bytes()[..])
    .bind(from)
    .execute(connection)
    .await?;
    Ok(if done.rows_affected() == 1 {
        Changed::Done
    } else {
        Changed::Overtaken
    })
}

pub(super) async fn redeem(
    connection: &mut SqliteConnection,
    kind: OneTimeKind,
    digest: &Digest,
    by: &GrantId,
) -> Result<Used, StoreError> {
    let used = sqlx::query(
        "UPDATE one_time SET used_by = ? WHERE kind = ? AND digest = ? AND used_by IS NULL
         RETURNING expires_at, payload, used_by",
    )
    .bind(by.as_str())
    .bind(kind.as_str())
    .bind(&digest.as_bytes()[..])
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = used {
        return Ok(Used::First(one_time(kind, digest, &row)?));
    }
    let row = sqlx::query("SELECT used_by FROM one_time WHERE kind = ? AND digest = ?")
        .bind(kind.as_str())
        .bind(&digest.as_bytes()[..])
        .fetch_optional(connection)
        .await?;
    let used_by = row
        .map(|row| optional_parsed(&row, "used_by", GrantId::parse))
        .transpose()?;
    Ok(used_by.flatten().map_or(Used::Unknown, Used::Again))
}

pub(super) async fn first_use(
    connection: &mut SqliteConnection,
    purpose: ReplayPurpose,
    digest: &Digest,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO seen (purpose, digest, seen_until) VALUES (?, ?, ?) ON CONFLICT (purpose, digest) DO NOTHING",
    )
    .bind(purpose.as_str())
    .bind(&digest.as_bytes()[..])
    .bind(until.unix_seconds())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn count_failure(
    connection: &mut SqliteConnection,
    key: &Digest,
    now: Timestamp,
    window: Duration,
) -> Result<Failures, StoreError> {
    let row = sqlx::query(COUNT_FAILURE)
        .bind(&key.as_bytes()[..])
        .bind(now.unix_seconds())
        .bind(seconds(window.min(FAILURE_WINDOW_MAX)))
        .fetch_one(connection)
        .await?;
    counted(&row)
}

pub(super) async fn failures(
    readers: &SqlitePool,
    key: &Digest,
    now: Timestamp,
    window: Duration,
) -> Result<Failures, StoreError> {
    let row = sqlx::query("SELECT attempts, last_at FROM failure WHERE name = ?1 AND last_at > ?2 - ?3")
        .bind(&key.as_bytes()[..])
        .bind(now.unix_seconds())
        .bind(seconds(window.min(FAILURE_WINDOW_MAX)))
        .fetch_optional(readers)
        .await?;
    row.map_or_else(|| Ok(Failures::default()), |row| counted(&row))
}

fn counted(row: &SqliteRow) -> Result<Failures, StoreError> {
    let last_at: i64 = row.try_get("last_at")?;
    Ok(Failures {
        count: number(row, "attempts")?,
        last_at: Some(Timestamp::from_unix_seconds(last_at)),
    })
}

pub(super) async fn clear_failures(connection: &mut SqliteConnection, key: &Digest) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM failure WHERE name = ?")
        .bind(&key.as_bytes()[..])
        .execute(connection)
        .await?;
    Ok(())
}
