//! A store that fails when it is told to: for tests of what the rooms above do then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::audit::{AuditEntry, AuditEvent};
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, GrantId, UserId};
use crate::model::time::Timestamp;
use crate::oauth::refresh::GrantRecord;
use crate::oauth::user::UserRecord;
use crate::revocation::Revocation;
use crate::store::grants::{
    Failures, GrantSelector, GrantStore, OneTime, OneTimeKind, ReplayPurpose, Rotated, Rotation, Used,
};
use crate::store::nodes::{Heads, NodeStore};
use crate::store::objects::{
    AuditQuery, AuditStore, DirectoryStore, ObjectChange, ObjectKind, ObjectStore, StoredObject, UserChange,
};
use crate::store::{Changed, Cursor, KeyChange, Store, StoreError, StoreFuture, StoredKey};

/// A store whose disk fills up after so many more changes. Reads go on, and so does [`Store::raise_lifetime`], which is
/// repeated until it is done and would make the changes of a test harder to count.
pub(crate) struct FailingStore {
    store: Arc<dyn Store>,
    changes_left: AtomicU64,
}

impl FailingStore {
    /// A store that does not fail yet.
    pub(crate) fn over(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            changes_left: AtomicU64::new(u64::MAX),
        }
    }

    /// Every change after so many more fails, and changes nothing.
    pub(crate) fn fail_after(&self, changes: u64) {
        self.changes_left.store(changes, Ordering::SeqCst);
    }

    /// There is room again.
    pub(crate) fn recover(&self) {
        self.fail_after(u64::MAX);
    }

    fn change<'a, T: Send + 'a>(&'a self, change: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let take = |left: u64| left.checked_sub(1);
            let took = self.changes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
            took.map_err(|_| StoreError::Unavailable("the disk is full".into()))?;
            change.await
        })
    }
}

impl GrantStore for FailingStore {
    fn insert_grant<'a>(&'a self, grant: &'a GrantRecord) -> StoreFuture<'a, ()> {
        self.change(self.store.insert_grant(grant))
    }

    fn grant<'a>(&'a self, id: &'a GrantId) -> StoreFuture<'a, Option<GrantRecord>> {
        self.store.grant(id)
    }

    fn rotate_grant<'a>(&'a self, rotation: &'a Rotation<'a>) -> StoreFuture<'a, Rotated> {
        self.change(self.store.rotate_grant(rotation))
    }

    fn revoke_grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        at: Timestamp,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Vec<GrantId>> {
        self.change(self.store.revoke_grants(which, at, revocations, audit))
    }

    fn grants<'a>(
        &'a self,
        which: &'a GrantSelector,
        after: Option<&'a GrantId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<GrantRecord>> {
        self.store.grants(which, after, limit)
    }

    fn put_one_time<'a>(&'a self, thing: &'a OneTime) -> StoreFuture<'a, ()> {
        self.change(self.store.put_one_time(thing))
    }

    fn one_time<'a>(&'a self, kind: OneTimeKind, digest: &'a Digest) -> StoreFuture<'a, Option<OneTime>> {
        self.store.one_time(kind, digest)
    }

    fn change_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        from: &'a Value,
        to: &'a Value,
    ) -> StoreFuture<'a, Changed> {
        self.change(self.store.change_one_time(kind, digest, from, to))
    }

    fn use_one_time<'a>(
        &'a self,
        kind: OneTimeKind,
        digest: &'a Digest,
        by: &'a GrantId,
        grant: Option<&'a GrantRecord>,
    ) -> StoreFuture<'a, Used> {
        self.change(self.store.use_one_time(kind, digest, by, grant))
    }

    fn first_use<'a>(&'a self, purpose: ReplayPurpose, digest: &'a Digest, until: Timestamp) -> StoreFuture<'a, bool> {
        self.change(self.store.first_use(purpose, digest, until))
    }

    fn count_failure<'a>(&'a self, key: &'a Digest, now: Timestamp, window: Duration) -> StoreFuture<'a, Failures> {
        self.change(self.store.count_failure(key, now, window))
    }

    fn failures<'a>(&'a self, key: &'a Digest, now: Timestamp, window: Duration) -> StoreFuture<'a, Failures> {
        self.store.failures(key, now, window)
    }

    fn clear_failures<'a>(&'a self, key: &'a Digest) -> StoreFuture<'a, ()> {
        self.change(self.store.clear_failures(key))
    }
}

impl ObjectStore for FailingStore {
    fn objects(&self, kind: ObjectKind) -> StoreFuture<'_, Vec<StoredObject>> {
        self.store.objects(kind)
    }

    fn change_objects<'a>(
        &'a self,
        changes: &'a [ObjectChange],
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        self.change(self.store.change_objects(changes, revocations, audit))
    }

    fn objects_generation(&self) -> StoreFuture<'_, i64> {
        self.store.objects_generation()
    }
}

impl DirectoryStore for FailingStore {
    fn user<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<UserRecord>> {
        self.store.user(id)
    }

    fn user_by_login<'a>(&'a self, login: &'a str) -> StoreFuture<'a, Option<UserRecord>> {
        self.store.user_by_login(login)
    }

    fn users<'a>(&'a self, prefix: &'a str, after: Option<&'a UserId>, limit: u32) -> StoreFuture<'a, Vec<UserRecord>> {
        self.store.users(prefix, after, limit)
    }

    fn change_user<'a>(
        &'a self,
        change: &'a UserChange,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        self.change(self.store.change_user(change, revocations, audit))
    }

    fn groups_of<'a>(&'a self, user: &'a UserId) -> StoreFuture<'a, Vec<String>> {
        self.store.groups_of(user)
    }

    fn members<'a>(
        &'a self,
        group: &'a str,
        after: Option<&'a UserId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<UserRecord>> {
        self.store.members(group, after, limit)
    }

    fn set_membership<'a>(
        &'a self,
        user: &'a UserId,
        group: &'a str,
        is_member: bool,
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, ()> {
        self.change(self.store.set_membership(user, group, is_member, audit))
    }
}

impl AuditStore for FailingStore {
    fn audit_entries<'a>(&'a self, query: &'a AuditQuery) -> StoreFuture<'a, Vec<AuditEntry>> {
        self.store.audit_entries(query)
    }
}

impl NodeStore for FailingStore {
    fn heads(&self) -> StoreFuture<'_, Heads> {
        self.store.heads()
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        self.store.changed()
    }

    fn meta<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.store.meta(name)
    }

    fn keep_meta<'a>(&'a self, name: &'a str, value: &'a [u8]) -> StoreFuture<'a, Vec<u8>> {
        self.change(self.store.keep_meta(name, value))
    }
}

impl Store for FailingStore {
    fn keys<'a>(&'a self, server: &'a AuthorizationServerId) -> StoreFuture<'a, Vec<StoredKey>> {
        self.store.keys(server)
    }

    fn change_keys<'a>(
        &'a self,
        server: &'a AuthorizationServerId,
        changes: &'a [KeyChange],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        self.change(self.store.change_keys(server, changes, audit))
    }

    fn raise_lifetime<'a>(&'a self, server: &'a AuthorizationServerId, lifetime: Duration) -> StoreFuture<'a, ()> {
        self.store.raise_lifetime(server, lifetime)
    }

    fn revoke<'a>(&'a self, revocation: &'a Revocation, audit: &'a AuditEvent) -> StoreFuture<'a, Cursor> {
        self.change(self.store.revoke(revocation, audit))
    }

    fn revocations_after(&self, cursor: Cursor, limit: u32) -> StoreFuture<'_, Vec<(Cursor, Revocation)>> {
        self.store.revocations_after(cursor, limit)
    }

    fn append_audit<'a>(&'a self, events: &'a [AuditEvent]) -> StoreFuture<'a, ()> {
        self.change(self.store.append_audit(events))
    }

    fn audit_of_error<'a>(&'a self, error_id: &'a str) -> StoreFuture<'a, Vec<AuditEvent>> {
        self.store.audit_of_error(error_id)
    }

    fn prune(&self, now: Timestamp) -> StoreFuture<'_, u64> {
        self.change(self.store.prune(now))
    }
}
