//! Changes of SQLite that are committed together: one sync for many, and each is answered for itself.

use std::fs;
use std::path::Path;
use std::task::Poll;

use crate::model::id::Kid;
use crate::oauth::keyring::KeyState;
use crate::oauth::refresh::GrantRecord;
use crate::store::grants::{GrantStore as _, Rotated, Rotation};
use crate::store::sqlite::SqliteStore;
use crate::store::tests::grants::{grant, grant_id};
use crate::store::tests::{at, key, server};
use crate::store::{Changed, KeyChange, Store as _, StoreError};

/// The commits in a write-ahead log: the frames that say how large the database is after them.
fn commits(database: &Path) -> usize {
    let log = fs::read(database.with_extension("db-wal")).expect("there is a log");
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let page_size = word(&log, 8) as usize;
    let frames = log[32..].chunks_exact(24 + page_size);
    let ours = frames.take_while(|frame| frame[8..16] == log[16..24]);
    ours.filter(|frame| word(frame, 4) != 0).count()
}

#[tokio::test]
async fn changes_that_wait_together_share_a_commit_and_a_failed_one_undoes_itself_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    store.insert_grant(&grant("taken")).await.expect("writes");
    let before = commits(&path);

    // On this runtime all of them have asked before the writer has its turn.
    let insert = |id: String| {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant(&id)).await })
    };
    let mut inserts: Vec<_> = (0..40).map(|number| insert(format!("a{number}"))).collect();
    let taken = insert("taken".to_owned());
    let overtaken = {
        let store = store.clone();
        tokio::spawn(async move {
            let changes = [
                KeyChange::Insert(key("a", KeyState::Active)),
                KeyChange::Remove {
                    kid: Kid::parse("b").expect("valid"),
                    from: KeyState::Next,
                },
            ];
            store.change_keys(&server(), &changes, &[]).await
        })
    };
    inserts.extend((0..40).map(|number| insert(format!("b{number}"))));
    for insert in inserts {
        insert.await.expect("no panic").expect("writes");
    }
    let taken = taken.await.expect("no panic");
    assert!(matches!(taken, Err(StoreError::Taken("grant"))), "{taken:?}");
    let overtaken = overtaken.await.expect("no panic").expect("answers");
    assert_eq!(overtaken, Changed::Overtaken);
    assert_eq!(store.keys(&server()).await.expect("reads"), []);
    assert_eq!(store.grant(&grant_id("b39")).await.expect("reads"), Some(grant("b39")));
    assert_eq!(commits(&path) - before, 1);

    // One after the other, each has its own.
    for number in 0..3 {
        store.insert_grant(&grant(&format!("c{number}"))).await.expect("writes");
    }
    assert_eq!(commits(&path) - before, 4);
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_any_more_harms_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    let given_up = {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant("a")).await })
    };
    let kept = {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant("b")).await })
    };
    tokio::task::yield_now().await;
    given_up.abort();
    kept.await.expect("no panic").expect("writes");
    assert_eq!(store.grant(&grant_id("b")).await.expect("reads"), Some(grant("b")));
}

fn rotating(
    store: &SqliteStore,
    id: &str,
    from: u32,
    now: i64,
) -> tokio::task::JoinHandle<Result<Rotated, StoreError>> {
    let (store, id) = (store.clone(), grant_id(id));
    tokio::spawn(async move {
        let rotation = Rotation {
            id: &id,
            from,
            at: at(now),
            idle_expires_at: at(now + 900),
        };
        store.rotate_grant(&rotation).await
    })
}

#[tokio::test]
async fn rotations_that_wait_together_are_each_answered_as_if_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    for id in ["a", "b", "twice", "stale", "ended", "given up"] {
        store.insert_grant(&grant(id)).await.expect("writes");
    }
    let revoked = GrantRecord {
        revoked_at: Some(at(150)),
        ..grant("revoked")
    };
    store.insert_grant(&revoked).await.expect("writes");
    let before = commits(&path);
    let rotated = |id: &str, now: i64| GrantRecord {
        generation: 1,
        rotated_at: at(now),
        idle_expires_at: at(now + 900),
        ..grant(id)
    };
    let rows = [
        ("a", 0, 200, Rotated::Done(rotated("a", 200))),
        ("b", 0, 201, Rotated::Done(rotated("b", 201))),
        ("stale", 7, 200, Rotated::Overtaken(grant("stale"))),
        ("revoked", 0, 200, Rotated::Overtaken(revoked)),
        ("ended", 0, 1_000, Rotated::Overtaken(grant("ended"))),
        ("nobody", 0, 200, Rotated::Unknown),
    ];
    // Who asks first hangs up before the writer has its turn, and takes nobody along.
    let given_up = grant_id("given up");
    let hung_up = Rotation {
        id: &given_up,
        from: 0,
        at: at(200),
        idle_expires_at: at(1_100),
    };
    let mut hung_up = store.rotate_grant(&hung_up);
    let is_waiting = std::future::poll_fn(|context| Poll::Ready(hung_up.as_mut().poll(context).is_pending())).await;
    assert!(is_waiting);
    drop(hung_up);
    // On this runtime all of them have asked before the writer has its turn.
    let asked: Vec<_> = rows
        .iter()
        .map(|(id, from, now, _)| rotating(&store, id, *from, *now))
        .collect();
    let twice = [rotating(&store, "twice", 0, 200), rotating(&store, "twice", 0, 202)];
    let later = rotating(&store, "a", 1, 210);
    for (asked, (id, _, _, expected)) in asked.into_iter().zip(rows) {
        assert_eq!(asked.await.expect("no panic").expect("answers"), expected, "{id}");
    }
    let [first, second] = twice;
    let first = first.await.expect("no panic").expect("answers");
    assert_eq!(first, Rotated::Done(rotated("twice", 200)));
    let second = second.await.expect("no panic").expect("answers");
    assert_eq!(second, Rotated::Overtaken(rotated("twice", 200)), "one winner");
    let later = later.await.expect("no panic").expect("answers");
    assert!(matches!(later, Rotated::Done(grant) if grant.generation == 2));
    let left = store.grant(&grant_id("given up")).await.expect("reads");
    assert_eq!(left, Some(grant("given up")), "who hung up gets no successor");
    // Those who could not go along with the first are in the next one.
    assert!(commits(&path) - before <= 2);
}

#[tokio::test]
async fn look_ups_that_wait_together_are_each_answered_for_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    for number in 0..40 {
        store.insert_grant(&grant(&format!("g{number}"))).await.expect("writes");
    }
    let look_up = |id: String| {
        let store = store.clone();
        tokio::spawn(async move { store.grant(&grant_id(&id)).await })
    };
    let asked: Vec<_> = (0..80).map(|number| look_up(format!("g{}", number % 50))).collect();
    for (number, asked) in asked.into_iter().enumerate() {
        let id = format!("g{}", number % 50);
        let expected = (number % 50 < 40).then(|| grant(&id));
        assert_eq!(asked.await.expect("no panic").expect("reads"), expected, "{id}");
    }
    store.close().await;
    let late = store.grant(&grant_id("g1")).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    let late = rotating(&store, "g1", 0, 200).await.expect("no panic");
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    let last = {
        let store = store.clone();
        tokio::spawn(async move { store.insert_grant(&grant("a")).await })
    };
    tokio::task::yield_now().await;
    store.close().await;
    last.await.expect("no panic").expect("what was asked before is done");
    let late = store.insert_grant(&grant("b")).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    assert!(!path.with_extension("db-wal").exists(), "the log is merged");
}

/// `cargo test --release -- --ignored --nocapture durable_rotations`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: what it says depends on the disk and on who else uses it"]
#[expect(clippy::disallowed_methods, reason = "measures the machine")]
async fn thirty_two_callers_make_five_thousand_durable_rotations_a_second() {
    const CALLERS: u32 = 32;
    const ROTATIONS: u32 = 500;
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let id = grant_id(&format!("g{caller}"));
        let grant = GrantRecord {
            id: id.clone(),
            ..grant("g")
        };
        store.insert_grant(&grant).await.expect("writes");
    }
    let start = std::time::Instant::now();
    for caller in 0..CALLERS {
        let store = store.clone();
        callers.push(tokio::spawn(async move {
            let id = grant_id(&format!("g{caller}"));
            for from in 0..ROTATIONS {
                let rotation = Rotation {
                    id: &id,
                    from,
                    at: at(200),
                    idle_expires_at: at(1_000),
                };
                let rotated = store.rotate_grant(&rotation).await.expect("writes");
                assert!(matches!(rotated, Rotated::Done(_)));
            }
        }));
    }
    for caller in callers {
        caller.await.expect("no panic");
    }
    let rate = f64::from(CALLERS * ROTATIONS) / start.elapsed().as_secs_f64();
    println!("{rate:.0} durable rotations a second");
    assert!(rate >= 5_000.0);
}
