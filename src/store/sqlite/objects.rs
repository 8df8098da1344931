//! Objects of the administration in SQLite.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::audit::AuditEvent;
use crate::revocation::Revocation;
use crate::store::objects::{ObjectChange, ObjectKind, ObjectStore, StoredObject};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::audit::attest;
use crate::store::sqlite::rows::{json, time};
use crate::store::sqlite::writer::{Extent, Verdict};
use crate::store::{Changed, StoreError, StoreFuture};

impl ObjectStore for SqliteStore {
    fn objects(&self, kind: ObjectKind) -> StoreFuture<'_, Vec<StoredObject>> {
        Box::pin(async move {
            let rows =
                sqlx::query("SELECT id, revision, body, created_at, updated_at FROM object WHERE kind = ? ORDER BY id")
                    .bind(kind.as_str())
                    .fetch_all(&self.readers)
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
        let (changes, revocations, audit) = (changes.to_vec(), revocations.to_vec(), audit.to_vec());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                for one in &changes {
                    if change(connection, one).await? == Changed::Overtaken {
                        return Ok(Verdict::Undo(Changed::Overtaken));
                    }
                }
                sqlx::query("UPDATE object_generation SET generation = generation + 1")
                    .execute(&mut *connection)
                    .await?;
                attest(connection, &revocations, &audit).await?;
                Ok(Verdict::Keep(Changed::Done))
            })
        })
    }

    fn objects_generation(&self) -> StoreFuture<'_, i64> {
        Box::pin(async move {
            let generation = sqlx::query_scalar("SELECT generation FROM object_generation");
            Ok(generation.fetch_one(&self.readers).await?)
        })
    }
}

async fn change(connection: &mut SqliteConnection, change: &ObjectChange) -> Result<Changed, StoreError> {
    let done = match change {
        ObjectChange::Insert(object) => {
            sqlx::query(
                "INSERT INTO object (kind, id, revision, body, created_at, updated_at) VALUES (?, ?, 1, ?, ?, ?)
                 ON CONFLICT (kind, id) DO NOTHING",
            )
            .bind(object.kind.as_str())
            .bind(&object.id)
            .bind(object.body.to_string())
            .bind(object.created_at.unix_seconds())
            .bind(object.updated_at.unix_seconds())
            .execute(&mut *connection)
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
                "UPDATE object SET revision = revision + 1, body = ?, updated_at = ?
                 WHERE kind = ? AND id = ? AND revision = ?",
            )
            .bind(body.to_string())
            .bind(at.unix_seconds())
            .bind(kind.as_str())
            .bind(id)
            .bind(from)
            .execute(&mut *connection)
            .await?
        }
        ObjectChange::Remove { kind, id, from } => {
            if *kind == ObjectKind::Group {
                sqlx::query("DELETE FROM membership WHERE group_id = ?")
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
            }
            sqlx::query("DELETE FROM object WHERE kind = ? AND id = ? AND revision = ?")
                .bind(kind.as_str())
                .bind(id)
                .bind(from)
                .execute(&mut *connection)
                .await?
        }
    };
    Ok(if done.rows_affected() == 1 {
        Changed::Done
    } else {
        Changed::Overtaken
    })
}

fn object(kind: ObjectKind, row: &SqliteRow) -> Result<StoredObject, StoreError> {
    Ok(StoredObject {
        kind,
        id: row.try_get("id")?,
        revision: row.try_get("revision")?,
        body: json(row, "body")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}
