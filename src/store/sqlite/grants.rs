//! Grants in SQLite. The state that a change was decided upon is in its condition.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

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
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::audit::attest;
use crate::store::sqlite::one_time;
#[cfg(test)]
use crate::store::sqlite::rotations::ROTATE_ALL;
use crate::store::sqlite::rows::{digest, json, list, number, optional_parsed, optional_time, parsed, time};
use crate::store::sqlite::writer::{Extent, Verdict};
use crate::store::{Changed, StoreError, StoreFuture};

const INSERT: &str = "INSERT INTO oauth_grant
    (id, server, client, user_id, subject, scopes, resources, auth_time, amr, acr, binding, binding_digest,
     created_at, expires_at, generation, rotated_at, idle_expires_at, revoked_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";

const ROTATE: &str = "UPDATE oauth_grant SET generation = generation + 1, rotated_at = ?3, idle_expires_at = ?4
    WHERE id = ?1 AND generation = ?2 AND generation < 4294967295
    AND revoked_at IS NULL AND expires_at > ?3 AND idle_expires_at > ?3 RETURNING *";

/// The conditions of a selector in order: server, client, user. One that is `NULL` is none. The statements differ in
/// what they look up by, because an index that may not apply is no index.
struct Selected {
    select: &'static str,
    revoke: &'static str,
}

macro_rules! selected {
    ($condition:literal) => {
        Selected {
            select: concat!(
                "SELECT * FROM oauth_grant WHERE revoked_at IS NULL AND id > ?4 AND ",
                $condition,
                " ORDER BY id LIMIT ?5"
            ),
            revoke: concat!(
                "UPDATE oauth_grant SET revoked_at = ?4 WHERE revoked_at IS NULL AND ",
                $condition,
                " RETURNING id"
            ),
        }
    };
}

const OF_USER: Selected = selected!("user_id = ?3 AND (?2 IS NULL OR client = ?2) AND (?1 IS NULL OR server = ?1)");
const OF_CLIENT: Selected = selected!("client = ?2 AND (?3 IS NULL OR user_id = ?3) AND (?1 IS NULL OR server = ?1)");
const OF_ANY: Selected =
    selected!("(?1 IS NULL OR server = ?1) AND (?2 IS NULL OR client = ?2) AND (?3 IS NULL OR user_id = ?3)");

const SELECT_ONE: &str = "SELECT * FROM oauth_grant WHERE id = ?1";
pub(super) const SELECT_AMONG: &str = "SELECT * FROM oauth_grant WHERE id IN (SELECT value FROM json_each(?1))";
const SELECT_ONE_LIVE: &str =
    "SELECT * FROM oauth_grant WHERE id = ?1 AND id > ?2 AND revoked_at IS NULL ORDER BY id LIMIT ?3";
const SELECT_AMONG_LIVE: &str = "SELECT * FROM oauth_grant WHERE id IN (SELECT value FROM json_each(?1)) AND id > ?2
    AND revoked_at IS NULL ORDER BY id LIMIT ?3";
const REVOKE_AMONG: &str = "UPDATE oauth_grant SET revoked_at = ?2
    WHERE id IN (SELECT value FROM json_each(?1)) AND revoked_at IS NULL RETURNING id";
const REVOKE_ONE: &str = "UPDATE oauth_grant SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING id";

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl Selected {
    fn of(which: &GrantSelector) -> Self {
        match which {
            GrantSelector::Where { user: Some(_), .. } => OF_USER,
            GrantSelector::Where { client: Some(_), .. } => OF_CLIENT,
            GrantSelector::Where { .. } => OF_ANY,
            GrantSelector::One(_) => Self {
                select: SELECT_ONE_LIVE,
                revoke: REVOKE_ONE,
            },
            GrantSelector::Among(_) => Self {
                select: SELECT_AMONG_LIVE,
                revoke: REVOKE_AMONG,
            },
        }
    }

    fn bind<'q>(statement: &'static str, which: &'q GrantSelector) -> Query<'q> {
        let query = sqlx::query(statement);
        match which {
            GrantSelector::One(id) => query.bind(id.as_str()),
            GrantSelector::Among(ids) => {
                let ids: Vec<&str> = ids.iter().map(GrantId::as_str).collect();
                query.bind(serde_json::Value::from(ids).to_string())
            }
            GrantSelector::Where { server, client, user } => query
                .bind(server.as_ref().map(AuthorizationServerId::as_str))
                .bind(client.as_ref().map(ClientId::as_str))
                .bind(user.as_ref().map(UserId::as_str)),
        }
    }
}

#[cfg(test)]
pub(super) fn statements() -> Vec<&'static str> {
    let selected = [OF_USER, OF_CLIENT].map(|selected| [selected.select, selected.revoke]);
    let one = [
        ROTATE,
        ROTATE_ALL,
        SELECT_ONE,
        SELECT_AMONG,
        SELECT_ONE_LIVE,
        REVOKE_ONE,
    ];
    [&one[..], selected.as_flattened()].concat()
}

/// Keeps a new grant, in the transaction of what it came of.
pub(super) async fn insert(connection: &mut SqliteConnection, grant: &GrantRecord) -> Result<(), StoreError> {
    let (binding, bound_to) = match &grant.binding {
        Some(KeyBinding::Dpop(thumbprint)) => (Some("dpop"), Some(&thumbprint.as_bytes()[..])),
        Some(KeyBinding::Certificate(thumbprint)) => (Some("certificate"), Some(&thumbprint.as_bytes()[..])),
        None => (None, None),
    };
    let done = sqlx::query(INSERT)
        .bind(grant.id.as_str())
        .bind(grant.server.as_str())
        .bind(grant.client.as_str())
        .bind(grant.user.as_ref().map(UserId::as_str))
        .bind(grant.subject.as_str())
        .bind(grant.scopes.to_string())
        .bind(list(&grant.resources))
        .bind(grant.auth_time.unix_seconds())
        .bind(list(&grant.amr))
        .bind(grant.acr.as_deref())
        .bind(binding)
        .bind(bound_to)
        .bind(grant.created_at.unix_seconds())
        .bind(grant.expires_at.unix_seconds())
        .bind(grant.generation)
        .bind(grant.rotated_at.unix_seconds())
        .bind(grant.idle_expires_at.unix_seconds())
        .bind(grant.revoked_at.map(Timestamp::unix_seconds))
        .execute(connection)
        .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::Taken("grant"))
    }
}

pub(super) fn grant(row: &SqliteRow) -> Result<GrantRecord, StoreError> {
    let binding: Option<&str> = row.try_get("binding")?;
    let bound_to: Option<&[u8]> = row.try_get("binding_digest")?;
    let bound_to = bound_to.map(|bytes| digest(bytes, "binding_digest")).transpose()?;
    let binding = match (binding, bound_to) {
        (None, None) => None,
        (Some("dpop"), Some(thumbprint)) => Some(KeyBinding::Dpop(thumbprint)),
        (Some("certificate"), Some(thumbprint)) => Some(KeyBinding::Certificate(thumbprint)),
        _ => return Err(StoreError::Corrupt("binding")),
    };
    Ok(GrantRecord {
        id: parsed(row, "id", GrantId::parse)?,
        server: parsed(row, "server", AuthorizationServerId::parse)?,
        client: parsed(row, "client", ClientId::parse)?,
        user: optional_parsed(row, "user_id", UserId::parse)?,
        subject: parsed(row, "subject", Subject::parse)?,
        scopes: parsed(row, "scopes", ScopeSet::parse)?,
        resources: json(row, "resources")?,
        auth_time: time(row, "auth_time")?,
        amr: json(row, "amr")?,
        acr: row.try_get("acr")?,
        binding,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        generation: number(row, "generation")?,
        rotated_at: time(row, "rotated_at")?,
        idle_expires_at: time(row, "idle_expires_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    })
}

pub(super) async fn rotate(
    connection: &mut SqliteConnection,
    id: &GrantId,
    from: u32,
    at: Timestamp,
    idle_expires_at: Timestamp,
) -> Result<Rotated, StoreError> {
    let rotated = sqlx::query(ROTATE)
        .bind(id.as_str())
        .bind(from)
        .bind(at.unix_seconds())
        .bind(idle_expires_at.unix_seconds())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = rotated {
        return Ok(Rotated::Done(grant(&row)?));
    }
    let row = sqlx::query(SELECT_ONE)
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(match row {
        Some(row) => Rotated::Overtaken(grant(&row)?),
        None => Rotated::Unknown,
    })
}

async fn revoke(
    connection: &mut SqliteConnection,
    which: &GrantSelector,
    at: Timestamp,
) -> Result<Vec<GrantId>, StoreError> {
    let rows = Selected::bind(Selected::of(which).revoke, which)
        .bind(at.unix_seconds())
        .fetch_all(connection)
        .await?;
    let ended: Result<Vec<_>, _> = rows.iter().map(|row| parsed(row, "id", GrantId::parse)).collect();
    let mut ended = ended?;
    ended.sort();
    Ok(ended)
}

impl GrantStore for SqliteStore {
    fn insert_grant<'a>(&'a self, grant: &'a GrantRecord) -> StoreFuture<'a, ()> {
        let grant = grant.clone();
        self.writer.change(Extent::Statement, move |connection| {
            Box::pin(async move { Ok(Verdict::Keep(insert(connection, &grant).await?)) })
        })
    }

    fn grant<'a>(&'a self, id: &'a GrantId) -> StoreFuture<'a, Option<GrantRecord>> {
        self.look_ups.grant(id)
    }

    fn rotate_grant<'a>(&'a self, rotation: &'a Rotation<'a>) -> StoreFuture<'a, Rotated> {
        Box::pin(self.rotations.rotate(&self.writer, rotation.clone()))
    }

    fn revoke_grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        at: Timestamp,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Vec<GrantId>> {
        let (which, revocations, audit) = (which.clone(), revocations.to_vec(), audit.to_vec());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                let ended = revoke(connection, &which, at).await?;
                attest(connection, &revocations, &audit).await?;
                Ok(Verdict::Keep(ended))
            })
        })
    }

    fn grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        after: Option<&'a GrantId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<GrantRecord>> {
        Box::pin(async move {
            let rows = Selected::bind(Selected::of(which).select, which)
                // No identifier is empty: every one of them is after "".
                .bind(after.map_or("", GrantId::as_str))
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
            rows.iter().map(grant).collect()
        })
    }

    fn put_one_time<'a>(&'a self, thing: &'a OneTime) -> StoreFuture<'a, ()> {
        let thing = thing.clone();
        self.writer.change(Extent::Statement, move |connection| {
            Box::pin(async move { Ok(Verdict::Keep(one_time::put(connection, &thing).await?)) })
        })
    }

    fn one_time<'a>(&'a self, kind: OneTimeKind, digest: &'a Digest) -> StoreFuture<'a, Option<OneTime>> {
        Box::pin(one_time::look(&self.readers, kind, digest))
    }

    fn change_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        from: &'a serde_json::Value,
        to: &'a serde_json::Value,
    ) -> StoreFuture<'a, Changed> {
        let (digest, from, to) = (*digest, from.to_string(), to.to_string());
        self.writer.change(Extent::Statement, move |connection| {
            Box::pin(async move {
                let changed = one_time::change(connection, kind, &digest, &from, &to).await?;
                Ok(Verdict::Keep(changed))
            })
        })
    }

    fn use_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        by: &'a GrantId,
        grant: Option<&'a GrantRecord>,
    ) -> StoreFuture<'a, Used> {
        let (digest, by, grant) = (*digest, by.clone(), grant.cloned());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                let used = one_time::redeem(connection, kind, &digest, &by).await?;
                if let (Used::First(_), Some(grant)) = (&used, &grant) {
                    insert(connection, grant).await?;
                }
                Ok(Verdict::Keep(used))
            })
        })
    }

    fn first_use<'a>(&'a self, purpose: ReplayPurpose, digest: &'a Digest, until: Timestamp) -> StoreFuture<'a, bool> {
        let digest = *digest;
        self.writer.change(Extent::Statement, move |connection| {
            Box::pin(async move {
                let is_first = one_time::first_use(connection, purpose, &digest, until).await?;
                Ok(Verdict::Keep(is_first))
            })
        })
    }

    fn count_failure<'a>(
        &'a self,
        key: &'a Digest,
        now: Timestamp,
        window: std::time::Duration,
    ) -> StoreFuture<'a, Failures> {
        let key = *key;
        self.writer.change(Extent::Statement, move |connection| {
            Box::pin(async move {
                let failures = one_time::count_failure(connection, &key, now, window).await?;
                Ok(Verdict::Keep(failures))
            })
        })
    }

    fn failures<'a>(
        &'a self,
        key: &'a Digest,
        now: Timestamp,
        window: std::time::Duration,
    ) -> StoreFuture<'a, Failures> {
        Box::pin(one_time::failures(&self.readers, key, now, window))
    }

    fn clear_failures<'a>(&'a self, key: &'a Digest) -> StoreFuture<'a, ()> {
        let key = *key;
        self.writer.change(Extent::Statement, move |connection| {
            Box::pin(async move { Ok(Verdict::Keep(one_time::clear_failures(connection, &key).await?)) })
        })
    }
}
