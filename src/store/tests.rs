//! One suite for every store, and what is particular to one of them.
//!
//! A test of the suite asks [`stores`] and makes its claims of each; the memory store is the model ([`model`]).

mod audit;
mod damage;
mod directory;
mod grants;
mod keys;
mod model;
mod nodes;
mod objects;
pub(crate) mod postgres;
mod pruning;
mod revocations;
mod seen;
mod sqlite;
mod together;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::{AuditEvent, AuditKind};
use crate::jose::alg::Algorithm;
use crate::model::id::{AuthorizationServerId, ClientId, Jti, Kid};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::keyring::{KeyRecord, KeyState};
use crate::revocation::Revocation;
use crate::store::memory::MemoryStore;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoredKey};

/// An empty store of some kind.
struct Tested {
    /// The kind, for messages.
    name: &'static str,
    store: Arc<dyn Store>,
    /// What the store lives in, as long as it is tested.
    _home: Box<dyn Any>,
}

/// An empty store of each kind. A new kind of store is added here, and the whole suite is about it too.
async fn stores() -> Vec<Tested> {
    vec![memory(), sqlite().await, postgres().await]
}

fn memory() -> Tested {
    Tested {
        name: "memory",
        store: Arc::new(MemoryStore::new()),
        _home: Box::new(()),
    }
}

async fn sqlite() -> Tested {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db")).await.expect("opens");
    Tested {
        name: "sqlite",
        store: Arc::new(store),
        _home: Box::new(folder),
    }
}

async fn postgres() -> Tested {
    let password = Secret::new(postgres::PASSWORD.to_owned());
    let store = PostgresStore::open(&postgres::database().url, Some(&password)).await;
    let store = store.expect("opens");
    Tested {
        name: "postgres",
        store: Arc::new(store),
        _home: Box::new(()),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn server() -> AuthorizationServerId {
    AuthorizationServerId::parse("transfers").expect("valid")
}

fn key(kid: &str, state: KeyState) -> StoredKey {
    StoredKey {
        record: KeyRecord {
            kid: Kid::parse(kid).expect("valid"),
            algorithm: Algorithm::Es256,
            state,
            created_at: at(10),
            entered_at: at(10),
            lifetime_max: Duration::from_secs(600),
        },
        sealed: vec![1, 2, 3],
    }
}

fn event(kind: AuditKind, error_id: Option<&str>) -> AuditEvent {
    AuditEvent {
        at: at(20),
        kind,
        server: Some(server()),
        client: Some(ClientId::parse("it's \"quoted\"; DROP TABLE audit;--").expect("valid")),
        error_id: error_id.map(str::to_owned),
        actor: Some("an administrator".to_owned()),
        target: Some(crate::audit::AuditTarget {
            kind: "User".to_owned(),
            id: "u1".to_owned(),
        }),
        detail: json!({ "reason": "no_matching_policy", "share": 0.1, "rows": [1, null, { "b": 2, "a": 1 }] }),
    }
}

fn token(jti: &str, until: i64) -> Revocation {
    Revocation::Token {
        server: server(),
        jti: Jti::parse(jti).expect("valid"),
        until: at(until),
    }
}
