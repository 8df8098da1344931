//! The embedded database: SQLite in one file, with a write-ahead log that is synced at each commit.
//!
//! - `synchronous=FULL` is what makes an acknowledged change survive a power cut. It costs a sync per commit, so
//!   changes that wait together share one (`writer`).
//! - Look-ups that are asked for together share a statement (`look_ups`), and so do refresh tokens that rotate (`rotations`).
//! - Reads have connections of their own, which cannot write; in the write-ahead log they wait for nobody.
//! - Statements are constants with bound values (attack F45).

mod audit;
mod directory;
mod grants;
mod look_ups;
mod nodes;
mod objects;
mod one_time;
mod prune;
mod rotations;
mod rows;
mod together;
mod writer;

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::audit::AuditEvent;
use crate::jose::alg::Algorithm;
use crate::model::id::{AuthorizationServerId, Kid};
use crate::model::time::Timestamp;
use crate::oauth::keyring::{KeyRecord, KeyState};
use crate::revocation::Revocation;
use crate::store::open::file_error;
use crate::store::sqlite::look_ups::LookUps;
use crate::store::sqlite::rotations::Rotations;
use crate::store::sqlite::rows::seconds;
use crate::store::sqlite::writer::{Extent, Verdict, Writer};
use crate::store::{Changed, Cursor, KeyChange, RevocationRow, Store, StoreError, StoreFuture, StoredKey, readable};

/// The steps of the schema, oldest first: step `n` is at index `n - 1`.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/sqlite/0001_keys_revocations_audit.sql"),
    include_str!("../../migrations/sqlite/0002_grants_objects_users_audit_chain.sql"),
    include_str!("../../migrations/sqlite/0003_nodes.sql"),
];

/// How long a writer waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits where SQLite itself does not.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How many calls read at once; more of them wait.
const READERS_MAX: u32 = 4;

/// A store in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    look_ups: LookUps,
    writer: Writer,
    rotations: Rotations,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// Connects, patiently where another process is just making the same database: turning the log on
/// takes the whole file, and SQLite answers "locked" there at once, without its own wait.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let mut tries = BUSY_TIMEOUT.as_millis() / BUSY_PAUSE.as_millis();
    loop {
        match options.connect().await {
            Err(error) if tries > 0 && is_busy(&error) => tries -= 1,
            connection => return connection,
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
    /// Opens the database, makes it if it is missing, and brings its schema up to date. What writes runs as a task
    /// of the runtime that this is called on.
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
        Self::open_with(options(path)).await
    }

    /// Opens the database of another process to read it: what would change it is refused by SQLite.
    ///
    /// # Errors
    /// [`StoreError::OlderSchema`] and [`StoreError::NewerSchema`] for a database of another version,
    /// [`StoreError::Unavailable`] where there is none.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let options = options(path).pragma("query_only", "ON");
        let mut connection = connect(&options).await?;
        let found = sqlx::query_scalar("SELECT COALESCE(MAX(step), 0) FROM schema_step");
        readable(found.fetch_one(&mut connection).await?, MIGRATIONS.len())?;
        Self::with(options, connection).await
    }

    async fn open_with(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let mut connection = connect(&options).await?;
        migrate(&mut connection).await?;
        Self::with(options, connection).await
    }

    async fn with(options: SqliteConnectOptions, connection: SqliteConnection) -> Result<Self, StoreError> {
        let reading = options.clone().pragma("query_only", "ON");
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(reading.clone())
            .await?;
        Ok(Self {
            readers,
            look_ups: LookUps::start(reading),
            writer: Writer::start(options, connection),
            rotations: Rotations::default(),
        })
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

    /// Closes every connection, the writing one last: the log is merged into the database file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.look_ups.close().await;
        self.writer.close().await;
    }

    /// The statements that must not read a whole table, however large it is.
    #[cfg(test)]
    pub(super) fn statements_that_look_up() -> Vec<&'static str> {
        [grants::statements(), prune::statements(), directory::statements()].concat()
    }

    /// How the writing connection is set up: journal mode, synchronous, foreign keys.
    #[cfg(test)]
    pub(super) async fn writer_settings(&self) -> Result<[String; 3], StoreError> {
        let settings = self.writer.change(Extent::Statement, |connection| {
            Box::pin(async move {
                let row = sqlx::query(
                    "SELECT journal_mode, CAST(synchronous AS TEXT), CAST(foreign_keys AS TEXT)
                     FROM pragma_journal_mode, pragma_synchronous, pragma_foreign_keys",
                )
                .fetch_one(connection)
                .await?;
                Ok(Verdict::Keep([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?]))
            })
        });
        settings.await
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Brings the schema up to date, with the write lock from the first statement on: of several nodes that start at
/// once, one does it.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
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
        if step == 2 {
            audit::chain_records_of_step_1(&mut transaction).await?;
        }
        sqlx::query("INSERT INTO schema_step (step) VALUES (?)")
            .bind(step)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Keeps a fact: a known one gets a new place and never becomes weaker.
async fn keep_revocation(connection: &mut SqliteConnection, revocation: &Revocation) -> Result<Cursor, StoreError> {
    let row = RevocationRow::of(revocation);
    let known: Option<(i64, i64)> =
        sqlx::query_as("DELETE FROM revocation WHERE kind = ? AND server = ? AND name = ? RETURNING since, expires_at")
            .bind(row.kind)
            .bind(&row.server)
            .bind(&row.name)
            .fetch_optional(&mut *connection)
            .await?;
    let (since, expires_at) = known.unwrap_or((row.since, row.expires_at));
    let cursor: i64 = sqlx::query_scalar(
        "INSERT INTO revocation (kind, server, name, since, expires_at) VALUES (?, ?, ?, ?, ?) RETURNING cursor",
    )
    .bind(row.kind)
    .bind(&row.server)
    .bind(&row.name)
    .bind(since.max(row.since))
    .bind(expires_at.max(row.expires_at))
    .fetch_one(connection)
    .await?;
    Ok(Cursor(cursor))
}

impl Store for SqliteStore {
    fn keys<'a>(&'a self, server: &'a AuthorizationServerId) -> StoreFuture<'a, Vec<StoredKey>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT kid, algorithm, state, created_at, entered_at, lifetime_max, sealed
                 FROM signing_key WHERE server = ? ORDER BY created_at, kid",
            )
            .bind(server.as_str())
            .fetch_all(&self.readers)
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
        let (server, changes, audit) = (server.clone(), changes.to_vec(), audit.to_vec());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                for change in &changes {
                    if change_key(connection, &server, change).await? == Changed::Overtaken {
                        return Ok(Verdict::Undo(Changed::Overtaken));
                    }
                }
                audit::chain(connection, &audit).await?;
                Ok(Verdict::Keep(Changed::Done))
            })
        })
    }

    fn raise_lifetime<'a>(&'a self, server: &'a AuthorizationServerId, lifetime: Duration) -> StoreFuture<'a, ()> {
        let server = server.clone();
        self.writer.change(Extent::Statement, move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE signing_key SET lifetime_max = ?1
                     WHERE server = ?2 AND state <> 'expired' AND lifetime_max < ?1",
                )
                .bind(seconds(lifetime))
                .bind(server.as_str())
                .execute(connection)
                .await?;
                Ok(Verdict::Keep(()))
            })
        })
    }

    fn revoke<'a>(&'a self, revocation: &'a Revocation, audit: &'a AuditEvent) -> StoreFuture<'a, Cursor> {
        let (revocation, audit) = (revocation.clone(), audit.clone());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                let cursor = keep_revocation(connection, &revocation).await?;
                audit::chain(connection, std::slice::from_ref(&audit)).await?;
                Ok(Verdict::Keep(cursor))
            })
        })
    }

    fn revocations_after(&self, cursor: Cursor, limit: u32) -> StoreFuture<'_, Vec<(Cursor, Revocation)>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT cursor, kind, server, name, since FROM revocation WHERE cursor > ? ORDER BY cursor LIMIT ?",
            )
            .bind(cursor.0)
            .bind(limit)
            .fetch_all(&self.readers)
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
        let events = events.to_vec();
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move { Ok(Verdict::Keep(audit::deny(connection, &events).await?)) })
        })
    }

    fn audit_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>> {
        self.events_of_error(error_id)
    }

    fn prune(&self, now: Timestamp) -> StoreFuture<'_, u64> {
        self.forget(now)
    }
}

async fn change_key(
    connection: &mut SqliteConnection,
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
                .execute(connection)
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
            .execute(connection)
            .await?,
            KeyChange::Remove { kid, from } => {
                sqlx::query("DELETE FROM signing_key WHERE server = ? AND kid = ? AND state = ?")
                    .bind(server.as_str())
                    .bind(kid.as_str())
                    .bind(from.as_str())
                    .execute(connection)
                    .await?
            }
        };
    Ok(if done.rows_affected() == 1 {
        Changed::Done
    } else {
        Changed::Overtaken
    })
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
