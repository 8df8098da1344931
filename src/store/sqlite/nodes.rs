//! How far everything has come: several processes may share one file.

use crate::store::nodes::{Heads, NodeStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Cursor, StoreFuture};

impl NodeStore for SqliteStore {
    fn heads(&self) -> StoreFuture<'_, Heads> {
        Box::pin(async move {
            let revocations: Option<i64> =
                sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'revocation'")
                    .fetch_optional(&self.pool)
                    .await?;
            Ok(Heads {
                revocations: Cursor(revocations.unwrap_or_default()),
                ..Heads::default()
            })
        })
    }

    fn meta<'a>(&'a self, _name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn keep_meta<'a>(&'a self, _name: &'a str, value: &'a [u8]) -> StoreFuture<'a, Vec<u8>> {
        Box::pin(std::future::ready(Ok(value.to_vec())))
    }
}
