//! Grants that live on.

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, QueryBuilder, Row as _, Transaction};

use crate::audit::AuditEvent;
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, Subject, UserId};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::refresh::{GrantRecord, KeyBinding};
use crate::revocation::Revocation;
use crate::store::grants::{
    Failures, GrantSelector, GrantStore, OneTime, OneTimeKind, ReplayPurpose, Rotated, Rotation, Used,
};
use crate::store::postgres::{PostgresStore, audit, bounded, one_time, revocations};
use crate::store::{Changed, StoreError, StoreFuture};

/// Every column, in the order in which [`insert`] binds them.
const COLUMNS: &str = "id, server, client, user_id, subject, scopes, resources, auth_time, amr, acr, binding,
    binding_digest, created_at, expires_at, generation, rotated_at, idle_expires_at, revoked_at";

impl GrantStore for PostgresStore {
    fn insert_grant<'a>(&'a self, grant: &'a GrantRecord) -> StoreFuture<'a, ()> {
        bounded(async move {
            let mut transaction = self.write().await?;
            insert(&mut transaction, grant).await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn grant<'a>(&'a self, id: &'a GrantId) -> StoreFuture<'a, Option<GrantRecord>> {
        bounded(read(&self.pool, id))
    }

    fn rotate_grant<'a>(&'a self, rotation: &'a Rotation<'a>) -> StoreFuture<'a, Rotated> {
        bounded(async move {
            let rotated = sqlx::query(
                "UPDATE issued_grant SET generation = generation + 1, rotated_at = $1, idle_expires_at = $2
                 WHERE id = $3 AND generation = $4 AND generation < 4294967295 AND revoked_at IS NULL AND expires_at > $1 AND idle_expires_at > $1
                 RETURNING *",
            )
            .bind(rotation.at.unix_seconds())
            .bind(rotation.idle_expires_at.unix_seconds())
            .bind(rotation.id.as_str())
            .bind(i64::from(rotation.from))
            .fetch_optional(&self.pool)
            .await?;
            if let Some(row) = rotated {
                return Ok(Rotated::Done(record(&row)?));
            }
            let known = read(&self.pool, rotation.id).await?;
            Ok(known.map_or(Rotated::Unknown, Rotated::Overtaken))
        })
    }

    fn revoke_grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        at: Timestamp,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Vec<GrantId>> {
        bounded(async move {
            let mut transaction = self.write().await?;
            // Locked in one order: two calls that meet do not wait for each other.
            let mut statement = QueryBuilder::<Postgres>::new("UPDATE issued_grant SET revoked_at = ");
            statement
                .push_bind(at.unix_seconds())
                .push(" WHERE id IN (SELECT id FROM issued_grant WHERE revoked_at IS NULL");
            select(&mut statement, which);
            statement.push(" ORDER BY id FOR UPDATE) RETURNING id");
            let rows = statement.build().fetch_all(&mut *transaction).await?;
            let mut ended = rows.iter().map(grant_id).collect::<Result<Vec<_>, _>>()?;
            ended.sort();
            revocations::keep_all(&mut transaction, revocations).await?;
            audit::append(&mut transaction, audit).await?;
            transaction.commit().await?;
            Ok(ended)
        })
    }

    fn grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        after: Option<&'a GrantId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<GrantRecord>> {
        bounded(async move {
            let mut statement = QueryBuilder::<Postgres>::new("SELECT * FROM issued_grant WHERE revoked_at IS NULL");
            select(&mut statement, which);
            if let Some(after) = after {
                statement.push(" AND id > ").push_bind(after.as_str());
            }
            statement.push(" ORDER BY id LIMIT ").push_bind(i64::from(limit));
            let rows = statement.build().fetch_all(&self.pool).await?;
            rows.iter().map(record).collect()
        })
    }

    fn put_one_time<'a>(&'a self, thing: &'a OneTime) -> StoreFuture<'a, ()> {
        bounded(one_time::put(&self.pool, thing))
    }

    fn one_time<'a>(&'a self, kind: OneTimeKind, digest: &'a Digest) -> StoreFuture<'a, Option<OneTime>> {
        bounded(one_time::read(&self.pool, kind, digest))
    }

    fn change_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        from: &'a serde_json::Value,
        to: &'a serde_json::Value,
    ) -> StoreFuture<'a, Changed> {
        bounded(async move {
            let mut transaction = self.write().await?;
            let changed = one_time::change(&mut transaction, kind, digest, from, to).await?;
            transaction.commit().await?;
            Ok(changed)
        })
    }

    fn use_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        by: &'a GrantId,
        grant: Option<&'a GrantRecord>,
    ) -> StoreFuture<'a, Used> {
        bounded(async move {
            let mut transaction = self.write().await?;
            let used = one_time::consume(&mut transaction, kind, digest, by).await?;
            if let (Used::First(_), Some(grant)) = (&used, grant) {
                insert(&mut transaction, grant).await?;
            }
            transaction.commit().await?;
            Ok(used)
        })
    }

    fn first_use<'a>(&'a self, purpose: ReplayPurpose, digest: &'a Digest, until: Timestamp) -> StoreFuture<'a, bool> {
        bounded(one_time::first_use(&self.pool, purpose, digest, until))
    }

    fn count_failure<'a>(
        &'a self,
        key: &'a Digest,
        now: Timestamp,
        window: std::time::Duration,
    ) -> StoreFuture<'a, Failures> {
        bounded(one_time::count_failure(&self.pool, key, now, window))
    }

    fn failures<'a>(
        &'a self,
        key: &'a Digest,
        now: Timestamp,
        window: std::time::Duration,
    ) -> StoreFuture<'a, Failures> {
        bounded(one_time::failures(&self.pool, key, now, window))
    }

    fn clear_failures<'a>(&'a self, key: &'a Digest) -> StoreFuture<'a, ()> {
        bounded(one_time::clear_failures(&self.pool, key))
    }
}

async fn read(pool: &PgPool, id: &GrantId) -> Result<Option<GrantRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM issued_grant WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(record).transpose()
}

async fn insert(transaction: &mut Transaction<'static, Postgres>, grant: &GrantRecord) -> Result<(), StoreError> {
    let (binding, digest) = match &grant.binding {
        None => (None, None),
        Some(KeyBinding::Dpop(digest)) => (Some("dpop"), Some(digest)),
        Some(KeyBinding::Certificate(digest)) => (Some("certificate"), Some(digest)),
    };
    let mut statement = QueryBuilder::<Postgres>::new("INSERT INTO issued_grant (");
    statement.push(COLUMNS).push(") VALUES (");
    let mut values = statement.separated(", ");
    values
        .push_bind(grant.id.as_str())
        .push_bind(grant.server.as_str())
        .push_bind(grant.client.as_str())
        .push_bind(grant.user.as_ref().map(UserId::as_str))
        .push_bind(grant.subject.as_str())
        .push_bind(grant.scopes.to_string())
        .push_bind(json_list(&grant.resources))
        .push_bind(grant.auth_time.unix_seconds())
        .push_bind(json_list(&grant.amr))
        .push_bind(grant.acr.as_deref())
        .push_bind(binding)
        .push_bind(digest.map(|digest| digest.as_bytes().as_slice()))
        .push_bind(grant.created_at.unix_seconds())
        .push_bind(grant.expires_at.unix_seconds())
        .push_bind(i64::from(grant.generation))
        .push_bind(grant.rotated_at.unix_seconds())
        .push_bind(grant.idle_expires_at.unix_seconds())
        .push_bind(grant.revoked_at.map(Timestamp::unix_seconds));
    statement.push(") ON CONFLICT DO NOTHING");
    let done = statement.build().execute(&mut **transaction).await?;
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::Taken("grant")),
    }
}

/// The conditions of a selector, each with its `AND`.
fn select<'a>(statement: &mut QueryBuilder<Postgres>, which: &'a GrantSelector) {
    let mut equal = |column: &'static str, value: Option<&'a str>| {
        if let Some(value) = value {
            statement
                .push(" AND ")
                .push(column)
                .push(" = ")
                .push_bind(value.to_owned());
        }
    };
    match which {
        GrantSelector::One(id) => equal("id", Some(id.as_str())),
        GrantSelector::Among(ids) => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            statement.push(" AND id = ANY(").push_bind(ids).push(")");
        }
        GrantSelector::Where { server, client, user } => {
            equal("server", server.as_ref().map(AuthorizationServerId::as_str));
            equal("client", client.as_ref().map(ClientId::as_str));
            equal("user_id", user.as_ref().map(UserId::as_str));
        }
    }
}

fn json_list(texts: &[String]) -> String {
    serde_json::Value::from(texts.to_vec()).to_string()
}

fn grant_id(row: &PgRow) -> Result<GrantId, StoreError> {
    GrantId::parse(row.try_get("id")?).map_err(|_| StoreError::Corrupt("grant"))
}

fn record(row: &PgRow) -> Result<GrantRecord, StoreError> {
    let corrupt = StoreError::Corrupt;
    let at = |column| Ok::<_, StoreError>(Timestamp::from_unix_seconds(row.try_get(column)?));
    let list = |column| -> Result<Vec<String>, StoreError> {
        serde_json::from_str(row.try_get(column)?).map_err(|_| corrupt("list of a grant"))
    };
    let user: Option<&str> = row.try_get("user_id")?;
    let revoked_at: Option<i64> = row.try_get("revoked_at")?;
    let generation: i64 = row.try_get("generation")?;
    let binding = match row.try_get("binding")? {
        None => None,
        Some("dpop") => Some(KeyBinding::Dpop(Digest::from_bytes(audit::digest(
            row,
            "binding_digest",
        )?))),
        Some("certificate") => Some(KeyBinding::Certificate(Digest::from_bytes(audit::digest(
            row,
            "binding_digest",
        )?))),
        Some(_) => return Err(corrupt("binding of a grant")),
    };
    Ok(GrantRecord {
        id: grant_id(row)?,
        server: AuthorizationServerId::parse(row.try_get("server")?).map_err(|_| corrupt("authorization server"))?,
        client: ClientId::parse(row.try_get("client")?).map_err(|_| corrupt("client"))?,
        user: user.map(UserId::parse).transpose().map_err(|_| corrupt("user"))?,
        subject: Subject::parse(row.try_get("subject")?).map_err(|_| corrupt("subject"))?,
        scopes: ScopeSet::parse(row.try_get("scopes")?).map_err(|_| corrupt("scopes"))?,
        resources: list("resources")?,
        auth_time: at("auth_time")?,
        amr: list("amr")?,
        acr: row.try_get("acr")?,
        binding,
        created_at: at("created_at")?,
        expires_at: at("expires_at")?,
        generation: u32::try_from(generation).map_err(|_| corrupt("generation"))?,
        rotated_at: at("rotated_at")?,
        idle_expires_at: at("idle_expires_at")?,
        revoked_at: revoked_at.map(Timestamp::from_unix_seconds),
    })
}
