//! Users and memberships, in memory.

use crate::audit::AuditEvent;
use crate::model::id::UserId;
use crate::oauth::user::UserRecord;
use crate::revocation::Revocation;
use crate::store::memory::{MemoryStore, State};
use crate::store::objects::{DirectoryStore, UserChange};
use crate::store::{Changed, StoreFuture};

impl State {
    /// Whether the login belongs to somebody else.
    fn is_login_taken(&self, user: &UserRecord) -> bool {
        let owner = self.logins.get(&user.login.to_ascii_lowercase());
        owner.is_some_and(|owner| *owner != user.id)
    }

    fn put_user(&mut self, user: UserRecord) {
        if let Some(before) = self.users.get(&user.id) {
            self.logins.remove(&before.login);
        }
        self.logins.insert(user.login.clone(), user.id.clone());
        self.users.insert(user.id.clone(), user);
    }

    fn change_user(&mut self, change: &UserChange) -> Changed {
        match change {
            UserChange::Insert(user) => {
                if self.users.contains_key(&user.id) || self.is_login_taken(user) {
                    return Changed::Overtaken;
                }
                self.put_user(UserRecord {
                    login: user.login.to_ascii_lowercase(),
                    revision: 1,
                    ..user.clone()
                });
            }
            UserChange::Replace { user, from } => {
                let before = self.users.get(&user.id).filter(|before| before.revision == *from);
                let Some(created_at) = before.map(|before| before.created_at) else {
                    return Changed::Overtaken;
                };
                if self.is_login_taken(user) {
                    return Changed::Overtaken;
                }
                self.put_user(UserRecord {
                    login: user.login.to_ascii_lowercase(),
                    revision: from + 1,
                    created_at,
                    ..user.clone()
                });
            }
            UserChange::Remove { id, from } => {
                let Some(user) = self.users.get(id).filter(|user| user.revision == *from) else {
                    return Changed::Overtaken;
                };
                self.logins.remove(&user.login);
                self.users.remove(id);
                self.members.retain(|(_, member)| member != id);
            }
        }
        Changed::Done
    }
}

impl DirectoryStore for MemoryStore {
    fn user<'a>(&'a self, id: &'a UserId) -> StoreFuture<'a, Option<UserRecord>> {
        self.run(move |state| Ok(state.users.get(id).cloned()))
    }

    fn user_by_login<'a>(&'a self, login: &'a str) -> StoreFuture<'a, Option<UserRecord>> {
        self.run(move |state| {
            let id = state.logins.get(&login.to_ascii_lowercase());
            Ok(id.and_then(|id| state.users.get(id)).cloned())
        })
    }

    fn users<'a>(&'a self, prefix: &'a str, after: Option<&'a UserId>, limit: u32) -> StoreFuture<'a, Vec<UserRecord>> {
        self.run(move |state| {
            let prefix = prefix.to_ascii_lowercase();
            let later = state
                .users
                .values()
                .filter(|user| after.is_none_or(|after| user.id > *after));
            let found = later.filter(|user| user.login.starts_with(&prefix));
            Ok(found.take(limit as usize).cloned().collect())
        })
    }

    fn change_user<'a>(
        &'a self,
        change: &'a UserChange,
        revocations: &'a [Revocation],
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, Changed> {
        self.run(move |state| {
            let changed = state.change_user(change);
            if changed == Changed::Done {
                state.attest(revocations, audit);
            }
            Ok(changed)
        })
    }

    fn groups_of<'a>(&'a self, user: &'a UserId) -> StoreFuture<'a, Vec<String>> {
        self.run(move |state| {
            let own = state.members.iter().filter(|(_, member)| member == user);
            Ok(own.map(|(group, _)| group.clone()).collect())
        })
    }

    fn members<'a>(
        &'a self,
        group: &'a str,
        after: Option<&'a UserId>,
        limit: u32,
    ) -> StoreFuture<'a, Vec<UserRecord>> {
        self.run(move |state| {
            let own = state
                .members
                .iter()
                .filter(|(of, _)| of == group)
                .map(|(_, member)| member);
            let later = own.filter(|member| after.is_none_or(|after| *member > after));
            let users = later.filter_map(|member| state.users.get(member));
            Ok(users.take(limit as usize).cloned().collect())
        })
    }

    fn set_membership<'a>(
        &'a self,
        user: &'a UserId,
        group: &'a str,
        is_member: bool,
        audit: &'a [AuditEvent],
    ) -> StoreFuture<'a, ()> {
        self.run(move |state| {
            let membership = (group.to_owned(), user.clone());
            let has_changed = if is_member {
                state.users.contains_key(user) && state.members.insert(membership)
            } else {
                state.members.remove(&membership)
            };
            if has_changed {
                state.chain(audit);
            }
            Ok(())
        })
    }
}
