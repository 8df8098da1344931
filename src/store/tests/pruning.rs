//! What is forgotten, when, and how much of it at once.

use std::time::Duration;

use crate::model::digest::Digest;
use crate::oauth::refresh::GrantRecord;
use crate::store::grants::{GrantSelector, OneTime, OneTimeKind};
use crate::store::tests::grants::{grant, grant_id, one_time};
use crate::store::tests::{Tested, at, stores, token};
use crate::store::{Changed, GRANT_KEPT, ONE_TIME_KEPT, PRUNE_ROWS_MAX, Store};

async fn prune(store: &dyn Store, now: i64) -> u64 {
    store.prune(at(now)).await.expect("prunes")
}

fn after(seconds: i64, kept: Duration) -> i64 {
    at(seconds).plus(kept).unix_seconds()
}

#[tokio::test]
async fn a_grant_is_kept_until_no_token_of_it_can_live() {
    let forever = |id| GrantRecord {
        expires_at: at(i64::MAX),
        idle_expires_at: at(i64::MAX),
        ..grant(id)
    };
    let idle = GrantRecord {
        expires_at: at(i64::MAX),
        idle_expires_at: at(1_000),
        ..grant("idle")
    };
    let over = GrantRecord {
        expires_at: at(2_000),
        idle_expires_at: at(i64::MAX),
        ..grant("over")
    };
    for Tested { name, store, .. } in &stores().await {
        for grant in [&idle, &over, &forever("revoked"), &forever("alive")] {
            store.insert_grant(grant).await.expect("writes");
        }
        let revoked = GrantSelector::One(grant_id("revoked"));
        store
            .revoke_grants(&revoked, at(3_000), &[], &[])
            .await
            .expect("writes");
        for (id, end) in [("idle", 1_000), ("over", 2_000), ("revoked", 3_000)] {
            let is_kept = async || store.grant(&grant_id(id)).await.expect("reads").is_some();
            assert_eq!(prune(&**store, after(end, GRANT_KEPT) - 1).await, 0, "{name}: {id}");
            assert!(is_kept().await, "{name}: {id}");
            assert_eq!(prune(&**store, after(end, GRANT_KEPT)).await, 1, "{name}: {id}");
            assert!(!is_kept().await, "{name}: {id}");
        }
        let much_later = after(3_000, 1000 * GRANT_KEPT);
        assert_eq!(prune(&**store, much_later).await, 0, "{name}");
        assert!(
            store.grant(&grant_id("alive")).await.expect("reads").is_some(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_code_is_kept_for_a_day_after_its_end_used_or_not() {
    for Tested { name, store, .. } in &stores().await {
        let used = one_time("used");
        let device = OneTime {
            kind: OneTimeKind::DeviceCode,
            ..one_time("device")
        };
        store.put_one_time(&used).await.expect("writes");
        store.put_one_time(&device).await.expect("writes");
        let first = store.use_one_time(used.kind, &used.digest, &grant_id("g"), None).await;
        assert!(first.is_ok(), "{name}");
        let end = after(160, ONE_TIME_KEPT);
        assert_eq!(prune(&**store, end - 1).await, 0, "{name}");
        let late = store.use_one_time(used.kind, &used.digest, &grant_id("h"), None).await;
        assert!(
            matches!(late, Ok(crate::store::grants::Used::Again(by)) if by == grant_id("g")),
            "{name}"
        );
        assert_eq!(prune(&**store, end).await, 2, "{name}");
        assert_eq!(
            store.one_time(used.kind, &used.digest).await.expect("reads"),
            None,
            "{name}"
        );
    }
}

#[tokio::test]
async fn failures_are_forgotten_when_they_are_no_longer_counted() {
    let (key, window) = (Digest::of(b"anna"), Duration::from_secs(60));
    for Tested { name, store, .. } in &stores().await {
        for now in [100, 130] {
            store.count_failure(&key, at(now), window).await.expect("writes");
        }
        assert_eq!(prune(&**store, 189).await, 0, "{name}");
        assert_eq!(
            store.failures(&key, at(189), window).await.expect("reads").count,
            2,
            "{name}"
        );
        assert_eq!(prune(&**store, 190).await, 1, "{name}");
    }
}

#[tokio::test]
async fn one_run_forgets_no_more_than_its_bound_of_each_and_the_next_one_goes_on() {
    const SURPLUS: u32 = 7;
    let facts: Vec<_> = (0..PRUNE_ROWS_MAX + SURPLUS)
        .map(|number| token(&number.to_string(), 100))
        .collect();
    for Tested { name, store, .. } in &stores().await {
        // In parts: a transaction has its time.
        for part in facts.chunks(250) {
            let kept = store.change_objects(&[], part, &[]).await.expect("writes");
            assert_eq!(kept, Changed::Done, "{name}");
        }
        store
            .count_failure(&Digest::of(b"anna"), at(10), Duration::from_secs(1))
            .await
            .expect("writes");
        assert_eq!(prune(&**store, 500).await, u64::from(PRUNE_ROWS_MAX) + 1, "{name}");
        assert_eq!(prune(&**store, 500).await, u64::from(SURPLUS), "{name}");
        assert_eq!(prune(&**store, 500).await, 0, "{name}");
    }
}
