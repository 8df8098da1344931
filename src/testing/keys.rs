//! Keys that rotate, and keys that are compromised, under the eyes of a gate.
//!
//! Races are run many times on real threads; what a step must hold when the next one fails is tried with a
//! store that fails there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::clock::ManualClock;
use crate::issuer::{KeyFailure, KeyView};
use crate::model::id::Kid;
use crate::oauth::keyring::KeyState;
use crate::oauth::sample::server_id;
use crate::revocation::Revocation;
use crate::store::failing::FailingStore;
use crate::store::memory::MemoryStore;
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;
use crate::store::{Cursor, Store};
use crate::testing::house::{BANK, House, NOW};

const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

fn states(views: &[KeyView]) -> Vec<KeyState> {
    views.iter().map(|view| view.state).collect()
}

fn kid_of(house: &House, state: KeyState) -> Kid {
    let views = house.issuer.key_records("transfers");
    let view = views.into_iter().find(|view| view.state == state);
    view.expect("there is one").kid
}

fn published(house: &House) -> BTreeSet<String> {
    let jwks = house.issuer.keys("transfers").expect("the server exists");
    let document: Value = serde_json::from_str(&jwks.body).expect("JSON");
    let keys = document["keys"].as_array().expect("a list");
    keys.iter()
        .map(|key| key["kid"].as_str().expect("a kid").to_owned())
        .collect()
}

#[tokio::test]
async fn case_148_every_algorithm_rotates_by_hand_and_the_gate_believes_old_and_new() {
    for algorithm in ALGORITHMS {
        let text = BANK.replace(
            "algorithm: ES256, rotate_every: 90d",
            &format!("algorithm: {algorithm}"),
        );
        let house = House::of(&text).await;
        let old = house.mint("transfers", "batch").await;
        house.assert_alive("transfers", &old, algorithm);
        let before = house.issuer.key_records("transfers");
        assert_eq!(states(&before), [KeyState::Active, KeyState::Next], "{algorithm}");
        assert!(
            before
                .iter()
                .all(|view| view.jwk["alg"] == algorithm && view.jwk["kid"] == view.kid.as_str())
        );

        let takeover = house
            .issuer
            .rotate_keys("transfers", Some("ada"))
            .await
            .expect("rotates");
        assert_eq!(takeover.active, before[1].kid, "NEXT signs");
        assert_eq!(
            takeover.seen_from,
            NOW.plus(Duration::from_secs(300)),
            "it was published just now"
        );
        let after = house.issuer.key_records("transfers");
        assert_eq!(
            states(&after),
            [KeyState::Active, KeyState::Next, KeyState::Expired],
            "{algorithm}"
        );
        assert_eq!((&after[2].kid, &after[1].kid), (&before[0].kid, &takeover.next));
        let new = house.mint("transfers", "batch").await;
        for token in [&old, &new] {
            house.assert_alive("transfers", token, algorithm);
        }
        assert_eq!(published(&house).len(), 3);
    }
}

#[tokio::test]
async fn case_150_every_algorithm_a_compromised_key_is_dead_at_the_gate_and_gone_from_the_set_at_once() {
    for algorithm in ALGORITHMS {
        let text = BANK.replace(
            "algorithm: ES256, rotate_every: 90d",
            &format!("algorithm: {algorithm}"),
        );
        let house = House::of(&text).await;
        let (cached, unseen) = (
            house.mint("transfers", "batch").await,
            house.mint("transfers", "audit").await,
        );
        let other = house.mint("payments", "batch").await;
        house.assert_alive("transfers", &cached, algorithm);
        house.assert_alive("payments", &other, algorithm);
        let (stolen, next) = (kid_of(&house, KeyState::Active), kid_of(&house, KeyState::Next));

        let revoked = house.issuer.revoke_key("transfers", stolen.as_str(), Some("ada")).await;
        let revoked = revoked.expect("revoked");
        assert_eq!((revoked.was, &revoked.takeover.active), (Some(KeyState::Active), &next));
        for (token, what) in [(&cached, "cached"), (&unseen, "not cached")] {
            house.assert_dead("transfers", token, what);
        }
        house.assert_alive("payments", &other, "another server's key");
        assert!(!published(&house).contains(stolen.as_str()));
        let new = house.mint("transfers", "batch").await;
        house.assert_alive("transfers", &new, "the successor signs at once");
    }
}

#[tokio::test]
async fn case_150_a_revoked_key_never_comes_back_from_no_state() {
    for state in [KeyState::Active, KeyState::Next, KeyState::Expired] {
        let mut house = House::bank().await;
        house.issuer.rotate_keys("transfers", None).await.expect("rotates");
        let stolen = kid_of(&house, state);
        house
            .issuer
            .revoke_key("transfers", stolen.as_str(), None)
            .await
            .expect("revoked");
        // Again is no error, and changes nothing.
        let again = house
            .issuer
            .revoke_key("transfers", stolen.as_str(), None)
            .await
            .expect("known");
        assert_eq!(again.was, None);
        for round in 0..4 {
            match round {
                0 => house.reload(BANK).await,
                1 => house = house.restart(BANK).await,
                2 => drop(house.issuer.rotate_keys("transfers", None).await.expect("rotates")),
                _ => {
                    house.clock.advance(Duration::from_secs(90 * 24 * 3600));
                    house.issuer.tend_once().await;
                }
            }
            assert!(!published(&house).contains(stolen.as_str()), "{state:?}, round {round}");
            let stored = house.store.keys(&server_id("transfers")).await.expect("reads");
            assert!(
                stored.iter().all(|key| key.record.kid != stolen),
                "{state:?}, round {round}"
            );
            let token = house.mint("transfers", "batch").await;
            house.assert_alive("transfers", &token, "minting goes on");
        }
    }
}

#[tokio::test]
async fn case_150_a_compromise_is_audited_with_who_and_what_and_again_is_no_second_record() {
    let house = House::bank().await;
    let stolen = kid_of(&house, KeyState::Active);
    for _ in 0..2 {
        house
            .issuer
            .revoke_key("transfers", stolen.as_str(), Some("ada"))
            .await
            .expect("revoked");
    }
    let events = house.records.events.lock().clone();
    assert_eq!(
        events.iter().filter(|event| event.contains("\"key\"")).count(),
        1,
        "{events:?}"
    );
    let revocations = house
        .store
        .revocations_after(Cursor::default(), 10)
        .await
        .expect("reads");
    assert_eq!(revocations.len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_neither_rotated_nor_revoked() {
    let house = House::bank().await;
    let epoch = house.revocations.epoch();
    let nowhere = house.issuer.rotate_keys("nowhere", None).await;
    assert!(matches!(nowhere, Err(KeyFailure::UnknownServer(_))));
    for kid in ["no-such-key", "", "a\u{1}b"] {
        let unknown = house.issuer.revoke_key("transfers", kid, None).await;
        assert!(matches!(unknown, Err(KeyFailure::UnknownKey { .. })), "{kid:?}");
    }
    let foreign = house.issuer.key_records("payments")[0].kid.clone();
    let unknown = house.issuer.revoke_key("transfers", foreign.as_str(), None).await;
    assert!(
        matches!(unknown, Err(KeyFailure::UnknownKey { .. })),
        "another server's"
    );
    assert_eq!(house.revocations.epoch(), epoch);
    assert!(house.issuer.key_records("nowhere").is_empty());
}

#[tokio::test]
async fn a_key_says_when_it_leaves_its_state() {
    let house = House::bank().await;
    house.issuer.rotate_keys("transfers", None).await.expect("rotates");
    let views = house.issuer.key_records("transfers");
    let quarter = NOW.plus(Duration::from_secs(90 * 24 * 3600));
    let leaves: Vec<_> = views.iter().map(|view| view.next_rotation).collect();
    assert_eq!(
        leaves,
        [Some(quarter), Some(quarter), Some(NOW.plus(Duration::from_secs(660)))]
    );
    let by_hand = house.issuer.key_records("payments");
    assert!(by_hand.iter().all(|view| view.next_rotation.is_none()));
}

#[tokio::test]
async fn so_many_keys_that_verifiers_would_refuse_the_set_are_not_published() {
    let house = House::bank().await;
    for _ in 0..98 {
        house.issuer.rotate_keys("transfers", None).await.expect("rotates");
    }
    let refused = house.issuer.rotate_keys("transfers", None).await;
    assert!(
        matches!(refused, Err(KeyFailure::TooManyKeys { published: 100 })),
        "{refused:?}"
    );
    let stolen = kid_of(&house, KeyState::Active);
    house
        .issuer
        .revoke_key("transfers", stolen.as_str(), None)
        .await
        .expect("a compromise is always answered");
    house.clock.advance(Duration::from_secs(661));
    house.issuer.tend_once().await;
    house
        .issuer
        .rotate_keys("transfers", None)
        .await
        .expect("rotates again");
}

// === two nodes ===

/// Two nodes on one store, which do not hear of each other.
async fn two_nodes(store: Arc<dyn Store>) -> [House; 2] {
    let sealing = Arc::new(SealingKey::generate().0);
    let clock = Arc::new(ManualClock::at(NOW));
    let node = || House::on(BANK, store.clone(), sealing.clone(), clock.clone());
    [node().await, node().await]
}

async fn stores() -> (tempfile::TempDir, [Arc<dyn Store>; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = SqliteStore::open(&folder.path().join("scopegate.db"))
        .await
        .expect("opens");
    (folder, [Arc::new(MemoryStore::new()), Arc::new(sqlite)])
}

async fn stored(store: &Arc<dyn Store>, state: KeyState) -> Vec<Kid> {
    let keys = store.keys(&server_id("transfers")).await.expect("reads");
    let of_state = keys.into_iter().filter(|key| key.record.state == state);
    of_state.map(|key| key.record.kid).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_154_whoever_rotates_at_once_gets_one_rotation_and_there_is_always_one_key_that_signs() {
    let (_folder, stores) = stores().await;
    for store in stores {
        let [one, two] = two_nodes(store.clone()).await;
        for round in 1..=20 {
            let before = stored(&store, KeyState::Active).await;
            let callers = [&one, &two, &one, &two].map(|node| {
                let issuer = node.issuer.clone();
                tokio::spawn(async move { issuer.rotate_keys("transfers", None).await.expect("rotates") })
            });
            let mut takeovers = Vec::new();
            for caller in callers {
                takeovers.push(caller.await.expect("no panic"));
            }
            let after = stored(&store, KeyState::Active).await;
            assert_eq!((after.len(), stored(&store, KeyState::Next).await.len()), (1, 1));
            assert_ne!(before, after, "round {round}");
            // A caller that began when all was over may have rotated once more; each of the others shares a rotation.
            assert!(takeovers.iter().any(|takeover| takeover.active == after[0]));
            let expired = stored(&store, KeyState::Expired).await;
            assert!(expired.contains(&before[0]));
            for node in [&one, &two] {
                node.issuer.tend_once().await;
                let token = node.mint("transfers", "batch").await;
                for gate in [&one, &two] {
                    gate.assert_alive("transfers", &token, "both nodes have the keys");
                }
            }
            if expired.len() > 80 {
                one.clock.advance(Duration::from_secs(661));
                one.issuer.tend_once().await;
            }
        }
    }
}

#[tokio::test]
async fn case_150_a_node_that_has_not_heard_of_the_compromise_cannot_bring_the_key_back() {
    let (_folder, stores) = stores().await;
    for store in stores {
        let [one, two] = two_nodes(store.clone()).await;
        let (active, next) = (kid_of(&one, KeyState::Active), kid_of(&one, KeyState::Next));
        // NEXT is compromised too: the other node would have it sign by what it remembers.
        for stolen in [&next, &active] {
            one.issuer
                .revoke_key("transfers", stolen.as_str(), None)
                .await
                .expect("revoked");
        }
        let takeover = two.issuer.rotate_keys("transfers", None).await.expect("rotates");
        assert!(takeover.active != active && takeover.active != next && takeover.next != next);
        for node in [&one, &two] {
            assert!(published(node).is_disjoint(&[&active, &next].map(ToString::to_string).into()));
        }
    }
}

#[tokio::test]
async fn case_150_a_node_that_hears_of_the_compromise_neither_publishes_nor_signs_before_it_has_looked() {
    let [one, two] = two_nodes(Arc::new(MemoryStore::new())).await;
    let stolen = kid_of(&one, KeyState::Active);
    let token = two.mint("transfers", "batch").await;
    two.assert_alive("transfers", &token, "not revoked yet");
    one.issuer
        .revoke_key("transfers", stolen.as_str(), None)
        .await
        .expect("revoked");
    // What the other node's reader of revocations does.
    let fact = Revocation::Key {
        server: server_id("transfers"),
        kid: stolen.clone(),
    };
    two.revocations.revoke(fact);
    two.assert_dead("transfers", &token, "heard of it");
    assert!(!published(&two).contains(stolen.as_str()));
    let token = two.mint("transfers", "batch").await;
    for node in [&one, &two] {
        node.issuer.tend_once().await;
        node.assert_alive("transfers", &token, "signed by the successor");
    }
}

// === crashes ===

#[tokio::test]
async fn case_150_case_153_a_crash_at_any_step_of_a_compromise_leaves_it_undone_or_the_key_dead() {
    for writes in 0..=2 {
        let store = Arc::new(FailingStore::over(MemoryStore::new()));
        let clock = Arc::new(ManualClock::at(NOW));
        let house = House::on(BANK, store.clone(), Arc::new(SealingKey::generate().0), clock).await;
        let token = house.mint("transfers", "batch").await;
        house.assert_alive("transfers", &token, "fresh");
        let stolen = kid_of(&house, KeyState::Active);
        store.fail_after(writes);
        let outcome = house.issuer.revoke_key("transfers", stolen.as_str(), None).await;
        match (writes, &outcome) {
            // Nothing was kept: nothing has happened, and nothing was acknowledged.
            (0, Err(KeyFailure::Store(_))) => {
                house.assert_alive("transfers", &token, "not revoked");
                assert!(published(&house).contains(stolen.as_str()));
                continue;
            }
            // The fact was kept: the key is dead, whatever comes next.
            (1, Err(KeyFailure::NotReplaced(_))) | (2, Ok(_)) => {}
            _ => panic!("{writes}: {outcome:?}"),
        }
        house.assert_dead("transfers", &token, "the fact is durable");
        assert!(!published(&house).contains(stolen.as_str()));
        // The process ends here; there is room again when it starts.
        store.recover();
        let house = house.restart(BANK).await;
        house.assert_dead("transfers", &token, "after the restart");
        assert!(!published(&house).contains(stolen.as_str()));
        assert!(stored(&house.store, KeyState::Active).await != [stolen]);
        let token = house.mint("transfers", "batch").await;
        house.assert_alive("transfers", &token, "the successor signs");
    }
}

#[tokio::test]
async fn a_compromise_whose_successor_could_not_be_had_mints_nothing_until_there_is_room_again() {
    let store = Arc::new(FailingStore::over(MemoryStore::new()));
    let clock = Arc::new(ManualClock::at(NOW));
    let house = House::on(BANK, store.clone(), Arc::new(SealingKey::generate().0), clock).await;
    let stolen = kid_of(&house, KeyState::Active);
    store.fail_after(1);
    house
        .issuer
        .revoke_key("transfers", stolen.as_str(), None)
        .await
        .expect_err("full");
    let body = "grant_type=client_credentials&client_id=batch&client_secret=secret";
    let failure = house.ask("transfers", body).await.expect_err("no key that signs");
    assert_eq!(failure.error.http_status(), 500);
    store.recover();
    let token = house.mint("transfers", "batch").await;
    house.assert_alive("transfers", &token, "the next request has made the change");
}

// === load ===

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_148_sixty_rotations_a_second_apart_fail_no_mint_and_no_check() {
    const ROTATIONS: u64 = 60;
    const EACH: u64 = 25;
    // Each second by the clock: NEXT has been published for a whole max-age, which is a second too.
    let text = BANK
        .replace("rotate_every: 90d", "rotate_every: 1s")
        .replace("access_token: 10m", "access_token: 25s");
    let house = Arc::new(House::of(&text).await);
    let (minted, checked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let rounds = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (house, minted, checked, rounds) = (house.clone(), minted.clone(), checked.clone(), rounds.clone());
            tokio::spawn(async move {
                let mut kept: Vec<(u64, String)> = Vec::new();
                let mut kids = BTreeSet::new();
                while rounds.load(Ordering::SeqCst) < ROTATIONS {
                    let round = rounds.load(Ordering::SeqCst);
                    let token = house.mint("transfers", "batch").await;
                    minted.fetch_add(1, Ordering::SeqCst);
                    let header = token.split('.').next().expect("a header").to_owned();
                    kids.insert(header);
                    kept.push((round, token));
                    // Tokens of keys that have expired meanwhile, too, as long as they live themselves.
                    kept.retain(|(minted, _)| rounds.load(Ordering::SeqCst) < minted + 20);
                    for (_, token) in &kept {
                        house.assert_alive("transfers", token, "lives");
                        checked.fetch_add(1, Ordering::SeqCst);
                    }
                    if kept.len() > 40 {
                        kept.drain(..20);
                    }
                }
                kids.len()
            })
        })
        .collect();
    let wait_for = |counter: Arc<AtomicU64>| async move {
        let wanted = counter.load(Ordering::SeqCst) + EACH;
        while counter.load(Ordering::SeqCst) < wanted {
            tokio::task::yield_now().await;
        }
    };
    let mut seen = BTreeSet::new();
    for _ in 0..ROTATIONS {
        let before = published(&house);
        house.clock.advance(Duration::from_secs(1));
        house.issuer.tend_once().await;
        let active = kid_of(&house, KeyState::Active);
        assert!(before.contains(active.as_str()), "it was published before it signs");
        assert!(seen.insert(active), "another key each second");
        wait_for(minted.clone()).await;
        wait_for(checked.clone()).await;
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    for worker in workers {
        assert!(
            worker.await.expect("no mint and no check has failed") > 10,
            "tokens of many keys"
        );
    }
    assert!(published(&house).len() <= 90, "what is dead goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_150_a_key_that_is_revoked_beneath_mints_leaves_no_token_alive_that_it_signed() {
    let house = Arc::new(House::bank().await);
    for _ in 0..20 {
        let stolen = kid_of(&house, KeyState::Active);
        let minting: Vec<_> = (0..3)
            .map(|_| {
                let house = house.clone();
                tokio::spawn(async move {
                    let body =
                        "grant_type=client_credentials&client_id=batch&client_secret=secret&scope=transfers:read";
                    let mut tokens = Vec::new();
                    for _ in 0..20 {
                        match house.ask("transfers", body).await {
                            Ok(answer) => tokens.push(answer.access_token.expose_secret().clone()),
                            // Overtaken: told so instead of being given a dead token.
                            Err(failure) => assert_eq!(failure.error.http_status(), 503, "{failure:?}"),
                        }
                        tokio::task::yield_now().await;
                    }
                    tokens
                })
            })
            .collect();
        house
            .issuer
            .revoke_key("transfers", stolen.as_str(), None)
            .await
            .expect("revoked");
        for task in minting {
            for token in task.await.expect("no panic") {
                let kid = crate::jose::unverified::Unverified::parse(&token)
                    .expect("a token")
                    .kid()
                    .map(str::to_owned);
                if kid.as_deref() == Some(stolen.as_str()) {
                    house.assert_dead("transfers", &token, "of the revoked key");
                } else {
                    house.assert_alive("transfers", &token, "of its successor");
                }
            }
        }
    }
}
