//! A store that forgets at exit: for tests of the rooms above, and as the model of what the others do.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::audit::{AuditEvent, AuditKind};
use crate::model::id::{AuthorizationServerId, Kid};
use crate::model::time::Timestamp;
use crate::oauth::keyring::KeyState;
use crate::revocation::Revocation;
use crate::store::{
    AUDIT_DENIALS_MAX, Changed, Cursor, KeyChange, PRUNE_ROWS_MAX, RevocationRow, Store, StoreError, StoreFuture,
    StoredKey,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    keys: BTreeMap<(AuthorizationServerId, Kid), StoredKey>,
    revocations: Vec<(Cursor, RevocationRow)>,
    last: i64,
    audit: Vec<AuditEvent>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut State) -> Result<T, StoreError>) -> StoreFuture<'_, T> {
        let outcome = work(&mut self.state.lock());
        Box::pin(std::future::ready(outcome))
    }
}

impl State {
    fn change(&mut self, server: &AuthorizationServerId, change: &KeyChange) -> Changed {
        match change {
            KeyChange::Insert(key) => {
                let id = (server.clone(), key.record.kid.clone());
                let second_active = key.record.state == KeyState::Active && self.has_active(server);
                if second_active || self.keys.contains_key(&id) {
                    return Changed::Overtaken;
                }
                self.keys.insert(id, key.clone());
            }
            KeyChange::Enter { kid, from, to, at } => {
                if *to == KeyState::Active && self.has_active(server) {
                    return Changed::Overtaken;
                }
                let key = self.keys.get_mut(&(server.clone(), kid.clone()));
                let Some(key) = key.filter(|key| key.record.state == *from) else {
                    return Changed::Overtaken;
                };
                key.record.state = *to;
                key.record.entered_at = *at;
            }
            KeyChange::Remove { kid, from } => {
                let id = (server.clone(), kid.clone());
                if self.keys.get(&id).is_none_or(|key| key.record.state != *from) {
                    return Changed::Overtaken;
                }
                self.keys.remove(&id);
            }
        }
        Changed::Done
    }

    fn has_active(&self, server: &AuthorizationServerId) -> bool {
        self.keys
            .iter()
            .any(|((owner, _), key)| owner == server && key.record.state == KeyState::Active)
    }
}

impl crate::store::grants::GrantStore for MemoryStore {}
impl crate::store::objects::ObjectStore for MemoryStore {}
impl crate::store::objects::DirectoryStore for MemoryStore {}
impl crate::store::objects::AuditStore for MemoryStore {}

impl Store for MemoryStore {
    fn keys<'a>(&'a self, server: &'a AuthorizationServerId) -> StoreFuture<'a, Vec<StoredKey>> {
        self.run(|state| {
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
        self.run(|state| {
            let mut draft = state.clone();
            if changes
                .iter()
                .any(|change| draft.change(server, change) == Changed::Overtaken)
            {
                return Ok(Changed::Overtaken);
            }
            draft.audit.extend_from_slice(audit);
            *state = draft;
            Ok(Changed::Done)
        })
    }

    fn raise_lifetime<'a>(&'a self, server: &'a AuthorizationServerId, lifetime: Duration) -> StoreFuture<'a, ()> {
        self.run(|state| {
            for ((owner, _), key) in &mut state.keys {
                if owner == server && key.record.state != KeyState::Expired {
                    key.record.lifetime_max = key.record.lifetime_max.max(lifetime);
                }
            }
            Ok(())
        })
    }

    fn revoke<'a>(&'a self, revocation: &'a Revocation, audit: &'a AuditEvent) -> StoreFuture<'a, Cursor> {
        self.run(|state| {
            let mut row = RevocationRow::of(revocation);
            let same =
                |known: &RevocationRow| (known.kind, &known.server, &known.name) == (row.kind, &row.server, &row.name);
            if let Some(index) = state.revocations.iter().position(|(_, known)| same(known)) {
                let (_, known) = state.revocations.remove(index);
                row.since = row.since.max(known.since);
                row.expires_at = row.expires_at.max(known.expires_at);
            }
            state.last += 1;
            let cursor = Cursor(state.last);
            state.revocations.push((cursor, row));
            state.audit.push(audit.clone());
            Ok(cursor)
        })
    }

    fn revocations_after(&self, cursor: Cursor, limit: u32) -> StoreFuture<'_, Vec<(Cursor, Revocation)>> {
        self.run(|state| {
            let later = state.revocations.iter().filter(|(place, _)| *place > cursor);
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let read = |(place, row): &(Cursor, RevocationRow)| {
                let revocation = RevocationRow::read(row.kind, &row.server, &row.name, row.since)?;
                Ok((*place, revocation))
            };
            later.take(limit).map(read).collect()
        })
    }

    fn append_audit<'a>(&'a self, events: &'a [AuditEvent]) -> StoreFuture<'a, ()> {
        self.run(|state| {
            state.audit.extend_from_slice(events);
            Ok(())
        })
    }

    fn audit_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>> {
        self.run(|state| {
            let events = state.audit.iter();
            Ok(events
                .filter(|event| event.error_id.as_deref() == Some(error_id))
                .cloned()
                .collect())
        })
    }

    fn prune(&self, now: Timestamp) -> StoreFuture<'_, u64> {
        self.run(|state| {
            let before = state.revocations.len() + state.audit.len();
            let mut budget = PRUNE_ROWS_MAX;
            state.revocations.retain(|(_, row)| {
                let keep = row.expires_at > now.unix_seconds() || budget == 0;
                budget -= u32::from(!keep);
                keep
            });
            let is_denial = |event: &AuditEvent| event.kind == AuditKind::AccessDenied;
            let denials =
                u32::try_from(state.audit.iter().filter(|event| is_denial(event)).count()).unwrap_or(u32::MAX);
            let mut surplus = denials.saturating_sub(AUDIT_DENIALS_MAX).min(PRUNE_ROWS_MAX);
            state.audit.retain(|event| {
                let drop = surplus > 0 && is_denial(event);
                surplus -= u32::from(drop);
                !drop
            });
            let after = state.revocations.len() + state.audit.len();
            Ok(u64::try_from(before - after).unwrap_or(u64::MAX))
        })
    }
}
