//! A store that forgets at exit: for tests of the rooms above, and as the model of what the others do.
//!
//! A call does its work when it is first polled, all of it under one lock: that is its transaction. What can fail or
//! come too late is looked at before anything is changed, or is done on a draft.

mod audit;
mod directory;
mod grants;
mod nodes;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;

use crate::audit::{AuditEntry, AuditEvent};
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, GrantId, Kid, UserId};
use crate::model::time::Timestamp;
use crate::oauth::keyring::KeyState;
use crate::oauth::refresh::GrantRecord;
use crate::oauth::user::UserRecord;
use crate::revocation::Revocation;
use crate::store::grants::{OneTime, OneTimeKind, ReplayPurpose};
use crate::store::memory::grants::FailureRow;
use crate::store::objects::{ObjectKind, StoredObject};
use crate::store::{
    Changed, Cursor, KeyChange, PRUNE_ROWS_MAX, RevocationRow, Store, StoreError, StoreFuture, StoredKey,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: BTreeMap<(AuthorizationServerId, Kid), StoredKey>,
    keys_generation: i64,
    meta: BTreeMap<String, Vec<u8>>,
    revocations: BTreeMap<Cursor, RevocationRow>,
    /// Where each fact is: kind, server, name.
    places: BTreeMap<(&'static str, String, String), Cursor>,
    last: i64,
    grants: BTreeMap<GrantId, GrantRecord>,
    one_times: BTreeMap<(OneTimeKind, Digest), OneTime>,
    seen: BTreeMap<(ReplayPurpose, Digest), Timestamp>,
    failures: BTreeMap<Digest, FailureRow>,
    objects: BTreeMap<(ObjectKind, String), StoredObject>,
    objects_generation: i64,
    users: BTreeMap<UserId, UserRecord>,
    logins: BTreeMap<String, UserId>,
    /// Group, user.
    members: BTreeSet<(String, UserId)>,
    entries: Vec<AuditEntry>,
    denials: Vec<AuditEvent>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn run<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut State) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move { work(&mut self.state.lock()) })
    }
}

impl State {
    /// Whether a key other than this one is active.
    fn has_active(
        keys: &BTreeMap<(AuthorizationServerId, Kid), StoredKey>,
        server: &AuthorizationServerId,
        but: &Kid,
    ) -> bool {
        keys.iter()
            .any(|((owner, kid), key)| owner == server && kid != but && key.record.state == KeyState::Active)
    }

    fn change_key(
        keys: &mut BTreeMap<(AuthorizationServerId, Kid), StoredKey>,
        server: &AuthorizationServerId,
        change: &KeyChange,
    ) -> Changed {
        match change {
            KeyChange::Insert(key) => {
                let id = (server.clone(), key.record.kid.clone());
                let second_active =
                    key.record.state == KeyState::Active && Self::has_active(keys, server, &key.record.kid);
                if second_active || keys.contains_key(&id) {
                    return Changed::Overtaken;
                }
                keys.insert(id, key.clone());
            }
            KeyChange::Enter { kid, from, to, at } => {
                if *to == KeyState::Active && Self::has_active(keys, server, kid) {
                    return Changed::Overtaken;
                }
                let key = keys.get_mut(&(server.clone(), kid.clone()));
                let Some(key) = key.filter(|key| key.record.state == *from) else {
                    return Changed::Overtaken;
                };
                key.record.state = *to;
                key.record.entered_at = *at;
            }
            KeyChange::Remove { kid, from } => {
                let id = (server.clone(), kid.clone());
                if keys.get(&id).is_none_or(|key| key.record.state != *from) {
                    return Changed::Overtaken;
                }
                keys.remove(&id);
            }
        }
        Changed::Done
    }

    /// Keeps a fact: a known one moves to a new place and never becomes weaker.
    fn keep(&mut self, revocation: &Revocation) -> Cursor {
        let mut row = RevocationRow::of(revocation);
        let fact = (row.kind, row.server.clone(), row.name.clone());
        self.last += 1;
        let cursor = Cursor(self.last);
        let before = self.places.insert(fact, cursor);
        if let Some(known) = before.and_then(|place| self.revocations.remove(&place)) {
            row.since = row.since.max(known.since);
            row.expires_at = row.expires_at.max(known.expires_at);
        }
        self.revocations.insert(cursor, row);
        cursor
    }

    /// What goes with a change: the facts, and the records of it.
    fn attest(&mut self, revocations: &[Revocation], audit: &[AuditEvent]) {
        for revocation in revocations {
            self.keep(revocation);
        }
        self.chain(audit);
    }

    fn prune_revocations(&mut self, now: Timestamp) -> u64 {
        let is_over = |row: &RevocationRow| row.expires_at <= now.unix_seconds();
        let over = self.revocations.iter().filter(|(_, row)| is_over(row));
        let places: Vec<Cursor> = over.map(|(place, _)| *place).take(PRUNE_ROWS_MAX as usize).collect();
        for place in &places {
            if let Some(row) = self.revocations.remove(place) {
                self.places.remove(&(row.kind, row.server, row.name));
            }
        }
        places.len() as u64
    }
}

/// Removes what is over, at most [`PRUNE_ROWS_MAX`] of it, and counts it.
fn prune<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, is_over: impl Fn(&V) -> bool) -> u64 {
    let over = map.iter().filter(|(_, value)| is_over(value));
    let keys: Vec<K> = over.map(|(key, _)| key.clone()).take(PRUNE_ROWS_MAX as usize).collect();
    for key in &keys {
        map.remove(key);
    }
    keys.len() as u64
}

impl Store for MemoryStore {
    fn keys<'a>(&'a self, server: &'a AuthorizationServerId) -> StoreFuture<'a, Vec<StoredKey>> {
        self.run(move |state| {
            let own = state.keys.iter().filter(|((owner, _), _)| owner == server);
            Ok(own.map(|(_, key)| key.clone()).collect())
        })
    }

    fn change_keys<'a>(
        &'a self,
        server: &'a AuthorizationServerId,
        changes: &'a [KeyChange],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        self.run(move |state| {
            let mut draft = state.keys.clone();
            let mut each = changes
                .iter()
                .map(|change| State::change_key(&mut draft, server, change));
            if each.any(|changed| changed == Changed::Overtaken) {
                return Ok(Changed::Overtaken);
            }
            state.keys = draft;
            state.keys_generation += 1;
            state.chain(audit);
            Ok(Changed::Done)
        })
    }

    fn raise_lifetime<'a>(&'a self, server: &'a AuthorizationServerId, lifetime: Duration) -> StoreFuture<'a, ()> {
        self.run(move |state| {
            for ((owner, _), key) in &mut state.keys {
                if owner == server && key.record.state != KeyState::Expired {
                    key.record.lifetime_max = key.record.lifetime_max.max(lifetime);
                }
            }
            Ok(())
        })
    }

    fn revoke<'a>(&'a self, revocation: &'a Revocation, audit: &'a AuditEvent) -> StoreFuture<'a, Cursor> {
        self.run(move |state| {
            let cursor = state.keep(revocation);
            state.chain(std::slice::from_ref(audit));
            Ok(cursor)
        })
    }

    fn revocations_after(&self, cursor: Cursor, limit: u32) -> StoreFuture<'_, Vec<(Cursor, Revocation)>> {
        self.run(move |state| {
            let after = (std::ops::Bound::Excluded(cursor), std::ops::Bound::Unbounded);
            let later = state.revocations.range(after).take(limit as usize);
            let read = |(place, row): (&Cursor, &RevocationRow)| {
                let revocation = RevocationRow::read(row.kind, &row.server, &row.name, row.since)?;
                Ok((*place, revocation))
            };
            later.map(read).collect()
        })
    }

    fn append_audit<'a>(&'a self, events: &'a [AuditEvent]) -> StoreFuture<'a, ()> {
        self.run(move |state| {
            state.deny(events);
            Ok(())
        })
    }

    fn audit_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>> {
        self.run(move |state| {
            let durable = state.entries.iter().map(|entry| &entry.event);
            let all = state.denials.iter().chain(durable);
            let own = all.filter(|event| event.error_id.as_deref() == Some(error_id));
            Ok(own.cloned().collect())
        })
    }

    fn prune(&self, now: Timestamp) -> StoreFuture<'_, u64> {
        self.run(move |state| {
            let pruned = [
                state.prune_revocations(now),
                state.prune_grants(now),
                state.prune_one_times(now),
                prune(&mut state.seen, |until| *until <= now),
                prune(&mut state.failures, |row| row.counts_until <= now),
            ];
            Ok(pruned.iter().sum())
        })
    }
}
