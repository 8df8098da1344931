//! Groups, and who is in them.
//!
//! Access is decided by identifiers, so that a new name changes nobody's rights. Who leaves a group loses what the
//! membership alone had given, at once.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admin::AdminError;
use crate::admin::deed::Deed;
use crate::admin::desk::{Desk, TRIES};
use crate::admin::unassigned::Through;
use crate::admin::users::SeenUser;
use crate::audit::AuditKind;
use crate::issuer::change::Change;
use crate::issuer::directory::{ManagedGroup, new_id};
use crate::model::id::{ClientId, UserId};
use crate::oauth::document::{Document as _, GroupDocument, IdPrefix};
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

/// What it is called in answers and in the audit log.
pub const KIND: &str = "UserGroup";

/// The most bytes of what a group's profile says besides.
const PROFILE_BYTES_MAX: usize = 16 * 1024;

/// A group as it is seen: administered, or the file's.
#[derive(Debug, Clone)]
pub enum Group {
    /// Administered.
    Managed(Arc<ManagedGroup>),
    /// The file's: read-only, its identifier is its name.
    Declared(String),
}

impl Group {
    /// Its identifier.
    pub fn id(&self) -> &str {
        match self {
            Self::Managed(group) => &group.id,
            Self::Declared(name) => name,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Managed(group) => &group.document.name,
            Self::Declared(name) => name,
        }
    }
}

impl Desk<'_> {
    /// Every group, by identifier.
    pub fn groups(&self) -> Vec<Group> {
        let directory = self.issuer().directory();
        let declared = self.issuer().declared();
        let of_file = declared.groups.iter().map(|group| Group::Declared(group.value.clone()));
        let mut groups: Vec<Group> = directory.groups().cloned().map(Group::Managed).chain(of_file).collect();
        groups.sort_by(|one, other| one.id().cmp(other.id()));
        groups
    }

    /// A group.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub fn group(&self, id: &str) -> Result<Group, AdminError> {
        if let Some(group) = self.issuer().directory().group(id) {
            return Ok(Group::Managed(Arc::clone(group)));
        }
        let declared = self.issuer().declared();
        let found = declared.groups.iter().find(|group| group.value == id);
        let found = found.ok_or_else(|| AdminError::not_found(KIND, id))?;
        Ok(Group::Declared(found.value.clone()))
    }

    /// A group that may be changed.
    pub(super) fn managed_group(&self, id: &str) -> Result<Arc<ManagedGroup>, AdminError> {
        match self.group(id)? {
            Group::Managed(group) => Ok(group),
            Group::Declared(_) => Err(AdminError::ReadOnly {
                kind: KIND,
                id: id.to_owned(),
            }),
        }
    }

    /// Makes a group.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_group(&self, profile: &Map<String, Value>) -> Result<Arc<ManagedGroup>, AdminError> {
        let document = read(profile)?;
        let id = new_id(IdPrefix::Group);
        let at = self.now();
        let object = StoredObject::new(ObjectKind::Group, &id, document.body(), at);
        let change = Change {
            changes: vec![ObjectChange::Insert(object)],
            audit: vec![self.event(Deed::new(AuditKind::GroupCreated, KIND, &id).after(document.body()))],
            ..Change::default()
        };
        let applied = self.change("group", change).await?.ok_or(AdminError::Contended)?;
        applied.directory.group(&id).cloned().ok_or(AdminError::Contended)
    }

    /// Replaces a group's profile.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn replace_group(
        &self,
        id: &str,
        profile: &Map<String, Value>,
        is_expected: impl Fn(&ManagedGroup) -> bool,
    ) -> Result<Arc<ManagedGroup>, AdminError> {
        let document = read(profile)?;
        for _ in 0..TRIES {
            let group = self.managed_group(id)?;
            if !is_expected(&group) {
                return Err(AdminError::Precondition);
            }
            if group.document == document {
                return Ok(group);
            }
            let change = Change {
                changes: vec![ObjectChange::Replace {
                    kind: ObjectKind::Group,
                    id: id.to_owned(),
                    from: group.revision,
                    body: document.body(),
                    at: self.now(),
                }],
                audit: vec![
                    self.event(
                        Deed::new(AuditKind::GroupUpdated, KIND, id)
                            .before(group.document.body())
                            .after(document.body()),
                    ),
                ],
                ..Change::default()
            };
            if let Some(applied) = self.change("group", change).await? {
                return applied.directory.group(id).cloned().ok_or(AdminError::Contended);
            }
        }
        Err(AdminError::Contended)
    }

    /// Deletes a group, with its memberships and assignments. A rule that names it refuses that: without the name it
    /// would be for anybody.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete_group(&self, id: &str, is_expected: impl Fn(&ManagedGroup) -> bool) -> Result<(), AdminError> {
        for _ in 0..TRIES {
            let group = self.managed_group(id)?;
            if !is_expected(&group) {
                return Err(AdminError::Precondition);
            }
            let users = self.everybody_in(id).await?;
            let mut leaving = Vec::new();
            for client in self.clients_assigned_to(id) {
                leaving.push(self.leaving(&client, Through::Group(id), &users).await?);
            }
            let change = Change {
                changes: vec![ObjectChange::Remove {
                    kind: ObjectKind::Group,
                    id: id.to_owned(),
                    from: group.revision,
                }],
                audit: vec![self.event(Deed::new(AuditKind::GroupDeleted, KIND, id).before(group.document.body()))],
                revocations: leaving.iter().flat_map(|leaving| leaving.facts(self.now())).collect(),
                ..Change::default()
            };
            if self.change("group", change).await?.is_some() {
                for leaving in leaving {
                    self.left(&leaving, None).await?;
                }
                return Ok(());
            }
        }
        Err(AdminError::Contended)
    }

    /// Puts a user into a group, or takes the user out.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_member(&self, group: &str, user: &str, is_member: bool) -> Result<(), AdminError> {
        let group = self.managed_group(group)?;
        let user = self.stored_user(user).await?;
        let kind = if is_member {
            AuditKind::MembershipAdded
        } else {
            AuditKind::MembershipRemoved
        };
        let event = self
            .event(Deed::new(kind, KIND, &group.id).after(json!({ "user": user.id.as_str(), "login": user.login })));
        if self.dry_run {
            return Ok(());
        }
        let mut leaving = Vec::new();
        if !is_member {
            for client in self.clients_assigned_to(&group.id) {
                let through = Through::Group(&group.id);
                let loses = self.leaving(&client, through, std::slice::from_ref(&user)).await?;
                self.leave(&loses).await?;
                leaving.push(loses);
            }
        }
        let events = [event];
        self.store()
            .set_membership(&user.id, &group.id, is_member, &events)
            .await?;
        events.iter().for_each(crate::audit::log);
        for leaving in leaving {
            self.left(&leaving, Some(&user.id)).await?;
        }
        Ok(())
    }

    /// The users in a group after this one, by identifier.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn members(&self, group: &str, after: Option<&str>, limit: u32) -> Result<Vec<SeenUser>, AdminError> {
        let group = self.group(group)?;
        if let Group::Declared(name) = &group {
            let mut users = self.declared_users();
            users.retain(|user| {
                let follows = after.is_none_or(|after| user.record.id.as_str() > after);
                follows && self.declared_groups_of(&user.record.login).contains(name)
            });
            users.sort_by(|one, other| one.record.id.cmp(&other.record.id));
            return Ok(users);
        }
        let after = after.and_then(|after| UserId::parse(after).ok());
        let members = self.store().members(group.id(), after.as_ref(), limit).await?;
        let seen = |record| SeenUser {
            record,
            is_declared: false,
        };
        Ok(members.into_iter().map(seen).collect())
    }

    /// The groups that a user is in, by identifier.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn groups_of(&self, user: &str) -> Result<Vec<Group>, AdminError> {
        let user = self.user(user).await?;
        let ids = if user.is_declared {
            self.declared_groups_of(&user.record.login)
        } else {
            self.store().groups_of(&user.record.id).await?
        };
        Ok(ids.iter().filter_map(|id| self.group(id).ok()).collect())
    }

    fn clients_assigned_to(&self, group: &str) -> Vec<ClientId> {
        let directory = self.issuer().directory();
        let assigned = directory
            .clients()
            .filter(|client| client.document.groups.iter().any(|assigned| assigned.id == group));
        assigned.filter_map(|client| ClientId::parse(&client.id).ok()).collect()
    }
}

fn read(profile: &Map<String, Value>) -> Result<GroupDocument, AdminError> {
    let mut rest = profile.clone();
    rest.retain(|_, value| !value.is_null());
    let mut text = |name: &str, chars_max: usize| match rest.remove(name) {
        None => Ok(String::new()),
        Some(Value::String(text)) if text.chars().count() <= chars_max && !text.chars().any(char::is_control) => {
            Ok(text)
        }
        Some(_) => Err(AdminError::invalid(
            "group",
            format!("{name}: a text of at most {chars_max} printable characters is expected"),
        )),
    };
    let name = text("name", 255)?;
    let description = text("description", 1024)?;
    if name.trim().is_empty() {
        return Err(AdminError::invalid("group", "name: the field cannot be left blank"));
    }
    if Value::Object(rest.clone()).to_string().len() > PROFILE_BYTES_MAX {
        return Err(AdminError::invalid("group", "profile: it is too large"));
    }
    Ok(GroupDocument {
        name,
        description,
        profile: rest,
    })
}
