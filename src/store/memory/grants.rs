//! Grants, things good for one use, what was seen, and failures: in memory.

use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::audit::AuditEvent;
use crate::model::digest::Digest;
use crate::model::id::GrantId;
use crate::model::time::Timestamp;
use crate::oauth::refresh::GrantRecord;
use crate::revocation::Revocation;
use crate::store::grants::{
    Failures, GrantSelector, GrantStore, OneTime, OneTimeKind, ReplayPurpose, Rotated, Rotation, Used,
};
use crate::store::memory::{MemoryStore, State, prune};
use crate::store::{Changed, FAILURE_WINDOW_MAX, GRANT_KEPT, ONE_TIME_KEPT, StoreError, StoreFuture};

/// Failed attempts, and until when they are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailureRow {
    count: u32,
    last_at: Timestamp,
    pub(super) counts_until: Timestamp,
}

impl State {
    fn insert_grant(&mut self, grant: &GrantRecord) -> Result<(), StoreError> {
        match self.grants.entry(grant.id.clone()) {
            Entry::Occupied(_) => Err(StoreError::Taken("grant")),
            Entry::Vacant(place) => {
                place.insert(grant.clone());
                Ok(())
            }
        }
    }

    pub(super) fn prune_grants(&mut self, now: Timestamp) -> u64 {
        // Two budgets, as each is one index of a table.
        let is_over = |grant: &GrantRecord| grant.expires_at.min(grant.idle_expires_at).plus(GRANT_KEPT) <= now;
        let is_revoked = |grant: &GrantRecord| grant.revoked_at.is_some_and(|at| at.plus(GRANT_KEPT) <= now);
        prune(&mut self.grants, is_over) + prune(&mut self.grants, is_revoked)
    }

    pub(super) fn prune_one_times(&mut self, now: Timestamp) -> u64 {
        prune(&mut self.one_times, |thing| thing.expires_at.plus(ONE_TIME_KEPT) <= now)
    }

    fn failures(&self, key: &Digest, now: Timestamp, window: Duration) -> Failures {
        let counted_since = now.minus(window.min(FAILURE_WINDOW_MAX));
        let counted = self.failures.get(key).filter(|row| row.last_at > counted_since);
        counted.map_or_else(Failures::default, |row| Failures {
            count: row.count,
            last_at: Some(row.last_at),
        })
    }
}

fn selects(which: &GrantSelector, grant: &GrantRecord) -> bool {
    match which {
        GrantSelector::One(id) => *id == grant.id,
        GrantSelector::Among(ids) => ids.contains(&grant.id),
        GrantSelector::Where { server, client, user } => {
            server.as_ref().is_none_or(|server| *server == grant.server)
                && client.as_ref().is_none_or(|client| *client == grant.client)
                && user.as_ref().is_none_or(|user| Some(user) == grant.user.as_ref())
        }
    }
}

impl GrantStore for MemoryStore {
    fn insert_grant<'a>(&'a self, grant: &'a GrantRecord) -> StoreFuture<'a, ()> {
        self.run(move |state| state.insert_grant(grant))
    }

    fn grant<'a>(&'a self, id: &'a GrantId) -> StoreFuture<'a, Option<GrantRecord>> {
        self.run(move |state| Ok(state.grants.get(id).cloned()))
    }

    fn rotate_grant<'a>(&'a self, rotation: &'a Rotation<'a>) -> StoreFuture<'a, Rotated> {
        self.run(move |state| {
            let Some(grant) = state.grants.get_mut(rotation.id) else {
                return Ok(Rotated::Unknown);
            };
            let is_alive =
                grant.revoked_at.is_none() && grant.expires_at > rotation.at && grant.idle_expires_at > rotation.at;
            if !is_alive || grant.generation != rotation.from {
                return Ok(Rotated::Overtaken(grant.clone()));
            }
            let Some(next) = grant.generation.checked_add(1) else {
                return Ok(Rotated::Overtaken(grant.clone()));
            };
            grant.generation = next;
            grant.rotated_at = rotation.at;
            grant.idle_expires_at = rotation.idle_expires_at;
            Ok(Rotated::Done(grant.clone()))
        })
    }

    fn revoke_grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        at: Timestamp,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Vec<GrantId>> {
        self.run(move |state| {
            let mut ended = Vec::new();
            for grant in state.grants.values_mut() {
                if grant.revoked_at.is_none() && selects(which, grant) {
                    grant.revoked_at = Some(at);
                    ended.push(grant.id.clone());
                }
            }
            state.attest(revocations, audit);
            Ok(ended)
        })
    }

    fn grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        after: Option<&'a GrantId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<GrantRecord>> {
        self.run(move |state| {
            let later = state
                .grants
                .values()
                .filter(|grant| after.is_none_or(|after| grant.id > *after));
            let live = later.filter(|grant| grant.revoked_at.is_none() && selects(which, grant));
            Ok(live.take(limit as usize).cloned().collect())
        })
    }

    fn put_one_time<'a>(&'a self, thing: &'a OneTime) -> StoreFuture<'a, ()> {
        self.run(move |state| match state.one_times.entry((thing.kind, thing.digest)) {
            Entry::Occupied(_) => Err(StoreError::Taken(thing.kind.as_str())),
            Entry::Vacant(place) => {
                place.insert(thing.clone());
                Ok(())
            }
        })
    }

    fn one_time<'a>(&'a self, kind: OneTimeKind, digest: &'a Digest) -> StoreFuture<'a, Option<OneTime>> {
        self.run(move |state| Ok(state.one_times.get(&(kind, *digest)).cloned()))
    }

    fn change_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        from: &'a serde_json::Value,
        to: &'a serde_json::Value,
    ) -> StoreFuture<'a, Changed> {
        self.run(move |state| {
            let thing = state.one_times.get_mut(&(kind, *digest));
            let unused = thing.filter(|thing| thing.used_by.is_none() && thing.payload == *from);
            Ok(unused.map_or(Changed::Overtaken, |thing| {
                thing.payload = to.clone();
                Changed::Done
            }))
        })
    }

    fn use_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        by: &'a GrantId,
        grant: Option<&'a GrantRecord>,
    ) -> StoreFuture<'a, Used> {
        self.run(move |state| {
            match state.one_times.get(&(kind, *digest)) {
                None => return Ok(Used::Unknown),
                Some(OneTime { used_by: Some(by), .. }) => return Ok(Used::Again(by.clone())),
                Some(_) => {}
            }
            if let Some(grant) = grant {
                state.insert_grant(grant)?;
            }
            let thing = state.one_times.get_mut(&(kind, *digest));
            Ok(thing.map_or(Used::Unknown, |thing| {
                thing.used_by = Some(by.clone());
                Used::First(thing.clone())
            }))
        })
    }

    fn first_use<'a>(&'a self, purpose: ReplayPurpose, digest: &'a Digest, until: Timestamp) -> StoreFuture<'a, bool> {
        self.run(move |state| match state.seen.entry((purpose, *digest)) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(place) => {
                place.insert(until);
                Ok(true)
            }
        })
    }

    fn count_failure<'a>(&'a self, key: &'a Digest, now: Timestamp, window: Duration) -> StoreFuture<'a, Failures> {
        self.run(move |state| {
            let before = state.failures(key, now, window);
            let last_at = before.last_at.map_or(now, |last_at| last_at.max(now));
            let row = FailureRow {
                count: before.count.saturating_add(1),
                last_at,
                counts_until: last_at.plus(window.min(FAILURE_WINDOW_MAX)),
            };
            state.failures.insert(*key, row);
            Ok(Failures {
                count: row.count,
                last_at: Some(last_at),
            })
        })
    }

    fn failures<'a>(&'a self, key: &'a Digest, now: Timestamp, window: Duration) -> StoreFuture<'a, Failures> {
        self.run(move |state| Ok(state.failures(key, now, window)))
    }

    fn clear_failures<'a>(&'a self, key: &'a Digest) -> StoreFuture<'a, ()> {
        self.run(move |state| {
            state.failures.remove(key);
            Ok(())
        })
    }
}
