//! Roles of clients: who administers what.
//!
//! Only who holds the role of a super administrator everywhere gives and takes roles. The last one who does stays: a
//! way back would be at the machine alone ([`crate::admin::bootstrap`]).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::AdminError;
use crate::admin::apps::KIND as APP;
use crate::admin::deed::Deed;
use crate::admin::desk::{Desk, TRIES};
use crate::audit::AuditKind;
use crate::issuer::change::Change;
use crate::issuer::directory::{ManagedRole, new_id};
use crate::model::id::ClientId;
use crate::oauth::document::{Assignee, Document as _, IdPrefix, Role, RoleBindingDocument};
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

/// What it is called in answers.
pub const KIND: &str = "RoleAssignment";

/// The most roles of one client.
const ROLES_MAX: usize = 50;

impl Desk<'_> {
    /// The roles that a client holds, by identifier.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub fn roles(&self, client: &str) -> Result<Vec<Arc<ManagedRole>>, AdminError> {
        let app = self.app(client)?;
        let id = ClientId::parse(app.id()).map_err(|_| AdminError::not_found(APP, client))?;
        let directory = self.issuer().directory();
        let held = directory.roles().filter(|role| role.document.assignee.is_client(&id));
        Ok(held.cloned().collect())
    }

    /// Whether a client administers anything.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub fn holds_a_role(&self, client: &str) -> Result<bool, AdminError> {
        Ok(!self.roles(client)?.is_empty())
    }

    /// Gives a client a role: everywhere, or at these authorization servers. One that it holds already is that one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn give_role(
        &self,
        client: &str,
        role: Role,
        servers: Option<Vec<String>>,
    ) -> Result<Arc<ManagedRole>, AdminError> {
        if !self.may_give_roles {
            return Err(AdminError::Role);
        }
        let app = self.app(client)?;
        for server in servers.iter().flatten() {
            if !self.issuer().has_server(server) {
                return Err(AdminError::not_found("AuthorizationServer", server));
            }
        }
        let document = RoleBindingDocument {
            assignee: Assignee::Client(app.id().to_owned()),
            role,
            servers,
        };
        for _ in 0..TRIES {
            let held = self.roles(client)?;
            if let Some(same) = held.iter().find(|held| held.document == document) {
                return Ok(Arc::clone(same));
            }
            if held.len() >= ROLES_MAX {
                return Err(AdminError::invalid(
                    "role",
                    format!("a client has at most {ROLES_MAX} roles"),
                ));
            }
            let (id, at) = (new_id(IdPrefix::RoleBinding), self.now());
            let change = Change {
                changes: vec![ObjectChange::Insert(StoredObject::new(
                    ObjectKind::RoleBinding,
                    &id,
                    document.body(),
                    at,
                ))],
                audit: vec![self.event(Deed::new(AuditKind::RoleGranted, APP, app.id()).after(told(&document)))],
                ..Change::default()
            };
            if let Some(applied) = self.change("role", change).await? {
                return applied.directory.role(&id).cloned().ok_or(AdminError::Contended);
            }
        }
        Err(AdminError::Contended)
    }

    /// Takes a role away.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn take_role(&self, client: &str, id: &str) -> Result<(), AdminError> {
        if !self.may_give_roles {
            return Err(AdminError::Role);
        }
        for _ in 0..TRIES {
            let held = self.roles(client)?;
            let found = held.iter().find(|role| role.id == id);
            let found = found.ok_or_else(|| AdminError::not_found(KIND, id))?;
            let is_super =
                |role: &ManagedRole| role.document.role == Role::SuperAdmin && role.document.servers.is_none();
            let directory = self.issuer().directory();
            if is_super(found) && directory.roles().filter(|role| is_super(role)).count() == 1 {
                let text = "it is the last super administrator: give the role to another client first";
                return Err(AdminError::State(text.to_owned()));
            }
            let change = Change {
                changes: vec![ObjectChange::Remove {
                    kind: ObjectKind::RoleBinding,
                    id: id.to_owned(),
                    from: found.revision,
                }],
                audit: vec![self.event(Deed::new(AuditKind::RoleRevoked, APP, client).before(told(&found.document)))],
                ..Change::default()
            };
            if self.change("role", change).await?.is_some() {
                return Ok(());
            }
        }
        Err(AdminError::Contended)
    }
}

fn told(document: &RoleBindingDocument) -> Value {
    json!({ "role": document.role.as_str(), "servers": document.servers })
}
