//! What administrators make.

use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row as _, Transaction};

use crate::audit::AuditEvent;
use crate::model::time::Timestamp;
use crate::revocation::Revocation;
use crate::store::objects::{ObjectChange, ObjectKind, ObjectStore, StoredObject};
use crate::store::postgres::{PostgresStore, advance, audit, bounded, revocations};
use crate::store::{Changed, StoreError, StoreFuture};

impl ObjectStore for PostgresStore {
    fn objects(&self, kind: ObjectKind) -> StoreFuture<'_, Vec<StoredObject>> {
        bounded(async move {
            let rows = sqlx::query(
                "SELECT id, revision, body, created_at, updated_at FROM object WHERE kind = $1 ORDER BY id",
            )
            .bind(kind.as_str())
            .fetch_all(&self.pool)
            .await?;
            rows.iter().map(|row| object(kind, row)).collect()
        })
    }

    fn change_objects<'a>(
        &'a self,
        changes: &'a [ObjectChange],
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        bounded(async move {
            let mut transaction = self.write().await?;
            // First: one change at a time, in whatever order each names its objects.
            advance(&mut transaction, "objects").await?;
            for change in changes {
                if change_one(&mut transaction, change).await? != 1 {
                    return Ok(Changed::Overtaken);
                }
            }
            revocations::keep_all(&mut transaction, revocations).await?;
            audit::append(&mut transaction, audit).await?;
            transaction.commit().await?;
            Ok(Changed::Done)
        })
    }

    fn objects_generation(&self) -> StoreFuture<'_, i64> {
        bounded(async move {
            let value = sqlx::query_scalar("SELECT value FROM counter WHERE name = 'objects'")
                .fetch_one(&self.pool)
                .await?;
            Ok(value)
        })
    }
}

async fn change_one(
    transaction: &mut Transaction<'static, Postgres>,
    change: &ObjectChange,
) -> Result<u64, StoreError> {
    let done = match change {
        ObjectChange::Insert(object) => {
            sqlx::query(
                "INSERT INTO object (kind, id, revision, body, created_at, updated_at)
                 VALUES ($1, $2, 1, $3, $4, $5) ON CONFLICT DO NOTHING",
            )
            .bind(object.kind.as_str())
            .bind(&object.id)
            .bind(object.body.to_string())
            .bind(object.created_at.unix_seconds())
            .bind(object.updated_at.unix_seconds())
            .execute(&mut **transaction)
            .await?
        }
        ObjectChange::Replace {
            kind,
            id,
            from,
            body,
            at,
        } => {
            sqlx::query(
                "UPDATE object SET body = $1, updated_at = $2, revision = revision + 1
                 WHERE kind = $3 AND id = $4 AND revision = $5",
            )
            .bind(body.to_string())
            .bind(at.unix_seconds())
            .bind(kind.as_str())
            .bind(id)
            .bind(from)
            .execute(&mut **transaction)
            .await?
        }
        ObjectChange::Remove { kind, id, from } => {
            let removed = sqlx::query("DELETE FROM object WHERE kind = $1 AND id = $2 AND revision = $3")
                .bind(kind.as_str())
                .bind(id)
                .bind(from)
                .execute(&mut **transaction)
                .await?;
            if *kind == ObjectKind::Group && removed.rows_affected() == 1 {
                sqlx::query("DELETE FROM membership WHERE group_id = $1")
                    .bind(id)
                    .execute(&mut **transaction)
                    .await?;
            }
            removed
        }
    };
    Ok(done.rows_affected())
}

fn object(kind: ObjectKind, row: &PgRow) -> Result<StoredObject, StoreError> {
    Ok(StoredObject {
        kind,
        id: row.try_get("id")?,
        revision: row.try_get("revision")?,
        body: serde_json::from_str(row.try_get("body")?).map_err(|_| StoreError::Corrupt("object"))?,
        created_at: Timestamp::from_unix_seconds(row.try_get("created_at")?),
        updated_at: Timestamp::from_unix_seconds(row.try_get("updated_at")?),
    })
}
