//! Signing keys.

use std::time::Duration;

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, Row as _, Transaction};

use crate::jose::alg::Algorithm;
use crate::model::id::{AuthorizationServerId, Kid};
use crate::model::time::Timestamp;
use crate::oauth::keyring::{KeyRecord, KeyState};
use crate::store::postgres::{advance, is_taken, seconds};
use crate::store::{Changed, KeyChange, StoreError, StoredKey};

pub(super) async fn read(pool: &PgPool, server: &AuthorizationServerId) -> Result<Vec<StoredKey>, StoreError> {
    let rows = sqlx::query(
        "SELECT kid, algorithm, state, created_at, entered_at, lifetime_max, sealed
         FROM signing_key WHERE server = $1 ORDER BY created_at, kid",
    )
    .bind(server.as_str())
    .fetch_all(pool)
    .await?;
    rows.iter().map(stored_key).collect()
}

/// Makes the changes, in their order, as far as the state allows.
pub(super) async fn change(
    transaction: &mut Transaction<'static, Postgres>,
    server: &AuthorizationServerId,
    changes: &[KeyChange],
) -> Result<Changed, StoreError> {
    // First, so that two nodes that make the same plan stand in line rather than in each other's way.
    advance(transaction, "keys").await?;
    for change in changes {
        match change_one(transaction, server, change).await {
            Ok(1) => {}
            // The unique index: another key is active.
            Err(error) if is_taken(&error) => return Ok(Changed::Overtaken),
            Ok(_) => return Ok(Changed::Overtaken),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Changed::Done)
}

async fn change_one(
    transaction: &mut Transaction<'static, Postgres>,
    server: &AuthorizationServerId,
    change: &KeyChange,
) -> Result<u64, sqlx::Error> {
    let done =
        match change {
            KeyChange::Insert(StoredKey { record, sealed }) => sqlx::query(
                "INSERT INTO signing_key (server, kid, algorithm, state, created_at, entered_at, lifetime_max, sealed)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            )
            .bind(server.as_str())
            .bind(record.kid.as_str())
            .bind(record.algorithm.as_str())
            .bind(record.state.as_str())
            .bind(record.created_at.unix_seconds())
            .bind(record.entered_at.unix_seconds())
            .bind(seconds(record.lifetime_max))
            .bind(sealed)
            .execute(&mut **transaction)
            .await?,
            KeyChange::Enter { kid, from, to, at } => {
                sqlx::query(
                    "UPDATE signing_key SET state = $1, entered_at = $2 WHERE server = $3 AND kid = $4 AND state = $5",
                )
                .bind(to.as_str())
                .bind(at.unix_seconds())
                .bind(server.as_str())
                .bind(kid.as_str())
                .bind(from.as_str())
                .execute(&mut **transaction)
                .await?
            }
            KeyChange::Remove { kid, from } => {
                sqlx::query("DELETE FROM signing_key WHERE server = $1 AND kid = $2 AND state = $3")
                    .bind(server.as_str())
                    .bind(kid.as_str())
                    .bind(from.as_str())
                    .execute(&mut **transaction)
                    .await?
            }
        };
    Ok(done.rows_affected())
}

pub(super) async fn raise_lifetime(
    pool: &PgPool,
    server: &AuthorizationServerId,
    lifetime: Duration,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE signing_key SET lifetime_max = $1 WHERE server = $2 AND state <> 'expired' AND lifetime_max < $1",
    )
    .bind(seconds(lifetime))
    .bind(server.as_str())
    .execute(pool)
    .await?;
    Ok(())
}

fn stored_key(row: &PgRow) -> Result<StoredKey, StoreError> {
    let corrupt = StoreError::Corrupt;
    let lifetime: i64 = row.try_get("lifetime_max")?;
    Ok(StoredKey {
        record: KeyRecord {
            kid: Kid::parse(row.try_get("kid")?).map_err(|_| corrupt("kid"))?,
            algorithm: Algorithm::parse(row.try_get("algorithm")?).ok_or(corrupt("algorithm"))?,
            state: KeyState::parse(row.try_get("state")?).ok_or(corrupt("key state"))?,
            created_at: Timestamp::from_unix_seconds(row.try_get("created_at")?),
            entered_at: Timestamp::from_unix_seconds(row.try_get("entered_at")?),
            lifetime_max: Duration::from_secs(u64::try_from(lifetime).map_err(|_| corrupt("lifetime"))?),
        },
        sealed: row.try_get("sealed")?,
    })
}
