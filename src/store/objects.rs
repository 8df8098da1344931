//! What administrators make: authorization servers, clients, groups, users, and who is in what.

use serde_json::Value;

pub use crate::audit::AuditEntry;
use crate::audit::AuditEvent;
use crate::model::id::UserId;
use crate::model::time::Timestamp;
use crate::oauth::user::UserRecord;
use crate::revocation::Revocation;
use crate::store::{Changed, StoreFuture};

/// Objects of the administration: few enough that each node holds them all.
///
/// An authorization server is *one* object, with its scopes, claims, policies and rules in order: a change of any part
/// compares and moves on the revision of the whole, so that no two administrators undo each other's order.
pub trait ObjectStore: Send + Sync {
    /// Every object of a kind, by identifier.
    fn objects(&self, kind: ObjectKind) -> StoreFuture<'_, Vec<StoredObject>>;

    /// Applies all of these changes with their revocations and audit records, or none of them. A group that is
    /// removed takes its memberships with it.
    fn change_objects<'a>(
        &'a self,
        changes: &'a [ObjectChange],
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed>;

    /// A number that moves on with each [`ObjectStore::change_objects`], whatever node made it.
    fn objects_generation(&self) -> StoreFuture<'_, i64>;
}

/// The directory of users: as many as there are; nobody holds them all.
pub trait DirectoryStore: Send + Sync {
    /// A user.
    fn user<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<UserRecord>>;

    /// A user, and the groups that it is in, by identifier.
    fn person<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<(UserRecord, Vec<String>)>> {
        Box::pin(async move {
            let Some(user) = self.user(id).await? else {
                return Ok(None);
            };
            let groups = self.groups_of(&user.id).await?;
            Ok(Some((user, groups)))
        })
    }

    /// A user by login; the login is compared in lower case, which is how it is kept.
    fn user_by_login<'a>(&'a self, login: &'a str) -> StoreFuture<'a, Option<UserRecord>>;

    /// Users after this one, by identifier, whose login begins with `prefix` (all of them if it is empty).
    fn users<'a>(&'a self, prefix: &'a str, after: Option<&'a UserId>, limit: u32) -> StoreFuture<'a, Vec<UserRecord>>;

    /// Makes, changes or removes a user with the revocations and audit records. A login that is taken is
    /// [`Changed::Overtaken`], and so is a revision that has moved on.
    fn change_user<'a>(
        &'a self,
        change: &'a UserChange,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed>;

    /// The groups that a user is in, by identifier.
    fn groups_of<'a>(&'a self, user: &'a UserId) -> StoreFuture<'a, Vec<String>>;

    /// The users in a group after this one, by identifier.
    fn members<'a>(&'a self, group: &'a str, after: Option<&'a UserId>, limit: u32)
    -> StoreFuture<'a, Vec<UserRecord>>;

    /// Puts a user into a group or takes the user out. Where that changes nothing, nothing is recorded: done
    /// already is done, and a user who is not there is in no group.
    fn set_membership<'a>(
        &'a self,
        user: &'a UserId,
        group: &'a str,
        is_member: bool,
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, ()>;
}

/// The audit log: append-only, each entry chained to the last by hash.
pub trait AuditStore: Send + Sync {
    /// Entries that meet every condition, oldest first.
    fn audit_entries<'a>(&'a self, query: &'a AuditQuery) -> StoreFuture<'a, Vec<AuditEntry>>;
}

/// Which entries of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// After this entry: later than it, or with `descending` older than it. 0 is before all of them, either way.
    pub after: i64,
    /// Only of these kinds, by name; of every kind if empty.
    pub kinds: Vec<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: u32,
    /// The newest first instead.
    pub descending: bool,
}

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// An authorization server, whole.
    AuthorizationServer,
    /// A client, with secrets as digests, keys and assignments.
    Client,
    /// A group: its name and description.
    Group,
    /// What an administrator may do: a client or user, a role, and where.
    RoleBinding,
    /// What a user's profile may hold: one object, `default`.
    UserSchema,
    /// The names that the configuration file declared last: one object, `file`. No administrator sees it.
    FileDeclaration,
}

impl ObjectKind {
    /// Every kind that is administered.
    pub const ALL: [Self; 5] = [
        Self::AuthorizationServer,
        Self::Client,
        Self::Group,
        Self::RoleBinding,
        Self::UserSchema,
    ];

    /// The name in a table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationServer => "authorization_server",
            Self::Client => "client",
            Self::Group => "group",
            Self::RoleBinding => "role_binding",
            Self::UserSchema => "user_schema",
            Self::FileDeclaration => "file_declaration",
        }
    }
}

/// An object as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredObject {
    /// What it is.
    pub kind: ObjectKind,
    /// Its identifier, unique among its kind.
    pub id: String,
    /// Moves on by one with each change, from 1.
    pub revision: i64,
    /// What it says.
    pub body: Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl StoredObject {
    /// An object as it begins: at revision 1.
    #[must_use]
    pub fn new(kind: ObjectKind, id: &str, body: Value, at: Timestamp) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            revision: 1,
            body,
            created_at: at,
            updated_at: at,
        }
    }
}

/// A change of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectChange {
    /// A new one; its revision is 1.
    Insert(StoredObject),
    /// Another body, if the revision is still this one.
    Replace {
        /// What it is.
        kind: ObjectKind,
        /// Which.
        id: String,
        /// The revision that the change was decided upon.
        from: i64,
        /// The new body.
        body: Value,
        /// When.
        at: Timestamp,
    },
    /// It is forgotten, if the revision is still this one.
    Remove {
        /// What it is.
        kind: ObjectKind,
        /// Which.
        id: String,
        /// The revision that the change was decided upon.
        from: i64,
    },
}

/// A change of a user.
#[derive(Debug, Clone)]
pub enum UserChange {
    /// A new one; its revision is 1.
    Insert(UserRecord),
    /// Everything but the identifier and the creation changes, if the revision is still `from`; the new one is `from + 1`.
    Replace {
        /// The user as it will be.
        user: UserRecord,
        /// The revision that the change was decided upon.
        from: i64,
    },
    /// The user is forgotten, with its memberships.
    Remove {
        /// Who.
        id: UserId,
        /// The revision that the change was decided upon.
        from: i64,
    },
}
