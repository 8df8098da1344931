//! Many at once: one successor, and nobody hurt; a stolen token is noticed, whatever goes on beside it.
//!
//! The callers of a round meet at a barrier on real threads, so that reads and writes of the same grant interleave
//! in every way. Between rounds everything that must hold is looked at, in the store and at the gate.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use crate::clock::ManualClock;
use crate::issuer::Failure;
use crate::oauth::refresh::{GrantRecord, RefreshToken};
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;
use crate::testing::house::{Family, House, NOW, PEOPLE};

/// How many callers show one token at once.
const CALLERS: usize = 100;

/// The grace of clients that say nothing.
const GRACE: Duration = Duration::from_secs(30);

/// Nodes on one store, with one clock.
async fn nodes(count: usize, store: Arc<dyn Store>) -> Vec<Arc<House>> {
    let (sealing, clock) = (Arc::new(SealingKey::generate().0), Arc::new(ManualClock::at(NOW)));
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Arc::new(
            House::on(PEOPLE, store.clone(), sealing.clone(), clock.clone()).await,
        ));
    }
    nodes
}

/// Everybody shows this token at once, each at one of the nodes.
async fn all_refresh(nodes: &[Arc<House>], callers: usize, token: &str) -> Vec<Result<Family, Failure>> {
    let start = Arc::new(Barrier::new(callers));
    let tasks: Vec<_> = (0..callers)
        .map(|number| {
            let (node, token, start) = (nodes[number % nodes.len()].clone(), token.to_owned(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                node.refresh(&token).await
            })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(callers);
    for task in tasks {
        outcomes.push(task.await.expect("no panic"));
    }
    outcomes
}

async fn record(house: &House, refresh: &str) -> GrantRecord {
    let token = RefreshToken::parse(refresh).expect("a refresh token");
    let record = house.store.grant(token.grant()).await.expect("reads");
    record.expect("the grant is kept")
}

/// Rounds in which all callers show the current token: one successor each, told to everybody.
async fn one_successor_each_round(nodes: &[Arc<House>], callers: usize, rounds: u32) {
    let first = &nodes[0];
    let mut current = first.sign_in().await;
    let mut seen = BTreeSet::from([current.refresh.clone()]);
    for round in 1..=rounds {
        let outcomes = all_refresh(nodes, callers, &current.refresh).await;
        let mut answers: Vec<Family> = Vec::with_capacity(callers);
        for outcome in outcomes {
            answers.push(outcome.unwrap_or_else(|failure| panic!("round {round}: a caller is refused: {failure:?}")));
        }
        assert!(
            answers
                .iter()
                .all(|answer| *answer == answers[0] || answer.refresh == answers[0].refresh)
        );
        let next = answers.swap_remove(0);
        assert!(seen.insert(next.refresh.clone()), "round {round}: a token came back");
        let record = record(first, &next.refresh).await;
        assert_eq!(
            (record.generation, record.revoked_at),
            (round, None),
            "one step each round"
        );
        for node in nodes {
            node.assert_alive("transfers", &next.access, "the grant lives on");
        }
        current = next;
        // The next round comes when the access token is about to end.
        first.clock.advance(Duration::from_secs(300));
    }
    assert_eq!(first.revocations.epoch(), 0, "nobody was revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_089_attack_f11_one_token_of_100_callers_has_one_successor_1_000_times() {
    let nodes = nodes(1, Arc::new(MemoryStore::new())).await;
    one_successor_each_round(&nodes, CALLERS, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_089_attack_f11_one_token_has_one_successor_on_two_nodes_of_one_sqlite_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("scopegate.db"))
        .await
        .expect("opens");
    let nodes = nodes(2, Arc::new(store)).await;
    one_successor_each_round(&nodes, CALLERS, 10).await;
}

/// How a stolen token comes in.
#[derive(Debug, Clone, Copy)]
enum Theft {
    /// The one before the last, after the grace.
    LateLast,
    /// One that is two steps old, within everybody's grace.
    TwoStepsOld,
    /// One that is two steps old, while its owner refreshes at once.
    BesideTheOwner,
}

impl Theft {
    /// One kind after the other.
    fn of(round: usize) -> Self {
        [Self::LateLast, Self::TwoStepsOld, Self::BesideTheOwner][round % 3]
    }
}

/// How often a token is stolen.
const THEFTS: usize = 1000;

/// How many happen at once: the clock moves on by less than an access token lives.
const AT_ONCE: usize = 20;

/// How many thefts one store in memory sees.
const BATCH: usize = 20;

async fn theft_is_noticed(nodes: &[Arc<House>], theft: Theft) {
    let (owner, thief) = (&nodes[0], &nodes[nodes.len() - 1]);
    let other = owner.granted("kiosk", "bob@bank.example").await;
    let first = owner.granted("app", "ada@bank.example").await;
    let mut family = vec![first];
    for _ in 0..2 {
        let last = family.last().expect("there is one");
        family.push(owner.refresh(&last.refresh).await.expect("refreshed"));
    }
    let [first, second, current] = family.try_into().expect("three");
    for token in [&first, &second, &current] {
        owner.assert_alive("transfers", &token.access, "before");
    }
    let last = match theft {
        Theft::LateLast => {
            owner.clock.advance(GRACE + Duration::from_secs(1));
            thief.refresh(&second.refresh).await.expect_err("noticed");
            None
        }
        Theft::TwoStepsOld => {
            thief.refresh(&first.refresh).await.expect_err("noticed");
            None
        }
        Theft::BesideTheOwner => {
            let (stolen, own) = tokio::join!(thief.refresh(&first.refresh), owner.refresh(&current.refresh));
            stolen.expect_err("noticed");
            own.ok()
        }
    };
    let dead = record(owner, &current.refresh).await;
    assert!(dead.revoked_at.is_some(), "{theft:?}");
    for node in nodes {
        node.issuer.follow_once().await.expect("hears of it");
        for token in [&first, &second, &current].into_iter().chain(&last) {
            node.assert_dead("transfers", &token.access, "of the family");
            let refused = node.refresh(&token.refresh).await.expect_err("the family is dead");
            assert_eq!(refused.error.code().as_str(), "invalid_grant", "{theft:?}");
        }
        node.assert_alive("transfers", &other.access, "another family");
    }
    let other = owner.refresh_at("kiosk", &other.refresh).await.expect("another family");
    owner.assert_alive("transfers", &other.access, "another family");
    // The same person may sign in again at once.
    let again = owner.granted("app", "ada@bank.example").await;
    owner.assert_alive("transfers", &again.access, "another grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_089_attack_f11_a_stolen_token_is_noticed_each_time_and_ends_its_family_alone() {
    for _ in 0..THEFTS / BATCH {
        // A store in memory copies itself for each change of many parts: small ones are quick.
        let nodes = nodes(1, Arc::new(MemoryStore::new())).await;
        for round in 0..BATCH {
            theft_is_noticed(&nodes, Theft::of(round)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn case_089_attack_f11_a_stolen_token_is_noticed_on_another_node_of_one_sqlite_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("scopegate.db"))
        .await
        .expect("opens");
    let nodes = nodes(2, Arc::new(store)).await;
    let nodes = Arc::new(nodes);
    for _ in 0..THEFTS / AT_ONCE {
        // Families at the same time: what is durable is written together, and the clock moves under each of them.
        let mut thefts = tokio::task::JoinSet::new();
        for round in 0..AT_ONCE {
            let nodes = Arc::clone(&nodes);
            thefts.spawn(async move { theft_is_noticed(&nodes, Theft::of(round)).await });
        }
        thefts.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_f11_a_grant_that_is_revoked_beneath_refreshes_leaves_no_token_alive() {
    let nodes = nodes(1, Arc::new(MemoryStore::new())).await;
    let house = &nodes[0];
    for _ in 0..50 {
        let family = house.sign_in().await;
        let body = format!("client_id=app&token={}", family.refresh);
        let request = crate::testing::house::form(&body);
        let (outcomes, revoked) = tokio::join!(
            all_refresh(&nodes, 20, &family.refresh),
            house.issuer.revoke("transfers", &request)
        );
        revoked.expect("acknowledged");
        for family in outcomes.into_iter().flatten() {
            house.assert_dead("transfers", &family.access, "of the revoked grant");
            house.refresh(&family.refresh).await.expect_err("of the revoked grant");
        }
        house.assert_dead("transfers", &family.access, "of the revoked grant");
        house.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn attack_g06_tokens_of_a_future_that_a_restored_backup_does_not_know_are_refused_and_the_operator_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, backup) = (folder.path().join("scopegate.db"), folder.path().join("backup.db"));
    let (sealing, clock) = (Arc::new(SealingKey::generate().0), Arc::new(ManualClock::at(NOW)));
    let open = async || Arc::new(SqliteStore::open(&path).await.expect("opens"));
    let store = open().await;
    let house = House::on(PEOPLE, store.clone(), sealing.clone(), clock.clone()).await;
    let of_backup = house.sign_in().await;
    let later = house.refresh(&of_backup.refresh).await.expect("refreshed");
    store.close().await;
    std::fs::copy(&path, &backup).expect("copies");

    let store = open().await;
    let house = House::on(PEOPLE, store.clone(), sealing.clone(), clock.clone()).await;
    let future = house.refresh(&later.refresh).await.expect("refreshed");
    let unknown = house.sign_in().await;
    store.close().await;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("scopegate.db{end}")));
    }
    std::fs::copy(&backup, &path).expect("restores");

    let house = House::on(PEOPLE, open().await, sealing, clock).await;
    for (token, why) in [
        (&future, "a generation that was not given yet"),
        (&unknown, "a grant that is not there"),
    ] {
        let refused = house.refresh(&token.refresh).await.expect_err(why);
        assert_eq!(refused.error.code().as_str(), "invalid_grant", "{why}");
    }
    let refused = house.refresh(&future.refresh).await.expect_err("from the future");
    assert!(format!("{:?}", refused.error).contains("FromTheFuture"), "{refused:?}");
    let record = record(&house, &future.refresh).await;
    assert_eq!(
        (record.generation, record.revoked_at),
        (1, None),
        "it is no theft: the grant is not ended"
    );
    // Who still has the token that the backup knows goes on.
    house.refresh(&later.refresh).await.expect("the backup's own");
}
