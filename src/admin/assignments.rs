//! Who may use which client: users and groups, many to many.
//!
//! Who is taken away loses the grants and tokens of that client before the answer (`admin::unassigned`).

use crate::admin::AdminError;
use crate::admin::apps::KIND as APP;
use crate::admin::desk::Desk;
use crate::admin::groups::Group;
use crate::admin::unassigned::Through;
use crate::audit::AuditKind;
use crate::model::id::ClientId;
use crate::oauth::document::{AssignmentDocument, ClientDocument};

/// The most users that are assigned one by one: more of them are a group.
const USERS_MAX: usize = 1000;

/// The most groups.
const GROUPS_MAX: usize = 200;

/// Who is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignable {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Assignable {
    fn list(self, document: &mut ClientDocument) -> &mut Vec<AssignmentDocument> {
        match self {
            Self::User => &mut document.users,
            Self::Group => &mut document.groups,
        }
    }

    const fn count_max(self) -> usize {
        match self {
            Self::User => USERS_MAX,
            Self::Group => GROUPS_MAX,
        }
    }
}

impl Desk<'_> {
    /// Lets a user, or whoever is in a group, use a client. Done already is done.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn assign(&self, app: &str, which: Assignable, name: &str) -> Result<AssignmentDocument, AdminError> {
        let id = match which {
            Assignable::User => self.stored_user(name).await?.id.to_string(),
            Assignable::Group => self.group(name)?.id().to_owned(),
        };
        let assignment = AssignmentDocument {
            id,
            created_at: self.now(),
        };
        let edit = |document: &mut ClientDocument| {
            let list = which.list(document);
            if list.iter().any(|known| known.id == assignment.id) {
                return Ok(());
            }
            if list.len() >= which.count_max() {
                let text = format!("at most {} can be assigned: use a group", which.count_max());
                return Err(AdminError::invalid("assignment", text));
            }
            list.push(assignment.clone());
            Ok(())
        };
        let client = self.edit_app(app, AuditKind::AssignmentAdded, |_| true, edit).await?;
        let mut document = client.document.clone();
        let list = which.list(&mut document);
        let found = list.iter().find(|known| known.id == assignment.id).cloned();
        found.ok_or(AdminError::Contended)
    }

    /// Takes an assignment away, and what it had given.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn unassign(&self, app: &str, which: Assignable, name: &str) -> Result<(), AdminError> {
        let id = self.assigned_id(app, which, name).await?;
        let edit = |document: &mut ClientDocument| {
            which.list(document).retain(|known| known.id != id);
            Ok(())
        };
        let client = ClientId::parse(app).map_err(|_| AdminError::not_found(APP, app))?;
        let (through, users) = match which {
            Assignable::User => {
                let user = self.user(&id).await;
                (Through::Themselves, user.into_iter().map(|user| user.record).collect())
            }
            Assignable::Group => (Through::Group(&id), self.everybody_in(&id).await?),
        };
        let leaving = self.leaving(&client, through, &users).await?;
        self.leave(&leaving).await?;
        self.edit_app(app, AuditKind::AssignmentRemoved, |_| true, edit).await?;
        self.left(&leaving, None).await
    }

    /// One assignment.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub async fn assignment(&self, app: &str, which: Assignable, name: &str) -> Result<AssignmentDocument, AdminError> {
        let id = self.assigned_id(app, which, name).await?;
        let mut document = self.app(app)?.document().clone();
        let found = which.list(&mut document).iter().find(|known| known.id == id).cloned();
        found.ok_or_else(|| AdminError::not_found("Assignment", name))
    }

    /// The clients that a group may use, by identifier.
    pub fn apps_of_group(&self, group: &Group) -> Vec<crate::admin::apps::App> {
        let mut apps = self.apps();
        apps.retain(|app| app.document().groups.iter().any(|assigned| assigned.id == group.id()));
        apps
    }

    /// The identifier under which it is assigned: a user may be named by login, and be gone already.
    async fn assigned_id(&self, app: &str, which: Assignable, name: &str) -> Result<String, AdminError> {
        let mut document = self.app(app)?.document().clone();
        if which.list(&mut document).iter().any(|known| known.id == name) {
            return Ok(name.to_owned());
        }
        let id = match which {
            Assignable::User => self.user(name).await?.record.id.to_string(),
            Assignable::Group => self.group(name)?.id().to_owned(),
        };
        if which.list(&mut document).iter().any(|known| known.id == id) {
            Ok(id)
        } else {
            Err(AdminError::not_found("Assignment", name))
        }
    }
}
