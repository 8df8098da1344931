//! Two nodes on one store: what one does, the other knows.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock as _, SystemClock};
use crate::issuer::fixture::{TestIssuer, quick_bank};
use crate::issuer::tests::{mint, revoke};
use crate::model::secret::Secret;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::postgres::PostgresStore;
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;
use crate::store::tests::postgres::{Cluster, Database, PASSWORD, database};

/// The promise: how long a revocation of one node takes to be in force at every other.
const REACH: Duration = Duration::from_millis(250);

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Following {
    test: TestIssuer,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Following {
    fn of(test: TestIssuer) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&test.issuer).follow(stop.clone()));
        Self { test, stop, task }
    }

    /// Ends the task, which must not have ended by itself.
    async fn end(self) {
        assert!(!self.task.is_finished());
        self.stop.cancel();
        self.task.await.expect("it did not panic");
    }
}

async fn open(database: &Database) -> Arc<dyn Store> {
    let password = Secret::new(PASSWORD.to_owned());
    let store = PostgresStore::open(&database.url, Some(&password)).await;
    Arc::new(store.expect("opens"))
}

/// Two issuers on these stores, which are one.
async fn pair(stores: [Arc<dyn Store>; 2]) -> [TestIssuer; 2] {
    let sealing = Arc::new(SealingKey::generate().0);
    let [one, other] = stores;
    [
        TestIssuer::on(quick_bank(), one, Arc::clone(&sealing))
            .await
            .expect("starts"),
        TestIssuer::on(quick_bank(), other, sealing).await.expect("starts"),
    ]
}

/// Each kind of store, twice: as two processes would have it.
async fn stores() -> Vec<(&'static str, [Arc<dyn Store>; 2], Option<tempfile::TempDir>)> {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scopegate.db");
    let sqlite = || async { Arc::new(SqliteStore::open(&path).await.expect("opens")) as Arc<dyn Store> };
    let file = [sqlite().await, sqlite().await];
    let database = database();
    vec![
        ("memory", [Arc::clone(&memory), memory], None),
        ("sqlite", file, Some(folder)),
        ("postgres", [open(&database).await, open(&database).await], None),
    ]
}

/// Waits for a condition, and gives how long that took.
async fn until(what: &str, condition: impl Fn() -> bool) -> Duration {
    let clock = SystemClock::start();
    let started = clock.monotonic();
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, holds).await.is_ok(), "{what}");
    clock.monotonic().saturating_sub(started)
}

/// Revokes a new token at one node and gives how long it takes to be dead at the other.
async fn reach(one: &TestIssuer, other: &TestIssuer) -> Duration {
    let token = mint(&one.issuer).await;
    let text = token.access_token.expose_secret();
    let claims = other
        .verified("transfers", text)
        .expect("one node's key is every node's");
    assert!(!other.is_dead("transfers", &claims));
    revoke(&one.issuer, text).await.expect("acknowledged");
    until("the other node knows", || other.is_dead("transfers", &claims)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_154_a_revocation_on_one_node_is_in_force_on_the_other_within_a_quarter_second() {
    for (name, stores, _folder) in stores().await {
        let [one, other] = pair(stores).await;
        let other = Following::of(other);
        let mut times = Vec::new();
        for _ in 0..15 {
            times.push(reach(&one, &other.test).await);
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{name}: revoked at the other node after {median:?} (median), {worst:?} (worst of {})",
            times.len()
        );
        // The median: the machine that runs the tests has other things to do.
        assert!(median < REACH, "{name}: {times:?}");
        other.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_148_a_rotation_on_one_node_is_published_and_verified_by_the_other() {
    for (name, stores, _folder) in stores().await {
        let declaration = || {
            let mut declaration = quick_bank();
            declaration.servers[0].signing.rotate_every = Some(Duration::from_secs(3600));
            declaration
        };
        let sealing = Arc::new(SealingKey::generate().0);
        let [one, other] = stores;
        let start = |store| TestIssuer::on(declaration(), store, Arc::clone(&sealing));
        let (one, other) = (start(one).await.expect("starts"), start(other).await.expect("starts"));
        other.issuer.follow_once().await.expect("looks");
        let server = declaration().servers[0].id.value.as_str().to_owned();
        let before = other.issuer.keys(&server).expect("the server exists");
        // Far enough for a key to be made, used and made again.
        for _ in 0..4 {
            one.clock.advance(Duration::from_secs(1800));
            one.issuer.tend_once().await;
        }
        let rotated = one.issuer.keys(&server).expect("the server exists");
        assert_ne!(rotated.body, before.body, "{name}");
        other.clock.advance(Duration::from_secs(7200));
        other.issuer.follow_once().await.expect("looks");
        let seen = other.issuer.keys(&server).expect("the server exists");
        assert_eq!(seen.body, rotated.body, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_stops_no_check_and_is_followed_again_when_it_is_back() {
    let mut cluster = Cluster::start();
    let database = cluster.database();
    let [one, other] = pair([open(&database).await, open(&database).await]).await;
    let other = Following::of(other);
    reach(&one, &other.test).await;
    let token = mint(&one.issuer).await;
    let text = token.access_token.expose_secret().to_owned();

    cluster.stop();
    let answer = tokio::time::timeout(Duration::from_secs(15), revoke(&one.issuer, &text)).await;
    let failure = answer.expect("it does not hang").expect_err("it could not be kept");
    assert!(failure.error.to_string().len() > 1 && !failure.error_id.is_empty());
    // What the gate asks is in memory.
    let claims = other.test.verified("transfers", &text).expect("verifies");
    assert!(!other.test.is_dead("transfers", &claims));

    cluster.resume();
    let acknowledged = async {
        while revoke(&one.issuer, &text).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, acknowledged).await.expect("it recovers");
    until("the other node follows again", || {
        other.test.is_dead("transfers", &claims)
    })
    .await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_g06_of_a_restored_backup_new_revocations_are_seen_and_old_ones_stay() {
    let database = database();
    let [one, other] = pair([open(&database).await, open(&database).await]).await;
    let token = mint(&one.issuer).await;
    let text = token.access_token.expose_secret();
    let claims = other.verified("transfers", text).expect("verifies");
    for _ in 0..3 {
        let more = mint(&one.issuer).await;
        revoke(&one.issuer, more.access_token.expose_secret())
            .await
            .expect("acknowledged");
    }
    revoke(&one.issuer, text).await.expect("acknowledged");
    other.issuer.follow_once().await.expect("looks");
    assert!(other.is_dead("transfers", &claims));

    let password = Secret::new(PASSWORD.to_owned());
    let restored = PostgresStore::open(&database.url, Some(&password))
        .await
        .expect("opens");
    restored.go_back_to_no_revocations().await;
    let later = mint(&one.issuer).await;
    let later_claims = other
        .verified("transfers", later.access_token.expose_secret())
        .expect("verifies");
    revoke(&one.issuer, later.access_token.expose_secret())
        .await
        .expect("acknowledged");
    other.issuer.follow_once().await.expect("looks");
    assert!(other.is_dead("transfers", &later_claims));
    assert!(other.is_dead("transfers", &claims));
}
