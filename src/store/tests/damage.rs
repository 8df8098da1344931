//! Files that were taken away, and files that were cut off or garbled.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::audit::{self, AuditKind};
use crate::model::digest::Digest;
use crate::model::secret::Secret;
use crate::oauth::keyring::KeyState;
use crate::oauth::refresh::{GrantRecord, KeyBinding};
use crate::store::grants::{GrantStore as _, OneTime, OneTimeKind, ReplayPurpose, Rotated, Rotation, Used};
use crate::store::objects::{
    AuditQuery, AuditStore as _, DirectoryStore as _, ObjectChange, ObjectKind, ObjectStore as _, StoredObject,
    UserChange,
};
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;
use crate::store::tests::directory::user;
use crate::store::tests::grants::{grant, grant_id};
use crate::store::tests::{at, event, key, server, token};
use crate::store::{Changed, KeyChange, Store as _, StoredKey};

fn log(database: &Path) -> PathBuf {
    database.with_extension("db-wal")
}

/// The file, its log and the log's index, as a thief finds them.
fn dump(folder: &Path) -> Vec<u8> {
    let files = fs::read_dir(folder).expect("a folder");
    let files = files.map(|file| fs::read(file.expect("a file").path()).expect("reads"));
    files.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn attack_f42_a_dump_of_file_and_log_holds_no_credential_in_any_spelling() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    let sealing = SealingKey::generate().0;
    let mut credentials: Vec<Vec<u8>> = Vec::new();

    // A refresh token, rotated and lost and told again: what proves it is the keyed digest.
    let bound = GrantRecord {
        binding: Some(KeyBinding::Dpop(Digest::of(b"a key"))),
        ..grant("grant-of-the-dump")
    };
    store.insert_grant(&bound).await.expect("writes");
    for from in 0..3 {
        let rotation = Rotation {
            id: &bound.id,
            from,
            at: at(200),
            idle_expires_at: at(1_000),
        };
        let rotated = store.rotate_grant(&rotation).await.expect("writes");
        assert!(matches!(rotated, Rotated::Done(_)));
        let proof = sealing.mac("refresh token", format!("{}|{from}", bound.id).as_bytes());
        credentials.push(proof.to_vec());
    }
    // Codes of every kind, used and unused.
    for kind in OneTimeKind::ALL {
        for turn in ["used", "unused"] {
            let code = Digest::of(format!("{} {turn}", kind.as_str()).as_bytes()).to_base64url();
            let thing = OneTime {
                kind,
                digest: Digest::of(code.as_bytes()),
                expires_at: at(160),
                payload: json!({ "client_id": "app" }),
                used_by: None,
            };
            store.put_one_time(&thing).await.expect("writes");
            if turn == "used" {
                let used = store.use_one_time(kind, &thing.digest, &grant_id("g"), None).await;
                assert!(matches!(used, Ok(Used::First(_))));
            }
            credentials.push(code.into_bytes());
        }
    }
    // What was shown once, the secret of a client, the password of a user, a private key.
    let jti = "the-identifier-of-an-assertion";
    let seen = store
        .first_use(ReplayPurpose::ClientAssertion, &Digest::of(jti.as_bytes()), at(100))
        .await;
    assert!(seen.expect("writes"));
    let secret = "the-secret-of-a-client-3f9a";
    let client = ObjectChange::Insert(StoredObject {
        kind: ObjectKind::Client,
        id: "app-of-the-dump".to_owned(),
        revision: 1,
        body: json!({ "secrets": [{ "sha256": Digest::of(secret.as_bytes()).to_base64url() }] }),
        created_at: at(10),
        updated_at: at(10),
    });
    let made = store
        .change_objects(&[client], &[], &[event(AuditKind::ClientCreated, None)])
        .await;
    assert_eq!(made.expect("writes"), Changed::Done);
    let made = store
        .change_user(&UserChange::Insert(user("u1", "anna")), &[], &[])
        .await;
    assert_eq!(made.expect("writes"), Changed::Done);
    let private = Secret::new(Digest::of(b"a private key").as_bytes().to_vec());
    let stored = StoredKey {
        sealed: sealing.seal("signing_key/transfers/k", &private),
        ..key("k", KeyState::Active)
    };
    let kept = store.change_keys(&server(), &[KeyChange::Insert(stored)], &[]).await;
    assert_eq!(kept.expect("writes"), Changed::Done);
    credentials.extend([jti.into(), secret.into(), private.expose_secret().clone()]);

    let mut dumps = vec![dump(folder.path())];
    store.close().await;
    dumps.push(dump(folder.path()));
    for dump in dumps {
        let holds = |needle: &[u8]| dump.windows(needle.len()).any(|window| window == needle);
        for known in ["grant-of-the-dump", "app-of-the-dump", "anna", "initial_access_token"] {
            assert!(holds(known.as_bytes()), "the dump is the database: {known}");
        }
        for credential in &credentials {
            let hex = credential.iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("a text takes it");
                hex
            });
            let spellings = [
                credential.clone(),
                hex.into_bytes(),
                STANDARD.encode(credential).into_bytes(),
                URL_SAFE_NO_PAD.encode(credential).into_bytes(),
            ];
            for spelling in spellings {
                assert!(!holds(&spelling), "{}", String::from_utf8_lossy(&spelling));
            }
        }
    }
}

/// A copy of a database with its log as a crash leaves them.
fn copy(database: &Path, to: &Path) -> PathBuf {
    let copied = to.join("test.db");
    fs::copy(database, &copied).expect("copied");
    fs::copy(log(database), log(&copied)).expect("copied");
    copied
}

async fn integrity(database: &Path) -> String {
    let options = SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.expect("opens");
    let checked = sqlx::query_scalar("PRAGMA integrity_check");
    checked.fetch_one(&mut connection).await.expect("checks")
}

#[tokio::test]
async fn attack_g04_a_log_whose_end_is_torn_opens_with_what_was_whole_in_it() {
    const WHOLE: usize = 20;
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("test.db");
    let store = SqliteStore::open(&database).await.expect("opens");
    let mut ends = vec![fs::metadata(log(&database)).expect("a log").len()];
    for number in 0..WHOLE {
        let fact = token(&format!("t{number}"), 100);
        let record = event(AuditKind::TokenRevoked, None);
        store.revoke(&fact, &record).await.expect("writes");
        ends.push(fs::metadata(log(&database)).expect("a log").len());
    }
    let length = *ends.last().expect("an end");
    // Torn within the last commits: cut off, zeroed, or garbled from there on.
    for torn in [1, 7, 24, 100, 4096, 4120, 9000, 20_000] {
        let from = length - torn;
        // What lies wholly before the tear is what must be there.
        let whole = ends.iter().filter(|end| **end <= from).count() - 1;
        for how in ["cut", "zeroed", "garbled"] {
            let elsewhere = tempfile::tempdir().expect("a folder");
            let copied = copy(&database, elsewhere.path());
            let mut bytes = fs::read(log(&copied)).expect("reads");
            let from = usize::try_from(from).expect("small");
            match how {
                "cut" => bytes.truncate(from),
                "zeroed" => bytes[from..].fill(0),
                _ => bytes[from..]
                    .iter_mut()
                    .for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7)),
            }
            fs::write(log(&copied), bytes).expect("written");

            let opened = SqliteStore::open(&copied).await.expect("opens");
            let query = AuditQuery {
                limit: 99,
                ..AuditQuery::default()
            };
            let entries = opened.audit_entries(&query).await.expect("reads");
            let end = audit::verify(&entries).expect("a whole chain");
            assert_eq!(
                end.sequence,
                i64::try_from(whole).expect("small"),
                "{how} at {torn} from the end"
            );
            // It goes on from there.
            let record = event(AuditKind::TokenRevoked, None);
            opened.revoke(&token("later", 100), &record).await.expect("writes");
            let later = AuditQuery {
                after: end.sequence,
                ..query
            };
            let later = opened.audit_entries(&later).await.expect("reads");
            assert!(end.follow(&later).is_ok(), "{how} at {torn} from the end");
            opened.close().await;
            assert_eq!(integrity(&copied).await, "ok", "{how} at {torn} from the end");
        }
    }
    store.close().await;
}
