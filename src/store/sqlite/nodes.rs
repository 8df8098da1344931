//! How far everything has come: several processes may share one file.

use crate::store::nodes::{Heads, NodeStore};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::writer::{Extent, Verdict};
use crate::store::{Cursor, StoreFuture};

impl NodeStore for SqliteStore {
    fn heads(&self) -> StoreFuture<'_, Heads> {
        Box::pin(async move {
            // The sequence table keeps the last cursor, also when its row was pruned.
            let (revocations, keys, objects) = sqlx::query_as(
                "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'revocation'), 0),
                 (SELECT generation FROM key_generation), (SELECT generation FROM object_generation)",
            )
            .fetch_one(&self.readers)
            .await?;
            Ok(Heads {
                revocations: Cursor(revocations),
                keys,
                objects,
            })
        })
    }

    fn meta<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let value = sqlx::query_scalar("SELECT value FROM meta WHERE name = ?").bind(name);
            Ok(value.fetch_optional(&self.readers).await?)
        })
    }

    fn keep_meta<'a>(&'a self, name: &'a str, value: &'a [u8]) -> StoreFuture<'a, Vec<u8>> {
        let (name, value) = (name.to_owned(), value.to_vec());
        self.writer.change(Extent::Statements, move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING")
                    .bind(&name)
                    .bind(&value)
                    .execute(&mut *connection)
                    .await?;
                let kept = sqlx::query_scalar("SELECT value FROM meta WHERE name = ?").bind(&name);
                Ok(Verdict::Keep(kept.fetch_one(connection).await?))
            })
        })
    }
}
