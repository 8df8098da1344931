//! One SQLite file, a hundred processes that are killed while they write, and what must be true of it afterwards.
//!
//! Each process inserts, rotates, redeems and revokes from several tasks and writes a line to its pipe once the store
//! has acknowledged. We read the lines, kill it (`SIGKILL`) after a random number of them, and look at the file:
//! nothing that was acknowledged is lost, nothing was accepted twice, nothing is there that nobody asked for, and the
//! audit log is a whole chain. The file goes on to the next process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use scopegate::audit::{AuditKind, ChainEnd};
use scopegate::model::digest::Digest;
use scopegate::revocation::Revocation;
use scopegate::store::grants::{GrantSelector, GrantStore as _, OneTime, OneTimeKind, Rotated, Rotation, Used};
use scopegate::store::sqlite::SqliteStore;
use scopegate::store::{Cursor, Store as _};

use super::{DATABASE, at, follow, grant, grant_id, integrity, process, record, session};

const ROUNDS: u32 = 100;

/// The most acknowledgements that a process lives for.
const ACKNOWLEDGED_MAX: u64 = 80;

/// The tasks of a process: what may be under way, unacknowledged, when it dies.
const TASKS: u32 = 8;

/// The grants that all tasks of all processes rotate, against each other.
const SHARED: [&str; 3] = ["shared-0", "shared-1", "shared-2"];

/// Says what was acknowledged: one write, so that a line is whole or not at all.
fn acknowledge(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("ack {line}\n").as_bytes())
        .expect("somebody reads");
    out.flush().expect("somebody reads");
}

#[test]
#[ignore = "the process that the test below starts and kills"]
fn writes_until_it_is_killed() {
    let Some(database) = std::env::var_os(DATABASE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // The harness has begun a line.
    println!();
    runtime.block_on(async {
        let store = SqliteStore::open(Path::new(&database)).await.expect("opens");
        let own = std::process::id();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| tokio::spawn(write(store.clone(), format!("{own}-{task}"))))
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
    });
}

async fn write(store: SqliteStore, own: String) {
    for turn in 0_u32.. {
        // A new grant by a code, which two ask for.
        let name = format!("{own}-{turn}");
        let code = OneTime {
            kind: OneTimeKind::AuthorizationCode,
            digest: Digest::of(name.as_bytes()),
            expires_at: at(10_000),
            payload: name.clone().into(),
            used_by: None,
        };
        store.put_one_time(&code).await.expect("writes");
        let (id, rival) = (grant_id(&name), grant_id(&format!("{name}-rival")));
        let (one, other) = (grant(id.as_str()), grant(rival.as_str()));
        let (one, other) = tokio::join!(
            store.use_one_time(code.kind, &code.digest, &id, Some(&one)),
            store.use_one_time(code.kind, &code.digest, &rival, Some(&other)),
        );
        for (used, by) in [(one, &id), (other, &rival)] {
            if let Used::First(_) = used.expect("answers") {
                acknowledge(&format!("redeemed {name} {by}"));
            }
        }
        // The next generation of what everybody rotates.
        for shared in SHARED {
            let shared = grant_id(shared);
            let current = store.grant(&shared).await.expect("reads").expect("it is there");
            let rotation = Rotation {
                id: &shared,
                from: current.generation,
                at: at(200),
                idle_expires_at: at(10_000),
            };
            if let Rotated::Done(_) = store.rotate_grant(&rotation).await.expect("answers") {
                acknowledge(&format!("rotated {shared} {}", current.generation));
            }
        }
        if turn % 2 == 1 {
            let which = GrantSelector::One(id.clone());
            let audit = [record(AuditKind::GrantRevoked, &name)];
            let ended = store
                .revoke_grants(&which, at(200), &[session(&id)], &audit)
                .await
                .expect("writes");
            // The rival may have had the code: then there was nothing to end.
            if !ended.is_empty() {
                acknowledge(&format!("revoked {id}"));
            }
        }
    }
}

/// What the processes have said, all rounds together.
#[derive(Default)]
struct History {
    redeemed: BTreeMap<String, String>,
    revoked: BTreeSet<String>,
    /// The generations of each shared grant that somebody got the successor of.
    rotated: BTreeMap<String, BTreeSet<u32>>,
    /// The codes of this round alone.
    fresh: Vec<String>,
}

impl History {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["redeemed", code, by] => {
                let before = self.redeemed.insert(code.to_owned(), by.to_owned());
                assert_eq!(before, None, "the code {code} was accepted twice");
                self.fresh.push(code.to_owned());
            }
            ["rotated", grant, generation] => {
                let generations = self.rotated.entry(grant.to_owned()).or_default();
                let is_new = generations.insert(generation.parse().expect("a number"));
                assert!(is_new, "generation {generation} of {grant} was accepted twice");
            }
            ["revoked", grant] => {
                self.revoked.insert(grant.to_owned());
            }
            _ => panic!("`{line}` says nothing"),
        }
    }

    /// Holds the file to what was said since the last time.
    async fn check(&mut self, store: &SqliteStore, rounds: u32) {
        let fresh = std::mem::take(&mut self.fresh);
        self.check_kept(store, &fresh).await;
        for id in SHARED {
            let generation = store
                .grant(&grant_id(id))
                .await
                .expect("reads")
                .expect("kept")
                .generation;
            let said = self.rotated.get(id).cloned().unwrap_or_default();
            assert!(
                said.last().is_none_or(|last| *last < generation),
                "a rotation of {id} is lost"
            );
            // Each task of each process may have died between the commit and its word.
            let unsaid = generation as usize - said.len();
            assert!(
                unsaid <= (rounds * TASKS) as usize,
                "{unsaid} rotations of {id} that nobody asked for"
            );
        }
    }

    /// Codes that were redeemed, and the grants that came of them.
    async fn check_kept(&self, store: &SqliteStore, codes: &[String]) {
        for code in codes {
            let by = grant_id(&self.redeemed[code]);
            let kept = store
                .one_time(OneTimeKind::AuthorizationCode, &Digest::of(code.as_bytes()))
                .await;
            let used_by = kept.expect("reads").and_then(|code| code.used_by);
            assert_eq!(
                used_by.as_ref(),
                Some(&by),
                "the use of {code} was acknowledged and is lost"
            );
            let kept = store.grant(&by).await.expect("reads");
            let kept = kept.unwrap_or_else(|| panic!("the grant {by} was acknowledged and is lost"));
            let is_revoked = self.revoked.contains(by.as_str());
            assert!(
                !is_revoked || kept.revoked_at.is_some(),
                "the end of {by} was acknowledged and is lost"
            );
        }
    }
}

/// Kills the process after so many acknowledgements, and gives all that it has said.
fn live_and_die(database: &Path, acknowledgements: u64) -> Vec<String> {
    let mut child = process("store::history::writes_until_it_is_killed", database)
        .spawn()
        .expect("starts");
    let out = child.stdout.take().expect("a pipe");
    let (mut said, mut is_killed) = (Vec::new(), false);
    for line in BufReader::new(out).lines() {
        // What stands in the pipe after the kill was acknowledged too.
        if let Some(acknowledged) = line.expect("a line").strip_prefix("ack ") {
            said.push(acknowledged.to_owned());
        }
        if !is_killed && said.len() as u64 >= acknowledgements {
            child.kill().expect("it runs");
            is_killed = true;
        }
    }
    let status = child.wait().expect("it ends");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "{status}: {said:?}"
    );
    said
}

#[test]
fn attack_g01_case_153_a_hundred_kills_lose_nothing_acknowledged_and_accept_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("killed.db");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(&database).await.expect("opens");
        for id in SHARED {
            store.insert_grant(&grant(id)).await.expect("writes");
        }
        store.close().await;
    });
    let (mut history, mut end) = (History::default(), ChainEnd::default());
    // Where each one dies is any number; the same ones each time, so that a failure can be told from luck.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for round in 1..=ROUNDS {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        for line in live_and_die(&database, seed % ACKNOWLEDGED_MAX) {
            history.note(&line);
        }
        end = runtime.block_on(async {
            let store = SqliteStore::open(&database).await.expect("opens after a kill");
            history.check(&store, round).await;
            let end = follow(&store, end).await;
            // No close in two rounds of three: the next process finds the log as the kill left it.
            if round % 3 == 0 {
                store.close().await;
            }
            end
        });
    }
    runtime.block_on(async {
        let store = SqliteStore::open(&database).await.expect("opens");
        assert_eq!(
            follow(&store, ChainEnd::default()).await,
            end,
            "the log is one chain from its beginning"
        );
        let facts = store
            .revocations_after(Cursor::default(), u32::MAX)
            .await
            .expect("reads");
        let dead: BTreeSet<String> = facts
            .into_iter()
            .filter_map(|(_, fact)| match fact {
                Revocation::Session { session, .. } => Some(session),
                _ => None,
            })
            .collect();
        let codes: Vec<String> = history.redeemed.keys().cloned().collect();
        history.check_kept(&store, &codes).await;
        let lost: Vec<_> = history.revoked.difference(&dead).collect();
        assert!(lost.is_empty(), "revoked, and the gate is not told: {lost:?}");
        store.close().await;
        assert_eq!(integrity(&database).await, "ok");
    });
    let rotated: usize = history.rotated.values().map(BTreeSet::len).sum();
    assert!(
        rotated > 100 && history.revoked.len() > 100 && history.redeemed.len() > 100,
        "something happened"
    );
}
