//! Users.
//!
//! - A profile is one of the schema ([`crate::oauth::schema`]), and a login belongs to one user.
//! - Who is suspended or deactivated loses every grant and token before the answer, at every server; whoever comes
//!   back begins anew.
//! - A user of the file (`dev: true`) is seen like any other, and changed in the file.

use serde_json::{Map, Value, json};

use crate::admin::AdminError;
use crate::admin::deed::Deed;
use crate::admin::desk::{Desk, TRIES};
use crate::audit::{AuditEvent, AuditKind};
use crate::issuer::directory::new_id;
use crate::model::id::{Subject, UserId};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::document::IdPrefix;
use crate::oauth::schema::UserSchema;
use crate::oauth::user::{UserRecord, UserStatus};
use crate::revocation::{Revocation, up_to_all_clocks};
use crate::store::Changed;
use crate::store::grants::GrantSelector;
use crate::store::objects::UserChange;

/// What it is called in answers and in the audit log.
pub const KIND: &str = "User";

/// The most groups that a new user is put into at once.
const GROUPS_MAX: usize = 100;

/// A user as it is seen: of the store, or the file's.
#[derive(Debug, Clone)]
pub struct SeenUser {
    /// The user.
    pub record: UserRecord,
    /// The file's: read-only.
    pub is_declared: bool,
}

/// A user to be made.
#[derive(Debug, Default)]
pub struct NewUser {
    /// The profile.
    pub profile: Map<String, Value>,
    /// The password.
    pub password: Option<Secret<String>>,
    /// The groups, by identifier.
    pub groups: Vec<String>,
    /// Whether the user may sign in at once.
    pub activate: bool,
}

/// A change of a user's profile and password.
#[derive(Debug)]
pub struct UserEdit {
    /// The attributes; `null` removes one.
    pub profile: Map<String, Value>,
    /// Attributes that are not there are removed too.
    pub whole: bool,
    /// A new password.
    pub password: Option<Secret<String>>,
}

/// What becomes of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// May sign in.
    Activate,
    /// Kept out for a time.
    Suspend,
    /// Back again.
    Unsuspend,
    /// Kept out for good.
    Deactivate,
}

impl Lifecycle {
    /// The state that comes of it, if it may come of this one.
    const fn from(self, status: UserStatus) -> Option<UserStatus> {
        match (self, status) {
            (Self::Activate, UserStatus::Staged | UserStatus::Deprovisioned)
            | (Self::Unsuspend, UserStatus::Suspended) => Some(UserStatus::Active),
            (Self::Suspend, UserStatus::Active) => Some(UserStatus::Suspended),
            (Self::Deactivate, UserStatus::Staged | UserStatus::Active | UserStatus::Suspended) => {
                Some(UserStatus::Deprovisioned)
            }
            _ => None,
        }
    }

    const fn kind(self) -> AuditKind {
        match self {
            Self::Activate | Self::Unsuspend => AuditKind::UserActivated,
            Self::Suspend => AuditKind::UserSuspended,
            Self::Deactivate => AuditKind::UserDeactivated,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activated",
            Self::Suspend => "suspended",
            Self::Unsuspend => "unsuspended",
            Self::Deactivate => "deactivated",
        }
    }
}

impl Desk<'_> {
    /// The schema of profiles.
    pub fn user_schema(&self) -> UserSchema {
        let directory = self.issuer().directory();
        directory
            .schema()
            .map(|schema| schema.document.clone())
            .unwrap_or_default()
    }

    /// A user by identifier or login.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub async fn user(&self, name: &str) -> Result<SeenUser, AdminError> {
        if let Some(user) = self
            .declared_users()
            .into_iter()
            .find(|user| user.record.login.eq_ignore_ascii_case(name))
        {
            return Ok(user);
        }
        let unknown = || AdminError::not_found(KIND, name);
        let id = UserId::parse(name).map_err(|_| unknown())?;
        let found = match self.store().user(&id).await? {
            Some(user) => Some(user),
            None => self.store().user_by_login(&name.to_lowercase()).await?,
        };
        let record = found.ok_or_else(unknown)?;
        Ok(SeenUser {
            record,
            is_declared: false,
        })
    }

    /// A user that may be changed.
    pub(super) async fn stored_user(&self, name: &str) -> Result<UserRecord, AdminError> {
        let user = self.user(name).await?;
        if user.is_declared {
            return Err(AdminError::ReadOnly {
                kind: KIND,
                id: name.to_owned(),
            });
        }
        Ok(user.record)
    }

    /// Users whose login begins with `prefix`, after this one, by identifier: at least `limit` of them, if there are.
    ///
    /// # Errors
    /// [`AdminError::Internal`].
    pub async fn users(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<SeenUser>, AdminError> {
        let prefix = prefix.to_lowercase();
        let mut users = self.declared_users();
        users.retain(|user| {
            let follows = after.is_none_or(|after| user.record.id.as_str() > after);
            follows && user.record.login.to_lowercase().starts_with(&prefix)
        });
        let after = after.and_then(|after| UserId::parse(after).ok());
        let stored = self.store().users(&prefix, after.as_ref(), limit).await?;
        users.extend(stored.into_iter().map(|record| SeenUser {
            record,
            is_declared: false,
        }));
        users.sort_by(|one, other| one.record.id.cmp(&other.record.id));
        Ok(users)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_user(&self, new: NewUser) -> Result<UserRecord, AdminError> {
        let mut profile = new.profile;
        profile.retain(|_, value| !value.is_null());
        let login = self.check_profile(&mut profile)?;
        self.check_login_is_free(&login).await?;
        if new.groups.len() > GROUPS_MAX {
            return Err(AdminError::invalid(
                "user",
                format!("groupIds: at most {GROUPS_MAX} at once"),
            ));
        }
        for group in &new.groups {
            self.managed_group(group)?;
        }
        let password = match new.password {
            Some(password) => Some(self.hash_password(password, &login).await?),
            None => None,
        };
        let id = UserId::parse(&new_id(IdPrefix::User)).map_err(|error| AdminError::Internal(Box::new(error)))?;
        let now = self.now();
        let user = UserRecord {
            id,
            login,
            status: if new.activate {
                UserStatus::Active
            } else {
                UserStatus::Staged
            },
            profile,
            password,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        if self.dry_run {
            return Ok(user);
        }
        let mut events = vec![self.event(Deed::new(AuditKind::UserCreated, KIND, user.id.as_str()).after(told(&user)))];
        if new.activate {
            events.push(self.user_event(
                AuditKind::UserActivated,
                &user,
                Value::Null,
                json!({"status": "ACTIVE"}),
            ));
        }
        let change = UserChange::Insert(user.clone());
        if self.store().change_user(&change, &[], &events).await? == Changed::Overtaken {
            return Err(login_is_taken());
        }
        events.iter().for_each(crate::audit::log);
        for group in &new.groups {
            self.set_member(group, user.id.as_str(), true).await?;
        }
        Ok(user)
    }

    /// Changes a user's profile or password. A new password ends every grant that began with the old one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn edit_user(
        &self,
        name: &str,
        edit: UserEdit,
        is_expected: impl Fn(&UserRecord) -> bool,
    ) -> Result<UserRecord, AdminError> {
        let mut hashed = None;
        for _ in 0..TRIES {
            let before = self.stored_user(name).await?;
            if !is_expected(&before) {
                return Err(AdminError::Precondition);
            }
            let mut after = before.clone();
            if edit.whole {
                after.profile.clear();
            }
            for (attribute, value) in &edit.profile {
                after.profile.insert(attribute.clone(), value.clone());
            }
            after.profile.retain(|_, value| !value.is_null());
            after.login = self.check_profile(&mut after.profile)?;
            if after.login != before.login {
                self.check_login_is_free(&after.login).await?;
            }
            if let (Some(password), None) = (&edit.password, &hashed) {
                hashed = Some(self.hash_password(password.clone(), &after.login).await?);
            }
            let has_new_password = hashed.is_some();
            if let Some(hash) = &hashed {
                after.password = Some(hash.clone());
            }
            if after.profile == before.profile && !has_new_password {
                return Ok(before);
            }
            let mut told_after = told(&after);
            if has_new_password {
                told_after["password"] = json!("changed");
            }
            let event = self.user_event(AuditKind::UserUpdated, &after, told(&before), told_after);
            // A token names its user by login: who has the old one's must not be taken for its next owner.
            let ends = has_new_password || after.login != before.login;
            if let Some(after) = self.store_user(before, after, event, ends).await? {
                return Ok(after);
            }
        }
        Err(AdminError::Contended)
    }

    /// Moves a user on.
    ///
    /// # Errors
    /// [`AdminError::State`] where that leads nowhere.
    pub async fn move_user(&self, name: &str, lifecycle: Lifecycle) -> Result<UserRecord, AdminError> {
        for _ in 0..TRIES {
            let before = self.stored_user(name).await?;
            let status = lifecycle.from(before.status).ok_or_else(|| {
                let (status, word) = (before.status.as_str(), lifecycle.as_str());
                AdminError::State(format!("a user with status {status} cannot be {word}"))
            })?;
            let mut after = before.clone();
            after.status = status;
            let of = |user: &UserRecord| json!({ "status": user.status.as_str() });
            let event = self.user_event(lifecycle.kind(), &after, of(&before), of(&after));
            let ends = status != UserStatus::Active;
            if !ends {
                // A crash after a suspension may have left grants of an older life.
                let all = GrantSelector::Where {
                    server: None,
                    client: None,
                    user: Some(before.id.clone()),
                };
                let detail = json!({ "reason": "grants of before the activation" });
                let event = self.user_event(AuditKind::GrantRevoked, &before, Value::Null, detail);
                self.end_grants(&all, &event).await?;
            }
            if let Some(after) = self.store_user(before, after, event, ends).await? {
                return Ok(after);
            }
        }
        Err(AdminError::Contended)
    }

    /// Deletes a user who is deactivated; deactivates another one (Okta's DELETE takes two steps).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete_user(&self, name: &str) -> Result<(), AdminError> {
        for _ in 0..TRIES {
            let user = self.stored_user(name).await?;
            if user.status != UserStatus::Deprovisioned {
                return self.move_user(name, Lifecycle::Deactivate).await.map(|_| ());
            }
            let event = self.user_event(AuditKind::UserDeleted, &user, told(&user), Value::Null);
            if self.dry_run {
                return Ok(());
            }
            let at = self.now();
            let revocations = revocations(&user, up_to_all_clocks(at));
            let change = UserChange::Remove {
                id: user.id.clone(),
                from: user.revision,
            };
            let events = [event];
            if self.store().change_user(&change, &revocations, &events).await? == Changed::Done {
                self.after_end(&user, &revocations, &events, at).await?;
                return Ok(());
            }
        }
        Err(AdminError::Contended)
    }

    /// Stores the user as it will be; `None` if somebody else was first. `ends` ends everything that it holds.
    async fn store_user(
        &self,
        before: UserRecord,
        mut after: UserRecord,
        event: AuditEvent,
        ends: bool,
    ) -> Result<Option<UserRecord>, AdminError> {
        let at = self.now();
        after.revision = before.revision + 1;
        after.updated_at = at;
        if self.dry_run {
            return Ok(Some(after));
        }
        // Who only signs in anew does so at once.
        let until = if after.status == UserStatus::Active {
            at
        } else {
            up_to_all_clocks(at)
        };
        let revocations = if ends { revocations(&before, until) } else { Vec::new() };
        let change = UserChange::Replace {
            user: after.clone(),
            from: before.revision,
        };
        let events = [event];
        if self.store().change_user(&change, &revocations, &events).await? == Changed::Overtaken {
            return Ok(None);
        }
        if ends {
            self.after_end(&before, &revocations, &events, at).await?;
        } else {
            events.iter().for_each(crate::audit::log);
        }
        Ok(Some(after))
    }

    /// What the store has taken over is put in force, and the grants end. What was minted meanwhile by a request that
    /// had looked at the user before may carry a later second than the revocation speaks of.
    async fn after_end(
        &self,
        user: &UserRecord,
        in_store: &[Revocation],
        events: &[AuditEvent],
        at: Timestamp,
    ) -> Result<(), AdminError> {
        self.put_in_force(in_store);
        events.iter().for_each(crate::audit::log);
        let all = GrantSelector::Where {
            server: None,
            client: None,
            user: Some(user.id.clone()),
        };
        let detail = json!({ "reason": "the user is kept out, or signs in anew" });
        let event = self.user_event(AuditKind::GrantRevoked, user, Value::Null, detail);
        self.end_grants(&all, &event).await?;
        let now = self.now();
        if now > at {
            let late = revocations(user, now);
            for revocation in &late {
                let detail = json!({ "reason": "tokens that were minted meanwhile" });
                let event = self.user_event(AuditKind::TokenRevoked, user, Value::Null, detail);
                self.store().revoke(revocation, &event).await?;
            }
            self.put_in_force(&late);
        }
        Ok(())
    }

    fn check_profile(&self, profile: &mut Map<String, Value>) -> Result<String, AdminError> {
        let refused = |causes| AdminError::Invalid {
            object: "profile",
            causes,
        };
        self.user_schema().check(profile).map_err(refused)?;
        let login = profile
            .get("login")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_lowercase();
        Ok(login)
    }

    async fn check_login_is_free(&self, login: &str) -> Result<(), AdminError> {
        let declared = self.declared_users();
        let of_file = declared
            .iter()
            .any(|user| user.record.login.eq_ignore_ascii_case(login));
        if of_file || self.store().user_by_login(login).await?.is_some() {
            return Err(login_is_taken());
        }
        Ok(())
    }

    fn user_event(&self, kind: AuditKind, user: &UserRecord, before: Value, after: Value) -> AuditEvent {
        self.event(Deed::new(kind, KIND, user.id.as_str()).before(before).after(after))
    }

    pub(super) fn declared_users(&self) -> Vec<SeenUser> {
        let declared = self.issuer().declared();
        let users = declared.users.iter().filter_map(|user| {
            let mut profile = user.profile.clone();
            profile.insert("login".to_owned(), json!(user.login.value));
            Some(SeenUser {
                record: UserRecord {
                    id: UserId::parse(&user.login.value).ok()?,
                    login: user.login.value.clone(),
                    status: UserStatus::Active,
                    profile,
                    password: None,
                    revision: 1,
                    created_at: Timestamp::from_unix_seconds(0),
                    updated_at: Timestamp::from_unix_seconds(0),
                },
                is_declared: true,
            })
        });
        users.collect()
    }

    /// The groups of a user of the file, by name.
    pub(super) fn declared_groups_of(&self, login: &str) -> Vec<String> {
        let declared = self.issuer().declared();
        let user = declared.users.iter().find(|user| user.login.value == login);
        let groups = user.map(|user| user.groups.iter().map(|group| group.value.clone()).collect());
        groups.unwrap_or_default()
    }
}

fn login_is_taken() -> AdminError {
    AdminError::invalid("user", "login: An object with this field already exists")
}

/// Every token that speaks for the user: the subject is the login, or the identifier.
fn revocations(user: &UserRecord, before: Timestamp) -> Vec<Revocation> {
    let of = |subject: &str| {
        Subject::parse(subject).ok().map(|subject| Revocation::Subject {
            server: None,
            subject,
            before,
        })
    };
    let login = user.profile.get("login").and_then(Value::as_str).unwrap_or(&user.login);
    let mut names = vec![user.login.as_str(), login, user.id.as_str()];
    names.dedup();
    names.into_iter().filter_map(of).collect()
}

/// A user for the audit log: whether there is a password, never which.
fn told(user: &UserRecord) -> Value {
    json!({
        "status": user.status.as_str(),
        "profile": user.profile,
        "password": if user.password.is_some() { "set" } else { "none" },
    })
}
