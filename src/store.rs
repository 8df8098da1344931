//! What is kept across restarts: the one interface, in the issuer's own terms.
//!
//! - A call that has returned `Ok` is durable: it survives `kill -9` and a power cut.
//! - A change of state repeats, in its condition, the state that it was decided upon. If another
//!   node was first, that is an outcome ([`Changed::Overtaken`]), not an error of the database.
//! - A change and its audit record are one transaction.
//! - No row is written per access token. Private keys come in sealed ([`seal`]): the store could not
//!   read them if it wanted to.
//!
//! The gate never asks the store anything: what it needs is in memory ([`crate::revocation`],
//! [`crate::keys`]), so that a store that is away costs no check.

#[cfg(test)]
pub(crate) mod failing;
pub mod follow;
pub mod grants;
pub mod memory;
pub mod nodes;
pub mod objects;
pub mod open;
pub mod postgres;
pub mod seal;
pub mod settings;
pub mod sqlite;

use std::cmp::Ordering;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::audit::AuditEvent;
use crate::model::id::{AuthorizationServerId, Kid};
use crate::model::time::Timestamp;
use crate::oauth::keyring::{KeyRecord, KeyState};
use crate::revocation::Revocation;
use crate::store::grants::GrantStore;
use crate::store::nodes::NodeStore;
use crate::store::objects::{AuditStore, DirectoryStore, ObjectStore};

/// What a call of the store gives, later.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The interface. `Arc<dyn Store>` is how it is held.
pub trait Store: GrantStore + ObjectStore + DirectoryStore + AuditStore + NodeStore + Send + Sync + 'static {
    /// Every key of an authorization server.
    fn keys<'a>(&'a self, server: &'a AuthorizationServerId) -> StoreFuture<'a, Vec<StoredKey>>;

    /// Applies all of these changes, and their audit records, or none of them.
    fn change_keys<'a>(
        &'a self,
        server: &'a AuthorizationServerId,
        changes: &'a [KeyChange],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed>;

    /// Notes that keys which may sign will sign tokens that live this long. A shorter life than the
    /// one that is noted changes nothing.
    fn raise_lifetime<'a>(&'a self, server: &'a AuthorizationServerId, lifetime: Duration) -> StoreFuture<'a, ()>;

    /// Keeps a revocation and its audit record. A fact that is known already is told again to who
    /// reads on, and never becomes weaker.
    fn revoke<'a>(&'a self, revocation: &'a Revocation, audit: &'a AuditEvent) -> StoreFuture<'a, Cursor>;

    /// The revocations after this place, oldest first, at most `limit` of them.
    fn revocations_after(&self, cursor: Cursor, limit: u32) -> StoreFuture<'_, Vec<(Cursor, Revocation)>>;

    /// Keeps denials, each for its `error_id`. They are no part of the chain: they change nothing, and as there is no
    /// end of them only the newest [`AUDIT_DENIALS_MAX`] are kept.
    fn append_audit<'a>(&'a self, events: &'a [AuditEvent]) -> StoreFuture<'a, ()>;

    /// The audit records of one `error_id`: denials first, then durable ones, each as they came.
    fn audit_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>>;

    /// Forgets what cannot matter any more, at most [`PRUNE_ROWS_MAX`] rows of each: revocations that can kill no
    /// living token, grants [`GRANT_KEPT`] and things good for one use [`ONE_TIME_KEPT`] after their end, what was
    /// seen once and can be shown no more, and failures that are no longer counted. Gives how many were forgotten.
    fn prune(&self, now: Timestamp) -> StoreFuture<'_, u64>;
}

/// The denials that the audit log keeps.
pub const AUDIT_DENIALS_MAX: u32 = 100_000;

/// The most rows that one [`Store::prune`] takes of one table: it must not hold writers up.
pub const PRUNE_ROWS_MAX: u32 = 10_000;

/// For how long a grant is kept after its end or revocation: as long as a token that came of it may live.
pub const GRANT_KEPT: Duration = DEAD_SINCE_KEPT;

/// For how long a thing that is good for one use is kept after its end: who shows a stolen code late is still seen.
pub const ONE_TIME_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time that failures are counted: a moment and it make another moment in every store.
const FAILURE_WINDOW_MAX: Duration = Duration::from_secs(1 << 40);

/// For how long a revocation is kept after the moment that it speaks of: longer than any access token
/// lives (31 days, as [`crate::revocation::RevocationSettings`] has it).
const DEAD_SINCE_KEPT: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// For how long the revocation of one token is kept after its `exp`: the leeway of verifiers, twice.
const DEAD_TOKEN_KEPT: Duration = Duration::from_secs(120);

/// A place in the list of revocations. `Cursor::default()` is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(pub i64);

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// What is known of it.
    pub record: KeyRecord,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
}

/// A change of one key.
#[derive(Debug, Clone)]
pub enum KeyChange {
    /// A new key.
    Insert(StoredKey),
    /// A key enters another state, if it still is in the first one.
    Enter {
        /// Which key.
        kid: Kid,
        /// The state that it is in.
        from: KeyState,
        /// The state that it enters.
        to: KeyState,
        /// When.
        at: Timestamp,
    },
    /// A key is forgotten, if it still is in this state.
    Remove {
        /// Which key.
        kid: Kid,
        /// The state that it is in.
        from: KeyState,
    },
}

/// What became of a change that depends on a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// It is done.
    Done,
    /// Somebody else was first: nothing was changed, and the state has to be read again.
    Overtaken,
}

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was written by a newer version.
    #[error(
        "the database has schema {found}, this version knows {known}: start the newer version again, or restore a backup"
    )]
    NewerSchema {
        /// The schema that it has.
        found: i64,
        /// The newest schema that we know.
        known: i64,
    },
    /// The database was written by an older version, and only its keeper may bring it up to date.
    #[error("the database has schema {found}, this version reads {known}: start the issuer with this version first")]
    OlderSchema {
        /// The schema that it has.
        found: i64,
        /// The one that we read.
        known: i64,
    },
    /// The database cannot be reached, or refuses.
    #[error("the store did not complete the call")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database holds a value that we never write.
    #[error("the store holds a value that cannot be read: {0}")]
    Corrupt(&'static str),
    /// The identifier of a new thing belongs to another one: identifiers are random, so nobody is told whose.
    #[error("the identifier of a new {0} is taken")]
    Taken(&'static str),
    /// A file or folder cannot be made or opened.
    #[error("`{path}` cannot be opened: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key that seals private keys is not there.
    #[error(
        "the key file `{0}` is missing: it opens the private keys in the store; restore it, or for a new store make one with `openssl rand -base64 32`"
    )]
    SealingKeyMissing(PathBuf),
    /// The key file is no key.
    #[error("the key file `{0}` does not hold 32 bytes in base64")]
    SealingKeyMalformed(PathBuf),
    /// PostgreSQL is configured without a sealing key.
    #[error(
        "a store in PostgreSQL needs a sealing key, the same on every node: say `store: {{ url: …, sealing_key: {{ file: … }} }}`"
    )]
    SealingKeyUnnamed,
    /// The sealing key does not come from where it should.
    #[error("the sealing key from {from}: {problem}")]
    SealingKeySource {
        /// Where it should come from, in words.
        from: String,
        /// What went wrong.
        problem: String,
    },
    /// Another key seals the private keys in this database.
    #[error(
        "the sealing key from {0} is not the one of this database: every node needs the key that the first one started with"
    )]
    OtherSealingKey(String),
}

/// How a revocation is spelt in a table: kind, server, name, since, and when it may be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RevocationRow {
    kind: &'static str,
    server: String,
    name: String,
    since: i64,
    expires_at: i64,
}

impl RevocationRow {
    fn of(revocation: &Revocation) -> Self {
        let kept = |before: Timestamp| (before.unix_seconds(), before.plus(DEAD_SINCE_KEPT).unix_seconds());
        let (server, name, (since, expires_at)) = match revocation {
            Revocation::Token { server, jti, until } => {
                let times = (until.unix_seconds(), until.plus(DEAD_TOKEN_KEPT).unix_seconds());
                (server.to_string(), jti.to_string(), times)
            }
            Revocation::Session {
                server,
                session,
                before,
            } => (server.to_string(), session.clone(), kept(*before)),
            Revocation::Subject {
                server,
                subject,
                before,
            } => {
                let server = server.as_ref().map(ToString::to_string).unwrap_or_default();
                (server, subject.to_string(), kept(*before))
            }
            Revocation::Client { client, before } => (String::new(), client.to_string(), kept(*before)),
            Revocation::Assignment {
                client,
                subject,
                before,
            } => {
                let name = serde_json::json!([client.as_str(), subject.as_str()]);
                (String::new(), name.to_string(), kept(*before))
            }
            Revocation::Key { server, kid } => (server.to_string(), kid.to_string(), (0, i64::MAX)),
            Revocation::Server { server, before } => (server.to_string(), String::new(), kept(*before)),
        };
        Self {
            kind: revocation.kind(),
            server,
            name,
            since,
            expires_at,
        }
    }

    fn read(kind: &str, server: &str, name: &str, since: i64) -> Result<Revocation, StoreError> {
        use crate::model::id::{ClientId, Jti, Subject};
        let corrupt = |_| StoreError::Corrupt("revocation");
        let at = Timestamp::from_unix_seconds(since);
        let server_id = || AuthorizationServerId::parse(server).map_err(corrupt);
        Ok(match kind {
            "token" => Revocation::Token {
                server: server_id()?,
                jti: Jti::parse(name).map_err(corrupt)?,
                until: at,
            },
            "session" => Revocation::Session {
                server: server_id()?,
                session: name.to_owned(),
                before: at,
            },
            "subject" => Revocation::Subject {
                server: if server.is_empty() { None } else { Some(server_id()?) },
                subject: Subject::parse(name).map_err(corrupt)?,
                before: at,
            },
            "client" => Revocation::Client {
                client: ClientId::parse(name).map_err(corrupt)?,
                before: at,
            },
            "assignment" => {
                let names = serde_json::from_str(name);
                let (client, subject): (String, String) = names.map_err(|_| StoreError::Corrupt("revocation"))?;
                Revocation::Assignment {
                    client: ClientId::parse(&client).map_err(corrupt)?,
                    subject: Subject::parse(&subject).map_err(corrupt)?,
                    before: at,
                }
            }
            "key" => Revocation::Key {
                server: server_id()?,
                kid: Kid::parse(name).map_err(corrupt)?,
            },
            "server" => Revocation::Server {
                server: server_id()?,
                before: at,
            },
            _ => return Err(StoreError::Corrupt("revocation kind")),
        })
    }
}

/// Whether a database that we only read has the schema that we know.
fn readable(found: i64, migrations: usize) -> Result<(), StoreError> {
    let known = i64::try_from(migrations).unwrap_or(i64::MAX);
    match found.cmp(&known) {
        Ordering::Less => Err(StoreError::OlderSchema { found, known }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(StoreError::NewerSchema { found, known }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
