//! The embedded database: SQLite in one file, with a write-ahead log that is synced at each commit.
//!
//! `synchronous=FULL` is what makes an acknowledged revocation survive a power cut; it costs a sync
//! per change, and changes are rare here. Statements are constants with bound values (attack F45).

mod nodes;

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row as _, Sqlite, Transaction};

use crate::audit::{AuditEvent, AuditKind};
use crate::jose::alg::Algorithm;
use crate::model::id::{AuthorizationServerId, ClientId, Kid};
use crate::model::time::Timestamp;
use crate::oauth::keyring::{KeyRecord, KeyState};
use crate::revocation::Revocation;
use crate::store::open::file_error;
use crate::store::{
    AUDIT_DENIALS_MAX, Changed, Cursor, KeyChange, PRUNE_ROWS_MAX, RevocationRow, Store, StoreError, StoreFuture,
    StoredKey,
};

/// The steps of the schema, oldest first: step `n` is at index `n - 1`.
const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/sqlite/0001_keys_revocations_audit.sql")];

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits where SQLite itself does not.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A store in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// Connects, patiently where another process is just making the same database: turning the log on
/// takes the whole file, and SQLite answers "locked" there at once, without its own wait.
async fn connect(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let mut tries = BUSY_TIMEOUT.as_millis() / BUSY_PAUSE.as_millis();
    loop {
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(options.clone())
            .await;
        match pool {
            Err(error) if tries > 0 && is_busy(&error) => tries -= 1,
            pool => return pool,
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
}

/// Whether SQLite says `SQLITE_BUSY`, in any of its kinds.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| code & 0xff == 5)
}

impl SqliteStore {
    /// Opens the database, makes it if it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] for a database of a newer version, [`StoreError::File`] where the
    /// file system refuses, [`StoreError::Unavailable`] where SQLite does.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::make_folder(path)?;
        // The file is made here rather than by SQLite, so that it is never readable to others; the
        // log and its index take over its mode.
        let file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path);
        file.and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)))
            .map_err(|source| file_error(path, source))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let store = Self {
            pool: connect(options).await?,
        };
        store.migrate().await?;
        Ok(store)
    }

    /// Makes the folder of the database, for us alone, if it is missing.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn make_folder(path: &Path) -> Result<(), StoreError> {
        let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
            return Ok(());
        };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| file_error(folder, source))
    }

    /// Closes every connection: the log is merged into the database file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    #[cfg(test)]
    pub(super) fn pool(&self) -> SqlitePool {
        self.pool.clone()
    }

    /// A transaction that has the write lock from its first statement on: no other node or task can
    /// change what it has read.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let mut transaction = self.write().await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_step (step INTEGER PRIMARY KEY) STRICT")
            .execute(&mut *transaction)
            .await?;
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(step), 0) FROM schema_step")
            .fetch_one(&mut *transaction)
            .await?;
        if found > known {
            return Err(StoreError::NewerSchema { found, known });
        }
        for (step, statements) in (1_i64..).zip(MIGRATIONS).filter(|(step, _)| *step > found) {
            sqlx::raw_sql(statements).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO schema_step (step) VALUES (?)")
                .bind(step)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

impl crate::store::grants::GrantStore for SqliteStore {}
impl crate::store::objects::ObjectStore for SqliteStore {}
impl crate::store::objects::DirectoryStore for SqliteStore {}
impl crate::store::objects::AuditStore for SqliteStore {}

impl Store for SqliteStore {
    fn keys<'a>(&'a self, server: &'a AuthorizationServerId) -> StoreFuture<'a, Vec<StoredKey>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT kid, algorithm, state, created_at, entered_at, lifetime_max, sealed
                 FROM signing_key WHERE server = ? ORDER BY created_at, kid",
            )
            .bind(server.as_str())
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(stored_key).collect()
        })
    }

    fn change_keys<'a>(
        &'a self,
        server: &'a AuthorizationServerId,
        changes: &'a [KeyChange],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            for change in changes {
                // Dropping the transaction undoes what was changed before.
                if change_key(&mut transaction, server, change).await? == Changed::Overtaken {
                    return Ok(Changed::Overtaken);
                }
            }
            insert_audit(&mut transaction, audit).await?;
            transaction.commit().await?;
            Ok(Changed::Done)
        })
    }

    fn raise_lifetime<'a>(&'a self, server: &'a AuthorizationServerId, lifetime: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let seconds = seconds(lifetime);
            sqlx::query(
                "UPDATE signing_key SET lifetime_max = ?1
                 WHERE server = ?2 AND state <> 'expired' AND lifetime_max < ?1",
            )
            .bind(seconds)
            .bind(server.as_str())
            .execute(&self.pool)
            .await?;
            Ok(())
        })
    }

    fn revoke<'a>(&'a self, revocation: &'a Revocation, audit: &'a AuditEvent) -> StoreFuture<'a, Cursor> {
        Box::pin(async move {
            let row = RevocationRow::of(revocation);
            let mut transaction = self.write().await?;
            let known: Option<(i64, i64)> = sqlx::query_as(
                "DELETE FROM revocation WHERE kind = ? AND server = ? AND name = ? RETURNING since, expires_at",
            )
            .bind(row.kind)
            .bind(&row.server)
            .bind(&row.name)
            .fetch_optional(&mut *transaction)
            .await?;
            let (since, expires_at) = known.unwrap_or((row.since, row.expires_at));
            let cursor: i64 = sqlx::query_scalar(
                "INSERT INTO revocation (kind, server, name, since, expires_at)
                 VALUES (?, ?, ?, ?, ?) RETURNING cursor",
            )
            .bind(row.kind)
            .bind(&row.server)
            .bind(&row.name)
            .bind(since.max(row.since))
            .bind(expires_at.max(row.expires_at))
            .fetch_one(&mut *transaction)
            .await?;
            insert_audit(&mut transaction, std::slice::from_ref(audit)).await?;
            transaction.commit().await?;
            Ok(Cursor(cursor))
        })
    }

    fn revocations_after(&self, cursor: Cursor, limit: u32) -> StoreFuture<'_, Vec<(Cursor, Revocation)>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT cursor, kind, server, name, since FROM revocation WHERE cursor > ? ORDER BY cursor LIMIT ?",
            )
            .bind(cursor.0)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
            let read = |row: &SqliteRow| {
                let revocation =
                    RevocationRow::read(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?)?;
                Ok((Cursor(row.try_get(0)?), revocation))
            };
            rows.iter().map(read).collect()
        })
    }

    fn append_audit<'a>(&'a self, events: &'a [AuditEvent]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            insert_audit(&mut transaction, events).await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn audit_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT at, kind, server, client, error_id, detail FROM audit WHERE error_id = ? ORDER BY id",
            )
            .bind(error_id)
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(audit_event).collect()
        })
    }

    fn prune(&self, now: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let revocations = sqlx::query(
                "DELETE FROM revocation WHERE cursor IN
                 (SELECT cursor FROM revocation WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
            )
            .bind(now.unix_seconds())
            .bind(PRUNE_ROWS_MAX)
            .execute(&self.pool)
            .await?;
            let denials = sqlx::query(
                "DELETE FROM audit WHERE id IN
                 (SELECT id FROM audit WHERE kind = ?1 AND id <= (SELECT id FROM audit WHERE kind = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2) ORDER BY id LIMIT ?3)",
            )
            .bind(AuditKind::AccessDenied.as_str())
            .bind(AUDIT_DENIALS_MAX)
            .bind(PRUNE_ROWS_MAX)
            .execute(&self.pool)
            .await?;
            Ok(revocations.rows_affected() + denials.rows_affected())
        })
    }
}

async fn change_key(
    transaction: &mut Transaction<'static, Sqlite>,
    server: &AuthorizationServerId,
    change: &KeyChange,
) -> Result<Changed, StoreError> {
    let done =
        match change {
            KeyChange::Insert(StoredKey { record, sealed }) => {
                // "OR IGNORE" also where another node has made a key active: the unique index says so.
                sqlx::query(
                    "INSERT OR IGNORE INTO signing_key
                 (server, kid, algorithm, state, created_at, entered_at, lifetime_max, sealed)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
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
                .await?
            }
            KeyChange::Enter { kid, from, to, at } => sqlx::query(
                "UPDATE OR IGNORE signing_key SET state = ?, entered_at = ? WHERE server = ? AND kid = ? AND state = ?",
            )
            .bind(to.as_str())
            .bind(at.unix_seconds())
            .bind(server.as_str())
            .bind(kid.as_str())
            .bind(from.as_str())
            .execute(&mut **transaction)
            .await?,
            KeyChange::Remove { kid, from } => {
                sqlx::query("DELETE FROM signing_key WHERE server = ? AND kid = ? AND state = ?")
                    .bind(server.as_str())
                    .bind(kid.as_str())
                    .bind(from.as_str())
                    .execute(&mut **transaction)
                    .await?
            }
        };
    Ok(if done.rows_affected() == 1 {
        Changed::Done
    } else {
        Changed::Overtaken
    })
}

async fn insert_audit(transaction: &mut Transaction<'static, Sqlite>, events: &[AuditEvent]) -> Result<(), StoreError> {
    for event in events {
        sqlx::query("INSERT INTO audit (at, kind, server, client, error_id, detail) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(event.at.unix_seconds())
            .bind(event.kind.as_str())
            .bind(event.server.as_ref().map(AuthorizationServerId::as_str))
            .bind(event.client.as_ref().map(ClientId::as_str))
            .bind(event.error_id.as_deref())
            .bind(event.detail.to_string())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

fn stored_key(row: &SqliteRow) -> Result<StoredKey, StoreError> {
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

fn audit_event(row: &SqliteRow) -> Result<AuditEvent, StoreError> {
    let corrupt = StoreError::Corrupt;
    let server: Option<&str> = row.try_get("server")?;
    let client: Option<&str> = row.try_get("client")?;
    Ok(AuditEvent {
        at: Timestamp::from_unix_seconds(row.try_get("at")?),
        kind: AuditKind::parse(row.try_get("kind")?).ok_or(corrupt("audit kind"))?,
        server: server
            .map(AuthorizationServerId::parse)
            .transpose()
            .map_err(|_| corrupt("authorization server"))?,
        client: client.map(ClientId::parse).transpose().map_err(|_| corrupt("client"))?,
        error_id: row.try_get("error_id")?,
        actor: None,
        target: None,
        detail: serde_json::from_str(row.try_get("detail")?).map_err(|_| corrupt("audit detail"))?,
    })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
