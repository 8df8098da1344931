//! Forgets what cannot matter any more, in parts: between two of them the writers that wait have their turn.

use crate::model::time::Timestamp;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::writer::{Extent, Verdict};
use crate::store::{GRANT_KEPT, ONE_TIME_KEPT, PRUNE_ROWS_MAX, StoreError, StoreFuture};

/// How many rows one transaction forgets.
const PART: u32 = 500;

/// What is forgotten by one statement: what lies at or before a number, the lowest first.
struct Rule {
    statement: &'static str,
    before: i64,
}

impl SqliteStore {
    pub(super) fn forget(&self, now: Timestamp) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let mut forgotten = 0;
            for rule in &rules(now) {
                forgotten += self.forget_by(rule).await?;
            }
            Ok(forgotten)
        })
    }

    async fn forget_by(&self, rule: &Rule) -> Result<u64, StoreError> {
        let (statement, before) = (rule.statement, rule.before);
        let mut forgotten = 0;
        while forgotten < u64::from(PRUNE_ROWS_MAX) {
            let part = self.writer.change(Extent::Statement, move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(statement).bind(before).bind(PART);
                    Ok(Verdict::Keep(query.execute(connection).await?.rows_affected()))
                })
            });
            let part = part.await?;
            forgotten += part;
            if part < u64::from(PART) {
                break;
            }
        }
        Ok(forgotten)
    }
}

fn rules(now: Timestamp) -> [Rule; 6] {
    let rule = |statement, before: Timestamp| Rule {
        statement,
        before: before.unix_seconds(),
    };
    [
        rule(
            "DELETE FROM revocation WHERE cursor IN
             (SELECT cursor FROM revocation WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
            now,
        ),
        rule(
            "DELETE FROM oauth_grant WHERE id IN
             (SELECT id FROM oauth_grant WHERE MIN(expires_at, idle_expires_at) <= ?
              ORDER BY MIN(expires_at, idle_expires_at) LIMIT ?)",
            now.minus(GRANT_KEPT),
        ),
        rule(
            "DELETE FROM oauth_grant WHERE id IN
             (SELECT id FROM oauth_grant WHERE revoked_at <= ? ORDER BY revoked_at LIMIT ?)",
            now.minus(GRANT_KEPT),
        ),
        rule(
            "DELETE FROM one_time WHERE (kind, digest) IN
             (SELECT kind, digest FROM one_time WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
            now.minus(ONE_TIME_KEPT),
        ),
        rule(
            "DELETE FROM seen WHERE (purpose, digest) IN
             (SELECT purpose, digest FROM seen WHERE seen_until <= ? ORDER BY seen_until LIMIT ?)",
            now,
        ),
        rule(
            "DELETE FROM failure WHERE name IN
             (SELECT name FROM failure WHERE counts_until <= ? ORDER BY counts_until LIMIT ?)",
            now,
        ),
    ]
}

#[cfg(test)]
pub(super) fn statements() -> Vec<&'static str> {
    let rules = rules(Timestamp::from_unix_seconds(0));
    rules.iter().map(|rule| rule.statement).collect()
}
