//! What was shown before, and who has failed before.

use std::time::Duration;

use crate::model::digest::Digest;
use crate::store::grants::{Failures, ReplayPurpose};
use crate::store::tests::{Tested, at, stores};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_154_of_all_who_show_one_thing_one_is_the_first() {
    let digest = Digest::of(b"jti");
    for Tested { name, store, .. } in &stores().await {
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.first_use(ReplayPurpose::DpopProof, &digest, at(100)).await })
            })
            .collect();
        let mut first = 0;
        for caller in callers {
            first += u32::from(caller.await.expect("no panic").expect("answers"));
        }
        assert_eq!(first, 1, "{name}");
        // The same text may serve another purpose.
        for purpose in [ReplayPurpose::ClientAssertion, ReplayPurpose::GrantAssertion] {
            assert!(
                store.first_use(purpose, &digest, at(100)).await.expect("writes"),
                "{name}"
            );
        }
        // Until it is pruned, which is not before its time.
        store.prune(at(99)).await.expect("prunes");
        let again = store
            .first_use(ReplayPurpose::DpopProof, &digest, at(100))
            .await
            .expect("answers");
        assert!(!again, "{name}");
        store.prune(at(100)).await.expect("prunes");
        let anew = store
            .first_use(ReplayPurpose::DpopProof, &digest, at(300))
            .await
            .expect("writes");
        assert!(anew, "{name}");
    }
}

#[tokio::test]
async fn failures_are_counted_until_a_success_or_a_pause() {
    let (key, other) = (Digest::of(b"anna"), Digest::of(b"bert"));
    let window = Duration::from_secs(60);
    let failed = |count, last_at| Failures {
        count,
        last_at: Some(at(last_at)),
    };
    for Tested { name, store, .. } in &stores().await {
        let fail = async |now| store.count_failure(&key, at(now), window).await.expect("writes");
        let look = async |now| store.failures(&key, at(now), window).await.expect("reads");
        assert_eq!(look(100).await, Failures::default(), "{name}");
        assert_eq!(fail(100).await, failed(1, 100), "{name}");
        assert_eq!(fail(159).await, failed(2, 159), "{name}");
        // A clock that goes back moves no failure back.
        assert_eq!(fail(150).await, failed(3, 159), "{name}");
        assert_eq!(look(218).await, failed(3, 159), "{name}");
        assert_eq!(look(219).await, Failures::default(), "{name}");
        assert_eq!(
            store.failures(&other, at(160), window).await.expect("reads"),
            Failures::default()
        );
        // After the pause, from nothing.
        assert_eq!(fail(219).await, failed(1, 219), "{name}");
        assert_eq!(fail(220).await, failed(2, 220), "{name}");
        store.clear_failures(&key).await.expect("writes");
        assert_eq!(look(220).await, Failures::default(), "{name}");
        assert_eq!(fail(221).await, failed(1, 221), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failure_is_lost_among_those_at_once() {
    let key = Digest::of(b"anna");
    for Tested { name, store, .. } in &stores().await {
        let callers: Vec<_> = (0..200)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.count_failure(&key, at(100), Duration::from_secs(60)).await })
            })
            .collect();
        let mut counts = Vec::new();
        for caller in callers {
            counts.push(caller.await.expect("no panic").expect("writes").count);
        }
        counts.sort_unstable();
        assert_eq!(counts, (1..=200).collect::<Vec<u32>>(), "{name}");
    }
}
