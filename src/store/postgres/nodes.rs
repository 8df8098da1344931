//! How far everything has come, and hearing of it.

use sqlx::Row as _;
use sqlx::postgres::PgListener;

use crate::store::nodes::{Heads, NodeStore};
use crate::store::postgres::{CHANNEL, PostgresStore, bounded};
use crate::store::{Cursor, StoreError, StoreFuture};

impl NodeStore for PostgresStore {
    fn heads(&self) -> StoreFuture<'_, Heads> {
        bounded(async move {
            let mut heads = Heads::default();
            for row in sqlx::query("SELECT name, value FROM counter")
                .fetch_all(&self.pool)
                .await?
            {
                let value = row.try_get("value")?;
                match row.try_get("name")? {
                    "revocations" => heads.revocations = Cursor(value),
                    "keys" => heads.keys = value,
                    "objects" => heads.objects = value,
                    _ => return Err(StoreError::Corrupt("counter")),
                }
            }
            Ok(heads)
        })
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut slot = self.listener.lock().await;
            let Some(listener) = &mut *slot else {
                let mut listener = PgListener::connect_with(&self.listening).await?;
                listener.listen(CHANNEL).await?;
                *slot = Some(listener);
                // What changed before we listened was told to nobody here.
                return Ok(());
            };
            match listener.try_recv().await {
                // Without a notification the connection was lost, and what was told meanwhile with it.
                Ok(_) => Ok(()),
                Err(error) => {
                    *slot = None;
                    Err(error.into())
                }
            }
        })
    }

    fn meta<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        bounded(async move {
            let value = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
            Ok(value)
        })
    }

    fn keep_meta<'a>(&'a self, name: &'a str, value: &'a [u8]) -> StoreFuture<'a, Vec<u8>> {
        bounded(async move {
            sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(name)
                .bind(value)
                .execute(&self.pool)
                .await?;
            let kept = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
                .bind(name)
                .fetch_one(&self.pool)
                .await?;
            Ok(kept)
        })
    }
}
