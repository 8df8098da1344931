//! Users and memberships in SQLite.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::audit::AuditEvent;
use crate::model::id::UserId;
use crate::model::secret::Secret;
use crate::oauth::user::{UserRecord, UserStatus};
use crate::revocation::Revocation;
use crate::store::objects::{DirectoryStore, UserChange};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::audit::{attest, chain};
use crate::store::sqlite::rows::{json, parsed, time, word};
use crate::store::sqlite::writer::{Extent, Verdict};
use crate::store::{Changed, StoreError, StoreFuture};

/// The range keeps the search in the index of logins; `substr` is what decides.
const BY_PREFIX: &str = "SELECT * FROM directory_user
    WHERE login >= ?1 AND login < ?1 || char(1114111) AND substr(login, 1, length(?1)) = ?1 AND id > ?2
    ORDER BY id LIMIT ?3";

const MEMBERS: &str = "SELECT directory_user.* FROM membership JOIN directory_user ON id = user_id
    WHERE group_id = ? AND user_id > ? ORDER BY user_id LIMIT ?";

/// People, each with the groups that it is in.
pub(super) const SELECT_PEOPLE: &str = "SELECT directory_user.*,
    (SELECT json_group_array(group_id) FROM membership WHERE user_id = directory_user.id) AS groups
    FROM directory_user WHERE id IN (SELECT value FROM json_each(?1))";

#[cfg(test)]
pub(super) fn statements() -> Vec<&'static str> {
    vec![BY_PREFIX, MEMBERS, SELECT_PEOPLE]
}

impl DirectoryStore for SqliteStore {
    fn user<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<UserRecord>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM directory_user WHERE id = ?")
                .bind(id.as_str())
                .fetch_optional(&self.readers)
                .await?;
            row.as_ref().map(user).transpose()
        })
    }

    fn person<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<(UserRecord, Vec<String>)>> {
        self.look_ups.person(id)
    }

    fn user_by_login<'a>(&'a self, login: &'a str) -> StoreFuture<'a, Option<UserRecord>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT * FROM directory_user WHERE login = ?")
                .bind(login.to_ascii_lowercase())
                .fetch_optional(&self.readers)
                .await?;
            row.as_ref().map(user).transpose()
        })
    }

    fn users<'a>(&'a self, prefix: &'a str, after: Option<&'a UserId>, limit: u32) -> StoreFuture<'a, Vec<UserRecord>> {
        Box::pin(async move {
            // No identifier is empty: every one of them is after "".
            let after = after.map_or("", UserId::as_str);
            let query = if prefix.is_empty() {
                sqlx::query("SELECT * FROM directory_user WHERE id > ?1 ORDER BY id LIMIT ?2")
            } else {
                sqlx::query(BY_PREFIX).bind(prefix.to_ascii_lowercase())
            };
            let rows = query.bind(after).bind(limit).fetch_all(&self.readers).await?;
            rows.iter().map(user).collect()
        })
    }

    fn change_user<'a>(
        &'a self,
        change: &'a UserChange,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        let (change, revocations, audit) = (change.clone(), revocations.to_vec(), audit.to_vec());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                if change_row(connection, &change).await? == Changed::Overtaken {
                    return Ok(Verdict::Undo(Changed::Overtaken));
                }
                attest(connection, &revocations, &audit).await?;
                Ok(Verdict::Keep(Changed::Done))
            })
        })
    }

    fn groups_of<'a>(&'a self, user: &'a UserId) -> StoreFuture<'a, Vec<String>> {
        Box::pin(async move {
            let groups = sqlx::query_scalar("SELECT group_id FROM membership WHERE user_id = ? ORDER BY group_id");
            Ok(groups.bind(user.as_str()).fetch_all(&self.readers).await?)
        })
    }

    fn members<'a>(
        &'a self,
        group: &'a str,
        after: Option<&'a UserId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<UserRecord>> {
        Box::pin(async move {
            let rows = sqlx::query(MEMBERS)
                .bind(group)
                .bind(after.map_or("", UserId::as_str))
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
            rows.iter().map(user).collect()
        })
    }

    fn set_membership<'a>(
        &'a self,
        user: &'a UserId,
        group: &'a str,
        is_member: bool,
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, ()> {
        let (user, group, audit) = (user.clone(), group.to_owned(), audit.to_vec());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                let statement = if is_member {
                    "INSERT INTO membership (group_id, user_id) SELECT ?, id FROM directory_user WHERE id = ?
                     ON CONFLICT (group_id, user_id) DO NOTHING"
                } else {
                    "DELETE FROM membership WHERE group_id = ? AND user_id = ?"
                };
                let done = sqlx::query(statement)
                    .bind(&group)
                    .bind(user.as_str())
                    .execute(&mut *connection)
                    .await?;
                if done.rows_affected() == 1 {
                    chain(connection, &audit).await?;
                }
                Ok(Verdict::Keep(()))
            })
        })
    }
}

async fn change_row(connection: &mut SqliteConnection, change: &UserChange) -> Result<Changed, StoreError> {
    let done = match change {
        UserChange::Insert(user) => {
            // Whether it is the identifier or the login that is taken.
            sqlx::query(
                "INSERT INTO directory_user (login, status, profile, password, updated_at, created_at, id, revision)
                 VALUES (?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING",
            )
            .bind(user.login.to_ascii_lowercase())
            .bind(user.status.as_str())
            .bind(Value::Object(user.profile.clone()).to_string())
            .bind(user.password.as_ref().map(|password| password.expose_secret().as_str()))
            .bind(user.updated_at.unix_seconds())
            .bind(user.created_at.unix_seconds())
            .bind(user.id.as_str())
            .execute(connection)
            .await?
        }
        UserChange::Replace { user, from } => {
            // A login that is taken breaks its unique index: the update is ignored.
            sqlx::query(
                "UPDATE OR IGNORE directory_user
                 SET login = ?, status = ?, profile = ?, password = ?, updated_at = ?, revision = revision + 1
                 WHERE id = ? AND revision = ?",
            )
            .bind(user.login.to_ascii_lowercase())
            .bind(user.status.as_str())
            .bind(Value::Object(user.profile.clone()).to_string())
            .bind(user.password.as_ref().map(|password| password.expose_secret().as_str()))
            .bind(user.updated_at.unix_seconds())
            .bind(user.id.as_str())
            .bind(from)
            .execute(connection)
            .await?
        }
        UserChange::Remove { id, from } => {
            sqlx::query("DELETE FROM directory_user WHERE id = ? AND revision = ?")
                .bind(id.as_str())
                .bind(from)
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

/// A row of [`SELECT_PEOPLE`].
pub(super) fn person(row: &SqliteRow) -> Result<(UserRecord, Vec<String>), StoreError> {
    let mut groups: Vec<String> = json(row, "groups")?;
    groups.sort_unstable();
    Ok((user(row)?, groups))
}

fn user(row: &SqliteRow) -> Result<UserRecord, StoreError> {
    let password: Option<String> = row.try_get("password")?;
    Ok(UserRecord {
        id: parsed(row, "id", UserId::parse)?,
        login: row.try_get("login")?,
        status: word(row, "status", UserStatus::parse)?,
        profile: json(row, "profile")?,
        password: password.map(Secret::new),
        revision: row.try_get("revision")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}
