//! The directory of users.

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Postgres, Row as _, Transaction};

use crate::audit::AuditEvent;
use crate::model::id::UserId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::user::{UserRecord, UserStatus};
use crate::revocation::Revocation;
use crate::store::objects::{DirectoryStore, UserChange};
use crate::store::postgres::{PostgresStore, askable, audit, bounded, is_taken, revocations};
use crate::store::{Changed, StoreError, StoreFuture};

impl DirectoryStore for PostgresStore {
    fn user<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<UserRecord>> {
        bounded(async move {
            let row = sqlx::query("SELECT * FROM directory_user WHERE id = $1")
                .bind(id.as_str())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(user).transpose()
        })
    }

    fn user_by_login<'a>(&'a self, login: &'a str) -> StoreFuture<'a, Option<UserRecord>> {
        bounded(async move {
            if !askable(login) {
                return Ok(None);
            }
            let row = sqlx::query("SELECT * FROM directory_user WHERE login = $1")
                .bind(login.to_ascii_lowercase())
                .fetch_optional(&self.pool)
                .await?;
            row.as_ref().map(user).transpose()
        })
    }

    fn users<'a>(&'a self, prefix: &'a str, after: Option<&'a UserId>, limit: u32) -> StoreFuture<'a, Vec<UserRecord>> {
        bounded(users(&self.pool, prefix, after, limit))
    }

    fn change_user<'a>(
        &'a self,
        change: &'a UserChange,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        bounded(async move {
            let mut transaction = self.write().await?;
            match change_one(&mut transaction, change).await {
                Ok(1) => {}
                Ok(_) => return Ok(Changed::Overtaken),
                // Another user has this login.
                Err(error) if is_taken(&error) => return Ok(Changed::Overtaken),
                Err(error) => return Err(error.into()),
            }
            revocations::keep_all(&mut transaction, revocations).await?;
            audit::append(&mut transaction, audit).await?;
            transaction.commit().await?;
            Ok(Changed::Done)
        })
    }

    fn groups_of<'a>(&'a self, user: &'a UserId) -> StoreFuture<'a, Vec<String>> {
        bounded(async move {
            let groups = sqlx::query_scalar("SELECT group_id FROM membership WHERE user_id = $1 ORDER BY group_id")
                .bind(user.as_str())
                .fetch_all(&self.pool)
                .await?;
            Ok(groups)
        })
    }

    fn members<'a>(
        &'a self,
        group: &'a str,
        after: Option<&'a UserId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<UserRecord>> {
        bounded(async move {
            if !askable(group) {
                return Ok(Vec::new());
            }
            let rows = sqlx::query(
                "SELECT directory_user.* FROM membership JOIN directory_user ON directory_user.id = membership.user_id
                 WHERE membership.group_id = $1 AND membership.user_id > $2 ORDER BY membership.user_id LIMIT $3",
            )
            .bind(group)
            .bind(after.map_or("", UserId::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
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
        bounded(async move {
            let mut transaction = self.write().await?;
            if set_membership(&mut transaction, user, group, is_member).await? == 1 {
                audit::append(&mut transaction, audit).await?;
            }
            transaction.commit().await?;
            Ok(())
        })
    }
}

async fn users(pool: &PgPool, prefix: &str, after: Option<&UserId>, limit: u32) -> Result<Vec<UserRecord>, StoreError> {
    if !askable(prefix) {
        return Ok(Vec::new());
    }
    let rows =
        sqlx::query("SELECT * FROM directory_user WHERE starts_with(login, $1) AND id > $2 ORDER BY id LIMIT $3")
            .bind(prefix.to_ascii_lowercase())
            .bind(after.map_or("", UserId::as_str))
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?;
    rows.iter().map(user).collect()
}

async fn change_one(transaction: &mut Transaction<'static, Postgres>, change: &UserChange) -> Result<u64, sqlx::Error> {
    let done =
        match change {
            UserChange::Insert(user) => sqlx::query(
                "INSERT INTO directory_user (id, login, status, profile, password, revision, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, 1, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(user.id.as_str())
            .bind(user.login.to_ascii_lowercase())
            .bind(user.status.as_str())
            .bind(profile(user))
            .bind(password(user))
            .bind(user.created_at.unix_seconds())
            .bind(user.updated_at.unix_seconds())
            .execute(&mut **transaction)
            .await?,
            UserChange::Replace { user, from } => {
                sqlx::query(
                    "UPDATE directory_user SET login = $1, status = $2, profile = $3, password = $4, updated_at = $5,
                 revision = revision + 1 WHERE id = $6 AND revision = $7",
                )
                .bind(user.login.to_ascii_lowercase())
                .bind(user.status.as_str())
                .bind(profile(user))
                .bind(password(user))
                .bind(user.updated_at.unix_seconds())
                .bind(user.id.as_str())
                .bind(from)
                .execute(&mut **transaction)
                .await?
            }
            UserChange::Remove { id, from } => {
                sqlx::query("DELETE FROM directory_user WHERE id = $1 AND revision = $2")
                    .bind(id.as_str())
                    .bind(from)
                    .execute(&mut **transaction)
                    .await?
            }
        };
    Ok(done.rows_affected())
}

async fn set_membership(
    transaction: &mut Transaction<'static, Postgres>,
    user: &UserId,
    group: &str,
    is_member: bool,
) -> Result<u64, sqlx::Error> {
    let done = if is_member {
        // The user's row is locked, so that nobody is put into a group while being removed.
        sqlx::query(
            "INSERT INTO membership (user_id, group_id)
             SELECT id, $2 FROM directory_user WHERE id = $1 FOR SHARE ON CONFLICT DO NOTHING",
        )
    } else {
        sqlx::query("DELETE FROM membership WHERE user_id = $1 AND group_id = $2")
    };
    Ok(done
        .bind(user.as_str())
        .bind(group)
        .execute(&mut **transaction)
        .await?
        .rows_affected())
}

fn profile(user: &UserRecord) -> String {
    serde_json::Value::Object(user.profile.clone()).to_string()
}

fn password(user: &UserRecord) -> Option<&str> {
    user.password.as_ref().map(|password| password.expose_secret().as_str())
}

fn user(row: &PgRow) -> Result<UserRecord, StoreError> {
    let corrupt = StoreError::Corrupt;
    let password: Option<String> = row.try_get("password")?;
    Ok(UserRecord {
        id: UserId::parse(row.try_get("id")?).map_err(|_| corrupt("user"))?,
        login: row.try_get("login")?,
        status: UserStatus::parse(row.try_get("status")?).ok_or(corrupt("status of a user"))?,
        profile: serde_json::from_str(row.try_get("profile")?).map_err(|_| corrupt("profile"))?,
        password: password.map(Secret::new),
        revision: row.try_get("revision")?,
        created_at: Timestamp::from_unix_seconds(row.try_get("created_at")?),
        updated_at: Timestamp::from_unix_seconds(row.try_get("updated_at")?),
    })
}
